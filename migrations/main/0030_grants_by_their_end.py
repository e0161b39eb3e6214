"""Grants found by when they end, for the calendar."""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_index("ix_access_grant_ends", "access_grant", ["ends_at", "id"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_access_grant_ends", table_name="access_grant")

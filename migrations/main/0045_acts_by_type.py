"""The acts of a log by their type, so that a rare one is found among a million others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

_ACTS = "type NOT IN ('grant.suspended', 'grant.review_required', 'grant.resumed')"


def upgrade() -> None:
    """Go forward."""
    op.create_index(
        "ix_log_entry_type", "log_entry", ["log_id", "type", "seq"],
        sqlite_where=sa.text(_ACTS), postgresql_where=sa.text(_ACTS),
    )  # fmt: skip


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_log_entry_type", table_name="log_entry")

"""A dataset's own resource type, and the index by which searches page through people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.db import text_column

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column("dataset", sa.Column("type", text_column(80), nullable=True))
    op.create_index("ix_access_grant_reach", "access_grant", ["project_id", "subject_id"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_access_grant_reach", "access_grant")
    op.drop_column("dataset", "type")

"""For how long a client's rows of the access log stay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "access_retention",
        sa.Column("client_id", text_column(32), nullable=False),
        sa.Column("days", sa.Integer(), nullable=True),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name="pk_access_retention"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("access_retention")

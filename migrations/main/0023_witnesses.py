"""Witnesses of the logs, and what they cosigned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "log_witness",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("name", text_column(200), nullable=False),
        sa.Column("key", text_column(300), nullable=False),
        sa.Column("url", text_column(500), nullable=False),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_log_witness"),
    )
    op.create_table(
        "log_cosignature",
        sa.Column("log_id", text_column(32), nullable=False),
        sa.Column("witness_id", text_column(32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("seen_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "witness_id", "size", name="pk_log_cosignature"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("log_cosignature")
    op.drop_table("log_witness")

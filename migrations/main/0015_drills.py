"""Drills: pauses that were rehearsed and rolled back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "drill",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("log_id", text_column(32), nullable=False),
        sa.Column("mode", text_column(80), nullable=False),
        sa.Column("targets", sa.String(), nullable=False),
        sa.Column("microseconds", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=True),
        sa.Column("grants", sa.BigInteger(), nullable=False),
        sa.Column("people", sa.BigInteger(), nullable=False),
        sa.Column("digest", text_column(64), nullable=False),
        sa.Column("held_by", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drill")),
    )
    op.create_index("ix_drill_log", "drill", ["log_id", "id"])


def downgrade() -> None:
    """Go back."""
    op.drop_table("drill")

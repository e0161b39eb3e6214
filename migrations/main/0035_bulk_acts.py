"""Acts over whole lists, and the rows that each is done to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "bulk_act",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("act", text_column(80), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("digest", text_column(64), nullable=False),
        sa.Column("ordered_by", text_column(200), nullable=False),
        sa.Column("session_id", text_column(32), nullable=True),
        sa.Column("made_at", Utc(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=True),
        sa.Column("cursor", text_column(32), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("passed", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_act")),
    )
    op.create_index("ix_bulk_act_open", "bulk_act", ["finished_at", "recorded_at"])
    op.create_table(
        "bulk_item",
        sa.Column("bulk_id", text_column(32), nullable=False),
        sa.Column("item_id", text_column(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["bulk_id"],
            ["bulk_act.id"],
            name=op.f("fk_bulk_item_bulk_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("bulk_id", "item_id", name=op.f("pk_bulk_item")),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("bulk_item")
    op.drop_table("bulk_act")

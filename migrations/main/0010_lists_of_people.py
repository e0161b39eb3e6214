"""Lists of people, each suspended as one thing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "people_list",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("left_out", sa.BigInteger(), nullable=False),
        sa.Column("digest", text_column(64), nullable=False),
        sa.Column("made_by", text_column(200), nullable=False),
        sa.Column("made_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people_list")),
    )
    op.create_table(
        "people_list_item",
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("list_id", text_column(32), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "list_id", name=op.f("pk_people_list_item")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_people_list_item_list", "people_list_item", ["list_id", "subject_id"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_people_list_item_list", "people_list_item")
    op.drop_table("people_list_item")
    op.drop_table("people_list")

"""Filters of lists, kept by name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "saved_filter",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("owner_id", text_column(32), nullable=False),
        sa.Column("list", text_column(80), nullable=False),
        sa.Column("name", text_column(80), nullable=False),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("sort", text_column(80), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["subject.id"],
            name=op.f("fk_saved_filter_owner_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_filter")),
    )
    op.create_index("ix_saved_filter_owner", "saved_filter", ["owner_id", "list"])


def downgrade() -> None:
    """Go back."""
    op.drop_table("saved_filter")

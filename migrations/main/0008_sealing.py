"""Seals of the access log, how far they have come, and the horizons below which rows expired."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "access_seal",
        sa.Column("writer", text_column(32), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.LargeBinary(16), nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.Column("until", Utc(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("writer", "first", name=op.f("pk_access_seal")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_access_seal_until", "access_seal", ["until"])
    sealing = op.create_table(
        "access_sealing",
        sa.Column("id", text_column(80), nullable=False),
        sa.Column("done", text_column(32), nullable=False),
        sa.Column("sealed_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_sealing")),
    )
    op.bulk_insert(sealing, [{"id": "house", "done": "", "sealed_at": None}])
    op.create_table(
        "access_horizon",
        sa.Column("recorded_at", Utc(), autoincrement=False, nullable=False),
        sa.Column("before", Utc(), nullable=False),
        sa.Column("sealed_by", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("recorded_at", name=op.f("pk_access_horizon")),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("access_horizon")
    op.drop_table("access_sealing")
    op.drop_index("ix_access_seal_until", "access_seal")
    op.drop_table("access_seal")

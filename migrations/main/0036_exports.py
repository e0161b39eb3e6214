"""Exports that are made in the background, and how far each is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "log_export",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("asked_by", text_column(32), nullable=False),
        sa.Column("asked_at", Utc(), nullable=False),
        sa.Column("form", text_column(80), nullable=False),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("header", sa.String(), nullable=False),
        sa.Column("state", text_column(80), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("scanned", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("passed", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("erased", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("file", text_column(80), nullable=True),
        sa.Column("rate", sa.BigInteger(), nullable=True),
        sa.Column("holder", text_column(32), nullable=True),
        sa.Column("held_until", Utc(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", text_column(500), nullable=False),
        sa.Column("digest", text_column(64), nullable=True),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.Column("expires_at", Utc(), nullable=True),
        sa.Column("fetched_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_export")),
    )
    op.create_index("ix_log_export_asked_by", "log_export", ["asked_by", "id"])
    op.create_index("ix_log_export_state", "log_export", ["state", "held_until"])


def downgrade() -> None:
    """Go back."""
    op.drop_table("log_export")

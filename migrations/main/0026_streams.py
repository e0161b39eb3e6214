"""Streams of the logs that are pushed, and how far each has come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "log_stream",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("url", text_column(500), nullable=False),
        sa.Column("form", text_column(80), nullable=False),
        sa.Column("proof", text_column(80), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("inside", sa.Boolean(), nullable=False),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_log_stream"),
    )
    op.create_table(
        "log_stream_state",
        sa.Column("stream_id", text_column(32), nullable=False),
        sa.Column("next_try_at", Utc(), nullable=False),
        sa.Column("delivered_at", Utc(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", name="pk_log_stream_state"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("log_stream_state")
    op.drop_table("log_stream")

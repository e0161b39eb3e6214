"""What writes with an Idempotency-Key were answered, kept for a day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "idempotent_answer",
        sa.Column("id", text_column(64), nullable=False),
        sa.Column("request", text_column(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("place", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotent_answer")),
    )
    op.create_index(op.f("ix_idempotent_answer_recorded_at"), "idempotent_answer", ["recorded_at"])


def downgrade() -> None:
    """Go back."""
    op.drop_index(op.f("ix_idempotent_answer_recorded_at"), table_name="idempotent_answer")
    op.drop_table("idempotent_answer")

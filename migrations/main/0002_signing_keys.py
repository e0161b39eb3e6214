"""The keys that sign tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "signing_key",
        sa.Column("id", text_column(64), nullable=False),
        sa.Column("algorithm", text_column(80), nullable=False),
        sa.Column("public", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_key")),
    )
    with op.batch_alter_table("signing_key", schema=None) as batch_op:
        batch_op.create_index(
            "uq_signing_key_active",
            ["algorithm"],
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )


def downgrade() -> None:
    """Go back."""
    op.drop_table("signing_key")

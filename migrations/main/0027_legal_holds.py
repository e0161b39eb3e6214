"""Legal holds of clients."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "legal_hold",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("client_id", text_column(32), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("released_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_legal_hold"),
    )
    op.create_index(
        "uq_legal_hold_active",
        "legal_hold",
        ["client_id"],
        unique=True,
        sqlite_where=sa.text("released_at IS NULL"),
        postgresql_where=sa.text("released_at IS NULL"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("uq_legal_hold_active", table_name="legal_hold")
    op.drop_table("legal_hold")

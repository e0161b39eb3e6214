"""Counts of wrong tries know when the last was and whose; passkeys, if they knew their owner."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward; of passkeys that are there it is not known, so they are made anew."""
    op.add_column(
        "passkey", sa.Column("recognised", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column(
        "throttle", sa.Column("forgiven", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("throttle", sa.Column("failed_at", Utc(), nullable=True))
    op.add_column(
        "throttle", sa.Column("of_nobody", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_index("ix_throttle_of_nobody", "throttle", ["of_nobody", "failed_at"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_throttle_of_nobody", table_name="throttle")
    with op.batch_alter_table("throttle") as batch:
        batch.drop_column("of_nobody")
        batch.drop_column("failed_at")
        batch.drop_column("forgiven")
    with op.batch_alter_table("passkey") as batch:
        batch.drop_column("recognised")

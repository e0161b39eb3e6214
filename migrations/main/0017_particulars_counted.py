"""How many grants a long pause touches is counted once, by who writes its particulars."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make a place for the number; what is being written is counted by who looks at it."""
    op.add_column("particulars", sa.Column("total", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Forget the number: it can be counted again."""
    with op.batch_alter_table("particulars") as batch:
        batch.drop_column("total")

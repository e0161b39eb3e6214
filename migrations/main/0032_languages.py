"""The language that a person likes to read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.db import text_column

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column("subject", sa.Column("language", text_column(8), nullable=True))


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("subject") as subject:
        subject.drop_column("language")

"""Where someone is signed in is told by a word for the device."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.db import text_column

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward; of sessions that are there no device is known."""
    op.add_column("web_session", sa.Column("device", text_column(40), nullable=True))


def downgrade() -> None:
    """Forget the devices."""
    with op.batch_alter_table("web_session") as batch:
        batch.drop_column("device")

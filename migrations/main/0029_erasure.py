"""Who was erased, and where the logs account for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_ERASURES = sa.text("type = 'subject.erased'")


def upgrade() -> None:
    """Go forward."""
    op.add_column("subject", sa.Column("erased_at", Utc(), nullable=True))
    op.create_index(
        "ix_log_entry_erasures",
        "log_entry",
        ["log_id", "seq"],
        sqlite_where=_ERASURES,
        postgresql_where=_ERASURES,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_log_entry_erasures", table_name="log_entry")
    op.drop_column("subject", "erased_at")

"""Since when a witness fails with a log, and mails given up by when, for whoever sees to both."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "log_witness_failure",
        sa.Column("witness_id", text_column(32), nullable=False),
        sa.Column("log_id", text_column(32), nullable=False),
        sa.Column("since", Utc(), nullable=False),
        sa.Column("refuses", sa.Boolean(), nullable=False),
        sa.Column("error", text_column(200), nullable=False),
        sa.PrimaryKeyConstraint("witness_id", "log_id", name=op.f("pk_log_witness_failure")),
    )
    op.create_index(
        "ix_mail_delivery_given_up",
        "mail_delivery",
        ["ended_at"],
        sqlite_where=sa.text("state = 'given_up'"),
        postgresql_where=sa.text("state = 'given_up'"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_mail_delivery_given_up", table_name="mail_delivery")
    op.drop_table("log_witness_failure")

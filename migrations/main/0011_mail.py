"""Mail: cursors of whoever follows the logs, acts that people are told of, each one's mail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def _references(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{other}.id"],
        name=op.f(f"fk_{table}_{column}"),
        initially="DEFERRED",
        deferrable=True,
    )


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "follower_cursor",
        sa.Column("follower", text_column(80), nullable=False),
        sa.Column("log_id", text_column(32), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("follower", "log_id", name=op.f("pk_follower_cursor")),
    )
    # What happened before there was mail is no news.
    op.execute("INSERT INTO follower_cursor SELECT 'mail', id, size FROM log")
    op.create_table(
        "mail_act",
        sa.Column("id", text_column(120), nullable=False),
        sa.Column("type", text_column(80), nullable=False),
        sa.Column("suspension_id", text_column(32), nullable=True),
        sa.Column("actor", text_column(32), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("cursor", text_column(32), nullable=False),
        sa.Column("finished_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_act")),
    )
    op.create_index("ix_mail_act_open", "mail_act", ["finished_at", "at"])
    op.create_index(op.f("ix_mail_act_suspension_id"), "mail_act", ["suspension_id"])
    op.create_table(
        "mail_delivery",
        sa.Column("act_id", text_column(120), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("state", text_column(80), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_at", Utc(), nullable=True),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.Column("error", text_column(200), nullable=False),
        _references("mail_delivery", "act_id", "mail_act"),
        _references("mail_delivery", "subject_id", "subject"),
        sa.PrimaryKeyConstraint("act_id", "subject_id", name=op.f("pk_mail_delivery")),
    )
    op.create_index(
        "ix_mail_delivery_due",
        "mail_delivery",
        ["next_try_at", "act_id"],
        sqlite_where=sa.text("next_try_at IS NOT NULL"),
        postgresql_where=sa.text("next_try_at IS NOT NULL"),
    )
    server = op.create_table(
        "mail_server",
        sa.Column("id", text_column(80), nullable=False),
        sa.Column("failing_since", Utc(), nullable=True),
        sa.Column("error", text_column(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_server")),
    )
    op.bulk_insert(server, [{"id": "smtp", "failing_since": None, "error": ""}])


def downgrade() -> None:
    """Go back."""
    for table in ("mail_server", "mail_delivery", "mail_act", "follower_cursor"):
        op.drop_table(table)

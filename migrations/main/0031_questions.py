"""What people like their own pages to be in; their questions, and the messages of these."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def _reference(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{to}.id"],
        name=op.f(f"fk_{table}_{column}_{to}"),
        initially="DEFERRED",
        deferrable=True,
    )


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "preference",
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("time_zone", text_column(80), nullable=False),
        _reference("preference", "subject_id", "subject"),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_preference")),
    )
    op.create_table(
        "question",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("project_id", text_column(32), nullable=True),
        sa.Column("suspension_id", text_column(32), nullable=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("last_at", Utc(), nullable=False),
        sa.Column("waiting_since", Utc(), nullable=True),
        _reference("question", "subject_id", "subject"),
        _reference("question", "client_id", "client"),
        _reference("question", "project_id", "project"),
        _reference("question", "suspension_id", "suspension"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_question")),
    )
    op.create_index("ix_question_subject", "question", ["subject_id", "last_at"])
    op.create_index(
        "ix_question_waiting",
        "question",
        ["waiting_since", "id"],
        sqlite_where=sa.text("waiting_since IS NOT NULL"),
        postgresql_where=sa.text("waiting_since IS NOT NULL"),
    )
    op.create_table(
        "question_message",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("question_id", text_column(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("written_by", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        _reference("question_message", "question_id", "question"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_question_message")),
        sa.UniqueConstraint(
            "question_id", "number", name=op.f("uq_question_message_question_id_number")
        ),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("question_message")
    op.drop_index("ix_question_waiting", table_name="question")
    op.drop_index("ix_question_subject", table_name="question")
    op.drop_table("question")
    op.drop_table("preference")

"""The words of people's names, so that people are found by them without reading of all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.db import insert_rows, references, text_column
from govern.identity.words import beginnings

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_AT_ONCE = 1000


def upgrade() -> None:
    """Go forward; the words of those who are here are taken from their names."""
    table = op.create_table(
        "subject_word",
        sa.Column("subject_id", text_column(32), references("subject.id"), nullable=False),
        sa.Column("word", text_column(40), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "word", name="pk_subject_word"),
        sqlite_with_rowid=False,
    )
    # PostgreSQL makes none beside rows whose keys it will look at by the commit.
    op.create_index("ix_subject_word_word", "subject_word", ["word", "subject_id"])
    subject = sa.table("subject", sa.column("id"), sa.column("full_name"))
    connection, last = op.get_bind(), ""
    while found := connection.execute(
        sa.select(subject).where(subject.c.id > last).order_by(subject.c.id).limit(_AT_ONCE)
    ).all():
        insert_rows(
            connection, table,
            [(row.id, word) for row in found for word in sorted(beginnings(row.full_name))],
        )  # fmt: skip
        last = found[-1].id


def downgrade() -> None:
    """Go back."""
    op.drop_table("subject_word")

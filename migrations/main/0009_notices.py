"""Notices: versions of what the people affected are told, in the place of one note; who read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0009"
down_revision = "0008"
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
        "suspension_notice",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("suspension_id", text_column(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("known", sa.String(), nullable=False),
        sa.Column("not_known", sa.String(), nullable=False),
        sa.Column("contact", text_column(200), nullable=False),
        sa.Column("next_update_by", Utc(), nullable=True),
        sa.Column("submit_by", Utc(), nullable=True),
        sa.Column("posted_by", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        _references("suspension_notice", "suspension_id", "suspension"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suspension_notice")),
        sa.UniqueConstraint("suspension_id", "number", name="uq_suspension_notice_number"),
    )
    op.create_table(
        "notice_acknowledgement",
        sa.Column("notice_id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        _references("notice_acknowledgement", "notice_id", "suspension_notice"),
        _references("notice_acknowledgement", "subject_id", "subject"),
        sa.PrimaryKeyConstraint("notice_id", "subject_id", name=op.f("pk_notice_acknowledgement")),
    )
    # The note as it stands, from when it was last changed, is the first version.
    op.execute(
        "INSERT INTO suspension_notice (id, suspension_id, number, known, not_known, contact, "
        "posted_by, recorded_at) "
        "SELECT replace(id, 'sus_', 'not_'), id, 1, note, '', '', opened_by, coalesce(("
        "SELECT max(at) FROM log_entry WHERE suspension_id = suspension.id "
        "AND type = 'suspension.amended'), recorded_at) FROM suspension WHERE note <> ''"
    )
    op.drop_column("suspension", "note")


def downgrade() -> None:
    """Go back."""
    op.add_column("suspension", sa.Column("note", sa.String(), nullable=False, server_default=""))
    op.execute(
        "UPDATE suspension SET note = coalesce((SELECT known FROM suspension_notice "
        "WHERE suspension_id = suspension.id ORDER BY number DESC LIMIT 1), '')"
    )
    op.drop_table("notice_acknowledgement")
    op.drop_table("suspension_notice")

"""Resumes at a set time: what two agreed on, who confirmed it, and how it ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "scheduled_resume",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("suspension_id", text_column(32), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("shown_at", Utc(), nullable=False),
        sa.Column("asked_by", text_column(200), nullable=False),
        sa.Column("approved_by", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("confirmed_by", text_column(200), nullable=True),
        sa.Column("confirmed_at", Utc(), nullable=True),
        sa.Column("outcome", text_column(80), nullable=True),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["suspension_id"],
            ["suspension.id"],
            name=op.f("fk_scheduled_resume_suspension_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheduled_resume")),
    )
    op.create_index("ix_scheduled_resume_open", "scheduled_resume", ["ended_at", "at"])
    op.create_index(
        "ix_scheduled_resume_suspension", "scheduled_resume", ["suspension_id", "ended_at"]
    )


def downgrade() -> None:
    """Go back; what was set for a time does not happen."""
    op.drop_index("ix_scheduled_resume_suspension", "scheduled_resume")
    op.drop_index("ix_scheduled_resume_open", "scheduled_resume")
    op.drop_table("scheduled_resume")

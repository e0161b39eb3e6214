"""The way back for who lost a second factor, and new passwords for forgotten ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "recovery",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("token_hash", text_column(64), nullable=False),
        sa.Column("cancel_hash", text_column(64), nullable=False),
        sa.Column("links", sa.LargeBinary(), nullable=True),
        sa.Column("asked_by", text_column(200), nullable=False),
        sa.Column("approved_by", text_column(200), nullable=False),
        sa.Column("works_from", Utc(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("outcome", text_column(80), nullable=True),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_recovery_subject_id_subject"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_recovery_token_hash")),
        sa.UniqueConstraint("cancel_hash", name=op.f("uq_recovery_cancel_hash")),
    )
    op.create_index("ix_recovery_subject", "recovery", ["subject_id", "ended_at"])
    op.create_table(
        "password_reset",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=True),
        sa.Column("asked_for", text_column(64), nullable=False),
        sa.Column("token_hash", text_column(64), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_password_reset_subject_id_subject"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_password_reset")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_password_reset_token_hash")),
    )
    op.create_index("ix_password_reset_subject", "password_reset", ["subject_id"])
    op.create_index("ix_password_reset_asked_for", "password_reset", ["asked_for", "expires_at"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_password_reset_asked_for", "password_reset")
    op.drop_index("ix_password_reset_subject", "password_reset")
    op.drop_table("password_reset")
    op.drop_index("ix_recovery_subject", "recovery")
    op.drop_table("recovery")

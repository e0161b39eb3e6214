"""Passkeys, challenges that were used, names of authenticator apps, and dates of recovery codes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "passkey",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("transports", text_column(80), nullable=False),
        sa.Column("backed_up", sa.Boolean(), nullable=False),
        sa.Column("name", text_column(80), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("used_at", Utc(), nullable=True),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subject.id"],
            name=op.f("fk_passkey_subject_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkey")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkey_credential_id")),
    )
    op.create_index("ix_passkey_subject", "passkey", ["subject_id"])
    op.create_table(
        "spent_challenge",
        sa.Column("hash", text_column(64), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_spent_challenge")),
    )
    op.create_index("ix_spent_challenge_expires_at", "spent_challenge", ["expires_at"])
    op.add_column("totp", sa.Column("name", text_column(80), nullable=False, server_default=""))
    op.add_column("recovery_code", sa.Column("recorded_at", Utc(), nullable=True))


def downgrade() -> None:
    """Go back."""
    op.drop_column("recovery_code", "recorded_at")
    op.drop_column("totp", "name")
    op.drop_table("spent_challenge")
    op.drop_table("passkey")

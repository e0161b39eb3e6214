"""Tokens: what was given, what each permits, the codes that they are fetched with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0007"
down_revision = "0006"
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
        "token",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("integration_id", text_column(32), nullable=False),
        sa.Column("audience", text_column(500), nullable=False),
        sa.Column("scope", text_column(200), nullable=True),
        sa.Column("subject_id", text_column(32), nullable=True),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("project_id", text_column(32), nullable=True),
        sa.Column("dataset_id", text_column(32), nullable=True),
        sa.Column("since", Utc(), nullable=False),
        sa.Column("house_since", Utc(), nullable=False),
        sa.Column("until", Utc(), nullable=False),
        sa.Column("list_number", sa.Integer(), nullable=False),
        sa.Column("list_index", sa.Integer(), nullable=False),
        sa.Column("issued_at", Utc(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("revoked_at", Utc(), nullable=True),
        _references("token", "integration_id", "integration"),
        _references("token", "subject_id", "subject"),
        _references("token", "project_id", "project"),
        _references("token", "dataset_id", "dataset"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("list_number", "list_index", name="uq_token_place"),
    )
    op.create_index("ix_token_expires_at", "token", ["expires_at"])
    op.create_table(
        "token_action",
        sa.Column("token_id", text_column(32), nullable=False),
        sa.Column("action", text_column(80), nullable=False),
        sa.Column("effect", text_column(80), nullable=False),
        sa.Column("grant_id", text_column(32), nullable=False),
        _references("token_action", "token_id", "token"),
        _references("token_action", "grant_id", "access_grant"),
        sa.PrimaryKeyConstraint("token_id", "action", name=op.f("pk_token_action")),
    )
    op.create_table(
        "authorization_code",
        sa.Column("hash", text_column(64), nullable=False),
        sa.Column("token_id", text_column(32), nullable=False),
        sa.Column("redirect_uri", text_column(500), nullable=False),
        sa.Column("challenge", text_column(128), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("used_at", Utc(), nullable=True),
        _references("authorization_code", "token_id", "token"),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_authorization_code")),
    )
    op.create_index(op.f("ix_authorization_code_token_id"), "authorization_code", ["token_id"])
    op.create_table(
        "used_assertion",
        sa.Column("hash", text_column(64), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_used_assertion")),
    )
    op.create_index(op.f("ix_used_assertion_expires_at"), "used_assertion", ["expires_at"])
    op.create_index("ix_suspension_release_subject", "suspension_release", ["subject_id"])
    for name in ("suspension_mode", "suspension_target"):
        op.create_index(f"ix_{name}_recorded_at", name, ["recorded_at"])
    with op.batch_alter_table("integration") as table:
        table.add_column(sa.Column("resumed_at", Utc(), nullable=True))


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("integration") as table:
        table.drop_column("resumed_at")
    op.drop_index("ix_suspension_release_subject", "suspension_release")
    for name in ("suspension_mode", "suspension_target"):
        op.drop_index(f"ix_{name}_recorded_at", name)
    for table_name in ("used_assertion", "authorization_code", "token_action", "token"):
        op.drop_table(table_name)

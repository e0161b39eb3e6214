"""Integrations whole: several limits, secrets in a table of their own, OAuth, suspension."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "integration_limit",
        sa.Column("integration_id", text_column(32), nullable=False),
        sa.Column("target_id", text_column(32), nullable=False),
        sa.Column("kind", text_column(80), nullable=False),
        sa.Column("client_id", text_column(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["integration_id"],
            ["integration.id"],
            name=op.f("fk_integration_limit_integration_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("integration_id", "target_id", name=op.f("pk_integration_limit")),
    )
    op.create_index(op.f("ix_integration_limit_client_id"), "integration_limit", ["client_id"])
    op.create_table(
        "integration_secret",
        sa.Column("hash", text_column(64), nullable=False),
        sa.Column("integration_id", text_column(32), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ends_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["integration_id"],
            ["integration.id"],
            name=op.f("fk_integration_secret_integration_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_integration_secret")),
    )
    op.create_index("ix_integration_secret_integration", "integration_secret", ["integration_id"])
    op.execute(
        "INSERT INTO integration_limit (integration_id, target_id, kind, client_id) "
        "SELECT id, client_id, 'client', client_id FROM integration WHERE client_id IS NOT NULL"
    )
    op.execute(
        "INSERT INTO integration_secret (hash, integration_id, recorded_at) "
        "SELECT secret_hash, id, recorded_at FROM integration"
    )
    with op.batch_alter_table("integration") as table:
        for name in ("redirect_uris", "resources"):
            table.add_column(sa.Column(name, sa.JSON(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("public_keys", sa.JSON(), nullable=True))
        for name in ("last_seen_at", "suspended_at"):
            table.add_column(sa.Column(name, Utc(), nullable=True))
        table.drop_column("client_id")
        table.drop_column("secret_hash")
    with op.batch_alter_table("integration") as table:
        for name in ("redirect_uris", "resources"):
            table.alter_column(name, server_default=None)


def downgrade() -> None:
    """Go back. What the older tables cannot hold as narrow as it is ends: nothing is let in."""
    op.execute(
        "UPDATE integration SET ended_at = coalesce(suspended_at, recorded_at)"
        " WHERE ended_at IS NULL AND (suspended_at IS NOT NULL OR scope <> 'decision'"
        " OR (SELECT count(*) FROM integration_limit AS l WHERE l.integration_id = integration.id)"
        " > 1 OR EXISTS (SELECT 1 FROM integration_limit AS l"
        " WHERE l.integration_id = integration.id AND l.kind <> 'client'))"
    )
    with op.batch_alter_table("integration") as table:
        table.add_column(sa.Column("client_id", text_column(32), nullable=True))
        table.add_column(
            sa.Column("secret_hash", text_column(64), nullable=False, server_default="")
        )
        for name in (
            "redirect_uris", "resources", "public_keys", "last_seen_at", "suspended_at",
        ):  # fmt: skip
            table.drop_column(name)
    op.execute(
        "UPDATE integration SET client_id = (SELECT min(client_id) FROM integration_limit"
        " WHERE integration_limit.integration_id = integration.id)"
    )
    op.execute(
        "UPDATE integration SET secret_hash = coalesce((SELECT hash FROM integration_secret"
        " WHERE integration_secret.integration_id = integration.id"
        " ORDER BY recorded_at DESC LIMIT 1), '')"
    )
    with op.batch_alter_table("integration") as table:
        table.alter_column("secret_hash", server_default=None)
    op.drop_table("integration_secret")
    op.drop_table("integration_limit")

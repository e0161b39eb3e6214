"""Endings of projects and clients: how far their grants are revoked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "ending",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("client_id", text_column(32), nullable=False),
        sa.Column("project_id", text_column(32), nullable=True),
        sa.Column("as_at", Utc(), nullable=False),
        sa.Column("cursor", text_column(32), nullable=False),
        sa.Column("written", sa.BigInteger(), nullable=False),
        sa.Column("digest", text_column(64), nullable=False),
        sa.Column("finished_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["client.id"],
            name=op.f("fk_ending_client_id_client"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name=op.f("fk_ending_project_id_project"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ending")),
    )
    op.create_index("ix_ending_open", "ending", ["finished_at", "as_at"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_ending_open", "ending")
    op.drop_table("ending")

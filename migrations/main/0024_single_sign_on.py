"""Identity providers, who is linked to them, and by which link a session came."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_IN_USE = {
    "unique": True,
    "sqlite_where": sa.text("ended_at IS NULL"),
    "postgresql_where": sa.text("ended_at IS NULL"),
}


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "identity_provider",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("name", text_column(80), nullable=False),
        sa.Column("issuer", text_column(500), nullable=False),
        sa.Column("client_id", text_column(255), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("assures", text_column(80), nullable=False),
        sa.Column("acr_values", text_column(1000), nullable=False),
        sa.Column("amr_values", text_column(200), nullable=False),
        sa.Column("inside", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_provider")),
    )
    op.create_index("uq_identity_provider_issuer", "identity_provider", ["issuer"], **_IN_USE)
    op.create_table(
        "identity_link",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("provider_id", text_column(32), nullable=False),
        sa.Column("sub", text_column(255), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("linked_by", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        _to("identity_link", "provider_id", "identity_provider"),
        _to("identity_link", "subject_id", "subject"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_link")),
    )
    op.create_index("uq_identity_link_sub", "identity_link", ["provider_id", "sub"], **_IN_USE)
    op.create_index("ix_identity_link_subject", "identity_link", ["subject_id"])
    op.create_table(
        "identity_link_offer",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("token_hash", text_column(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("provider_id", text_column(32), nullable=False),
        sa.Column("sub", text_column(255), nullable=False),
        sa.Column("subject_id", text_column(32), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc(), nullable=True),
        _to("identity_link_offer", "provider_id", "identity_provider"),
        _to("identity_link_offer", "subject_id", "subject"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_link_offer")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_identity_link_offer_token_hash")),
    )
    op.create_index(
        "ix_identity_link_offer_subject", "identity_link_offer", ["subject_id", "recorded_at"]
    )
    op.create_table(
        "spent",
        sa.Column("digest", text_column(64), nullable=False),
        sa.Column("until", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_spent")),
    )
    op.create_index("ix_spent_until", "spent", ["until"])
    with op.batch_alter_table("web_session") as batch:
        batch.add_column(sa.Column("link_id", text_column(32), nullable=True))
        batch.add_column(sa.Column("provider_sid", text_column(255), nullable=True))
        batch.create_foreign_key(
            op.f("fk_web_session_link_id"), "identity_link", ["link_id"], ["id"],
            deferrable=True, initially="DEFERRED",
        )  # fmt: skip
        batch.create_index("ix_web_session_link", ["link_id", "provider_sid"])


def _to(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"),
        deferrable=True, initially="DEFERRED",
    )  # fmt: skip


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("web_session") as batch:
        batch.drop_index("ix_web_session_link")
        batch.drop_constraint(op.f("fk_web_session_link_id"), type_="foreignkey")
        batch.drop_column("provider_sid")
        batch.drop_column("link_id")
    op.drop_table("spent")
    op.drop_table("identity_link_offer")
    op.drop_table("identity_link")
    op.drop_table("identity_provider")

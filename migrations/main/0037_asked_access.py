"""Access is asked for: by whom it must be approved, who did, and until when a request waits."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward; what was asked for before names its project, and waits for ever."""
    with op.batch_alter_table("request") as table:
        table.add_column(sa.Column("project_id", text_column(32)))
        table.add_column(sa.Column("dataset_id", text_column(32)))
        table.add_column(sa.Column("expires_at", Utc()))
        for column in ("project", "dataset"):
            table.create_foreign_key(
                op.f(f"fk_request_{column}_id"), column, [f"{column}_id"], ["id"],
                initially="DEFERRED", deferrable=True,
            )  # fmt: skip
    request = sa.table(
        "request", sa.column("id"), sa.column("kind"), sa.column("details", sa.JSON()),
        sa.column("project_id"), sa.column("dataset_id"),
    )  # fmt: skip
    connection = op.get_bind()
    asked = sa.select(request.c.id, request.c.details).where(request.c.kind == "grant")
    for row in connection.execute(asked).all():
        told = json.loads(row.details) if isinstance(row.details, str) else row.details
        connection.execute(
            request.update()
            .where(request.c.id == row.id)
            .values(project_id=told["project"], dataset_id=told["dataset"])
        )
    op.create_index("ix_request_asker", "request", ["asked_by", "id"])
    op.create_index("ix_request_subject", "request", ["subject_id", "id"])
    op.create_table(
        "request_policy",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("kind", text_column(80), nullable=False),
        sa.Column("target_id", text_column(32), nullable=False),
        sa.Column("client_id", text_column(32)),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("people", sa.JSON(), nullable=False),
        sa.Column("leads", sa.JSON(), nullable=False),
        sa.Column("needed", sa.Integer(), nullable=False),
        sa.Column("pausing", text_column(80), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("ended_at", Utc()),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.id"], name=op.f("fk_request_policy_client_id"),
            initially="DEFERRED", deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_policy")),
    )  # fmt: skip
    op.create_index(
        "ix_request_policy_open", "request_policy", ["target_id"], unique=True,
        sqlite_where=sa.text("ended_at IS NULL"), postgresql_where=sa.text("ended_at IS NULL"),
    )  # fmt: skip
    op.create_table(
        "request_approval",
        sa.Column("id", text_column(32), nullable=False),
        sa.Column("request_id", text_column(32), nullable=False),
        sa.Column("approved_by", text_column(200), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["request.id"], name=op.f("fk_request_approval_request_id"),
            initially="DEFERRED", deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_approval")),
        sa.UniqueConstraint(
            "request_id", "approved_by", name=op.f("uq_request_approval_request_id_approved_by")
        ),
    )  # fmt: skip


def downgrade() -> None:
    """Go back."""
    op.drop_table("request_approval")
    op.drop_table("request_policy")
    op.drop_index("ix_request_subject", "request")
    op.drop_index("ix_request_asker", "request")
    with op.batch_alter_table("request") as table:
        for column in ("dataset", "project"):
            table.drop_constraint(op.f(f"fk_request_{column}_id"), type_="foreignkey")
        for column in ("expires_at", "dataset_id", "project_id"):
            table.drop_column(column)

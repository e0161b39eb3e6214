"""The access log, and the triggers that keep it as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.audit import triggers
from govern.clock import Utc
from govern.db import text_column

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "access_row",
        sa.Column("writer", text_column(32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("kind", text_column(80), nullable=False),
        sa.Column("principal", text_column(32), nullable=False),
        sa.Column("session_id", text_column(32), nullable=True),
        sa.Column("subject_id", text_column(32), nullable=True),
        sa.Column("client_id", text_column(32), nullable=True),
        sa.Column("resource_id", text_column(32), nullable=True),
        sa.Column("action", text_column(80), nullable=True),
        sa.Column("permit", sa.Boolean(), nullable=True),
        sa.Column("reason", text_column(80), nullable=True),
        sa.Column("as_of", sa.BigInteger(), nullable=True),
        sa.Column("house_as_of", sa.BigInteger(), nullable=True),
        sa.Column("worked_at", Utc(), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("writer", "number", name=op.f("pk_access_row")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("access_row", schema=None) as batch_op:
        batch_op.create_index("ix_access_row_subject", ["subject_id", "at"], unique=False)

    for statement in triggers.ddl(op.get_bind().dialect.name, "access"):
        op.execute(sa.text(statement))


def downgrade() -> None:
    """Go back."""
    for statement in triggers.undo(op.get_bind().dialect.name, "access"):
        op.execute(sa.text(statement))
    with op.batch_alter_table("access_row", schema=None) as batch_op:
        batch_op.drop_index("ix_access_row_subject")

    op.drop_table("access_row")

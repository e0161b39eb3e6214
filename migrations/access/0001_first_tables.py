"""The access log, and the triggers that keep it as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.clock import Utc
from govern.db import text_column

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# As they were then; the next revision puts those of the models in their place.
_REFUSE = "BEGIN SELECT RAISE(ABORT, 'access_row is append-only'); END"
_TAKEN = (
    "WHEN EXISTS (SELECT 1 FROM access_row "  # noqa: S608 - our own names
    f"WHERE writer = NEW.writer AND number = NEW.number) {_REFUSE}"
)
_APPEND_ONLY = (
    "CREATE FUNCTION access_append_only() RETURNS trigger LANGUAGE plpgsql AS $govern$BEGIN "
    "RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', "
    "MESSAGE = TG_TABLE_NAME || ' is append-only'; END$govern$"
)
_ON = "ON access_row FOR EACH {} EXECUTE FUNCTION access_append_only()"
TRIGGERS = {
    "sqlite": (
        f"CREATE TRIGGER access_row_no_update BEFORE UPDATE ON access_row FOR EACH ROW {_REFUSE}",
        f"CREATE TRIGGER access_row_no_delete BEFORE DELETE ON access_row FOR EACH ROW {_REFUSE}",
        f"CREATE TRIGGER access_row_no_insert BEFORE INSERT ON access_row FOR EACH ROW {_TAKEN}",
    ),
    "postgresql": (
        _APPEND_ONLY,
        f"CREATE TRIGGER access_row_no_change BEFORE UPDATE OR DELETE {_ON.format('ROW')}",
        "ALTER TABLE access_row ENABLE ALWAYS TRIGGER access_row_no_change",
        f"CREATE TRIGGER access_row_no_truncate BEFORE TRUNCATE {_ON.format('STATEMENT')}",
        "ALTER TABLE access_row ENABLE ALWAYS TRIGGER access_row_no_truncate",
    ),
}
GONE = {
    "sqlite": tuple(f"DROP TRIGGER access_row_no_{act}" for act in ("update", "delete", "insert")),
    "postgresql": (
        "DROP TRIGGER access_row_no_change ON access_row",
        "DROP TRIGGER access_row_no_truncate ON access_row",
        "DROP FUNCTION access_append_only()",
    ),
}


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

    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(sa.text(statement))


def downgrade() -> None:
    """Go back."""
    for statement in GONE[op.get_bind().dialect.name]:
        op.execute(sa.text(statement))
    with op.batch_alter_table("access_row", schema=None) as batch_op:
        batch_op.drop_index("ix_access_row_subject")

    op.drop_table("access_row")

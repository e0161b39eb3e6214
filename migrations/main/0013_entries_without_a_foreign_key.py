"""Entries without a foreign key to their log's head: to ask it took as long as to store them.

Whoever writes an entry holds the lock of that very head, and the database refuses to drop an entry;
that a head is gone, the signer and `fsck` find.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.audit import triggers

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NAME = "fk_log_entry_log_id"


def upgrade() -> None:
    """Go forward."""
    with op.batch_alter_table("log_entry", table_kwargs={"sqlite_with_rowid": False}) as batch_op:
        batch_op.drop_constraint(_NAME, type_="foreignkey")
    _put_triggers_back()


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("log_entry", table_kwargs={"sqlite_with_rowid": False}) as batch_op:
        batch_op.create_foreign_key(
            _NAME, "log", ["log_id"], ["id"], deferrable=True, initially="DEFERRED"
        )
    _put_triggers_back()


def _put_triggers_back() -> None:
    """SQLite changes a table by copying it, and drops the triggers with the old one."""
    if op.get_bind().dialect.name == "sqlite":
        for statement in triggers.ddl("sqlite", "main"):
            if " ON log_entry " in statement:
                op.execute(sa.text(statement))

"""The head of a log is not removed, by a trigger of its own: nothing else refers to it any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from govern.audit import triggers

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward; where the first tables were made lately, they have it already."""
    dialect = op.get_bind().dialect.name
    _drop(dialect)
    for statement in triggers.ddl(dialect, "main"):
        if "TRIGGER log_no_" in statement:
            op.execute(sa.text(statement))


def downgrade() -> None:
    """Stay: the first tables' migration takes these away with the others."""


def _drop(dialect: str) -> None:
    on = " ON log" if dialect == "postgresql" else ""
    for name in ("log_no_delete", "log_no_truncate"):
        op.execute(sa.text(f"DROP TRIGGER IF EXISTS {name}{on}"))

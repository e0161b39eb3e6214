"""Indexes to search the access log by, and the horizons below which its rows may go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import context, op

from govern.audit import triggers
from govern.clock import Utc

if TYPE_CHECKING:
    from collections.abc import Iterable

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INDEXES = {"resource": ("resource_id", "at"), "client": ("client_id", "at"),
            "principal": ("principal", "at"), "at": ("at",)}  # fmt: skip


def _first(name: str) -> tuple[str, ...]:
    """Statements of the first revision."""
    module = context.script.get_revision("0001").module
    statements: tuple[str, ...] = getattr(module, name)[op.get_bind().dialect.name]
    return statements


def _run(statements: Iterable[str]) -> None:
    for statement in statements:
        op.execute(sa.text(statement))


def upgrade() -> None:
    """Go forward."""
    _run(_first("GONE"))  # the first ones let no row go, however old
    op.create_table(
        "access_expiry",
        sa.Column("before", Utc(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("before", name=op.f("pk_access_expiry")),
        sqlite_with_rowid=False,
    )
    for name, columns in _INDEXES.items():
        op.create_index(f"ix_access_row_{name}", "access_row", columns)
    _run(triggers.ddl(op.get_bind().dialect.name, "access"))


def downgrade() -> None:
    """Go back."""
    _run(triggers.undo(op.get_bind().dialect.name, "access"))
    for name in _INDEXES:
        op.drop_index(f"ix_access_row_{name}", "access_row")
    op.drop_table("access_expiry")
    _run(_first("TRIGGERS"))

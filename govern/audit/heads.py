"""The heads of logs: locked in one order, whoever writes; what an entry's instant is under them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import String, bindparam, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from govern import clock, errors
from govern.audit.log import Log
from govern.prepared import Keeping

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import ColumnElement, Select, Table, Update
    from sqlalchemy.orm import Session as OrmSession


@dataclass
class Head:
    """A log's head while it is locked: what `Log` has of it, and when the lock was had."""

    id: str
    size: int
    last_at: datetime | None
    locked_at: datetime


class _Bounded(FunctionElement[str]):
    """Ends whoever stands still in this transaction from here on."""

    type = String()
    inherit_cache = True


@compiles(_Bounded, "postgresql")
def _bounded_postgresql(*_: Any, **__: Any) -> str:
    return "set_config('idle_in_transaction_session_timeout', '5s', true)"


@compiles(_Bounded, "sqlite")
def _bounded_sqlite(*_: Any, **__: Any) -> str:
    return "NULL"


def bounded() -> ColumnElement[str]:
    """Part of each statement that locks a head: a node that freezes then is not waited for.

    PostgreSQL ends it after five seconds; if it was only slow, its work is run anew. Whoever reads
    holds no head and may be as slow as the reader of a download is.
    """
    return _Bounded()


# What every act does under the locks goes by the connection, in statements made once: the ORM would
# take three times as long for each, and others wait.
_LOCKED = (
    select(Log.id, Log.size, Log.last_at)
    .where(Log.id.in_(bindparam("ids", expanding=True)))
    .order_by(Log.id)
    .with_for_update()
    .cte("locked")
)
_HEADS: Select[Any] = select(*_LOCKED.columns, clock.passing(), bounded())
_MOVED = (
    update(cast("Table", Log.__table__))
    .where(Log.id == bindparam("head"))
    .values(size=bindparam("moved_to"), last_at=bindparam("moved_at"))
)


def lock(session: OrmSession, log_ids: Iterable[str]) -> dict[str, Head]:
    """Lock the heads of logs, in id order, until the commit; `Unknown` when one does not exist."""
    ids = sorted(set(log_ids))
    heads = Keeping(session.connection()).execute(_HEADS, {"ids": ids})
    found = {row[0]: Head(*row[:-1]) for row in heads}
    for log_id in ids:
        if log_id not in found:
            raise errors.Unknown(f"There is no log {log_id}.")
    return found


def move(session: OrmSession, heads: Iterable[Head]) -> None:
    """Write where locked heads stand by now."""
    if moved := [_moved(head) for head in heads]:
        session.connection().execute(_MOVED, moved)


def moving(head: Head) -> tuple[Update, dict[str, Any]]:
    """The statement that moves a locked head to where it stands by now, and its values."""
    return _MOVED, _moved(head)


def _moved(head: Head) -> dict[str, Any]:
    return {"head": head.id, "moved_to": head.size, "moved_at": head.last_at}


def next_instant(heads: Collection[Head]) -> datetime:
    """The instant of the next entry: now that all of `heads` are locked, or after their last."""
    last = [head.last_at + clock.TICK for head in heads if head.last_at is not None]
    return max([head.locked_at for head in heads] + last)

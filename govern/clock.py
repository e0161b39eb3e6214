"""The database's clock is the only clock; tests set it, nothing else does.

Instants are timezone-aware UTC with microseconds, on both databases. SQLite runs inside this
process, so its clock is the process's; PostgreSQL answers with the start of the statement.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate, repeat
from typing import TYPE_CHECKING, Any

from sqlalchemy import TIMESTAMP, BigInteger, bindparam, func, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from govern import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import BindParameter, ColumnElement, Dialect, SQLColumnExpression
    from sqlalchemy.orm import Session
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.types import TypeEngine

TICK = timedelta(microseconds=1)
FORM = "an instant with its offset, such as 2026-11-21T09:00:00Z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)
_set_to: datetime | None = None


class Utc(TypeDecorator[datetime]):
    """An aware UTC instant: `timestamptz` on PostgreSQL, microseconds since 1970 on SQLite."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Let each database compare instants in its own fastest way."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True))
        return dialect.type_descriptor(BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse a naive instant: nobody can tell what it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs its offset from UTC")
        return value if dialect.name == "postgresql" else micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Every instant that leaves the database is in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else from_micros(value)


class _DatabaseNow(FunctionElement[datetime]):
    """The database's own now, in the same units as `Utc`."""

    type = Utc()
    inherit_cache = True


class _DatabasePassing(_DatabaseNow):
    """The same, read when a row is made."""

    inherit_cache = True


@compiles(_DatabasePassing, "postgresql")
def _passing_postgresql(*_: Any, **__: Any) -> str:
    return "clock_timestamp()"


@compiles(_DatabaseNow, "postgresql")
def _now_postgresql(*_: Any, **__: Any) -> str:
    return "statement_timestamp()"


@compiles(_DatabasePassing, "sqlite")
@compiles(_DatabaseNow, "sqlite")
def _now_sqlite(*_: Any, **__: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)"


class _Before(FunctionElement[datetime]):
    """An instant less some seconds."""

    type = Utc()
    inherit_cache = True


@compiles(_Before, "postgresql")
def _before_postgresql(element: _Before, compiler: SQLCompiler, **options: Any) -> str:
    when, seconds = (compiler.process(part, **options) for part in element.clauses)
    return f"({when} - make_interval(secs => {seconds}))"


@compiles(_Before, "sqlite")
def _before_sqlite(element: _Before, compiler: SQLCompiler, **options: Any) -> str:
    when, seconds = (compiler.process(part, **options) for part in element.clauses)
    return f"({when} - 1000000 * {seconds})"


@cache
def instant() -> ColumnElement[datetime]:
    """Now, as part of a statement: what windows are compared with."""
    return func.coalesce(_set(), _DatabaseNow(), type_=Utc())


def passing() -> ColumnElement[datetime]:
    """The instant at which a row of a statement is made: later than now, if that waited."""
    return func.coalesce(_set(), _DatabasePassing(), type_=Utc())


def _set() -> BindParameter[datetime]:
    """What tests set, read when the statement is sent."""
    return bindparam(None, callable_=lambda: _set_to, type_=Utc())


def before(when: ColumnElement[datetime], ago: timedelta) -> ColumnElement[datetime]:
    """An instant of a statement, a while earlier."""
    return _Before(when, literal_column(str(int(ago.total_seconds()))))


def after(when: SQLColumnExpression[datetime], later: timedelta) -> ColumnElement[datetime]:
    """An instant of a statement, a while later."""
    return _Before(when, literal_column(str(-int(later.total_seconds()))))


_NOW = select(instant())


def now(session: Session) -> datetime:
    """Now, by the database's clock."""
    return session.connection().execute(_NOW).scalar_one()


def utcnow() -> datetime:
    """The process's own idea of now: for what no decision hangs on."""
    return _set_to or datetime.now(UTC)


@contextmanager
def at(when: datetime) -> Iterator[None]:
    """Hold the clock at `when` (tests only)."""
    global _set_to  # noqa: PLW0603 - one clock for the process is the point
    before, _set_to = _set_to, when
    try:
        yield
    finally:
        _set_to = before


def micros(when: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (when - _EPOCH) // TICK


def from_micros(value: int) -> datetime:
    """The inverse of `micros`."""
    return _EPOCH + value * TICK


def text(when: datetime) -> str:
    """RFC 3339 in UTC with six decimals: one spelling, so that texts sort as instants do."""
    return when.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def ticks(first: datetime, count: int) -> tuple[list[datetime], list[str]]:
    """So many instants a tick apart, one at least, and their texts."""
    later: Iterator[Any] = accumulate(repeat(TICK, count - 1), initial=first)
    instants: list[datetime] = list(later)
    micro, prefix = first.microsecond, text(first)[:-7]
    if not text(instants[-1]).startswith(prefix):  # a second passes among them
        return instants, [text(at) for at in instants]
    return instants, [f"{prefix}{place:06}Z" for place in range(micro, micro + count)]


def parse(value: str, *, field: str) -> datetime:
    """Read an RFC 3339 instant with its offset; anything else is `Invalid` at `field`."""
    # OverflowError: the calendar's first or last day, which in UTC is beyond it.
    with suppress(ValueError, OverflowError):
        when = datetime.fromisoformat(value.strip().upper())  # RFC 3339 allows t and z
        if when.tzinfo is not None and "T" in value.upper().replace(" ", "T"):
            found = when.astimezone(UTC)
            # Whoever reads it may live a day before or after UTC.
            if _FIRST <= found <= _LAST:
                return found
    if not value.strip():
        raise errors.Invalid(f"{field} is missing.", field=field)
    raise errors.Invalid(f"“{value}” is not {FORM}.", field=field)

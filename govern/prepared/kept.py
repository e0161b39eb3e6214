"""Statements that each connection to PostgreSQL reads once, for what is sent while others wait."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute
from psycopg.pq import TransactionStatus
from sqlalchemy import exc as sa_exc

from govern.prepared.sending import NAMED, checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Executable
    from sqlalchemy.engine.interfaces import Dialect


class Kept:
    """A statement that each connection to PostgreSQL reads once, whatever it rolls back.

    For what is sent while others wait: else PostgreSQL would take longer to read and plan it than
    to do it, and SQLAlchemy and the driver as long again to send it. PostgreSQL itself decides,
    after five times, whether one plan does for whatever is asked. It belongs to a transaction
    that SQLAlchemy began, as a session's connection has one. `lengths` names its values where some
    are lists of strings, with the lengths of these.
    """

    def __init__(
        self,
        statement: Executable,
        dialect: Dialect,
        lengths: tuple[tuple[str, int | None], ...] = (),
    ) -> None:
        options: dict[str, Any] = {}
        if lengths:
            # A list is written out as its elements, for which all values have to be there.
            some = {name: None if n is None else [""] * n for name, n in lengths}
            statement = cast("Any", statement).params(some)
            options = {"compile_kwargs": {"render_postcompile": True}}
        compiled: Any = cast("Any", statement).compile(dialect=dialect, **options)
        self._names = list(dict.fromkeys(filter(None, NAMED.findall(compiled.string))))
        places = {name: f"${place}" for place, name in enumerate(self._names, 1)}
        told = NAMED.sub(lambda match: places[match[1]] if match[1] else "%", compiled.string)
        self._told = told.encode()
        self._name = f"kept_{hashlib.sha256(self._told).hexdigest()[:32]}".encode()
        # Elements of lists are not among those that were bound; they are strings.
        self._binds = {name: compiled.binds[name] for name in self._names if name in compiled.binds}
        adapting = {
            name: bound.type.dialect_impl(dialect).bind_processor(dialect)
            for name, bound in self._binds.items()
        }
        self._adapting = [adapting.get(name) or _as_it_is for name in self._names]
        self._formats = [PyFormat.TEXT] * len(self._names)
        columns = getattr(statement, "selected_columns", ())
        self._reading = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) or _as_it_is
            for column in columns
        ]
        self._failure = dialect.loaded_dbapi.Error

    def rows(self, connection: Connection, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """What it answers, with its values by name."""
        transformer, result = self._sent(connection, given)
        found = transformer.load_rows(0, result.ntuples, tuple)
        return [
            tuple([read(value) for read, value in zip(self._reading, row, strict=True)])
            for row in found
        ]

    def count(self, connection: Connection, given: Mapping[str, Any]) -> int:
        """How many rows it met."""
        _, result = self._sent(connection, given)
        return result.command_tuples or 0

    def _sent(self, connection: Connection, given: Mapping[str, Any]) -> tuple[Any, Any]:
        driver: Any = connection.connection.driver_connection
        values = [
            adapt(given[name]) if name in given else adapt(self._binds[name].effective_value)
            for name, adapt in zip(self._names, self._adapting, strict=True)
        ]
        try:
            if driver.pgconn.transaction_status == TransactionStatus.IDLE:
                driver.execute("")  # the driver is to begin the transaction
            self._prepare(driver)
            transformer = Transformer(driver)
            sent = transformer.dump_sequence(values, self._formats)
            driver.pgconn.send_query_prepared(self._name, sent)
            result = checked(driver, driver.wait(execute(driver.pgconn))[-1])
            transformer.set_pgresult(result)
        except self._failure as error:
            raise sa_exc.DBAPIError.instance(None, None, error, self._failure) from error
        return transformer, result

    def _prepare(self, driver: Any) -> None:
        """Have the connection know the statement; it forgets the one used longest ago for it."""
        known = _KEPT.setdefault(driver, OrderedDict())
        if self._name in known:
            known.move_to_end(self._name)
            return
        if len(known) >= _MOST_KEPT:
            oldest = next(iter(known))
            driver.pgconn.send_query(b"DEALLOCATE " + oldest)
            checked(driver, driver.wait(execute(driver.pgconn))[-1])
            del known[oldest]
        driver.pgconn.send_prepare(self._name, self._told)
        checked(driver, driver.wait(execute(driver.pgconn))[-1])
        known[self._name] = None


# Which connections have which statements, the one used last at the end.
_KEPT: WeakKeyDictionary[Any, OrderedDict[bytes, None]] = WeakKeyDictionary()
_MOST_KEPT = 100  # for each connection, as many as the driver keeps of its own
_kept = lru_cache(maxsize=256)(Kept)
_FEW = 12  # elements of lists, each number of which makes another statement


class Keeping:
    """A connection on which statements that were built once are read once, where that pays."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: Executable, given: Mapping[str, Any]) -> Iterable[Any]:
        """The rows that a statement finds, with its values by name."""
        dialect = self._connection.dialect
        if dialect.name != "postgresql":
            return self._connection.execute(statement, given)
        lists = {name: value for name, value in given.items() if isinstance(value, list)}
        if sum(map(len, lists.values())) > _FEW:
            return self._connection.execute(statement, given)
        named = given if lists else ()
        lengths = tuple((name, len(lists[name]) if name in lists else None) for name in named)
        flat = {name: value for name, value in given.items() if name not in lists}
        for name, value in lists.items():
            flat |= {f"{name}_{place}": each for place, each in enumerate(value, 1)}
        return _kept(statement, dialect, lengths).rows(self._connection, flat)


def _as_it_is(value: Any) -> Any:
    return value

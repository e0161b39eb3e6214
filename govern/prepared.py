"""Statements that are compiled once and sent by the driver.

`Prepared` takes many rows of parameters at once, for what is asked thousands of times a second;
`Kept` is for what is sent while others wait for a lock. SQLAlchemy builds them and keeps the pool,
and neither stands between a question and the database any more.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from contextlib import closing
from functools import lru_cache
from itertools import count, repeat
from types import NoneType
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary, WeakSet

from psycopg import RawCursor
from psycopg import errors as pg_errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy import bindparam, column, func, select, type_coerce
from sqlalchemy import cast as sql_cast
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects.postgresql import ARRAY

from govern.clock import Utc, micros, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Executable, FromClause
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.types import TypeEngine

    Run = Callable[[Any, Sequence[Sequence[Any]]], list[tuple[Any, ...]]]

# How what is planned once is planned: row after row along indexes. For values that it does not know
# PostgreSQL expects many rows, for which it would read whole tables.
_WALKED = {
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
}
_WALKING = ";".join(f"SET LOCAL {name} = {value}" for name, value in _WALKED.items())
_AS_BEFORE = ";".join(f"SET LOCAL {name} = DEFAULT" for name in _WALKED)
_NAMED = re.compile(r"%\((\w+)\)s|%%")
_GIVEN = "given_{}"
_ESCAPED = re.compile(r'["\\]')
_numbers = count()


def stream(
    connection: Connection, statement: Executable, *, size: int, first: int | None = None
) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a statement as the driver gives them, in constant memory.

    They come `size` at a time, or `first` and then ever more, so that the first of all come soon.
    Nothing is converted: what needs it is not to be asked for this way.
    """
    failure = connection.dialect.loaded_dbapi.Error
    driver: Any = connection.connection.driver_connection
    told, fixed, living = _compiled(statement, connection.dialect)
    values = fixed | {name: value() for name, value in living.items()}
    try:
        with closing(_cursor(driver, connection.dialect)) as cursor:
            cursor.execute(told, values)
            number = first or size
            while rows := cursor.fetchmany(number):
                yield rows
                number = min(number * 4, size)
    except failure as error:
        raise sa_exc.DBAPIError.instance(None, None, error, failure) from error


def walk(cursor: Any, statement: str, parameters: Any) -> None:
    """Have a cursor of psycopg, in a transaction, run what each connection is to plan once."""
    settings = cursor.connection.cursor()
    settings.execute(_WALKING, prepare=False)
    cursor.execute(statement, parameters, prepare=True)
    settings.execute(_AS_BEFORE, prepare=False)


def _cursor(driver: Any, dialect: Dialect) -> Any:
    if dialect.name != "postgresql":
        return driver.cursor()
    return driver.cursor(f"govern_{next(_numbers)}", binary=True)


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
        self._names = list(dict.fromkeys(filter(None, _NAMED.findall(compiled.string))))
        places = {name: f"${place}" for place, name in enumerate(self._names, 1)}
        told = _NAMED.sub(lambda match: places[match[1]] if match[1] else "%", compiled.string)
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
            result = _checked(driver, driver.wait(execute(driver.pgconn))[-1])
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
            oldest, _ = known.popitem(last=False)
            driver.pgconn.send_query(b"DEALLOCATE " + oldest)
            _checked(driver, driver.wait(execute(driver.pgconn))[-1])
        driver.pgconn.send_prepare(self._name, self._told)
        _checked(driver, driver.wait(execute(driver.pgconn))[-1])
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


class Prepared:
    """`build` makes the statement from a table of what is asked.

    That table has the columns given, and `n`, the number of its row from 1. In somebody's
    transaction PostgreSQL plans it for what is asked, or `once` for each connection.
    """

    def __init__(
        self,
        columns: Mapping[str, TypeEngine[Any]],
        build: Callable[[FromClause], Executable],
        *,
        once: bool = False,
    ) -> None:
        self._columns = dict(columns)
        self._build = build
        self._once = once
        self._runs: dict[str, Run] = {}
        self._ready: WeakSet[Any] = WeakSet()

    def ready(self, connection: Connection) -> None:
        """See that whoever asks next need not wait until the statement is made and planned.

        It takes a hundred times as long as the answer. In a transaction of someone's nothing is
        done: PostgreSQL plans there for what is asked.
        """
        driver: Any = connection.connection.driver_connection
        if connection.dialect.name != "postgresql":
            driver = connection.dialect  # SQLite plans in no time, and its connections are many
        elif not driver.autocommit:
            return
        if driver not in self._ready:
            self.rows(connection, ())
            self._ready.add(driver)

    def rows(self, connection: Connection, given: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """What the statement answers to these rows of parameters, from one snapshot.

        Instants are aware datetimes both ways.
        """
        dialect = connection.dialect
        run = self._runs.get(dialect.name)
        if run is None:
            compiling = self._on_postgresql if dialect.name == "postgresql" else self._on_sqlite
            run = self._runs[dialect.name] = compiling(dialect)
        failure = dialect.loaded_dbapi.Error
        driver: Any = connection.connection.driver_connection
        try:
            return run(driver, given)
        except failure as error:
            raise sa_exc.DBAPIError.instance(None, None, error, failure) from error

    def _on_postgresql(self, dialect: Dialect) -> Run:
        each = (
            func.unnest(
                *(
                    sql_cast(bindparam(_GIVEN.format(place), required=False), ARRAY(kind))
                    for place, kind in enumerate(self._columns.values())
                )
            )
            .table_valued(
                *(column(name, kind) for name, kind in self._columns.items()), with_ordinality="n"
            )
            .render_derived(name="asked")
        )
        named, fixed, living = _compiled(self._build(each), dialect)
        given_names = [_GIVEN.format(place) for place in range(len(self._columns))]
        order = [*given_names, *living]

        def numbered(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return "%"
            # What never changes is part of the statement, where the planner sees it.
            return f"${order.index(name) + 1}" if name in order else _literal(fixed[name])

        statement = _NAMED.sub(numbered, named)
        own_name = f"govern_{next(_numbers)}".encode()
        transformers: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

        def run(driver: Any, given: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
            columns = zip(*given, strict=True) if given else repeat((), len(self._columns))
            values: list[str | None] = [_array(together) for together in columns]
            values += [_as_text(value()) for value in living.values()]
            if not driver.autocommit:  # the driver is to begin the transaction
                with RawCursor(driver) as cursor:
                    if self._once:
                        walk(cursor, statement, values)
                    else:
                        cursor.execute(statement, values)
                    return cursor.fetchall() if cursor.description else []
            transformer = transformers.get(driver)
            if transformer is None:
                _checked(driver, driver.pgconn.prepare(own_name, statement.encode()))
                transformer = transformers[driver] = Transformer(driver)
            sent = [None if value is None else value.encode() for value in values]
            result = _checked(driver, driver.pgconn.exec_prepared(own_name, sent))
            transformer.set_pgresult(result)
            return transformer.load_rows(0, result.ntuples, tuple)

        return run

    def _on_sqlite(self, dialect: Dialect) -> Run:
        each = func.json_each(bindparam("asked", required=False)).table_valued(
            "key", "value", name="each_asked"
        )
        asked = select(
            *(
                type_coerce(func.json_extract(each.c.value, f"$[{place}]"), kind).label(name)
                for place, (name, kind) in enumerate(self._columns.items())
            ),
            (each.c.key + 1).label("n"),
        ).subquery("asked")
        statement = self._build(asked)
        told, fixed, living = _compiled(statement, dialect)
        instants = {
            place
            for place, each_column in enumerate(getattr(statement, "selected_columns", ()))
            if isinstance(each_column.type, Utc)
        }
        read = Utc().process_result_value

        def run(driver: Any, given: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
            values = fixed | {name: value() for name, value in living.items()}
            values["asked"] = json.dumps(given, default=micros)
            found = driver.execute(told, values).fetchall()
            return [
                tuple(
                    read(value, dialect) if place in instants else value
                    for place, value in enumerate(row)
                )
                for row in found
            ]

        return run


def _checked(driver: Any, result: Any) -> Any:
    if result.status not in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}:
        raise pg_errors.error_from_result(result, encoding=driver.info.encoding)
    return result


def _as_text(value: str | int | datetime | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else text(value)


def _literal(value: str | int | datetime | None) -> str:
    if value is None or isinstance(value, int):
        return "NULL" if value is None else str(value)
    return "'" + (value if isinstance(value, str) else text(value)).replace("'", "''") + "'"


def _array(values: Sequence[Any]) -> str:
    """A column of parameters as PostgreSQL writes an array.

    Most columns are of one kind, and need no look at each value.
    """
    kinds = set(map(type, values))
    if kinds == {str}:
        written = '","'.join(values)
        if "\\" in written or written.count('"') != 2 * (len(values) - 1):
            written = '","'.join(_ESCAPED.sub(r"\\\g<0>", value) for value in values)
        return '{"' + written + '"}'
    if kinds == {NoneType}:
        return "{" + ",".join(["NULL"] * len(values)) + "}"
    written_once = {value: _element(value) for value in set(values)}  # a batch has one instant
    return "{" + ",".join(map(written_once.__getitem__, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + _ESCAPED.sub(r"\\\g<0>", value) + '"'
    return str(value) if isinstance(value, int) else text(value)


def _compiled(
    statement: Executable, dialect: Dialect
) -> tuple[str, dict[str, Any], dict[str, Callable[[], Any]]]:
    """The statement's text, its constants, and what gives those that change, as a test's clock."""
    style = "pyformat" if dialect.name == "postgresql" else "named"
    own: Dialect = cast("Any", type(dialect))(paramstyle=style)
    compiled: Any = cast("Any", statement).compile(
        dialect=own, compile_kwargs={"render_postcompile": True}
    )

    def adapting(bound: Any) -> Callable[[Any], Any]:
        adapt = None if bound is None else bound.type.dialect_impl(own).bind_processor(own)
        return lambda value: value if adapt is None or value is None else adapt(value)

    def present(bound: Any) -> Callable[[], Any]:
        adapt = adapting(bound)
        return lambda: adapt(bound.effective_value)

    living = {
        name: present(bound)
        for name in compiled.params
        if (bound := compiled.binds.get(name)) is not None and bound.callable is not None
    }
    fixed = {
        name: adapting(compiled.binds.get(name))(value)
        for name, value in compiled.params.items()
        if name not in living
    }
    return compiled.string, fixed, living

"""One statement for many rows of parameters, for what is asked thousands of times a second."""

from __future__ import annotations

import json
import re
from itertools import repeat
from types import NoneType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from psycopg import RawCursor
from psycopg.adapt import Transformer
from sqlalchemy import bindparam, column, func, select, type_coerce
from sqlalchemy import cast as sql_cast
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects.postgresql import ARRAY

from govern.clock import Utc, micros, text
from govern.prepared.sending import NAMED, checked, compile_for, numbers, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Executable, FromClause
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.types import TypeEngine

    Run = Callable[[Any, Sequence[Sequence[Any]]], list[tuple[Any, ...]]]

_GIVEN = "given_{}"
_ESCAPED = re.compile(r'["\\]')


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
        done.
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
        named, fixed, living = compile_for(self._build(each), dialect)
        given_names = [_GIVEN.format(place) for place in range(len(self._columns))]
        order = [*given_names, *living]

        def numbered(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return "%"
            # What never changes is part of the statement, where the planner sees it.
            return f"${order.index(name) + 1}" if name in order else _literal(fixed[name])

        statement = NAMED.sub(numbered, named)
        own_name = f"govern_{next(numbers)}".encode()
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
                checked(driver, driver.pgconn.prepare(own_name, statement.encode()))
                transformer = transformers[driver] = Transformer(driver)
            sent = [None if value is None else value.encode() for value in values]
            result = checked(driver, driver.pgconn.exec_prepared(own_name, sent))
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
        told, fixed, living = compile_for(statement, dialect)
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

"""A statement that takes many rows of parameters at once, compiled once and sent by the driver.

For what is asked thousands of times a second: SQLAlchemy builds the statement and keeps the pool,
and neither stands between a question and the database any more.
"""

from __future__ import annotations

import json
import re
from itertools import count
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from psycopg import RawCursor
from psycopg import errors as pg_errors
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus
from sqlalchemy import String, bindparam, column, func, select, type_coerce
from sqlalchemy import cast as sql_cast
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects.postgresql import JSONB

from govern.clock import Utc, micros, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Executable, FromClause
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.types import TypeEngine

    Run = Callable[[Any, Sequence[Sequence[Any]]], list[tuple[Any, ...]]]

_NAMED = re.compile(r"%\((\w+)\)s|%%")
_numbers = count()


class Prepared:
    """`build` makes the statement from a table of what is asked.

    That table has the columns given, and `n`, the number of its row from 1.
    """

    def __init__(
        self, columns: Mapping[str, TypeEngine[Any]], build: Callable[[FromClause], Executable]
    ) -> None:
        self._columns = dict(columns)
        self._build = build
        self._runs: dict[str, Run] = {}

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
        given_rows = sql_cast(bindparam("asked", required=False, type_=String()), JSONB)
        each = (
            func.jsonb_array_elements(given_rows)
            .table_valued(column("value", JSONB), with_ordinality="n", name="each_asked")
            .render_derived()
        )
        asked = select(
            *(
                sql_cast(each.c.value[place].astext, kind).label(name)
                for place, (name, kind) in enumerate(self._columns.items())
            ),
            each.c.n,
        ).subquery("asked")
        named, constants = _compiled(self._build(asked), dialect)
        order: list[str] = []

        def numbered(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return "%"
            if name not in order:
                order.append(name)
            return f"${order.index(name) + 1}"

        statement = _NAMED.sub(numbered, named)
        own_name = f"govern_{next(_numbers)}".encode()
        prepared: WeakSet[Any] = WeakSet()

        def run(driver: Any, given: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
            values = constants()
            values["asked"] = json.dumps(given, default=text)
            ordered = [values[name] for name in order]
            if not driver.autocommit:  # the driver is to begin the transaction
                with RawCursor(driver) as cursor:
                    cursor.execute(statement, ordered, prepare=True)
                    return cursor.fetchall() if cursor.description else []
            if driver not in prepared:
                _checked(driver, driver.pgconn.prepare(own_name, statement.encode()))
                prepared.add(driver)
            sent = [None if value is None else _as_text(value) for value in ordered]
            result = _checked(driver, driver.pgconn.exec_prepared(own_name, sent))
            transformer = Transformer(driver)
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
        told, constants = _compiled(statement, dialect)
        instants = {
            place
            for place, each_column in enumerate(getattr(statement, "selected_columns", ()))
            if isinstance(each_column.type, Utc)
        }
        read = Utc().process_result_value

        def run(driver: Any, given: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
            values = constants()
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


def _as_text(value: str | int | datetime) -> bytes:
    return (value if isinstance(value, str | int) else text(value)).__str__().encode()


def _compiled(statement: Executable, dialect: Dialect) -> tuple[str, Callable[[], dict[str, Any]]]:
    """The statement's text, and what gives its constants: some, as a test's clock, may change."""
    style = "pyformat" if dialect.name == "postgresql" else "named"
    own: Dialect = cast("Any", type(dialect))(paramstyle=style)
    compiled: Any = cast("Any", statement).compile(
        dialect=own, compile_kwargs={"render_postcompile": True}
    )

    def adapted(name: str, value: Any) -> Any:
        bound = compiled.binds.get(name)
        adapt = None if bound is None else bound.type.dialect_impl(own).bind_processor(own)
        return value if adapt is None or value is None else adapt(value)

    fixed = {name: adapted(name, value) for name, value in compiled.params.items()}
    living = {name: bound for name, bound in compiled.binds.items() if bound.callable is not None}

    def constants() -> dict[str, Any]:
        return fixed | {
            name: adapted(name, bound.effective_value) for name, bound in living.items()
        }

    return compiled.string, constants

"""A statement that answers many rows of parameters at once, compiled once and sent by the driver.

For what is asked thousands of times a second: SQLAlchemy builds the statement and keeps the pool,
and neither stands between a question and the database any more.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from psycopg import RawCursor
from sqlalchemy import Integer, bindparam, column, func, select, type_coerce
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects.postgresql import ARRAY

from govern.clock import Utc, micros

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, FromClause, Select
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.types import TypeEngine

    Run = Callable[[Any, Sequence[Sequence[Any]]], list[tuple[Any, ...]]]

_NAMED = re.compile(r"%\((\w+)\)s|%%")


class Prepared:
    """`build` makes the statement from a table of what is asked.

    That table has the columns given, and `n`, the number of its row from 1.
    """

    def __init__(
        self, columns: Mapping[str, TypeEngine[Any]], build: Callable[[FromClause], Select[Any]]
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
        try:
            return run(connection.connection.driver_connection, given)
        except failure as error:
            raise sa_exc.DBAPIError.instance(None, None, error, failure) from error

    def _on_postgresql(self, dialect: Dialect) -> Run:
        arrays = [
            bindparam(name, required=False, type_=ARRAY(kind))
            for name, kind in self._columns.items()
        ]
        asked = (
            func.unnest(*arrays)
            .table_valued(
                *(column(name, kind) for name, kind in self._columns.items()),
                with_ordinality="n",
                name="asked",
            )
            .render_derived()
        )
        text, constants = _compiled(self._build(asked), dialect)
        order: list[str] = []

        def numbered(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return "%"
            if name not in order:
                order.append(name)
            return f"${order.index(name) + 1}"

        text = _NAMED.sub(numbered, text)
        names = list(self._columns)

        def run(driver: Any, given: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
            values = constants()
            values |= zip(names, map(list, zip(*given, strict=True)), strict=True)
            with RawCursor(driver) as cursor:
                cursor.execute(text, [values[name] for name in order], prepare=True)
                return cursor.fetchall()

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
            type_coerce(each.c.key + 1, Integer()).label("n"),
        ).subquery("asked")
        statement = self._build(asked)
        text, constants = _compiled(statement, dialect)
        instants = {
            place
            for place, each_column in enumerate(statement.selected_columns)
            if isinstance(each_column.type, Utc)
        }
        read = Utc().process_result_value

        def run(driver: Any, given: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
            values = constants()
            values["asked"] = json.dumps(given, default=micros)
            found = driver.execute(text, values).fetchall()
            return [
                tuple(
                    read(value, dialect) if place in instants else value
                    for place, value in enumerate(row)
                )
                for row in found
            ]

        return run


def _compiled(statement: Select[Any], dialect: Dialect) -> tuple[str, Callable[[], dict[str, Any]]]:
    """The statement's text, and what gives its constants: some, as a test's clock, may change."""
    style = "pyformat" if dialect.name == "postgresql" else "named"
    own: Dialect = cast("Any", type(dialect))(paramstyle=style)
    compiled = statement.compile(dialect=own, compile_kwargs={"render_postcompile": True})
    adapting = {
        name: adapt
        for name, bound in compiled.binds.items()
        if (adapt := bound.type.dialect_impl(own).bind_processor(own)) is not None
    }

    # What `params` says of these was fixed when lists were spelled out.
    living = [(name, bound) for name, bound in compiled.binds.items() if bound.callable is not None]

    def constants() -> dict[str, Any]:
        values = dict(compiled.params) | {name: bound.effective_value for name, bound in living}
        for name, adapt in adapting.items():
            if values.get(name) is not None:
                values[name] = adapt(values[name])
        return values

    return compiled.string, constants

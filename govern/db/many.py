"""Statements that carry many rows, or several questions at once."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from psycopg.types.string import BytesBinaryDumper
from sqlalchemy import (
    String,
    any_,
    bindparam,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from govern.clock import Utc, micros
from govern.db.engines import planned_once
from govern.prepared import Keeping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import (
        BindParameter,
        ColumnElement,
        CompoundSelect,
        Connection,
        FromClause,
        SelectBase,
        SQLColumnExpression,
        Table,
        Update,
    )
    from sqlalchemy.orm import DeclarativeBase
    from sqlalchemy.orm import Session as OrmSession

T = TypeVar("T")


def insert_if_absent(session: OrmSession, table: type[DeclarativeBase], **values: Any) -> bool:
    """Insert a row unless its key is there; of several at once, the others wait and find it.

    Returns whether it was inserted.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    done = session.execute(
        dialect.insert(table).values(**values).on_conflict_do_nothing(),
        execution_options={"preserve_rowcount": True},
    )
    return bool(done.rowcount == 1)  # type: ignore[attr-defined]  # a DML result has it


def insert_many(session: OrmSession, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows given in the order of the table's columns: COPY on PostgreSQL.

    Values are as the drivers take them, except instants, which are aware datetimes on both.
    PostgreSQL stores rows while the next are made, if they come from an iterator.
    """
    if isinstance(rows, list) and not rows:
        return
    insert_rows(session.connection(), table, rows)


def insert_rows(connection: Connection, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """The same without a session, for what is written at every turn."""
    driver_error = connection.dialect.loaded_dbapi.Error
    insert_all = _copy if connection.dialect.name == "postgresql" else _insert_all
    try:
        insert_all(connection.connection.driver_connection, table, rows)
    except driver_error as error:
        # Named as everywhere else, so that a deadlock here too is run anew.
        raise sa_exc.DBAPIError.instance(None, None, error, driver_error) from error


def _copy(driver: Any, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    statement, kinds = _copying(table)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        # Left to itself it would take one that looks for DB-API's Binary, at three times the cost.
        cursor.adapters.register_dumper(None, BytesBinaryDumper)
        copy.set_types(kinds)
        for row in rows:
            copy.write_row(row)


@lru_cache
def _copying(table: Table) -> tuple[str, list[str]]:
    """How to copy rows into a table, and its columns' types without their lengths."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    kinds = [column.type.compile(dialect).lower() for column in table.columns]
    names = ", ".join(column.name for column in table.columns)
    return (
        f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)",
        [re.split(r"\(| collate", kind)[0] for kind in kinds],
    )


def _insert_all(driver: Any, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    statement, instants = _inserting(table)

    def adapted() -> Iterator[list[Any]]:
        for row in rows:
            values = list(row)
            for i in instants:
                if values[i] is not None:
                    values[i] = micros(values[i])
            yield values

    driver.executemany(statement, adapted())


@lru_cache
def _inserting(table: Table) -> tuple[str, list[int]]:
    """How to insert a row into a table, and which of its columns are instants."""
    instants = [i for i, column in enumerate(table.columns) if isinstance(column.type, Utc)]
    names = ", ".join(column.name for column in table.columns)
    marks = ", ".join("?" * len(table.columns))
    return f"INSERT INTO {table.name} ({names}) VALUES ({marks})", instants  # noqa: S608 - our own names


def both(connection: Connection, first: Update, second: Update, values: Mapping[str, Any]) -> None:
    """Make two changes, of different tables: on PostgreSQL with one statement."""
    if connection.dialect.name == "postgresql":
        Keeping(connection).execute(_both(first, second), values)
        return
    connection.execute(first, values)
    connection.execute(second, values)


@cache
def _both(first: Update, second: Update) -> Update:
    return second.add_cte(first.cte("first"))


def listed(session: OrmSession, values: Sequence[str]) -> FromClause:
    """Many values as a table with one column `value`, bound as a single JSON parameter."""
    given = bindparam(None, json.dumps(values), type_=String())
    return listing(given, postgresql=session.get_bind().dialect.name == "postgresql")


def listing(given: BindParameter[str], *, postgresql: bool) -> FromClause:
    """The same of a parameter that holds a JSON list whenever it is asked."""
    if postgresql:
        return func.jsonb_array_elements_text(cast(given, JSONB)).table_valued("value")
    return func.json_each(given).table_valued("value")


def among_few(
    session: OrmSession, column: SQLColumnExpression[str], found: SelectBase
) -> ColumnElement[bool]:
    """That a column is one of a few values that a query finds.

    Of an array PostgreSQL looks each up by an index; of IN it may read all rows to join them.
    """
    if session.get_bind().dialect.name == "postgresql":
        held: ColumnElement[bool] = column == any_(func.array(found.scalar_subquery()))
        return held
    return column.in_(found)


@dataclass(frozen=True)
class Inquiry(Generic[T]):
    """Something to ask along with others: what to select, and what its rows tell.

    The rows are tuples of plain columns, and come in no order. `given` are the values of the
    query's parameters, where it is built once for all who ask it; no others asked with it may have
    parameters of these names.
    """

    query: SelectBase
    read: Callable[[list[tuple[Any, ...]]], T]
    given: Mapping[str, Any] | None = None


def together(asked: OrmSession | Connection | Keeping, *inquiries: Inquiry[Any]) -> list[Any]:
    """What some inquiries find, asked in one statement."""
    queries = [each.query for each in inquiries]
    lasting = all(each.given is not None for each in inquiries)
    joined, widths = (_joined_once if lasting else _joined)(*queries)
    given = {name: value for each in inquiries for name, value in (each.given or {}).items()}
    found: list[list[tuple[Any, ...]]] = [[] for _ in inquiries]
    for place, *values in asked.execute(joined, given):
        begin = sum(widths[:place])
        found[place].append(tuple(values[begin : begin + widths[place]]))
    return [each.read(rows) for each, rows in zip(inquiries, found, strict=True)]


def _joined(*queries: SelectBase) -> tuple[CompoundSelect[Any], list[int]]:
    """One statement of several, whose rows begin with the place of theirs; how wide each is."""
    parts = [query.subquery() for query in queries]
    arms = []
    for place, part in enumerate(parts):
        # Each has columns of its own, which are empty in the rows of the others.
        columns = [
            column if other is part else cast(null(), _plain(column.type))
            for other in parts
            for column in other.c
        ]
        named = (column.label(f"c{number}") for number, column in enumerate(columns))
        arms.append(select(literal(place).label("place"), *named).select_from(part))
    return union_all(*arms), [len(part.c) for part in parts]


@lru_cache(maxsize=256)
def _joined_once(*queries: SelectBase) -> tuple[CompoundSelect[Any], list[int]]:
    joined, widths = _joined(*queries)
    return planned_once(joined), widths


def _plain(kind: Any) -> Any:
    return String() if isinstance(kind, String) else kind

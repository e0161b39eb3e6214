"""Writing what an operation changed and added, in the least time under the heads' locks.

Rows are written as a flush would do it; but a flush takes three times as long for new ones, to put
in order what needs none: foreign keys are looked at by the commit. On PostgreSQL all tables are
written by one statement. What changed goes first: a row may take the place of one that ends.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, bindparam, insert, inspect
from sqlalchemy.orm import Mapper, make_transient_to_detached

from govern.prepared import sender

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Insert, Update
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session

# Rows that are worth a statement of their own shape, which is kept: an act has seldom more.
_FEW = 12


def write(
    session: Session, others: Mapping[Table, list[dict[str, Any]]], *, then: Update, **values: Any
) -> None:
    """Write all that waits in a session, and other rows, then make one change with its `values`.

    The session's rows are as after a flush; of the others each has all columns of its table.
    """
    new = list(session.new)
    tables: dict[Table, list[dict[str, Any]]] = {}
    for row in new:
        session.expunge(row)
        mapper: Mapper[Any] = inspect(row).mapper
        assert isinstance(mapper.local_table, Table)  # noqa: S101 - every mapper has one
        tables.setdefault(mapper.local_table, []).append(_values(mapper, row))
    session.flush()
    _add(session, tables | dict(others), then, values)
    for row in new:
        make_transient_to_detached(row)
        # What was not set is empty, as after a flush: it need not be read to be known.
        inspect(row).expired_attributes.clear()
        session.add(row)


def _values(mapper: Mapper[Any], row: object) -> dict[str, Any]:
    """A row's values by column; what was not set takes its default, or is empty."""
    values = {}
    for name, column, default in _columns(mapper):
        if name not in row.__dict__ and default is not None:
            setattr(row, name, default)
        values[column] = row.__dict__.get(name)
    return values


@lru_cache
def _columns(mapper: Mapper[Any]) -> list[tuple[str, str, Any]]:
    """Of each column the attribute, the name and the default."""
    columns = ((each.key, each.columns[0]) for each in mapper.column_attrs)
    return [
        (name, column.name, None if column.default is None else column.default.arg)
        for name, column in columns
    ]


def _add(
    session: OrmSession,
    tables: Mapping[Table, list[dict[str, Any]]],
    then: Update,
    values: dict[str, Any],
) -> None:
    shape = tuple((table, len(rows)) for table, rows in tables.items() if rows)
    connection = session.connection()
    if connection.dialect.name == "postgresql" and sum(count for _, count in shape) <= _FEW:
        given = {
            f"{table.name}_{place}_{name}": value
            for table, _ in shape
            for place, row in enumerate(tables[table])
            for name, value in row.items()
        }
        _at_once(shape, then, connection.dialect)(connection, given | values)
        return
    for table, _ in shape:
        connection.execute(_one(table), tables[table])
    connection.execute(then, values)


@lru_cache
def _one(table: Table) -> Insert:
    return insert(table)


@lru_cache(maxsize=256)
def _at_once(
    shape: tuple[tuple[Table, int], ...], then: Update, dialect: Dialect
) -> Callable[[Connection, Mapping[str, Any]], None]:
    """One statement for so many rows of some tables, bound by table, place and column."""
    parts = [
        insert(table).values(
            {
                column.name: bindparam(f"{table.name}_{place}_{column.name}")
                for column in table.columns
            }
        )
        for table, count in shape
        for place in range(count)
    ]
    whole = then.add_cte(*(part.cte(f"rows_{place}") for place, part in enumerate(parts)))
    return sender(whole, dialect)

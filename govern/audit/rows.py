"""Writing what an operation changed and added, in the least time under the heads' locks.

Rows are written as a flush would do it; but a flush takes three times as long for new ones, to put
in order what needs none: foreign keys are looked at by the commit. What changed goes first: a row
may take the place of one that ends. On PostgreSQL all is written by one statement, but what changed
in a table that has new rows as well.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, bindparam, insert, inspect, select, update
from sqlalchemy.orm import Mapper, make_transient, make_transient_to_detached
from sqlalchemy.orm.exc import StaleDataError

from govern.prepared import Kept

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Insert, Update
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
    whole = tables | dict(others)
    changed = _changed(session, whole)
    session.flush()
    _add(session, whole, changed.values(), then, values)
    for row in changed:
        make_transient(row)
        make_transient_to_detached(row)
        session.add(row)
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


def _changed(
    session: Session, new: Mapping[Table, list[dict[str, Any]]]
) -> dict[object, tuple[Table, dict[str, Any]]]:
    """Taken out of a session: rows that may change in the statement that writes the new ones.

    Each with its table, and its key and what changed by column. Its parts are done in no order, so
    no table is among them that has new rows.
    """
    free = _FEW - sum(map(len, new.values()))
    if not session.database.is_postgresql or free < len(session.dirty):
        return {}
    found: dict[object, tuple[Table, dict[str, Any]]] = {}
    # In one order always: each has a statement of its own, which takes longer to make than to run.
    for row in sorted(session.dirty, key=_place):
        state = inspect(row)
        table, key, same = state.mapper.local_table, state.mapper.primary_key, state.unmodified
        values = {
            column: row.__dict__[name]
            for name, column, _ in _columns(state.mapper)
            if name not in same and state.attrs[name].history.has_changes()
        }
        if values and not new.get(table) and len(key) == 1 and key[0].name not in values:
            found[row] = table, {key[0].name: state.identity[0], **values}
    for row in found:
        session.expunge(row)
    return found


def _place(row: object) -> str:
    return f"{row.__tablename__}:{inspect(row).identity}"  # type: ignore[attr-defined]  # a mapped row has it


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
    changed: Collection[tuple[Table, dict[str, Any]]],
    then: Update,
    values: dict[str, Any],
) -> None:
    shape = tuple((table, len(rows)) for table, rows in tables.items() if rows)
    connection = session.connection()
    if connection.dialect.name == "postgresql" and sum(count for _, count in shape) <= _FEW:
        changes = tuple((table, tuple(row)) for table, row in changed)
        given = {
            f"{table.name}_{place}_{name}": value
            for table, _ in shape
            for place, row in enumerate(tables[table])
            for name, value in row.items()
        } | {
            f"changed_{place}_{name}": value
            for place, (_, row) in enumerate(changed)
            for name, value in row.items()
        }
        done = _at_once(shape, changes, then, connection.dialect).count(connection, given | values)
        if done != 1:
            raise StaleDataError("A row to be changed is gone.")  # as a flush would say it
        return
    for table, _ in shape:
        connection.execute(_one(table), tables[table])
    connection.execute(then, values)


@lru_cache
def _one(table: Table) -> Insert:
    return insert(table)


@lru_cache(maxsize=256)
def _at_once(
    shape: tuple[tuple[Table, int], ...],
    changes: tuple[tuple[Table, tuple[str, ...]], ...],
    then: Update,
    dialect: Dialect,
) -> Kept:
    """One statement for so many rows of some tables, bound by table, place and column.

    And for changes of some others, by their columns, of which the first is the key: where a row of
    these is gone, it makes none of the last change.
    """
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
    changed = [
        update(table)
        .where(table.c[key] == bindparam(f"changed_{place}_{key}"))
        .values({name: bindparam(f"changed_{place}_{name}") for name in names})
        .returning(table.c[key].label("key"))
        .cte(f"changed_{place}")
        for place, (table, (key, *names)) in enumerate(changes)
    ]
    whole = then.where(*(select(each.c.key).exists() for each in changed))
    whole = whole.add_cte(*(part.cte(f"rows_{place}") for place, part in enumerate(parts)))
    return Kept(whole, dialect)

"""Statements that a connection keeps: they answer as any other does, whatever is rolled back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import bindparam, select, text, update

from govern.identity.throttle import Throttle
from govern.prepared import Keeping

if TYPE_CHECKING:
    from govern.db import Database, Session

_WHEN = datetime(2026, 11, 21, 12, 0, 0, 123457, tzinfo=timezone(timedelta(hours=3)))
_AMONG = (
    select(Throttle.key, Throttle.failures, Throttle.blocked_until)
    .where(Throttle.key.in_(bindparam("keys", expanding=True)))
    .where(Throttle.failures >= bindparam("least"))
    .order_by(Throttle.key)
)
_MORE = update(Throttle).where(Throttle.key == bindparam("who")).values(failures=bindparam("n"))


def _fill(session: Session) -> None:
    for n in range(20):
        session.add(Throttle(key=f"k{n:02} '%s\\", failures=n, blocked_until=_WHEN if n else None))


@pytest.mark.parametrize("count", [0, 1, 3, 12, 13])
def test_it_answers_as_any_other_statement(store: Database, count: int) -> None:
    store.transaction(_fill)
    given: dict[str, Any] = {"keys": [f"k{n:02} '%s\\" for n in range(count)], "least": 0}
    with store.writer.connect() as connection:
        for _ in range(3):  # whatever was rolled back before
            found = list(Keeping(connection).execute(_AMONG, given))
            assert found == [tuple(row) for row in connection.execute(_AMONG, given)]
            assert len(found) == count
            assert all(row[2] is None or row[2].tzinfo is UTC for row in found)
            connection.rollback()


def test_what_it_changes_is_of_the_transaction(store: Database) -> None:
    store.transaction(_fill)
    given = {"who": "k03 '%s\\", "n": 70_000}
    with store.writer.connect() as connection:
        begun = connection.begin()
        Keeping(connection).execute(_MORE, given)
        begun.rollback()
    with store.reading() as session:
        assert session.get_one(Throttle, "k03 '%s\\").failures == 3
    store.transaction(lambda session: Keeping(session.connection()).execute(_MORE, given))
    with store.reading() as session:
        assert session.get_one(Throttle, "k03 '%s\\").failures == 70_000


def test_a_connection_keeps_so_many_and_forgets_the_one_used_longest_ago(
    store: Database, database: str
) -> None:
    store.transaction(_fill)
    three = select(Throttle.failures).where(Throttle.failures == 3)
    wanted = [three.add_columns((Throttle.failures + n).label(f"n{n}")) for n in range(105)]
    with store.writer.connect() as connection:
        for n in (*range(105), 104, 5, 0):
            assert list(Keeping(connection).execute(wanted[n], {})) == [(3, 3 + n)]
        if database == "postgresql":
            kept = text("SELECT statement FROM pg_prepared_statements WHERE name LIKE 'kept%'")
            told = connection.execute(kept).scalars().all()
            left = {n for n in range(105) if any(f"AS n{n} " in each for each in told)}
            assert (len(told), left) == (100, {0, 5, *range(7, 105)})

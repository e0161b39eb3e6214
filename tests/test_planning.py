"""SQLite is told how much there is, so that it goes through no table for a few of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from govern.db import Planning
from tests.factory import World

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from govern.db import Database, Session


def _plan(connection: Connection, given: str) -> str:
    """How a client's grants of one person are found: asked of another person each time.

    The driver keeps a statement of the same words, and with it how it was planned.
    """
    of = f"client_id = 'c' AND subject_id = '{given}'"
    asked = f"EXPLAIN QUERY PLAN SELECT 1 FROM access_grant WHERE {of} ORDER BY id"
    return str(connection.execute(text(asked)).all()[0][3])


def _swell(session: Session) -> None:
    session.execute(text("CREATE TABLE IF NOT EXISTS ballast (n INTEGER, what BLOB)"))
    session.execute(text("INSERT INTO ballast VALUES (1, zeroblob(10000000))"))


def _known(connection: Connection) -> dict[str, str]:
    found = connection.execute(text("SELECT idx, stat FROM sqlite_stat1 WHERE idx IS NOT NULL"))
    return {name: stat for name, stat in found.all()}  # noqa: C416 - typed so


def test_every_connection_plans_by_how_much_there_is_whenever_that_has_doubled(
    store: Database,
) -> None:
    world, planning = World(store), Planning(store)
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    world.crowd(project, client, 1)
    assert not planning.follow(), "there is nothing to be gained yet"
    if store.is_postgresql:
        return  # it looks by itself, however much there is
    store.transaction(_swell)
    with store.asking() as connection:
        assert planning.follow()
        assert {"log_entry", "ix_log_entry_type"} <= _known(connection).keys()
        plan = _plan(connection, "one")
        assert "ix_access_grant_client" in plan, "all of a client's, for they are in order"
        world.crowd(project, client, 50)
        assert not planning.follow(), "it has not doubled"
        for _ in range(2):
            store.transaction(_swell)
        assert planning.follow()
        assert _known(connection)["ix_access_grant_subject"] == "51 1 1"
        plan = _plan(connection, "other")
        assert "ix_access_grant_subject" in plan, "the connection that planned before plans anew"


def test_who_stops_it_waits_for_one_index_and_what_is_known_by_then_stays(
    store: Database,
) -> None:
    if store.is_postgresql:
        return
    World(store).client("ASTER")
    store.transaction(_swell)
    planning = Planning(store)

    class Stop(Exception):
        pass

    def stop(_: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        planning.follow(progress=stop)
    with store.asking() as connection:
        assert _known(connection)
    assert planning.follow(), "and it looks anew at the next round"

"""What is only shown may come from a replica, which says how old it is; decisions never do."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from govern import create_app, replica, schema
from govern.audit import export
from govern.audit.export import Filter
from govern.audit.signer import Signer
from govern.config import Settings
from govern.db import Database
from tests.factory import OPERATOR, World
from tests.support import cluster
from tests.web.desks import desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Templates
    from tests.web.visitor import Visitor


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[cluster.Pair, Settings]]:
    """A migrated primary with its replica, shared by the tests of this file."""
    with cluster.pair() as made:
        settings = Settings(
            data_dir=tmp_path_factory.mktemp("replica"),
            database_url=made.url(made.primary),
            replica_url=made.url(made.replica),
        )
        schema.upgrade(settings)
        yield made, settings


def pages(visitor: Visitor, person: str) -> list[str]:
    """What each page that may be read from a replica says of its age."""
    found = []
    for path in ("/log", "/log/access", f"/people/{person}/history", "/who?target=client:ASTER"):
        answer = visitor.client.get(path)
        assert answer.status_code == 200, path
        found += re.findall(r"<p[^>]* data-copy>(.*?)</p>", answer.text) or [""]
    return found


def test_pages_and_exports_come_from_the_replica_and_say_how_old_it_is_and_decisions_never_do(
    pair: tuple[cluster.Pair, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, settings = pair
    app = create_app(settings)
    store: Database = app.extensions["govern"]
    world = World(store)
    project = world.project(client=world.client("ASTER"))
    person = world.subject()
    world.grant(person, project)
    visitor = desk(app, world, "auditor")

    def exported() -> list[dict[str, object]]:
        file = io.BytesIO()
        export.run(store, file, form="jsonl", where=Filter(), by=OPERATOR)
        return [json.loads(line) for line in file.getvalue().splitlines()]

    def size() -> int:
        with replica.reading(store) as session:
            assert session.get_bind() is store.copy
        return len(exported())

    # What was committed before is waited for.
    for _ in range(5):
        newest = world.subject(organisation="waited")
        with replica.reading(store) as session:
            assert replica.behind(session) is not None
            assert session.get(type(newest), newest.id) is not None
    Signer(settings).sign(store)
    before, told = size(), visitor.get("/log").text.count("suspension.opened")
    assert all("holds all that was recorded" in said for said in pages(visitor, person.id))

    monkeypatch.setattr(replica, "MOST_BEHIND", timedelta(hours=1))  # however slow this machine is
    # Behind, it says so; a decision knows of the pause all the same.
    made.query(made.replica, "SELECT pg_wal_replay_pause()")
    world.suspend("client:ASTER")
    Signer(settings).sign(store)
    assert not world.permits(person, project)
    said = pages(visitor, person.id)
    assert all(re.search(r"replica that is \d+\.\d s behind", each) for each in said), said
    assert size() == before
    assert visitor.get("/log").text.count("suspension.opened") == told

    # Too far behind, and later gone: the primary is read, and nothing is said.
    monkeypatch.setattr(replica, "MOST_BEHIND", timedelta(0))
    assert pages(visitor, person.id) == [""] * 4
    assert len(exported()) > before
    made.query(made.replica, "SELECT pg_wal_replay_resume()")
    monkeypatch.setattr(replica, "MOST_BEHIND", timedelta(hours=1))
    replica._aside_until.clear()
    assert "holds all" in pages(visitor, person.id)[0]
    made.replica.kill()
    assert pages(visitor, person.id) == [""] * 4
    store.dispose()


def test_what_is_no_replica_of_this_primary_is_not_read(
    pair: tuple[cluster.Pair, Settings], templates: Templates
) -> None:
    _made, own = pair
    stranger = templates.server.create_database()
    for other in (own.database_url, stranger):
        store = Database(replace(own, replica_url=other))
        with replica.reading(store) as session:
            assert replica.behind(session) is None
        store.dispose()
    templates.server.drop_database(stranger)

"""A database that fails in any way means no permit; once it is back, so are the answers."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import event, make_url

from govern.db import engines
from govern.identity.integrations import Registration
from tests.factory import World
from tests.web.authzen.asking import MANY, ONE, Tool, question

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from flask import Flask


@dataclass
class Asker(Tool):
    """A tool that also asks about a token, which is good."""

    token: str = ""


@pytest.fixture
def tool(world: World, app: Flask) -> Asker:
    kingfisher = world.project("Kingfisher", client=world.client("ASTER"))
    world.grant(world.subject("ada"), kingfisher)
    resource = "https://labels.example"
    credentials = world.integration(
        scopes=("decision", "introspect"), registration=Registration(resources=(resource,))
    )
    found = Asker(app, (credentials[0].id, credentials[1]))
    form = {"grant_type": "client_credentials", "resource": resource}
    found.token = found.send("/oauth/token", None, data=form).json["access_token"]
    assert permits(found) == [True] * 4
    return found


def permits(tool: Asker) -> list[bool]:
    """What is answered to one question, to two in a batch, and about a token; nothing is no."""
    one = tool.send(ONE, question())
    many = tool.send(MANY, question() | {"evaluations": [{}, {}]})
    token = tool.send("/oauth/introspect", None, data={"token": tool.token})
    for answer in (one, many, token):
        assert answer.status_code in {200, 503}, answer.text
    told = [one.json, *many.json.get("evaluations", [{}, {}])]
    return [*(item.get("decision", False) for item in told), token.json.get("active", False)]


@contextmanager
def beside(url: str, *, dbname: str | None = None) -> Iterator[psycopg.Connection[Any]]:
    """A connection of somebody else's to the server, or to the test's database."""
    address = make_url(url)
    with psycopg.connect(
        host=address.host, port=address.port, user=address.username, password=address.password,
        dbname=dbname or address.database, autocommit=True,
    ) as connection:  # fmt: skip
        yield connection


def test_while_the_database_is_stopped_nothing_is_permitted(
    tool: Asker, world: World, database: str, url: str
) -> None:
    if database == "sqlite":
        kept = world.store.settings.data_dir / "govern.db"
        world.store.dispose()
        tool.app.extensions["govern"].dispose()
        kept.rename(kept.with_suffix(".away"))
        assert permits(tool) == [False] * 4
        tool.app.extensions["govern"].dispose()
        kept.unlink(missing_ok=True)
        kept.with_suffix(".away").rename(kept)
    else:
        name = make_url(url).database
        with beside(url, dbname="postgres") as other:
            other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            assert permits(tool) == [False] * 4
            other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert permits(tool) == [True] * 4


def test_a_restart_of_the_server_is_felt_by_nobody(tool: Asker, database: str, url: str) -> None:
    if database == "sqlite":
        tool.app.extensions["govern"].dispose()
    else:
        with beside(url, dbname="postgres") as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [make_url(url).database],
            )
    assert permits(tool) == [True] * 4


def test_while_the_access_log_is_locked_nothing_is_permitted(
    tool: Asker, world: World, database: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_SQLITE_WAIT", 0.2)
    if database == "sqlite":
        path = make_url(world.store.settings.access_url).database
        assert path is not None
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert permits(tool) == [False] * 4
        other.execute("ROLLBACK")
        other.close()
    else:
        with beside(url) as locking, locking.transaction():
            locking.execute("LOCK TABLE access_row IN ACCESS EXCLUSIVE MODE")
            assert permits(tool) == [False] * 4
    assert permits(tool) == [True] * 4


def test_while_the_disk_is_full_nothing_is_permitted(tool: Asker, database: str, url: str) -> None:
    if database == "sqlite":
        store = tool.app.extensions["govern"]
        store.dispose()
        engine = store._access_asker

        def full(connection: sqlite3.Connection, _: Any) -> None:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")

        event.listen(engine, "connect", full)
        # The last page may still hold some rows.
        answers = [permits(tool) for _ in range(60)]
        assert [False] * 4 in answers
        assert answers[-1] == [False] * 4
        event.remove(engine, "connect", full)
        store.dispose()
    else:
        with beside(url) as other:
            other.execute(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'No space left' USING ERRCODE = 'disk_full'; END $$"
            )
            other.execute(
                "CREATE TRIGGER full_disk BEFORE INSERT ON access_row "
                "FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"
            )
            assert permits(tool) == [False] * 4
            other.execute("DROP TRIGGER full_disk ON access_row")
    assert permits(tool) == [True] * 4

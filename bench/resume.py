"""`bench resume`: the list of who comes back, and the approval that lets 10,000 of them in."""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import select, text

from bench import world
from bench.figures import Figure, store, timed
from govern.access import requests, roster, suspensions
from govern.access.clients import Client
from govern.access.grants import Grant, Supposing
from govern.access.modes import Mode
from govern.access.suspensions import Reason, difference
from govern.principal import operator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from govern.access.requests import Request
    from govern.access.suspensions import Suspension
    from govern.db import Database, Session

GRANTS = 10_000
ROUNDS = 7
SECOND = operator("second")


def run(kind: str) -> Iterator[Figure]:
    """Pause and resume a project of 10,000 some times."""
    with store(kind) as database:
        world.load_catalogue(database)
        roster.load(database, world.large_roster(GRANTS), by=world.BY)
        yield from _resume(kind, database)


def _resume(kind: str, database: Database) -> Iterator[Figure]:
    found: dict[str, list[float]] = {}
    floors: dict[str, list[float]] = {}
    returned = 0
    _begin_floor(database)
    for _ in range(ROUNDS):
        pause = database.transaction(_pause)
        suspensions.particulars.write(database)
        suspensions.tallying.tally(database)  # as followers do within a second
        found.setdefault("list", []).append(timed(partial(_list, database, pause)))
        floors.setdefault("list", []).append(timed(lambda: _bare_list(database)))
        asked = database.transaction(partial(_ask, pause=pause))
        returned = asked.number
        for name, took in _approve(database, asked).items():
            found.setdefault(name, []).append(took)
        floors.setdefault("commit", []).append(timed(lambda: _bare_commit(database)))
        suspensions.particulars.write(database)
    for name, words, floor in (
        ("list", "list of the difference: counts, a page, its digest", "list"),
        ("all", "approval, from click to commit", "commit"),
        ("transaction", "approval, its own transaction after the check", "commit"),
        ("heads", "approval, from the heads' locks to its commit", "commit"),
    ):
        yield Figure(
            bench="resume",
            name=f"{words}, {returned:,} grants",
            database=kind,
            value=statistics.median(found[name]) * 1000,
            unit="ms",
            floor=statistics.median(floors[floor]) * 1000,
            n=ROUNDS,
        )


def _pause(session: Session) -> Suspension:
    return suspensions.open(
        session,
        [suspensions.target(session, "client:BOREAL")],
        mode=Mode.PAUSED,
        reason=Reason.CLIENT_REQUEST,
        by=world.BY,
    )


def _list(database: Database, pause: Suspension) -> None:
    """What the page that asks for a lift reads."""
    supposing = Supposing(suspension=pause.id)
    with database.reading() as session:
        found = suspensions.reading.find(session, pause.id, by=world.BY)
        difference.counts(session, found.standing, supposing)
        difference.page(session, found.standing, supposing, group="returns", by=world.BY)
        suspensions.returning_digest(session, pause)


def _bare_list(database: Database) -> None:
    """Floor of the list: the ids of the same grants, in order, read once."""
    with database.reading() as session:
        session.execute(
            select(Grant.id)
            .join(Client, Client.id == Grant.client_id)
            .where(Client.code == "BOREAL")
            .order_by(Grant.id)
        ).scalars().all()


def _ask(session: Session, pause: Suspension) -> Request:
    number = suspensions.returning(session, Supposing(suspension=pause.id))
    return suspensions.ask_lift(
        session, session.get_one(type(pause), pause.id), number=number, by=world.BY
    )


def _approve(database: Database, asked: Request) -> dict[str, float]:
    """Seconds from the click, from the last transaction's beginning and from the heads' locks."""
    began = {"all": time.perf_counter()}

    def work(session: Session) -> None:
        began["transaction"] = time.perf_counter()
        # Run just before the record is written, which begins with the heads' locks.
        session.at_commit(lambda _: began.update(heads=time.perf_counter()))
        requests.approve(session, asked.id, number=asked.number, by=SECOND)

    database.transaction(work)
    end = time.perf_counter()
    return {name: end - start for name, start in began.items()}


def _begin_floor(database: Database) -> None:
    def work(session: Session) -> None:
        session.execute(text("CREATE TABLE bare (id INTEGER PRIMARY KEY, ended INTEGER)"))
        session.execute(text("CREATE TABLE bare_entry (n INTEGER, leaf TEXT)"))
        session.execute(text("INSERT INTO bare VALUES (1, 0)"))

    database.transaction(work)


def _bare_commit(database: Database) -> None:
    """Floor of an approval: a row changed and an entry's worth of text added, durably."""

    def work(session: Session) -> None:
        session.execute(text("UPDATE bare SET ended = ended + 1 WHERE id = 1"))
        session.execute(text("INSERT INTO bare_entry VALUES (1, :leaf)"), {"leaf": "x" * 420})

    database.transaction(work)

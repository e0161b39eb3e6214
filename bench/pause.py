"""`bench pause`: the enforcing commit, its particulars, the lift, and a pause against an import."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING

from bench import world
from bench.figures import KINDS, Figure, percentile, store, timed
from govern.access import requests, roster, suspensions
from govern.access.grants import Supposing
from govern.access.modes import Mode
from govern.access.suspensions import Reason
from govern.db import Database
from govern.principal import operator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.sharedctypes import Synchronized

    from govern.access.suspensions import Suspension
    from govern.config import Settings
    from govern.db import Session

IMPORTED = 300_000
SECOND = operator("second")


def run() -> Iterator[Figure]:
    """Measure on the example roster; then pauses while 300,000 rows come in."""
    for kind in KINDS:
        with store(kind) as database:
            yield from _largest_client(kind, database)
            yield from _against_import(kind, database)


def _open(session: Session, reference: str) -> Suspension:
    return suspensions.open(
        session,
        [suspensions.target(session, reference)],
        mode=Mode.PAUSED,
        reason=Reason.CLIENT_REQUEST,
        by=world.BY,
    )


def _largest_client(kind: str, database: Database) -> Iterator[Figure]:
    world.load_catalogue(database)
    world.load_roster(database)
    opened: list[Suspension] = []
    commit = timed(
        lambda: opened.append(database.transaction(partial(_open, reference="client:ASTER")))
    )
    count = 0

    def write() -> None:
        nonlocal count
        count = suspensions.particulars.write(database)

    rate = 3257 / timed(write)
    floor = 3257 / timed(lambda: world.bare_append(database, 3257))
    yield Figure(
        bench="pause",
        name="enforcing commit, 3,257 grants",
        database=kind,
        value=commit * 1000,
        unit="ms",
        n=count,
    )
    yield Figure(
        bench="pause",
        name="particulars",
        database=kind,
        value=rate,
        unit="entries/s",
        floor=floor,
        n=count,
    )

    def ask(session: Session) -> requests.Request:
        number = suspensions.returning(session, Supposing(suspension=opened[0].id))
        return suspensions.ask_lift(session, opened[0], number=number, by=world.BY)

    asked = database.transaction(ask)

    def approve(session: Session) -> None:
        requests.approve(session, asked.id, number=asked.number, by=SECOND)

    lifted = timed(lambda: database.transaction(approve))
    yield Figure(
        bench="pause",
        name="lift approved, from the request to its commit",
        database=kind,
        value=lifted * 1000,
        unit="ms",
        n=asked.number,
    )


def _import(settings: Settings, rows: Synchronized[int]) -> None:
    """The import, in a process of its own as `govern import roster` is."""
    database = Database(settings)

    def progress(count: int) -> None:
        with rows.get_lock():
            rows.value += count

    roster.load(database, world.large_roster(IMPORTED), by=world.BY, progress=progress)
    database.dispose()


def _against_import(kind: str, database: Database) -> Iterator[Figure]:
    processes = multiprocessing.get_context("spawn")
    rows = processes.Value("q", 0)
    start = time.perf_counter()
    importer = processes.Process(target=_import, args=(database.settings, rows))
    importer.start()
    while importer.is_alive() and not rows.value:
        time.sleep(0.05)
    waits = []
    while importer.is_alive():
        took = timed(lambda: database.transaction(partial(_open, reference="project:Malachite")))
        waits.append(took * 1000)
        time.sleep(1)  # each pause stays open: more of them would measure themselves
    importer.join()
    if importer.exitcode or rows.value != IMPORTED:
        raise SystemExit(f"bench pause: the import wrote {rows.value:,} of {IMPORTED:,} rows")
    elapsed = time.perf_counter() - start
    name = "pause while 300,000 rows come in"
    for part, value in (
        ("median", statistics.median(waits)),
        ("p95", percentile(waits, 0.95)),
        ("most", max(waits)),
    ):
        yield Figure(
            bench="pause",
            name=f"{name}, {part}",
            database=kind,
            value=value,
            unit="ms",
            n=len(waits),
        )
    yield Figure(
        bench="pause",
        name="import meanwhile",
        database=kind,
        value=rows.value / elapsed,
        unit="rows/s",
        n=rows.value,
    )

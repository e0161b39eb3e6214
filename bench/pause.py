"""`bench pause`: the enforcing commit, its particulars, the lift, and a pause against an import.

Its own world has three clients, of 10,000, 100,000 and 1,000,000 grants.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import statistics
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, bindparam, exists, select

from bench import decide, load, servers, world
from bench.figures import Figure, percentile, store, timed
from govern import clock
from govern.access import requests, roster, suspensions
from govern.access.clients import Project
from govern.access.grants import Supposing
from govern.access.modes import Mode
from govern.access.suspension_tables import Particulars
from govern.access.suspensions import Reason
from govern.audit import log
from govern.cli.followers import Followers
from govern.cli.serving import settle
from govern.db import Database
from govern.principal import operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.sharedctypes import Synchronized

    from govern.access.suspensions import Suspension
    from govern.config import Settings
    from govern.db import Session

# Some twenty pauses while it lasts; what each waits for is a chunk, however many follow it.
IMPORTED = 50_000
SMALL, MIDDLE, LARGE = ("ASTER", 10_000), ("BOREAL", 100_000), ("CALDERA", 1_000_000)
COMMITS = 15
ROUNDS = 3  # of what differs by a half from one second to the next, as its floor does
RATE, SECONDS, CONNECTIONS = 500, 10, 16
# A server that just began plans its questions for the first time, over tables just filled.
WARM = 15
SECOND = operator("second")
# Whether anything is left to write: made once, so that to ask it takes little from who writes.
_LEFT = select(
    exists().where(
        Particulars.suspension_id == bindparam("suspension", type_=String()),
        Particulars.finished_at.is_(None),
    )
)


def run(kind: str) -> Iterator[Figure]:
    """Measure on the example roster; then pauses while many rows come in."""
    settle()  # as those processes are in which the followers run
    with store(kind) as database:
        yield from _largest_client(kind, database)
        yield from _against_import(kind, database)
    with store(kind) as database:
        yield from _at_scale(kind, database)


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
    name = f"pause while {IMPORTED:,} rows come in"
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


# --- at scale ----------------------------------------------------------------------------------


def _at_scale(kind: str, database: Database) -> Iterator[Figure]:
    def figure(
        name: str, value: float, unit: str, floor: float | None = None, n: int = 1
    ) -> Figure:
        return Figure(
            bench="pause", name=name, database=kind, value=value, unit=unit, floor=floor, n=n
        )

    world.load_catalogue(database)
    people = world.grow_clients(database, dict([SMALL, MIDDLE, LARGE]))
    took = []
    with _followers(database):
        for _ in range(5):
            took.append(_completed(database, SMALL[0]) * 1000)
            _come_to_rest(database)
    yield figure("10,000 grants, from the click until all is written, median of 5",
                 statistics.median(took), "ms", n=SMALL[1])  # fmt: skip
    held, written = zip(*_watched(database, SMALL[0]), strict=True)
    said = "the same asked of a server by its API, and looked at, from the request until"
    yield figure(f"{said} it holds", statistics.median(held), "ms", n=SMALL[1])
    yield figure(f"{said} all is written", statistics.median(written), "ms", n=SMALL[1])
    code, count = MIDDLE
    rates, floors = [], [_bare(database, code, count)]
    for _ in range(ROUNDS):
        database.transaction(partial(_open, reference=f"client:{code}"))
        rates.append(count / timed(lambda: suspensions.particulars.write(database)))
        floors.append(_bare(database, code, count))
    said = f"particulars, idle, {count:,}, median of {ROUNDS}"
    yield figure(f"{said}; floor: one statement into the same table", statistics.median(rates),
                 "entries/s", statistics.median(floors), count)  # fmt: skip
    yield from _under_load(database, people, figure)
    small, large = _commits(database)
    yield figure("enforcing commit, 10,000 grants, median", small, "ms", n=COMMITS)
    yield figure("enforcing commit, 1,000,000 grants, median; floor: 10,000 grants",
                 large, "ms", small, COMMITS)  # fmt: skip


def _bare(database: Database, code: str, count: int) -> float:
    return count / timed(lambda: world.bare_entries(database, code, count))


@contextmanager
def _followers(database: Database) -> Iterator[None]:
    running = Followers(database)
    running.start()
    try:
        yield
    finally:
        running.stop()


def _completed(database: Database, code: str) -> float:
    """Seconds from opening a pause of a client until its last entry is there."""
    start = time.perf_counter()
    row = database.transaction(partial(_open, reference=f"client:{code}"))
    with database.asking() as connection:
        while connection.execute(_LEFT, {"suspension": row.id}).scalar():
            connection.rollback()
            time.sleep(0.005)
    return time.perf_counter() - start


def _watched(database: Database, code: str) -> Iterator[tuple[float, float]]:
    """Milliseconds from a request to a server until a pause holds, and until its last entry.

    Whoever asked looks at what became of it at once and then each second, as a page does of itself.
    """
    headers = decide.JSON | {"Authorization": decide.credentials(database, "api")}
    order = {"targets": [f"client:{code}"], "mode": "paused", "reason": "client_request"}
    with servers.govern(database) as url:

        def send(path: str, body: bytes | None = None) -> dict[str, Any]:
            asked = urllib.request.Request(f"{url}/api/v1{path}", body, headers)
            with urllib.request.urlopen(asked, timeout=30) as answer:
                told: dict[str, Any] = json.load(answer)
                return told

        for _ in range(5):
            sent = clock.utcnow()
            opened = send("/suspensions", decide.body(order))["id"]
            while (effect := send(f"/suspensions/{opened}/effect"))["recorded_at"] is None:
                time.sleep(1)
            held, written = (
                clock.parse(effect[name], field=name) - sent
                for name in ("committed_at", "recorded_at")
            )
            yield held.total_seconds() * 1000, written.total_seconds() * 1000
            _come_to_rest(database)


def _come_to_rest(database: Database) -> None:
    """Wait until its entries are signed and its people counted, which is no part of the next."""
    owed = select(exists().where(Particulars.people.is_(None)))
    while True:
        with database.reading() as session:
            sizes = log.signed_sizes(session).values()
            if all(size == signed for _, size, signed in sizes) and not session.scalar(owed):
                return
        time.sleep(0.1)


def _written(database: Database, row: Suspension) -> tuple[int, bool]:
    with database.reading() as session:
        written, _, done = suspensions.particulars.outstanding(session, row.id)
    return written, done


def _under_load(
    database: Database, people: list[str], figure: Callable[..., Figure]
) -> Iterator[Figure]:
    """A pause of 1,000,000 grants while decisions are asked for: the server, followers and all."""
    draw = random.Random(7)
    codes = _projects(database)
    bodies = [
        decide.body(decide.question(draw.choice(people), draw.choice(codes))) for _ in range(5000)
    ]
    headers = decide.JSON | {"Authorization": decide.credentials(database)}
    with servers.serving(database) as (url, process):

        def asked(seconds: float = SECONDS) -> load.Load:
            return load.paced(f"{url}/access/v1/evaluation", bodies, headers, rate=RATE,
                              connections=CONNECTIONS, seconds=seconds)  # fmt: skip

        asked(WARM)
        quiet, memory = asked(), _peak(process)
        start = time.perf_counter()
        row = database.transaction(partial(_open, reference=f"client:{LARGE[0]}"))
        busy = asked()
        meanwhile, elapsed = _written(database, row)[0], time.perf_counter() - start
        while not _written(database, row)[1]:
            time.sleep(0.1)
        whole = time.perf_counter() - start
        more = _peak(process) - memory
    if not 0 < meanwhile < LARGE[1]:
        raise SystemExit(f"bench pause: {meanwhile:,} entries were written while asked")
    said = f"decisions at {RATE}/s while 1,000,000 grants are recorded"
    yield figure(f"{said}, p99; floor: before", busy.p99, "ms", quiet.p99, busy.done)
    yield figure(f"{said}, median; floor: before", busy.p50, "ms", quiet.p50, busy.done)
    yield figure("particulars meanwhile", meanwhile / elapsed, "entries/s", n=meanwhile)
    yield figure("particulars, 1,000,000, in all", LARGE[1] / whole, "entries/s", n=LARGE[1])
    yield figure("memory that 1,000,000 took more", more / 1024, "MB", n=LARGE[1])


def _projects(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.execute(select(Project.code).order_by(Project.code)).scalars())


def _peak(process: int) -> int:
    """The most memory that a process ever had, in KB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _commits(database: Database) -> tuple[float, float]:
    """Medians of the enforcing commit, in ms, for the smallest and the largest client, in turn."""
    took: dict[str, list[float]] = {SMALL[0]: [], LARGE[0]: []}
    for _ in range(COMMITS):
        for code, times in took.items():
            pause = partial(_open, reference=f"client:{code}")
            times.append(timed(partial(database.transaction, pause)) * 1000)
    small, large = (statistics.median(times) for times in took.values())
    return small, large

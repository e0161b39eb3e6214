"""`bench who`: who could reach something at any moment of a year, and that it is what the log says.

Over 1,000,000 grants and 10,000 suspensions, of a resource's 300,000 grants and of a client's
600,000: the first page, how many there are, all of them and when their first row comes, once more
as CSV. The floor is the same grants read barely, their own window beside them.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, cast

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bench import world
from bench.figures import Figure, store, timed
from bench.workers import Workers
from govern import clock
from govern.access import clients, exposure
from govern.access.clients import Client, Dataset, Project
from govern.access.grants import Grant
from govern.access.suspension_tables import (
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.db import insert_many
from govern.identity.subjects import Organisation
from tests.access.test_exposure import agree
from tests.access.test_properties import HISTORIES, History
from tests.factory import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Table

    from govern.db import Database, Session

HISTORIES_ASKED = 200
SIZES = {"Kingfisher": 300_000, "Heron": 150_000, "Osprey": 150_000, "Cinnabar": 400_000}
SUSPENSIONS = 10_000
FROM, TO = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
# What each of a thousand pauses, where it is not one person.
_KINDS = {
    0: Scope.ORGANISATION,
    **dict.fromkeys(range(1, 9), Scope.CLIENT),
    **dict.fromkeys(range(9, 19), Scope.DATASET),
    **dict.fromkeys(range(19, 80), Scope.PROJECT),
}
_TABLES = (Suspension, SuspensionMode, SuspensionTarget, SuspensionRelease)


def run(kind: str) -> Iterator[Figure]:
    """Ask about a year of pauses, then about 200 random histories and their replay."""
    with store(kind) as database:
        _build(database)
        yield from _measured(kind, database)
    # As many at once as there are processors, each in a store of its own.
    at_once = os.cpu_count() or 1
    shares = [len(range(each, HISTORIES_ASKED, at_once)) for each in range(at_once)]
    with ProcessPoolExecutor(at_once, get_context("spawn")) as processes:
        compared = sum(processes.map(_compared, repeat(kind), range(at_once), shares))
    # A range that differs would have ended the run, with the shortest history to show it.
    yield Figure(
        bench="who", name=f"ranges unlike the replay of {HISTORIES_ASKED} histories",
        database=kind, value=0, unit="ranges", n=compared,
    )  # fmt: skip


def _measured(kind: str, database: Database) -> Iterator[Figure]:
    """Each answer's seconds, and those that processors worked for it, the database's too."""
    workers = Workers(database, [str(os.getpid())])
    for what, code, name in (
        ("project", "Kingfisher", "a resource"), ("client", "ASTER", "a client"),
    ):  # fmt: skip
        with database.reading() as session:
            place, told = (session, what, code), {"begin": FROM, "end": TO, "by": world.BY}
            first = partial(exposure.reach, *place, limit=100, **told)
            count = partial(exposure.count, *place, **told)
            every = partial(exposure.every, *place, **told)
            row = getattr(clients, what)(session, code)
            column = Grant.project_id if what == "project" else Grant.client_id
            own = select(Grant.id, Grant.starts_at, Grant.ends_at).where(column == row.id)
            workers.look()
            first()  # as of a server that was asked before
            number = count()
            floors = _taken(workers, lambda: session.execute(own).all())  # noqa: B023 - at once
            asked = {
                "first page of": _taken(workers, first),
                "how many of": _taken(workers, count),
                "first row of all of": _taken(workers, lambda: next(every())),  # noqa: B023 - at once
                "all of": _taken(workers, lambda: sum(map(len, every()))),  # noqa: B023 - at once
                "CSV of": _taken(workers, lambda: sum(map(len, exposure.sheet.rows(every())))),  # noqa: B023 - at once
            }
        for part, seconds in asked.items():
            for word, value, floor in zip(("", ", processor"), seconds, floors, strict=True):
                yield Figure(
                    bench="who", name=f"{part} {name}{word}", database=kind, value=value, unit="s",
                    floor=floor, n=number,
                )  # fmt: skip


def _taken(workers: Workers, work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds until it is done, and those that processors worked for it."""
    before = workers.nanoseconds()
    took = timed(work)
    return took, (workers.nanoseconds() - before) / 1e9


def _build(database: Database) -> None:
    with clock.at(datetime(2026, 1, 1, tzinfo=UTC)):  # else no grant meant anything before today
        world.load_catalogue(database)
    world.grow_projects(database, SIZES)
    database.transaction(_suspend)
    world.analyze(database)


def _suspend(session: Session) -> None:
    """Pauses of a day or two all year long, most of one person; every tenth meets the next."""
    places = {
        Scope.PROJECT: sorted(session.execute(select(Project.id)).scalars()),
        Scope.CLIENT: sorted(session.execute(select(Client.id)).scalars()),
        Scope.DATASET: sorted(session.execute(select(Dataset.id)).scalars()),
        Scope.ORGANISATION: sorted(session.execute(select(Organisation.id)).scalars()),
    }
    rows: dict[Any, list[tuple[Any, ...]]] = {each: [] for each in _TABLES}
    for number in range(SUSPENSIONS):
        kind = _KINDS.get(number % 1000, Scope.SUBJECT)
        among = places.get(kind)
        over = among[number % len(among)] if among else f"sub_{number * 19:024}"
        begun = FROM + timedelta(minutes=37 * number, microseconds=number)
        ended = begun + timedelta(hours=30)
        own = f"{number:024}"
        rows[Suspension].append((
            f"sus_{own}", "client_request", "", "", "", None, ended, "operator:bench", None,
            begun, begun, ended,
        ))  # fmt: skip
        rows[SuspensionMode].append((f"smo_{own}", f"sus_{own}", "paused", begun, ended))
        rows[SuspensionTarget].append((f"sta_{own}", f"sus_{own}", kind, over, begun, ended))
        if kind is Scope.CLIENT:
            rows[SuspensionRelease].append((
                f"sre_{own}", f"sus_{own}", Scope.SUBJECT, f"sub_{number:024}",
                begun + timedelta(hours=2), ended,
            ))  # fmt: skip
    for table, made in rows.items():
        insert_many(session, cast("Table", table.__table__), made)


def _compared(kind: str, first: int, histories: int) -> int:
    """Ask about some random histories, drawn from a seed; how many ranges were compared."""
    with store(kind) as database:
        there, compared = World(database), 0

        @seed(first)
        @settings(
            max_examples=histories,
            phases=[Phase.generate, Phase.shrink],
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(acts=HISTORIES, then=st.integers(0, 30))
        def in_every_range(acts: list[tuple[str, int, int, int]], then: int) -> None:
            nonlocal compared
            history = History(there, checked=False)
            history.live(acts)
            last = len(history.past) - 1
            compared += agree(history, 0, last) + agree(history, then % (last + 1), last)

        in_every_range()
        return compared

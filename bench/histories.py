"""`bench histories`: in each state of 200 random histories decisions are what the log says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, seed, settings

from bench.figures import Figure, store
from govern.access import deriving
from tests.access.test_properties import HISTORIES, History
from tests.factory import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from govern.db import Database

COUNT = 200


def run(kind: str) -> Iterator[Figure]:
    """Act at random, ask about everybody and everything after each act, and recompute it."""
    with store(kind) as database:
        start = time.perf_counter()
        compared = _compared(database)
        took = time.perf_counter() - start
        unlike = len(deriving.differences(database))
    # A decision that differs would have ended the run, with the shortest history to show it.
    yield Figure(
        bench="histories", name="decisions unlike the log's", database=kind, value=0,
        unit="decisions", n=compared,
    )  # fmt: skip
    yield Figure(
        bench="histories", name="rows of the state unlike the log's", database=kind,
        value=unlike, unit="rows", n=COUNT,
    )  # fmt: skip
    yield Figure(bench="histories", name="histories", database=kind, value=took, unit="s", n=COUNT)


def _compared(database: Database) -> int:
    world, compared = World(database), 0

    @seed(7)
    @settings(
        max_examples=COUNT,
        phases=[Phase.generate, Phase.shrink],
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(acts=HISTORIES)
    def in_every_state(acts: list[tuple[str, int, int, int]]) -> None:
        nonlocal compared
        history = History(world)
        history.live(acts)
        compared += history.compared

    in_every_state()
    return compared

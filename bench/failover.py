"""`bench failover`: the primary is killed at random instants of a pause under load, and replaced.

Two nodes serve decisions and grants from a primary with a synchronous replica. The floor is a bare
client of both servers, which waits for nothing but one that takes its write.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from bench.figures import Figure
from tests.test_failover import PAUSE, nothing_is_lost, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cluster import Pair

ROUNDS = 6
SOME = {"grant": 10, "Kestrel": 20, "Kingfisher": 20}


@dataclass
class Round:
    """One kill: seconds until a bare client wrote, a question was answered, a grant made."""

    bare: float
    decision: float
    grant: float
    told: int
    permits: int


def run(kind: str) -> Iterator[Figure]:
    """Kill, promote, and look whether what was acknowledged is there; SQLite has no other node."""
    if kind == "sqlite":
        return
    chance = random.Random()
    rounds = [_round(chance.uniform(0, 0.1)) for _ in range(ROUNDS)]

    def figure(name: str, value: float, unit: str, n: int, floor: float | None = None) -> Figure:
        return Figure(
            bench="failover", name=name, database=kind, value=value, unit=unit, n=n,
            floor=floor,
        )  # fmt: skip

    floor = 1000 * statistics.median(each.bare for each in rounds)
    for name, seconds in (
        ("kill to the first recorded decision", [each.decision for each in rounds]),
        ("kill to the first grant", [each.grant for each in rounds]),
    ):
        yield figure(name, 1000 * statistics.median(seconds), "ms", ROUNDS, floor)
    told = sum(each.told for each in rounds)
    # `nothing_is_lost` has raised otherwise.
    yield figure("acknowledged grants and decisions lost", 0, "of n", told)
    yield figure("permits that began after the pause", sum(e.permits for e in rounds), "of n", told)


def _round(delay: float) -> Round:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with serving(Path(folder)) as (pair, settings, load):
            load.wait(SOME)
            paused: list[float] = []

            def pause() -> None:
                load.acknowledged("/api/v1/suspensions", PAUSE, "pause")
                paused.append(time.perf_counter())

            pausing = threading.Thread(target=pause)
            pausing.start()
            time.sleep(delay)
            pair.primary.kill()
            killed = time.perf_counter()
            bare: list[float] = []
            writing = threading.Thread(target=lambda: bare.append(_bare(pair) - killed))
            writing.start()
            pair.promote()
            load.wait(SOME, killed)
            for thread in (pausing, writing):
                thread.join()
            load.wait({"Kingfisher": 20}, paused[0])
            load.end()
            if load.failed:
                raise load.failed[0]
            nothing_is_lost(settings, load)
            permits = sum(load.decisions("Kingfisher", paused[0]))
        # A denial for want of a record is an answer too, but not the service come back.
        recorded = [
            (kind, end - killed)
            for kind, start, end, told in load.told
            if start > killed and (kind == "grant" or "decision_id" in told["context"])
        ]
        return Round(
            bare=bare[0], decision=min(at for kind, at in recorded if kind != "grant"),
            grant=min(at for kind, at in recorded if kind == "grant"),
            told=len(load.told), permits=permits,
        )  # fmt: skip


def _bare(pair: Pair) -> float:
    """When a client that does nothing else has written."""
    ports = f"{pair.primary.port},{pair.replica.port}"
    while True:
        try:
            with psycopg.connect(
                host="127.0.0.1,127.0.0.1", port=ports, user="govern", password=pair.password,
                dbname="govern", target_session_attrs="read-write", connect_timeout=2,
            ) as connection:  # fmt: skip
                connection.execute("CREATE TABLE bare (id integer)")
        except psycopg.OperationalError:
            time.sleep(0.005)
        else:
            return time.perf_counter()

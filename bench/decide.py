"""`bench decide`: single decisions in this process, each recorded durably before its answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import text

from bench import world
from bench.figures import KINDS, Figure, percentile, store
from govern.access import evaluation
from govern.access.evaluation import Question

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION = Question(subject="P00001", action="read", kind="project", code="Kingfisher")
COUNT = 500


def run() -> Iterator[Figure]:
    """Ask the same question many times, beside a bare SELECT and INSERT of one row each."""
    for kind in KINDS:
        with store(kind) as database:
            world.load_catalogue(database)
            world.load_roster(database)
            took = []
            for _ in range(COUNT):
                start = time.perf_counter()
                evaluation.decide(database, QUESTION, by=world.BY)
                took.append((time.perf_counter() - start) * 1000)
            bare = []
            database.access_transaction(
                lambda session: session.execute(text("CREATE TABLE bare (n BIGINT PRIMARY KEY)"))
            )
            for number in range(COUNT):
                start = time.perf_counter()
                with database.reading() as session:
                    session.execute(text("SELECT 1"))
                database.access_transaction(
                    lambda session: session.execute(
                        text("INSERT INTO bare VALUES (:n)"),
                        {"n": number},  # noqa: B023
                    )
                )
                bare.append((time.perf_counter() - start) * 1000)
        for part, share in (("median", 0.5), ("p99", 0.99)):
            yield Figure(
                bench="decide",
                name=f"one decision, recorded, {part}",
                database=kind,
                value=percentile(took, share),
                unit="ms",
                floor=percentile(bare, share),
                n=COUNT,
            )

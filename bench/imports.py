"""`bench import`: the roster of 7,640 rows, first and again, beside bare inserts of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import world
from bench.figures import Figure, store, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 7640
# 5,000 people, 5,000 memberships, 7,640 grants, and an entry with its values for each.
WRITTEN = 5000 * 3 + ROWS * 2


def run(kind: str) -> Iterator[Figure]:
    """Load into an empty database, then the same file again."""
    with store(kind) as database:
        world.load_catalogue(database)
        floor = timed(lambda: world.bare_append(database, WRITTEN))
        first = timed(lambda: world.load_roster(database))
        again = timed(lambda: world.load_roster(database))
    yield Figure(
        bench="import",
        name="roster of 7,640 rows",
        database=kind,
        value=first,
        unit="s",
        floor=floor,
        n=ROWS,
    )
    yield Figure(
        bench="import",
        name="the same file again",
        database=kind,
        value=again,
        unit="s",
        floor=floor,
        n=ROWS,
    )

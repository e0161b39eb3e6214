"""A figure, its floor, and the databases that benches run on."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from govern import db, schema
from govern.config import Settings
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from govern.db import Database

KINDS = ("sqlite", "postgresql")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measurement; `floor` is the same work done as barely as can be, in the same run."""

    bench: str
    name: str
    database: str
    value: float
    unit: str
    floor: float | None = None
    n: int = 1

    @property
    def ratio(self) -> float | None:
        """1 or more is better than the floor; durations are inverted."""
        if self.floor is None:
            return None
        durations = {"s", "ms"}
        better = self.floor / self.value if self.unit in durations else self.value / self.floor
        return round(better, 3)

    def fields(self) -> dict[str, Any]:
        """The JSON line of this figure."""
        floor = None if self.floor is None else round(self.floor, 4)
        return {
            "bench": self.bench,
            "name": self.name,
            "database": self.database,
            "value": round(self.value, 4),
            "unit": self.unit,
            "floor": floor,
            "ratio": self.ratio,
            "n": self.n,
        }


@contextmanager
def store(kind: str) -> Iterator[Database]:
    """A fresh migrated database, durable as in production."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if kind == "sqlite":
            yield from opened(Settings(data_dir=Path(folder)))
            return
        with postgres.server(durable=True) as server:
            url = server.create_database()
            yield from opened(Settings(data_dir=Path(folder), database_url=url))


def opened(settings: Settings) -> Iterator[Database]:
    """The database of an installation, migrated, until the generator is closed."""
    schema.upgrade(settings)
    database = db.Database(settings)
    try:
        yield database
    finally:
        database.dispose()


def timed(work: Callable[[], Any]) -> float:
    """Seconds that some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

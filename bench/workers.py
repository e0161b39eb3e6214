"""Who works for an answer, and for how long: what waiting tells on a machine of one's own alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from govern.db import Database


class Workers:
    """Some processes of ours, and those of the database behind them."""

    def __init__(self, database: Database, processes: Iterable[str]) -> None:
        self._database = database
        self._processes = list(processes)
        self._backends: list[str] = []

    def look(self) -> None:
        """Learn which connections there are by now."""
        if self._database.is_postgresql:
            own = text("SELECT pid::text FROM pg_stat_activity WHERE datname = current_database()")
            with self._database.reading() as session:
                self._backends = list(session.execute(own).scalars())

    def nanoseconds(self) -> int:
        """What all of their threads have run so far."""
        found = 0
        for process in (*self._processes, *self._backends):
            for thread in Path(f"/proc/{process}/task").glob("*/schedstat"):
                with suppress(OSError):  # it ended just now
                    found += int(thread.read_text().split()[0])
        return found


def begun_by(process: int | str) -> Iterator[str]:
    """The processes that one began, and those that these did."""
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        for each in thread.read_text().split():
            yield each
            yield from begun_by(each)

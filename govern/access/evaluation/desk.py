"""Where questions to a database are handed in, and the few threads that answer them."""

from __future__ import annotations

import queue
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db import Database

Job = TypeVar("Job")
# A job, that connections are to be given back and who waits for that, or that all is over.
Waiting: TypeAlias = "queue.SimpleQueue[Job | threading.Barrier | None]"

# Seconds that whoever closes all connections waits for the threads, at most.
_LEAVING = 2.0


class Desk(Generic[Job]):
    """Jobs that wait, and `most` threads that `serve` them until their database is let go.

    The first begins with the first job, another when one is handed in behind one that waits.
    """

    def __init__(
        self,
        database: Database,
        serve: Callable[[weakref.ref[Database], Waiting[Job]], None],
        *,
        most: int,
    ) -> None:
        self._serve = serve
        self._owner = weakref.ref(database)
        self._waiting: Waiting[Job] = queue.SimpleQueue()
        self._most = most
        self._begun = 0
        self._lock = threading.Lock()
        weakref.finalize(database, self._waiting.put, None)
        database.at_dispose(self._give_back)

    def hand_in(self, job: Job) -> None:
        """Let a job wait for its turn."""
        busy = not self._waiting.empty()
        self._waiting.put(job)
        if self._begun == 0 or (busy and self._begun < self._most):
            self._begin()

    def _begin(self) -> None:
        with self._lock:
            if self._begun < self._most:
                self._begun += 1
                given = (self._owner, self._waiting)
                threading.Thread(target=self._serve, args=given, daemon=True).start()

    def _give_back(self) -> None:
        """Have the connections given back now, before whoever closes them all does so."""
        with self._lock:
            given = threading.Barrier(self._begun + 1)
            for _ in range(self._begun):
                self._waiting.put(given)
        meet(given)


class Desks(Generic[Job]):
    """The desks of each database: one for what is short, one for long lists.

    Long lists have threads of their own, and wait in nobody's way: while the database works for one
    of them the other reads and tells. What is short has one: what arrives together is answered
    together, and a second would share it. The access log on SQLite has one writer, for which a
    second thread would wait.
    """

    def __init__(self, serve: Callable[[weakref.ref[Database], Waiting[Job]], None]) -> None:
        self._serve = serve
        self._short: weakref.WeakKeyDictionary[Database, Desk[Job]] = weakref.WeakKeyDictionary()
        self._long: weakref.WeakKeyDictionary[Database, Desk[Job]] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, database: Database, *, long: bool) -> Desk[Job]:
        """Where to hand in what is asked of a database."""
        alone = long and database.is_postgresql
        desks = self._long if alone else self._short
        found = desks.get(database)
        if found is None:
            with self._lock:
                found = desks.get(database)
                if found is None:
                    most = 2 if alone else 1
                    found = desks[database] = Desk(database, self._serve, most=most)
        return found


def meet(given: threading.Barrier) -> None:
    """Wait until all have given back their connections, or for so long as one may."""
    with suppress(threading.BrokenBarrierError):
        given.wait(_LEAVING)

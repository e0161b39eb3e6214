"""The pace of writing what a pause owes: never in the way of those who ask for decisions."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock
from govern.audit.decisions import Access, AccessKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Select

    from govern.db import Database

# Seconds for which a chunk is to hold its log's head, or SQLite's one writer; and how many times
# less or more than the first it may be for that.
_HELD, _LESS, _MORE = 0.045, 8, 2
# While others asked for decisions so lately, a chunk is so much smaller, and is followed by a rest
# of so many times its own duration. On SQLite others look once a millisecond if they may write.
_LATELY, _LOOK_EVERY, _SMALLER, _REST, _GAP = timedelta(seconds=1), 0.1, 12, 4, 0.002

# What a program or a person is kept from their work by. Who looks at a pause that was just opened
# leaves a row too, as does whoever is turned away: neither is to slow down what it owes.
_WAITED_FOR = (
    AccessKind.DECISION, AccessKind.SEARCH, AccessKind.INTROSPECTION, AccessKind.TOKEN,
)  # fmt: skip


class Pace:
    """How much to write at once, and how long to rest between."""

    def __init__(self, database: Database, full: int) -> None:
        self._database = database
        self._first = full if database.is_postgresql else max(1, full // 2)
        self._full = self._first
        self._busy, self._looked = False, -_LOOK_EVERY

    def fitting(self, size: int) -> int:
        """So many at once, or fewer while others ask."""
        now = time.perf_counter()
        if now - self._looked >= _LOOK_EVERY:
            self._busy, self._looked = _others_ask(self._database), now
        return max(1, size // _SMALLER) if self._busy else size

    def kept(self, write: Callable[[int], tuple[int, bool]]) -> tuple[int, bool]:
        """Let it write at most so many and tell how many it did, and whether more are left."""
        size, busy = self.fitting(self._full), self._busy
        began = time.perf_counter()
        written, more = write(size)
        took = time.perf_counter() - began
        if busy:
            time.sleep(_REST * took)
            return written, more
        if more:
            fitting = min(int(written * _HELD / took), self._first * _MORE)
            self._full = max(fitting, self._first // _LESS, 1)
        if not self._database.is_postgresql:
            time.sleep(_GAP)
        return written, more


def _others_ask(database: Database) -> bool:
    """Whether anyone asked for a decision lately, at whichever node."""
    with database.access_asking() as connection:
        return bool(connection.execute(_late()).scalar())


@cache
def _late() -> Select[bool]:
    """Made once: to make it takes longer than to ask it."""
    lately = Access.at >= clock.before(clock.instant(), _LATELY)
    # In that order, so that no planner would rather look through all there are.
    latest = (
        select(Access.at).where(lately, Access.kind.in_(_WAITED_FOR)).order_by(Access.at.desc())
    )
    return select(latest.limit(1).scalar_subquery().is_not(None))

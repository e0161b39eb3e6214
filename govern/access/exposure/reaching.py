"""Exposure: who could reach something at any moment of a range, by which grant, from when to when.

The answer is the one rule's, asked at the beginning of the range and at each later instant at which
a clause can turn; never a comparison of overlaps. So two pauses that meet leave nothing between
them, and a gap of a microsecond is told as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern import clock, errors
from govern.access.exposure.asking import Asked
from govern.access.exposure.candidates import CHUNK
from govern.access.exposure.counting import counted
from govern.access.exposure.places import Found, placed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.access.exposure.places import Exposure, Interval, Place
    from govern.principal import Principal

LOOKED_AT = 2_000  # grants that a page goes through to find some


def within(
    session: OrmSession, begin: datetime, end: datetime, *, now: datetime | None = None
) -> Interval:
    """The range as far as it has happened; `Invalid` when nothing is left of it."""
    end = min(end, now or clock.now(session))
    if begin >= end:
        raise errors.Invalid(
            "The end must be after the beginning, and the beginning in the past.", field="from"
        )
    return begin, end


def reach(
    session: OrmSession,
    kind: str,
    code: str,
    *,
    begin: datetime,
    end: datetime,
    action: str = "read",
    after: str = "",
    limit: int = 1000,
    looked_at: int | None = None,
    by: Principal,
) -> Found:
    """Who could do it to a client's projects, a project or a dataset in `begin <= t < end`.

    Of a `subject` (their id), what they could do it to, as far as the caller may see their grants.
    Keyset by the grant's id. Of a range that reaches beyond now only what has happened is told.
    No more than `looked_at` grants are looked at, where told: the page ends there, full or not.
    """
    place = placed(session, kind, code, by=by)
    return reach_of(
        session, place, begin=begin, end=end, action=action, after=after, limit=limit,
        looked_at=looked_at,
    )  # fmt: skip


def reach_of(
    session: OrmSession,
    place: Place,
    *,
    begin: datetime,
    end: datetime,
    action: str = "read",
    after: str = "",
    limit: int = 1000,
    looked_at: int | None = None,
) -> Found:
    """The same of a place that was looked up, which is where the permission is asked for."""
    begin, end = within(session, begin, end, now=place.now)
    asked = Asked(session, place, action, begin, end)
    last = None if looked_at is None else asked.last_of(after, looked_at)
    found: list[Exposure] = []
    size = min(max(limit, 100) + 1, CHUNK)
    while True:
        rows = asked.windowed(after, size, until=last)
        found += asked.answered(rows)
        if len(found) > limit:
            return Found(rows=found[:limit], after=found[limit - 1].grant_id)
        if len(rows) < size:
            return Found(rows=found, after=last)
        after, size = rows[-1][0], min(size * 4, CHUNK)


def every(
    session: OrmSession,
    kind: str,
    code: str,
    *,
    begin: datetime,
    end: datetime,
    action: str = "read",
    by: Principal,
) -> Iterator[list[Exposure]]:
    """All that `reach` would name, page after page, in one walk: what a whole list is made of."""
    place = placed(session, kind, code, by=by)
    begin, end = within(session, begin, end, now=place.now)
    asked = Asked(session, place, action, begin, end)
    return map(asked.answered, asked.walk())


def count(
    session: OrmSession,
    kind: str,
    code: str,
    *,
    begin: datetime,
    end: datetime,
    action: str = "read",
    by: Principal,
) -> int:
    """How many grants `reach` would name, without a row for each."""
    place = placed(session, kind, code, by=by)
    begin, end = within(session, begin, end, now=place.now)
    return counted(Asked(session, place, action, begin, end))

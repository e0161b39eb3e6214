"""Stretches of time, half-open: joined where they touch, and without or within others."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from govern.access.exposure.places import Interval

_BEGIN, _END = itemgetter(0), itemgetter(1)


def joined(times: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same times in order, those that touch or overlap as one."""
    found: list[Interval] = []
    for a, b in sorted(times):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(b, found[-1][1]))
        else:
            found.append((a, b))
    return tuple(found)


def parted(times: Sequence[Interval], out: Sequence[Interval]) -> list[Interval]:
    """These times without those, which are in order and apart."""
    left = list(times)
    for first, last in out:
        left = [
            (a, b)
            for begin, end in left
            for a, b in ((begin, min(end, first)), (max(begin, last), end))
            if a < b
        ]
    return left


def clipped(
    times: tuple[Interval, ...], first: datetime, last: datetime
) -> tuple[Interval, ...]:  # fmt: skip
    """The parts of these times that lie within two instants.

    They are in order and apart; where nothing is cut they are returned as they are.
    """
    if not times or (first <= times[0][0] and times[-1][1] <= last):
        return times
    begin = bisect_right(times, first, key=_END)
    end = bisect_left(times, last, key=_BEGIN)
    if begin >= end or first >= last:
        return ()
    found = list(times[begin:end])
    found[0] = (max(found[0][0], first), found[0][1])
    found[-1] = (found[-1][0], min(found[-1][1], last))
    return tuple(found)

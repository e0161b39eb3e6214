"""Stretches of time, half-open: joined where they touch, and without or within others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from govern.access.exposure.places import Interval


def joined(times: Sequence[Interval]) -> list[Interval]:
    """The same times in order, those that touch or overlap as one."""
    found: list[Interval] = []
    for a, b in sorted(times):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(b, found[-1][1]))
        else:
            found.append((a, b))
    return found


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


def clipped(times: Sequence[Interval], first: datetime, last: datetime) -> list[Interval]:
    """The parts of these times that lie within two instants."""
    meeting = ((max(a, first), min(b, last)) for a, b in times)
    return [(a, b) for a, b in meeting if a < b]

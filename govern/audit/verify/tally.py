"""The tally: the numbers of a report that follow from the entries of one log, or from an answer.

Whoever writes a report counts by it, and so does whoever checks one: from the same entries and rows
they come to the same numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from govern.audit import leaf, lines

if TYPE_CHECKING:
    from collections.abc import Iterable

_PARTICULARS = {"grant.suspended", "grant.review_required", "grant.resumed"}


class Tally:
    """What the entries so far add up to."""

    def __init__(self) -> None:
        self._entries = 0
        self._types: dict[str, int] = {}
        self._days: dict[str, dict[str, int]] = {}
        self._suspensions: dict[str, dict[str, Any]] = {}
        # The chain over the grants of an act that is being written, and their number.
        self._sets: dict[str, tuple[str, int]] = {}

    def add(self, fields: dict[str, Any]) -> None:
        """Count one entry."""
        kind, time = str(fields.get("type")), str(fields.get("time"))
        refs, data = (_named(fields, name) for name in ("refs", "data"))
        self._entries += 1
        self._types[kind] = self._types.get(kind, 0) + 1
        if kind in {"grant.issued", "grant.revoked"}:
            day = self._days.setdefault(time[:10], {"issued": 0, "revoked": 0})
            day[kind[6:]] += 1
        suspension = refs.get("suspension")
        if not isinstance(suspension, str):
            return
        if kind in _PARTICULARS:
            digest, count = self._sets.get(suspension, ("", 0))
            digest = sha256(f"{digest}{refs.get('grant')}".encode()).hexdigest()
            self._sets[suspension] = digest, count + 1
        elif kind == "suspension.opened":
            self._of(suspension).update(opened_at=time, mode=data.get("mode"))
        elif kind == "suspension.lifted":
            self._of(suspension).update(lifted_at=time)
        elif kind == "suspension.recorded":
            chain, count = self._sets.pop(suspension, ("", 0))
            told = f"{refs.get('client')} {chain}\n" if chain else ""
            self._of(suspension)["sets"].append({
                "event": data.get("event"), "grants": data.get("count"),
                "digest": data.get("digest"), "entries": count,
                "derived": sha256(told.encode()).hexdigest(),
            })  # fmt: skip

    def _of(self, suspension: str) -> dict[str, Any]:
        return self._suspensions.setdefault(
            suspension, {"opened_at": None, "lifted_at": None, "mode": None, "sets": []}
        )

    def numbers(self) -> dict[str, Any]:
        """The numbers, as a report has them."""
        return {
            "entries": self._entries,
            "events": dict(sorted(self._types.items())),
            "days": dict(sorted(self._days.items())),
            "suspensions": dict(sorted(self._suspensions.items())),
        }


class Reach:
    """How many people could reach each project at some instants of a period.

    Of each person and project it keeps one number, whose bits are the instants.
    """

    POINTS = 60

    def __init__(self, begin: str, end: str) -> None:
        first, last = _micros(begin), _micros(end)
        self._instants = [
            first + (last - first) * number // self.POINTS for number in range(self.POINTS)
        ]
        self._people: dict[str, dict[str, int]] = {}

    def add(self, row: dict[str, Any]) -> None:
        """Take a row of the answer; KeyError, TypeError or ValueError when it is none."""
        people = self._people.setdefault(str(row["project"]), {})
        for begin, end in row["intervals"]:
            low, high = (bisect_left(self._instants, _micros(each)) for each in (begin, end))
            if low < high:
                person = str(row["subject"])
                people[person] = people.get(person, 0) | (1 << high) - (1 << low)

    def numbers(self) -> list[dict[str, Any]]:
        """By project, how many people at each instant."""
        return [
            {
                "project": project,
                "people": [
                    sum(mask >> number & 1 for mask in people.values())
                    for number in range(self.POINTS)
                ],
            }
            for project, people in sorted(self._people.items())
        ]


def _micros(text: str) -> int:
    when = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007 - all are UTC, compared
    return (when - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001 - as above


def _named(fields: dict[str, Any], name: str) -> dict[str, Any]:
    part = fields.get(name)
    return part if isinstance(part, dict) else {}  # what is read may be anything


def count(export: Iterable[bytes]) -> dict[str, Any]:
    """The numbers of the entries in an export, JSON Lines."""
    tally = Tally()
    for line in export:
        parts = lines.ENTRY.fullmatch(line)
        fields = leaf.parse(parts[4]) if parts else None
        if fields is not None:
            tally.add(fields)
    return tally.numbers()


def differences(told: Any, found: Any, at: str = "") -> list[str]:
    """Where what a report tells is not what the entries add up to; its places, in words."""
    if isinstance(told, dict) and isinstance(found, dict):
        return [
            each
            for name in sorted({*told, *found})
            for each in differences(told.get(name), found.get(name), f"{at}.{name}" if at else name)
        ]
    if isinstance(told, list) and isinstance(found, list) and len(told) == len(found):
        pairs = enumerate(zip(told, found, strict=True))
        return [each for n, (one, other) in pairs for each in differences(one, other, f"{at}.{n}")]
    same = told == found and type(told) is type(found)
    return [] if same else [f"{at} is told as {told!r}, and the entries make it {found!r}"]

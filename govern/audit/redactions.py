"""Erased values: which of them an entry of the same log accounts for; any other is damage.

A `subject.erased` entry accounts for what was erased before it of the entries that refer to its
subject, or to one of the suspensions that it names: those that were over nobody else. Who acted is
never erased: that is what the log is for.
"""

from __future__ import annotations

from typing import Any

ERASED = "subject.erased"
# By whom something was done: nothing personal of those whom it was done to.
WHO_ACTED = frozenset({"actor", "asked_by", "approved_by", "confirmed_by"})


class Redactions:
    """The erased values of one log, read in order.

    `entries` counts those that account for some. What is kept in memory grows with the number of
    people whose erasure is still to come.
    """

    def __init__(self) -> None:
        self.entries = 0
        # By subject and suspension: the first entry with an erased value, and how many have one.
        self._open: dict[tuple[object, object], tuple[int, int]] = {}

    def add(self, seq: int, fields: dict[str, Any], values: dict[str, Any]) -> list[str]:
        """Take in an entry and the values beside it; in words, what may never be erased of it."""
        refs = fields.get("refs")
        refs = refs if isinstance(refs, dict) else {}
        if fields.get("type") == ERASED:
            self._account(refs.get("subject"), fields.get("data"))
        erased = [name for name, opening in values.items() if opening is None]
        if not erased:
            return []
        wrong = sorted(WHO_ACTED.intersection(erased))
        whose = _text(refs.get("subject")), _text(refs.get("suspension"))
        if whose != (None, None):
            first, count = self._open.get(whose, (seq, 0))
            self._open[whose] = first, count + 1
        else:
            wrong = erased
        return [f"has an erased value “{name}”, which nobody may erase" for name in wrong]

    def _account(self, subject: object, data: object) -> None:
        self.entries += 1
        told = data.get("suspensions") if isinstance(data, dict) else None
        suspensions = {_text(each) for each in told} if isinstance(told, list) else set[object]()
        suspensions.discard(None)
        for whose in [*self._open]:
            if whose[0] == (_text(subject) or "") or whose[1] in suspensions:
                del self._open[whose]

    def unaccounted(self) -> list[tuple[int, str]]:
        """(place, words) of what is erased though no later entry says so."""
        return [
            (seq, f"is the first of {count} with erased values that no later entry accounts for")
            for seq, count in sorted(self._open.values())
        ]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

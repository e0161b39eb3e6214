"""What held over a client: roles, and what entitlements permitted, by the entries of its log.

Whoever writes a pack's answers makes them of these entries, and so does whoever checks one: from
the same entries they come to the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from govern.audit import leaf, lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Types of entries from which it follows; a pack has all that the log holds.
TYPES = ("house.told", "role.assigned", "role.withdrawn", "subject.offboarded")


class Governing:
    """What the entries so far say, each of them taken in its log's order."""

    def __init__(self) -> None:
        self._roles: dict[str, dict[str, Any]] = {}
        self._meant: dict[str, list[dict[str, Any]]] = {}

    def add(self, fields: dict[str, Any]) -> None:
        """Take in one entry; KeyError or TypeError where it lacks what it tells of."""
        kind, at, data = fields["type"], fields["time"], fields.get("data", {})
        over = "client"
        if kind == "house.told":
            kind, at, over = data["event"], data["at"], "all"
        refs = fields.get("refs", {})
        if kind == "role.assigned":
            self._roles[refs["role"]] = {
                "role": refs["role"], "subject": refs["subject"], "as": data["role"], "over": over,
                "from": at, "until": data.get("until"), "ended": None,
            }  # fmt: skip
        elif kind == "role.withdrawn":
            self._end(self._roles.get(refs["role"]), at)
        elif kind == "subject.offboarded":
            for row in self._roles.values():
                if row["subject"] == refs["subject"]:
                    self._end(row, at)
        elif kind == "entitlement.defined":
            self._define(refs["entitlement"], set(data["actions"]), at)

    @staticmethod
    def _end(row: dict[str, Any] | None, at: str) -> None:
        if row is not None and row["ended"] is None:
            row["ended"] = at

    def _define(self, entitlement: str, wanted: set[str], at: str) -> None:
        rows = self._meant.setdefault(entitlement, [])
        present = {row["action"]: row for row in rows if row["to"] is None}
        for action in sorted(present.keys() - wanted):
            present[action]["to"] = at
        for action in sorted(wanted - present.keys()):
            rows.append({"id": entitlement, "action": action, "from": at, "to": None})

    def roles(self, begin: str, end: str) -> list[dict[str, Any]]:
        """The roles that counted at any moment of a period, over the client or over all."""
        return [
            row for row in self._roles.values()
            if row["from"] < end
            and all(row[word] is None or row[word] > begin for word in ("until", "ended"))
        ]  # fmt: skip

    def meanings(self, begin: str, end: str) -> list[dict[str, Any]]:
        """What each entitlement permitted at any moment of a period, and when."""
        return [
            row for _, rows in sorted(self._meant.items()) for row in rows
            if row["from"] < end and (row["to"] is None or row["to"] > begin)
        ]  # fmt: skip


def entries(export: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Those of an export, JSON Lines, from which it follows."""
    for line in export:
        parts = lines.ENTRY.fullmatch(line)
        fields = leaf.parse(parts[4]) if parts else None
        if fields is not None and fields.get("type") in TYPES:
            yield fields

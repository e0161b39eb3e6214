"""Filters: which entries an export shows, as conditions and as its header has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, text

from govern import clock
from govern.audit.log import ACTS, ERASURES, PARTICULARS, Entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Self


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which entries to show; what is not set lets all pass. `end` itself is left out."""

    subject: str | None = None
    project: str | None = None
    actor: str | None = None
    types: tuple[str, ...] = ()
    begin: datetime | None = None
    end: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same as conditions on `Entry`."""
        found: list[ColumnElement[bool]] = []
        if self.subject:
            found.append(Entry.subject_id == self.subject)
        if self.project:
            found.append(Entry.project_id == self.project)
        if self.actor:
            found.append(Entry.actor == self.actor)
        if len(self.types) == 1 and self.types[0] not in PARTICULARS:
            # In the words of the index of acts by their type, so that it is taken.
            acts = text(f"log_entry.{ACTS}")
            found.append(and_(Entry.type == self.types[0], acts))
        elif self.types:
            found.append(Entry.type.in_(self.types))
        if self.begin:
            found.append(Entry.at >= self.begin)
        if self.end:
            found.append(Entry.at < self.end)
        return found

    def words(self) -> dict[str, Any]:
        """The same as the header has it; empty when nothing is left out."""
        asked = {
            "subject": self.subject,
            "project": self.project,
            "actor": self.actor,
            "types": sorted(self.types),
            "from": clock.text(self.begin) if self.begin else None,
            "to": clock.text(self.end) if self.end else None,
        }
        return {name: value for name, value in asked.items() if value}

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> Self:
        """The filter that a header has in words."""
        ends = {
            name: clock.parse(words[name], field=name) for name in ("from", "to") if name in words
        }
        return cls(
            subject=words.get("subject"), project=words.get("project"), actor=words.get("actor"),
            types=tuple(words.get("types", ())), begin=ends.get("from"), end=ends.get("to"),
        )  # fmt: skip


def accounting(where: Filter) -> list[ColumnElement[bool]]:
    """Which entries account for erased values among those that a filter shows.

    They stand in the file whatever else is filtered: else nobody could tell them from damage.
    """
    return [text(ERASURES), *([Entry.subject_id == where.subject] if where.subject else [])]  # type: ignore[list-item]  # words that are a condition

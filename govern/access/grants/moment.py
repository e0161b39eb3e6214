"""What the rule's clauses are made of: the moment that a question is about, and one condition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, literal, or_, true

from govern import clock
from govern.clock import Utc

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement, Select


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The instant that a question is about.

    `at` None is now: facts count when they are visible and not ended, whatever their instants say,
    and only windows are compared with the clock. With `at` the log's order decides: a fact counts
    when its entry is at or before that instant and its end is after it. `worked_at` is for hours
    alone: the instant the work was done at, judged by what is known at `at`.
    """

    at: ColumnElement[datetime] | None = None
    worked_at: ColumnElement[datetime] | None = None

    @classmethod
    def past(cls, at: datetime | None) -> Moment:
        """The moment of an instant that is known, or now."""
        return NOW if at is None else cls(at=literal(at, Utc()))

    @property
    def instant(self) -> ColumnElement[datetime]:
        """What windows are compared with."""
        if self.worked_at is not None:
            return self.worked_at
        return clock.instant() if self.at is None else self.at

    def known(self, row: Any) -> ColumnElement[bool]:
        """Whether a fact had been recorded."""
        if self.at is None:
            return true()
        return row.recorded_at <= self.at  # type: ignore[no-any-return]  # as in `unended`

    def unended(self, row: Any) -> ColumnElement[bool]:
        """Whether a fact had not ended."""
        if self.at is None and self.worked_at is None:
            return row.ended_at.is_(None)  # type: ignore[no-any-return]  # of any such table
        return or_(row.ended_at.is_(None), row.ended_at > self.instant)

    def stands(self, row: Any) -> ColumnElement[bool]:
        """Whether a fact counts."""
        return and_(self.known(row), self.unended(row))

    def begun(self, row: Any) -> ColumnElement[bool]:
        """For hours: whether a fact had begun when the work was done."""
        return true() if self.worked_at is None else row.recorded_at <= self.worked_at


NOW = Moment()


@dataclass(frozen=True)
class Clause:
    """One condition of the rule: the reason given when it fails, and the test.

    For a suspension `holding` selects the modes that hold, and whose they are; the strictest is
    part of the reason.
    """

    reason: str
    test: ColumnElement[bool]
    holding: Select[str, str] | None = None

"""The time to effect, as the access log shows it: a suspension's last permit and first refusal.

A decision came before the opening if its snapshot had not seen the opening's entry: positions in
the log tell, not clocks. What was not found is None, which is shown as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import false, select, true, union_all

from govern import clock
from govern.access.suspension_tables import Scope
from govern.access.suspensions import reading
from govern.access.suspensions.hearing import Answer, Heard, Hearing, hearing
from govern.access.suspensions.reading import INSIDE, Found
from govern.audit.decisions import Access, AccessKind
from govern.audit.log import HOUSE

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import InstrumentedAttribute

    from govern.access.suspension_tables import Suspension
    from govern.db import Session
    from govern.principal import Principal

_COLUMNS = {
    Scope.CLIENT: Access.client_id,
    Scope.PROJECT: Access.resource_id,
    Scope.DATASET: Access.resource_id,
    Scope.SUBJECT: Access.subject_id,
}
# So long a decision may be under way: its instant and its snapshot lie that far apart at most.
_UNDER_WAY = timedelta(seconds=5)
# Decisions looked at for each thing covered, and how many of these are looked at.
_MOST_ROWS = 10_000
_MOST_WAYS = INSIDE - 1


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The instants of the last permit before it held, and of the first refusal for its sake."""

    last_permit_at: datetime | None = None
    first_deny_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class TimeToEffect:
    """All instants of one suspension's taking effect, and who heard of it, as seen at `seen_at`."""

    found: Found
    effect: Effect
    hearing: Hearing
    seen_at: datetime

    @property
    def milliseconds(self) -> float:
        """From the order to the commit from which every decision refuses."""
        row = self.found.standing.suspension
        return max((row.recorded_at - row.ordered_at).total_seconds() * 1000, 0.0)

    def told(self) -> dict[str, Any]:
        """The same as JSON has it; instants as text, what was not seen as None."""
        standing = self.found.standing
        row = standing.suspension
        return {
            "id": row.id,
            "state": "open" if standing.is_open else "lifted",
            "mode": standing.mode.value,
            "ordered_at": clock.text(row.ordered_at),
            "committed_at": clock.text(row.recorded_at),
            "milliseconds": self.milliseconds,
            "last_permit_at": _text(self.effect.last_permit_at),
            "first_deny_at": _text(self.effect.first_deny_at),
            "recorded_at": _text(standing.progress.finished_at),
            "grants_recorded": standing.progress.recorded,
            "seen_at": clock.text(self.seen_at),
            "whole": self.hearing.whole,
            "counts": {each.value: self.hearing.count(each) for each in Heard},
            "integrations": [
                {
                    "id": asker.id,
                    "name": asker.name,
                    "state": asker.heard.value,
                    "since": _text(asker.since),
                    "before": _answer(asker.before),
                    "after": _answer(asker.after),
                }
                for asker in self.hearing.askers
            ],
        }


def _text(at: datetime | None) -> str | None:
    return clock.text(at) if at is not None else None


def _answer(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {"at": clock.text(answer.at), "permit": answer.permit, "reason": answer.reason}


def time_to_effect(session: Session, suspension_id: str, *, by: Principal) -> TimeToEffect:
    """Measure one suspension, as far as the caller may see it; `Unknown` where they may not."""
    found = reading.find(session, suspension_id, by=by)
    reading.measure(session, [found.standing], people=False, by=by)
    return TimeToEffect(
        found=found,
        effect=effect(session, found),
        hearing=hearing(session, found, by=by),
        seen_at=clock.utcnow(),
    )


@dataclass(frozen=True, kw_only=True)
class _Way:
    """One thing covered: its rows, and the place of the opening in the log that they cite."""

    rows: ColumnElement[bool]
    kind: Scope
    cited: InstrumentedAttribute[int | None]
    opened: int


def effect(session: Session, found: Found) -> Effect:
    """What the access log shows of one suspension, as to the parts that the caller may see.

    Of a firm nothing is told (its people are many), nor where it covers over a hundred things.
    """
    ways = _ways(found)
    if not ways or len(ways) > _MOST_WAYS:
        return Effect()
    row = found.standing.suspension
    asked = [(_last_permit(way, row), _first_deny(way, row)) for way in ways]
    with session.database.access_reading() as access:
        instants = access.execute(union_all(*(each for both in asked for each in both))).all()
    permits = [at for at, permit in instants if permit]
    denials = [at for at, permit in instants if not permit]
    return Effect(
        last_permit_at=max(permits, default=None), first_deny_at=min(denials, default=None)
    )


def _ways(found: Found) -> list[_Way]:
    ways = []
    for part in found.standing.parts:
        column = _COLUMNS.get(part.kind)
        if column is None:
            return []
        cited = Access.as_of if part.client else Access.house_as_of
        opened = found.places[part.client or HOUSE]
        ways += [
            _Way(rows=column == one, kind=part.kind, cited=cited, opened=opened)
            for one in (part.target_id, *found.inside.get(part.target_id, ()))
        ]
    return ways


def _last_permit(way: _Way, row: Suspension) -> Select[Any]:
    before = (
        _decisions(way)
        .where(Access.at <= row.recorded_at + _UNDER_WAY)
        .order_by(Access.at.desc())
        .limit(_MOST_ROWS)
        .subquery()
    )
    seen = before.c.permit & (before.c.cited <= way.opened)
    return _first(select(before.c.at, true()).where(seen))


def _first_deny(way: _Way, row: Suspension) -> Select[Any]:
    reasons = [f"{way.kind}_paused", f"{way.kind}_read_only", "second_factor_required"]
    since = _decisions(way).where(Access.at >= row.recorded_at - _UNDER_WAY)
    if row.ended_at is not None:
        since = since.where(Access.at < row.ended_at)
    after = since.order_by(Access.at).limit(_MOST_ROWS).subquery()
    seen = after.c.reason.in_(reasons) & (after.c.cited > way.opened)
    return _first(select(after.c.at, false()).where(seen))


def _first(found: Select[Any]) -> Select[Any]:
    """Only the first that is seen, at which the database stops.

    Both databases give the rows in the order in which so many were taken, which tests hold: to ask
    for the least, or for that order once more, would read them all.
    """
    return select(found.limit(1).subquery())


def _decisions(way: _Way) -> Select[Any]:
    columns: list[Any] = [Access.at, Access.permit, Access.reason, way.cited.label("cited")]
    return select(*columns).where(way.rows, Access.kind == AccessKind.DECISION)

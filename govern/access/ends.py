"""What ends when: grants, roles, reviews, promised updates, hours and set resumes, by day in UTC.

Grants are counted, up to a bound for each day; what is few is named. Whoever is admitted to some
clients alone sees what concerns those.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import func, literal, select, union_all

from govern import permissions
from govern.access.grants import Grant
from govern.access.suspension_tables import ScheduledResume
from govern.access.suspensions import notices, reading
from govern.identity.roles import RoleAssignment, in_force
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

COUNTED = 1000  # grants of a day; of more it is said that they are more
ROLES_SHOWN = 200


class What(StrEnum):
    """What can end, beside grants."""

    ROLE = "role"
    REVIEW = "review"
    UPDATE = "update"
    SUBMIT = "submit"
    RESUME = "resume"


@dataclass(frozen=True, kw_only=True)
class End:
    """One thing that ends or falls due: a role of a person (`id`), or something of a suspension."""

    what: What
    at: datetime
    id: str
    names: list[str]
    role: str = ""


@dataclass(kw_only=True)
class Day:
    """A day: how many grants end on it (`more`: than were counted), and what else does."""

    day: date
    grants: int = 0
    more: bool = False
    ends: list[End] = field(default_factory=list)

    @property
    def number(self) -> int:
        """How many things end."""
        return self.grants + len(self.ends)


def begin(day: date) -> datetime:
    """The instant at which a day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def month(session: OrmSession, first: date, *, by: Principal) -> list[Day]:
    """Every day of the month that `first` begins, with what ends on it that the caller may see."""
    clients = permissions.require_some(by, "grant:read")
    length = monthrange(first.year, first.month)[1]
    days = [Day(day=first + timedelta(days=number)) for number in range(length)]
    by_day = {each.day: each for each in days}
    for text, number in _grants(session, by_day, clients):
        found = by_day[date.fromisoformat(text)]
        found.grants, found.more = min(number, COUNTED), number > COUNTED
    window = (begin(first), begin(first) + timedelta(days=length))
    for end in (*_roles(session, window, clients), *_of_suspensions(session, window, by=by)):
        by_day[end.at.date()].ends.append(end)
    for each in days:
        each.ends.sort(key=lambda end: end.at)
    return days


def _grants(
    session: OrmSession, days: Iterable[date], clients: frozenset[str] | None
) -> list[tuple[str, int]]:
    """How many grants end on each day, looking at one more than are counted at most."""
    counts = []
    for day in days:
        some = select(literal(1).label("one")).where(
            Grant.ends_at >= begin(day),
            Grant.ends_at < begin(day) + timedelta(days=1),
            Grant.ended_at.is_(None),
        )
        if clients is not None:
            some = some.where(Grant.client_id.in_(clients))
        bounded = some.limit(COUNTED + 1).subquery()
        counts.append(select(literal(day.isoformat()), func.count()).select_from(bounded))
    return [(row[0], row[1]) for row in session.execute(union_all(*counts))]


def _roles(
    session: OrmSession, window: tuple[datetime, datetime], clients: frozenset[str] | None
) -> Iterator[End]:
    query = (
        in_force()
        .add_columns(Subject.full_name)
        .join(Subject, Subject.id == RoleAssignment.subject_id)
        .where(RoleAssignment.ends_at >= window[0], RoleAssignment.ends_at < window[1])
        .order_by(RoleAssignment.ends_at)
        .limit(ROLES_SHOWN)
    )
    if clients is not None:
        query = query.where(RoleAssignment.client_id.in_(clients))
    for row, name in session.execute(query):
        assert row.ends_at is not None  # noqa: S101 - asked for by the window
        yield End(what=What.ROLE, at=row.ends_at, id=row.subject_id, names=[name], role=row.role)


def _of_suspensions(
    session: OrmSession, window: tuple[datetime, datetime], *, by: Principal
) -> Iterator[End]:
    standings = {one.suspension.id: one for one in reading.open_ones(session, by=by)}
    told = notices.versions(session, standings)
    due: list[tuple[What, datetime | None, str]] = []
    for id_, standing in standings.items():
        due.append((What.REVIEW, standing.suspension.review_by, id_))
        if told[id_]:
            due.append((What.UPDATE, told[id_][0].next_update_by, id_))
            due.append((What.SUBMIT, told[id_][0].submit_by, id_))
    resumes = select(ScheduledResume.at, ScheduledResume.suspension_id).where(
        ScheduledResume.ended_at.is_(None),
        ScheduledResume.at >= window[0],
        ScheduledResume.at < window[1],
    )
    due += [(What.RESUME, at, id_) for at, id_ in session.execute(resumes) if id_ in standings]
    for what, at, id_ in due:
        if at is not None and window[0] <= at < window[1]:
            yield End(what=what, at=at, id=id_, names=standings[id_].names)

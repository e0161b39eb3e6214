"""What ends when: grants, roles, reviews, promised updates, hours and set resumes, by day in UTC.

Grants are counted, up to a bound for each day; what is few is named. Whoever is admitted to some
clients alone sees what concerns those.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, func, literal, not_, select, union_all
from sqlalchemy.orm import aliased

from govern import permissions
from govern.access.grants import Grant
from govern.access.suspension_tables import (
    ScheduledResume,
    Suspension,
    SuspensionNotice,
    SuspensionTarget,
)
from govern.access.suspensions import reading
from govern.db import listed
from govern.identity.roles import RoleAssignment, in_force
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

# Grants of a day, and things of each other sort in a month, or in a day that is asked for; of more
# it is said that they are more.
COUNTED = 1000
NAMED = 200  # things that are named


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
    """A day: how many grants end on it, and what else does, of which the first are named.

    `more` and `more_others`: there are more than were counted.
    """

    day: date
    grants: int = 0
    more: bool = False
    others: int = 0
    more_others: bool = False
    ends: list[End] = field(default_factory=list)

    @property
    def number(self) -> int:
        """How many things end."""
        return self.grants + self.others


def begin(day: date) -> datetime:
    """The instant at which a day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def month(session: OrmSession, first: date, *, day: date | None = None, by: Principal) -> list[Day]:
    """Every day of the month that `first` begins, with what ends on it that the caller may see.

    Named are the first things of the month, or of one `day` of it.
    """
    clients = permissions.require_some(by, "grant:read")
    length = monthrange(first.year, first.month)[1]
    days = [Day(day=first + timedelta(days=number)) for number in range(length)]
    by_day = {each.day: each for each in days}
    for text, number in _grants(session, by_day, clients):
        found = by_day[date.fromisoformat(text)]
        found.grants, found.more = min(number, COUNTED), number > COUNTED
    window = begin(first), begin(first) + timedelta(days=length)
    due, since = _due(session, window, clients, by=by)
    if day is not None:
        window = begin(day), begin(day) + timedelta(days=1)
        own, further = _due(session, window, clients, by=by)
        due = [one for one in due if one.at.date() != day] + own
        by_day[day].more_others = further is not None
    for each in days:
        if since is not None and each.day != day:
            each.more_others = each.day >= since.date()
    for one in due:
        by_day[one.at.date()].others += 1
    named = [one for one in due if day is None or one.at.date() == day]
    for one in _named(session, named[:NAMED], by=by):
        by_day[one.at.date()].ends.append(one)
    return days


def _due(
    session: OrmSession,
    window: tuple[datetime, datetime],
    clients: frozenset[str] | None,
    *,
    by: Principal,
) -> tuple[list[End], datetime | None]:
    """What ends in a time beside grants, in order, of each sort so many at most.

    And from when on there may be more; None: that is all.
    """
    found = _roles(session, window, clients) + _of_suspensions(session, window, by=by)
    due: list[End] = []
    further: list[datetime] = []
    for what in What:
        own = [one for one in found if one.what is what]
        due += own[:COUNTED]
        further += [one.at for one in own[COUNTED:]]
    return sorted(due, key=lambda one: one.at), min(further, default=None)


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
) -> list[End]:
    query = (
        in_force()
        .with_only_columns(
            RoleAssignment.ends_at, RoleAssignment.subject_id, RoleAssignment.role,
            Subject.full_name,
        )
        .join(Subject, Subject.id == RoleAssignment.subject_id)
        .where(*_within(RoleAssignment.ends_at, window))
        .order_by(RoleAssignment.ends_at)
        .limit(COUNTED + 1)
    )  # fmt: skip
    if clients is not None:
        query = query.where(RoleAssignment.client_id.in_(clients))
    return [
        End(what=What.ROLE, at=at, id=person, names=[name], role=role)
        for at, person, role, name in session.execute(query)
        if at is not None
    ]


def _of_suspensions(
    session: OrmSession, window: tuple[datetime, datetime], *, by: Principal
) -> list[End]:
    """What falls due of the open ones that the caller may see, in order, without their names."""
    notice, later = SuspensionNotice, aliased(SuspensionNotice)
    newest = not_(
        exists().where(later.suspension_id == notice.suspension_id, later.number > notice.number)
    )
    seen = Suspension.ended_at.is_(None), reading.seen_by(reading.may_see(by), still=True)
    due = [
        select(literal(what.value).label("what"), at.label("at"), Suspension.id)
        .join_from(Suspension, table, table.suspension_id == Suspension.id)
        .where(*seen, *_within(at, window), test)
        for what, table, at, test in (
            (What.UPDATE, notice, notice.next_update_by, newest),
            (What.SUBMIT, notice, notice.submit_by, newest),
            (What.RESUME, ScheduledResume, ScheduledResume.at, ScheduledResume.ended_at.is_(None)),
        )
    ]  # fmt: skip
    at = Suspension.review_by
    review = select(literal(What.REVIEW.value).label("what"), at.label("at"), Suspension.id)
    due.append(review.where(*seen, *_within(at, window)))
    some = (each.order_by(each.selected_columns.at).limit(COUNTED + 1).subquery() for each in due)
    rows = session.execute(union_all(*(select(each) for each in some))).all()
    return [
        End(what=What(what), at=at, id=id_, names=[])
        for what, at, id_ in sorted(rows, key=lambda row: row.at)
    ]


def _within(at: Any, window: tuple[datetime, datetime]) -> tuple[ColumnElement[bool], ...]:
    return at >= window[0], at < window[1]


def _named(session: OrmSession, due: list[End], *, by: Principal) -> Iterator[End]:
    """The same with what each suspension covers, by name."""
    ids = sorted({one.id for one in due if one.what is not What.ROLE})
    over = SuspensionTarget.suspension_id.in_(select(listed(session, ids).c.value))
    found = reading.open_ones(session, over=[over], by=by) if ids else []
    names = {standing.suspension.id: standing.names for standing in found}
    for one in due:
        yield replace(one, names=names.get(one.id, one.names))

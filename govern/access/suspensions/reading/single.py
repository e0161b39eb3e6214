"""One suspension: all that its page shows, as far as the caller may know of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select, text
from sqlalchemy.orm import aliased

from govern import clock, errors
from govern.access import grants
from govern.access.clients import Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant, Moment
from govern.access.modes import Mode
from govern.access.requests import Request, signature
from govern.access.suspension_tables import (
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.access.suspensions.opening import TAKE_BACK_WITHIN
from govern.access.suspensions.parts import named, part_of
from govern.access.suspensions.reading.measuring import measure
from govern.access.suspensions.reading.standings import Standing, may_see
from govern.access.suspensions.targets import covered
from govern.audit import EventType
from govern.audit.log import ACTS, Entry
from govern.db import listed
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

EVENTS_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Held:
    """One grant that the opening touched; `seq` is its entry's place, None while unwritten."""

    grant_id: str
    subject_id: str
    external_id: str
    name: str
    project: str
    entitlement: str
    seq: int | None


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One act on a suspension."""

    at: datetime
    type: EventType
    by: str


@dataclass(frozen=True, kw_only=True)
class Released:
    """One person, project or dataset that was let out early; `code` is what they are known by."""

    kind: Scope
    target_id: str
    code: str
    name: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Found:
    """One suspension, its modes in order, its opener's name, and what awaits a second person.

    `whole` is whether the caller may see all that it covers.
    """

    standing: Standing
    whole: bool
    opened_by: str
    modes: list[SuspensionMode]
    waiting: list[Request]
    take_back_until: datetime | None

    def inner(self, value: str) -> str:
        """What is told of all clients at once, which may name another than the caller's."""
        return value if self.whole else ""


@dataclass(frozen=True, kw_only=True)
class Detail(Found):
    """All that the page of one suspension shows."""

    releases: list[Released]
    events: list[Happened]
    held: list[Held]
    next_after: str | None


def find(session: OrmSession, suspension_id: str, *, by: Principal) -> Found:
    """One suspension with the parts that the caller may see; `Unknown` where there are none."""
    clients = may_see(by)
    rows = session.execute(
        select(Suspension, SuspensionMode, Request, Subject.full_name)
        .join(SuspensionMode, SuspensionMode.suspension_id == Suspension.id)
        .outerjoin(
            Request, and_(Request.suspension_id == Suspension.id, Request.ended_at.is_(None))
        )
        .outerjoin(Subject, Subject.id == Suspension.opened_by)
        .where(Suspension.id == suspension_id)
        .order_by(SuspensionMode.recorded_at, SuspensionMode.id, Request.recorded_at)
    ).all()
    everything = [
        part_of(row)
        for row in session.execute(
            named()
            .where(SuspensionTarget.suspension_id == suspension_id)
            .order_by(SuspensionTarget.id)
        )
    ]
    parts = [part for part in everything if clients is None or part.client in clients]
    if not rows or not parts:
        raise errors.Unknown(f"There is no suspension {suspension_id}.")
    suspension, last, _, opener = rows[-1]
    standing = Standing(
        suspension=suspension, mode=Mode(last.mode), mode_id=last.id, parts=parts
    )  # fmt: skip
    return Found(
        standing=standing,
        whole=len(parts) == len(everything),
        opened_by=opener or suspension.opened_by,
        modes=list(dict.fromkeys(row[1] for row in rows)),
        waiting=_waiting([row[2] for row in rows], clients),
        take_back_until=_take_back_until(suspension, by=by),
    )


def _waiting(rows: list[Request | None], clients: frozenset[str] | None) -> list[Request]:
    return [
        row
        for row in dict.fromkeys(rows)
        if row is not None and (clients is None or row.client_id in clients)
    ]


def progress(session: OrmSession, suspension_id: str, *, by: Principal) -> Standing:
    """One suspension with how far its record is: what the page asks for again and again."""
    standing = find(session, suspension_id, by=by).standing
    measure(session, [standing], by=by)
    return standing


def detail(
    session: OrmSession, suspension_id: str, *, after: str = "", limit: int = 25, by: Principal
) -> Detail:
    """Everything about one suspension, with one page of the grants that its opening touched."""
    found = find(session, suspension_id, by=by)
    standing = found.standing
    measure(session, [standing], by=by)
    rows, next_after = held(session, standing, after=after, limit=limit, by=by)
    return Detail(
        **vars(found),
        releases=releases(session, suspension_id, by=by),
        events=_events(session, suspension_id, by=by),
        held=rows,
        next_after=next_after,
    )


def releases(session: OrmSession, suspension_id: str, *, by: Principal) -> list[Released]:
    """Who and what was let out early, the first first, as far as the caller may know of them."""
    clients = may_see(by)
    row, owner = SuspensionRelease, aliased(Project)
    query = (
        select(
            row,
            func.coalesce(Subject.external_id, Project.code, Dataset.code),
            func.coalesce(Subject.full_name, Project.code, Dataset.code),
        )
        .outerjoin(Subject, Subject.id == row.target_id)
        .outerjoin(Project, Project.id == row.target_id)
        .outerjoin(Dataset, Dataset.id == row.target_id)
        .outerjoin(owner, owner.id == Dataset.project_id)
        .where(row.suspension_id == suspension_id)
        .order_by(row.recorded_at, row.id)
        .limit(EVENTS_SHOWN)
    )
    if clients is not None:
        known = select(Grant.id).where(Grant.subject_id == Subject.id, Grant.client_id.in_(clients))
        query = query.where(
            or_(
                known.exists(),
                Project.client_id.in_(clients),
                owner.client_id.in_(clients),
            )
        )
    return [
        Released(
            kind=Scope(row.kind), target_id=row.target_id, code=code, name=name, at=row.recorded_at
        )
        for row, code, name in session.execute(query)
    ]


def _events(session: OrmSession, suspension_id: str, *, by: Principal) -> list[Happened]:
    """Acts on a suspension, each once though it has an entry in every log concerned."""
    clients = may_see(by)
    name = func.coalesce(Subject.full_name, Entry.actor)
    query = (
        select(Entry.at, Entry.type, name)
        .outerjoin(Subject, Subject.id == Entry.actor)
        .where(Entry.suspension_id == suspension_id, text(ACTS))
        .group_by(Entry.at, Entry.type, name)
        .order_by(Entry.at.desc())
        .limit(EVENTS_SHOWN)
    )
    if clients is not None:
        query = query.where(Entry.log_id.in_(clients))
    return [
        Happened(at=at, type=EventType(type_), by="" if who == "system" else who)
        for at, type_, who in session.execute(query)
    ]


def held(
    session: OrmSession, standing: Standing, *, after: str = "", limit: int = 25, by: Principal
) -> tuple[list[Held], str | None]:
    """One page of the grants that the opening touched, by id, and where the next begins."""
    opened_at = standing.suspension.recorded_at
    moment, clients = Moment.past(opened_at), may_see(by)
    parts = [part.target for part in standing.parts if part.recorded_at == opened_at]
    query = (
        grants.facts(
            Grant.id, Grant.subject_id, Subject.external_id, Subject.full_name, Project.code,
            Dataset.code, Entitlement.name, moment=moment,
        )
        .join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .where(covered(parts, moment), grants.all_of(grants.standing(moment)), Grant.id > after)
        .order_by(Grant.id)
        .limit(limit + 1)
    )  # fmt: skip
    if clients is not None:
        query = query.where(Grant.client_id.in_(clients))
    rows = session.execute(query).all()
    places = _places(session, standing, [row[1] for row in rows[:limit]])
    found = [
        Held(
            grant_id=row[0], subject_id=row[1], external_id=row[2], name=row[3],
            project=f"{row[4]} / {row[5]}" if row[5] else row[4], entitlement=row[6],
            seq=places.get(row[0]),
        )
        for row in rows[:limit]
    ]  # fmt: skip
    return found, found[-1].grant_id if len(rows) > limit else None


def _places(session: OrmSession, standing: Standing, people: list[str]) -> dict[str, int]:
    """Where in its log each grant's first entry for this suspension stands."""
    among = listed(session, sorted(set(people)))
    rows = session.execute(
        select(Entry.seq, Entry.leaf)
        .join(among, among.c.value == Entry.subject_id)
        .where(
            Entry.suspension_id == standing.suspension.id,
            Entry.type.in_([EventType.GRANT_SUSPENDED, EventType.GRANT_REVIEW_REQUIRED]),
        )
        .order_by(Entry.seq.desc())
    )
    return {json.loads(leaf)["refs"]["grant"]: seq for seq, leaf in rows}


def _take_back_until(opened: Suspension, *, by: Principal) -> datetime | None:
    until = opened.recorded_at + TAKE_BACK_WITHIN
    untouched = opened.ended_at is None and opened.opened_by == signature(by)
    return until if untouched and clock.utcnow() < until else None

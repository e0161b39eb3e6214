"""One suspension: all that its page shows, as far as the caller may know of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select, text
from sqlalchemy.orm import aliased

from govern.access import grants
from govern.access.clients import Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant, Moment
from govern.access.suspension_tables import Scope, SuspensionRelease
from govern.access.suspensions.reading.found import Found, find
from govern.access.suspensions.reading.measuring import measure
from govern.access.suspensions.reading.standings import Standing, may_see
from govern.access.suspensions.targets import covered
from govern.audit import EventType
from govern.audit.log import ACTS, Entry
from govern.db import Inquiry, together
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from typing import Any

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
class Detail(Found):
    """All that the page of one suspension shows."""

    releases: list[Released]
    events: list[Happened]
    held: list[Held]
    next_after: str | None


def progress(session: OrmSession, suspension_id: str, *, by: Principal) -> Found:
    """One suspension with how far its record is: what the page asks for again and again."""
    found = find(session, suspension_id, by=by)
    measure(session, [found.standing], by=by)
    return found


def detail(
    session: OrmSession, suspension_id: str, *, after: str = "", limit: int = 25, by: Principal
) -> Detail:
    """Everything about one suspension, with one page of the grants that its opening touched."""
    found = progress(session, suspension_id, by=by)
    rows, next_after = held(session, found.standing, after=after, limit=limit, by=by)
    let_out, events = together(
        session, releases_of(suspension_id, by=by), _events(suspension_id, by=by)
    )
    return Detail(
        **vars(found),
        releases=let_out,
        events=events,
        held=rows,
        next_after=next_after,
    )


def releases(session: OrmSession, suspension_id: str, *, by: Principal) -> list[Released]:
    """Who and what was let out early, the first first, as far as the caller may know of them."""
    found: list[Released] = together(session, releases_of(suspension_id, by=by))[0]
    return found


def releases_of(suspension_id: str, *, by: Principal) -> Inquiry[list[Released]]:
    """The same, to be asked along with others."""
    clients = may_see(by)
    row, owner = SuspensionRelease, aliased(Project)
    query = (
        select(
            row.recorded_at, row.id, row.kind, row.target_id,
            func.coalesce(Subject.external_id, Project.code, Dataset.code).label("code"),
            func.coalesce(Subject.full_name, Project.code, Dataset.code).label("name"),
        )
        .outerjoin(Subject, Subject.id == row.target_id)
        .outerjoin(Project, Project.id == row.target_id)
        .outerjoin(Dataset, Dataset.id == row.target_id)
        .outerjoin(owner, owner.id == Dataset.project_id)
        .where(row.suspension_id == suspension_id)
        .order_by(row.recorded_at, row.id)
        .limit(EVENTS_SHOWN)
    )  # fmt: skip
    if clients is not None:
        known = select(Grant.id).where(Grant.subject_id == Subject.id, Grant.client_id.in_(clients))
        query = query.where(
            or_(
                known.exists(),
                Project.client_id.in_(clients),
                owner.client_id.in_(clients),
            )
        )

    def told(rows: list[tuple[Any, ...]]) -> list[Released]:
        return [
            Released(kind=Scope(kind), target_id=target, code=code, name=name, at=at)
            for at, _, kind, target, code, name in sorted(rows)
        ]

    return Inquiry(query, told)


def _events(suspension_id: str, *, by: Principal) -> Inquiry[list[Happened]]:
    """Acts on a suspension, each once though it has an entry in every log concerned."""
    clients = may_see(by)
    name = func.coalesce(Subject.full_name, Entry.actor)
    query = (
        select(Entry.at, Entry.type, name.label("who"))
        .outerjoin(Subject, Subject.id == Entry.actor)
        .where(Entry.suspension_id == suspension_id, text(ACTS))
        .group_by(Entry.at, Entry.type, name)
        .order_by(Entry.at.desc())
        .limit(EVENTS_SHOWN)
    )
    if clients is not None:
        query = query.where(Entry.log_id.in_(clients))

    def told(rows: list[tuple[Any, ...]]) -> list[Happened]:
        return [
            Happened(at=at, type=EventType(type_), by="" if who == "system" else who)
            for at, type_, who in sorted(rows, reverse=True)
        ]

    return Inquiry(query, told)


def held(
    session: OrmSession, standing: Standing, *, after: str = "", limit: int = 25, by: Principal
) -> tuple[list[Held], str | None]:
    """One page of the grants that the opening touched, by id, and where the next begins."""
    opened_at = standing.suspension.recorded_at
    moment, clients = Moment.past(opened_at), may_see(by)
    parts = [part.target for part in standing.parts if part.recorded_at == opened_at]
    query = (
        grants.facts(
            Grant.id, Grant.subject_id, Subject.external_id, Subject.full_name,
            Project.code.label("project"), Dataset.code.label("dataset"),
            Entitlement.name.label("entitlement"), moment=moment,
        )
        .join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .where(covered(parts, moment), grants.all_of(grants.standing(moment)), Grant.id > after)
        .order_by(Grant.id)
        .limit(limit + 1)
    )  # fmt: skip
    if clients is not None:
        query = query.where(Grant.client_id.in_(clients))
    page = query.subquery()
    entry = and_(
        Entry.subject_id == page.c.subject_id,
        Entry.suspension_id == standing.suspension.id,
        Entry.type.in_([EventType.GRANT_SUSPENDED, EventType.GRANT_REVIEW_REQUIRED]),
    )
    columns: list[Any] = [*page.c, Entry.seq, Entry.leaf]
    rows: Any = session.execute(select(*columns).outerjoin(Entry, entry).order_by(page.c.id))
    found: dict[str, Held] = {}
    for id_, subject_id, external_id, name, project, dataset, entitlement, place, body in rows:
        # An entry for each grant that the person lost with it: the first of this one counts.
        own = body is not None and json.loads(body)["refs"]["grant"] == id_
        seq, known = place if own else None, found.get(id_)
        if known is None or (seq is not None and (known.seq is None or seq < known.seq)):
            found[id_] = Held(
                grant_id=id_, subject_id=subject_id, external_id=external_id, name=name,
                project=f"{project} / {dataset}" if dataset else project,
                entitlement=entitlement, seq=seq,
            )  # fmt: skip
    shown = list(found.values())[:limit]
    return shown, shown[-1].grant_id if len(found) > limit else None

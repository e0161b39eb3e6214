"""The list of people: searched, filtered, and with the first projects that each may reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, exists, func, literal, select, union_all
from sqlalchemy.orm import aliased

from govern import errors, permissions
from govern.access import grants
from govern.access.clients import Project
from govern.access.grants import Grant
from govern.access.holdings.known import (
    PAGE,
    Page,
    few,
    few_known,
    known_ids,
    known_to,
    matching,
)
from govern.access.modes import Mode
from govern.access.suspension_tables import (
    PeopleListItem,
    Scope,
    SuspensionMode,
    SuspensionTarget,
    naming,
)
from govern.db import listed
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

PROJECTS_SHOWN = 3
STATES = ("active", "suspended", "offboarded")


@dataclass(kw_only=True)
class Person:
    """One line of the list of people; `more` counts the projects beyond those named."""

    id: str
    external_id: str
    name: str
    email: str
    kind: str
    organisation: str
    state: str
    projects: list[str] = field(default_factory=list)
    more: int = 0


def people(
    session: OrmSession,
    *,
    query: str = "",
    kind: str = "",
    state: str = "",
    organisation: str = "",
    after: str = "",
    limit: int = PAGE,
    by: Principal,
) -> Page:
    """People by external id, found by the beginning of id or address, or of words of the name."""
    clients = permissions.require_some(by, "subject:read")
    wanted = (
        select(
            Subject.id, Subject.external_id, Subject.full_name, Subject.email, Subject.kind,
            Organisation.name, state_now(),
        )
        .join(Membership, and_(Membership.subject_id == Subject.id, Membership.ended_at.is_(None)))
        .join(Organisation, Organisation.id == Membership.organisation_id)
        .where(Subject.external_id > after)
        .order_by(Subject.external_id)
        .limit(limit + 1)
    )  # fmt: skip
    if clients is not None:
        walked = few_known(session, clients)
        wanted = wanted.where(Subject.id.in_(known_ids(clients)) if walked else known_to(clients))
    if query:
        wanted = wanted.where(matching(query, paged=session))
    if kind:
        wanted = wanted.where(Subject.kind == kind)
    if organisation:
        wanted = wanted.where(Organisation.name == organisation)
    if state:
        if state not in STATES:
            raise errors.Invalid(f"“{state}” is no state of a person.", field="state")
        wanted = wanted.where(in_state(state))
        left = select(Subject.id).where(Subject.ended_at.is_not(None))
        if state == "offboarded" and few(session, left):
            wanted = wanted.where(Subject.id.in_(left))
    found = session.execute(wanted).all()
    rows = [
        Person(
            id=row[0], external_id=row[1], name=row[2], email=row[3], kind=row[4],
            organisation=row[5], state=row[6],
        )
        for row in found[:limit]
    ]  # fmt: skip
    _add_projects(session, {row.id: row for row in rows}, clients)
    return Page(rows=rows, after=rows[-1].external_id if len(found) > limit else None)


def organisations(session: OrmSession, *, by: Principal, limit: int = 500) -> list[str]:
    """The names of the organisations that the people of whom the caller may know belong to."""
    clients = permissions.require_some(by, "subject:read")
    wanted = select(Organisation.name).order_by(Organisation.name).limit(limit)
    if clients is not None:
        theirs = (
            select(Membership.organisation_id)
            .join(Subject, Subject.id == Membership.subject_id)
            .where(Membership.ended_at.is_(None))
        )
        if few_known(session, clients):
            theirs = theirs.where(Subject.id.in_(known_ids(clients)))
            wanted = wanted.where(Organisation.id.in_(theirs))
        else:  # of each firm the first one is found soon
            theirs = theirs.where(Membership.organisation_id == Organisation.id, known_to(clients))
            wanted = wanted.where(theirs.correlate(Organisation).exists())
    return list(session.execute(wanted).scalars())


def _add_projects(
    session: OrmSession, people: dict[str, Person], clients: frozenset[str] | None
) -> None:
    """The first projects that each of some people may reach or is held from, and how many more."""
    if not people:
        return
    among = listed(session, sorted(people))
    pairs = (
        grants.facts(Grant.subject_id.label("subject_id"), Project.code.label("code"))
        .join(among, among.c.value == Grant.subject_id)
        .where(grants.all_of(grants.standing()))
        .distinct()
    )
    if clients is not None:
        pairs = pairs.where(Grant.client_id.in_(clients))
    each = pairs.subquery()
    ranked = select(
        each.c.subject_id,
        each.c.code,
        func.row_number().over(partition_by=each.c.subject_id, order_by=each.c.code).label("place"),
        func.count().over(partition_by=each.c.subject_id).label("number"),
    ).subquery()
    rows = session.execute(
        select(ranked).where(ranked.c.place <= PROJECTS_SHOWN).order_by(ranked.c.place)
    )
    for subject_id, code, _, number in rows:
        people[subject_id].projects.append(code)
        people[subject_id].more = max(0, number - PROJECTS_SHOWN)


def state_now() -> ColumnElement[str]:
    """How a person stands: a suspension of themselves counts, one of a project does not."""
    target, mode = aliased(SuspensionTarget), aliased(SuspensionMode)
    suspended = (
        exists()
        .where(
            naming(target, Subject.id),
            target.ended_at.is_(None),
            mode.suspension_id == target.suspension_id,
            mode.ended_at.is_(None),
            mode.mode != Mode.UNDER_REVIEW,
        )
        .correlate(Subject)
    )
    return case(
        (Subject.ended_at.is_not(None), "offboarded"), (suspended, "suspended"), else_="active"
    )


def in_state(state: str) -> ColumnElement[bool]:
    """Who stands so by `state_now`: the few who do not as everybody does are found by indexes."""
    if state == "offboarded":
        return Subject.ended_at.is_not(None)
    if state != "suspended":
        return state_now() == literal(state)
    target, mode = SuspensionTarget, SuspensionMode
    over = and_(
        target.ended_at.is_(None), mode.ended_at.is_(None), mode.mode != Mode.UNDER_REVIEW,
        mode.suspension_id == target.suspension_id,
    )  # fmt: skip
    alone = select(target.target_id).where(over, target.kind == Scope.SUBJECT)
    listed_ = select(PeopleListItem.subject_id).where(
        over, target.kind == Scope.PEOPLE, PeopleListItem.list_id == target.target_id
    )
    return and_(Subject.ended_at.is_(None), Subject.id.in_(union_all(alone, listed_)))

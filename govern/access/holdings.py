"""Holdings: who holds which grants, in lists to search and page; how each stands, the rule says.

Lists are paged by their keys. Whoever is admitted to some clients alone sees the people who hold or
held something there, and of those nothing that concerns other clients.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, exists, func, literal, not_, or_, select
from sqlalchemy.orm import aliased

from govern import errors, permissions
from govern.access import grants
from govern.access.clients import Client, Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.access.modes import Effect, Mode
from govern.access.suspension_tables import Scope, SuspensionMode, SuspensionTarget, naming
from govern.access.suspensions import reading
from govern.access.suspensions.reading import Standing
from govern.db import listed
from govern.identity.passwords import Password
from govern.identity.roles import RoleAssignment, in_force
from govern.identity.sessions import WebSession
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

PAGE = 25
PROJECTS_SHOWN = 3
STATES = ("active", "suspended", "offboarded")
STATUSES = ("in_force", "held", "scheduled", "expired", "revoked", "ended")
# What a grant's failing clause is called in one word.
_WORD = {
    "subject_offboarded": "revoked",
    "client_ended": "ended",
    "project_ended": "ended",
    "grant_revoked": "revoked",
    "grant_not_started": "scheduled",
    "grant_expired": "expired",
}
_FURTHEST = "\U0010ffff"  # sorts after every text with the same beginning


@dataclass(frozen=True, kw_only=True)
class Holding:
    """One grant, whose it is and how it stands now."""

    id: str
    subject_id: str
    external_id: str
    name: str
    organisation: str
    client: str
    project: str
    dataset: str | None
    entitlement: str
    starts_at: datetime
    ends_at: datetime
    recorded_at: datetime
    ended_at: datetime | None
    status: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some rows of a list, and the key after which the next ones are; None when that is all."""

    rows: list[Any]
    after: str | None


# --- grants ------------------------------------------------------------------------------------


@cache
def _status() -> ColumnElement[str]:
    """How a grant stands now: the first clause of the rule that it fails, in one word."""
    failing = [(not_(clause.test), _WORD[clause.reason]) for clause in grants.standing()]
    # What read-only stops, pausing stops too.
    return case(*failing, (grants.held(Effect.CHANGE), "held"), else_="in_force")


def search(
    session: OrmSession,
    *,
    project: Project | None = None,
    subject: str | None = None,
    query: str = "",
    status: str = "",
    entitlement: str = "",
    after: str = "",
    limit: int = PAGE,
    by: Principal,
) -> Page:
    """The grants that the caller may see, oldest first: of a project, of a person's id, or all.

    `query` finds people as `people` does; `status` and `entitlement` are words that a page shows.
    """
    clients = _clients(by, "grant:read")
    wanted = _holdings()
    if clients is not None:
        wanted = wanted.where(Grant.client_id.in_(clients))
    if project is not None:
        wanted = wanted.where(Grant.project_id == project.id)
    if subject is not None:
        wanted = wanted.where(Grant.subject_id == subject)
    if query:
        wanted = wanted.where(_matching(query))
    if entitlement:
        wanted = wanted.where(Entitlement.name == entitlement)
    if status:
        if status not in STATUSES:
            raise errors.Invalid(f"“{status}” is no state of a grant.", field="status")
        wanted = wanted.where(_status() == literal(status))
    found = session.execute(
        wanted.where(Grant.id > after).order_by(Grant.id).limit(limit + 1)
    ).all()
    rows = [_holding(row) for row in found[:limit]]
    return Page(rows=rows, after=rows[-1].id if len(found) > limit else None)


def one(session: OrmSession, grant_id: str, *, by: Principal) -> Holding:
    """One grant and how it stands; `Unknown` where the caller may not know of it."""
    grant = grants.find(session, grant_id, by=by)
    return _holding(session.execute(_holdings().where(Grant.id == grant.id)).one())


def _holding(row: Any) -> Holding:
    return Holding(**dict(zip(Holding.__dataclass_fields__, row, strict=True)))


@cache
def _holdings() -> Select[Any]:
    return (
        grants.facts(
            Grant.id, Grant.subject_id, Subject.external_id, Subject.full_name, Organisation.name,
            Client.code, Project.code, Dataset.code, Entitlement.name, Grant.starts_at,
            Grant.ends_at, Grant.recorded_at, Grant.ended_at, _status(),
        )
        .join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .join(Membership, and_(Membership.subject_id == Subject.id, Membership.ended_at.is_(None)))
        .join(Organisation, Organisation.id == Membership.organisation_id)
    )  # fmt: skip


# --- people ------------------------------------------------------------------------------------


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
    """People by external id, searched by the beginning of id or address, or within the name.

    Ids and addresses are found by their indexes; a part of a name has none, and is looked for
    from the first person on until a page is full.
    """
    clients = _clients(by, "subject:read")
    wanted = (
        select(
            Subject.id, Subject.external_id, Subject.full_name, Subject.email, Subject.kind,
            Organisation.name, _state(),
        )
        .join(Membership, and_(Membership.subject_id == Subject.id, Membership.ended_at.is_(None)))
        .join(Organisation, Organisation.id == Membership.organisation_id)
        .where(Subject.external_id > after)
        .order_by(Subject.external_id)
        .limit(limit + 1)
    )  # fmt: skip
    if clients is not None:
        wanted = wanted.where(_known_to(clients))
    if query:
        wanted = wanted.where(_matching(query))
    if kind:
        wanted = wanted.where(Subject.kind == kind)
    if organisation:
        wanted = wanted.where(Organisation.name == organisation)
    if state:
        if state not in STATES:
            raise errors.Invalid(f"“{state}” is no state of a person.", field="state")
        wanted = wanted.where(_state() == literal(state))
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
    clients = _clients(by, "subject:read")
    wanted = select(Organisation.name).order_by(Organisation.name).limit(limit)
    if clients is not None:
        theirs = (
            select(Membership.organisation_id)
            .join(Subject, Subject.id == Membership.subject_id)
            .where(Membership.ended_at.is_(None), _known_to(clients))
        )
        wanted = wanted.where(Organisation.id.in_(theirs))
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


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role in force; `over` is the code of its one client (`client`), or None for all."""

    id: str
    role: str
    client: str | None
    over: str | None
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One person: who they are, what holds them, and what leaving would end.

    `grants` and `projects` count what the caller may see of that.
    """

    subject: Subject
    organisation: str
    state: str
    last_sign_in: datetime | None
    activated: bool
    suspensions: list[Standing]
    roles: list[Role]
    grants: int
    projects: int


def person(session: OrmSession, reference: str, *, by: Principal) -> Subject:
    """Someone by opaque or external id; `Unknown` where the caller may not know of them."""
    clients = _clients(by, "subject:read")
    query = select(Subject).where(or_(Subject.id == reference, Subject.external_id == reference))
    if clients is not None:
        query = query.where(_known_to(clients))
    found = session.execute(query.order_by((Subject.id == reference).desc()).limit(1)).scalar()
    if found is None:
        raise errors.Unknown(f"There is no person “{reference}”.", field="subject")
    return found


def profile(session: OrmSession, subject_id: str, *, by: Principal) -> Profile:
    """One person as far as the caller may know of them, by opaque id; `Unknown` beyond that."""
    clients = _clients(by, "subject:read")
    signed_in = (
        select(func.max(WebSession.signed_in_at))
        .where(WebSession.subject_id == Subject.id, WebSession.factor_at.is_not(None))
        .scalar_subquery()
    )
    unended = and_(Grant.subject_id == Subject.id, Grant.ended_at.is_(None))
    if clients is not None:
        unended = and_(unended, Grant.client_id.in_(clients))
    query = (
        select(
            Subject, Organisation, _state(), signed_in,
            exists().where(Password.subject_id == Subject.id),
            select(func.count(Grant.id)).where(unended).scalar_subquery(),
            select(func.count(Grant.project_id.distinct())).where(unended).scalar_subquery(),
        )
        .join(Membership, and_(Membership.subject_id == Subject.id, Membership.ended_at.is_(None)))
        .join(Organisation, Organisation.id == Membership.organisation_id)
        .where(Subject.id == subject_id)
    )  # fmt: skip
    if clients is not None:
        query = query.where(_known_to(clients))
    row = session.execute(query).one_or_none()
    if row is None:
        raise errors.Unknown("There is no such person.", field="subject")
    subject, organisation = row[0], row[1]
    return Profile(
        subject=subject, organisation=organisation.name, state=row[2], last_sign_in=row[3],
        activated=row[4], grants=row[5], projects=row[6],
        suspensions=reading.open_ones(
            session,
            over=[
                naming(SuspensionTarget, subject.id),
                and_(
                    SuspensionTarget.kind == Scope.ORGANISATION,
                    SuspensionTarget.target_id == organisation.id,
                ),
            ],
            by=by,
        ),
        roles=_roles(session, subject.id, clients),
    )  # fmt: skip


def _roles(session: OrmSession, subject_id: str, clients: frozenset[str] | None) -> list[Role]:
    query = (
        in_force()
        .add_columns(Client.code)
        .outerjoin(Client, Client.id == RoleAssignment.client_id)
        .where(RoleAssignment.subject_id == subject_id)
        .order_by(RoleAssignment.role, RoleAssignment.id)
    )
    if clients is not None:
        query = query.where(RoleAssignment.client_id.in_(clients))
    return [
        Role(
            id=row.id,
            role=row.role,
            client=row.client_id,
            over=code,
            starts_at=row.recorded_at,
            ends_at=row.ends_at,
        )
        for row, code in session.execute(query)
    ]


def _state() -> ColumnElement[str]:
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


def _known_to(clients: frozenset[str]) -> ColumnElement[bool]:
    """Whoever holds or held a grant of some clients, or a role over one of them."""
    return or_(
        *(
            exists()
            .where(table.subject_id == Subject.id, table.client_id.in_(clients))
            .correlate(Subject)
            for table in (Grant, RoleAssignment)
        )
    )


def _matching(query: str) -> ColumnElement[bool]:
    """Id or address begin with what was typed, or the name holds it; ASCII letters of any case."""
    typed = query.strip()
    low = _lowered(typed)
    starts = [_begins(Subject.external_id, typed), _begins(Subject.email, typed.lower())]
    if typed.upper() != typed:
        starts.append(_begins(Subject.external_id, typed.upper()))
    if "@" in typed or re.fullmatch(r"\S*\d\S*", typed):
        return or_(*starts)
    return or_(*starts, func.lower(Subject.full_name).contains(low, autoescape=True))


def _begins(column: Any, value: str) -> ColumnElement[bool]:
    """A range rather than LIKE: both databases find it by the index."""
    return and_(column >= value, column < value + _FURTHEST)


def _lowered(value: str) -> str:
    # As both databases lower text that is compared byte by byte.
    return "".join(char.lower() if char.isascii() else char for char in value)


def _clients(by: Principal, permission: str) -> frozenset[str] | None:
    clients = permissions.scope(by, permission)
    if clients is not None and not clients:
        permissions.require(by, permission)
    return clients

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
    employed,
    few,
    few_known,
    known_ids,
    known_to,
    last_of,
    sought,
)
from govern.access.modes import Mode
from govern.access.suspension_tables import (
    PeopleListItem,
    Scope,
    SuspensionMode,
    SuspensionTarget,
    naming,
)
from govern.db import among_few, listed
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement, CompoundSelect, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

PROJECTS_SHOWN = 3
_FIRMS_OF = 1000  # grants, the newest, whose people's firms are offered to choose from
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
    looked_at: int | None = None,
    by: Principal,
) -> Page:
    """People by external id, found by the beginning of id or address, or of words of the name.

    No more than `looked_at` people are looked at, where told, but for those whom an index finds:
    the page ends there, full or not.
    """
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
    narrow, wide = _narrowed(
        session, clients, query=query, kind=kind, state=state, organisation=organisation
    )
    wanted = wanted.where(*narrow, *wide)
    last: Any = None
    further = False
    if looked_at is not None and wide and not narrow:
        window = select(Subject.external_id).where(Subject.external_id > after)
        window = window.order_by(Subject.external_id)
        last, further = last_of(session, window, looked_at, "external_id")
        if last is None:
            return Page(rows=[], after=None)
        wanted = wanted.where(Subject.external_id <= last.external_id)
    found = session.execute(wanted).all()
    rows = [
        Person(
            id=row[0], external_id=row[1], name=row[2], email=row[3], kind=row[4],
            organisation=row[5], state=row[6],
        )
        for row in found[:limit]
    ]  # fmt: skip
    _add_projects(session, {row.id: row for row in rows}, clients)
    if len(found) > limit:
        return Page(rows=rows, after=rows[-1].external_id)
    return Page(rows=rows, after=last.external_id if further else None)


def _narrowed(
    session: OrmSession,
    clients: frozenset[str] | None,
    *,
    query: str,
    kind: str,
    state: str,
    organisation: str,
) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    """What is asked of people: what an index finds them by, for few; and what each is asked."""
    narrow: list[ColumnElement[bool]] = []
    wide: list[ColumnElement[bool]] = []
    if clients is not None:
        walked = few_known(session, clients)
        (narrow if walked else wide).append(
            among_few(session, Subject.id, known_ids(clients)) if walked else known_to(clients)
        )
    if query:
        test, found = sought(session, query)
        (narrow if found else wide).append(test)
    if kind:
        wide.append(Subject.kind == kind)
    if organisation:
        test, found = employed(None if narrow else session, organisation)
        (narrow if found else wide).append(test)
    if state:
        if state not in STATES:
            raise errors.Invalid(f"“{state}” is no state of a person.", field="state")
        wide.append(in_state(state))
        if state != "active" and not narrow and few(session, _not_active(state)):
            narrow.append(among_few(session, Subject.id, _not_active(state)))
    return narrow, wide


def organisations(session: OrmSession, *, by: Principal, limit: int = 500) -> list[str]:
    """The names of the organisations that the people of whom the caller may know belong to.

    Of a client with very many grants these are the firms of those who hold the newest.
    """
    clients = permissions.require_some(by, "subject:read")
    wanted = select(Organisation.name).order_by(Organisation.name).limit(limit)
    if clients is not None:
        theirs = select(Membership.organisation_id).where(
            Membership.ended_at.is_(None),
            among_few(session, Membership.subject_id, known_ids(clients, most=_FIRMS_OF)),
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
    if state == "active":
        return state_now() == literal(state)
    if state == "offboarded":
        return Subject.ended_at.is_not(None)
    return and_(Subject.ended_at.is_(None), Subject.id.in_(_not_active(state)))


def _not_active(state: str) -> Select[str] | CompoundSelect[str]:
    """The ids of those who left, or whom a suspension names: these may have left as well."""
    if state == "offboarded":
        return select(Subject.id).where(Subject.ended_at.is_not(None))
    target, mode = SuspensionTarget, SuspensionMode
    over = and_(
        target.ended_at.is_(None), mode.ended_at.is_(None), mode.mode != Mode.UNDER_REVIEW,
        mode.suspension_id == target.suspension_id,
    )  # fmt: skip
    alone = select(target.target_id).where(over, target.kind == Scope.SUBJECT)
    listed_ = select(PeopleListItem.subject_id).where(
        over, target.kind == Scope.PEOPLE, PeopleListItem.list_id == target.target_id
    )
    return union_all(alone, listed_)

"""The list of people, and of who holds which role in govern itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, exists, literal, not_, or_, select

from govern import clock
from govern.access import grants
from govern.access.clients import Client, Project
from govern.access.demand_table import Factor, FactorDemand, Kind
from govern.access.grants import Grant
from govern.access.holdings.known import few, known_to
from govern.access.holdings.people import STATES, in_state, state_now
from govern.access.lists.engine import List, Sought, id_of, of_firm, of_whom
from govern.access.suspension_tables import PeopleListItem, Scope, SuspensionTarget
from govern.db import among_few
from govern.identity import roles
from govern.identity.roles import ASSIGNABLE, RoleAssignment
from govern.identity.subjects import Membership, Organisation, Subject, SubjectKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session


def _people(columns: Sequence[Any]) -> Select[Any]:
    belongs = and_(Membership.subject_id == Subject.id, Membership.ended_at.is_(None))
    return (
        select(*columns)
        .select_from(Subject)
        .join(Membership, belongs)
        .join(Organisation, Organisation.id == Membership.organisation_id)
    )


def _held(
    place: Any, table: type[Client | Project], code: str, clients: frozenset[str] | None
) -> Select[str]:
    """The people of grants on a project, or of a client, that are not over."""
    held = select(Grant.subject_id).where(
        place == id_of(table, code), Grant.ended_at.is_(None), Grant.ends_at > clock.instant()
    )
    return _within(held, Grant.client_id, clients)


def _holding(place: Any, table: type[Client | Project]) -> Sought:
    """Who holds a grant on a project, or of a client."""

    def all_of(code: str, clients: frozenset[str] | None) -> ColumnElement[bool]:
        return Subject.id.in_(_held(place, table, code, clients))

    def paged(
        session: Session, code: str, clients: frozenset[str] | None
    ) -> tuple[ColumnElement[bool], bool]:
        held = _held(place, table, code, clients)
        if few(session, held):
            return among_few(session, Subject.id, held), True
        theirs = held.where(Grant.subject_id == Subject.id).correlate(Subject).limit(1)
        return theirs.scalar_subquery().is_not(None), False

    return Sought(all_of, paged)


def _within(query: Select[Any], client: Any, clients: frozenset[str] | None) -> Select[Any]:
    return query if clients is None else query.where(client.in_(clients))


def _lacks(factor: str, _: frozenset[str] | None) -> ColumnElement[bool]:
    return and_(Subject.ended_at.is_(None), not_(grants.has(Factor(factor), Subject.id)))


def _owes(demand_id: str, clients: frozenset[str] | None) -> ColumnElement[bool]:
    """Who does not meet a demand that is made of them."""
    demand = _within(
        select(FactorDemand).where(FactorDemand.id == demand_id), FactorDemand.client_id, clients
    ).subquery()
    held = (
        select(Grant.subject_id)
        .join(
            demand,
            or_(demand.c.target_id == Grant.client_id, demand.c.target_id == Grant.project_id),
        )
        .where(Grant.ended_at.is_(None), Grant.ends_at > clock.instant())
    )
    assigned = roles.in_force().subquery()
    holders = select(assigned.c.subject_id).join(
        demand, and_(demand.c.kind == Kind.ROLE, demand.c.target_id == assigned.c.role)
    )
    lacking = or_(
        *(
            and_(exists().where(demand.c.factor == factor), not_(grants.has(factor, Subject.id)))
            for factor in Factor
        )
    )
    asked = Subject.id.in_(held.union_all(holders))
    return and_(Subject.ended_at.is_(None), asked, lacking)


def _named_in(suspension_id: str, clients: frozenset[str] | None) -> ColumnElement[bool]:
    """Whom a suspension names, alone or in a list of people; who may see all alone learns it."""
    over = and_(
        SuspensionTarget.suspension_id == suspension_id,
        SuspensionTarget.ended_at.is_(None),
        literal(clients is None),
    )
    alone = select(SuspensionTarget.target_id).where(over, SuspensionTarget.kind == Scope.SUBJECT)
    listed = (
        select(PeopleListItem.subject_id)
        .join(SuspensionTarget, SuspensionTarget.target_id == PeopleListItem.list_id)
        .where(over, SuspensionTarget.kind == Scope.PEOPLE)
    )
    return Subject.id.in_(alone.union_all(listed))


PEOPLE = List(
    name="people",
    permission="subject:read",
    key=Subject.id,
    columns={
        "person": Subject.full_name,
        "external_id": Subject.external_id,
        "email": Subject.email,
        "kind": Subject.kind,
        "organisation": Organisation.name,
        "state": state_now(),
        "since": Subject.recorded_at,
        "ended": Subject.ended_at,
    },
    query=_people,
    sorts={"external_id": Subject.external_id, "email": Subject.email, "since": Subject.id},
    filters={
        "q": of_whom,
        "kind": lambda value, _: Subject.kind == value,
        "state": lambda value, _: in_state(value),
        "organisation": of_firm,
        "client": _holding(Grant.client_id, Client),
        "project": _holding(Grant.project_id, Project),
        "lacks": _lacks,
        "demand": _owes,
        "suspension": _named_in,
    },
    choices={
        "kind": tuple(SubjectKind), "state": STATES, "lacks": tuple(Factor),
    },
    visible=known_to,
)  # fmt: skip


# --- roles -------------------------------------------------------------------------------------


def _roles(columns: Sequence[Any]) -> Select[Any]:
    return (
        select(*columns)
        .select_from(RoleAssignment)
        .join(Subject, Subject.id == RoleAssignment.subject_id)
        .outerjoin(Client, Client.id == RoleAssignment.client_id)
    )


def _state_of_role() -> ColumnElement[str]:
    return case(
        (RoleAssignment.ended_at.is_not(None), "revoked"),
        (RoleAssignment.ends_at <= clock.instant(), "expired"),
        else_="in_force",
    )


ROLES = List(
    name="roles",
    permission="subject:read",
    key=RoleAssignment.id,
    columns={
        "person": Subject.full_name,
        "external_id": Subject.external_id,
        "role": RoleAssignment.role,
        "client": Client.code,
        "state": _state_of_role(),
        "since": RoleAssignment.recorded_at,
        "ends": RoleAssignment.ends_at,
        "ended": RoleAssignment.ended_at,
        "subject_id": Subject.id,
    },
    query=_roles,
    sorts={"since": RoleAssignment.id, "external_id": Subject.external_id},
    filters={
        "q": of_whom,
        "role": lambda value, _: RoleAssignment.role == value,
        "state": lambda value, _: _state_of_role() == literal(value),
        "client": lambda value, _: Client.code == value,
    },
    choices={"role": ASSIGNABLE, "state": ("in_force", "expired", "revoked")},
    visible=RoleAssignment.client_id.in_,
    hidden=("subject_id",),
)

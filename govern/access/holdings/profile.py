"""One person with all that they hold, as far as the caller may know of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, func, or_, select

from govern import errors, permissions
from govern.access.clients import Client
from govern.access.grants import Grant
from govern.access.holdings.known import known_to
from govern.access.holdings.people import state_now
from govern.access.suspension_tables import Scope, SuspensionTarget, naming
from govern.access.suspensions import reading
from govern.access.suspensions.reading import Standing
from govern.identity.passwords import Password
from govern.identity.roles import RoleAssignment, in_force
from govern.identity.sessions import WebSession
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


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
    """Someone by opaque id, external id or address; `Unknown` where the caller may know of none."""
    clients = permissions.require_some(by, "subject:read")
    known = [Subject.id == reference, Subject.external_id == reference]
    if "@" in reference:
        known.append(Subject.email == reference.lower())
    query = select(Subject).where(or_(*known))
    if clients is not None:
        query = query.where(known_to(clients))
    found = session.execute(query.order_by(*(one.desc() for one in known)).limit(1)).scalar()
    if found is None:
        raise errors.Unknown(f"There is no person “{reference}”.", field="subject")
    return found


def profile(session: OrmSession, subject_id: str, *, by: Principal) -> Profile:
    """One person as far as the caller may know of them, by opaque id; `Unknown` beyond that."""
    clients = permissions.require_some(by, "subject:read")
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
            Subject, Organisation, state_now(), signed_in,
            exists().where(Password.subject_id == Subject.id),
            select(func.count(Grant.id)).where(unended).scalar_subquery(),
            select(func.count(Grant.project_id.distinct())).where(unended).scalar_subquery(),
        )
        .join(Membership, and_(Membership.subject_id == Subject.id, Membership.ended_at.is_(None)))
        .join(Organisation, Organisation.id == Membership.organisation_id)
        .where(Subject.id == subject_id)
    )  # fmt: skip
    if clients is not None:
        query = query.where(known_to(clients))
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

"""Roles: what a person may do in govern itself, over all clients or one, until an instant.

Someone else than the holder gives and takes a role, with a reason. An admin of one client gives
and takes roles over that client alone, and none that does more or lasts longer than their own.
Contractors need no role: what they may see follows from their grants.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Index, String, and_, bindparam, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Code, Id, new_id, references, text_column
from govern.identity import typed
from govern.identity.subjects import Subject
from govern.principal import RoleHeld

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

ASSIGNABLE = ("admin", "auditor", "approver")


class RoleAssignment(Audited, Base):
    """A role held by a subject; `client_id` None means over everything."""

    __tablename__ = "role_assignment"
    __table_args__ = (Index("ix_role_assignment_subject", "subject_id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    role: Mapped[Code]
    client_id: Mapped[Id | None]
    ends_at: Mapped[datetime | None] = mapped_column(Utc())
    assigned_by: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


@cache
def counts() -> ColumnElement[bool]:
    """That an assignment counts now."""
    return and_(
        RoleAssignment.ended_at.is_(None),
        or_(RoleAssignment.ends_at.is_(None), clock.instant() < RoleAssignment.ends_at),
    )


@cache
def in_force() -> Select[RoleAssignment]:
    """The assignments that count now."""
    return select(RoleAssignment).where(counts())


def held(session: OrmSession, subject_id: str) -> tuple[RoleHeld, ...]:
    """The roles that a subject holds now."""
    rows = session.execute(_held(), {"subject": subject_id}).scalars()
    return tuple(RoleHeld(row.role, row.client_id) for row in rows)


@cache
def _held() -> Select[RoleAssignment]:
    return in_force().where(RoleAssignment.subject_id == bindparam("subject", type_=String()))


def assign(
    session: Session,
    subject: Subject,
    role: str,
    *,
    client: str | None = None,
    until: datetime | None = None,
    reason: str,
    by: Principal,
) -> RoleAssignment:
    """Give a role over `client` (an opaque id; None: all) until an instant (None: open).

    `Forbidden` where the giver has less themselves, `AlreadyExists` where it is held as long.
    """
    now = clock.now(session)
    permissions.require(by, "role:assign", client=client, now=now)
    if role not in ASSIGNABLE:
        raise errors.Invalid(f"“{role}” is none of {', '.join(ASSIGNABLE)}.", field="role")
    if by.id == subject.id:
        raise errors.SamePerson("Nobody gives a role to themselves.")
    if until is not None and until <= now:
        raise errors.WindowInvalid("The role would end before it starts.", field="until")
    if subject.ended_at is not None:
        raise errors.AlreadyEnded("Who has left holds no role.", field="subject")
    reason = typed.text(reason, field="reason", length=500)
    _no_more_than_own(session, role, client, until, by=by)
    alike = in_force().where(
        RoleAssignment.subject_id == subject.id,
        RoleAssignment.role == role,
        RoleAssignment.client_id.is_(None)
        if client is None
        else RoleAssignment.client_id == client,
    )
    if any(_as_long(row.ends_at, until) for row in session.execute(alike).scalars()):
        raise errors.AlreadyExists("They hold that role already, and as long.", field="role")
    row = RoleAssignment(
        id=new_id("rol"),
        subject_id=subject.id,
        role=role,
        client_id=client,
        ends_at=until,
        assigned_by=by.name or by.id,
    )
    session.add(row)

    def recheck(session: OrmSession) -> None:
        ended = session.execute(  # nothing of who is made by the same act, whom nobody else knows
            select(Subject.ended_at).where(Subject.id == subject.id).with_for_update(read=True)
        ).scalar()
        if ended is not None:
            raise errors.AlreadyEnded("They were offboarded just now.", field="subject")

    record(
        session,
        EventType.ROLE_ASSIGNED,
        logs=[HOUSE, client] if client else [HOUSE],
        by=by,
        refs={"subject": subject.id, "role": row.id, "client": client},
        data={"role": role, "until": clock.text(until) if until else None},
        private={"reason": reason},
        stamps=[(row, "recorded_at")],
        recheck=recheck,
    )
    return row


def _no_more_than_own(
    session: OrmSession, role: str, client: str | None, until: datetime | None, *, by: Principal
) -> None:
    """Refuse a role that does more than the giver may, or outlasts what they hold.

    Who gives roles over everything gives any: they appoint auditors, whom they cannot stand in for.
    """
    if permissions.scope(by, "role:assign") is None:
        return
    more = {each for each in permissions.ROLES[role] if not permissions.covers(by, each, client)}
    if more:
        raise errors.Forbidden("You may give no role that does more than your own.")
    own = in_force().where(RoleAssignment.subject_id == by.id, RoleAssignment.client_id == client)
    lasting = [
        row.ends_at
        for row in session.execute(own).scalars()
        if permissions.ROLES[role] <= permissions.ROLES[row.role]
    ]
    if not any(_as_long(ends_at, until) for ends_at in lasting):
        raise errors.WindowInvalid("You may give no role that outlasts your own.", field="until")


def _as_long(ends_at: datetime | None, until: datetime | None) -> bool:
    return ends_at is None or (until is not None and until <= ends_at)


def find(session: OrmSession, subject: Subject, role_id: str, *, by: Principal) -> RoleAssignment:
    """A role of someone; `Unknown` where there is none or the caller may not take it."""
    row = session.get(RoleAssignment, role_id)
    clients = permissions.require_some(by, "role:assign")
    hidden = row is None or (clients is not None and row.client_id not in clients)
    if row is None or hidden or row.subject_id != subject.id:
        raise errors.Unknown("There is no such role.")
    return row


def given(
    session: OrmSession, *, subject: str | None = None, client: str | None = None, by: Principal
) -> list[RoleAssignment]:
    """The roles in force, of one person or over one client or all, as far as the caller may see."""
    clients = permissions.require_some(by, "subject:read")
    query = in_force().order_by(RoleAssignment.role, RoleAssignment.id)
    if subject is not None:
        query = query.where(RoleAssignment.subject_id == subject)
    if client is not None:
        query = query.where(RoleAssignment.client_id == client)
    if clients is not None:
        query = query.where(RoleAssignment.client_id.in_(clients))
    return list(session.execute(query).scalars())


def withdraw(session: Session, row: RoleAssignment, *, reason: str, by: Principal) -> None:
    """Take a role back: it counts for nothing from the next request on."""
    permissions.require(by, "role:assign", client=row.client_id, now=clock.now(session))
    reason = typed.text(reason, field="reason", length=500)
    if by.id == row.subject_id:
        raise errors.SamePerson("Nobody takes a role from themselves: ask a colleague.")

    def open_(session: OrmSession) -> None:
        ended = select(RoleAssignment.ended_at).where(RoleAssignment.id == row.id)
        if session.execute(ended).scalar_one() is not None:
            raise errors.AlreadyEnded("That role was withdrawn before.")

    open_(session)
    record(
        session,
        EventType.ROLE_WITHDRAWN,
        logs=[HOUSE, row.client_id] if row.client_id else [HOUSE],
        by=by,
        refs={"subject": row.subject_id, "role": row.id, "client": row.client_id},
        private={"reason": reason},
        stamps=[(row, "ended_at")],
        recheck=open_,
    )

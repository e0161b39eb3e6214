"""Offboarding: a person leaves for good; their grants, sessions, roles and links end with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from govern import clock, errors, permissions
from govern.access import grants
from govern.access.grants import Grant
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import Again
from govern.identity import sessions
from govern.identity.activation import Activation
from govern.identity.authenticators import Totp
from govern.identity.passkeys import Passkey
from govern.identity.recovery import Recovery
from govern.identity.roles import RoleAssignment
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal


def offboard(
    session: Session, subject: Subject, *, number: int | None = None, reason: str, by: Principal
) -> int:
    """End everything that a person holds; returns how many grants ended. Nothing comes back.

    `number` is what someone typed: it must be the number of grants that end (`Brake`).
    """
    permissions.require(by, "subject:offboard", now=clock.now(session))
    if by.id == subject.id:
        raise errors.SamePerson("Nobody offboards themselves.")
    if subject.ended_at is not None:
        raise errors.AlreadyEnded(f"{subject.full_name} has left already.", field="subject")
    held = _held(session, subject)
    if number is not None and number != len(held):
        raise errors.Brake(f"Type the number of grants that end: {len(held)}.", field="number")

    def recheck(session: OrmSession) -> None:
        ended = session.execute(
            select(Subject.ended_at).where(Subject.id == subject.id).with_for_update()
        ).scalar_one()
        if ended is not None:
            raise errors.AlreadyEnded("They were offboarded just now.", field="subject")
        if {grant.id for grant in _held(session, subject)} != {grant.id for grant in held}:
            raise Again
        if {row.id for row in _own(session, subject)} != {row.id for row in rows}:
            raise Again

    for grant in held:
        grants.end(session, grant, reason=reason, by=by)
    rows = _own(session, subject)
    sessions.end_all(session, subject.id, by=by)
    record(
        session,
        EventType.SUBJECT_OFFBOARDED,
        logs=sorted({HOUSE, *(grant.client_id for grant in held), *_governed(rows)}),
        by=by,
        refs={"subject": subject.id},
        data={"grants": len(held)},
        private={"reason": reason},
        about=subject.id,
        stamps=[(subject, "ended_at"), *((row, "ended_at") for row in rows)],
        recheck=recheck,
    )
    return len(held)


def _governed(rows: Iterable[object]) -> set[str]:
    """The clients over which someone held a role that ends with them, grants or none."""
    return {row.client_id for row in rows if isinstance(row, RoleAssignment) and row.client_id}


def _own(session: OrmSession, subject: Subject) -> list[Any]:
    """Their roles, and what they prove themselves with."""
    return [
        row
        for table in (RoleAssignment, Passkey, Totp, Activation, Recovery)
        for row in session.execute(
            select(table).where(table.subject_id == subject.id, table.ended_at.is_(None))
        ).scalars()
    ]


def _held(session: OrmSession, subject: Subject) -> list[Grant]:
    return list(
        session.execute(
            select(Grant)
            .where(Grant.subject_id == subject.id, Grant.ended_at.is_(None))
            .order_by(Grant.id)
        ).scalars()
    )

"""Recovering an account: what two people agree on before `identity.recovery` opens a way back.

Neither is the person whose account it is, one at least made none of that account (created, invited,
promoted or recovered it), and the two can be paired as for a lift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock, errors, permissions
from govern.access import requests
from govern.access.requests import Request, RequestKind
from govern.audit.log import HOUSE
from govern.identity import recovery
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.requests import Making
    from govern.db import Session
    from govern.principal import Principal


def ask(session: Session, subject: Subject, *, reason: str, by: Principal) -> Request:
    """Ask for the recovery of a person's account; another approves."""
    permissions.require(by, "subject:recover", now=clock.now(session))
    _not_oneself(subject.id, by)
    _free(session, subject)
    return requests.ask(
        session,
        RequestKind.RECOVER,
        logs=[HOUSE],
        subject=subject.id,
        reason=reason,
        recheck=lambda session: _free(session, subject),
        by=by,
    )


def waiting(session: OrmSession, subject_id: str) -> Request | None:
    """What was asked for a person's account and awaits its second person."""
    return session.execute(
        select(Request).where(
            Request.kind == RequestKind.RECOVER,
            Request.subject_id == subject_id,
            Request.ended_at.is_(None),
        )
    ).scalar_one_or_none()


def obstacle(row: Request, making: Making, *, by: Principal) -> str:
    """Why the caller cannot be the second person, beside what bars a pair from any act.

    `making` is that of the account among others.
    """
    if by.id == row.subject_id:
        return "It is your own account: two others must let you back in."
    if {row.asked_by, requests.signature(by)} <= making.of(row.subject_id or ""):
        return (
            "Both of you created, invited, promoted or recovered this account: one at least must "
            "have had no part in it."
        )
    return ""


@requests.performs(RequestKind.RECOVER)
def _approved(session: Session, row: Request, by: Principal) -> None:
    making = requests.making(session, [row.subject_id or ""], by=by)
    stands_in_the_way = obstacle(row, making, by=by)
    if stands_in_the_way:
        raise errors.SamePerson(stands_in_the_way)
    subject = session.get_one(Subject, row.subject_id)
    recovery.approve(session, subject, asked_by=row.asked_by, by=by)


def _not_oneself(subject_id: str, by: Principal) -> None:
    if by.id == subject_id:
        raise errors.SamePerson("Nobody asks for their own account: a colleague does.")


def _free(session: OrmSession, subject: Subject) -> None:
    recovery.recoverable(session, subject)
    if waiting(session, subject.id) is not None:
        raise errors.AlreadyExists("It was asked for already, and awaits a second person.")

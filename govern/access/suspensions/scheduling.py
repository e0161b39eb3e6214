"""Resumes at a set time: asked by one, approved by another, and done only if confirmed meanwhile.

Nobody is let in by the clock alone. Someone has to confirm, within the last hours before the time,
that it is still right, with the list of who comes back before them; without it, or when anyone else
would come back, the suspension stands, and its review is due.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock, errors
from govern.access import requests
from govern.access.grants import Supposing
from govern.access.requests import Request, RequestKind, signature
from govern.access.suspension_tables import ScheduledResume, Suspension
from govern.access.suspensions.acts import do_lift, scheduled
from govern.access.suspensions.admission import refuse_unlisted, unmoved
from govern.access.suspensions.asking import counted
from govern.access.suspensions.finding import may_change, mode_of
from govern.access.suspensions.parts import targets_of
from govern.access.suspensions.targets import logs_of
from govern.audit import EventType
from govern.audit.record import record
from govern.db import new_id
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.principal import Principal

CONFIRM_WITHIN = timedelta(hours=24)
# A confirmation is of its time: a worker that was down for longer lets nobody in on the old word.
LATE_AT_MOST = timedelta(hours=1)


@requests.performs(RequestKind.RESUME)
def _approved_resume(session: Session, request: Request, by: Principal) -> None:
    suspension = session.get_one(Suspension, request.suspension_id)
    may_change(session, suspension, permission="request:approve", by=by)
    at = clock.parse(request.details["at"], field="at")
    if at <= clock.now(session):
        raise errors.Stale("The time that was asked for has passed: ask again.")
    row = ScheduledResume(
        id=new_id("res"),
        suspension_id=suspension.id,
        at=at,
        shown_at=request.recorded_at,
        asked_by=request.asked_by,
        approved_by=signature(by),
    )
    session.add(row)

    def recheck(session: OrmSession) -> None:
        if mode_of(session, suspension.id) is None or scheduled(session, suspension.id):
            raise errors.Stale("Someone lifted this suspension or set a time just now.")

    record(
        session,
        EventType.RESUME_SCHEDULED,
        logs=logs_of(session, targets_of(session, suspension.id)),
        by=by,
        refs={"suspension": suspension.id, "request": request.id},
        data={"at": clock.text(at), "confirm_from": clock.text(confirm_from(row))},
        stamps=[(row, "recorded_at")],
        recheck=recheck,
    )


def confirm_from(row: ScheduledResume) -> datetime:
    """From when on a scheduled resume can be confirmed."""
    return row.at - CONFIRM_WITHIN


def confirm(
    session: Session,
    suspension: Suspension,
    *,
    number: int,
    digest: str | None = None,
    seen: str | None = None,
    by: Principal,
) -> ScheduledResume:
    """Say that a scheduled resume is still right; `number` is that of the grants that come back.

    Refused (`ReturnsUnlisted`) if anyone would come back whom the list of the request did not
    show: that takes two again. `seen` is the id of the one that the caller looked at: any other
    is `Stale`.
    """
    may_change(session, suspension, by=by)
    row = _waiting(session, suspension, seen)
    if not confirm_from(row) <= clock.now(session) < row.at:
        raise errors.Invalid(
            f"It can be confirmed from {clock.text(confirm_from(row))} until {clock.text(row.at)}.",
            field="number",
        )
    check = counted(suspension, number, digest)

    def still_right(session: OrmSession) -> None:
        check(session)
        refuse_unlisted(session, Supposing(suspension=suspension.id), row.shown_at)

    logs = logs_of(session, targets_of(session, suspension.id))
    key = (EventType.RESUME_CONFIRMED, suspension.id, number, digest)
    unchanged = unmoved(session, suspension, logs, still_right, key=key)

    row.confirmed_by = signature(by)
    record(
        session,
        EventType.RESUME_CONFIRMED,
        logs=logs,
        by=by,
        refs={"suspension": suspension.id},
        data={"at": clock.text(row.at), "number": number},
        stamps=[(row, "confirmed_at")],
        recheck=lambda session: _still_waiting(session, row),
        asked=[unchanged],
    )
    return row


def cancel(
    session: Session, suspension: Suspension, *, seen: str | None = None, by: Principal
) -> None:
    """Call a scheduled resume off: one person is enough, for nobody is let in by it.

    `seen` is the id of the one that the caller looked at: any other is `Stale`.
    """
    may_change(session, suspension, by=by)
    row = _waiting(session, suspension, seen)
    _end(session, suspension, row, "cancelled", EventType.RESUME_CANCELLED, by=by)


def resume_due(database: Database, *, progress: Callable[[int], None] | None = None) -> int:
    """Do what is due, each in a transaction of its own; returns how many it looked at.

    What stops one keeps no other from coming in time: the first failure is raised after the last.
    """
    due = select(ScheduledResume.id).where(
        ScheduledResume.ended_at.is_(None), ScheduledResume.at <= clock.instant()
    )
    with database.reading() as session:
        found = (
            session.execute(due.order_by(ScheduledResume.at, ScheduledResume.id)).scalars().all()
        )
    failures: list[Exception] = []
    for one in found:
        try:
            _resume(database, one)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are due too
            failures.append(error)
        if progress is not None:
            progress(1)
    if failures:
        raise failures[0]
    return len(found)


def _resume(database: Database, schedule_id: str) -> None:
    try:
        database.transaction(lambda session: _due(session, schedule_id))
    except errors.ReturnsUnlisted:
        database.transaction(lambda session: _due(session, schedule_id, "unlisted"))


def _due(session: Session, schedule_id: str, missed: str = "") -> None:
    """Resume, or record why not; whatever another process did of it already is left alone."""
    row = session.get_one(ScheduledResume, schedule_id)
    now = clock.now(session)
    suspension = session.get_one(Suspension, row.suspension_id)
    present = mode_of(session, suspension.id)
    if row.ended_at is not None or row.at > now or present is None:
        return
    if row.confirmed_at is None or row.confirmed_by is None:
        missed = missed or "unconfirmed"
    elif now > row.at + LATE_AT_MOST:
        missed = missed or "late"
    if missed:
        suspension.review_by = min(suspension.review_by, row.at)
        _end(session, suspension, row, missed, EventType.RESUME_MISSED, by=SYSTEM)
        return
    do_lift(session, suspension, present, by=SYSTEM, shown_at=row.confirmed_at, schedule=row)


def _waiting(session: OrmSession, suspension: Suspension, seen: str | None) -> ScheduledResume:
    row = scheduled(session, suspension.id)
    if row is None:
        raise errors.Unknown("No resume of this suspension is set for a time.")
    if seen is not None and seen != row.id:
        raise errors.Stale("Another time was set meanwhile: look at it first.")
    return row


def _still_waiting(session: OrmSession, row: ScheduledResume) -> None:
    ended = select(ScheduledResume.ended_at).where(ScheduledResume.id == row.id).with_for_update()
    if session.execute(ended).scalar_one() is not None:
        raise errors.Stale("Someone lifted this suspension or called the resume off just now.")


def _end(
    session: Session,
    suspension: Suspension,
    row: ScheduledResume,
    outcome: str,
    event: EventType,
    *,
    by: Principal,
) -> None:
    row.outcome = outcome
    record(
        session,
        event,
        logs=logs_of(session, targets_of(session, suspension.id)),
        by=by,
        refs={"suspension": suspension.id},
        data={"at": clock.text(row.at), "outcome": outcome},
        covers=[suspension],
        stamps=[(row, "ended_at")],
        recheck=lambda session: _still_waiting(session, row),
    )


def latest(session: OrmSession, suspension_id: str) -> ScheduledResume | None:
    """The last resume that was set for a time, waiting or ended."""
    return session.execute(
        select(ScheduledResume)
        .where(ScheduledResume.suspension_id == suspension_id)
        .order_by(ScheduledResume.recorded_at.desc())
        .limit(1)
    ).scalar_one_or_none()

"""Doing what was asked of a suspension: lift, release, narrow, weaken, move."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, bindparam, select

from govern import clock, errors
from govern.access import modes, requests
from govern.access.grants import Supposing
from govern.access.modes import Mode
from govern.access.requests import Request, RequestItem, RequestKind
from govern.access.suspension_tables import (
    ScheduledResume,
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.access.suspensions.admission import (
    refuse_more_than_before,
    refuse_unlisted,
    unmoved,
)
from govern.access.suspensions.finding import holding_organisation, may_change, organisation_held
from govern.access.suspensions.opening import opening_event, pending_particulars, settling
from govern.access.suspensions.parts import targets_of
from govern.access.suspensions.targets import Target, logs_of, target_of
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import Again, Inquiry, new_id
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal


def supposing_of(request: Request) -> Supposing:
    """What a request would do, as the rule supposes it."""
    kind = RequestKind(request.kind)
    if kind is RequestKind.MOVE:
        return Supposing(moved=request.subject_id)
    return Supposing(
        suspension=request.suspension_id,
        mode=Mode(request.details["mode"]) if kind is RequestKind.WEAKEN else None,
        released=request.id if kind is RequestKind.RELEASE else None,
        narrowed=request.id if kind is RequestKind.NARROW else None,
    )


@requests.performs(RequestKind.LIFT)
def _approved_lift(session: Session, request: Request, by: Principal) -> None:
    suspension, present = _still_open(session, request, by=by)
    do_lift(session, suspension, present, by=by, shown_at=request.recorded_at)


@requests.performs(RequestKind.RELEASE)
def _approved_release(session: Session, request: Request, by: Principal) -> None:
    suspension, present = _still_open(session, request, by=by)
    items = session.execute(
        select(RequestItem.item_id)
        .where(RequestItem.request_id == request.id)
        .order_by(RequestItem.item_id)
    ).scalars()
    # As `ask_release` put it: the kind of each that is no person, before its id.
    kinds = dict(part.split(":")[::-1] for part in request.details.get("parts", "").split())
    rows = [
        SuspensionRelease(
            id=new_id("rel"),
            suspension_id=suspension.id,
            kind=kinds.get(item, Scope.SUBJECT),
            target_id=item,
        )
        for item in items
    ]
    session.add_all(rows)
    people = [row.target_id for row in rows if row.kind == Scope.SUBJECT]
    parts = [
        target_of(session, Scope(row.kind), row.target_id)
        for row in rows
        if row.kind != Scope.SUBJECT
    ]
    _record_admission(
        session,
        EventType.SUSPENSION_RELEASED,
        suspension,
        present,
        by=by,
        supposing=supposing_of(request),
        shown_at=request.recorded_at,
        data={"people": people} if people else {},
        parts=parts,
        stamps=[(row, "recorded_at") for row in rows],
    )


@requests.performs(RequestKind.NARROW)
def _approved_narrow(session: Session, request: Request, by: Principal) -> None:
    suspension, present = _still_open(session, request, by=by)
    items = select(RequestItem.item_id).where(RequestItem.request_id == request.id)
    rows = (
        session.execute(select(SuspensionTarget).where(SuspensionTarget.id.in_(items)))
        .scalars()
        .all()
    )
    _record_admission(
        session,
        EventType.SUSPENSION_NARROWED,
        suspension,
        present,
        by=by,
        supposing=supposing_of(request),
        shown_at=request.recorded_at,
        data={},
        parts=[target_of(session, Scope(row.kind), row.target_id) for row in rows],
        stamps=[(row, "ended_at") for row in rows],
    )


@requests.performs(RequestKind.WEAKEN)
def _approved_weaken(session: Session, request: Request, by: Principal) -> None:
    suspension, present = _still_open(session, request, by=by)
    mode = Mode(request.details["mode"])
    if not modes.tighter(Mode(present.mode), mode):
        raise errors.Stale(f"The mode is {present.mode} by now: that would no longer weaken it.")
    row = SuspensionMode(id=new_id("mod"), suspension_id=suspension.id, mode=mode)
    session.add(row)
    _record_admission(
        session,
        EventType.SUSPENSION_MODE_CHANGED,
        suspension,
        present,
        by=by,
        supposing=supposing_of(request),
        shown_at=request.recorded_at,
        data={"mode": mode, "was": present.mode},
        stamps=[(present, "ended_at"), (row, "recorded_at")],
    )


@requests.performs(RequestKind.MOVE)
def _approved_move(session: Session, request: Request, by: Principal) -> None:
    subject = session.get_one(Subject, request.subject_id)
    organisation = session.get_one(Organisation, request.details["organisation"])
    do_move(session, subject, organisation, by=by, request=request)


def _still_open(
    session: OrmSession, request: Request, *, by: Principal
) -> tuple[Suspension, SuspensionMode]:
    suspension = session.get_one(Suspension, request.suspension_id)
    return suspension, may_change(session, suspension, permission="request:approve", by=by)


def do_lift(
    session: Session,
    suspension: Suspension,
    present: SuspensionMode,
    *,
    by: Principal,
    shown_at: datetime | None,
    schedule: ScheduledResume | None = None,
) -> None:
    """End a suspension; `shown_at` is when the list of who comes back was shown.

    With `schedule` that resume is due: its people are named; without it any that waits is over.
    """
    waiting = scheduled(session, suspension.id)
    private = {}
    if schedule is not None:
        private = {
            "asked_by": schedule.asked_by,
            "approved_by": schedule.approved_by,
            "confirmed_by": schedule.confirmed_by,
        }
    if waiting is not None:
        waiting.outcome = "lifted" if schedule is None else "resumed"

    def same_time(rows: list[tuple[Any, ...]]) -> None:
        if rows != ([(waiting.id,)] if waiting else []):
            raise Again

    _record_admission(
        session,
        EventType.SUSPENSION_LIFTED,
        suspension,
        present,
        by=by,
        supposing=Supposing(suspension=suspension.id),
        shown_at=shown_at,
        data={"scheduled": clock.text(schedule.at)} if schedule else {},
        stamps=[
            (suspension, "ended_at"),
            (present, "ended_at"),
            *([(waiting, "ended_at")] if waiting else []),
        ],
        private=private,
        also=[Inquiry(_WAITING, same_time, {"suspension": suspension.id})],
    )


# Asked under the heads' locks, so in statements made once.
_WAITING = select(ScheduledResume.id).where(
    ScheduledResume.suspension_id == bindparam("suspension", type_=String()),
    ScheduledResume.ended_at.is_(None),
)
_ENDED = (
    select(SuspensionMode.ended_at)
    .where(SuspensionMode.id == bindparam("mode", type_=String()))
    .with_for_update()
)


def scheduled(
    session: OrmSession,
    suspension_id: str,
) -> ScheduledResume | None:
    """The resume of a suspension that is set for a time, if any."""
    query = select(ScheduledResume).where(
        ScheduledResume.suspension_id == suspension_id, ScheduledResume.ended_at.is_(None)
    )
    return session.execute(query).scalar_one_or_none()


def set_mode(
    session: Session, suspension: Suspension, present: SuspensionMode, mode: Mode, *, by: Principal
) -> None:
    """Stop more from now on: one person is enough."""
    row = SuspensionMode(id=new_id("mod"), suspension_id=suspension.id, mode=mode)
    targets = targets_of(session, suspension.id)
    logs = logs_of(session, targets)
    pending = [
        pending_particulars(suspension, log_id, opening_event(mode), mode)
        for log_id in logs
        if log_id != HOUSE
    ]
    session.add_all([row, *pending])
    record(
        session,
        EventType.SUSPENSION_MODE_CHANGED,
        logs=logs,
        by=by,
        refs={"suspension": suspension.id},
        data={"mode": mode, "was": present.mode},
        stamps=[
            (present, "ended_at"),
            (row, "recorded_at"),
            *((item, "as_at") for item in pending),
        ],
        recheck=settling(session, targets, logs),
        asked=[_unchanged(present)],
    )


def _record_admission(
    session: Session,
    event: EventType,
    suspension: Suspension,
    present: SuspensionMode,
    *,
    by: Principal,
    supposing: Supposing,
    shown_at: datetime | None,
    data: dict[str, object],
    stamps: list[tuple[object, str]],
    private: dict[str, str | None] | None = None,
    parts: Iterable[Target] = (),
    also: Iterable[Inquiry[None]] = (),
) -> None:
    """Record an act that lets someone back in, with its particulars, checked under the locks."""
    targets = targets_of(session, suspension.id)
    logs = logs_of(session, targets)
    pending = [
        pending_particulars(suspension, log_id, EventType.GRANT_RESUMED, None)
        for log_id in logs
        if log_id != HOUSE
    ]
    session.add_all(pending)

    def nobody_unlisted(session: OrmSession) -> None:
        if shown_at is None:
            refuse_more_than_before(session, suspension)
        else:
            refuse_unlisted(session, supposing, shown_at)

    still_nobody = unmoved(
        session, suspension, logs, nobody_unlisted, key=(event, supposing, shown_at)
    )
    record(
        session,
        event,
        logs=logs,
        by=by,
        refs={"suspension": suspension.id},
        data=data,
        # No client's log tells of another client's things.
        own={
            log_id: {"targets": own}
            for log_id in logs
            if (
                own := [
                    {"kind": one.kind, "id": one.id}
                    for one in parts
                    if log_id == HOUSE or one.client in (None, log_id)
                ]
            )
        },
        private=private,
        stamps=[*stamps, *((item, "as_at") for item in pending)],  # type: ignore[list-item]  # rows
        recheck=settling(session, targets, logs),
        asked=[_unchanged(present), still_nobody, *also],
    )


def _unchanged(present: SuspensionMode) -> Inquiry[None]:
    """That the mode seen when the operation began is still the one in force."""

    def read(rows: list[tuple[Any, ...]]) -> None:
        if rows != [(None,)]:
            raise errors.Stale("Someone changed or lifted this suspension just now.")

    return Inquiry(_ENDED, read, {"mode": present.id})


def do_move(
    session: Session,
    subject: Subject,
    organisation: Organisation,
    *,
    by: Principal,
    request: Request | None = None,
) -> None:
    """Move a person; out of a held organisation only as a request that two people agree on."""
    present = session.execute(
        select(Membership).where(Membership.subject_id == subject.id, Membership.ended_at.is_(None))
    ).scalar_one()
    row = Membership(id=new_id("mem"), subject_id=subject.id, organisation_id=organisation.id)
    person = Target(Scope.SUBJECT, subject.id, subject.external_id, None)
    logs = logs_of(session, [person])
    holder = holding_organisation(session, present.organisation_id)
    pending = [
        pending_particulars(holder, log_id, EventType.GRANT_RESUMED, None)
        for log_id in logs
        if holder is not None and log_id != HOUSE
    ]
    session.add_all([row, *pending])

    def recheck(session: OrmSession) -> None:
        # Who is given a grant is locked too, until it is there to see.
        session.execute(
            select(Subject.id).where(Subject.id == subject.id).with_for_update(key_share=True)
        )
        if logs_of(session, [person]) != logs:
            raise Again
        if request is None and organisation_held(session, present.organisation_id):
            raise Again
        if request is not None:
            refuse_unlisted(session, supposing_of(request), request.recorded_at)
        ended = session.execute(
            select(Membership.ended_at).where(Membership.id == present.id).with_for_update()
        ).scalar_one()
        if ended is not None:
            raise errors.Stale("They were moved just now.")

    record(
        session,
        EventType.SUBJECT_MOVED,
        logs=logs,
        by=by,
        refs={"subject": subject.id, "organisation": organisation.id},
        data={"from": present.organisation_id},
        stamps=[
            (present, "ended_at"),
            (row, "recorded_at"),
            *((item, "as_at") for item in pending),
        ],
        recheck=recheck,
    )


def logs_of_person(session: OrmSession, subject: Subject) -> list[str]:
    """The logs that an act about one person concerns."""
    return logs_of(session, [Target(Scope.SUBJECT, subject.id, subject.external_id, None)])

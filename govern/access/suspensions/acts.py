"""What happens to an open suspension: its mode changes, people are released, it is lifted.

Tightening takes one person. Whatever admits someone whom a suspension holds takes two: it is
asked for here with the list of what would come back, and done when another person approves. Under
the heads' locks the list is asked for again, and the act is refused if anyone would return who was
not on it, so two lifts at once cannot both pass.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import and_, distinct, func, not_, or_, select

from govern import clock, errors, permissions
from govern.access import grants, modes, requests
from govern.access.grants import Grant, Moment, Supposing
from govern.access.modes import Effect, Mode
from govern.access.requests import Request, RequestItem, RequestKind, signature
from govern.access.suspension_tables import (
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.access.suspensions.opening import (
    TAKE_BACK_WITHIN,
    Target,
    chain,
    logs_of,
    opening_event,
    pending_particulars,
    prose,
    settled,
)
from govern.access.suspensions.reading import named
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import Again, new_id
from govern.identity import subjects
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

_LOOKED_AT = (Effect.OBSERVE, Effect.CHANGE)  # change, take and hours are stopped together


# --- reading -----------------------------------------------------------------------------------


def find(session: OrmSession, suspension_id: str, *, by: Principal) -> Suspension:
    """The suspension; `Unknown` when there is none or the caller may know of none of its scopes."""
    row = session.get(Suspension, suspension_id)
    clients = permissions.scope(by, "suspension:read")
    if row is None or (
        clients is not None
        and not clients & {item.client for item in targets_of(session, suspension_id)}
    ):
        raise errors.Unknown(f"There is no suspension {suspension_id}.")
    return row


def mode_of(session: OrmSession, suspension_id: str) -> SuspensionMode | None:
    """The mode that a suspension has now; None once it is lifted."""
    return session.execute(
        select(SuspensionMode).where(
            SuspensionMode.suspension_id == suspension_id, SuspensionMode.ended_at.is_(None)
        )
    ).scalar_one_or_none()


def targets_of(session: OrmSession, suspension_id: str) -> list[Target]:
    """What a suspension covers now."""
    rows = session.execute(
        named()
        .where(SuspensionTarget.suspension_id == suspension_id, SuspensionTarget.ended_at.is_(None))
        .order_by(SuspensionTarget.id)
    )
    return [Target(Scope(row.kind), row.target_id, row.code, row.client) for row in rows]


# --- the difference an act makes ---------------------------------------------------------------


def admitted(supposing: Supposing, moment: Moment = grants.NOW) -> ColumnElement[bool]:
    """Which grants an act would let do something that they are held from now."""
    return and_(
        grants.all_of(grants.standing(moment)),
        or_(
            *(
                and_(
                    grants.held(effect, moment),
                    not_(grants.held(effect, moment, supposing=supposing)),
                )
                for effect in _LOOKED_AT
            )
        ),
    )


def returning(session: OrmSession, supposing: Supposing, moment: Moment = grants.NOW) -> int:
    """How many grants would come back."""
    query = grants.facts(func.count(Grant.id), moment=moment).where(admitted(supposing, moment))
    return int(session.execute(query).scalar_one())


def returning_people(session: OrmSession, supposing: Supposing, moment: Moment = grants.NOW) -> int:
    """How many people would get something back."""
    query = grants.facts(func.count(distinct(Grant.subject_id)), moment=moment)
    return int(session.execute(query.where(admitted(supposing, moment))).scalar_one())


def returning_digest(session: OrmSession, suspension: Suspension) -> str:
    """The digest of the grants that a lift would bring back now: it names the list shown."""
    query = grants.facts(Grant.id).where(admitted(Supposing(suspension=suspension.id)))
    digest = ""
    for grant_id in session.execute(
        query.order_by(Grant.id).execution_options(yield_per=5000)
    ).scalars():
        digest = chain(digest, grant_id)
    return digest


def _refuse_unlisted(session: OrmSession, supposing: Supposing, shown_at: datetime) -> None:
    """Raise `ReturnsUnlisted` when someone would come back who was not on the list shown."""
    listed = admitted(supposing, Moment.past(shown_at))
    known = Grant.recorded_at <= shown_at
    extra = session.execute(
        grants.facts(Grant.id).where(admitted(supposing), not_(and_(known, listed))).limit(1)
    ).first()
    if extra is not None:
        raise errors.ReturnsUnlisted(
            "Since the list was shown, others would come back too. Nothing was lifted: ask again "
            "with the list as it is now."
        )


def _refuse_more_than_before(session: OrmSession, suspension: Suspension) -> None:
    """Raise `NeedsSecondPerson` when undoing a suspension admits whom another held before it.

    Else one could lay a second pause over a first, have the first lifted with an empty list, and
    take the second back alone.
    """
    before = Moment.past(suspension.recorded_at - clock.TICK)
    gone = Supposing(suspension=suspension.id)
    ways = [
        and_(
            grants.held(effect),
            not_(grants.held(effect, supposing=gone)),
            grants.held(effect, before),
        )
        for effect in _LOOKED_AT
    ]
    query = grants.facts(Grant.id).where(grants.all_of(grants.standing()), or_(*ways)).limit(1)
    if session.execute(query).first() is not None:
        raise errors.NeedsSecondPerson(
            "Another suspension that held the same people has ended since: to let them in takes "
            "two. Ask for a lift."
        )


# --- asking ------------------------------------------------------------------------------------


def ask_lift(
    session: Session,
    suspension: Suspension,
    *,
    number: int,
    digest: str | None = None,
    reason: str = "",
    by: Principal,
) -> Request:
    """Ask for a suspension to end; `number` is the count of returning grants, typed (`Brake`).

    With `digest`, that of the list that was shown, a list that moved since is `Stale`.
    """
    _may_ask(session, suspension, by=by)
    if digest is not None and digest != returning_digest(session, suspension):
        raise errors.Stale(
            "The list of who comes back has changed since you saw it. Look at it again."
        )
    count = returning(session, Supposing(suspension=suspension.id))
    if number != count:
        raise errors.Brake(f"Type the number of grants that come back: {count}.", field="number")
    return _ask(session, RequestKind.LIFT, suspension, number=count, reason=reason, by=by)


def ask_release(
    session: Session,
    suspension: Suspension,
    people: Iterable[Subject],
    *,
    reason: str = "",
    by: Principal,
) -> Request:
    """Ask for some people to be let out early."""
    _may_ask(session, suspension, by=by)
    items = [person.id for person in people]
    if not items:
        raise errors.Invalid("Name at least one person.", field="people")
    return _ask(session, RequestKind.RELEASE, suspension, items=items, reason=reason, by=by)


def ask_narrow(
    session: Session,
    suspension: Suspension,
    targets: Iterable[Target],
    *,
    reason: str = "",
    by: Principal,
) -> Request:
    """Ask for a part of its scope to be taken out of a suspension."""
    _may_ask(session, suspension, by=by)
    wanted = {(item.kind, item.id) for item in targets}
    rows = (
        session.execute(
            select(SuspensionTarget).where(
                SuspensionTarget.suspension_id == suspension.id, SuspensionTarget.ended_at.is_(None)
            )
        )
        .scalars()
        .all()
    )
    items = [row.id for row in rows if (row.kind, row.target_id) in wanted]
    if not items or len(items) < len(wanted):
        raise errors.Invalid("That is not part of what is suspended.", field="scope")
    if len(items) == len(rows):
        raise errors.Invalid("Nothing would be left: lift the suspension instead.", field="scope")
    return _ask(session, RequestKind.NARROW, suspension, items=items, reason=reason, by=by)


def change_mode(
    session: Session,
    suspension: Suspension,
    mode: Mode,
    *,
    seen: str | None = None,
    reason: str = "",
    by: Principal,
) -> Request | None:
    """Stop more at once (returns None), or ask to stop less (returns the request).

    `seen` is the mode's id (`mode_of`) that the caller looked at: any other is `Stale`.
    """
    present = _may_ask(session, suspension, by=by)
    if seen is not None and present.id != seen:
        raise errors.Stale(f"Someone changed the mode meanwhile: it is {present.mode} now.")
    if mode == present.mode:
        raise errors.Invalid(f"It is {mode} already.", field="mode")
    if not modes.tighter(mode, Mode(present.mode)):
        return _ask(
            session, RequestKind.WEAKEN, suspension, details={"mode": mode}, reason=reason, by=by
        )
    _set_mode(session, suspension, present, mode, by=by)
    return None


def amend(
    session: Session,
    suspension: Suspension,
    *,
    note: str | None = None,
    review_by: datetime | None = None,
    seen: str | None = None,
    by: Principal,
) -> None:
    """Say something else to contractors, or when it will be looked at again; None leaves a part.

    `seen` is the `version` that the caller looked at: any other is `Stale`.
    """
    targets = targets_of(session, suspension.id)
    for item in targets:
        permissions.require(by, "suspension:open", client=item.client)
    if suspension.ended_at is not None:
        raise errors.AlreadyEnded("This suspension was lifted before.")
    before = version(suspension)
    if seen is not None and seen != before:
        raise errors.Stale("Someone changed the note or the review date meanwhile.")
    if review_by is not None and review_by <= clock.now(session):
        raise errors.WindowInvalid("The review date has passed already.", field="review_by")
    note = suspension.note if note is None else prose(note, "note")
    review_by = review_by or suspension.review_by
    if (note, review_by) == (suspension.note, suspension.review_by):
        return

    def recheck(session: OrmSession) -> None:
        now = session.execute(
            select(Suspension.ended_at, Suspension.note, Suspension.review_by)
            .where(Suspension.id == suspension.id)
            .with_for_update()
        ).one()
        if now.ended_at is not None or _version(now.note, now.review_by) != before:
            raise errors.Stale("Someone changed or lifted this suspension just now.")

    suspension.note, suspension.review_by = note, review_by
    record(
        session,
        EventType.SUSPENSION_AMENDED,
        logs=logs_of(session, targets),
        by=by,
        refs={"suspension": suspension.id},
        data={"review_by": clock.text(review_by)},
        private={"note": note},
        covers=[suspension],
        recheck=recheck,
    )


def version(suspension: Suspension) -> str:
    """What names the note and review date that someone saw."""
    return _version(suspension.note, suspension.review_by)


def _version(note: str, review_by: datetime) -> str:
    return hashlib.sha256(f"{clock.text(review_by)}{note}".encode()).hexdigest()


def move(
    session: Session,
    subject: Subject,
    organisation: Organisation,
    *,
    reason: str = "",
    by: Principal,
) -> Request | None:
    """Move a person to another organisation.

    At once (None) unless a suspension of the present organisation holds them: then it takes a
    second person, and the request is returned.
    """
    permissions.require(by, "subject:write")
    if subject.ended_at is not None:
        raise errors.AlreadyEnded("Who has left is not moved.", field="subject")
    present = subjects.organisation_of(session, subject)
    if present.id == organisation.id:
        raise errors.Invalid(f"They are with {organisation.name} already.", field="organisation")
    if organisation_held(session, present.id):
        return requests.ask(
            session,
            RequestKind.MOVE,
            logs=_logs_of_person(session, subject),
            subject=subject.id,
            details={"organisation": organisation.id},
            reason=reason,
            by=by,
        )
    _move(session, subject, organisation, by=by)
    return None


def take_back(session: Session, suspension: Suspension, *, by: Principal) -> None:
    """Undo one's own mistake alone, within ten minutes of opening it."""
    present = _may_ask(session, suspension, by=by)
    late = clock.now(session) - suspension.recorded_at > TAKE_BACK_WITHIN
    if (
        suspension.opened_by != signature(by)
        or late
        or present.recorded_at != suspension.recorded_at
    ):
        raise errors.NeedsSecondPerson(
            "Only who opened it may take it back alone, within ten minutes: ask for a lift."
        )
    _lift(session, suspension, present, by=by, shown_at=None)


def organisation_held(session: OrmSession, organisation_id: str) -> bool:
    """Whether any suspension covers an organisation now."""
    return _holding(session, organisation_id) is not None


def _holding(session: OrmSession, organisation_id: str) -> Suspension | None:
    """The oldest suspension that covers an organisation now."""
    return session.execute(
        select(Suspension)
        .join(SuspensionTarget, SuspensionTarget.suspension_id == Suspension.id)
        .where(
            SuspensionTarget.kind == Scope.ORGANISATION,
            SuspensionTarget.target_id == organisation_id,
            SuspensionTarget.ended_at.is_(None),
            Suspension.ended_at.is_(None),
        )
        .order_by(Suspension.recorded_at)
        .limit(1)
    ).scalar_one_or_none()


def _may_ask(session: OrmSession, suspension: Suspension, *, by: Principal) -> SuspensionMode:
    now = clock.now(session)
    for item in targets_of(session, suspension.id):
        permissions.require(by, "suspension:lift", client=item.client, now=now)
    present = mode_of(session, suspension.id)
    if present is None:
        raise errors.AlreadyEnded("This suspension was lifted before.")
    return present


def _ask(
    session: Session,
    kind: RequestKind,
    suspension: Suspension,
    *,
    number: int = 0,
    details: dict[str, str] | None = None,
    items: Iterable[str] = (),
    reason: str,
    by: Principal,
) -> Request:
    waiting = session.execute(
        select(Request.id).where(
            Request.suspension_id == suspension.id, Request.kind == kind, Request.ended_at.is_(None)
        )
    ).first()
    if waiting is not None:
        raise errors.AlreadyExists("That was asked for already, and awaits a second person.")
    targets = targets_of(session, suspension.id)
    owners = {item.client for item in targets}
    return requests.ask(
        session,
        kind,
        logs=logs_of(session, targets),
        suspension=suspension.id,
        client=owners.pop() if len(owners) == 1 else None,
        details=details,
        items=items,
        number=number,
        reason=reason,
        by=by,
    )


# --- doing -------------------------------------------------------------------------------------


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
    _lift(session, suspension, present, by=by, shown_at=request.recorded_at)


@requests.performs(RequestKind.RELEASE)
def _approved_release(session: Session, request: Request, by: Principal) -> None:
    suspension, present = _still_open(session, request, by=by)
    people = session.execute(
        select(RequestItem.item_id).where(RequestItem.request_id == request.id)
    ).scalars()
    rows = [
        SuspensionRelease(id=new_id("rel"), suspension_id=suspension.id, subject_id=person)
        for person in people
    ]
    session.add_all(rows)
    _record_admission(
        session,
        EventType.SUSPENSION_RELEASED,
        suspension,
        present,
        by=by,
        supposing=supposing_of(request),
        shown_at=request.recorded_at,
        data={"people": [row.subject_id for row in rows]},
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
        data={"targets": [{"kind": row.kind, "id": row.target_id} for row in rows]},
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
    _move(session, subject, organisation, by=by, request=request)


def _still_open(
    session: OrmSession, request: Request, *, by: Principal
) -> tuple[Suspension, SuspensionMode]:
    suspension = session.get_one(Suspension, request.suspension_id)
    return suspension, _may_ask(session, suspension, by=by)


def _lift(
    session: Session,
    suspension: Suspension,
    present: SuspensionMode,
    *,
    by: Principal,
    shown_at: datetime | None,
) -> None:
    _record_admission(
        session,
        EventType.SUSPENSION_LIFTED,
        suspension,
        present,
        by=by,
        supposing=Supposing(suspension=suspension.id),
        shown_at=shown_at,
        data={},
        stamps=[(suspension, "ended_at"), (present, "ended_at")],
    )


def _set_mode(
    session: Session, suspension: Suspension, present: SuspensionMode, mode: Mode, *, by: Principal
) -> None:
    row = SuspensionMode(id=new_id("mod"), suspension_id=suspension.id, mode=mode)
    targets = targets_of(session, suspension.id)
    logs = logs_of(session, targets)
    pending = [
        pending_particulars(suspension, log_id, opening_event(mode), mode)
        for log_id in logs
        if log_id != HOUSE
    ]
    session.add_all([row, *pending])

    def recheck(session: OrmSession) -> None:
        _unchanged(session, present)
        settled(session, targets, logs)

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
        recheck=recheck,
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

    def recheck(session: OrmSession) -> None:
        _unchanged(session, present)
        settled(session, targets, logs)
        if shown_at is None:
            _refuse_more_than_before(session, suspension)
        else:
            _refuse_unlisted(session, supposing, shown_at)

    record(
        session,
        event,
        logs=logs,
        by=by,
        refs={"suspension": suspension.id},
        data=data,
        stamps=[*stamps, *((item, "as_at") for item in pending)],  # type: ignore[list-item]
        recheck=recheck,
    )


def _unchanged(session: OrmSession, present: SuspensionMode) -> None:
    """The mode seen when the operation began is still the one in force."""
    ended = session.execute(
        select(SuspensionMode.ended_at).where(SuspensionMode.id == present.id).with_for_update()
    ).scalar_one()
    if ended is not None:
        raise errors.Stale("Someone changed or lifted this suspension just now.")


def _move(
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
    holder = _holding(session, present.organisation_id)
    pending = [
        pending_particulars(holder, log_id, EventType.GRANT_RESUMED, None)
        for log_id in logs
        if holder is not None and log_id != HOUSE
    ]
    session.add_all([row, *pending])

    def recheck(session: OrmSession) -> None:
        if logs_of(session, [person]) != logs:
            raise Again
        if request is None and organisation_held(session, present.organisation_id):
            raise Again
        if request is not None:
            _refuse_unlisted(session, supposing_of(request), request.recorded_at)
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


def _logs_of_person(session: OrmSession, subject: Subject) -> list[str]:
    return logs_of(session, [Target(Scope.SUBJECT, subject.id, subject.external_id, None)])


def subject_held(session: OrmSession, subject_id: str) -> bool:
    """Whether a suspension of the person themselves stops anything for them."""
    return (
        session.execute(
            select(SuspensionMode.id)
            .join(SuspensionTarget, SuspensionTarget.suspension_id == SuspensionMode.suspension_id)
            .where(
                SuspensionTarget.kind == Scope.SUBJECT,
                SuspensionTarget.target_id == subject_id,
                SuspensionTarget.ended_at.is_(None),
                SuspensionMode.ended_at.is_(None),
                SuspensionMode.mode != Mode.UNDER_REVIEW,
            )
            .limit(1)
        ).first()
        is not None
    )

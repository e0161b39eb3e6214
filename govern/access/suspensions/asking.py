"""Asking for what changes a suspension: more at once, less only with a second person.

Tightening takes one person. Whatever admits someone whom a suspension holds takes two: it is
asked for here with the list of what would come back, and done when another person approves. Under
the heads' locks the list is asked for again, and the act is refused if anyone would return who was
not on it, so two lifts at once cannot both pass.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from govern import clock, errors, permissions
from govern.access import modes, requests
from govern.access.clients import Dataset
from govern.access.grants import Supposing
from govern.access.modes import Mode
from govern.access.requests import Request, RequestKind, signature
from govern.access.suspension_tables import Scope, Suspension, SuspensionTarget
from govern.access.suspensions.acts import do_lift, do_move, logs_of_person, scheduled, set_mode
from govern.access.suspensions.admission import returning, unmoved
from govern.access.suspensions.difference import is_shown
from govern.access.suspensions.finding import may_change, organisation_held
from govern.access.suspensions.opening import TAKE_BACK_WITHIN
from govern.access.suspensions.parts import targets_of
from govern.access.suspensions.targets import Target, logs_of
from govern.audit import EventType
from govern.audit.record import record
from govern.identity import subjects
from govern.identity.subjects import Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Inquiry, Session
    from govern.principal import Principal

# As many opaque ids as an entry of a log may hold, with room for the rest of it.
MOST_RELEASED = 1500


def ask_lift(
    session: Session,
    suspension: Suspension,
    *,
    number: int,
    digest: str | None = None,
    reason: str = "",
    at: datetime | None = None,
    by: Principal,
) -> Request:
    """Ask for a suspension to end; `number` is the count of returning grants, typed (`Brake`).

    With `digest`, that of the list that was shown, a list that moved since is `Stale`. With `at` it
    is to end then, if by then someone has confirmed it (`confirm`).
    """
    may_change(session, suspension, by=by)
    kind = RequestKind.LIFT if at is None else RequestKind.RESUME
    if at is not None:
        if at <= clock.now(session):
            raise errors.WindowInvalid("That time has passed already.", field="at")
        if scheduled(session, suspension.id) is not None:
            raise errors.AlreadyExists("A time is set already: call that off first.", field="at")

    # The list that binds is that of the request's entry: the number must be its number.
    logs = logs_of(session, targets_of(session, suspension.id))
    check, key = counted(suspension, number, digest), (kind, suspension.id, number, digest)
    unchanged = unmoved(session, suspension, logs, check, key=key)
    return _ask(
        session,
        kind,
        suspension,
        details=None if at is None else {"at": clock.text(at)},
        number=number,
        reason=reason,
        asked=[unchanged],
        by=by,
    )


def counted(
    suspension: Suspension, number: int, digest: str | None
) -> Callable[[OrmSession], None]:
    """What asks whether the number typed, and the digest seen, are those of the list."""

    def check(session: OrmSession) -> None:
        if digest is not None and not is_shown(session, suspension, digest):
            raise errors.Stale(
                "The list of who comes back has changed since you saw it. Look at it again."
            )
        count = returning(session, Supposing(suspension=suspension.id))
        if number != count:
            raise errors.Brake(
                f"Type the number of grants that come back: {count}.", field="number"
            )

    return check


def ask_release(
    session: Session,
    suspension: Suspension,
    people: Iterable[Subject] = (),
    *,
    targets: Iterable[Target] = (),
    reason: str = "",
    by: Principal,
) -> Request:
    """Ask for some people to be let out early, or some projects or datasets of what is held."""
    may_change(session, suspension, by=by)
    parts = list(targets)
    named = dict.fromkeys(
        [
            *(person.id for person in people),
            *(item.id for item in parts if item.kind is Scope.SUBJECT),
        ]
    )
    parts = [item for item in parts if item.kind is not Scope.SUBJECT]
    inside = {item.id: item.kind for item in parts}
    if not named and not inside:
        raise errors.Invalid("Name at least one person, project or dataset.", field="people")
    if len(named) + len(inside) > MOST_RELEASED:
        raise errors.Invalid(
            f"Release at most {MOST_RELEASED:,} at a time: more of them fit no entry of the log.",
            field="people",
        )
    held = targets_of(session, suspension.id)
    for item in parts:
        _inside(session, item, held)
    return _ask(
        session,
        RequestKind.RELEASE,
        suspension,
        details={"parts": " ".join(f"{kind}:{one}" for one, kind in inside.items())}
        if inside
        else None,
        items=[*named, *inside],
        reason=reason,
        by=by,
    )


def _inside(session: OrmSession, part: Target, held: list[Target]) -> None:
    """Refuse to let out what is no project or dataset inside one of these targets."""
    if part.kind not in {Scope.PROJECT, Scope.DATASET}:
        raise errors.Invalid(
            f"A {part.kind} is not let out of a suspension: take it out, or lift it.",
            field="people",
        )
    if any((item.kind, item.id) == (part.kind, part.id) for item in held):
        raise errors.Invalid(
            f"{part.code} is a part of the scope by itself: take that out instead.", field="people"
        )
    over = {part.client}
    if part.kind is Scope.DATASET:
        over.add(session.get_one(Dataset, part.id).project_id)
    # Whoever is suspended themselves is so wherever they work.
    if not any(item.client is None or item.id in over for item in held):
        raise errors.Invalid(f"{part.code} is not part of what is suspended.", field="people")


def ask_narrow(
    session: Session,
    suspension: Suspension,
    targets: Iterable[Target],
    *,
    reason: str = "",
    by: Principal,
) -> Request:
    """Ask for a part of its scope to be taken out of a suspension."""
    may_change(session, suspension, by=by)
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
    present = may_change(session, suspension, by=by)
    if seen is not None and present.id != seen:
        raise errors.Stale(f"Someone changed the mode meanwhile: it is {present.mode} now.")
    if mode == present.mode:
        raise errors.Invalid(f"It is {mode} already.", field="mode")
    if not modes.tighter(mode, Mode(present.mode)):
        return _ask(
            session, RequestKind.WEAKEN, suspension, details={"mode": mode}, reason=reason, by=by
        )
    set_mode(session, suspension, present, mode, by=by)
    return None


def amend(
    session: Session,
    suspension: Suspension,
    *,
    review_by: datetime,
    seen: str | None = None,
    by: Principal,
) -> None:
    """Say when it will be looked at again.

    `seen` is the `version` that the caller looked at: any other is `Stale`.
    """
    targets = targets_of(session, suspension.id)
    for item in targets:
        permissions.require(by, "suspension:open", client=item.client)
    if suspension.ended_at is not None:
        raise errors.AlreadyEnded("This suspension was lifted before.")
    before = suspension.review_by
    if seen is not None and seen != version(suspension):
        raise errors.Stale("Someone changed the review date meanwhile.")
    if review_by == before:
        return
    if review_by <= clock.now(session):
        raise errors.WindowInvalid("The review date has passed already.", field="review_by")

    def recheck(session: OrmSession) -> None:
        now = session.execute(
            select(Suspension.ended_at, Suspension.review_by)
            .where(Suspension.id == suspension.id)
            .with_for_update()
        ).one()
        if now.ended_at is not None or now.review_by != before:
            raise errors.Stale("Someone changed or lifted this suspension just now.")

    suspension.review_by = review_by
    record(
        session,
        EventType.SUSPENSION_AMENDED,
        logs=logs_of(session, targets),
        by=by,
        refs={"suspension": suspension.id},
        data={"review_by": clock.text(review_by)},
        covers=[suspension],
        recheck=recheck,
    )


def version(suspension: Suspension) -> str:
    """What names the review date that someone saw."""
    return hashlib.sha256(clock.text(suspension.review_by).encode()).hexdigest()


def move(
    session: Session,
    subject: Subject,
    organisation: Organisation,
    *,
    reason: str = "",
    seen: str | None = None,
    by: Principal,
) -> Request | None:
    """Move a person to another organisation.

    At once (None) unless a suspension of the present organisation holds them: then it takes a
    second person, and the request is returned. `seen` is the name of the one that the caller saw
    them with: any other is `Stale`.
    """
    permissions.require(by, "subject:write")
    if subject.ended_at is not None:
        raise errors.AlreadyEnded("Who has left is not moved.", field="subject")
    present = subjects.organisation_of(session, subject)
    if seen is not None and seen != present.name:
        raise errors.Stale(
            "Someone moved them meanwhile: they are with %(name)s now.",
            field="organisation",
            name=present.name,
        )
    if present.id == organisation.id:
        raise errors.Invalid(f"They are with {organisation.name} already.", field="organisation")
    if organisation_held(session, present.id):
        return requests.ask(
            session,
            RequestKind.MOVE,
            logs=logs_of_person(session, subject),
            subject=subject.id,
            details={"organisation": organisation.id},
            reason=reason,
            by=by,
        )
    do_move(session, subject, organisation, by=by)
    return None


def take_back(session: Session, suspension: Suspension, *, by: Principal) -> None:
    """Undo one's own mistake alone, within ten minutes of opening it."""
    present = may_change(session, suspension, by=by)
    late = clock.now(session) - suspension.recorded_at > TAKE_BACK_WITHIN
    if (
        suspension.opened_by != signature(by)
        or late
        or present.recorded_at != suspension.recorded_at
    ):
        raise errors.NeedsSecondPerson(
            "Only who opened it may take it back alone, within ten minutes: ask for a lift."
        )
    do_lift(session, suspension, present, by=by, shown_at=None)


def _ask(
    session: Session,
    kind: RequestKind,
    suspension: Suspension,
    *,
    number: int = 0,
    details: dict[str, Any] | None = None,
    items: Iterable[str] = (),
    reason: str,
    asked: Iterable[Inquiry[None]] = (),
    by: Principal,
) -> Request:
    def first(session: OrmSession) -> None:
        waiting = select(Request.id).where(
            Request.suspension_id == suspension.id, Request.kind == kind, Request.ended_at.is_(None)
        )
        if session.execute(waiting).first() is not None:
            raise errors.AlreadyExists("That was asked for already, and awaits a second person.")
        ended = select(Suspension.ended_at).where(Suspension.id == suspension.id)
        if session.execute(ended).scalar_one() is not None:
            raise errors.AlreadyEnded("This suspension was lifted just now.")

    first(session)
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
        recheck=first,
        asked=asked,
        by=by,
    )

"""Opening a suspension: enforce first, with one act, then write the particulars.

From the commit of `open()` every decision that starts afterwards denies, whatever the number of
grants: the rule looks at the suspension's own few rows. `preview()` runs the query that the act's
particulars run, so what is announced is what is written.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select

from govern import clock, errors
from govern.access.modes import Mode
from govern.access.requests import signature
from govern.access.suspension_tables import (
    Particulars,
    Reason,
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionNotice,
    SuspensionTarget,
)
from govern.access.suspensions import notices
from govern.access.suspensions.notices import prose
from govern.access.suspensions.parts import targets_of
from govern.access.suspensions.people import hold_lists
from govern.access.suspensions.targets import Target, allowed, logs_of
from govern.audit import EventType
from govern.audit.log import HOUSE, Log, positions
from govern.audit.record import record
from govern.db import Again, listed, new_id
from govern.identity.subjects import Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sqlalchemy.orm import Session as OrmSession

    from govern.access.suspension_tables import PeopleList
    from govern.db import Session
    from govern.principal import Principal


REVIEW_AFTER = timedelta(hours=72)
TAKE_BACK_WITHIN = timedelta(minutes=10)
# A pause is not refused because the clock of who orders it is a little ahead.
_CLOCKS_DIFFER = timedelta(minutes=1)
# So long the same words from the same preview are the same form, sent again.
_AGAIN_WITHIN = timedelta(minutes=5)


def open(  # noqa: A001 - the verb of the domain
    session: Session,
    targets: list[Target],
    *,
    mode: Mode,
    reason: Reason,
    note: str = "",
    internal_reason: str = "",
    ordered_by: str = "",
    incident: str = "",
    hours_until: datetime | None = None,
    review_by: datetime | None = None,
    preview_digest: str | None = None,
    ordered_at: datetime | None = None,
    by: Principal,
) -> Suspension:
    """Lay a suspension over some targets; in force from the commit on.

    One entry in each log concerned: the clients' own, and for people and organisations the house's
    and those of every client where they hold a grant. Only scope, mode and reason are required.
    `note` is what is known, of the first notice; without one contractors wait for it.
    """
    now = clock.now(session)
    if not targets:
        raise errors.Invalid("Say what to suspend.", field="scope")
    allowed(by, targets, permission="suspension:open", now=now)
    if review_by is not None and review_by <= now:
        raise errors.WindowInvalid("The review date has passed already.", field="review_by")
    if ordered_at is not None and ordered_at > now + _CLOCKS_DIFFER:
        raise errors.WindowInvalid("The order is in the future.", field="ordered_at")
    told = notices.Words(known=prose(note, "note"))
    row = Suspension(
        id=new_id("sus"),
        reason=reason,
        internal_reason=prose(internal_reason, "internal_reason"),
        ordered_by=prose(ordered_by, "ordered_by"),
        incident=prose(incident, "incident"),
        hours_until=hours_until,
        review_by=review_by or now + REVIEW_AFTER,
        opened_by=signature(by),
        preview_digest=preview_digest,
        ordered_at=ordered_at or now,
    )
    rows = [
        SuspensionTarget(id=new_id("tgt"), suspension_id=row.id, kind=item.kind, target_id=item.id)
        for item in dict.fromkeys(targets)
    ]
    first = SuspensionMode(id=new_id("mod"), suspension_id=row.id, mode=mode)
    lists = hold_lists(session, [item.id for item in targets if item.kind is Scope.PEOPLE])
    touched = logs_of(session, targets)
    pending = [
        pending_particulars(row, log_id, opening_event(mode), mode)
        for log_id in touched
        if log_id != HOUSE
    ]
    session.add(row)
    session.add_all([*rows, first, *pending])
    record(
        session,
        EventType.SUSPENSION_OPENED,
        logs=touched,
        by=by,
        refs={"suspension": row.id},
        data={
            "mode": mode,
            "reason": reason,
            "hours_until": clock.text(hours_until) if hours_until else None,
            "review_by": clock.text(row.review_by),
        },
        own={log_id: {"targets": _told_of(targets, lists, log_id)} for log_id in touched},
        private={
            "internal_reason": row.internal_reason,
            "ordered_by": row.ordered_by,
            "incident": row.incident,
        },
        stamps=[
            (row, "recorded_at"),
            (first, "recorded_at"),
            *((item, "recorded_at") for item in rows),
            *((item, "as_at") for item in pending),
        ],
        recheck=settling(session, targets, touched),
    )
    if told.known:
        notices.add(session, row, told, number=1, logs=touched, by=by)
    return row


def opened_from(
    session: OrmSession, targets: list[Target], asked: Mapping[str, Any], *, by: Principal
) -> Suspension | None:
    """The one that the same person opened just now from the same preview with the same words.

    A form that comes again, as by a step back in the browser, is to open no second one. `asked` is
    what `open` would take.
    """
    if asked["preview_digest"] is None:
        return None
    words = ("internal_reason", "ordered_by", "incident")
    first = and_(SuspensionNotice.suspension_id == Suspension.id, SuspensionNotice.number == 1)
    query = (
        select(Suspension)
        .join(SuspensionMode, SuspensionMode.suspension_id == Suspension.id)
        .outerjoin(SuspensionNotice, first)
        .where(
            Suspension.preview_digest == asked["preview_digest"],
            Suspension.reason == asked["reason"],
            *(getattr(Suspension, name) == prose(asked[name], name) for name in words),
            func.coalesce(SuspensionNotice.known, "") == prose(asked["note"], "note"),
            Suspension.hours_until.is_not_distinct_from(asked["hours_until"]),
            *([Suspension.review_by == asked["review_by"]] if asked["review_by"] else []),
            Suspension.opened_by == signature(by),
            Suspension.recorded_at > clock.now(session) - _AGAIN_WITHIN,
            Suspension.ended_at.is_(None),
            SuspensionMode.mode == asked["mode"],
            SuspensionMode.ended_at.is_(None),
        )
    )
    wanted = {(item.kind, item.id) for item in targets}
    for row in session.execute(query).scalars():
        if {(item.kind, item.id) for item in targets_of(session, row.id)} == wanted:
            return row
    return None


def _told_of(
    targets: list[Target], lists: Mapping[str, PeopleList], log_id: str
) -> list[dict[str, Any]]:
    """The targets that a log may name: no client's log tells of another client's things."""
    return [
        {"kind": item.kind, "id": item.id}
        | (
            {"count": lists[item.id].number, "digest": lists[item.id].digest}
            if item.id in lists
            else {}
        )
        for item in targets
        if item.client in (None, log_id)
    ]


def settling(
    session: OrmSession, targets: list[Target], touched: list[str]
) -> Callable[[OrmSession], None]:
    """What asks under the heads' locks whether the logs concerned are still these, or `Again`.

    Against a first grant in some other client's log people and firms are locked until the commit
    (`grants.issue` and imports lock them shared). Of firms and lists of people, who are many, it is
    looked at again only where another client's log has moved.
    """
    if all(item.kind not in (Scope.PEOPLE, Scope.ORGANISATION) for item in targets):
        return lambda session: _settled(session, targets, touched)
    seen = _beside(session, touched)
    if logs_of(session, targets) != touched:
        raise Again

    def again(session: OrmSession) -> None:
        _lock(session, targets)
        if _beside(session, touched) != seen and not set(touched).issuperset(
            logs_of(session, targets)
        ):
            raise Again

    return again


def _beside(session: OrmSession, touched: list[str]) -> dict[str, int]:
    """How far the clients' logs are that an act does not concern."""
    others = select(Log.id).where(Log.id.not_in([*touched, HOUSE]))
    return positions(session, session.execute(others).scalars())


def _settled(session: OrmSession, targets: list[Target], touched: list[str]) -> None:
    _lock(session, targets)
    if logs_of(session, targets) != touched:
        raise Again


def _lock(session: OrmSession, targets: list[Target]) -> None:
    """Lock people and firms; for a list of people all firms, which are few."""
    for table, kind in ((Subject, Scope.SUBJECT), (Organisation, Scope.ORGANISATION)):
        ids = [item.id for item in targets if item.kind is kind]
        every = kind is Scope.ORGANISATION and any(item.kind is Scope.PEOPLE for item in targets)
        if not (ids or every):
            continue
        query = select(table.id).order_by(table.id)
        if not every:
            query = query.where(table.id.in_(select(listed(session, ids).c.value)))
        session.execute(query.with_for_update(key_share=True)).all()


def opening_event(mode: Mode) -> EventType:
    """The particulars that an opening, or a change to this mode, leaves for each grant."""
    if mode is Mode.UNDER_REVIEW:
        return EventType.GRANT_REVIEW_REQUIRED
    return EventType.GRANT_SUSPENDED


def pending_particulars(
    suspension: Suspension, log_id: str, event: EventType, mode: Mode | None
) -> Particulars:
    """The task of writing one act's entries into one client's log."""
    return Particulars(
        id=new_id("par"),
        suspension_id=suspension.id,
        log_id=log_id,
        event=event,
        mode=mode,
        cursor="",
        written=0,
        digest="",
    )

"""Requests: one table for all that awaits a second person.

Whoever asks cannot approve, nor can an account that the asker created, recovered or promoted, nor
the other way round, nor two accounts that one person made: else one person could be two. What a
request does when approved is in the room whose act it is: each act registers itself here by its
kind, and approving runs it in the approver's transaction.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, BigInteger, Index, and_, select, text, true, union
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit import EventType, log
from govern.audit.log import Entry, Value
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Code, Id, listed, new_id, references, text_column
from govern.identity import activation, federation, recovery, roles
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

    Act = Callable[[Session, "Request", Principal], None]


class RequestKind(StrEnum):
    """What can be asked for."""

    LIFT = "lift"
    RESUME = "resume"
    RELEASE = "release"
    WEAKEN = "weaken"
    NARROW = "narrow"
    MOVE = "move"
    GRANT = "grant"
    RECOVER = "recover"


class Request(Audited, Base):
    """Something asked for. `number` is how many grants its list showed; `recorded_at` when."""

    __tablename__ = "request"
    __table_args__ = (Index("ix_request_open", "ended_at", "recorded_at"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[Code]
    client_id: Mapped[Id | None]
    suspension_id: Mapped[Id | None] = mapped_column(references("suspension.id"))
    subject_id: Mapped[Id | None] = mapped_column(references("subject.id"))
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    number: Mapped[int] = mapped_column(BigInteger)
    asked_by: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    decided_by: Mapped[str | None] = mapped_column(text_column(200))
    outcome: Mapped[Code | None]
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class RequestItem(Base):
    """One of the people (or targets) that a request names."""

    __tablename__ = "request_item"

    request_id: Mapped[Id] = mapped_column(references("request.id"), primary_key=True)
    item_id: Mapped[Id] = mapped_column(primary_key=True)


ACTS: dict[str, Act] = {}


def performs(kind: RequestKind) -> Callable[[Act], Act]:
    """Mark the function that does what requests of this kind ask for."""

    def register(act: Act) -> Act:
        ACTS[kind] = act
        return act

    return register


def signature(by: Principal) -> str:
    """Who someone is across sessions: `sub_…`, `int_…` or `operator:root`."""
    return by.name or by.id


def ask(
    session: Session,
    kind: RequestKind,
    *,
    logs: Iterable[str],
    client: str | None = None,
    suspension: str | None = None,
    subject: str | None = None,
    details: dict[str, Any] | None = None,
    items: Iterable[str] = (),
    number: int = 0,
    reason: str = "",
    recheck: Callable[[OrmSession], None] | None = None,
    by: Principal,
) -> Request:
    """Put down what was asked for; the caller's operation has checked that it may be asked.

    `recheck` raises when that no longer holds under the heads' locks.
    """
    logs = sorted(set(logs))
    row = Request(
        id=new_id("req"),
        kind=kind,
        client_id=client,
        suspension_id=suspension,
        subject_id=subject,
        details={**(details or {}), "logs": logs},
        number=number,
        asked_by=signature(by),
    )
    session.add(row)
    session.add_all(RequestItem(request_id=row.id, item_id=item) for item in items)
    record(
        session,
        EventType.REQUEST_OPENED,
        logs=logs,
        by=by,
        refs={"request": row.id, "suspension": suspension, "subject": subject, "client": client},
        data={"kind": kind, "number": number},
        private={"reason": reason},
        stamps=[(row, "recorded_at")],
        recheck=recheck,
    )
    return row


def find(session: OrmSession, request_id: str, *, by: Principal) -> Request:
    """The request; `Unknown` when there is none or the caller may not know of it."""
    clients = permissions.scope(by, "request:read")
    if clients is not None and not clients:
        permissions.require(by, "request:read")
    row = session.get(Request, request_id)
    if row is None or (clients is not None and row.client_id not in clients):
        raise errors.Unknown(f"There is no request {request_id}.")
    return row


def waiting(session: OrmSession, *, by: Principal, limit: int = 50) -> list[Request]:
    """What awaits a second person, oldest first, as far as the caller may see it."""
    clients = permissions.scope(by, "request:read")
    query = select(Request).where(Request.ended_at.is_(None)).order_by(Request.recorded_at)
    if clients is not None:
        query = query.where(Request.client_id.in_(clients))
    return list(session.execute(query.limit(limit)).scalars())


def page(
    session: OrmSession, *, state: str = "", after: str = "", limit: int = 50, by: Principal
) -> tuple[list[Request], str | None]:
    """Requests by id, oldest first, and where the next page begins (None: that is all).

    `state` is `pending` or an outcome; empty for any.
    """
    clients = permissions.scope(by, "request:read")
    if clients is not None and not clients:
        permissions.require(by, "request:read")
    query = select(Request).where(Request.id > after).order_by(Request.id).limit(limit + 1)
    if state:
        query = query.where(
            Request.ended_at.is_(None) if state == "pending" else Request.outcome == state
        )
    if clients is not None:
        query = query.where(Request.client_id.in_(clients))
    rows = list(session.execute(query).scalars())
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def awaiting(
    session: OrmSession, suspension_id: str, kind: RequestKind, *, by: Principal
) -> Request:
    """The one request of a kind about a suspension that awaits its second person, or `Unknown`."""
    found = session.execute(
        select(Request.id).where(
            Request.suspension_id == suspension_id,
            Request.kind == kind,
            Request.ended_at.is_(None),
        )
    ).scalar_one_or_none()
    if found is None:
        raise errors.Unknown(f"Nobody has asked for that: no {kind} of {suspension_id} is waiting.")
    return find(session, found, by=by)


def reason_of(session: OrmSession, row: Request) -> str:
    """Why it was asked for, as its entry's private value says; empty once that was erased."""
    if "reason" in row.details:
        return str(row.details["reason"])
    about = (
        Entry.suspension_id == row.suspension_id
        if row.suspension_id
        else Entry.subject_id == row.subject_id
    )
    found = session.execute(
        select(Value.value)
        .join(Entry, and_(Entry.log_id == Value.log_id, Entry.seq == Value.seq))
        .where(
            about,
            Entry.at == row.recorded_at,
            Entry.type == EventType.REQUEST_OPENED,
            text(log.ACTS),
            Value.name == "reason",
        )
        .limit(1)
    ).scalar_one_or_none()
    return found or ""


def approve(
    session: Session, request_id: str, *, number: int | None = None, by: Principal
) -> Request:
    """Be the second person: run the act and close the request.

    `number` is what the approver typed: it must be the number that the list showed (`Brake`).
    """
    row = _open(session, request_id, by=by)
    permissions.require(by, "request:approve", client=row.client_id, now=clock.now(session))
    _pair(session, row.asked_by, by)
    if row.number and number != row.number:
        raise errors.Brake(
            f"Type the number of grants that come back: {row.number}.", field="number"
        )
    ACTS[row.kind](session, row, by)
    _close(session, row, "approved", EventType.REQUEST_APPROVED, by=by)
    return row


def withdraw(session: Session, request_id: str, *, by: Principal) -> Request:
    """Take back or turn down what was asked for."""
    row = _open(session, request_id, by=by)
    if row.asked_by != signature(by):
        permissions.require(by, "request:approve", client=row.client_id)
    outcome = "withdrawn" if row.asked_by == signature(by) else "refused"
    _close(session, row, outcome, EventType.REQUEST_WITHDRAWN, by=by)
    return row


def _open(session: OrmSession, request_id: str, *, by: Principal) -> Request:
    row = find(session, request_id, by=by)
    if row.ended_at is not None:
        raise errors.AlreadyEnded(f"This request was {row.outcome} before.")
    return row


def _close(
    session: Session, row: Request, outcome: str, event: EventType, *, by: Principal
) -> None:
    def still_open(session: OrmSession) -> None:
        ended = select(Request.ended_at).where(Request.id == row.id).with_for_update()
        if session.execute(ended).scalar_one() is not None:
            raise errors.AlreadyEnded("Someone else decided this request just now.")

    row.decided_by, row.outcome = signature(by), outcome
    record(
        session,
        event,
        # A request over several clients' logs was put down in each; its closing goes the same way.
        logs=row.details["logs"],
        by=by,
        refs={
            "request": row.id,
            "suspension": row.suspension_id,
            "subject": row.subject_id,
            "client": row.client_id,
        },
        data={"outcome": outcome},
        stamps=[(row, "ended_at")],
        recheck=still_open,
    )


def obstacles(session: OrmSession, askers: Iterable[str], *, by: Principal) -> dict[str, str]:
    """Why the caller cannot be the second person for those who asked: a statement a generation.

    Whoever is not a key of what is returned can be paired with.
    """
    second = signature(by)
    others = set(askers)
    makers = _makers(session, others | {second})
    mine = _lineage(makers, second)
    found = {}
    for asked_by in others:
        theirs = _lineage(makers, asked_by)
        # A person's account; who sits at the machine made the first ones, and has the database.
        one_made_both = any(who.startswith("sub_") for who in mine & theirs)
        if asked_by == second:
            found[asked_by] = "You asked for this yourself: someone else must approve it."
        elif second in theirs or asked_by in mine or one_made_both:
            found[asked_by] = (
                "One of you created, recovered or promoted the other's account, or one person "
                "did so for both: a third person must approve it."
            )
    return found


def makers(session: OrmSession, subject_id: str) -> set[str]:
    """Who created, invited, promoted or recovered an account."""
    return _made_by(session, {subject_id}).get(subject_id, set())


def _pair(session: OrmSession, asked_by: str, by: Principal) -> None:
    """Refuse two people who are one, or of whom one made the other."""
    for sentence in obstacles(session, [asked_by], by=by).values():
        raise errors.SamePerson(sentence)


def _lineage(makers: dict[str, set[str]], who: str) -> set[str]:
    """Someone with all who made their account, and the makers of those."""
    found, new = {who}, {who}
    while new:
        new = set().union(*(makers.get(each, set()) for each in new)) - found
        found |= new
    return found


def _makers(session: OrmSession, people: set[str]) -> dict[str, set[str]]:
    """Who made, promoted, recovered or linked the accounts of some people, and of those in turn."""
    found: dict[str, set[str]] = {}
    asked: set[str] = set()
    while people - asked:
        new = _made_by(session, people - asked)
        asked |= people
        found |= new
        # Only accounts have makers; `system` and who sits at the machine are none.
        people = {who for who in set().union(*new.values()) if who.startswith("sub_")}
    return found


def _made_by(session: OrmSession, people: set[str]) -> dict[str, set[str]]:
    among = listed(session, sorted(people))
    recovered = recovery.Recovery.outcome == recovery.USED
    made = union(
        *(
            select(whose, maker).join(among, among.c.value == whose).where(counts)
            for whose, maker, counts in (
                (Subject.id, Subject.created_by, true()),
                (roles.RoleAssignment.subject_id, roles.RoleAssignment.assigned_by, true()),
                (activation.Activation.subject_id, activation.Activation.issued_by, true()),
                (federation.IdentityLink.subject_id, federation.IdentityLink.linked_by, true()),
                (recovery.Recovery.subject_id, recovery.Recovery.asked_by, recovered),
                (recovery.Recovery.subject_id, recovery.Recovery.approved_by, recovered),
            )
        )
    )
    found: dict[str, set[str]] = {}
    for who, maker in session.execute(made):
        if who != maker:
            found.setdefault(who, set()).add(maker)
    return found

"""Requests: one table for all that awaits a second person, and its life until it is decided.

What a request does when approved is in the room whose act it is: each act registers itself here by
its kind, and approving runs it in the approver's transaction.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, BigInteger, Index, String, and_, bindparam, select, text
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.access.requests.pairing import pair, signature
from govern.audit import EventType, log
from govern.audit.log import Entry, Value
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Code, Id, Inquiry, new_id, references, text_column, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

    Act = Callable[[Session, "Request", Principal], None]
    Gather = Callable[[Session, "Request", str | None, Principal], bool]


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
    """Something asked for. `number` is how many grants its list showed; `recorded_at` when.

    Access that is asked for names its project and dataset, and ends unanswered at `expires_at`.
    """

    __tablename__ = "request"
    __table_args__ = (
        Index("ix_request_open", "ended_at", "recorded_at"),
        Index("ix_request_asker", "asked_by", "id"),
        Index("ix_request_subject", "subject_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[Code]
    client_id: Mapped[Id | None]
    suspension_id: Mapped[Id | None] = mapped_column(references("suspension.id"))
    subject_id: Mapped[Id | None] = mapped_column(references("subject.id"))
    project_id: Mapped[Id | None] = mapped_column(references("project.id"))
    dataset_id: Mapped[Id | None] = mapped_column(references("dataset.id"))
    expires_at: Mapped[datetime | None] = mapped_column(Utc())
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
# Kinds whose approvals are gathered until there are enough: what adds one, and says if they are.
GATHERS: dict[str, Gather] = {}


def performs(kind: RequestKind) -> Callable[[Act], Act]:
    """Mark the function that does what requests of this kind ask for."""

    def register(act: Act) -> Act:
        ACTS[kind] = act
        return act

    return register


def gathers(kind: RequestKind) -> Callable[[Gather], Gather]:
    """Mark the function that adds an approval to requests of this kind."""

    def register(gather: Gather) -> Gather:
        GATHERS[kind] = gather
        return gather

    return register


def ask(
    session: Session,
    kind: RequestKind,
    *,
    logs: Iterable[str],
    client: str | None = None,
    suspension: str | None = None,
    subject: str | None = None,
    project: str | None = None,
    dataset: str | None = None,
    expires: datetime | None = None,
    details: dict[str, Any] | None = None,
    items: Iterable[str] = (),
    number: int = 0,
    reason: str = "",
    recheck: Callable[[OrmSession], None] | None = None,
    asked: Iterable[Inquiry[None]] = (),
    by: Principal,
) -> Request:
    """Put down what was asked for; the caller's operation has checked that it may be asked.

    `recheck` and what is `asked` raise when that no longer holds under the heads' locks.
    """
    logs = sorted(set(logs))
    row = Request(
        id=new_id("req"),
        kind=kind,
        client_id=client,
        suspension_id=suspension,
        subject_id=subject,
        project_id=project,
        dataset_id=dataset,
        expires_at=expires,
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
        refs=_refs(row),
        data={
            "kind": kind,
            "number": number,
            "expires_at": clock.text(expires) if expires else None,
        },
        private={"reason": reason},
        about=subject,
        stamps=[(row, "recorded_at")],
        recheck=recheck,
        asked=asked,
    )
    return row


def find(session: OrmSession, request_id: str, *, by: Principal) -> Request:
    """The request; `Unknown` when there is none or the caller may not know of it."""
    clients = permissions.require_some(by, "request:read")
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
    clients = permissions.require_some(by, "request:read")
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
    reason: str = together(session, reason_asked(row))[0]
    return reason


def reason_asked(row: Request) -> Inquiry[str]:
    """The same, to be asked along with others."""
    about = (
        Entry.suspension_id == row.suspension_id
        if row.suspension_id
        else Entry.subject_id == row.subject_id
    )
    query = (
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
    )

    def read(rows: list[tuple[Any, ...]]) -> str:
        if "reason" in row.details:
            return str(row.details["reason"])
        return rows[0][0] or "" if rows else ""

    return Inquiry(query, read)


def approve(
    session: Session,
    request_id: str,
    *,
    number: int | None = None,
    seen: str | None = None,
    by: Principal,
) -> Request:
    """Be the second person: run the act and close the request.

    `number` is what the approver typed: it must be the number that the list showed (`Brake`).
    Access may take more approvals than this one: then it stays open. `seen` is its version that
    the approver looked at (`asking.version`): any other is `Stale`.
    """
    row = _open(session, request_id, by=by)
    permissions.require(by, "request:approve", client=row.client_id, now=clock.now(session))
    gather = GATHERS.get(row.kind)
    if gather is None:
        pair(session, row.asked_by, by)
    elif not gather(session, row, seen, by):
        return row
    if row.number and number != row.number:
        raise errors.Brake(
            f"Type the number of grants that come back: {row.number}.", field="number"
        )
    ACTS[row.kind](session, row, by)
    end(session, row, "approved", EventType.REQUEST_APPROVED, by=by)
    return row


def withdraw(session: Session, request_id: str, *, reason: str = "", by: Principal) -> Request:
    """Take back or turn down what was asked for; who asked for access is told why not."""
    row = _open(session, request_id, by=by)
    mine = row.asked_by == signature(by)
    if not mine:
        permissions.require(by, "request:approve", client=row.client_id)
        if row.kind == RequestKind.GRANT and not reason:
            raise errors.Invalid("Say why not: whoever asked is told.", field="reason")
    end(
        session, row, "withdrawn" if mine else "refused", EventType.REQUEST_WITHDRAWN,
        reason=reason, by=by,
    )  # fmt: skip
    return row


def take_back(session: Session, row: Request, *, by: Principal) -> None:
    """Withdraw a request; for operations that have checked that it is the caller's to withdraw."""
    end(session, row, "withdrawn", EventType.REQUEST_WITHDRAWN, by=by)


def _open(session: OrmSession, request_id: str, *, by: Principal) -> Request:
    row = find(session, request_id, by=by)
    if row.ended_at is not None:
        raise errors.AlreadyEnded(f"This request was {row.outcome} before.")
    return row


# Asked under the heads' locks, so in a statement made once.
_ENDED = (
    select(Request.ended_at)
    .where(Request.id == bindparam("request", type_=String()))
    .with_for_update()
)


def end(
    session: Session,
    row: Request,
    outcome: str,
    event: EventType,
    *,
    cause: str | None = None,
    reason: str = "",
    recheck: Callable[[OrmSession], None] | None = None,
    by: Principal,
) -> None:
    """Close an open request; for operations that have checked that the caller may."""

    def still_open(rows: list[tuple[Any, ...]]) -> None:
        if rows != [(None,)]:
            raise errors.AlreadyEnded("Someone else decided this request just now.")

    row.decided_by, row.outcome = signature(by), outcome
    if cause or reason:
        said = {"cause": cause, "said": reason}
        row.details = {**row.details, **{name: text for name, text in said.items() if text}}
    record(
        session,
        event,
        # A request over several clients' logs was put down in each; its closing goes the same way.
        logs=row.details["logs"],
        by=by,
        refs=_refs(row),
        data={"outcome": outcome, "cause": cause},
        private={"reason": reason},
        about=row.subject_id,
        stamps=[(row, "ended_at")],
        recheck=recheck,
        asked=[Inquiry(_ENDED, still_open, {"request": row.id})],
    )


def _refs(row: Request) -> dict[str, str | None]:
    return {
        "request": row.id,
        "suspension": row.suspension_id,
        "subject": row.subject_id,
        "client": row.client_id,
        "project": row.project_id,
        "dataset": row.dataset_id,
    }

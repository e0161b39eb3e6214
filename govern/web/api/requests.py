"""Requests: what awaits a second person, who approves it in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.access import requests
from govern.access.idempotency import Done
from govern.access.requests import RequestKind
from govern.web.api.routes import OK, Routes
from govern.web.api.shapes import Instant, Page, Paging, Told

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

routes = Routes("requests")

Outcome = Literal["pending", "approved", "withdrawn", "refused"]
# What of a request's details is not told as such: the logs it is in, and its reason.
_INNER = {"logs", "reason"}


class RequestLine(Told):
    """Something asked for. `number` is how many grants its list showed."""

    id: str
    kind: RequestKind
    state: Outcome
    suspension: str | None
    subject: str | None
    details: dict[str, str | None] = Field(description="What it would do, by opaque ids.")
    number: int
    asked_by: str
    asked_at: Instant
    decided_by: str | None
    decided_at: Instant | None


class Request(RequestLine):
    """Something asked for, and why."""

    reason: str


class Requests(Paging):
    """Which requests."""

    state: Outcome | None = None


def _told(row: requests.Request) -> RequestLine:
    return RequestLine(
        id=row.id, kind=RequestKind(row.kind), state=row.outcome or "pending",
        suspension=row.suspension_id, subject=row.subject_id,
        details={name: value for name, value in row.details.items() if name not in _INNER},
        number=row.number, asked_by=row.asked_by, asked_at=row.recorded_at,
        decided_by=row.decided_by, decided_at=row.ended_at,
    )  # fmt: skip


@routes.get("/requests", Page[RequestLine], query=Requests)
def find(session: OrmSession, *, asked: Requests, by: Principal) -> Page[RequestLine]:
    """Requests, oldest first."""
    rows, after = requests.page(
        session, state=asked.state or "", after=asked.after, limit=asked.limit, by=by
    )
    return Page[RequestLine](items=[_told(row) for row in rows], next=after)


@routes.get("/requests/<request>", Request)
def show(session: OrmSession, request: str, *, by: Principal) -> Request:
    """One request."""
    row = requests.find(session, request, by=by)
    return Request(**dict(_told(row)), reason=requests.reason_of(session, row))


@routes.post("/requests/<request>/withdraw", {OK: Request})
def withdraw(session: Session, request: str, *, by: Principal) -> Done:
    """Take back what the caller itself has asked for."""
    row = requests.withdraw(session, request, by=by)
    return Done(OK, f"/requests/{row.id}")

"""Requests: what awaits a second person, who approves it in the browser; and access asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.access import asking, entitlements, places, requests
from govern.access.idempotency import Done
from govern.access.requests import RequestKind
from govern.identity import subjects
from govern.web.api.routes import CREATED, OK, Routes
from govern.web.api.shapes import Asked, Code, Instant, Page, Paging, Reference, Told, Why

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

routes = Routes("requests")

Outcome = Literal["pending", "approved", "withdrawn", "refused", "died", "expired"]
# What of a request's details is not told as such: the logs it is in, and its reason.
_INNER = {"logs", "reason", "said"}


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


class NewRequest(Asked):
    """Access to ask for: given from `starts_at` (else once approved) until `ends_at`."""

    subject: Reference = Field(description="External id, e-mail address or opaque id.")
    project: Reference
    dataset: Reference | None = None
    entitlement: Code
    starts_at: Instant | None = None
    ends_at: Instant
    reason: Why


class Policy(Told):
    """Who has to approve access to a project, and how many; the nearest policy counts."""

    set_over: Literal["house", "client", "project"] | None = Field(
        description="What it was set over; null where none was, and the default counts."
    )
    roles: list[str]
    people: list[str] = Field(description="Opaque ids of those named.")
    leads: list[str] = Field(description="Opaque ids of who may ask for others there.")
    needed: int
    pausing: Literal["waits", "dies"] = Field(description="What a pause does to a request.")
    days: int = Field(description="How long a request waits for an answer.")


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


@routes.post("/requests", {CREATED: Request}, body=NewRequest)
def ask(session: Session, *, asked: NewRequest, by: Principal) -> Done:
    """Ask for access for somebody, as the policy has it approved."""
    project, _client = places.find_project(session, asked.project, by=by)
    subject = subjects.find(session, asked.subject)
    entitlement = entitlements.named(session, asked.entitlement)
    dataset = places.find_dataset(session, asked.dataset, by=by)[0] if asked.dataset else None
    row = asking.ask(
        session, subject, project, entitlement, dataset=dataset, starts=asked.starts_at,
        until=asked.ends_at, reason=asked.reason, by=by,
    )  # fmt: skip
    return Done(CREATED, f"/requests/{row.id}")


@routes.get("/projects/<project>/request-policy", Policy)
def policy(session: OrmSession, project: str, *, by: Principal) -> Policy:
    """The policy that counts for access to a project."""
    row, _client = places.find_project(session, project, by=by)
    found = asking.of_place(session, row.id, row.client_id)
    return Policy(
        set_over=found.kind.value if found.id else None, roles=list(found.roles),
        people=list(found.people), leads=list(found.leads), needed=found.needed,
        pausing=found.pausing.value, days=found.days,
    )  # fmt: skip

"""Requests: what awaits a second person, who approves it in the browser; and access asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.access import asking, entitlements, places, requests
from govern.access.idempotency import Done
from govern.access.requests import RequestKind
from govern.identity import subjects
from govern.web.api.routes import CREATED, OK, Routes
from govern.web.api.shapes import (
    Asked,
    Code,
    Instant,
    Page,
    Paging,
    Reference,
    Told,
    Why,
    Words,
)

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

    id: str | None = Field(description="Of the policy; null where none was set.")
    over: str = Field(description="What was asked about: `house`, or `project:` or `client:`.")
    set_over: Literal["house", "client", "project"] | None = Field(
        description="What it was set over; null where none was, and the default counts."
    )
    roles: list[str]
    people: list[str] = Field(description="Opaque ids of those named.")
    leads: list[str] = Field(description="Opaque ids of who may ask for others there.")
    needed: int
    pausing: Literal["waits", "dies"] = Field(description="What a pause does to a request.")
    days: int = Field(description="How long a request waits for an answer.")
    open_to: Literal["known", "client", "everybody"] = Field(
        description="Who is shown the code and may ask: whoever holds or held something there, or "
        "anything of the client, or everybody."
    )


class NewPolicy(Asked):
    """A policy, in place of the one that was set over just that; the approvers are roles or people.

    People are named by external id, e-mail address or opaque id.
    """

    roles: list[Literal["admin", "approver"]] = Field(default_factory=list, max_length=2)
    people: list[Reference] = Field(default_factory=list, max_length=100)
    leads: list[Reference] = Field(default_factory=list, max_length=100)
    needed: int = 1
    pausing: Literal["waits", "dies"] = "waits"
    days: int = 14
    open_to: Literal["known", "client", "everybody"] = "known"
    reason: Why
    seen: Words | None = Field(
        default=None, description="The id of what was set over just that; empty for nothing."
    )


class PolicyEnd(Asked):
    """Why what is over it is to count again."""

    reason: Why
    seen: Words | None = Field(
        default=None, description="The id of what was set over just that; empty for nothing."
    )


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


# --- who approves it ---------------------------------------------------------------------------


@routes.get("/projects/<project>/request-policy", Policy)
def policy(session: OrmSession, project: str, *, by: Principal) -> Policy:
    """The policy that counts for access to a project."""
    row, _client = places.find_project(session, project, by=by)
    return _policy(session, asking.over(session, f"project:{row.id}", by=by))


@routes.get("/request-policies/<over>", Policy)
def policy_over(session: OrmSession, over: str, *, by: Principal) -> Policy:
    """The policy that counts over the house, a client (`client:CODE`) or a project."""
    return _policy(session, asking.over(session, over, by=by))


@routes.post("/request-policies/<over>", {OK: Policy}, body=NewPolicy)
def set_policy(session: Session, over: str, *, asked: NewPolicy, by: Principal) -> Done:
    """Put a policy in force, in place of the one before it; it holds for open requests too."""
    place = asking.over(session, over, by=by)
    asking.set_(
        session, place, roles=asked.roles, people=asked.people, leads=asked.leads,
        needed=asked.needed, pausing=asking.Pausing(asked.pausing), days=asked.days,
        open_to=asking.Openness(asked.open_to), reason=asked.reason, seen=asked.seen, by=by,
    )  # fmt: skip
    return Done(OK, f"/request-policies/{_reference(place)}")


@routes.post("/request-policies/<over>/end", {OK: Policy}, body=PolicyEnd)
def end_policy(session: Session, over: str, *, asked: PolicyEnd, by: Principal) -> Done:
    """Let what is over a client or a project count there again."""
    place = asking.over(session, over, by=by)
    asking.end(session, place, reason=asked.reason, seen=asked.seen, by=by)
    return Done(OK, f"/request-policies/{_reference(place)}")


def _reference(place: asking.Over) -> str:
    """By its id: a code need not fit into an address."""
    return f"{place.kind}:{place.id}" if place.client else str(place.kind)


def _policy(session: OrmSession, place: asking.Over) -> Policy:
    found = asking.own_policy(session, place) or asking.inherited(session, place)
    return Policy(
        id=found.id or None, over=_reference(place),
        set_over=found.kind.value if found.id else None,
        roles=list(found.roles), people=list(found.people), leads=list(found.leads),
        needed=found.needed, pausing=found.pausing.value, days=found.days,
        open_to=found.open_to.value,
    )  # fmt: skip

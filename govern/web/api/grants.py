"""Grants: who was given what, until when; to issue, to read, to revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern import errors
from govern.access import asking, entitlements, grants, holdings, places
from govern.access.holdings import Holding
from govern.access.idempotency import Done
from govern.identity import subjects
from govern.web.api.requests import Request
from govern.web.api.routes import ACCEPTED, CREATED, OK, Routes
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

routes = Routes("grants")

Status = Literal["in_force", "held", "scheduled", "expired", "revoked", "ended"]


class Grant(Told):
    """A grant, and how it stands now; `client`, `project` and `dataset` are codes."""

    id: str
    subject: str = Field(description="The person's opaque id.")
    external_id: str
    full_name: str
    client: str
    project: str
    dataset: str | None = Field(description="Null for the whole project.")
    entitlement: str
    starts_at: Instant
    ends_at: Instant
    status: Status
    recorded_at: Instant
    revoked_at: Instant | None


class NewGrant(Asked):
    """Access to give, from `starts_at` (else now) until `ends_at`."""

    subject: Reference = Field(description="External id, e-mail address or opaque id.")
    project: Reference
    dataset: Reference | None = None
    entitlement: Code
    starts_at: Instant | None = None
    ends_at: Instant
    reason: Why


class Grants(Paging):
    """Which grants."""

    project: Words = Field(default="", description="Code or id of their project.")
    subject: Words = Field(default="", description="External or opaque id of whose they are.")
    q: Words = Field(
        default="", description="The beginning of id or address, or of words of the name."
    )
    status: Status | None = None
    entitlement: Words = ""


class Revocation(Asked):
    """Why a grant ends."""

    reason: Why


def _told(row: Holding) -> Grant:
    return Grant(
        id=row.id, subject=row.subject_id, external_id=row.external_id, full_name=row.name,
        client=row.client, project=row.project, dataset=row.dataset,
        entitlement=row.entitlement, starts_at=row.starts_at, ends_at=row.ends_at,
        status=row.status, recorded_at=row.recorded_at, revoked_at=row.ended_at,
    )  # fmt: skip


@routes.get("/grants", Page[Grant], query=Grants)
def find(session: OrmSession, *, asked: Grants, by: Principal) -> Page[Grant]:
    """Grants, oldest first."""
    project = places.find_project(session, asked.project, by=by)[0] if asked.project else None
    subject = holdings.person(session, asked.subject, by=by).id if asked.subject else None
    found = holdings.search(
        session, project=project, subject=subject, query=asked.q, status=asked.status or "",
        entitlement=asked.entitlement, after=asked.after, limit=asked.limit, by=by,
    )  # fmt: skip
    return Page[Grant](items=[_told(row) for row in found.rows], next=found.after)


@routes.post("/grants", {CREATED: Grant, ACCEPTED: Request}, body=NewGrant)
def issue(session: Session, *, asked: NewGrant, by: Principal) -> Done:
    """Give access.

    A request that awaits a second person (202) where a suspension has it under review.
    """
    project, _client = places.find_project(session, asked.project, by=by)
    subject = subjects.find(session, asked.subject)
    entitlement = entitlements.named(session, asked.entitlement)
    dataset = places.find_dataset(session, asked.dataset, by=by)[0] if asked.dataset else None
    try:
        row = grants.issue(
            session, subject, project, entitlement, dataset=dataset, starts=asked.starts_at,
            until=asked.ends_at, reason=asked.reason, by=by,
        )  # fmt: skip
    except errors.NeedsSecondPerson:
        waiting = asking.ask(
            session, subject, project, entitlement, dataset=dataset, starts=asked.starts_at,
            until=asked.ends_at, reason=asked.reason, by=by,
        )  # fmt: skip
        return Done(ACCEPTED, f"/requests/{waiting.id}")
    return Done(CREATED, f"/grants/{row.id}")


@routes.get("/grants/<grant>", Grant)
def show(session: OrmSession, grant: str, *, by: Principal) -> Grant:
    """One grant."""
    return _told(holdings.one(session, grant, by=by))


@routes.post("/grants/<grant>/revoke", {OK: Grant}, body=Revocation)
def revoke(session: Session, grant: str, *, asked: Revocation, by: Principal) -> Done:
    """End a grant for good."""
    row = grants.find(session, grant, by=by)
    grants.revoke(session, row, reason=asked.reason, by=by)
    return Done(OK, f"/grants/{row.id}")

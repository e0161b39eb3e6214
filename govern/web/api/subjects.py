"""Subjects: the people and services that may hold access, and what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.access import erasing, holdings, offboarding, suspensions
from govern.access.idempotency import Done
from govern.identity import subjects
from govern.identity.subjects import SubjectKind
from govern.web.api.requests import Request
from govern.web.api.routes import ACCEPTED, CREATED, OK, Routes
from govern.web.api.shapes import (
    Asked,
    Code,
    Count,
    Instant,
    Line,
    Page,
    Paging,
    Told,
    Why,
    Words,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

routes = Routes("subjects")


class Subject(Told):
    """A person or service, and how they stand."""

    id: str
    external_id: str
    full_name: str
    email: str
    kind: SubjectKind
    organisation: str
    state: Literal["active", "suspended", "offboarded"]


class Role(Told):
    """A role in govern itself; `client` is the code of its one client, null for all."""

    role: str
    client: str | None
    until: Instant | None


class Profile(Subject):
    """All that is known of one of them."""

    country: str
    expertise: str
    activated: bool = Field(description="Whether they have set a password.")
    last_sign_in: Instant | None
    recorded_at: Instant
    ended_at: Instant | None
    roles: list[Role]
    suspensions: list[str] = Field(description="Open ones over them or their organisation.")
    grants: int = Field(description="Grants that are not revoked.")
    projects: int


class NewSubject(Asked):
    """A person or service to make known."""

    external_id: Code
    email: Line
    full_name: Line
    kind: SubjectKind
    organisation: Line = subjects.DIRECT
    country: Line = Field(description="ISO 3166-1 alpha-2.")
    expertise: Words = ""


class Subjects(Paging):
    """Which people."""

    q: Words = Field(
        default="", description="The beginning of id or address, or of words of the name."
    )
    kind: SubjectKind | None = None
    state: Literal["active", "suspended", "offboarded"] | None = None
    organisation: Words = ""


class Leaving(Asked):
    """Why someone leaves; `number`, where given, must be that of the grants that end."""

    reason: Why
    number: Count | None = None


class Erasure(Asked):
    """Why what is personal of someone is erased; it stays on record, so it should name nobody."""

    reason: Why


class Move(Asked):
    """Where someone moves to, and why."""

    organisation: Line
    reason: Why


@routes.get("/subjects", Page[Subject], query=Subjects)
def find(session: OrmSession, *, asked: Subjects, by: Principal) -> Page[Subject]:
    """People by external id."""
    found = holdings.people(
        session, query=asked.q, kind=asked.kind or "", state=asked.state or "",
        organisation=asked.organisation, after=asked.after, limit=asked.limit, by=by,
    )  # fmt: skip
    rows = [
        Subject(
            id=row.id, external_id=row.external_id, full_name=row.name, email=row.email,
            kind=SubjectKind(row.kind), organisation=row.organisation, state=row.state,
        )
        for row in found.rows
    ]  # fmt: skip
    return Page[Subject](items=rows, next=found.after)


@routes.post("/subjects", {CREATED: Profile}, body=NewSubject)
def create(session: Session, *, asked: NewSubject, by: Principal) -> Done:
    """Make a person or service known."""
    row = subjects.register(
        session, subjects.Particulars.checked(**asked.model_dump(mode="json")), by=by
    )
    return Done(CREATED, f"/subjects/{row.id}")


@routes.get("/subjects/<subject>", Profile)
def show(session: OrmSession, subject: str, *, by: Principal) -> Profile:
    """One person, by external or opaque id."""
    row = holdings.person(session, subject, by=by)
    found = holdings.profile(session, row.id, by=by)
    return Profile(
        id=row.id, external_id=row.external_id, full_name=row.full_name, email=row.email,
        kind=SubjectKind(row.kind), organisation=found.organisation, state=found.state,
        country=row.country, expertise=row.expertise, activated=found.activated,
        last_sign_in=found.last_sign_in, recorded_at=row.recorded_at, ended_at=row.ended_at,
        roles=[Role(role=one.role, client=one.over, until=one.ends_at) for one in found.roles],
        suspensions=[one.suspension.id for one in found.suspensions],
        grants=found.grants, projects=found.projects,
    )  # fmt: skip


@routes.post("/subjects/<subject>/offboard", {OK: Profile}, body=Leaving)
def offboard(session: Session, subject: str, *, asked: Leaving, by: Principal) -> Done:
    """End everything that a person holds, for good."""
    row = holdings.person(session, subject, by=by)
    offboarding.offboard(session, row, number=asked.number, reason=asked.reason, by=by)
    return Done(OK, f"/subjects/{row.id}")


@routes.post("/subjects/<subject>/erasure", {OK: Profile}, body=Erasure)
def erase(session: Session, subject: str, *, asked: Erasure, by: Principal) -> Done:
    """Erase what is personal of a person, for good; who has not left yet leaves with it.

    Every proof of the log stays whole. A conflict (409) while they hold a grant that is not over,
    while a legal hold covers them, and when nothing is left to erase.
    """
    row = holdings.person(session, subject, by=by)
    erasing.erase(session, row, reason=asked.reason, by=by)
    return Done(OK, f"/subjects/{row.id}")


@routes.post("/subjects/<subject>/move", {OK: Profile, ACCEPTED: Request}, body=Move)
def move(session: Session, subject: str, *, asked: Move, by: Principal) -> Done:
    """Move a person to another organisation.

    A request that awaits a second person (202) where a suspension holds the present one.
    """
    row = holdings.person(session, subject, by=by)
    organisation = subjects.organisation_named(session, asked.organisation)
    waiting = suspensions.move(session, row, organisation, reason=asked.reason, by=by)
    if waiting is not None:
        return Done(ACCEPTED, f"/requests/{waiting.id}")
    return Done(OK, f"/subjects/{row.id}")

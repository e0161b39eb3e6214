"""Projects: what a client's people work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from govern.access import clients, ending, places
from govern.access.idempotency import Done
from govern.web.api.routes import CREATED, OK, Routes
from govern.web.api.shapes import (
    Asked,
    Code,
    Ending,
    Instant,
    Page,
    Paging,
    Reference,
    State,
    Told,
    Words,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.places import Place
    from govern.db import Session
    from govern.principal import Principal

routes = Routes("projects")


class Project(Told):
    """A project, and how it stands; `client` is its client's code."""

    id: str
    code: str
    client: str
    contact: str = Field(description="Whom its people may ask.")
    state: State
    since: Instant | None = Field(description="Since when it stands so; null for ever.")
    recorded_at: Instant


class NewProject(Asked):
    """A project to set up."""

    client: Reference
    code: Code
    contact: Words = ""


class Projects(Paging):
    """Which projects."""

    client: Words = Field(default="", description="Code or id of their client.")
    q: Words = Field(default="", description="A part of the code.")


def _told(place: Place) -> Project:
    row = place.project
    assert row is not None  # noqa: S101 - the rows below have one
    return Project(
        id=row.id, code=row.code, client=place.client.code, contact=row.contact,
        state=place.state, since=place.since, recorded_at=row.recorded_at,
    )  # fmt: skip


@routes.get("/projects", Page[Project], query=Projects)
def find(session: OrmSession, *, asked: Projects, by: Principal) -> Page[Project]:
    """Projects by code."""
    owner = places.find_client(session, asked.client, by=by) if asked.client else None
    found = places.projects(
        session, client=owner, query=asked.q, after=asked.after, limit=asked.limit, by=by
    )
    return Page[Project](items=[_told(row) for row in found.rows], next=found.after)


@routes.post("/projects", {CREATED: Project}, body=NewProject)
def create(session: Session, *, asked: NewProject, by: Principal) -> Done:
    """Set up a project of a client."""
    owner = places.find_client(session, asked.client, by=by)
    row = clients.create_project(session, owner, asked.code, contact=asked.contact, by=by)
    return Done(CREATED, f"/projects/{row.id}")


@routes.get("/projects/<project>", Project)
def show(session: OrmSession, project: str, *, by: Principal) -> Project:
    """One project, by code or id."""
    row, client = places.find_project(session, project, by=by)
    return _told(places.standing(session, [(client, row)], by=by)[0])


@routes.post("/projects/<project>/end", {OK: Project}, body=Ending)
def end(session: Session, project: str, *, asked: Ending, by: Principal) -> Done:
    """End a project for good: nothing brings it back."""
    row, _ = places.find_project(session, project, by=by)
    ending.end(session, row, number=asked.number, reason=asked.reason, by=by)
    return Done(OK, f"/projects/{row.id}")

"""Datasets: the buckets, tables, queues and tools of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from govern.access import clients, places
from govern.access.idempotency import Done
from govern.web.api.routes import CREATED, Routes
from govern.web.api.shapes import (
    Asked,
    Code,
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

routes = Routes("datasets")


class Dataset(Told):
    """A dataset, and how it stands; `client` and `project` are codes."""

    id: str
    code: str
    client: str
    project: str
    type: str | None = Field(description="The word under which it is asked for too.")
    sensitivity: str
    state: State
    since: Instant | None = Field(description="Since when it stands so; null for ever.")
    recorded_at: Instant


class NewDataset(Asked):
    """A dataset to add to a project."""

    project: Reference
    code: Code
    type: Code | None = Field(default=None, description="A lower-case word such as bucket.")


class Datasets(Paging):
    """Which datasets."""

    project: Words = Field(default="", description="Code or id of their project.")
    q: Words = Field(default="", description="A part of the code.")


def _told(place: Place) -> Dataset:
    row, project = place.dataset, place.project
    assert row is not None and project is not None  # noqa: S101, PT018 - the rows below have both
    return Dataset(
        id=row.id, code=row.code, client=place.client.code, project=project.code,
        type=row.type, sensitivity=row.sensitivity, state=place.state, since=place.since,
        recorded_at=row.recorded_at,
    )  # fmt: skip


@routes.get("/datasets", Page[Dataset], query=Datasets)
def find(session: OrmSession, *, asked: Datasets, by: Principal) -> Page[Dataset]:
    """Datasets by code."""
    project = places.find_project(session, asked.project, by=by)[0] if asked.project else None
    found = places.datasets(
        session, project=project, query=asked.q, after=asked.after, limit=asked.limit, by=by
    )
    return Page[Dataset](items=[_told(row) for row in found.rows], next=found.after)


@routes.post("/datasets", {CREATED: Dataset}, body=NewDataset)
def create(session: Session, *, asked: NewDataset, by: Principal) -> Done:
    """Add a dataset to a project."""
    project, _client = places.find_project(session, asked.project, by=by)
    row = clients.create_dataset(session, project, asked.code, type=asked.type, by=by)
    return Done(CREATED, f"/datasets/{row.id}")


@routes.get("/datasets/<dataset>", Dataset)
def show(session: OrmSession, dataset: str, *, by: Principal) -> Dataset:
    """One dataset, by code or id."""
    row, project, client = places.find_dataset(session, dataset, by=by)
    return _told(places.standing(session, [(client, project, row)], by=by)[0])

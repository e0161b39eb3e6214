"""Who: whose grants let them do something to a client's projects, a project or a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern import clock, permissions
from govern.access import entitlements, evaluation, places
from govern.audit import reading
from govern.web import guard
from govern.web.api.routes import Routes
from govern.web.api.shapes import Code, Instant, Page, Paging, Reference, Told

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from govern.principal import Principal

routes = Routes("who")


class Reach(Told):
    """One grant that permits it."""

    grant: str
    subject: str
    external_id: str
    full_name: str
    project: str
    entitlement: str
    starts_at: Instant
    ends_at: Instant


class Who(Paging):
    """What is asked: `action` on the thing of this type and code or id."""

    type: Literal["client", "project", "dataset"]
    code: Reference
    action: Code = "read"
    at: Instant | None = Field(default=None, description="An instant of the past; else now.")


@routes.get("/who", Page[Reach], query=Who)
def find(session: Session, *, asked: Who, by: Principal) -> Page[Reach]:
    """Who can, or could at an instant."""
    if permissions.scope(by, "grant:read") == frozenset():
        permissions.require(by, "grant:read")
    if asked.type == "client":
        client = places.find_client(session, asked.code, by=by)
        code = client.code
    elif asked.type == "project":
        project, client = places.find_project(session, asked.code, by=by)
        code = project.code
    else:
        dataset, _project, client = places.find_dataset(session, asked.code, by=by)
        code = dataset.code
    reading.note(
        guard.database(), "who", client=client.id,
        detail={"at": clock.text(asked.at or clock.now(session)), "kind": asked.type}, by=by,
    )  # fmt: skip
    rows = evaluation.search(
        session, action=asked.action, kind=asked.type, code=code, at=asked.at,
        after=asked.after, limit=asked.limit + 1, by=by,
    )  # fmt: skip
    meant = entitlements.meanings(session, asked.at)
    items = [
        Reach(
            grant=row.grant_id, subject=row.subject_id, external_id=row.external_id,
            full_name=row.full_name, project=row.project,
            entitlement=meant[row.entitlement_id][0], starts_at=row.starts_at, ends_at=row.ends_at,
        )
        for row in rows[: asked.limit]
    ]  # fmt: skip
    return Page[Reach](items=items, next=items[-1].grant if len(rows) > asked.limit else None)

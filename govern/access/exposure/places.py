"""What is asked about: a client, a project, a dataset or a person; and what is told of a grant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from govern import errors, permissions
from govern.access import clients

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

Interval = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One grant that permitted it, and when: half-open intervals in order, none touching another.

    `dataset` is the code of the one dataset that the grant is over, if it is over one; `starts_at`
    and `ends_at` are the grant's own window.
    """

    grant_id: str
    subject_id: str
    external_id: str
    email: str
    full_name: str
    project: str
    dataset: str | None
    entitlement_id: str
    starts_at: datetime
    ends_at: datetime
    intervals: tuple[Interval, ...]


@dataclass(frozen=True)
class Place:
    """What is asked about: ids. Of a person, `clients` are those whose grants may be seen."""

    kind: str
    client: str = ""
    project: str | None = None
    dataset: str | None = None
    person: str | None = None
    clients: frozenset[str] | None = None


def placed(session: OrmSession, kind: str, code: str, *, by: Principal) -> Place:
    """What `kind` and `code` name; the caller may see its grants, or it is refused."""
    if kind == "subject":
        seen = permissions.scope(by, "grant:read")
        if seen is not None and not seen:
            permissions.require(by, "grant:read")
        return Place(kind, person=code, clients=seen)
    place = _thing(session, kind, code)
    permissions.require(by, "grant:read", client=place.client)
    return place


def _thing(session: OrmSession, kind: str, code: str) -> Place:
    if kind == "client":
        return Place(kind, clients.client(session, code).id)
    if kind == "project":
        project = clients.project(session, code)
        return Place(kind, project.client_id, project.id)
    if kind == "dataset":
        dataset = clients.dataset(session, code)
        project = clients.project(session, dataset.project_id)
        return Place(kind, project.client_id, project.id, dataset.id)
    raise errors.Invalid("Ask about client:, project: or dataset:.", field="resource")

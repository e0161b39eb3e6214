"""What is asked about: a client, a project, a dataset or a person; and what is told of a grant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import literal, or_, select

from govern import clock, errors, permissions
from govern.access.clients import Client, Dataset, Project

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

Interval = tuple[datetime, datetime]


class Exposure(NamedTuple):
    """One grant that permitted it, and when: half-open intervals in order, none touching another.

    `dataset` is the code of the one dataset that the grant is over, if it is over one; `starts_at`
    and `ends_at` are the grant's own window. There may be a million: a tuple is made soonest.
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


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of them; `after` is behind which grant it goes on, None at its end."""

    rows: list[Exposure]
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Place:
    """What is asked about: ids. Of a person, `clients` are those whose grants may be seen.

    `now` is when it was looked up, by the database's clock; `code` the client's.
    """

    kind: str
    now: datetime
    client: str = ""
    code: str = ""
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
        now = session.execute(select(clock.instant())).scalar_one()
        return Place(kind=kind, now=now, person=code, clients=seen)
    table: Any = {"client": Client, "project": Project, "dataset": Dataset}.get(kind)
    if table is None:
        raise errors.Invalid("Ask about client:, project: or dataset:.", field="resource")
    wanted: Any = (
        select(
            clock.instant(), Client.id, Client.code,
            literal(None, Client.id.type) if table is Client else Project.id,
            Dataset.id if table is Dataset else literal(None, Client.id.type),
        )
        .where(or_(table.code == code, table.id == code))
        .order_by((table.code == code).desc())
        .limit(1)
    )  # fmt: skip
    if table is not Client:
        wanted = wanted.where(Project.client_id == Client.id)
    if table is Dataset:
        wanted = wanted.where(Dataset.project_id == Project.id)
    row = session.execute(wanted).first()
    if row is None:
        raise errors.Unknown(f"There is no {kind} “{code}”.", field=kind)
    permissions.require(by, "grant:read", client=row[1])
    return Place(kind=kind, now=row[0], client=row[1], code=row[2], project=row[3], dataset=row[4])

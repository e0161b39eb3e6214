"""Who can: the grants that permit an action somewhere, now or at an instant, by the one rule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, bindparam, select

from govern import errors, permissions
from govern.access import grants
from govern.access.clients import Client, Dataset, Project
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect, effect_of
from govern.clock import Utc
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Reach:
    """One line of a list of who can: a grant in force and whose it is."""

    grant_id: str
    subject_id: str
    external_id: str
    email: str
    full_name: str
    project: str
    entitlement_id: str
    starts_at: datetime
    ends_at: datetime


def search(
    session: OrmSession,
    *,
    action: str,
    kind: str,
    code: str,
    at: datetime | None = None,
    after: str = "",
    limit: int = 1000,
    by: Principal,
) -> list[Reach]:
    """Whose grants permit an action on a client's projects, a project or a dataset; keyset by id.

    For a client it is every grant of its projects that permits the action there.
    """
    over: dict[str, str] = {}
    if kind == "client":
        row = _known(session, Client, code)
        client_id = row.id
    elif kind == "project":
        row = _known(session, Project, code)
        client_id = row.client_id
    elif kind == "dataset":
        row = _known(session, Dataset, code)
        client_id = session.get_one(Project, row.project_id).client_id
        over = {"project": row.project_id}
    else:
        raise errors.Invalid("Ask about client:, project: or dataset:.", field="resource")
    permissions.require(by, "grant:read", client=client_id)
    if at is not None and row.recorded_at > at:
        return []
    wanted = {"resource": row.id, "action": action, "after": after, "limit": limit, **over}
    if at is not None:
        wanted["at"] = at
    rows = session.execute(_listing(kind, effect_of(action), past=at is not None), wanted)
    names = list(Reach.__dataclass_fields__)
    return [Reach(**dict(zip(names, found, strict=True))) for found in rows]


@cache
def _listing(kind: str, effect: Effect, *, past: bool) -> Select[Any]:
    """The one statement of a kind of list: built once, asked ever after."""
    moment = Moment(at=bindparam("at", type_=Utc()) if past else None)
    action: ColumnElement[str] = bindparam("action", type_=String())
    resource: ColumnElement[str] = bindparam("resource", type_=String())
    dataset = resource if kind == "dataset" else None
    if kind == "client":
        over: ColumnElement[bool] = Grant.client_id == resource
    else:
        project = bindparam("project", type_=String()) if kind == "dataset" else resource
        over = grants.covering(project=project, dataset=dataset, effect=effect)
    return (
        grants.facts(
            Grant.id,
            Subject.id,
            Subject.external_id,
            Subject.email,
            Subject.full_name,
            Project.code,
            Grant.entitlement_id,
            Grant.starts_at,
            Grant.ends_at,
            moment=moment,
        )
        .where(
            over,
            Grant.id > bindparam("after", type_=String()),
            grants.all_of(grants.rule(action, effect, moment, dataset=dataset)),
        )
        .order_by(Grant.id)
        .limit(bindparam("limit", type_=Integer()))
    )


def _known(session: OrmSession, table: Any, code: str) -> Any:
    row = session.execute(select(table).where(table.code == code)).scalar_one_or_none()
    if row is None:
        raise errors.Unknown(f"There is no {table.__tablename__} “{code}”.", field="resource")
    return row

"""Clients, projects and datasets as a caller may know them: by code or id, or page by page.

What belongs to clients that the caller is not admitted to is answered as if it were not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from govern import errors, permissions
from govern.access.clients import Client, Dataset, Project
from govern.access.holdings import PAGE, Page
from govern.access.suspension_tables import SuspensionTarget
from govern.access.suspensions import reading
from govern.access.suspensions.reading import Standing
from govern.db import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

Table = type[Client | Project | Dataset]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A client, a project of it or a dataset of that; how it stands in one word, and since when."""

    client: Client
    project: Project | None = None
    dataset: Dataset | None = None
    state: str
    since: datetime | None


# --- one ---------------------------------------------------------------------------------------


def find_client(session: OrmSession, reference: str, *, by: Principal) -> Client:
    """A client by code or id; `Unknown` where the caller may not know of it."""
    found: Client = _find(session, select(Client), Client, reference, by=by)[0]
    return found


def find_project(session: OrmSession, reference: str, *, by: Principal) -> tuple[Project, Client]:
    """A project by code or id, with its client; `Unknown` where the caller may not know of it."""
    query = select(Project, Client).join(Client, Client.id == Project.client_id)
    project, client = _find(session, query, Project, reference, by=by)
    return project, client


def find_dataset(
    session: OrmSession, reference: str, *, by: Principal
) -> tuple[Dataset, Project, Client]:
    """A dataset by code or id, with its project and client; `Unknown` as above."""
    query = (
        select(Dataset, Project, Client)
        .join(Project, Project.id == Dataset.project_id)
        .join(Client, Client.id == Project.client_id)
    )
    dataset, project, client = _find(session, query, Dataset, reference, by=by)
    return dataset, project, client


def refuse_unknown(session: OrmSession, filters: Mapping[str, str], *, by: Principal) -> None:
    """Refuse what a program narrows a list by that is no client or project, as far as it may know.

    It would take a code with a slip of the pen for one of which there is nothing.
    """
    for kind in ("client", "project"):
        code = filters.get(kind, "").strip()
        if code and not _is_known(session, kind, code, by=by):
            raise errors.Invalid(f"There is no {kind} “{code}”.", field="filters")


def _is_known(session: OrmSession, kind: str, code: str, *, by: Principal) -> bool:
    try:
        if kind == "client":
            return find_client(session, code, by=by).code == code
        return find_project(session, code, by=by)[0].code == code
    except errors.Unknown:
        return False


def _find(session: OrmSession, query: Any, table: Table, reference: str, *, by: Principal) -> Any:
    query = _admitted(query, by)
    named = or_(table.code == reference, table.id == reference)
    found = (
        session.execute(
            query.where(named).order_by((table.code == reference).desc()).limit(1)
        ).first()
        if reference.isprintable()
        else None
    )
    if found is None:
        kind = table.__tablename__
        raise errors.Unknown(f"There is no {kind} “{reference}”.", field=kind)
    return found


def _admitted(query: Any, by: Principal) -> Any:
    clients = permissions.require_some(by, "project:read")
    return query if clients is None else query.where(Client.id.in_(clients))


# --- many --------------------------------------------------------------------------------------


def clients(
    session: OrmSession, *, query: str = "", after: str = "", limit: int = PAGE, by: Principal
) -> Page:
    """Clients by code; `query` is a part of code or name."""
    wanted = select(Client, Client.code)
    if query:
        wanted = wanted.where(or_(_holds(Client.code, query), _holds(Client.name, query)))
    return _page(session, wanted, Client, after=after, limit=limit, by=by)


def projects(
    session: OrmSession,
    *,
    client: Client | None = None,
    query: str = "",
    after: str = "",
    limit: int = PAGE,
    by: Principal,
) -> Page:
    """Projects by code, of one client or of all; `query` is a part of the code."""
    wanted = select(Client, Project, Project.code).join(Client, Client.id == Project.client_id)
    if client is not None:
        wanted = wanted.where(Project.client_id == client.id)
    if query:
        wanted = wanted.where(_holds(Project.code, query))
    return _page(session, wanted, Project, after=after, limit=limit, by=by)


def datasets(
    session: OrmSession,
    *,
    project: Project | None = None,
    query: str = "",
    after: str = "",
    limit: int = PAGE,
    by: Principal,
) -> Page:
    """Datasets by code, of one project or of all; `query` is a part of the code."""
    wanted = (
        select(Client, Project, Dataset, Dataset.code)
        .join(Project, Project.id == Dataset.project_id)
        .join(Client, Client.id == Project.client_id)
    )
    if project is not None:
        wanted = wanted.where(Dataset.project_id == project.id)
    if query:
        wanted = wanted.where(_holds(Dataset.code, query))
    return _page(session, wanted, Dataset, after=after, limit=limit, by=by)


def _holds(column: Any, part: str) -> Any:
    return func.lower(column).contains(part.strip().lower(), autoescape=True)


def _page(
    session: OrmSession, wanted: Any, table: Table, *, after: str, limit: int, by: Principal
) -> Page:
    wanted = _admitted(wanted, by).where(table.code > after).order_by(table.code)
    found = session.execute(wanted.limit(limit + 1)).all()
    rows = standing(session, [row[:-1] for row in found[:limit]], by=by)
    return Page(rows=rows, after=found[limit - 1][-1] if len(found) > limit else None)


# --- how they stand ----------------------------------------------------------------------------


def standing(session: OrmSession, rows: Iterable[Any], *, by: Principal) -> list[Place]:
    """How places stand now: each row is a client, and maybe a project of it, and a dataset."""
    rows = list(rows)
    ids = sorted({one.id for row in rows for one in row})
    over = SuspensionTarget.target_id.in_(select(listed(session, ids).c.value))
    standings = reading.open_ones(session, over=[over], by=by) if ids else []
    return [_place(standings, *row) for row in rows]


def _place(
    standings: list[Standing],
    client: Client,
    project: Project | None = None,
    dataset: Dataset | None = None,
) -> Place:
    above = [one for one in (dataset, project, client) if one is not None]
    ended = next((one.ended_at for one in above if one.ended_at is not None), None)
    state, since = state_of(standings, ended, *(one.id for one in above))
    return Place(client=client, project=project, dataset=dataset, state=state, since=since)


def state_of(
    standings: Iterable[Standing], ended_at: datetime | None, *ids: str
) -> tuple[str, datetime | None]:
    """How a client, project or dataset stands, in one word, and since when (None: ever)."""
    if ended_at is not None:
        return "ended", ended_at
    over = reading.strictest(standings, *ids)
    return ("running", None) if over is None else (over[0].value, over[1])

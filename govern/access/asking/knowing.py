"""What one may know of and so ask for: what one holds or held, and what a policy opens to one.

Of a project's datasets those that were named in one's own grants, or all while one holds the
project whole. What is not open to somebody is shown to them nowhere, and named in no refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, not_, or_, select
from sqlalchemy.orm import aliased

from govern import clock
from govern.access.asking import policies
from govern.access.asking.tables import Kind, Openness, RequestPolicy
from govern.access.clients import Client, Dataset, Project
from govern.access.grants import Grant

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

MOST_KNOWN = 200  # projects that somebody is shown to choose from


def may_know(session: OrmSession, who: str, project: Project) -> bool:
    """Whether someone holds or held something on a project, or its policy opens it to them."""
    mine = select(Grant.id).where(Grant.subject_id == who)
    if session.execute(mine.where(Grant.project_id == project.id).limit(1)).first() is not None:
        return True
    open_to = policies.of_place(session, project.id, project.client_id).open_to
    if open_to is Openness.EVERYBODY:
        return True
    there = mine.where(Grant.client_id == project.client_id)
    return open_to is Openness.CLIENT and session.execute(there.limit(1)).first() is not None


def knows_part(session: OrmSession, who: str, project: Project, dataset: Dataset) -> bool:
    """Whether someone may know of a dataset of a project that they may know of."""
    own = select(Grant.id).where(Grant.subject_id == who, Grant.dataset_id == dataset.id)
    if session.execute(own.limit(1)).first() is not None:
        return True
    return _holds_whole(session, who, project)


def _holds_whole(session: OrmSession, who: str, project: Project) -> bool:
    now = clock.instant()
    whole = select(Grant.id).where(
        Grant.subject_id == who, Grant.project_id == project.id, Grant.dataset_id.is_(None),
        Grant.ended_at.is_(None), Grant.starts_at <= now, Grant.ends_at > now,
    )  # fmt: skip
    return session.execute(whole.limit(1)).first() is not None


def open_places(session: OrmSession, *, by: Principal) -> list[str]:
    """Codes of projects that are new to the caller and that a policy opens to them.

    The nearest policy counts: a project's own, else its client's.
    """
    of_project, of_client = aliased(RequestPolicy), aliased(RequestPolicy)
    mine = select(Grant.id).where(Grant.subject_id == by.id)
    open_to = func.coalesce(of_project.open_to, of_client.open_to)
    there = mine.where(Grant.client_id == Project.client_id).exists()
    query = (
        select(Project.code)
        .join(Client, Client.id == Project.client_id)
        .outerjoin(of_project, and_(of_project.target_id == Project.id, _set(of_project)))
        .outerjoin(of_client, and_(of_client.target_id == Client.id, _set(of_client)))
        .where(
            Project.ended_at.is_(None),
            Client.ended_at.is_(None),
            or_(
                open_to == Openness.EVERYBODY,
                and_(open_to == Openness.CLIENT, there),
            ),
            not_(mine.where(Grant.project_id == Project.id).exists()),
        )
        .order_by(Project.code)
        .limit(MOST_KNOWN)
    )
    return list(session.execute(query).scalars())


def _set(policy: Any) -> Any:
    """That a policy is in force over what is not the house."""
    return and_(policy.ended_at.is_(None), policy.kind != Kind.HOUSE)


def known_places(session: OrmSession, *, by: Principal) -> list[tuple[str, str | None]]:
    """Codes of the projects, and of datasets of these, that the caller may ask for."""
    mine = select(Grant.id).where(Grant.subject_id == by.id)
    held = select(Project.code, Project.id).where(
        Project.ended_at.is_(None), mine.where(Grant.project_id == Project.id).exists()
    )
    now = clock.instant()
    whole = mine.where(
        Grant.project_id == Dataset.project_id, Grant.dataset_id.is_(None),
        Grant.ended_at.is_(None), Grant.starts_at <= now, Grant.ends_at > now,
    )  # fmt: skip
    found = session.execute(held.order_by(Project.code).limit(MOST_KNOWN)).all()
    parts = session.execute(
        select(Dataset.project_id, Dataset.code)
        .where(
            Dataset.project_id.in_([row.id for row in found]),
            Dataset.ended_at.is_(None),
            mine.where(Grant.dataset_id == Dataset.id).exists() | whole.exists(),
        )
        .order_by(Dataset.code)
        .limit(MOST_KNOWN)
    ).all()
    return [
        place
        for row in found
        for place in [
            (row.code, None),
            *((row.code, part.code) for part in parts if part.project_id == row.id),
        ]
    ]

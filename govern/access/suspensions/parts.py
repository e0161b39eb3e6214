"""The parts that a suspension is laid over, by the names that people know them by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, and_, bindparam, cast, func, select
from sqlalchemy.orm import aliased

from govern.access.clients import Client, Dataset, Project
from govern.access.suspension_tables import PeopleList, Scope, SuspensionTarget
from govern.access.suspensions.targets import Target
from govern.db import listed, planned_once
from govern.identity.subjects import Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that a suspension covers, or covered until `ended_at`."""

    id: str
    suspension_id: str
    kind: Scope
    target_id: str
    code: str
    name: str
    client: str | None
    recorded_at: datetime
    ended_at: datetime | None

    @property
    def target(self) -> Target:
        """The same, as the rule takes it."""
        return Target(self.kind, self.target_id, self.code, self.client)


def name_of_list() -> ColumnElement[str]:
    """A list of people has no name but its number; `name_of` makes words of it."""
    return cast(PeopleList.number, String)


def name_of(kind: str, name: str) -> str:
    """What something is called, by what `named` tells of it."""
    return f"{int(name):,} people" if kind == Scope.PEOPLE else name


@cache
def named() -> Select[Any]:
    """Targets with what they are called and whose they are: made once, for all kinds."""
    target, owner = SuspensionTarget, aliased(Project)

    def on(kind: Scope, column: Any) -> ColumnElement[bool]:
        return and_(target.kind == kind, column == target.target_id)

    found: Any = (
        select(
            target.id,
            target.suspension_id,
            target.kind,
            target.target_id,
            func.coalesce(
                Client.code,
                Project.code,
                Dataset.code,
                Subject.external_id,
                Organisation.name,
                PeopleList.id,
            ).label("code"),
            func.coalesce(
                Client.name,
                Project.code,
                Dataset.code,
                Subject.full_name,
                Organisation.name,
                name_of_list(),
            ).label("name"),
            func.coalesce(Client.id, Project.client_id, owner.client_id).label("client"),
            target.recorded_at,
            target.ended_at,
        )
        .select_from(target)
        .outerjoin(Client, on(Scope.CLIENT, Client.id))
        .outerjoin(Project, on(Scope.PROJECT, Project.id))
        .outerjoin(Dataset, on(Scope.DATASET, Dataset.id))
        .outerjoin(owner, owner.id == Dataset.project_id)
        .outerjoin(Subject, on(Scope.SUBJECT, Subject.id))
        .outerjoin(Organisation, on(Scope.ORGANISATION, Organisation.id))
        .outerjoin(PeopleList, on(Scope.PEOPLE, PeopleList.id))
    )
    return found  # type: ignore[no-any-return]  # so many columns have no type


_COLUMNS = len(Part.__dataclass_fields__)


def part_of(row: Any) -> Part:
    """A row of `named`, as a value."""
    values = dict(zip(Part.__dataclass_fields__, row[:_COLUMNS], strict=True))
    kind = Scope(values["kind"])
    return Part(**{**values, "kind": kind, "name": name_of(kind, values["name"])})


def whole_projects(session: OrmSession, targets: Iterable[Target]) -> dict[str, Target]:
    """The project of each dataset among some targets, by the dataset's id.

    A dataset belongs to one project, so "all that touch it" is its project as a whole: a grant of
    the project covers the dataset, and its people may know what is in it.
    """
    datasets = [item.id for item in targets if item.kind is Scope.DATASET]
    if not datasets:
        return {}
    among = listed(session, datasets)
    rows = session.execute(
        select(Dataset.id, Project.id, Project.code, Project.client_id)
        .join(Project, Project.id == Dataset.project_id)
        .join(among, among.c.value == Dataset.id)
    )
    return {row[0]: Target(Scope.PROJECT, row[1], row[2], row[3]) for row in rows}


def targets_of(session: OrmSession, suspension_id: str) -> list[Target]:
    """What a suspension covers now."""
    rows = session.execute(_present(), {"suspension": suspension_id})
    return [Target(Scope(row.kind), row.target_id, row.code, row.client) for row in rows]


@cache
def _present() -> Select[Any]:
    return planned_once(
        named()
        .where(
            SuspensionTarget.suspension_id == bindparam("suspension", type_=String()),
            SuspensionTarget.ended_at.is_(None),
        )
        .order_by(SuspensionTarget.id)
    )

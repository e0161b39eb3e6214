"""The parts that a suspension is laid over, by the names that people know them by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import aliased

from govern.access.clients import Client, Dataset, Project
from govern.access.suspension_tables import Scope, SuspensionTarget
from govern.access.suspensions.targets import Target
from govern.identity.subjects import Organisation, Subject

if TYPE_CHECKING:
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


def named() -> Select[Any]:
    """Targets with what they are called and whose they are: one statement for all kinds."""
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
                Client.code, Project.code, Dataset.code, Subject.external_id, Organisation.name
            ).label("code"),
            func.coalesce(
                Client.name, Project.code, Dataset.code, Subject.full_name, Organisation.name
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
    )
    return found  # type: ignore[no-any-return]


_COLUMNS = len(Part.__dataclass_fields__)


def part_of(row: Any) -> Part:
    """A row of `named`, as a value."""
    named = dict(zip(Part.__dataclass_fields__, row[:_COLUMNS], strict=True))
    return Part(**{**named, "kind": Scope(named["kind"])})


def targets_of(session: OrmSession, suspension_id: str) -> list[Target]:
    """What a suspension covers now."""
    rows = session.execute(
        named()
        .where(SuspensionTarget.suspension_id == suspension_id, SuspensionTarget.ended_at.is_(None))
        .order_by(SuspensionTarget.id)
    )
    return [Target(Scope(row.kind), row.target_id, row.code, row.client) for row in rows]

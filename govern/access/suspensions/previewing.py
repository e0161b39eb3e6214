"""Counting what a suspension would touch, by the query that the act's own entries use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import and_, distinct, func, null, select

from govern.access import grants, modes
from govern.access.clients import Client, Dataset, Project
from govern.access.grants import Grant
from govern.access.suspensions.targets import Target, allowed, covered
from govern.audit import log
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


LOSING_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a suspension would touch of one part.

    `names` are of a project its code, its client's code and name, and its contact; else the kind.
    """

    names: tuple[str, ...]
    grants: int
    people: int
    already_held: int


@dataclass(frozen=True)
class Losing:
    """One person for whom nothing in force would be left."""

    subject_id: str
    external_id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a suspension over some targets would touch; `digest` names the set of grants.

    `as_of` is the client log's position that was seen, when all of it is one client's.
    """

    grants: int
    people: int
    datasets: int
    already_held: int
    losing_last_project: int
    by_client: dict[str, int] = field(default_factory=dict)
    by_project: dict[str, int] = field(default_factory=dict)
    by_kind: dict[str, int] = field(default_factory=dict)
    projects: list[Share] = field(default_factory=list)
    kinds: list[Share] = field(default_factory=list)
    losing: list[Losing] = field(default_factory=list)
    as_of: int | None = None
    digest: str = ""


def preview(session: OrmSession, targets: list[Target], *, by: Principal) -> Preview:
    """Count what suspending some targets would touch, by the query that the act's entries use."""
    allowed(by, targets, permission="suspension:read")
    would_stand = and_(grants.all_of(grants.standing()), covered(targets))
    already = grants.held(modes.Effect.OBSERVE)
    owners = {item.client for item in targets}
    owner = owners.pop() if len(owners) == 1 else None
    datasets = select(func.count(Dataset.id)).where(
        Dataset.project_id.in_(grants.facts(Grant.project_id).where(would_stand))
    )
    totals = session.execute(
        grants.facts(
            func.count(Grant.id),
            func.count(distinct(Grant.subject_id)),
            func.count(Grant.id).filter(already),
            datasets.scalar_subquery(),
            log.position(owner) if owner is not None else null(),
        ).where(would_stand)
    ).one()

    def split(*columns: Any) -> list[Share]:
        rows = session.execute(
            grants.facts(
                *columns,
                func.count(Grant.id),
                func.count(distinct(Grant.subject_id)),
                func.count(Grant.id).filter(already),
            )
            .where(would_stand)
            .group_by(*columns)
            .order_by(func.count(Grant.id).desc(), *columns)
        )
        return [
            Share(names=tuple(row[:-3]), grants=row[-3], people=row[-2], already_held=row[-1])
            for row in rows
        ]

    projects = split(Project.code, Client.code, Client.name, Project.contact)
    kinds = split(Subject.kind)
    by_client: dict[str, int] = {}
    for share in projects:
        code = share.names[1]
        by_client[code] = by_client.get(code, 0) + share.grants
    losing, losing_count = _losing_last(session, would_stand)
    return Preview(
        grants=totals[0],
        people=totals[1],
        already_held=totals[2],
        datasets=totals[3],
        as_of=totals[4],
        losing_last_project=losing_count,
        losing=losing,
        by_client=dict(sorted(by_client.items(), key=lambda item: (-item[1], item[0]))),
        by_project={share.names[0]: share.grants for share in projects},
        by_kind={share.names[0]: share.grants for share in kinds},
        projects=projects,
        kinds=kinds,
        digest=_digest(session, would_stand),
    )


def _losing_last(session: OrmSession, would_stand: ColumnElement[bool]) -> tuple[list[Losing], int]:
    """People for whom nothing in force would be left: the first few by id, and how many."""
    in_force = and_(grants.all_of(grants.standing()), ~grants.held(modes.Effect.OBSERVE))
    people = grants.facts(Grant.subject_id).where(in_force, would_stand).distinct()
    keeping = grants.facts(Grant.subject_id).where(in_force, ~would_stand)
    losing = people.except_(keeping).subquery()
    rows = session.execute(
        select(Subject.id, Subject.external_id, Subject.full_name, func.count().over())
        .join(losing, losing.c.subject_id == Subject.id)
        .order_by(Subject.external_id)
        .limit(LOSING_SHOWN)
    ).all()
    return [Losing(*row[:3]) for row in rows], rows[0][3] if rows else 0


def _digest(session: OrmSession, would_stand: ColumnElement[bool]) -> str:
    """The digest that the particulars of the same set will end with: a chain for each log."""
    chains: dict[str, str] = {}
    rows = session.execute(
        grants.facts(Grant.client_id, Grant.id)
        .where(would_stand)
        .order_by(Grant.client_id, Grant.id)
        .execution_options(yield_per=5000)
    )
    for client_id, grant_id in rows:
        chains[client_id] = chain(chains.get(client_id, ""), grant_id)
    return digest_of(chains)


def chain(digest: str, grant_id: str) -> str:
    """One step of a set's digest: it can be taken up again where a crash left it."""
    return hashlib.sha256(f"{digest}{grant_id}".encode()).hexdigest()


def digest_of(chains: dict[str, str]) -> str:
    """One digest for a set over several logs."""
    lines = "".join(f"{log_id} {digest}\n" for log_id, digest in sorted(chains.items()))
    return hashlib.sha256(lines.encode()).hexdigest()

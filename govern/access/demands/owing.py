"""What one owes oneself: which factors someone is to enrol, and by when; for that person alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    String,
    and_,
    bindparam,
    case,
    false,
    literal,
    not_,
    or_,
    select,
)

from govern.access import grants, suspensions
from govern.access.clients import Client, Project
from govern.access.demand_table import Factor, FactorDemand, Kind
from govern.access.grants import Grant
from govern.clock import Utc
from govern.db import planned_once
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import (
        ColumnElement,
        CompoundSelect,
        Select,
        SQLColumnExpression,
    )
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.suspensions import OwnHold
    from govern.principal import RoleHeld


@dataclass(frozen=True, kw_only=True)
class Owed:
    """What someone is to enrol: for which projects (their codes) or roles, and by when.

    `by` None: it is demanded now.
    """

    factor: Factor
    by: datetime | None
    projects: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


def of_roles(session: OrmSession, subject_id: str, held: Iterable[RoleHeld]) -> Factor | None:
    """The strongest factor that one of these roles demands now and the person does not have."""
    names = sorted({role.role for role in held})
    if not names:
        return None
    found = session.execute(_of_roles(), {"subject": subject_id, "names": names}).scalar()
    return None if found is None else Factor(found)


def binding(
    session: OrmSession, subject_id: str, held: Iterable[RoleHeld], *, after: datetime
) -> tuple[OwnHold, Factor | None]:
    """What keeps someone from acting: `suspensions.own_hold` and `of_roles`, in one statement."""
    names = sorted({role.role for role in held})
    given = {"subject": subject_id, "after": after, "names": names}
    rows = session.execute(_binding(), given).all()
    owed = next((Factor(row.factor) for row in rows if row.factor is not None), None)
    hold = suspensions.own_hold_of((row[:3] for row in rows if row.factor is None), after=after)
    return hold, owed


@cache
def _binding() -> CompoundSelect[Any]:
    owed = _of_roles().subquery()
    no_time = literal(None, Utc())
    return planned_once(  # with each request of whoever is signed in
        suspensions.own_holds()
        .add_columns(literal(None, String()).label("factor"))
        .union_all(select(false(), no_time, no_time, owed.c.factor))
    )


@cache
def _of_roles() -> Select[str]:
    """The statement of `of_roles`, built once."""
    return (
        select(FactorDemand.factor)
        .where(
            FactorDemand.target_id.in_(bindparam("names", expanding=True)),
            FactorDemand.kind == Kind.ROLE,
            grants.in_force(FactorDemand),
            lacking(bindparam("subject", type_=Subject.id.type)),
        )
        .order_by((FactorDemand.factor == Factor.PHISHING_RESISTANT).desc())
        .limit(1)
    )


def owed(session: OrmSession, subject_id: str, held: Iterable[RoleHeld] = ()) -> list[Owed]:
    """What someone is to enrol, for their grants and the roles that they hold, the soonest first.

    For that person alone: it names their projects.
    """
    names = sorted({role.role for role in held})
    mine = (
        select(Project.code, literal(""), FactorDemand.factor, _by())
        .select_from(Grant)
        .join(Project, Project.id == Grant.project_id)
        .join(Client, Client.id == Grant.client_id)
        .join(FactorDemand, FactorDemand.target_id.in_([Grant.client_id, Grant.project_id]))
        .where(
            Grant.subject_id == subject_id, *not_over(), Project.ended_at.is_(None),
            Client.ended_at.is_(None), FactorDemand.ended_at.is_(None),
            lacking(literal(subject_id)),
        )
    )  # fmt: skip
    own = select(literal(""), FactorDemand.target_id, FactorDemand.factor, _by()).where(
        FactorDemand.target_id.in_(names), FactorDemand.kind == Kind.ROLE,
        FactorDemand.ended_at.is_(None), lacking(literal(subject_id)),
    )  # fmt: skip
    groups: dict[tuple[Factor, datetime | None], tuple[set[str], set[str]]] = defaultdict(
        lambda: (set(), set())
    )
    for project, role, factor, by in session.execute(mine.union_all(own)):
        projects, of_roles = groups[Factor(factor), by]
        projects |= {project} - {""}
        of_roles |= {role} - {""}
    found: list[Owed] = []
    told: dict[Factor, set[str]] = defaultdict(set)
    for (factor, by), (projects, of_roles) in sorted(groups.items(), key=_soonest):
        # Said once, of the soonest; a passkey is all that could be asked.
        before = told[factor] | told[Factor.PHISHING_RESISTANT]
        these, those = projects - before, of_roles - before
        told[factor] |= projects | of_roles
        if these or those:
            found.append(
                Owed(factor=factor, by=by, projects=(*sorted(these),), roles=(*sorted(those),))
            )
    return found


def _soonest(group: tuple[tuple[Factor, datetime | None], object]) -> tuple[float, Factor]:
    (factor, by), _ = group
    return by.timestamp() if by else 0, factor


def _by() -> Any:
    """When a demand begins; null once it has."""
    return case((grants.in_force(FactorDemand), None), else_=FactorDemand.starts_at)


def lacking(subject_id: SQLColumnExpression[str]) -> ColumnElement[bool]:
    """That the person does not have what a `FactorDemand` asks."""
    return or_(
        *(
            and_(FactorDemand.factor == factor, not_(grants.has(factor, subject_id)))
            for factor in Factor
        )
    )


def not_over() -> list[ColumnElement[bool]]:
    """That a grant's own window is not behind it."""
    over = {"grant_revoked", "grant_expired"}
    return [clause.test for clause in grants.open_() if clause.reason in over]

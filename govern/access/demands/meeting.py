"""Who meets a demand: in numbers and by name, before it begins and after.

Of people with grants those count whose grant is not over; a grant that is yet to begin, or that a
suspension holds, counts as well. Lists and numbers tell of what the caller may see, and nothing
else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    String,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    not_,
    select,
    union_all,
)

from govern import clock, permissions
from govern.access import grants
from govern.access.clients import Client, Project
from govern.access.demand_table import Factor, FactorDemand, Kind
from govern.access.demands.acts import Over
from govern.access.demands.owing import lacking, not_over
from govern.access.grants import Grant
from govern.access.holdings import PAGE, Page
from govern.db import Inquiry
from govern.identity import roles
from govern.identity.passwords import Password
from govern.identity.roles import RoleAssignment
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import (
        ColumnElement,
        Select,
        SQLColumnExpression,
        Subquery,
    )
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

SENTENCES: dict[Factor, str] = {
    Factor.SECOND_FACTOR: "a second factor: an authenticator app or a passkey",
    Factor.PHISHING_RESISTANT: "a passkey",
}
# Open demands, at most, that a page shows.
MOST_SHOWN = 200
# Grants or roles whose holders a page counts for each.
COUNTED = 1_000


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """How many people a demand is made of, and how many of them do not meet it yet.

    `at_least`: there are more grants than were counted.
    """

    people: int
    unmet: int
    at_least: bool = False


@dataclass(frozen=True, kw_only=True)
class Person:
    """Someone who does not meet a demand; not `activated`: they never signed in at all."""

    id: str
    external_id: str
    name: str
    email: str
    kind: str
    organisation: str
    activated: bool


@dataclass(frozen=True, kw_only=True)
class Demand:
    """An open demand, of whom it is made; `begun` once it is in force."""

    row: FactorDemand
    over: Over
    begun: bool

    @property
    def factor(self) -> Factor:
        """What is demanded."""
        return Factor(self.row.factor)


@dataclass(frozen=True, kw_only=True)
class Coming:
    """An open demand that is yet to begin: of whom it is made, from when, and its numbers."""

    id: str
    kind: Kind
    name: str
    factor: Factor
    starts_at: datetime
    numbers: Numbers


# --- demands -----------------------------------------------------------------------------------


def listed(
    session: OrmSession, *, covering: Iterable[str] | None = None, by: Principal
) -> list[Demand]:
    """Open demands that the caller may know of, those yet to begin first; `covering` some ids."""
    clients = permissions.require_some(by, "grant:read")
    query = (
        select(FactorDemand, Project.code, Client.code, grants.in_force(FactorDemand))
        .outerjoin(Project, Project.id == FactorDemand.target_id)
        .outerjoin(Client, Client.id == FactorDemand.target_id)
        .where(FactorDemand.ended_at.is_(None))
        .order_by(FactorDemand.id.desc())
        .limit(MOST_SHOWN)
    )
    if clients is not None:
        query = query.where(FactorDemand.client_id.in_(clients))
    if covering is not None:
        query = query.where(FactorDemand.target_id.in_(list(covering)))
    found = [
        Demand(
            row=row,
            over=Over(
                kind=Kind(row.kind), id=row.target_id, client=row.client_id,
                name=project or client or row.target_id,
            ),
            begun=begun,
        )
        for row, project, client, begun in session.execute(query)
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.begun, one.row.starts_at or one.row.recorded_at))


def coming(*, limit: int, by: Principal) -> Inquiry[list[Coming]]:
    """The demands that begin next, the soonest first, each with its numbers."""
    return Inquiry(_next(permissions.require_some(by, "grant:read"), limit), _coming, given={})


@lru_cache(maxsize=64)
def _next(clients: frozenset[str] | None, limit: int) -> Select[Any]:
    numbers = case(
        *((FactorDemand.kind == kind, _numbers_of(kind)) for kind in Kind),
        else_=literal("0 0 0"),
    )
    name = func.coalesce(Project.code, Client.code, FactorDemand.target_id)
    query: Any = (
        select(
            FactorDemand.id, FactorDemand.kind, name, FactorDemand.factor, FactorDemand.starts_at,
            numbers,
        )
        .outerjoin(Project, Project.id == FactorDemand.target_id)
        .outerjoin(Client, Client.id == FactorDemand.target_id)
        .where(FactorDemand.ended_at.is_(None), FactorDemand.starts_at > clock.instant())
        .order_by(FactorDemand.starts_at, FactorDemand.id)
        .limit(limit)
    )  # fmt: skip
    if clients is not None:
        query = query.where(FactorDemand.client_id.in_(clients))
    return query  # type: ignore[no-any-return]  # so many columns have no type


def _read(told: Iterable[Any], most: int | None) -> Numbers:
    people, unmet, counted = told
    if most is None or int(counted) <= most:
        return Numbers(people=int(people), unmet=int(unmet))
    return Numbers(people=min(int(people), most), unmet=min(int(unmet), most), at_least=True)


def _coming(rows: list[tuple[Any, ...]]) -> list[Coming]:
    found = [
        Coming(
            id=id_, kind=Kind(kind), name=name, factor=Factor(factor), starts_at=starts_at,
            numbers=_read(said.split(), COUNTED),
        )
        for id_, kind, name, factor, starts_at, said in rows
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.starts_at, one.id))


def _numbers_of(kind: Kind) -> ColumnElement[str]:
    """Of how many people the demand of the asking statement is made, and how many lack it: a text.

    Asked of a role, a client or a project; at its end how many grants or roles were counted.
    """
    first = _made_of(kind, FactorDemand.target_id).limit(COUNTED + 1)
    held = first.correlate(FactorDemand).subquery()
    counts = _counts(held, lacking(Subject.id))
    text_: Any = cast(counts[0], String)
    for count in counts[1:]:
        text_ += " " + cast(count, String)
    return (
        select(text_).select_from(Subject).where(_here(held)).correlate(FactorDemand)
    ).scalar_subquery()


def _made_of(kind: Kind, target: SQLColumnExpression[str] | str) -> Select[str]:
    """Of whom a demand is made, somebody with several grants or roles several times."""
    if kind is Kind.ROLE:
        return select(RoleAssignment.subject_id).where(
            roles.counts(), RoleAssignment.role == target
        )
    place = Grant.client_id if kind is Kind.CLIENT else Grant.project_id
    return select(Grant.subject_id).where(place == target, *not_over())


def _here(held: Subquery) -> ColumnElement[bool]:
    return and_(Subject.ended_at.is_(None), Subject.id.in_(select(held.c.subject_id)))


def _counts(held: Subquery, lacks: ColumnElement[bool]) -> list[ColumnElement[Any]]:
    counted = select(func.count()).select_from(held).scalar_subquery()
    return [func.count(), func.count(case((lacks, 1))), counted]


# --- who does not meet one ---------------------------------------------------------------------


def numbers(session: OrmSession, over: Over, factor: Factor, *, by: Principal) -> Numbers:
    """Count afresh whom a demand is, or would be, made of, and who does not meet it yet.

    All of them, since it is what whoever sets or ends the demand goes by.
    """
    _may_see(over, by)
    _, *counts = session.execute(_counting("", over, factor, None)).one()
    return _read(counts, None)


def measured(
    session: OrmSession, found: Iterable[Demand], *, most: int | None = None, by: Principal
) -> dict[str, Numbers]:
    """The same of several demands, by their ids, in one statement.

    Over so many (`most`) grants or roles of each, where told.
    """
    found = list(found)
    for one in found:
        _may_see(one.over, by)
    if not found:
        return {}
    each = union_all(*(_counting(one.row.id, one.over, one.factor, most) for one in found))
    return {name: _read(counts, most) for name, *counts in session.execute(each)}


def _counting(name: str, over: Over, factor: Factor, most: int | None) -> Select[Any]:
    held = _made_of(over.kind, over.id)
    if most is not None:
        held = held.limit(most + 1)
    counts = _counts(own := held.subquery(), not_(grants.has(factor, Subject.id)))
    return select(literal(name), *counts).select_from(Subject).where(_here(own))


def unmet(
    session: OrmSession,
    over: Over,
    factor: Factor,
    *,
    after: str = "",
    limit: int = PAGE,
    by: Principal,
) -> Page:
    """Who does not meet a demand yet, by external id."""
    _may_see(over, by)
    found = session.execute(
        select(
            Subject.id, Subject.external_id, Subject.full_name, Subject.email, Subject.kind,
            Organisation.name, exists().where(Password.subject_id == Subject.id),
        )
        .join(Membership, and_(Membership.subject_id == Subject.id, Membership.ended_at.is_(None)))
        .join(Organisation, Organisation.id == Membership.organisation_id)
        .where(
            _here(_made_of(over.kind, over.id).subquery()),
            not_(grants.has(factor, Subject.id)),
            Subject.external_id > after,
        )
        .order_by(Subject.external_id)
        .limit(limit + 1)
    ).all()  # fmt: skip
    rows = [
        Person(
            id=row[0], external_id=row[1], name=row[2], email=row[3], kind=row[4],
            organisation=row[5], activated=row[6],
        )
        for row in found[:limit]
    ]  # fmt: skip
    return Page(rows=rows, after=rows[-1].external_id if len(found) > limit else None)


def _may_see(over: Over, by: Principal) -> None:
    permissions.require(by, "grant:read", client=over.client)

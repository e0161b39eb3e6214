"""The difference that letting people back in makes: who returns, and who does not, and why not.

Two readings of the one rule are held against each other: what stood and was covered at the instant
of the opening, and what stands now. Of the grants that the opening touched, and of those whose
window opened meanwhile, each is in one group: it returns; it expired, was revoked or its person was
offboarded; or another suspension holds it. What was let out before is in none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    String,
    and_,
    bindparam,
    case,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
)

from govern.access import grants
from govern.access.clients import Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant, Moment, Supposing
from govern.access.modes import Effect
from govern.access.requests import RequestItem
from govern.access.suspension_tables import Scope
from govern.access.suspensions import reading
from govern.access.suspensions.admission import Way, back, goes, returning_digest, way
from govern.access.suspensions.keeping import kept
from govern.access.suspensions.reading import Standing
from govern.access.suspensions.targets import affected, covered
from govern.clock import Utc
from govern.db import listed
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

# Clauses are built once, and bound to the act that they are asked about when they are asked.
_OF, _OPENED_AT = bindparam("of", type_=String()), bindparam("opened_at", type_=Utc())
_OPENING = Moment(at=_OPENED_AT)

GROUPS = ("returns", "expired", "revoked", "offboarded", "held_elsewhere")
# Which group a grant falls into by the first clause of the rule that it fails now.
_FAILING = {
    "subject_offboarded": "offboarded",
    "client_ended": "revoked",
    "project_ended": "revoked",
    "grant_revoked": "revoked",
    "grant_not_started": None,
    "grant_expired": "expired",
}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many grants are in each group; `returns_people` are those to whom something returns."""

    returns: int = 0
    returns_people: int = 0
    expired: int = 0
    revoked: int = 0
    offboarded: int = 0
    held_elsewhere: int = 0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One grant of a group. `since` is when it was revoked, its person left, or it expired."""

    grant_id: str
    subject_id: str
    external_id: str
    name: str
    project: str
    entitlement: str
    ends_at: datetime
    since: datetime | None
    held_by: str | None


def counts(
    session: OrmSession, standing: Standing | None, supposing: Supposing, how: Way | None = None
) -> Counts:
    """Count each group, in one statement; `standing` is None for a person who moves.

    `how` is the act's `way`, where the caller has asked for it already.
    """
    by_way = how or way(session, supposing)
    if standing is None or not _is_lift(standing, supposing):
        return _counted(session, standing, supposing, by_way)
    return kept(
        session, standing, ("counts", by_way),
        lambda: _counted(session, standing, supposing, by_way),
    )  # fmt: skip


def digest(session: OrmSession, standing: Standing, how: Way | None = None) -> str:
    """The digest of what a lift would bring back now: see `admission.returning_digest`."""
    by_way = how or way(session, Supposing(suspension=standing.suspension.id))
    return kept(
        session, standing, ("digest", by_way),
        lambda: returning_digest(session, standing.suspension, by_way),
    )  # fmt: skip


def _counted(
    session: OrmSession, standing: Standing | None, supposing: Supposing, how: Way
) -> Counts:
    outlined, values = _bound(standing, supposing)
    interest = _of_interest(standing, outlined)
    returns = back(outlined, how).where(interest).subquery()
    group = _group(outlined, how).label("part")
    rest = (
        grants.facts(group)
        .where(interest, _stays(outlined, how), _touched(standing, outlined))
        .subquery()
    )
    rows = session.execute(
        union_all(
            select(literal("returns"), func.count(), func.count(returns.c.subject_id.distinct())),
            select(rest.c.part, func.count(), literal(0))
            .where(rest.c.part.is_not(None))
            .group_by(rest.c.part),
        ),
        values,
    ).all()
    people = sum(row[2] for row in rows)
    return Counts(**{part: number for part, number, _ in rows}, returns_people=people)


def page(
    session: OrmSession,
    standing: Standing | None,
    supposing: Supposing,
    *,
    group: str,
    after: str = "",
    limit: int = 25,
    how: Way | None = None,
    by: Principal,
) -> tuple[list[Line], str | None, dict[str, list[str]]]:
    """One page of a group by grant id, where the next begins, and the titles of who else holds."""
    instant = Moment().instant
    how = how or way(session, supposing)
    outlined, values = _bound(standing, supposing)
    query = grants.facts(
        Grant.id, Grant.subject_id, Subject.external_id, Subject.full_name, Project.code,
        Dataset.code, Entitlement.name, Grant.ends_at,
        case(
            (Subject.ended_at.is_not(None), Subject.ended_at),
            (Grant.ended_at.is_not(None), Grant.ended_at),
            (Grant.ends_at <= instant, Grant.ends_at),
            else_=null(),
        ),
        _holder(outlined, how) if group == "held_elsewhere" else null(),
    )  # fmt: skip
    if group == "returns":
        returns = back(outlined, how).where(_of_interest(standing, outlined), Grant.id > after)
        first = returns.order_by(Grant.id).limit(limit + 1).subquery()
        query = query.join(first, first.c.id == Grant.id)
    else:
        stays = grants.facts(Grant.id).where(
            _of_interest(standing, outlined),
            _stays(outlined, how),
            _touched(standing, outlined),
            _group(outlined, how) == literal(group),
        )
        stays = stays.where(Grant.id > after).order_by(Grant.id).limit(limit + 1)

        def find() -> list[str]:
            return list(session.execute(stays, values).scalars())

        if after or standing is None or not _is_lift(standing, supposing):
            ids = find()
        else:  # the first ones may be far apart, and are looked at most
            ids = kept(session, standing, ("first", group, limit, how), find)
        if not ids:
            return [], None, {}
        query = query.where(Grant.id.in_(select(listed(session, ids).c.value)))
    query = (
        query.join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .where(Grant.id > after)
        .order_by(Grant.id)
        .limit(limit + 1)
    )
    rows = session.execute(query, values).all()
    lines = [
        Line(
            grant_id=row[0], subject_id=row[1], external_id=row[2], name=row[3],
            project=f"{row[4]} / {row[5]}" if row[5] else row[4], entitlement=row[6],
            ends_at=row[7], since=row[8], held_by=row[9],
        )
        for row in rows[:limit]
    ]  # fmt: skip
    holders = reading.titles(session, [line.held_by for line in lines if line.held_by], by=by)
    return lines, lines[-1].grant_id if len(rows) > limit else None, holders


def _is_lift(standing: Standing, supposing: Supposing) -> bool:
    return supposing == Supposing(suspension=standing.suspension.id)


def _bound(standing: Standing | None, supposing: Supposing) -> tuple[Supposing, dict[str, Any]]:
    """The act in outline, of which clauses are kept, and what to bind when they are asked."""
    outlined, values = supposing.outline()
    if standing is not None:
        opened = {_OPENED_AT.key: standing.suspension.recorded_at, _OF.key: standing.suspension.id}
        values |= opened
    return outlined, values


def _of_interest(standing: Standing | None, supposing: Supposing) -> ColumnElement[bool]:
    """Grants that the act could concern: what one may see of all that it ever covered."""
    if standing is None:
        return Grant.subject_id == supposing.moved
    parts = [part.target for part in standing.parts]
    now = covered(parts)
    # Only a firm covers others than then; told once, a client's grants come in the order of a page.
    then = [part for part in parts if part.kind is Scope.ORGANISATION]
    return or_(now, covered(then, _OPENING)) if then else now


@lru_cache(maxsize=64)
def _stays(supposing: Supposing, how: Way) -> ColumnElement[bool]:
    """What does not come back, for the rule fails it still, or something else holds it."""
    return not_(and_(grants.all_of(grants.standing()), goes(supposing, how)))


@lru_cache(maxsize=64)
def _group(supposing: Supposing, how: Way) -> ColumnElement[str | None]:
    """Why a grant that was touched does not return, or NULL: by the rule's clauses."""
    failing = [
        (not_(clause.test), _FAILING[clause.reason])
        for clause in grants.standing()
        if _FAILING[clause.reason] is not None
    ]
    held = and_(grants.all_of(grants.standing()), not_(goes(supposing, how)))
    return case(*failing, (held, "held_elsewhere"), else_=null())


def _touched(standing: Standing | None, supposing: Supposing) -> ColumnElement[bool]:
    """What stood and was covered at the opening, as far as the act names it."""
    if standing is None:
        return _named(supposing)
    return and_(_stood(), _named(supposing))


@cache
def _stood() -> ColumnElement[bool]:
    return and_(
        _OPENING.known(Grant),
        grants.all_of(grants.standing(_OPENING)),
        affected(_OF, _OPENING),
    )


@lru_cache(maxsize=64)
def _named(supposing: Supposing) -> ColumnElement[bool]:
    """The grants that the act is about: a release names some, and narrowing targets."""
    if supposing.moved is not None:
        return Grant.subject_id == supposing.moved
    if supposing.released is not None:
        items = select(RequestItem.item_id).where(RequestItem.request_id == supposing.released)
        whole = select(Dataset.project_id).where(Dataset.id.in_(items))
        return or_(
            supposing.lets_go(), and_(Grant.dataset_id.is_(None), Grant.project_id.in_(whole))
        )
    if supposing.narrowed is not None:
        return affected(
            _OF,
            _OPENING,
            only=select(RequestItem.item_id).where(RequestItem.request_id == supposing.narrowed),
        )
    return Grant.id.is_not(None)


def _holder(supposing: Supposing, how: Way) -> ColumnElement[str | None]:
    """Another suspension that holds a grant: the one with the lowest id of the first scope."""
    holders = []
    for clause in grants.unheld(how.effect or Effect.CHANGE, supposing=supposing):
        assert clause.holding is not None  # noqa: S101 - every clause of `unheld` has one
        mode = clause.holding.selected_columns[0].table
        holders.append(
            clause.holding.with_only_columns(func.min(mode.c.suspension_id)).scalar_subquery()
        )
    return func.coalesce(*holders)

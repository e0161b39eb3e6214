"""The difference that letting people back in makes: who returns, and who does not, and why not.

Two readings of the one rule are held against each other: what stood and was covered at the instant
of the opening, and what stands now. Of the grants that the opening touched, and of those whose
window opened meanwhile, each is in one group: it returns; it expired, was revoked or its person was
offboarded; or another suspension holds it. What was let out before is in none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, literal, not_, null, or_, select, union, union_all

from govern.access import grants
from govern.access.clients import Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant, Supposing
from govern.access.modes import Effect
from govern.access.requests import RequestItem
from govern.access.suspension_tables import Scope
from govern.access.suspensions import meanwhile, reading
from govern.access.suspensions.admission import Way, back, chained_digest, goes, way
from govern.access.suspensions.keeping import kept
from govern.access.suspensions.parts import targets_of
from govern.access.suspensions.reading import Standing
from govern.access.suspensions.targets import affected, covered
from govern.db import among_few, listed, planned_once
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.suspension_tables import Suspension
    from govern.access.suspensions.meanwhile import Meanwhile
    from govern.access.suspensions.targets import Target
    from govern.principal import Principal

_ONE_BY_ONE = 8  # parts that are looked through one after the other
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
    row, over = standing.suspension, _targets(standing)
    known = _since(session, row, over, by_way)
    if known is not None:
        then, now = _again(session, row, over, by_way, known)
        back_now = now.pop("returns", {})
        return Counts(
            returns=known.grants - len(then) + len(back_now),
            returns_people=known.people - len({*then.values()}) + len({*back_now.values()}),
            **{group: len(held) for group, held in now.items()},
        )
    return kept(
        session, standing, ("counts", by_way),
        lambda: _counted(session, standing, supposing, by_way),
    )  # fmt: skip


def digest(session: OrmSession, standing: Standing, how: Way | None = None) -> str:
    """The same of what is shown of a suspension; kept where it is made of all of the grants."""
    row, over = standing.suspension, _targets(standing)
    by_way = how or way(session, Supposing(suspension=row.id))
    known = _since(session, row, over, by_way)
    if known is not None:
        return _digest_since(known, *_again(session, row, over, by_way, known))
    return kept(
        session, standing, ("digest", by_way),
        lambda: returning_digest(session, row, by_way),
    )  # fmt: skip


def returning_digest(session: OrmSession, suspension: Suspension, how: Way | None = None) -> str:
    """The digest of the grants that a lift would bring back now: it names the list shown.

    It is made of the opening's and of what differs from that by now, where little does; else of all
    of them. `how` is its `way`, where the caller has asked for it already.
    """
    how = how or way(session, Supposing(suspension=suspension.id))
    over = targets_of(session, suspension.id)
    known = _since(session, suspension, over, how)
    if known is None:
        return chained_digest(session, suspension, over, how)
    return _digest_since(known, *_again(session, suspension, over, how, known))


def is_shown(session: OrmSession, suspension: Suspension, digest: str) -> bool:
    """Whether a digest names the grants that a lift would bring back now, however it was made.

    Who looked before the opening's people were counted has that of all of them.
    """
    how = way(session, Supposing(suspension=suspension.id))
    if digest == returning_digest(session, suspension, how):
        return True
    return digest == chained_digest(session, suspension, targets_of(session, suspension.id), how)


def _digest_since(known: Meanwhile, then: dict[str, str], now: dict[str, dict[str, str]]) -> str:
    returns = now.get("returns", {})
    gone, more = sorted(then.keys() - returns.keys()), sorted(returns.keys() - then.keys())
    lines = [known.digest, *(f"-{one}" for one in gone), *(f"+{one}" for one in more)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _targets(standing: Standing) -> list[Target]:
    return [part.target for part in standing.parts]


def _since(
    session: OrmSession, suspension: Suspension, over: Sequence[Target], how: Way
) -> Meanwhile | None:
    """What was counted at the opening and what changed since, if that tells what a lift does."""
    if how.effect is None:
        return None
    return meanwhile.since(session, suspension, over, how.others)


def _again(
    session: OrmSession,
    suspension: Suspension,
    over: Sequence[Target],
    how: Way,
    known: Meanwhile,
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Of whoever changed: what the opening touched, and what is in which group now.

    Each grant with its person. Asked once in a snapshot.
    """
    if not known.changed:
        return {}, {}
    seen = session.info.setdefault("govern_again", {})
    if (suspension.id, how) not in seen:
        outlined, values = _bound(suspension, Supposing(suspension=suspension.id))
        theirs = _changed(session, known)
        interest = and_(theirs, _of_interest(over, outlined))
        then = grants.facts(
            literal("then"), Grant.id, Grant.subject_id, moment=meanwhile.OPENING
        ).where(interest, meanwhile.stood())
        returns = back(outlined, how).where(interest).subquery()
        rest = grants.facts(_group(outlined, how).label("part"), Grant.id, Grant.subject_id)
        rest = rest.where(interest, _stays(outlined, how), meanwhile.stood())
        parts: dict[str | None, dict[str, str]] = {}
        asked = union_all(then, select(literal("returns"), *returns.c), rest)
        for part, id_, subject_id in session.execute(planned_once(asked), values):
            parts.setdefault(part, {})[id_] = subject_id
        parts.pop(None, None)
        seen[suspension.id, how] = parts.pop("then", {}), parts
    found: tuple[dict[str, str], dict[str, dict[str, str]]] = seen[suspension.id, how]
    return found[0], dict(found[1])


def _changed(session: OrmSession, known: Meanwhile) -> ColumnElement[bool]:
    return among_few(session, Grant.subject_id, select(listed(session, known.changed).c.value))


def _counted(
    session: OrmSession, standing: Standing | None, supposing: Supposing, how: Way
) -> Counts:
    outlined, values = _bound(standing.suspension if standing else None, supposing)
    interest = _of_interest(_targets(standing) if standing else None, outlined)
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
    instant = grants.NOW.instant
    how = how or way(session, supposing)
    over = _targets(standing) if standing else None
    outlined, values = _bound(standing.suspension if standing else None, supposing)
    lift = standing is not None and _is_lift(standing, supposing)
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
        # Of each part by itself: then its grants come in the order of an index, and few are read.
        arms = [[one] for one in over] if over and len(over) <= _ONE_BY_ONE else [over]
        returns = back(outlined, how).where(Grant.id > after).order_by(Grant.id).limit(limit + 1)
        first = union(
            *(select(returns.where(_of_interest(arm, outlined)).subquery().c.id) for arm in arms)
        ).subquery()
        query = query.where(among_few(session, Grant.id, select(first.c.id)))
    else:
        stays = grants.facts(Grant.id).where(
            _of_interest(over, outlined),
            _stays(outlined, how),
            _touched(standing, outlined),
            _group(outlined, how) == literal(group),
        )
        known = None
        if standing is not None and over and lift:
            known = _since(session, standing.suspension, over, how)
        if known is not None:
            stays = stays.where(_changed(session, known))
        stays = stays.where(Grant.id > after).order_by(Grant.id).limit(limit + 1)

        def find() -> list[str]:
            return list(session.execute(stays, values).scalars())

        if after or standing is None or not lift or known is not None:
            ids = find()
        else:  # the first ones may be far apart, and are looked at most
            ids = kept(session, standing, ("first", group, limit, how), find)
        if not ids:
            return [], None, {}
        query = query.where(among_few(session, Grant.id, select(listed(session, ids).c.value)))
    query = (
        query.join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .where(Grant.id > after)
        .order_by(Grant.id)
        .limit(limit + 1)
    )
    if group != "returns":  # all are named: nothing is walked to
        query = planned_once(query)
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


def _bound(suspension: Suspension | None, supposing: Supposing) -> tuple[Supposing, dict[str, Any]]:
    """The act in outline, of which clauses are kept, and what to bind when they are asked."""
    outlined, values = supposing.outline()
    if suspension is not None:
        values |= meanwhile.bound(suspension)
    return outlined, values


def _of_interest(over: Sequence[Target] | None, supposing: Supposing) -> ColumnElement[bool]:
    """Grants that the act could concern: what one may see of all that it ever covered."""
    if over is None:
        return Grant.subject_id == supposing.moved
    now = covered(over)
    # Only a firm covers others than then; told once, a client's grants come in the order of a page.
    then = [part for part in over if part.kind is Scope.ORGANISATION]
    return or_(now, covered(then, meanwhile.OPENING)) if then else now


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
    return and_(meanwhile.stood(), _named(supposing))


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
            meanwhile.OF,
            meanwhile.OPENING,
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

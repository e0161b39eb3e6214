"""What an act touched: its grants in order of their ids, found again at any later time.

The set is a function of the act's instant. It is read some thousands at a time, in a snapshot of
its own and outside of any lock, and comes as entries that want nothing but their place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Integer,
    String,
    and_,
    bindparam,
    distinct,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    union,
)

from govern import clock
from govern.access import grants, modes
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect
from govern.access.suspension_tables import (
    Particulars,
    Scope,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.access.suspensions.previewing import chain_of
from govern.access.suspensions.targets import affected
from govern.audit import EventType, leaf, log
from govern.clock import Utc
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, CompoundSelect, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.grants import SomeId

# Grants found by one statement: few at first, so that writing begins soon; then ever more, for it
# takes a while to plan.
FIRST, MOST = 2500, 10_000
# Rows read in one go.
_PART = 1000

_AT, _BEFORE = bindparam("at", type_=Utc()), bindparam("before", type_=Utc())
_SUSPENSION, _CLIENT = bindparam("suspension", type_=String()), bindparam("client", type_=String())
_CURSOR, _COUNT = bindparam("cursor", type_=String()), bindparam("count", type_=Integer())
_THEN, _JUST_BEFORE = Moment(at=_AT), Moment(at=_BEFORE)


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """The next grants of a task in order of their ids, and all of their entries but the place.

    `digests` are the set's before the first of them and after each, `salts` those of the entries,
    drawn while no lock is held. When the set has no more, `opened` is the place of the entry that
    began it.
    """

    task: str
    next: Select[Any]
    ids: list[str]
    alike: list[tuple[leaf.Form, tuple[str, ...]]]
    salts: list[str]
    digests: list[str]
    opened: int | None


def look_ahead(
    session: OrmSession, task: Particulars, *, after: Ahead | None = None, most: int = MOST
) -> Ahead:
    """At most so many of the next grants that a task has to write, or of those after others."""
    if after is None:
        count = min(most, FIRST)
        wanted, last, digest = _next(task.event, _kinds(session, task)), task.cursor, task.digest
    else:
        wanted, last, digest = after.next, after.ids[-1], after.digests[-1]
        count = min(most, 2 * len(after.ids))
    # By the connection: what the ORM does with each row would cost as much as to find it.
    result = session.connection().execute(
        wanted,
        _bound(task) | {_CLIENT.key: task.log_id, _CURSOR.key: last, _COUNT.key: count},
    )
    # A part at a time, so that those who answer have their turn between.
    rows = [row for part in result.partitions(_PART) for row in part]
    ids = [row[0] for row in rows]
    return Ahead(
        task=task.id,
        next=wanted,
        ids=ids,
        alike=_alike(task, rows),
        salts=leaf.salts(len(ids)),
        digests=[digest, *chain_of(digest, ids)],
        opened=log.place_of(session, task.log_id, task.as_at) if len(rows) < count else None,
    )


def count_next(session: OrmSession, task: Particulars, last: str, most: int) -> tuple[int, str]:
    """How many of at most so many grants are behind one of them, and the last of these."""
    behind = _next(task.event, _kinds(session, task)).subquery()
    row = (
        session.connection()
        .execute(
            select(func.count(), func.max(behind.c.id)),
            _bound(task) | {_CLIENT.key: task.log_id, _CURSOR.key: last, _COUNT.key: most},
        )
        .one()
    )
    return row[0], row[1] or last


@dataclass(frozen=True)
class _Kinds:
    """The kinds of scope that have to be looked at to find what an act touched.

    `own` are those of its suspension's targets, `holding` those by which a grant of the client may
    have been held before, `released` those that were let out of the suspension, and `freed` those
    that were let out of others over the whole client. To look at others, of which there are none,
    would take longer than all the rest.
    """

    own: frozenset[Scope]
    holding: frozenset[Scope]
    released: frozenset[Scope]
    freed: frozenset[Scope]


def _kinds(session: OrmSession, task: Particulars) -> _Kinds:
    found: tuple[set[Scope], ...] = set(), set(), set(), set()
    bound = _bound(task) | {_CLIENT.key: task.log_id}
    for place, kind in session.connection().execute(_any(), bound):
        found[place].add(Scope(kind))
    return _Kinds(*map(frozenset, found))


@cache
def _any() -> CompoundSelect[int, str]:
    """The kinds of `_Kinds`, each with the place of its set there."""
    own = select(literal(0), SuspensionTarget.kind).where(
        SuspensionTarget.suspension_id == _SUSPENSION
    )
    holding = (
        select(literal(1), SuspensionTarget.kind)
        .join(SuspensionMode, SuspensionMode.suspension_id == SuspensionTarget.suspension_id)
        .where(
            _JUST_BEFORE.stands(SuspensionTarget),
            _JUST_BEFORE.stands(SuspensionMode),
            SuspensionMode.mode.in_(modes.stopping(Effect.OBSERVE)),
            or_(SuspensionTarget.kind != Scope.CLIENT, SuspensionTarget.target_id == _CLIENT),
        )
    )
    released = select(literal(2), SuspensionRelease.kind).where(
        SuspensionRelease.suspension_id == _SUSPENSION, _THEN.stands(SuspensionRelease)
    )
    freed = (
        select(literal(3), SuspensionRelease.kind)
        .join(SuspensionTarget, SuspensionTarget.suspension_id == SuspensionRelease.suspension_id)
        .where(
            _JUST_BEFORE.stands(SuspensionRelease),
            _JUST_BEFORE.stands(SuspensionTarget),
            SuspensionTarget.target_id == _CLIENT,
        )
    )
    return union(own, holding, released, freed)


@lru_cache(maxsize=64)
def _next(event: str, kinds: _Kinds) -> Select[Any]:
    """The next grants that an act touched: made once, for that costs more than to ask it."""
    already: ColumnElement[bool] = false()
    if event != EventType.GRANT_RESUMED and Scope.CLIENT in kinds.holding and not kinds.freed:
        already = true()  # so each is, without a look at it
    elif event != EventType.GRANT_RESUMED:
        unheld = zip(Scope, grants.unheld(Effect.OBSERVE, _JUST_BEFORE), strict=True)
        free = (clause.test for kind, clause in unheld if kind in kinds.holding)
        already = not_(and_(true(), *free))
    return (
        grants.facts(
            Grant.id,
            Grant.subject_id,
            Grant.project_id,
            Grant.dataset_id,
            already.label("already"),
            moment=_THEN,
        )
        .where(
            Grant.client_id == _CLIENT,
            Grant.id > _CURSOR,
            touched(
                event, _SUSPENSION, _THEN, _JUST_BEFORE, kinds=kinds.own, released=kinds.released
            ),
        )
        .order_by(Grant.id)
        .limit(_COUNT)
    )


def touched(
    event: str,
    suspension: SomeId,
    at: Moment,
    before: Moment,
    *,
    kinds: Iterable[Scope] = Scope,
    released: Iterable[Scope] = Scope,
) -> ColumnElement[bool]:
    """Which grants an act touched: what it covers, or, when it let in, what it let in."""
    stood = grants.all_of(grants.standing(at))
    if event != EventType.GRANT_RESUMED:
        return and_(stood, affected(suspension, at, kinds, released=released))
    return and_(
        stood,
        or_(
            *(
                and_(grants.held(effect, before), not_(grants.held(effect, at)))
                for effect in (Effect.OBSERVE, Effect.CHANGE)
            )
        ),
    )


def _alike(task: Particulars, rows: Sequence[Any]) -> list[tuple[leaf.Form, tuple[str, ...]]]:
    """The entries of some grants: of a project or a dataset, held already or not."""
    whole, part = (
        [
            leaf.Form(
                log=task.log_id,
                type=task.event,
                actor=SYSTEM.id,
                refs={"client": task.log_id, "suspension": task.suspension_id},
                differing=differing,
                data=mode | already,
            )
            for already in ({}, {"already_held": True})
        ]
        for mode in ({"mode": task.mode} if task.mode else {},)
        for differing in (
            ("grant", "project", "subject"),
            ("dataset", "grant", "project", "subject"),
        )
    )
    return [
        (whole[already], (grant, project, subject))
        if dataset is None
        else (part[already], (dataset, grant, project, subject))
        for grant, subject, project, dataset, already in rows
    ]


def _bound(task: Particulars) -> dict[str, Any]:
    """What the kept statements are to be told of a task's act."""
    return {
        _AT.key: task.as_at,
        _BEFORE.key: task.as_at - clock.TICK,
        _SUSPENSION.key: task.suspension_id,
    }


def remaining(task: Particulars, *, most: int | None = None) -> Select[Any]:
    """A statement of a task's id and how many of its grants are behind its cursor.

    At `most` so many, where told: then no more of them are looked at.
    """
    at, before = Moment.past(task.as_at), Moment.past(task.as_at - clock.TICK)
    behind = (
        Grant.client_id == task.log_id,
        Grant.id > task.cursor,
        touched(task.event, task.suspension_id, at, before),
    )
    if most is None:
        return grants.facts(literal(task.id), func.count(Grant.id), moment=at).where(*behind)
    first = grants.facts(Grant.id, moment=at).where(*behind).limit(most).subquery()
    columns: tuple[Any, ...] = (literal(task.id), func.count())
    return select(*columns).select_from(first)


def counts(session: OrmSession, suspension_id: str) -> tuple[int, int]:
    """Grants and people that the latest act on a suspension touched, by the rule at its instant."""
    tasks = (
        session.execute(
            select(Particulars)
            .where(Particulars.suspension_id == suspension_id)
            .order_by(Particulars.as_at.desc())
        )
        .scalars()
        .all()
    )
    if not tasks:
        return 0, 0
    row = session.execute(_counts(tasks[0].event), _bound(tasks[0])).one()
    return row[0], row[1]


@lru_cache(maxsize=16)
def _counts(event: str) -> Select[int, int]:
    logs = select(Particulars.log_id).where(
        Particulars.suspension_id == _SUSPENSION, Particulars.as_at == _AT
    )
    numbers = func.count(Grant.id), func.count(distinct(Grant.subject_id))
    return grants.facts(*numbers, moment=_THEN).where(
        Grant.client_id.in_(logs), touched(event, _SUSPENSION, _THEN, _JUST_BEFORE)
    )

"""Particulars: after the one act, an entry for each grant that it touched, each exactly once.

The set is a function of the act's instant, so it can be recomputed at any later time. Entries go
out in chunks; each chunk moves the cursor in the same transaction, so a crash loses nothing and
doubles nothing, and no transaction holds a log's head for long.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
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
    update,
)

from govern import clock
from govern.access import grants, modes
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect
from govern.access.suspension_tables import (
    Particulars,
    Scope,
    SuspensionMode,
    SuspensionTarget,
)
from govern.access.suspensions.pacing import Pace
from govern.access.suspensions.previewing import chain_of, digest_of
from govern.access.suspensions.targets import affected
from govern.audit import EventType, leaf, log
from govern.audit.record import Line, append_alike, append_many
from govern.clock import Utc
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.grants import SomeId
    from govern.db import Database, Session

# Grants found by one statement, outside of any lock, while those before are written: few at first,
# so that writing begins soon; then many, for to plan such a statement takes as long as to find
# some.
FIRST, AHEAD = 2500, 10_000
# Seconds after which a set is long enough for who watches to be told how long: to count it takes as
# long as to find it.
LONG = 5.0
# Entries of one transaction: it holds the log's head for some 30 ms; SQLite, whose one writer it
# is, takes half as many in that time.
CHUNK = 3000
REHEARSED = 250
PART = 1000


_AT, _BEFORE = bindparam("at", type_=Utc()), bindparam("before", type_=Utc())
_SUSPENSION, _CLIENT = bindparam("suspension", type_=String()), bindparam("client", type_=String())
_CURSOR, _COUNT = bindparam("cursor", type_=String()), bindparam("count", type_=Integer())
_THEN, _JUST_BEFORE = Moment(at=_AT), Moment(at=_BEFORE)


@dataclass(frozen=True, kw_only=True)
class _Ahead:
    """The next grants of a task in order of their ids, and all of their entries but the place.

    `digests` are the set's before the first of them and after each. When the set has no more,
    `opened` is the place of the entry that began it.
    """

    task: str
    next: Select[Any]
    ids: list[str]
    alike: list[tuple[leaf.Form, tuple[str, ...]]]
    digests: list[str]
    opened: int | None


def write(
    database: Database,
    *,
    suspension: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write all outstanding particulars (of one suspension, or of all); returns how many.

    May run in several processes at once, which then write in turn. A task that fails keeps no other
    from being written; what stopped it is raised afterwards.
    """
    if not _owed(database, suspension):
        return 0
    total, failed = 0, dict[str, Exception]()
    pace = Pace(database, CHUNK)
    with ThreadPoolExecutor(2) as meanwhile:
        while (task_id := _oldest(database, suspension, failed)) is not None:
            chunks = _written(database, task_id, pace, meanwhile)
            while True:
                try:
                    written = next(chunks, None)
                except Exception as error:  # noqa: BLE001 - whatever it is, others are owed too
                    failed[task_id] = error
                    break
                if written is None:
                    break
                total += written
                if progress is not None:
                    progress(written)
    if failed:
        raise next(iter(failed.values()))
    return total


def _written(
    database: Database, task_id: str, pace: Pace, meanwhile: ThreadPoolExecutor
) -> Iterator[int]:
    """Write a task's entries, chunk by chunk, and tell of each how many it has."""
    began, counting = time.monotonic(), None
    ahead = _look_ahead(database, task_id)
    while ahead is not None:
        following = None
        if ahead.opened is None:
            following = meanwhile.submit(_look_ahead, database, task_id, after=ahead)
            if counting is None and time.monotonic() - began >= LONG:
                counting = meanwhile.submit(_count, database, task_id)
        more = True
        while more:
            with pace.kept() as size:
                written, more = database.transaction(partial(_chunk, ahead=ahead, size=size))
            yield written
        ahead = following.result() if following else None
    if counting is not None:
        counting.result()


def _owed(database: Database, suspension: str | None) -> bool:
    """Whether anything is: asked many times a second, without a transaction."""
    with database.asking() as connection:
        return bool(connection.execute(select(_outstanding(suspension).exists())).scalar())


def _oldest(database: Database, suspension: str | None, but: Iterable[str]) -> str | None:
    """The next task to write; which may be one that another process is at."""
    query = _outstanding(suspension).where(Particulars.id.not_in(list(but)))
    with database.asking() as connection:
        return connection.execute(query.with_only_columns(Particulars.id)).scalar()


def _count(database: Database, task_id: str) -> None:
    """Note how large a task's set is, so that who watches need not count it again and again."""
    with database.reading() as session:
        task = session.get_one(Particulars, task_id)
        if task.total is not None:
            return
        total = task.written + session.execute(remaining(task)).one()[1]
    size = update(Particulars).where(Particulars.id == task_id).values(total=total)
    database.transaction(lambda session: session.execute(size))


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


def _bound(task: Particulars) -> dict[str, Any]:
    """What the kept statements are to be told of a task's act."""
    return {
        _AT.key: task.as_at,
        _BEFORE.key: task.as_at - clock.TICK,
        _SUSPENSION.key: task.suspension_id,
    }


def _look_ahead(database: Database, task_id: str, *, after: _Ahead | None = None) -> _Ahead | None:
    """Find the next grants of a task, or those after others; None when all is written."""
    with database.reading() as session:
        task = session.get_one(Particulars, task_id)
        if task.finished_at is not None:
            return None
        if after is None:
            wanted = _next(task.event, _kinds(session, task), _holding(session, task))
            return _find(session, task, wanted, FIRST, after=task.cursor, digest=task.digest)
        count = min(AHEAD, 2 * len(after.ids))
        last, digest = after.ids[-1], after.digests[-1]
        return _find(session, task, after.next, count, after=last, digest=digest)


def _find(
    session: OrmSession,
    task: Particulars,
    wanted: Select[Any],
    count: int,
    *,
    after: str,
    digest: str,
) -> _Ahead:
    """The next grants of a task after one of them, up to which its set has this digest."""
    # By the connection: what the ORM does with each row would cost as much as to find it.
    result = session.connection().execute(
        wanted,
        _bound(task) | {_CLIENT.key: task.log_id, _CURSOR.key: after, _COUNT.key: count},
    )
    # A part at a time, so that those who answer have their turn between.
    rows = [row for part in result.partitions(PART) for row in part]
    ids = [row[0] for row in rows]
    return _Ahead(
        task=task.id,
        next=wanted,
        ids=ids,
        alike=_alike(task, rows),
        digests=[digest, *chain_of(digest, ids)],
        opened=log.place_of(session, task.log_id, task.as_at) if len(rows) < count else None,
    )


def rehearse(session: Session, suspension: str) -> tuple[int, float]:
    """Write the first few entries of a suspension that will not be committed.

    Returns how many, and the seconds that each took, to be found and to be written. Fewer than a
    chunk, since what is only rehearsed is to hold up others for less than what is meant; on SQLite
    they are found under the one writer's lock, so no more are looked for.
    """
    task = session.execute(_outstanding(suspension)).scalar_one_or_none()
    if task is None:
        return 0, 0.0
    began = time.perf_counter()
    count = FIRST if session.database.is_postgresql else REHEARSED
    wanted = _next(task.event, _kinds(session, task), _holding(session, task))
    ahead = replace(_find(session, task, wanted, count, after="", digest=""), opened=None)
    found = time.perf_counter()
    written, _ = _chunk(session, ahead, REHEARSED)
    if not written:
        return 0, 0.0
    took = (found - began) / len(ahead.ids) + (time.perf_counter() - found) / written
    return written, took


def _chunk(session: Session, ahead: _Ahead, size: int) -> tuple[int, bool]:
    """Write the next chunk of what was found; how many, and whether more of that is left.

    The set is the same whoever finds it, so what another process wrote meanwhile is passed over.
    """
    task = session.execute(
        select(Particulars).where(Particulars.id == ahead.task).with_for_update()
    ).scalar_one()
    if task.finished_at is not None:
        return 0, False
    begin = bisect_right(ahead.ids, task.cursor)
    end = min(begin + size, len(ahead.ids))
    if begin < end:
        append_alike(session, task.log_id, ahead.alike[begin:end])
        task.digest = ahead.digests[end]
        task.cursor = ahead.ids[end - 1]
        task.written += end - begin
    more = end < len(ahead.ids)
    if ahead.opened is not None and not more:
        _finish(session, task, ahead.opened)
    session.flush()
    return end - begin, more


def _outstanding(suspension: str | None) -> Select[Particulars]:
    """The oldest task that is not finished."""
    query = select(Particulars).where(Particulars.finished_at.is_(None))
    if suspension is not None:
        query = query.where(Particulars.suspension_id == suspension)
    return query.order_by(Particulars.as_at, Particulars.id).limit(1)


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


def _kinds(session: OrmSession, task: Particulars) -> frozenset[Scope]:
    """The kinds of scope that an act's suspension has: by no other can it touch a grant."""
    own = select(SuspensionTarget.kind).where(SuspensionTarget.suspension_id == task.suspension_id)
    return frozenset(Scope(kind) for kind in session.execute(own.distinct()).scalars())


def _holding(session: OrmSession, task: Particulars) -> frozenset[str]:
    """The kinds of scope by which a grant of this client may have been held before the act."""
    moment = Moment.past(task.as_at - clock.TICK)
    kinds = (
        select(SuspensionTarget.kind)
        .join(SuspensionMode, SuspensionMode.suspension_id == SuspensionTarget.suspension_id)
        .where(
            moment.stands(SuspensionTarget),
            moment.stands(SuspensionMode),
            SuspensionMode.mode.in_(modes.stopping(Effect.OBSERVE)),
            or_(SuspensionTarget.kind != Scope.CLIENT, SuspensionTarget.target_id == task.log_id),
        )
        .distinct()
    )
    return frozenset(session.execute(kinds).scalars())


@lru_cache(maxsize=64)
def _next(event: str, kinds: frozenset[Scope], holding: frozenset[str]) -> Select[Any]:
    """The next grants that an act touched: made once, for that costs more than to ask it.

    `kinds` are those of the suspension's own scope, `holding` those by which a grant may have been
    held already.
    """
    already: ColumnElement[bool] = false()
    if event != EventType.GRANT_RESUMED:
        unheld = grants.unheld(Effect.OBSERVE, _JUST_BEFORE)
        free = (clause.test for clause in unheld if clause.reason in holding)
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
            touched(event, _SUSPENSION, _THEN, _JUST_BEFORE, kinds),
        )
        .order_by(Grant.id)
        .limit(_COUNT)
    )


def touched(
    event: str,
    suspension: SomeId,
    at: Moment,
    before: Moment,
    kinds: Iterable[Scope] = Scope,
) -> ColumnElement[bool]:
    """Which grants an act touched: what it covers, or, when it let in, what it let in."""
    stood = grants.all_of(grants.standing(at))
    if event != EventType.GRANT_RESUMED:
        return and_(stood, affected(suspension, at, kinds))
    return and_(
        stood,
        or_(
            *(
                and_(grants.held(effect, before), not_(grants.held(effect, at)))
                for effect in (Effect.OBSERVE, Effect.CHANGE)
            )
        ),
    )


def _finish(session: Session, task: Particulars, opened: int) -> None:
    """Close one log's particulars with their count and digest."""
    line = Line(
        type=EventType.SUSPENSION_RECORDED,
        refs={"suspension": task.suspension_id, "client": task.log_id},
        data={
            "event": task.event,
            "position": opened,
            "count": task.written,
            "digest": digest_of({task.log_id: task.digest}),
        },
    )
    append_many(session, task.log_id, [line], by=SYSTEM)
    task.finished_at = clock.now(session)


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


def outstanding(session: OrmSession, suspension_id: str) -> tuple[int, int, bool]:
    """Entries written so far, tasks left, and whether all is written, for one suspension."""
    written, left = session.execute(
        select(
            func.coalesce(func.sum(Particulars.written), 0),
            func.count().filter(Particulars.finished_at.is_(None)),
        ).where(Particulars.suspension_id == suspension_id)
    ).one()
    return int(written), left, left == 0

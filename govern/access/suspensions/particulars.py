"""Particulars: after the one act, an entry for each grant that it touched, each exactly once.

The set is a function of the act's instant, so it can be recomputed at any later time. Entries go
out in chunks; each chunk moves the cursor in the same transaction, so a crash loses nothing and
doubles nothing, and no transaction holds a log's head for long.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, and_, bindparam, distinct, false, func, not_, or_, select

from govern import clock
from govern.access import grants
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect
from govern.access.suspension_tables import Particulars
from govern.access.suspensions.previewing import chain, digest_of
from govern.access.suspensions.targets import affected
from govern.audit import EventType
from govern.audit.log import Entry
from govern.audit.record import Line, append_many
from govern.clock import Utc
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.grants import SomeId
    from govern.db import Database, Session

CHUNK = 1000

_AT, _BEFORE = bindparam("at", type_=Utc()), bindparam("before", type_=Utc())
_SUSPENSION, _CLIENT = bindparam("suspension", type_=String()), bindparam("client", type_=String())
_CURSOR, _CHUNK = bindparam("cursor", type_=String()), bindparam("chunk", type_=Integer())


def write(
    database: Database,
    *,
    suspension: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write all outstanding particulars (of one suspension, or of all); returns how many.

    May run in several processes at once: each takes a task that no other holds.
    """
    total = 0
    with database.reading() as session:
        if session.execute(_outstanding(suspension)).first() is None:
            return 0  # the common case takes no lock
    while True:
        written = database.transaction(lambda session: _chunk(session, suspension))
        if written is None:
            return total
        total += written
        if progress is not None:
            progress(written)


def _chunk(session: Session, suspension: str | None) -> int | None:
    """Write the next chunk of one task; None when nothing is left that is not being done."""
    task = session.execute(
        _outstanding(suspension).with_for_update(skip_locked=True)
    ).scalar_one_or_none()
    if task is None:
        return None
    rows = session.execute(
        _next(task.event),
        {
            _AT.key: task.as_at,
            _BEFORE.key: task.as_at - clock.TICK,
            _SUSPENSION.key: task.suspension_id,
            _CLIENT.key: task.log_id,
            _CURSOR.key: task.cursor,
            _CHUNK.key: CHUNK,
        },
    ).all()
    append_many(session, task.log_id, [_line(task, row) for row in rows], by=SYSTEM)
    for row in rows:
        task.digest = chain(task.digest, row.id)
        task.cursor = row.id
    task.written += len(rows)
    if len(rows) < CHUNK:
        _finish(session, task)
    session.flush()
    return len(rows)


def _outstanding(suspension: str | None) -> Select[Particulars]:
    """The oldest task that is not finished."""
    query = select(Particulars).where(Particulars.finished_at.is_(None))
    if suspension is not None:
        query = query.where(Particulars.suspension_id == suspension)
    return query.order_by(Particulars.as_at, Particulars.id).limit(1)


def _line(task: Particulars, row: Any) -> Line:
    refs = {
        "grant": row.id,
        "subject": row.subject_id,
        "client": row.client_id,
        "project": row.project_id,
        "suspension": task.suspension_id,
    }
    if row.dataset_id:
        refs["dataset"] = row.dataset_id
    data: dict[str, Any] = {"mode": task.mode} if task.mode else {}
    if row.already:
        data["already_held"] = True
    return Line(type=task.event, refs=refs, data=data)


@lru_cache(maxsize=8)
def _next(event: str) -> Select[Any]:
    """The next grants that an act touched: made once, for that costs more than to ask it."""
    at, before = Moment(at=_AT), Moment(at=_BEFORE)
    already = (
        grants.held(Effect.OBSERVE, before).label("already")
        if event != EventType.GRANT_RESUMED
        else false().label("already")
    )
    return (
        grants.facts(
            Grant.id,
            Grant.subject_id,
            Grant.client_id,
            Grant.project_id,
            Grant.dataset_id,
            already,
            moment=at,
        )
        .where(
            Grant.client_id == _CLIENT,
            Grant.id > _CURSOR,
            touched(event, _SUSPENSION, at, before),
        )
        .order_by(Grant.id)
        .limit(_CHUNK)
    )


def touched(event: str, suspension: SomeId, at: Moment, before: Moment) -> ColumnElement[bool]:
    """Which grants an act touched: what it covers, or, when it let in, what it let in."""
    stood = grants.all_of(grants.standing(at))
    if event != EventType.GRANT_RESUMED:
        return and_(stood, affected(suspension, at))
    return and_(
        stood,
        or_(
            *(
                and_(grants.held(effect, before), not_(grants.held(effect, at)))
                for effect in (Effect.OBSERVE, Effect.CHANGE)
            )
        ),
    )


def _finish(session: Session, task: Particulars) -> None:
    """Close one log's particulars with their count and digest."""
    opened = session.execute(
        select(func.min(Entry.seq)).where(Entry.log_id == task.log_id, Entry.at == task.as_at)
    ).scalar_one()
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
    task = tasks[0]
    at, before = Moment.past(task.as_at), Moment.past(task.as_at - clock.TICK)
    logs = select(Particulars.log_id).where(
        Particulars.suspension_id == suspension_id, Particulars.as_at == task.as_at
    )
    row = session.execute(
        grants.facts(func.count(Grant.id), func.count(distinct(Grant.subject_id)), moment=at).where(
            Grant.client_id.in_(logs), touched(task.event, suspension_id, at, before)
        )
    ).one()
    return row[0], row[1]


def outstanding(session: OrmSession, suspension_id: str) -> tuple[int, int, bool]:
    """Entries written so far, tasks left, and whether all is written, for one suspension."""
    written, left = session.execute(
        select(
            func.coalesce(func.sum(Particulars.written), 0),
            func.count().filter(Particulars.finished_at.is_(None)),
        ).where(Particulars.suspension_id == suspension_id)
    ).one()
    return int(written), left, left == 0

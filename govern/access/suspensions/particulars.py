"""Particulars: after the one act, an entry for each grant that it touched, each exactly once.

The set is a function of the act's instant, so it can be recomputed at any later time. Entries go
out in chunks; each chunk moves the cursor in the same transaction, so a crash loses nothing and
doubles nothing, and no transaction holds a log's head for long.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from sqlalchemy import String, bindparam, func, or_, select, text, update

from govern import clock, errors
from govern.access.suspension_tables import Particulars
from govern.access.suspensions.pacing import Pace
from govern.access.suspensions.previewing import digest_of
from govern.access.suspensions.touching import MOST, Ahead, count_next, look_ahead
from govern.audit import EventType
from govern.audit.heads import Head, bounded, moving
from govern.audit.log import Log
from govern.audit.record import Line, append_alike, append_many
from govern.db import both
from govern.prepared import Keeping, Prepared
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime

    from sqlalchemy import FromClause, Select, Table
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session

# Seconds after which a set is long enough for who watches to be told how long: to count it takes as
# long as to find it.
LONG = 5.0
# Entries of the first transaction: the others have as many as are written in good time.
CHUNK = 3000
REHEARSED = 250
_TASK = bindparam("task", type_=String())
# What a chunk does under its locks goes by the connection, in as few statements as can be: each of
# them would else cost as much as a hundred entries.
_TAKEN = (
    select(
        Particulars.suspension_id, Particulars.log_id, Particulars.event, Particulars.cursor,
        Particulars.written, Particulars.finished_at, Log.size, Log.last_at,
    )
    .join(Log, Log.id == Particulars.log_id)
    .where(Particulars.id == _TASK)
    .with_for_update()
    .cte("taken")
)  # fmt: skip
_TAKE = select(*_TAKEN.columns, clock.passing().label("locked_at"), bounded())
_TABLE = cast("Table", Particulars.__table__)
_DONE = (
    _TABLE.update()
    .where(Particulars.id == _TASK)
    .values({name: bindparam(f"now_{name}") for name in ("cursor", "written", "digest")})
)
_FINISHED = _TABLE.update().where(Particulars.id == _TASK).values(finished_at=clock.instant())


@dataclass(frozen=True)
class _Taken:
    """A task and its log's head while both are locked, as `_TAKE` tells them."""

    suspension_id: str
    log_id: str
    event: str
    cursor: str
    written: int
    finished_at: datetime | None
    size: int
    last_at: datetime | None
    locked_at: datetime


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
    task_id = _oldest(database, suspension)
    if task_id is None:
        return 0
    total, failed = 0, dict[str, Exception]()
    pace = Pace(database, CHUNK)
    with ThreadPoolExecutor(2) as meanwhile:
        while task_id is not None:
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
            task_id = _oldest(database, suspension, failed)
    if failed:
        raise next(iter(failed.values()))
    return total


def _written(
    database: Database, task_id: str, pace: Pace, meanwhile: ThreadPoolExecutor
) -> Iterator[int]:
    """Write a task's entries, chunk by chunk, and tell of each how many it has."""
    began, counting = time.monotonic(), None
    ahead = _look(database, task_id, pace.fitting(MOST))
    while ahead is not None:
        following = None
        if ahead.opened is None:
            most = pace.fitting(MOST)
            following = meanwhile.submit(_look, database, task_id, most, after=ahead)
            if counting is None and time.monotonic() - began >= LONG:
                counting = meanwhile.submit(_count, database, task_id, pace)
        more = True
        while more:
            written, more = pace.kept(partial(_committed, database, ahead))
            yield written
        ahead = following.result() if following else None
    if counting is not None:
        counting.result()


def _oldest(database: Database, suspension: str | None, but: Collection[str] = ()) -> str | None:
    """The next task to write, if there is any; which may be one that another process is at.

    Asked many times a second, so without a transaction.
    """
    with database.asking() as connection:
        found = _OUTSTANDING.rows(connection, [[suspension]])
    return next((task_id for (task_id,) in found if task_id not in but), None)


def _look(
    database: Database, task_id: str, most: int, *, after: Ahead | None = None
) -> Ahead | None:
    """The next grants of a task, or those after others; None when all is written."""
    with _modestly_reading(database) as session:
        task = session.get_one(Particulars, task_id)
        return (
            None
            if task.finished_at is not None
            else look_ahead(session, task, after=after, most=most)
        )


@contextmanager
def _modestly_reading(database: Database) -> Iterator[Session]:
    """A snapshot for whose statements PostgreSQL takes no second processor: those are others'.

    It would take three for some thousands of grants, and be no sooner done.
    """
    with database.reading() as session:
        if database.is_postgresql:
            session.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))
        yield session


def _count(database: Database, task_id: str, pace: Pace) -> None:
    """Note how large a task's set is, so that who watches need not count it again and again.

    Part by part with a rest after each, for in one go it would keep others waiting.
    """
    with database.reading() as session:
        task = session.get_one(Particulars, task_id)
        if task.total is not None:
            return
    total, last, more = task.written, task.cursor, 1
    while more:
        began = time.perf_counter()
        with _modestly_reading(database) as session:
            more, last = count_next(session, task, last, pace.fitting(MOST))
        total += more
        time.sleep(time.perf_counter() - began)
    size = update(Particulars).where(Particulars.id == task_id).values(total=total)
    database.transaction(lambda session: session.execute(size))


def rehearse(session: Session, suspension: str) -> tuple[int, float]:
    """Write the first few entries of a suspension that will not be committed.

    Returns how many, and the seconds that each took, to be found and to be written. Fewer than a
    chunk, since what is only rehearsed is to hold up others for less than what is meant; on SQLite
    they are found under the one writer's lock, so no more are looked for.
    """
    tasks = _OUTSTANDING.rows(session.connection(), [[suspension]])
    if not tasks:
        return 0, 0.0
    began = time.perf_counter()
    most = MOST if session.database.is_postgresql else REHEARSED
    task = session.get_one(Particulars, tasks[0][0])
    ahead = replace(look_ahead(session, task, most=most), opened=None)
    found = time.perf_counter()
    written, _ = _chunk(session, ahead, REHEARSED)
    if not written:
        return 0, 0.0
    took = (found - began) / len(ahead.ids) + (time.perf_counter() - found) / written
    return written, took


def _committed(database: Database, ahead: Ahead, size: int) -> tuple[int, bool]:
    return database.transaction(partial(_chunk, ahead=ahead, size=size))


def _chunk(session: Session, ahead: Ahead, size: int) -> tuple[int, bool]:
    """Write the next chunk of what was found; how many, and whether more of that is left.

    The set is the same whoever finds it, so what another process wrote meanwhile is passed over.
    """
    connection = session.connection()
    rows = Keeping(connection).execute(_TAKE, {_TASK.key: ahead.task})
    found = [_Taken(*row[:-1]) for row in rows]
    if not found:
        raise errors.Unknown(f"There is no log {session.get_one(Particulars, ahead.task).log_id}.")
    taken = found[0]
    if taken.finished_at is not None:
        return 0, False
    head = Head(taken.log_id, taken.size, taken.last_at, taken.locked_at)
    begin = bisect_right(ahead.ids, taken.cursor)
    end = begin + _share(len(ahead.ids) - begin, size)
    written = taken.written + end - begin
    if begin < end:
        append_alike(session, head, ahead.alike[begin:end], ahead.salts[begin:end])
        moved, to = moving(head)
        done = {
            "now_cursor": ahead.ids[end - 1], "now_written": written,
            "now_digest": ahead.digests[end],
        }  # fmt: skip
        both(connection, moved, _DONE, to | done | {_TASK.key: ahead.task})
    more = end < len(ahead.ids)
    if ahead.opened is not None and not more:
        _finish(session, ahead, taken, written)
    return end - begin, more


def _share(left: int, size: int) -> int:
    """About so many of those that are left, so that no last few cost a transaction of their own."""
    return math.ceil(left / max(1, math.ceil(left / size - 0.25)))


def _outstanding(asked: FromClause) -> Select[str]:
    """The tasks that are not finished, of one suspension or of all, oldest first."""
    one = asked.c.suspension
    return (
        select(Particulars.id)
        .join(asked, or_(one.is_(None), Particulars.suspension_id == one))
        .where(Particulars.finished_at.is_(None))
        .order_by(Particulars.as_at, Particulars.id)
    )


_OUTSTANDING = Prepared({"suspension": String()}, _outstanding)


def _finish(session: Session, ahead: Ahead, task: _Taken, written: int) -> None:
    """Close one log's particulars with their count and digest."""
    line = Line(
        type=EventType.SUSPENSION_RECORDED,
        refs={"suspension": task.suspension_id, "client": task.log_id},
        data={
            "event": task.event,
            "position": ahead.opened,
            "count": written,
            "digest": digest_of({task.log_id: ahead.digests[-1]}),
        },
    )
    append_many(session, task.log_id, [line], by=SYSTEM)
    session.connection().execute(_FINISHED, {_TASK.key: ahead.task})


def outstanding(session: OrmSession, suspension_id: str) -> tuple[int, int, bool]:
    """Entries written so far, tasks left, and whether all is written, for one suspension."""
    written, left = session.execute(
        select(
            func.coalesce(func.sum(Particulars.written), 0),
            func.count().filter(Particulars.finished_at.is_(None)),
        ).where(Particulars.suspension_id == suspension_id)
    ).one()
    return int(written), left, left == 0

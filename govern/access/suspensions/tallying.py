"""How many people a pause touched, counted once all of its entries are written, and for good.

Its receipt and its pages tell that number, and to count it takes as long as to find what it
touched. The entries themselves are counted, a part of them at a time with a rest after each, and
nothing is locked meanwhile.
"""

from __future__ import annotations

import time
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, String, bindparam, exists, func, select, text, update
from sqlalchemy.orm import aliased

from govern.access.suspension_tables import Particulars, Suspension
from govern.audit import EventType, log
from govern.audit.log import ACTS, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Select, Update

    from govern.db import Database, Session

PART = 5000  # entries that are looked at in one go
_LOG, _OF, _TYPE = (bindparam(name, type_=String()) for name in ("log", "of", "event"))
_OPENED, _BEGIN, _END = (bindparam(name, type_=BigInteger()) for name in ("opened", "begin", "end"))


def tally(database: Database, *, progress: Callable[[int], None] | None = None) -> int:
    """Count the people of every opening that is written and not counted; returns how many openings.

    `progress` is told of each part, and may end it by raising: it begins anew then.
    """
    with database.reading() as session:
        owed = session.execute(
            select(Particulars)
            .join(Suspension, Suspension.id == Particulars.suspension_id)
            .where(
                Particulars.as_at == Suspension.recorded_at,
                Particulars.finished_at.is_not(None),
                Particulars.people.is_(None),
            )
        ).scalars()
        tasks = list(owed)
    for task in tasks:
        people = _counted(database, task, progress)
        known = update(Particulars).where(Particulars.id == task.id).values(people=people)
        database.transaction(partial(_kept, known=known))
    return len(tasks)


def _kept(session: Session, known: Update) -> None:
    session.execute(known)


def _counted(database: Database, task: Particulars, progress: Callable[[int], None] | None) -> int:
    """Each person at the first of their entries."""
    with database.reading() as session:
        opened = log.place_of(session, task.log_id, task.as_at)
        closed = session.execute(
            select(func.min(Entry.seq)).where(
                Entry.suspension_id == task.suspension_id,
                text(f"log_entry.{ACTS}"),  # so that its index is taken
                Entry.log_id == task.log_id,
                Entry.type == EventType.SUSPENSION_RECORDED,
            )
        ).scalar_one()
    found = 0
    for begin in range(opened, closed, PART):
        began = time.perf_counter()
        bound: dict[str, Any] = {
            _LOG.key: task.log_id, _OF.key: task.suspension_id, _TYPE.key: task.event,
            _OPENED.key: opened, _BEGIN.key: begin, _END.key: min(begin + PART, closed),
        }  # fmt: skip
        with database.reading() as session:
            found += session.execute(_firsts(), bound).scalar_one()
        if progress is not None:
            progress(0)
        time.sleep(time.perf_counter() - began)
    return found


@cache
def _firsts() -> Select[int]:
    """How many of some entries are the first of their person."""
    before = aliased(Entry)
    own = (Entry.log_id == _LOG, Entry.suspension_id == _OF, Entry.type == _TYPE)
    # Looked for among its person's few entries: by the log's id SQLite, which has no statistics,
    # would go through all that come before it.
    here = before.log_id.concat("") == _LOG
    earlier = exists().where(
        before.subject_id == Entry.subject_id, here, before.seq >= _OPENED,
        before.seq < Entry.seq, before.suspension_id == _OF, before.type == _TYPE,
    ).correlate(Entry)  # fmt: skip
    return select(func.count()).where(*own, Entry.seq >= _BEGIN, Entry.seq < _END, ~earlier)

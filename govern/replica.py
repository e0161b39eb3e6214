"""The replica: a streaming copy of PostgreSQL that some pages and the exports are read from.

No decision, no sign-in and nothing that a write depends on is ever read here. A read waits a moment
until the copy holds all that was committed before it; where that takes too long, the session knows
how far behind it is. A copy that is further behind than `MOST_BEHIND`, is another database's, or
is gone, is not read: the primary is.
"""

from __future__ import annotations

import logging
import time
import weakref
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import exc as sa_exc
from sqlalchemy import text

from govern import clock
from govern.db import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database

MOST_BEHIND = timedelta(seconds=10)
_PATIENCE = 0.25  # seconds for the copy to come up to the primary
_ASIDE = 5.0  # seconds for which one that was of no use is not tried again
_PRIMARY = text(
    "SELECT system_identifier, CAST(pg_current_wal_flush_lsn() AS text), now() "
    "FROM pg_control_system()"
)
_REACHED = text(
    "SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), CAST(:lsn AS pg_lsn)) >= 0, "
    "pg_last_xact_replay_timestamp() FROM pg_control_system() "
    "WHERE pg_is_in_recovery() AND system_identifier = :system"
)
_NEVER = datetime.min.replace(tzinfo=UTC)
_log = logging.getLogger(__name__)
_aside_until: weakref.WeakKeyDictionary[Database, float] = weakref.WeakKeyDictionary()


@contextmanager
def reading(database: Database) -> Iterator[Session]:
    """A snapshot to show people: of the replica where one is near enough, else the primary's."""
    session = _near(database, database.copy) if database.copy is not None else None
    if session is None:
        with database.reading() as session:
            yield session
        return
    with session:
        yield session


def as_of(session: OrmSession) -> datetime:
    """The instant whose state a snapshot shows at least: now, but for a copy that is behind."""
    known: datetime | None = session.info.get("as_of")
    return clock.now(session) if known is None else known


def behind(session: Session) -> timedelta | None:
    """How far a snapshot of the replica is behind at most; None: it is the primary's own."""
    known: timedelta | None = session.info.get("behind")
    return known


def _near(database: Database, copy: Engine) -> Session | None:
    if time.monotonic() < _aside_until.get(database, 0):
        return None
    with database.reading() as primary:
        system, lsn, now = primary.execute(_PRIMARY).one()
    session = Session(copy, database)
    try:
        seen = _reached(session, system, lsn, now)
        wrong = "" if now - seen <= MOST_BEHIND else f"it is {now - seen} behind"
    except sa_exc.DBAPIError as error:
        wrong = str(error.orig).split("\n")[0]
    except sa_exc.NoResultFound:
        wrong = "it is no replica of this primary"
    if wrong:
        session.close()
        _aside_until[database] = time.monotonic() + _ASIDE
        _log.warning("the replica is not read: %s", wrong)
        return None
    session.info.update(as_of=seen, behind=now - seen)
    return session


def _reached(session: Session, system: int, lsn: str, now: datetime) -> datetime:
    """As of when the copy is, once it holds what is before `lsn` or the patience is over."""
    ends = time.monotonic() + _PATIENCE
    while True:
        reached, replayed = session.execute(_REACHED, {"lsn": lsn, "system": system}).one()
        # The next statement begins another snapshot, which holds what was replayed by now.
        session.rollback()
        if reached:
            return now
        if time.monotonic() > ends:
            return min(replayed or _NEVER, now)
        time.sleep(0.005)

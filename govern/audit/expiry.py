"""Retention: sealed runs of the access log end when all their rows are older than a horizon.

The house's log records a horizon first (`access.expired`); which runs it covers follows from that
log alone: those sealed by the instant that it names, with no row at or after the horizon. Then the
access log's own database is told of it, whose trigger lets nothing else go; then the rows go in
chunks, then the seals with their salts. Stopped anywhere, the next call goes on from there. Of a
writer that may still write nothing goes: its last seal tells where the next one begins. Under a
legal hold of any client nothing goes, since a run holds rows of many; and nothing is recorded as
expired that a client asks to keep for longer (`retention`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit import holding, retention
from govern.audit.decisions import Access
from govern.audit.events import EventType
from govern.audit.log import HOUSE
from govern.audit.record import RECORDED, record
from govern.audit.sealing import AccessSeal, AccessSealing
from govern.clock import Utc
from govern.db import AccessBase, Again, Audited, Base, insert_if_absent

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.principal import Principal

# A slip of the hand must not empty the log.
LEAST = timedelta(days=1)
_RUNS = 50
_ROWS = 5000


class AccessHorizon(Audited, Base):
    """One expiry: it covers what was sealed up to `sealed_by` with no row at or after `before`."""

    __tablename__ = "access_horizon"

    recorded_at: Mapped[datetime] = mapped_column(Utc(), primary_key=True, autoincrement=False)
    before: Mapped[datetime] = mapped_column(Utc())
    sealed_by: Mapped[datetime] = mapped_column(Utc())


class AccessExpiry(AccessBase):
    """Below which instant the access log's own trigger lets rows go: the latest of these."""

    __tablename__ = "access_expiry"
    __table_args__ = ({"sqlite_with_rowid": False},)

    before: Mapped[datetime] = mapped_column(Utc(), primary_key=True, autoincrement=False)


@dataclass(frozen=True, kw_only=True)
class Expired:
    """What one call recorded as expired; rows that an earlier call left behind are not counted.

    Nothing when it is `held` up by a legal hold.
    """

    before: datetime
    runs: int
    rows: int
    held: bool = False


def horizon(database: Database) -> datetime | None:
    """Before which midnight nothing is kept, by GOVERN_ACCESS_LOG_DAYS and what clients ask for.

    None: all is kept. A whole day, so that there is one expiry a day at most.
    """
    with database.reading() as session:
        now = clock.now(session)
        days = retention.longest(session, database.settings.access_log_days)
    if not days:
        return None
    return (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)


def expire(
    database: Database,
    before: datetime,
    *,
    by: Principal,
    progress: Callable[[int], None] | None = None,
) -> Expired:
    """Expire the sealed runs all of whose rows are older than `before`, and record it first.

    Finishes what an earlier call left undone, too. What is not sealed stays. Commits by itself, in
    chunks; `progress` is told how many rows are gone, and may raise to stop.
    """
    permissions.require(by, "log:expire")
    gone = _finish(database, progress, 0)

    def work(session: Session) -> Expired:
        return _record(session, before, by=by)

    done = database.transaction(work)
    _finish(database, progress, gone)
    return done


def _record(session: Session, before: datetime, *, by: Principal) -> Expired:
    """One `access.expired` for all that the horizon covers; none when it covers nothing."""
    if before > clock.now(session) - LEAST:
        raise errors.Invalid("before: rows of the last day always stay", field="before")
    if holding.any_stands(session):
        return Expired(before=before, runs=0, rows=0, held=True)
    asked = _refuse_kept(session, before)
    sealed_by = session.get_one(AccessSealing, HOUSE).sealed_at
    if sealed_by is None:
        return Expired(before=before, runs=0, rows=0)
    last = session.execute(select(func.max(AccessHorizon.recorded_at))).scalar_one()
    counted = select(func.count(), func.coalesce(func.sum(AccessSeal.size), 0)).where(
        AccessSeal.until < before,
        AccessSeal.recorded_at <= sealed_by,
        ~select(AccessHorizon).where(_covers()).exists(),
    )
    runs, rows = session.execute(counted).one()
    if not runs:
        return Expired(before=before, runs=0, rows=0)

    def recheck(session: Session) -> None:
        if session.execute(select(func.max(AccessHorizon.recorded_at))).scalar_one() != last:
            raise Again
        if holding.any_stands(session) or retention.all_set(session) != asked:
            raise Again

    row = AccessHorizon(before=before, sealed_by=sealed_by)
    session.add(row)
    record(
        session,
        EventType.ACCESS_EXPIRED,
        logs=[HOUSE],
        by=by,
        data={
            "before": clock.text(before),
            "sealed_by": clock.text(sealed_by),
            "runs": runs,
            "rows": int(rows),
        },
        stamps=[(row, "recorded_at")],
        recheck=recheck,
    )
    return Expired(before=before, runs=runs, rows=int(rows))


def _refuse_kept(session: OrmSession, before: datetime) -> dict[str, int]:
    """`Conflict` for a horizon within what a client asks to keep; what each of them asks."""
    asked = retention.all_set(session)
    days = 0 if 0 in asked.values() else max(asked.values(), default=None)
    if days is not None and (not days or before > clock.now(session) - timedelta(days=days)):
        words = f"for {days} days" if days else "for ever"
        raise errors.Conflict(
            f"A client's rows stay {words}, and a run holds rows of many.", field="before"
        )
    return asked


def _finish(database: Database, progress: Callable[[int], None] | None, gone: int) -> int:
    """Remove what the recorded horizons cover; the order of steps is what makes it safe."""
    with database.reading() as session:
        latest = session.execute(select(func.max(AccessHorizon.before))).scalar()
        runs = _covered(session)
        held = holding.any_stands(session)
    if latest is None or held:
        return gone
    database.access_transaction(lambda session: _allow(session, latest))
    while runs:
        for writer, first, count in runs:
            for place in range(first, first + count, _ROWS):
                with database.reading() as session:
                    if holding.any_stands(session):
                        return gone
                gone += _remove(database, writer, place, min(place + _ROWS, first + count))
                if progress is not None:
                    progress(gone)
        _forget(database, runs)
        with database.reading() as session:
            runs = _covered(session)
    return gone


def _allow(session: Session, before: datetime) -> None:
    """Tell the access log's own database below which instant its rows may go."""
    if session.get(AccessExpiry, before) is None:
        insert_if_absent(session, AccessExpiry, before=before)


def _covers() -> ColumnElement[bool]:
    return and_(
        AccessSeal.until < AccessHorizon.before, AccessSeal.recorded_at <= AccessHorizon.sealed_by
    )


def _covered(session: OrmSession) -> list[tuple[str, int, int]]:
    """Some runs that a recorded horizon covers: those whose rows, or seals, are still there."""
    done = select(AccessSealing.done).scalar_subquery()
    rows = session.execute(
        select(AccessSeal.writer, AccessSeal.first, AccessSeal.size)
        .join(AccessHorizon, _covers())
        .where(AccessSeal.writer <= done)
        .distinct()
        .limit(_RUNS)
    )
    return [(writer, first, count) for writer, first, count in rows]


def _remove(database: Database, writer: str, begin: int, end: int) -> int:
    """Delete a chunk of rows; returns how many there still were."""
    query = delete(Access).where(
        Access.writer == writer, Access.number >= begin, Access.number < end
    )

    def work(session: Session) -> int:
        done = session.execute(query, execution_options={"synchronize_session": False})
        return int(done.rowcount)  # type: ignore[attr-defined]  # a DELETE's result has it

    return database.access_transaction(work)


def _forget(database: Database, runs: list[tuple[str, int, int]]) -> None:
    """Delete the seals of runs that are gone; their expiry is recorded."""

    def work(session: Session) -> None:
        for writer, first, _ in runs:
            session.execute(
                delete(AccessSeal).where(AccessSeal.writer == writer, AccessSeal.first == first),
                execution_options={"synchronize_session": False, **RECORDED},
            )

    database.transaction(work)

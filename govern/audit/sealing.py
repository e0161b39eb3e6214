"""Sealing: what the access log holds enters the house's log by its Merkle root, run by run.

A run is a writer's rows from where its last seal ended, without a gap. Its root (RFC 9162) is over
a random salt and each row's canonical bytes, so that it tells nothing to whoever lacks the salt.
The seal and its `access.sealed` entry are one transaction of the main database, so each row is
sealed exactly once, also where the access log is a file of its own. A gap is never sealed over.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Index, LargeBinary, func, select, update
from sqlalchemy.orm import Mapped, aliased, mapped_column

from govern import clock
from govern.audit import leaf
from govern.audit.decisions import LIVES, Access
from govern.audit.events import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Code, Id, id_at, listed
from govern.principal import SYSTEM
from govern.tlog import merkle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session

# A writer of that age writes no more: it lives an hour, and the rest is for clocks that differ.
_DONE_AFTER = LIVES + timedelta(hours=2)
# Bounds of one entry: its leaf has 65,535 bytes, and a transaction should be short.
_MOST_RUNS = 200
_MOST_ROWS = 65_536
_BATCH = 4096
# Of each row's hash so much is kept that a row which was changed can be told from its neighbours.
MARK = 4
COLUMNS = tuple(column.name for column in Access.__table__.columns)


class AccessSeal(Audited, Base):
    """What the entry of a sealed run leaves out: the salt, and a mark for each row.

    `until` is the latest instant of its rows, `recorded_at` that of its entry.
    """

    __tablename__ = "access_seal"
    __table_args__ = (Index("ix_access_seal_until", "until"), {"sqlite_with_rowid": False})

    writer: Mapped[Id] = mapped_column(primary_key=True)
    first: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    salt: Mapped[bytes] = mapped_column(LargeBinary(16))
    marks: Mapped[bytes] = mapped_column(LargeBinary)
    until: Mapped[datetime] = mapped_column(Utc())
    recorded_at: Mapped[datetime] = mapped_column(Utc())


class AccessSealing(Base):
    """How far sealing has come: one row, which the migration makes.

    Every writer up to `done` (an id) is sealed for good; `sealed_at` is the last seal's instant.
    """

    __tablename__ = "access_sealing"

    id: Mapped[Code] = mapped_column(primary_key=True)
    done: Mapped[Id]
    sealed_at: Mapped[datetime | None] = mapped_column(Utc())


class _Overtaken(Exception):
    """Another process has sealed meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Rows of one writer, hashed; `marks` are the beginnings of their hashes."""

    writer: str
    first: int
    count: int
    salt: bytes
    root: bytes
    marks: bytes
    until: datetime

    @property
    def words(self) -> dict[str, Any]:
        """What the log says of it."""
        return {
            "writer": self.writer,
            "first": self.first,
            "count": self.count,
            "root": b64encode(self.root).decode(),
            "until": clock.text(self.until),
        }


def row_bytes(row: Mapping[str, Any]) -> bytes:
    """A row's canonical bytes (RFC 8785); what is empty is left out. This format is for ever."""
    fields = {name: value for name, value in row.items() if value is not None}
    fields["at"] = clock.text(fields["at"])
    if "worked_at" in fields:
        fields["worked_at"] = clock.text(fields["worked_at"])
    return leaf.canonical(fields | {"v": 1})


def seal(
    database: Database,
    *,
    apart: timedelta = timedelta(0),
    progress: Callable[[int], None] | None = None,
) -> int:
    """Seal what every writer has written since its last seal; returns how many rows.

    Does nothing when the last seal is younger than `apart`: of several nodes one does the work.
    Memory is constant, and the cost is that of the writers of the last hours, however many there
    ever were. `progress` is called between commits, and may raise to stop.
    """
    with database.reading() as session:
        state = session.get_one(AccessSealing, HOUSE)
        now = clock.now(session)
        since = now - state.sealed_at if state.sealed_at is not None else apart
        # A clock that was set back must not stop the seals until it has caught up.
        if timedelta(0) <= since < apart:
            return 0
    done, rows, seen = state.done, 0, state.sealed_at
    try:
        for runs in _batches(database, done):
            seen = _commit(database, runs, seen)
            rows += sum(run.count for run in runs)
            if progress is not None:
                progress(rows)
    except _Overtaken:
        return rows
    _move_on(database, done, now)
    return rows


def _move_on(database: Database, done: str, now: datetime) -> None:
    """Be done with the writers that write no more; all that could be sealed of them is.

    The newest of all is never passed: whoever begins to write comes behind it.
    """
    old = id_at("wri", now - _DONE_AFTER)
    newest = select(func.max(Access.writer)).scalar_subquery()
    passed = select(func.max(Access.writer)).where(Access.writer < old, Access.writer < newest)
    with database.access_reading() as session:
        now_done = session.execute(passed).scalar()
    if now_done is not None and now_done > done:
        forward = update(AccessSealing).where(AccessSealing.done < now_done)
        database.transaction(lambda session: session.execute(forward.values(done=now_done)))


def _batches(database: Database, done: str) -> Iterator[list[Run]]:
    """The runs to seal, as many at a time as one entry holds."""
    runs: list[Run] = []
    rows = 0
    for writer, last, through in _open(database, done):
        place = through
        while place <= last and (run := _hashed(database, writer, place)):
            runs.append(run)
            rows += run.count
            place += run.count
            if rows >= _MOST_ROWS or len(runs) == _MOST_RUNS:
                yield runs
                runs, rows = [], 0
    if runs:
        yield runs


def _open(database: Database, done: str) -> Iterator[tuple[str, int, int]]:
    """Each writer behind `done` with its last number, and the number up to which it is sealed."""
    while True:
        with database.access_reading() as session:
            page = writers(session, after=done, limit=_MOST_RUNS)
        if not page:
            return
        with database.reading() as session:
            through = sealed_through(session, [writer for writer, _ in page])
        for writer, last in page:
            yield writer, last, through[writer]
        done = page[-1][0]


def writers(session: OrmSession, *, after: str = "", limit: int) -> list[tuple[str, int]]:
    """Writers behind `after` in order of their ids, which is their age, with their last numbers.

    Two looks into the key for each, however many rows it has.
    """
    row = aliased(Access)
    first = select(func.min(Access.writer).label("writer")).where(Access.writer > after)
    found = first.cte("writers", recursive=True)
    following = select(func.min(row.writer)).where(row.writer > found.c.writer).scalar_subquery()
    found = found.union_all(select(following).where(found.c.writer.is_not(None)))
    last = select(func.max(row.number)).where(row.writer == found.c.writer).scalar_subquery()
    query = select(found.c.writer, last).where(found.c.writer.is_not(None)).limit(limit)
    return [(writer, number) for writer, number in session.execute(query)]


def sealed_through(session: OrmSession, among: Sequence[str]) -> dict[str, int]:
    """For each of some writers the number up to which it is sealed (0: nothing yet)."""
    given = listed(session, among)
    newest = (
        select(AccessSeal.first + AccessSeal.size)
        .where(AccessSeal.writer == given.c.value)
        .order_by(AccessSeal.first.desc())
        .limit(1)
        .correlate(given)
        .scalar_subquery()
    )
    rows = session.execute(select(given.c.value, func.coalesce(newest, 0)))
    return {writer: int(through) for writer, through in rows}


class Hashing:
    """The tree over a run's salt and rows, as it grows; memory does not grow with it."""

    def __init__(self, salt: bytes) -> None:
        self._tree = merkle.Range.empty().append(merkle.leaf_hash(salt))

    def add(self, rows: Iterable[Mapping[str, Any]]) -> bytes:
        """Add the next rows; returns their marks, one after another."""
        hashes = [merkle.leaf_hash(row_bytes(row)) for row in rows]
        self._tree = self._tree.extend_leaves(hashes)
        return b"".join(each[:MARK] for each in hashes)

    def root(self) -> bytes:
        """The root over all so far."""
        return self._tree.root()


def _hashed(database: Database, writer: str, first: int) -> Run | None:
    """Hash a writer's rows from a number on: as far as there is no gap, and one entry holds."""
    salt = secrets.token_bytes(16)
    tree, marks, place = Hashing(salt), bytearray(), first
    until: datetime | None = None
    with database.access_reading() as session:
        for rows in chunks(session, writer, first, first + _MOST_ROWS):
            whole = [row for number, row in enumerate(rows, place) if row["number"] == number]
            marks += tree.add(whole)
            place += len(whole)
            until = max([row["at"] for row in whole] + ([until] if until else []), default=until)
            if len(whole) < len(rows):
                break
    if until is None:
        return None
    return Run(
        writer=writer, first=first, count=place - first, salt=salt, root=tree.root(),
        marks=bytes(marks), until=until,
    )  # fmt: skip


def chunks(
    session: OrmSession, writer: str, begin: int, end: int
) -> Iterator[list[dict[str, Any]]]:
    """A writer's rows with numbers in [begin, end), in order, some thousands at a time."""
    while begin < end:
        query = (
            select(*Access.__table__.columns)
            .where(Access.writer == writer, Access.number >= begin, Access.number < end)
            .order_by(Access.number)
            .limit(_BATCH)
        )
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in session.execute(query)]
        if rows:
            yield rows
            begin = rows[-1]["number"] + 1
        if len(rows) < _BATCH:
            return


def _commit(database: Database, runs: list[Run], seen: datetime | None) -> datetime | None:
    """Seal these runs by one entry, unless another process has sealed since `seen`."""

    def work(session: Session) -> AccessSealing:
        state = session.get_one(AccessSealing, HOUSE)
        seals = [
            AccessSeal(
                writer=run.writer, first=run.first, size=run.count, salt=run.salt,
                marks=run.marks, until=run.until,
            )
            for run in runs
        ]  # fmt: skip
        session.add_all(seals)
        record(
            session,
            EventType.ACCESS_SEALED,
            logs=[HOUSE],
            by=SYSTEM,
            data={"runs": [run.words for run in runs]},
            stamps=[*((seal, "recorded_at") for seal in seals), (state, "sealed_at")],
            recheck=recheck,
        )
        return state

    def recheck(session: Session) -> None:
        if session.execute(select(AccessSealing.sealed_at)).scalar_one() != seen:
            raise _Overtaken

    return database.transaction(work).sealed_at

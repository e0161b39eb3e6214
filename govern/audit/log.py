"""The logs: one for each client and one for the house, each append-only and in total order.

An entry's place is given under the lock of its log's head, so there are no gaps, and times
strictly increase. The database refuses to change or drop an entry (triggers); full tiles of
hashes are kept beside the entries, so that any part of the tree is a few reads away.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Index,
    Integer,
    LargeBinary,
    String,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from govern import errors
from govern.clock import Utc
from govern.db import Base, Code, Id, Inquiry, text_column, together
from govern.tlog import merkle, tiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import ColumnElement, SQLColumnExpression
    from sqlalchemy.orm import Session

HOUSE = "house"
# Entries that are acts of their own, not the particulars of one: in SQL as the index below has it.
PARTICULARS = ("grant.suspended", "grant.review_required", "grant.resumed")
ACTS = f"type NOT IN {PARTICULARS}"
# Entries that account for erased values, likewise.
ERASURES = "type = 'subject.erased'"


class Log(Base):
    """A log's head: how many entries it has, and the instant of the last."""

    __tablename__ = "log"

    id: Mapped[Id] = mapped_column(primary_key=True)
    origin: Mapped[str] = mapped_column(text_column(200), unique=True)
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    last_at: Mapped[datetime | None] = mapped_column(Utc())


class Entry(Base):
    """One entry: its exact bytes, and copies of some of its fields to search by."""

    __tablename__ = "log_entry"
    __table_args__ = (
        Index("ix_log_entry_subject", "subject_id", "log_id", "seq"),
        Index(
            "ix_log_entry_suspension",
            "suspension_id",
            "at",
            sqlite_where=text(f"suspension_id IS NOT NULL AND {ACTS}"),
            postgresql_where=text(f"suspension_id IS NOT NULL AND {ACTS}"),
        ),
        # A rare type of act among a million others; of particulars there are many if any.
        Index(
            "ix_log_entry_type",
            "log_id",
            "type",
            "seq",
            sqlite_where=text(ACTS),
            postgresql_where=text(ACTS),
        ),
        Index(
            "ix_log_entry_erasures",
            "log_id",
            "seq",
            sqlite_where=text(ERASURES),
            postgresql_where=text(ERASURES),
        ),
        {"sqlite_with_rowid": False},
    )

    # No foreign key: whoever writes holds the head's lock, and to look took as long as to store.
    log_id: Mapped[Id] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(Utc())
    type: Mapped[str] = mapped_column(text_column(40))
    actor: Mapped[Id]
    subject_id: Mapped[Id | None]
    project_id: Mapped[Id | None]
    suspension_id: Mapped[Id | None]
    leaf: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class Value(Base):
    """A personal value that an entry commits to; erasing it empties salt and value."""

    __tablename__ = "log_value"
    __table_args__ = ({"sqlite_with_rowid": False},)

    log_id: Mapped[Id] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[Code] = mapped_column(primary_key=True)
    about: Mapped[Id | None] = mapped_column(index=True)
    salt: Mapped[str | None] = mapped_column(text_column(32))
    value: Mapped[str | None]


class Tile(Base):
    """A full tile: 256 hashes of the tree (C2SP tlog-tiles)."""

    __tablename__ = "log_tile"
    __table_args__ = ({"sqlite_with_rowid": False},)

    log_id: Mapped[Id] = mapped_column(primary_key=True)
    level: Mapped[int] = mapped_column(Integer, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    hashes: Mapped[bytes] = mapped_column(LargeBinary)


class Checkpoint(Base):
    """A signed tree head (C2SP tlog-checkpoint); every one is kept."""

    __tablename__ = "log_checkpoint"
    __table_args__ = ({"sqlite_with_rowid": False},)

    log_id: Mapped[Id] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    signed_at: Mapped[datetime] = mapped_column(Utc())
    note: Mapped[str]


def create(session: Session, log_id: str, *, origin: str) -> None:
    """Begin a log; the caller's transaction records what for."""
    session.execute(insert(Log).values(id=log_id, origin=origin, size=0))


def position(
    log_id: SQLColumnExpression[str] | SQLColumnExpression[str | None] | str,
) -> ColumnElement[int]:
    """How many entries a statement's own snapshot sees: from the last key, not the hot head row."""
    last = select(func.max(Entry.seq)).where(Entry.log_id == log_id).scalar_subquery()
    return func.coalesce(last + 1, 0)


_POSITION = select(position(bindparam("log", type_=String())))
_POSITIONS = select(Log.id, position(Log.id)).where(Log.id.in_(bindparam("logs", expanding=True)))
_INSTANTS = (
    select(Entry.seq, Entry.at)
    .where(
        Entry.log_id == bindparam("log", type_=String()),
        Entry.seq.in_(bindparam("places", expanding=True)),
    )
    .order_by(Entry.seq)
)
# Entries looked at by one statement: of 1,000,000 the right one is found in four.
_PROBES = 40


def positions(session: Session, log_ids: Iterable[str]) -> dict[str, int]:
    """How many entries of each log the next statement's snapshot sees at least.

    Whoever finds them the same later, under the heads' locks, knows that nothing was recorded
    there meanwhile, and need not look again at what they read in between.
    """
    found: dict[str, int] = together(session.connection(), sizes(log_ids))[0]
    return found


def sizes(log_ids: Iterable[str]) -> Inquiry[dict[str, int]]:
    """The same, to be asked along with others."""
    among = sorted(log_ids)
    return Inquiry(
        _POSITIONS,
        lambda rows: dict.fromkeys(among, 0) | dict(rows),
        {"logs": among},
    )


def place_of(session: Session, log_id: str, at: datetime) -> int:
    """The place of the first entry at or after an instant; as instants increase, few are read."""
    connection = session.connection()
    low, high = 0, connection.execute(_POSITION, {"log": log_id}).scalar_one()
    while low < high:
        places = list(range(low, high, (high - low) // _PROBES + 1))
        seen = connection.execute(_INSTANTS, {"log": log_id, "places": places}).all()
        earlier = bisect_left(seen, at, key=lambda row: row.at)
        if earlier < len(seen):
            high = seen[earlier].seq
        if earlier == 0:
            return high
        low = seen[earlier - 1].seq + 1
    return low


def latest_checkpoint(session: Session, log_id: str) -> Checkpoint | None:
    """The newest signed head of a log."""
    return session.execute(
        select(Checkpoint)
        .where(Checkpoint.log_id == log_id)
        .order_by(Checkpoint.size.desc())
        .limit(1)
    ).scalar_one_or_none()


def leaf_hashes(session: Session, log_id: str, begin: int, end: int) -> Iterator[bytes]:
    """Leaf hashes of [begin, end), computed from the entries' bytes, streamed."""
    leaves = session.execute(
        select(Entry.leaf)
        .where(Entry.log_id == log_id, Entry.seq >= begin, Entry.seq < end)
        .order_by(Entry.seq)
        .execution_options(yield_per=2000)
    ).scalars()
    return map(merkle.leaf_hash, leaves)


class Tree:
    """One log's tree as the database holds it, read through its tiles."""

    def __init__(self, session: Session, log_id: str) -> None:
        self._session = session
        self._log_id = log_id
        self._cache: dict[tuple[int, int], bytes | None] = {}
        self._edge: tuple[int, list[bytes]] = (0, [])
        # The hashes beside the entries of one tile that is not full, or damaged.
        self._columns: dict[int, bytes] = {}

    def tile(self, level: int, number: int) -> bytes | None:
        """A full tile's 256 hashes, or None while it is not full."""
        key = (level, number)
        if key not in self._cache:
            if len(self._cache) > 4096:  # noqa: PLR2004 - 32 MB of tiles
                self._cache.clear()
            self._cache[key] = self._session.execute(
                select(Tile.hashes).where(
                    Tile.log_id == self._log_id, Tile.level == level, Tile.number == number
                )
            ).scalar_one_or_none()
        return self._cache[key]

    def load(self, first: int, last: int) -> None:
        """Read the tiles of leaf hashes from one number to another, at once."""
        rows = self._session.execute(
            select(Tile.number, Tile.hashes).where(
                Tile.log_id == self._log_id, Tile.level == 0, Tile.number.between(first, last)
            )
        )
        self._cache.update({(0, number): hashes for number, hashes in rows})

    def told(self, begin: int, end: int) -> bytes:
        """The hashes that stand beside the entries of [begin, end), one after another.

        Those of full tiles, which show what was changed since; elsewhere what the entries' own
        column says. Of an entry that is not there they are zeros.
        """
        first, last = begin // tiles.WIDTH, (end - 1) // tiles.WIDTH
        hashes = b"".join(self._told_tile(number) for number in range(first, last + 1))
        skipped = first * tiles.WIDTH
        return hashes[(begin - skipped) * merkle.HASH_SIZE : (end - skipped) * merkle.HASH_SIZE]

    def _told_tile(self, number: int) -> bytes:
        kept = self.tile(0, number)
        if kept is not None and len(kept) == tiles.TILE_SIZE:
            return kept
        if number not in self._columns:
            first = number * tiles.WIDTH
            rows = self._session.execute(
                select(Entry.seq, Entry.hash).where(
                    Entry.log_id == self._log_id, Entry.seq.between(first, first + tiles.WIDTH - 1)
                )
            )
            hashes = [bytes(merkle.HASH_SIZE)] * tiles.WIDTH
            for seq, digest in rows:
                hashes[seq - first] = digest[: merkle.HASH_SIZE].ljust(merkle.HASH_SIZE, b"\0")
            self._columns = {number: b"".join(hashes)}
        return self._columns[number]

    def load_for(self, seqs: Iterable[int], size: int) -> None:
        """Read all that proofs of some leaves in a tree of a size need, tiles and the last leaves.

        Two statements. On every level these are the leaf's own tile and the one at the right edge,
        and where that is not full, those below it.
        """
        wanted, level, last = [], 0, size // tiles.WIDTH
        places = {seq // tiles.WIDTH for seq in seqs}
        while True:
            among = or_(Tile.number.in_(sorted(places)), Tile.number >= last - last % tiles.WIDTH)
            wanted.append(and_(Tile.level == level, Tile.number <= last, among))
            if last == 0:
                break
            level, last = level + 1, last // tiles.WIDTH
            places = {place // tiles.WIDTH for place in places}
        rows = self._session.execute(
            select(Tile.level, Tile.number, Tile.hashes).where(
                Tile.log_id == self._log_id, or_(*wanted)
            )
        )
        found = {(each, number): hashes for each, number, hashes in rows}
        self._cache.update(found)
        edge = size // tiles.WIDTH
        if (0, edge) not in found:
            self._edge = (edge * tiles.WIDTH, self.leaves(edge * tiles.WIDTH, size))
        for each in range(level + 1):  # what is not there is not full, and need not be asked for
            own = size // tiles.WIDTH ** (each + 1)
            self._cache.setdefault((each, own), None)

    def leaves(self, begin: int, end: int) -> list[bytes]:
        """Leaf hashes of [begin, end) from the entries themselves."""
        first, known = self._edge
        if first <= begin and end <= first + len(known):
            return known[begin - first : end - first]
        return list(leaf_hashes(self._session, self._log_id, begin, end))

    @property
    def hashes(self) -> tiles.Hashes:
        """The hash of any perfect subtree; its `fetch` is what the proofs ask for."""
        return tiles.Hashes(self.tile, self.leaves)

    def range(self, begin: int, end: int) -> merkle.Range:
        """The compact range [begin, end): the roots of the perfect subtrees that make it up."""
        return merkle.Range(begin, end, tuple(self.hashes.fetch(merkle.subtrees(begin, end))))


def known(session: Session, log_id: str) -> Log:
    """The head of a log, or `Unknown`."""
    head = session.get(Log, log_id)
    if head is None:
        raise errors.Unknown(f"There is no log {log_id}.")
    return head


def logs(session: Session) -> list[Log]:
    """Every log, the house's last."""
    return list(session.execute(select(Log).order_by(Log.id)).scalars())


def signed_sizes(session: Session) -> dict[str, tuple[str, int, int]]:
    """For each log its origin, how many entries it has, and how many its newest head signs."""
    newest = (
        select(func.coalesce(func.max(Checkpoint.size), 0))
        .where(Checkpoint.log_id == Log.id)
        .correlate(Log)
        .scalar_subquery()
    )
    rows = session.execute(select(Log.id, Log.origin, Log.size, newest).order_by(Log.id))
    return {log_id: (origin, size, signed) for log_id, origin, size, signed in rows}


def describe(row: Any) -> dict[str, Any]:
    """The search columns of an entry, as its parsed leaf says them."""
    refs = row.get("refs", {})
    return {
        "type": row["type"],
        "actor": row["actor"],
        "subject_id": refs.get("subject"),
        "project_id": refs.get("project"),
        "suspension_id": refs.get("suspension"),
    }

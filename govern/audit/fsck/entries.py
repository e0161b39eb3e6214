"""The check of one log: it is derived anew from its entries, and all else compared.

Entries against the hashes, tiles and signed roots that stand beside them; search columns, heads
and personal values against the entries; checkpoints against the signer's key and memory. What
differs is named, entry by entry. One snapshot, streamed, nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from govern import clock
from govern.audit import leaf, log, verify
from govern.audit.fsck.report import MOST_NAMED, Damage
from govern.audit.log import Checkpoint, Entry, Log, Tile, Value
from govern.audit.redactions import Redactions
from govern.audit.roots import Roots
from govern.tlog import checkpoint, merkle, tiles
from govern.tlog.errors import TlogError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.orm import Session

    from govern.tlog.note import Verifier

_BATCH = 4096


class LogCheck:
    """One pass over one log."""

    def __init__(
        self,
        session: Session,
        log_id: str,
        head: Log | None,
        memory: merkle.Range | None,
        keys: Sequence[Verifier],
    ) -> None:
        self._session = session
        self._log = log_id
        self._head = head
        self._memory = memory
        self._keys = keys
        self._roots = Roots()
        self._redactions = Redactions()
        self._tile, self._tile_number = b"", -1
        # Whether every entry so far was there, or its hash at least.
        self._whole = True
        # Up to where the last checkpoint agreed.
        self._settled = 0
        # Entries whose hashes differ, since the last root that was settled.
        self._differing: list[tuple[int, str]] = []
        self.damage: list[Damage] = []
        self.found = 0
        self.entries = 0

    def _name(self, kind: str, message: str, seq: int | None = None) -> None:
        self.found += 1
        if len(self.damage) < MOST_NAMED:
            self.damage.append(Damage(kind=kind, message=message, log=self._log, seq=seq))

    def run(self) -> Iterator[int]:
        """Check all of it, telling now and then how many entries are done."""
        if self._head is None:
            self._name("head", f"The log {self._log} has no head: it was removed.")
        marks = self._marks()
        upcoming = next(marks, None)
        place, last, last_at = 0, "", None
        for batch in self._batches():
            values = self._values(place, batch[-1].seq)
            for row in batch:
                if place < row.seq:
                    self._name("missing", f"Entries {place} to {row.seq - 1} are missing.", place)
                while place < row.seq:
                    place = self._past_missing(place, row.seq)
                    upcoming = self._pass_marks(place, upcoming, marks)
                last = self._entry(row, values.pop(row.seq, {}), last)
                last_at = row.at
                self.entries += 1
                place += 1
                upcoming = self._pass_marks(place, upcoming, marks)
            for seq in values:
                self._name("value", f"Values stand beside entry {seq}, which is not there.", seq)
            yield self.entries
        self._ends(place, last_at, upcoming, marks)
        for seq, words in self._redactions.unaccounted():
            self._name("erased", f"Entry {seq} {words}.", seq)
        self._upper_tiles(place)

    def _batches(self) -> Iterator[Sequence[Any]]:
        rows = self._session.execute(
            select(*Entry.__table__.columns)
            .where(Entry.log_id == self._log)
            .order_by(Entry.seq)
            .execution_options(yield_per=_BATCH)
        )
        yield from rows.partitions()

    def _values(self, first: int, end: int) -> dict[int, dict[str, Any]]:
        rows = self._session.execute(
            select(Value.seq, Value.name, Value.salt, Value.value).where(
                Value.log_id == self._log, Value.seq >= first, Value.seq <= end
            )
        )
        found: dict[int, dict[str, Any]] = {}
        for seq, name, salt, value in rows:
            erased = salt is None and value is None
            found.setdefault(seq, {})[name] = None if erased else [salt, value]
        return found

    # --- entries ---

    def _entry(self, row: Any, values: dict[str, Any], last: str) -> str:
        """Check one entry; returns the instant that the next one's must exceed."""
        digest = merkle.leaf_hash(row.leaf)
        self._hash(row.seq, digest, row.hash)
        fields = leaf.parse(row.leaf)
        if fields is None or leaf.canonical(fields) != row.leaf:
            self._name("leaf", f"Entry {row.seq} is not canonical JSON.", row.seq)
            return last
        faults = leaf.faults(fields, log=self._log, seq=row.seq, after=last)
        for kind, words in faults + leaf.value_faults(fields, values):
            self._name(kind, f"Entry {row.seq} {words}.", row.seq)
        for words in self._redactions.add(row.seq, fields, values):
            self._name("erased", f"Entry {row.seq} {words}.", row.seq)
        if any(kind == "version" for kind, _ in faults):
            return last
        time = str(fields.get("time"))
        if clock.text(row.at) != time:
            self._name("column", f"Entry {row.seq} is of {time}, its column at says otherwise.",
                       row.seq)  # fmt: skip
        try:
            columns = log.describe(fields)
        except (KeyError, AttributeError):
            self._name("leaf", f"Entry {row.seq} lacks a field.", row.seq)
            return last
        for column, value in columns.items():
            if getattr(row, column) != value:
                self._name("column", f"The column {column} of entry {row.seq} is not what the "
                           "entry says.", row.seq)  # fmt: skip
        return max(last, time)

    def _hash(self, seq: int, digest: bytes, column: bytes) -> None:
        """Compare an entry's hash with its copies; the next signed root tells which is right."""
        kept = self._kept(seq)
        told = digest
        if column != digest:
            told = column
            self._differing.append((seq, "its column hash"))
        if kept is not None and kept != digest:
            told = kept
            self._differing.append((seq, "its tile"))
        if self._whole:
            self._roots.add(told if len(told) == merkle.HASH_SIZE else digest, digest)

    def _past_missing(self, seq: int, end: int) -> int:
        """Go on behind a missing entry by the hash that its tile kept, else behind them all."""
        kept = self._kept(seq)
        if kept is None or not self._whole:
            self._whole = False
            return end
        self._roots.add(kept)
        return seq + 1

    def _kept(self, seq: int) -> bytes | None:
        """The hash that the entry's tile holds, if that is full."""
        number, offset = divmod(seq, tiles.WIDTH)
        if number != self._tile_number:
            self._tile, self._tile_number = self._read_tile(0, number) or b"", number
        if len(self._tile) != tiles.TILE_SIZE:
            return None
        at = offset * merkle.HASH_SIZE
        return self._tile[at : at + merkle.HASH_SIZE]

    # --- signed roots ---

    def _marks(self) -> Iterator[tuple[int, Checkpoint | None]]:
        """The sizes at which a root is known, in order: checkpoints, and what was remembered."""
        remembered = self._memory.end if self._memory is not None else None
        rows = self._session.execute(
            select(Checkpoint)
            .where(Checkpoint.log_id == self._log)
            .order_by(Checkpoint.size)
            .execution_options(yield_per=1000)
        ).scalars()
        for each in rows:
            if remembered is not None and remembered < each.size:
                yield remembered, None
                remembered = None
            yield each.size, each
        if remembered is not None:
            yield remembered, None

    def _pass_marks(
        self,
        place: int,
        upcoming: tuple[int, Checkpoint | None] | None,
        marks: Iterator[tuple[int, Checkpoint | None]],
    ) -> tuple[int, Checkpoint | None] | None:
        """Compare every root that is known at `place`; returns the next one ahead."""
        while upcoming is not None and upcoming[0] <= place:
            if upcoming[1] is None:
                self._compare_memory()
            else:
                self._compare(upcoming[1])
            upcoming = next(marks, None)
        return upcoming

    def _compare(self, signed: Checkpoint) -> None:
        try:
            point = self._open(signed.note)
        except TlogError as error:
            self._name("checkpoint", f"The checkpoint of {signed.size} entries: {error}.")
            return
        if point.size != signed.size or (self._head and point.origin != self._head.origin):
            self._name("checkpoint", f"The checkpoint of {signed.size} entries is that of "
                       f"{point.origin} with {point.size}.")  # fmt: skip
        elif self._whole:
            self._settle(point)

    def _open(self, signed: str) -> checkpoint.Checkpoint:
        if self._keys:
            return verify.open_checkpoint(signed.encode(), self._keys)
        return checkpoint.parse(signed.partition("\n\n")[0] + "\n")

    def _settle(self, signed: checkpoint.Checkpoint) -> None:
        """Say of each difference which side was signed, and go on from there."""
        found, told = self._roots.found(), self._roots.told()
        if found.root() == signed.root:
            self._judge("hash", "Entry {} is what was signed, but {} says otherwise.")
            self._roots.settle(found)
        elif told.root() == signed.root:
            self._judge("entry", "Entry {} is not what was signed: {} shows it.")
            self._roots.settle(told)
        else:
            self._judge("entry", "Entry {} differs from {}.")
            self._name("root", f"Of entries {self._settled} to {signed.size - 1} one or more are "
                       "not what was signed, beside those named.")  # fmt: skip
            self._whole = False
        self._settled = signed.size

    def _judge(self, kind: str, words: str) -> None:
        for seq, copy in self._differing:
            self._name(kind, words.format(seq, copy), seq)
        self._differing = []

    def _compare_memory(self) -> None:
        if self._whole and self._memory not in {self._roots.found(), self._roots.told()}:
            self._name("signer", "The signer remembers another log than this one.")

    # --- ends ---

    def _ends(
        self,
        place: int,
        last_at: Any,
        upcoming: tuple[int, Checkpoint | None] | None,
        marks: Iterator[tuple[int, Checkpoint | None]],
    ) -> None:
        upcoming = self._pass_marks(place, upcoming, marks)
        while upcoming is not None:
            size, signed = upcoming
            whose = "The signer remembers" if signed is None else "A checkpoint was signed of"
            self._name("tail", f"{whose} {size} entries, and there are {place}.", place)
            upcoming = next(marks, None)
        self._judge("entry", "Entry {} differs from {}.")
        orphans = self._session.execute(
            select(Value.seq).where(Value.log_id == self._log, Value.seq >= place).distinct()
        ).scalars()
        for seq in orphans:
            self._name("value", f"Values stand beside entry {seq}, which is not there.", seq)
        if self._head is not None and (self._head.size, self._head.last_at) != (place, last_at):
            self._name("head", f"The head says {self._head.size} entries until "
                       f"{self._head.last_at}; there are {place} until {last_at}.")  # fmt: skip

    def _upper_tiles(self, size: int) -> None:
        """Compare every tile above the lowest level with those below it, and find what is missing.

        The lowest was compared with the entries. Of tiles that nothing asks for none may be there.
        """
        signed = log.latest_checkpoint(self._session, self._log)
        for level, number in tiles.full_tiles(0, min(size, signed.size) if signed else 0):
            stored = self._read_tile(level, number)
            if stored is None:
                self._name("tile", f"The tile {number} of level {level} is missing.")
            elif level and stored != self._tile_from_below(level, number):
                self._name(
                    "tile", f"The tile {number} of level {level} is not that of those below."
                )
            elif len(stored) != tiles.TILE_SIZE:
                self._name("tile", f"The tile {number} of level {level} is no tile.")
        # A signer that was stopped may have kept tiles of what it had not signed yet.
        kept = self._session.execute(
            select(Tile.level, Tile.number)
            .where(Tile.log_id == self._log)
            .execution_options(yield_per=_BATCH)
        )
        for level, number in kept:
            if level < 0 or not 0 <= number < tiles.hashes_at(level, size) // tiles.WIDTH:
                self._name("tile", f"The tile {number} of level {level} stands where none belongs.")

    def _tile_from_below(self, level: int, number: int) -> bytes:
        first = number * tiles.WIDTH
        below = self._session.execute(
            select(Tile.hashes)
            .where(
                Tile.log_id == self._log, Tile.level == level - 1,
                Tile.number >= first, Tile.number < first + tiles.WIDTH,
            )
            .order_by(Tile.number)
        ).scalars()  # fmt: skip
        whole = [each for each in below if len(each) == tiles.TILE_SIZE]
        return b"".join(tiles.hash_in_tile(each, 0, tiles.WIDTH) for each in whole)

    def _read_tile(self, level: int, number: int) -> bytes | None:
        return self._session.execute(
            select(Tile.hashes).where(
                Tile.log_id == self._log, Tile.level == level, Tile.number == number
            )
        ).scalar_one_or_none()

"""Verification: an export alone, with a key that the reader trusts, shows what was done to it.

Nothing here opens a database or a connection: the file, the verifier key, and the checkpoints that
the auditor kept from earlier are all there is. Invariants:

- A log counts as proven only if all its pieces, put together, have the root that the key signed.
- Every byte of a line is accounted for: each has one form, and is compared with it.
- Damage is named by entry and physical line, and the check goes on behind it.
- What a good result does not prove is said in the same report.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from govern import errors
from govern.audit import leaf, lines
from govern.audit.roots import Roots
from govern.tlog import checkpoint, merkle, note
from govern.tlog.errors import TlogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import BinaryIO

    from govern.tlog.checkpoint import Checkpoint

# A file that is damaged everywhere must not fill the memory with its damages.
_MOST_NAMED = 1000


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One thing that is wrong, and where: entry `seq` of `log`, physical line `line` from 1 on."""

    kind: str
    message: str
    log: str | None = None
    seq: int | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class Proven:
    """What was found of one log: `shown` of `size` entries stand in the file.

    `signed` tells whether their root is the one that a trusted key signed.
    """

    log: str
    origin: str
    size: int
    shown: int
    signed: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome; `unnamed` counts further damages after the first thousand."""

    ok: bool
    rows: int
    logs: tuple[Proven, ...]
    damage: tuple[Damage, ...]
    unnamed: int
    proves: tuple[str, ...]
    does_not_prove: tuple[str, ...]


def check(stream: BinaryIO, *, keys: Iterable[str], kept: Iterable[bytes] = ()) -> Report:
    """Check an export, JSON Lines or CSV, in one pass and constant memory.

    `keys` are verifier keys (C2SP signed-note); that of an installation, `name+…`, stands for its
    logs `name/logs/…`. `kept` are checkpoints that the reader kept: they show whether a tail was
    cut off since. Raises `Invalid` where no key is given, or one cannot be read.
    """
    return _Check(stream, read_keys(keys), tuple(kept)).run()


def read_keys(keys: Iterable[str]) -> list[note.Verifier]:
    """Read verifier keys; `Invalid` when there is none, or one is damaged."""
    try:
        read = [note.Verifier.parse(key.strip()) for key in keys]
    except TlogError as error:
        raise errors.Invalid(f"key: {error}", field="key") from error
    if not read:
        raise errors.Invalid("key: without a key that you trust nothing can be proved", field="key")
    return read


def open_checkpoint(signed: bytes, keys: Iterable[note.Verifier]) -> Checkpoint:
    """A checkpoint of whichever log these keys may sign for, its signature verified."""
    origin = signed.split(b"\n", 1)[0].decode(errors="replace")
    named = [
        note.Verifier(origin, key.public)
        for key in keys
        if key.name == origin or origin.startswith(f"{key.name}/logs/")
    ]
    return checkpoint.open(signed, *dict.fromkeys(named), origin=origin)


# --- the file ----------------------------------------------------------------------------------


class _Lines:
    """The lines of a file in their JSON form, numbered, with one to look ahead."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = sha256()
        self._ahead: list[tuple[bytes, bytes, str]] = []
        self._raw = b""
        self.number = 0
        # What is wrong with the row that holds the line, when only its readable cells are.
        self.fault = ""
        first = stream.readline(lines.MAX_LINE)
        self.is_csv = first == lines.CSV_HEAD
        if self.is_csv:
            self.number = 1
            self._hash.update(first)
        else:
            self._ahead.append((first, first, ""))

    def next(self) -> bytes:
        """The next line, empty at the end of the file."""
        self._hash.update(self._raw)
        if self._ahead:
            line, self._raw, self.fault = self._ahead.pop()
        elif self.is_csv:
            line, self._raw, self.fault = self._read()
        else:
            line = self._raw = self._stream.readline(lines.MAX_LINE)
        self.number += 1
        return line

    def peek(self) -> bytes:
        if not self._ahead:
            self._ahead.append(self._read())
        return self._ahead[0][0]

    def digest_before(self) -> str:
        """SHA-256 of all bytes before the present line."""
        return self._hash.hexdigest()

    def _read(self) -> tuple[bytes, bytes, str]:
        raw = self._stream.readline(lines.MAX_LINE)
        if not self.is_csv or not raw:
            return raw, raw, ""
        try:
            line = lines.from_csv(raw)
        except ValueError:
            return raw, raw, ""
        try:
            same = lines.to_csv(line) == raw
        except (ValueError, RecursionError):
            same = False
        return line, raw, "" if same else "the columns to read are not those of the exact parts"


@dataclass
class _Head:
    """A log of the header, and what its section has shown so far."""

    log: str
    origin: str
    size: int
    root: bytes | None
    signed: bool
    marks: dict[int, list[bytes]] = field(default_factory=dict)
    roots: Roots = field(default_factory=Roots)
    place: int = 0
    last: str = ""
    shown: int = 0
    proven: bool = False
    # Whether every piece up to `place` was there, so that a root can be computed.
    whole: bool = True
    # Entries that stood where another belongs, and those that did not stand where they belong.
    strays: set[int] = field(default_factory=set)
    absent: set[int] = field(default_factory=set)


class _Check:
    """One pass over one file."""

    def __init__(
        self, stream: BinaryIO, keys: Sequence[note.Verifier], kept: Sequence[bytes]
    ) -> None:
        self.lines = _Lines(stream)
        self.keys = keys
        self.kept_notes = kept
        self.kept: list[Checkpoint] = []
        self.heads: list[_Head] = []
        self.filter: dict[str, Any] = {}
        self.unsigned: list[str] = []
        self.damage: list[Damage] = []
        self.kinds: Counter[tuple[str, str | None]] = Counter()
        self.rows = 0
        self.proves: list[str] = []
        self.doubts: list[str] = []

    def run(self) -> Report:
        self._open_kept()
        if self._header():
            self._sections()
            self._compare_kept()
            self._conclude()
        total = sum(self.kinds.values())
        return Report(
            ok=not total,
            rows=self.rows,
            logs=tuple(
                Proven(
                    log=head.log, origin=head.origin, size=head.size, shown=head.shown,
                    signed=head.proven,
                )
                for head in self.heads
            ),
            damage=tuple(self.damage),
            unnamed=total - len(self.damage),
            proves=tuple(self.proves),
            does_not_prove=tuple(self.doubts),
        )  # fmt: skip

    def _name(
        self,
        kind: str,
        message: str,
        *,
        log: str | None = None,
        seq: int | None = None,
        line: int | None = -1,
    ) -> None:
        self.kinds[kind, log] += 1
        if len(self.damage) < _MOST_NAMED:
            where = self.lines.number if line == -1 else line
            self.damage.append(Damage(kind=kind, message=message, log=log, seq=seq, line=where))

    # --- header ---

    def _open_kept(self) -> None:
        for each in self.kept_notes:
            try:
                self.kept.append(open_checkpoint(each, self.keys))
            except TlogError as error:
                self._name("kept", f"A checkpoint that you kept cannot be trusted: {error}.",
                           line=None)  # fmt: skip

    def _header(self) -> bool:
        line = self.lines.next()
        try:
            fields = json.loads(line)
            if lines.header({k: v for k, v in fields.items() if k != "govern"}) != line:
                raise ValueError("it is not written as a header is")
            if fields["govern"] != lines.FORMAT:
                raise ValueError(f"the format {fields['govern']!r} is not known here")
            self.filter = dict(fields["filter"])
            self.unsigned = [str(each) for each in fields.get("unsigned", [])]
            self.heads = [self._head(log) for log in fields["logs"]]
            if len({head.log for head in self.heads}) < len(self.heads):
                raise ValueError("a log stands in it twice")
            if not self.heads:
                raise ValueError("it names no log")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.heads = []
            self._name("header", f"This is no export of govern, or its header is damaged: {error}.")
            return False
        if self.lines.fault:
            self._name("line", f"The header: {self.lines.fault}.")
        return True

    def _head(self, fields: dict[str, Any]) -> _Head:
        """One log of the header, with the sizes at which its root is wanted."""
        log_id, origin, size = fields["log"], fields["origin"], fields["size"]
        signed = fields["checkpoint"].encode()
        if not isinstance(log_id, str) or not isinstance(origin, str) or type(size) is not int:
            raise TypeError("a log has an id, an origin and a size")
        root, trusted = None, True
        try:
            point = open_checkpoint(signed, self.keys)
        except TlogError as error:
            trusted = False
            self._name("signature", f"The checkpoint of {log_id} proves nothing: {error}.",
                       log=log_id)  # fmt: skip
        else:
            root = point.root
            if (point.origin, point.size) != (origin, size):
                trusted = False
                self._name(
                    "header",
                    f"The header gives {log_id} as {origin} with {size} entries, its checkpoint "
                    f"is that of {point.origin} with {point.size}.",
                    log=log_id,
                )
                size = point.size
        marks: dict[int, list[bytes]] = {
            kept.size: [] for kept in self.kept if kept.origin == origin and kept.size <= size
        }
        return _Head(log_id, origin, size, root, trusted, marks)

    # --- sections ---

    def _sections(self) -> None:
        line = self.lines.next()
        for number, head in enumerate(self.heads):
            if line == lines.begin(head.log):
                self._row_fault(head.log, None)
                line = self.lines.next()
            else:
                self._name("line", f"Here the entries of {head.log} should begin.", log=head.log)
                if line.startswith(b'{"log":'):
                    line = self.lines.next()
            line = self._section(head, line, self.heads[number + 1 :])
        self._end(line)

    def _section(self, head: _Head, line: bytes, later: Sequence[_Head]) -> bytes:
        """Check the pieces of one log; returns the first line that is none of them."""
        if 0 in head.marks:
            head.marks[0] = [merkle.EMPTY_ROOT]
        while line:
            if line.startswith(b'{"seq":'):
                if later and head.place >= head.size and self._log_of(line) == later[0].log:
                    break
                self._entry(head, line)
            elif line.startswith(b'{"skip":'):
                if later and head.place >= head.size:
                    break
                self._skip(head, line)
            elif self._ends_section(head, line, later):
                break
            else:
                self._unreadable(head, line)
            line = self.lines.next()
        self._close(head)
        return line

    def _ends_section(self, head: _Head, line: bytes, later: Sequence[_Head]) -> bool:
        if line.startswith(b'{"end":'):
            return True
        if line.startswith(b'{"log":'):
            return any(line == lines.begin(each.log) for each in later) or head.place >= head.size
        return (
            head.place >= head.size
            and bool(later)
            and not self.lines.peek().startswith((b'{"log":', b'{"end":'))
        )

    def _entry(self, head: _Head, line: bytes) -> None:
        self.rows += 1
        parts = lines.ENTRY.fullmatch(line)
        if parts is None:
            self._unreadable(head, line)
            return
        told_seq, told, values, body = parts.groups()
        seq = int(told_seq)
        digest = sha256(b"\x00" + body).digest()
        own = lines.encode(digest).encode() == told
        fields = leaf.parse(body)
        if not self._in_place(head, seq, fields if own else None):
            return
        if head.place >= head.size:
            self._name(
                "beyond", f"Entry {head.place} of {head.log} is beyond what was signed.",
                log=head.log, seq=head.place,
            )  # fmt: skip
            head.place += 1
            return
        self._check_entry(head, fields, values, own=own)
        self._grow(head, told, digest, own=own)

    def _in_place(self, head: _Head, seq: int, fields: dict[str, Any] | None) -> bool:
        """Whether the entry numbered `seq` is the next; `fields` are an unchanged leaf's."""
        if fields is None or fields.get("v") != leaf.VERSION:
            return seq == head.place or self._found_place(head, seq)
        if (fields.get("log"), fields.get("seq")) == (head.log, head.place):
            if seq != head.place:
                self._name("line", f"The line of entry {head.place} of {head.log} gives it the "
                           f"number {seq}.", log=head.log, seq=head.place)  # fmt: skip
            return True
        if fields.get("log") == head.log and seq != head.place:
            return self._found_place(head, seq)
        kind = "place" if fields.get("log") == head.log else "log"
        self._name(
            kind,
            f"The line of entry {seq} of {head.log} holds entry {fields.get('seq')!r} "
            f"of {fields.get('log')!r}.",
            log=head.log, seq=seq,
        )  # fmt: skip
        if self._seq_of(self.lines.peek()) != head.place:
            head.place, head.whole = head.place + 1, False
        return False

    def _check_entry(
        self, head: _Head, fields: dict[str, Any] | None, values: bytes | None, *, own: bool
    ) -> None:
        """Look at an entry that stands in its place."""
        self._row_fault(head.log, head.place)
        faults: list[tuple[str, str]] = []
        if not own:
            faults.append(("entry", "was changed: it does not have the hash beside it"))
        elif fields is None:
            faults.append(("leaf", "is no JSON object"))
        if fields is not None:
            # Of a changed entry only the values say more: they are damage of their own.
            if own:
                faults += leaf.faults(fields, log=head.log, seq=head.place, after=head.last)
                if not faults:
                    head.last = fields["time"]
            if values is not None or "commit" in fields:
                beside = {} if values is None else leaf.parse(values)
                if beside is None or (values is not None and leaf.canonical(beside) != values):
                    faults.append(("value", "has values that are not canonical JSON"))
                else:
                    faults += leaf.value_faults(fields, beside)
        for kind, words in faults:
            self._name(kind, f"Entry {head.place} of {head.log} {words}.",
                       log=head.log, seq=head.place)  # fmt: skip

    def _grow(self, head: _Head, told: bytes, digest: bytes, *, own: bool) -> None:
        head.shown += 1
        head.place += 1
        if not head.whole:
            return
        if own:
            head.roots.add(digest)
        else:
            try:
                head.roots.add(note.decode_base64(told.decode()), digest)
            except ValueError:  # not the canonical form of any hash
                head.roots.add(digest)
        if head.place in head.marks:
            self._mark(head)

    def _mark(self, head: _Head) -> None:
        head.marks[head.place] = [head.roots.told().root(), head.roots.found().root()]

    def _skip(self, head: _Head, line: bytes) -> None:
        try:
            begin, end, run = _read_skip(line)
        except (ValueError, TlogError):
            self._unreadable(head, line)
            return
        if begin != head.place and not self._found_place(head, begin):
            return
        self._row_fault(head.log, begin)
        if end > head.size:
            self._name("beyond", f"Entries up to {end} of {head.log} are more than were signed.",
                       log=head.log, seq=begin)  # fmt: skip
            head.place, head.whole = end, False
            return
        if not self.filter:
            self._name(
                "left_out",
                f"Entries {begin} to {end - 1} of {head.log} are left out, though the header "
                "says that nothing is.",
                log=head.log, seq=begin,
            )  # fmt: skip
        if head.whole:
            for mark in sorted(mark for mark in head.marks if begin < mark < end):
                count = len(merkle.subtrees(begin, mark))
                if merkle.subtrees(begin, mark) == merkle.subtrees(begin, end)[:count]:
                    part = merkle.Range(begin, mark, run.hashes[:count])
                    head.marks[mark] = [
                        tree.extend(part).root() for tree in (head.roots.told(), head.roots.found())
                    ]
            head.roots.extend(run)
        head.place = end
        if head.whole and end in head.marks:
            self._mark(head)

    # --- what stands where it does not belong ---

    def _found_place(self, head: _Head, seq: int) -> bool:
        """A piece that begins at `seq`, not at the place due: True if it may be taken as next."""
        following = self._seq_of(self.lines.peek())
        if following == head.place + 1 != seq + 1:
            self._name(
                "order", f"Entry {seq} of {head.log} stands where entry {head.place} belongs.",
                log=head.log, seq=head.place,
            )  # fmt: skip
            _note(head.strays, seq)
            _note(head.absent, head.place)
            head.place, head.whole = head.place + 1, False
            return False
        if seq > head.place and following != head.place:
            self._gap(head, seq, "missing", "before this line")
            return True
        if seq >= head.place or seq in head.absent:
            _note(head.strays, seq)
            words = f"Entry {seq} of {head.log} stands before or after its place."
            self._name("order", words, log=head.log, seq=seq)
        else:
            self._name("doubled", f"Entry {seq} of {head.log} stands here a second time.",
                       log=head.log, seq=seq)  # fmt: skip
        return False

    def _gap(self, head: _Head, end: int, kind: str, where: str) -> None:
        """Name [place, end) as missing, but for what was seen elsewhere; and go on behind."""
        missing = end - head.place
        if missing > len(head.strays) or not set(range(head.place, end)) <= head.strays:
            which = (
                f"Entry {head.place} of {head.log} is"
                if missing == 1
                else f"Entries {head.place} to {end - 1} of {head.log} are"
            )
            self._name(kind, f"{which} missing {where}.",
                       log=head.log, seq=head.place)  # fmt: skip
        for seq in range(head.place, min(end, head.place + _MOST_NAMED)):
            _note(head.absent, seq)
        head.place, head.whole = end, False

    def _unreadable(self, head: _Head, line: bytes) -> None:
        """A line that is no piece at all; it is taken for the one that belongs here."""
        cut = "" if line.endswith(b"\n") else " It has no end: the file was cut off within it."
        if head.place >= head.size:
            self._name("line", f"After the last entry of {head.log} stands a damaged line.{cut}",
                       log=head.log)  # fmt: skip
            return
        self._name("line", f"This line is damaged, where entry {head.place} of {head.log} "
                   f"belongs.{cut}", log=head.log, seq=head.place)  # fmt: skip
        if self._seq_of(self.lines.peek()) != head.place:
            bounds = _skip_bounds(line)
            known = bounds is not None and bounds[0] == head.place < bounds[1]
            head.place = bounds[1] if bounds and known else head.place + 1
            head.whole = False

    def _seq_of(self, line: bytes) -> int | None:
        parts = lines.ENTRY.fullmatch(line)
        if parts is not None:
            return int(parts[1])
        bounds = _skip_bounds(line)
        return bounds[0] if bounds else None

    def _log_of(self, line: bytes) -> str | None:
        parts = lines.ENTRY.fullmatch(line)
        fields = leaf.parse(parts[4]) if parts else None
        return None if fields is None else str(fields.get("log"))

    def _row_fault(self, log: str, seq: int | None) -> None:
        if self.lines.fault:
            what = log if seq is None else f"Entry {seq} of {log}"
            self._name("line", f"{what}: {self.lines.fault}.", log=log, seq=seq)

    # --- ends ---

    def _close(self, head: _Head) -> None:
        if head.place < head.size:
            self._gap(head, head.size, "tail", "at the end")
        if not head.whole or head.place != head.size or head.root is None:
            return
        if head.root in (head.roots.told().root(), head.roots.found().root()):
            head.proven = head.signed
            return
        others = sum(n for (_, log), n in self.kinds.items() if log == head.log)
        self._name(
            "root",
            f"The entries of {head.log} do not add up to what was signed, "
            + (
                "beyond the damage named so far."
                if others
                else "although each has its own hash: they were rewritten without the key."
            ),
            log=head.log,
            line=None,
        )

    def _end(self, line: bytes) -> None:
        if not line:
            self._name("end", "The last line is missing: the file was cut off.")
            return
        if line != lines.end(self.rows, self.lines.digest_before()):
            if line.startswith(b'{"end":'):
                if not self.damage:
                    self._name("end", "The last line does not fit what stands before it: a byte "
                               "was changed, here or in the header.")  # fmt: skip
            else:
                self._name("end", "Here the file should end.")
        elif self.lines.fault:
            self._name("end", f"The last line: {self.lines.fault}.")
        if self.lines.next():
            self._name("end", "Something stands after the last line.")

    def _compare_kept(self) -> None:
        by_origin = {head.origin: head for head in self.heads}
        for kept in self.kept:
            head = by_origin.get(kept.origin)
            if head is None:
                self.doubts.append(
                    f"Anything against the checkpoint that you kept of {kept.origin} at "
                    f"{kept.size} entries: this file does not hold that log."
                )
            elif kept.size > head.size:
                self._name(
                    "tail",
                    f"You kept a checkpoint of {head.log} with {kept.size} entries, and this file "
                    f"ends with entry {head.size - 1}: its tail was cut off.",
                    log=head.log, seq=head.size, line=None,
                )  # fmt: skip
            elif not head.marks[kept.size]:
                self.doubts.append(
                    f"That the first {kept.size} entries of {head.log} are those of the checkpoint "
                    "that you kept: what this file leaves out, or damage, hides that place."
                )
            elif kept.root not in head.marks[kept.size]:
                self._name(
                    "rewritten",
                    f"The first {kept.size} entries of {head.log} are not those of the checkpoint "
                    "that you kept: the log was rewritten, and signed anew by the same key.",
                    log=head.log, line=None,
                )  # fmt: skip
            else:
                self.proves.append(
                    f"The tail of {head.log} is proven up to entry {kept.size - 1}, by the "
                    f"checkpoint of {kept.size} entries that you kept: none of these was removed "
                    "or changed since."
                    if kept.size
                    else f"{head.log} continues the empty log whose checkpoint you kept."
                )

    def _conclude(self) -> None:
        damaged = {log for _, log in self.kinds}
        for head in self.heads:
            if not head.proven:
                self.doubts.append(f"Anything about {head.log} as a whole: see the damage.")
                continue
            left_out = head.size - head.shown
            whole = head.log not in damaged
            shown = (
                f"all {head.size} entries are here, unchanged, in order and without a gap"
                if not left_out
                else f"{head.shown} of {head.size} entries are here, unchanged and each in its "
                f"place; the other {left_out} are left out by the filter, and counted"
            )
            if whole:
                self.proves.append(
                    f"{head.log} ({head.origin}): {shown}, as the key signed the first {head.size}."
                )
            else:
                self.proves.append(
                    f"{head.log} ({head.origin}): all but what is named as damage is as the key "
                    "signed it."
                )
            if left_out:
                self.doubts.append(
                    f"That none of the {left_out} entries of {head.log} left out fits the filter."
                )
            self.doubts.append(
                f"That {head.log} had no entry after the first {head.size}: keep this checkpoint, "
                "and hand it over with the next export."
            )
        self.doubts += [
            f"Anything about {log}: nothing of it was signed when this was written."
            for log in self.unsigned
        ]
        self.doubts.append(
            "Who holds the key, what the header says of filter and time, or that what was "
            "recorded was true."
        )


def _note(places: set[int], seq: int) -> None:
    if len(places) < _MOST_NAMED:
        places.add(seq)


def _skip_bounds(line: bytes) -> tuple[int, int] | None:
    parts = lines.SKIP.fullmatch(line)
    return (int(parts[1]), int(parts[2])) if parts else None


def _read_skip(line: bytes) -> tuple[int, int, merkle.Range]:
    parts = lines.SKIP.fullmatch(line)
    if parts is None:
        raise ValueError("no run of entries")
    begin, end = int(parts[1]), int(parts[2])
    hashes = tuple(note.decode_base64(each) for each in json.loads(b"[%s]" % parts[3]))
    if begin >= end or lines.skip(begin, end, hashes) != line:
        raise ValueError("not written as a run of entries is")
    return begin, end, merkle.Range(begin, end, hashes)

"""The pieces of one log in a file: entries, and the hashes of what a filter left out.

Each is taken in its place, or named with the place where it stands, and the check goes on behind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from govern.audit import leaf, lines
from govern.audit.redactions import Redactions
from govern.audit.roots import Roots
from govern.audit.verify import plain
from govern.audit.verify.plain import Run
from govern.audit.verify.report import MOST_NAMED
from govern.tlog import merkle, note
from govern.tlog.errors import TlogError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from govern.audit.verify.plain import Ahead
    from govern.audit.verify.report import Findings
    from govern.audit.verify.source import Lines
    from govern.tlog.checkpoint import Checkpoint


@dataclass
class Head:
    """A log of the header, and what its section has shown so far."""

    log: str
    origin: str
    size: int
    root: bytes | None
    signed: bool
    marks: dict[int, list[bytes]] = field(default_factory=dict)
    # Checkpoints that witnesses cosigned, of which the log's own signature was verified.
    cosigned: list[tuple[bytes, Checkpoint]] = field(default_factory=list)
    roots: Roots = field(default_factory=Roots)
    redactions: Redactions = field(default_factory=Redactions)
    erasures: int = 0
    place: int = 0
    last: str = ""
    shown: int = 0
    proven: bool = False
    # Whether every piece up to `place` was there, so that a root can be computed.
    whole: bool = True
    # Entries that stood where another belongs, and those that did not stand where they belong.
    strays: set[int] = field(default_factory=set)
    absent: set[int] = field(default_factory=set)


class Pieces:
    """One pass over the sections of a file.

    `rows` counts the entries shown so far, `erased` the values that are said to be erased.
    """

    def __init__(
        self, source: Lines, found: Findings, *, filtered: bool, ahead: Ahead | None
    ) -> None:
        self.lines = source
        self._ahead = ahead
        self.found = found
        self._name = found.name
        self.filtered = filtered
        self.rows = self.erased = 0

    def section(self, head: Head, line: bytes, later: Sequence[Head]) -> bytes:
        """Check the pieces of one log, from the line that begins it on.

        Returns the first line that is none of them; `later` are the logs still to come.
        """
        if line == lines.begin(head.log):
            self._row_fault(head.log, None)
            line = self.lines.next()
        else:
            self._name("line", f"Here the entries of {head.log} should begin.", log=head.log)
            if line.startswith(b'{"log":'):
                line = self.lines.next()
        if 0 in head.marks:
            head.marks[0] = [merkle.EMPTY_ROOT]
        while line := self._plain(head, line):
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

    def _plain(self, head: Head, line: bytes) -> bytes:
        """Take the entries that are plainly as they should be, at a fraction of the cost.

        Returns the first line that is anything else, which the slow way looks at.
        """
        if head.whole and not (head.roots.is_forked or self.lines.is_csv):
            while (found := self._run(head)) is not None:
                self._take(head, found)
                line = self.lines.behind(found.end - found.begin, len(found.hashes))
        return line

    def _run(self, head: Head) -> Run | None:
        """The plain entries from the present line on, as far as they belong here."""
        at, most = self.lines.offset, head.size - head.place
        log, last = head.log.encode(), head.last.encode()
        found = self._ahead.at(at) if self._ahead is not None else None
        if (
            found is not None
            and (found.log, found.place) == (log, head.place)
            and found.first > last
            and len(found.hashes) <= most
        ):
            return found
        until = None if self._ahead is None else (at // plain.STRETCH + 1) * plain.STRETCH
        after = Run(log, head.place, 0, 0, b"", last, [])
        return plain.run(self.lines.matches(lines.PLAIN, until), after, most)

    def _take(self, head: Head, found: Run) -> None:
        begin, end = head.place, head.place + len(found.hashes)
        for place in [*(each for each in range(begin + 1, end) if each in head.marks), end]:
            head.roots.add_all(found.hashes[head.place - begin : place - begin])
            head.place = place
            if place in head.marks:
                self._mark(head)
        head.last = found.last.decode()
        head.shown += end - begin
        self.rows += end - begin

    def _ends_section(self, head: Head, line: bytes, later: Sequence[Head]) -> bool:
        if line.startswith(b'{"end":'):
            return True
        if line.startswith(b'{"log":'):
            return any(line == lines.begin(each.log) for each in later) or head.place >= head.size
        return (
            head.place >= head.size
            and bool(later)
            and not self.lines.peek().startswith((b'{"log":', b'{"end":'))
        )

    def _entry(self, head: Head, line: bytes) -> None:
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

    def _in_place(self, head: Head, seq: int, fields: dict[str, Any] | None) -> bool:
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
        self, head: Head, fields: dict[str, Any] | None, values: bytes | None, *, own: bool
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
            beside = {} if values is None else leaf.parse(values)
            if values is not None or "commit" in fields:
                if beside is None or (values is not None and leaf.canonical(beside) != values):
                    faults.append(("value", "has values that are not canonical JSON"))
                else:
                    faults += leaf.value_faults(fields, beside)
                    self.erased += sum(each is None for each in beside.values())
            if own:
                redacted = head.redactions.add(head.place, fields, beside or {})
                faults += [("erased", words) for words in redacted]
        for kind, words in faults:
            self._name(kind, f"Entry {head.place} of {head.log} {words}.",
                       log=head.log, seq=head.place)  # fmt: skip

    def _grow(self, head: Head, told: bytes, digest: bytes, *, own: bool) -> None:
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

    def _mark(self, head: Head) -> None:
        head.marks[head.place] = [head.roots.told().root(), head.roots.found().root()]

    def _skip(self, head: Head, line: bytes) -> None:
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
        if not self.filtered:
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

    def _found_place(self, head: Head, seq: int) -> bool:
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

    def _gap(self, head: Head, end: int, kind: str, where: str) -> None:
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
        for seq in range(head.place, min(end, head.place + MOST_NAMED)):
            _note(head.absent, seq)
        head.place, head.whole = end, False

    def _unreadable(self, head: Head, line: bytes) -> None:
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

    def _close(self, head: Head) -> None:
        if head.redactions.entries < head.erasures and head.whole:
            self._name("erased", f"The header says that {head.erasures} entries of {head.log} "
                       "account for erased values; "
                       f"{head.redactions.entries} stand here.", log=head.log)  # fmt: skip
        for seq, words in head.redactions.unaccounted():
            self._name("erased", f"Entry {seq} of {head.log} {words}.", log=head.log, seq=seq)
        if head.place < head.size:
            self._gap(head, head.size, "tail", "at the end")
        if not head.whole or head.place != head.size or head.root is None:
            return
        if head.root in (head.roots.told().root(), head.roots.found().root()):
            head.proven = head.signed
            return
        others = sum(n for (_, log), n in self.found.kinds.items() if log == head.log)
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


def _note(places: set[int], seq: int) -> None:
    if len(places) < MOST_NAMED:
        places.add(seq)


def _skip_bounds(line: bytes) -> tuple[int, int] | None:
    parts = lines.SKIP.fullmatch(line)
    return (int(parts[1]), int(parts[2])) if parts else None


def _read_skip(line: bytes) -> tuple[int, int, merkle.Range]:
    parts = lines.SKIP.fullmatch(line)
    if parts is None:
        raise ValueError("no run of entries")
    begin, end = int(parts[1]), int(parts[2])
    hashes = tuple(note.decode_base64(str(each)) for each in json.loads(b"[%s]" % parts[3]))
    if begin >= end or lines.skip(begin, end, hashes) != line:
        raise ValueError("not written as a run of entries is")
    return begin, end, merkle.Range(begin, end, hashes)

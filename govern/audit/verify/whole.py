"""One pass over a whole file: its header, the pieces of each log, its end, and what that proves.

- A log counts as proven only if all its pieces, put together, have the root that the key signed.
- Every byte of a line is accounted for: each has one form, and is compared with it.
- Damage is named by entry and physical line, and the check goes on behind it.
- What a good result does not prove is said in the same report.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from govern.audit import lines
from govern.audit.verify.keys import (
    open_checkpoint,
    opens_manifest,
    read_keys,
    read_witnesses,
)
from govern.audit.verify.pieces import Head, Pieces
from govern.audit.verify.plain import Ahead
from govern.audit.verify.report import (
    Findings,
    Proven,
    Report,
    all_here,
    entries,
    erased,
)
from govern.audit.verify.source import Lines
from govern.tlog.errors import TlogError, UnsignedNoteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import IO

    from govern.tlog import note
    from govern.tlog.checkpoint import Checkpoint
    from govern.tlog.cosignature import Witness

# From how many bytes on other processes are worth their start.
_LARGE = 1 << 21


def check(
    stream: IO[bytes],
    *,
    keys: Iterable[str],
    kept: Iterable[bytes] = (),
    witnesses: Iterable[str] = (),
    listed: Iterable[bytes] = (),
    processes: int = 0,
) -> Report:
    """Check an export, JSON Lines or CSV, in one pass and constant memory.

    `keys` are verifier keys (C2SP signed-note); that of an installation, `name+…`, stands for its
    logs `name/logs/…`. `kept` are checkpoints that the reader kept: they show whether a tail was
    cut off since; `listed` are those handed over beside the file. `witnesses` are the keys of
    witnesses that the reader trusts. Of a large file on Linux so many `processes` look ahead, for a
    caller that has no other threads. Raises `Invalid` where no key is given, or one cannot be read.
    """
    given = read_keys(keys), tuple(kept), read_witnesses(witnesses), tuple(listed)
    if processes < 2 or sys.platform != "linux" or not _is_large(stream):  # noqa: PLR2004 - others
        return _Check(stream, *given).run()
    ahead = Ahead(stream, processes)
    try:
        return _Check(stream, *given, ahead=ahead).run()
    finally:
        ahead.close()


def _is_large(stream: IO[bytes]) -> bool:
    try:
        return stream.tell() == 0 and os.fstat(stream.fileno()).st_size >= _LARGE
    except (OSError, AttributeError):  # it is no file, or one within another
        return False


class _Check:
    """One pass over one file."""

    def __init__(
        self,
        stream: IO[bytes],
        keys: Sequence[note.Verifier],
        kept: Sequence[bytes],
        witnesses: Sequence[Witness],
        listed: Sequence[bytes],
        *,
        ahead: Ahead | None = None,
    ) -> None:
        self.lines = Lines(stream)
        self.ahead = ahead
        self.keys = keys
        self.kept_notes = kept
        self.witnesses = witnesses
        self.listed_notes = listed
        self.kept: list[Checkpoint] = []
        self.listed: list[Checkpoint] = []
        self.heads: list[Head] = []
        self.filter: dict[str, Any] = {}
        self.unsigned: list[str] = []
        self.withheld = False
        self.found = Findings(self.lines)
        self._name = self.found.name
        self.rows = self.erased = 0
        self.vouched = False
        self.proves: list[str] = []
        self.doubts: list[str] = []

    def run(self) -> Report:
        try:
            return self._run()
        finally:
            self.lines.close()

    def _run(self) -> Report:
        self._open_kept()
        if self._header():
            self._sections()
            self._compare_kept()
            self._compare_listed()
            self._compare_witnessed()
            self._conclude()
        total = sum(self.found.kinds.values())
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
            damage=tuple(self.found.damage),
            unnamed=total - len(self.found.damage),
            proves=tuple(self.proves),
            does_not_prove=tuple(self.doubts),
        )  # fmt: skip

    # --- header ---

    def _open_kept(self) -> None:
        for each in self.kept_notes:
            try:
                self.kept.append(open_checkpoint(each, self.keys))
            except TlogError as error:
                self._name("kept", f"A checkpoint that you kept cannot be trusted: {error}.",
                           line=None)  # fmt: skip
        for each in self.listed_notes:
            try:
                self.listed.append(open_checkpoint(each, self.keys))
            except TlogError as error:
                self._name("heads", f"A signed head beside the log proves nothing: {error}.",
                           line=None)  # fmt: skip

    def _header(self) -> bool:
        line = self.lines.next()
        try:
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise TypeError("it is no object")
            if lines.header({k: v for k, v in fields.items() if k != "govern"}) != line:
                raise ValueError("it is not written as a header is")
            if fields["govern"] != lines.FORMAT:
                raise ValueError(f"the format {fields['govern']!r} is not known here")
            self.filter = dict(fields["filter"])
            self.unsigned = [str(each) for each in fields.get("unsigned", [])]
            self.withheld = bool(fields.get("withheld"))
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

    def _head(self, fields: dict[str, Any]) -> Head:
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
            kept.size: []
            for kept in (*self.kept, *self.listed)
            if kept.origin == origin and kept.size <= size
        }
        head = Head(log_id, origin, size, root, trusted, marks)
        head.erasures = int(fields.get("erasures", 0))
        for each in fields.get("cosigned", []):
            self._cosigned(head, each.encode())
        return head

    def _cosigned(self, head: Head, signed: bytes) -> None:
        """A checkpoint under which witnesses stand, whose root is wanted at its size."""
        try:
            point = open_checkpoint(signed, self.keys)
        except TlogError as error:
            self._name("signature", f"A cosigned checkpoint of {head.log} proves nothing: {error}.",
                       log=head.log)  # fmt: skip
            return
        if point.origin != head.origin or point.size > head.size:
            self._name("header", f"A cosigned checkpoint is not one of {head.log} here.",
                       log=head.log)  # fmt: skip
            return
        head.marks[point.size] = []
        head.cosigned.append((signed, point))

    # --- the logs, and the end ---

    def _sections(self) -> None:
        line = self.lines.next()
        pieces = Pieces(self.lines, self.found, filtered=bool(self.filter), ahead=self.ahead)
        for number, head in enumerate(self.heads):
            line = pieces.section(head, line, self.heads[number + 1 :])
        self.rows, self.erased = pieces.rows, pieces.erased
        self._end(line)

    def _end(self, line: bytes) -> None:
        if not line:
            self._name("end", "The last line is missing: the file was cut off.")
            return
        if not self._ends(line):
            if line.startswith(b'{"end":'):
                if not self.found.damage:
                    self._name("end", "The last line does not fit what stands before it: a byte "
                               "was changed, here or in the header.")  # fmt: skip
            else:
                self._name("end", "Here the file should end.")
        elif self.lines.fault:
            self._name("end", f"The last line: {self.lines.fault}.")
        if self.lines.next():
            self._name("end", "Something stands after the last line.")

    def _ends(self, line: bytes) -> bool:
        """Whether this is the last line that belongs here; its signature is looked at."""
        digest = self.lines.digest_before()
        if line == lines.end(self.rows, self.erased, digest):
            return True
        try:
            signed = json.loads(line)["signed"]
            if line != lines.end(self.rows, self.erased, digest, signed):
                return False
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        try:
            self.vouched = opens_manifest(
                signed, self.keys, rows=self.rows, erased=self.erased, digest=digest
            )
        except (TlogError, AttributeError):
            self.vouched = False
        if not self.vouched:
            self._name("manifest", "The last line is not signed by a key that you trust: header, "
                       "counts and digest may be anyone's.")  # fmt: skip
        return True

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
                    f"checkpoint of {entries(kept.size)} that you kept: none of these was removed "
                    "or changed since."
                    if kept.size
                    else f"{head.log} continues the empty log whose checkpoint you kept."
                )

    def _compare_listed(self) -> None:
        by_origin = {head.origin: head for head in self.heads}
        compared = 0
        for point in self.listed:
            head = by_origin.get(point.origin)
            if head is None or point.size > head.size:
                words = f"A signed head of {point.size} entries of {point.origin} stands beside the"
                self._name("heads", f"{words} log, which does not reach it.", line=None)
            elif head.marks[point.size] and point.root not in head.marks[point.size]:
                self._name("rewritten", f"The first {point.size} entries of {head.log} are not "
                           "those of the signed head beside the log.",
                           log=head.log, line=None)  # fmt: skip
            else:
                compared += bool(head.marks[point.size])
        if compared:
            heads = "signed head" if compared == 1 else "signed heads"
            agree = "agrees" if compared == 1 else "agree"
            self.proves.append(f"{compared} {heads} beside the log {agree} with its entries.")

    def _compare_witnessed(self) -> None:
        for head in self.heads:
            for witness in self.witnesses:
                self._witnessed(head, witness)

    def _witnessed(self, head: Head, witness: Witness) -> None:
        """Up to where the file is what this witness saw."""
        for signed, point in sorted(head.cosigned, key=lambda each: -each[1].size):
            try:
                when = datetime.fromtimestamp(witness.seen(signed), UTC)
            except UnsignedNoteError:
                continue
            except TlogError as error:
                self._name("witness", f"{head.log}: {error}.", log=head.log)
                continue
            roots = head.marks[point.size]
            if roots and point.root not in roots:
                self._name(
                    "rewritten",
                    f"The first {point.size} entries of {head.log} are not those that "
                    f"{witness.name} cosigned.",
                    log=head.log, line=None,
                )  # fmt: skip
            elif roots:
                self.proves.append(
                    f"{witness.name} saw the first {point.size} entries of {head.log} at "
                    f"{when:%Y-%m-%dT%H:%M:%SZ}, and that none of what it saw before was changed."
                )
                return
        self.doubts.append(f"That {witness.name} ever saw {head.log} as it is here.")

    def _conclude(self) -> None:
        damaged = {log for _, log in self.found.kinds}
        for head in self.heads:
            if not head.proven:
                self.doubts.append(f"Anything about {head.log} as a whole: see the damage.")
                continue
            left_out = head.size - head.shown
            whole = head.log not in damaged
            shown = (
                all_here(head.size)
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
        if self.withheld:
            self.doubts.append("Anything about logs that the reader of this file may not see.")
        accounting = entries(sum(head.redactions.entries for head in self.heads))
        self.doubts += erased(
            self.erased, f"The log accounts for it, by {accounting} of type subject.erased."
        )
        if self.vouched:
            self.proves.append(
                "The file is as it was made, to the byte: its filter, time and counts are signed."
            )
        self.doubts.append(
            "Who holds the key, or that what was recorded was true."
            if self.vouched
            else "Who holds the key, what the header says of filter and time, or that what was "
            "recorded was true."
        )

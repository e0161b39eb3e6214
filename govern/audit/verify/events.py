"""An OCSF export alone: whether it is as it was made, and whether the entries in it are all.

The manifest at its end is signed over every byte before. Where nothing was filtered, the entries in
`raw_data` are put together to the root that the key signed; of a filtered export, the signature
alone says that these are the entries that were shown. So it does of personal values, which stand in
an event without the salt that their entry committed to them with.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from govern.audit import lines, siem
from govern.audit.verify.keys import open_checkpoint, opens_manifest, read_keys
from govern.audit.verify.report import (
    Findings,
    Proven,
    Report,
    all_here,
    entries,
    erased,
)
from govern.tlog import merkle
from govern.tlog.errors import TlogError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

    from govern.tlog.checkpoint import Checkpoint

_BEGINS = b'{"activity_id":'
BEGINS = len(_BEGINS)
_TOGETHER = 1024


def is_events(head: bytes) -> bool:
    """Whether a file that begins so is an OCSF export."""
    return head.startswith(_BEGINS)


def check(
    stream: IO[bytes],
    *,
    keys: Iterable[str],
    kept: Iterable[bytes] = (),
    witnesses: Iterable[str] = (),
) -> Report:
    """Check an OCSF export in one pass and constant memory; the arguments are those of `whole`."""
    return _Check(stream, list(keys), list(kept), asks_witnesses=bool(list(witnesses))).run()


class _Check:
    """One pass over one file."""

    def __init__(
        self, stream: IO[bytes], keys: list[str], kept: list[bytes], *, asks_witnesses: bool
    ) -> None:
        self.number = 0
        self._stream = stream
        self._keys = read_keys(keys)
        self._found = Findings(self)
        self._name = self._found.name
        self._kept = [point for each in kept if (point := self._opened(each, "kept")) is not None]
        self._sizes = {(point.origin, point.size) for point in self._kept}
        self._asks_witnesses = asks_witnesses
        self._valued = False
        self._hash = sha256()
        # By log: the tree of the entries so far, while they come in order from the first on.
        self._trees: dict[str, merkle.Range] = {}
        self._waiting: dict[str, list[bytes]] = {}
        self._counts: dict[str, int] = {}
        self._roots: dict[tuple[str, int], bytes] = {}
        self._proves: list[str] = []
        self._doubts: list[str] = []

    def run(self) -> Report:
        last = b""
        while line := self._stream.readline(lines.MAX_LINE):
            if last:
                self._take(last)
            last = line
        self.number += 1
        fields = self._end(last)
        heads = [self._head(each, whole=not fields["filter"]) for each in fields.get("logs", ())]
        total = sum(self._found.kinds.values())
        return Report(
            ok=not total, rows=sum(self._counts.values()), logs=tuple(heads),
            damage=tuple(self._found.damage), unnamed=total - len(self._found.damage),
            proves=tuple(self._proves), does_not_prove=tuple(self._doubts),
        )  # fmt: skip

    def _take(self, line: bytes) -> None:
        """An event before the last."""
        self.number += 1
        self._hash.update(line)
        try:
            event = json.loads(line)
            body = event["raw_data"].encode()
            fields = json.loads(body)
            log, seq = str(fields["log"]), fields["seq"]
            if (log, seq) != (event["metadata"]["log_name"], event["metadata"]["sequence"]):
                raise ValueError("raw_data")
            self._valued |= bool(event["unmapped"]["values"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._name("line", "This is no event of an export, or it tells of another entry than "
                       "stands in it.")  # fmt: skip
            return
        self._counts[log] = self._counts.get(log, 0) + 1
        if seq == self._counts[log] - 1:
            waiting = self._waiting.setdefault(log, [])
            waiting.append(merkle.leaf_hash(body))
            if len(waiting) >= _TOGETHER or any(seq + 1 == size for _, size in self._sizes):
                self._grow(log)

    def _grow(self, log: str) -> None:
        tree = self._trees.get(log, merkle.Range.empty())
        tree = self._trees[log] = tree.extend_leaves(self._waiting.pop(log, []))
        if any(tree.end == size for _, size in self._sizes):
            self._roots[log, tree.end] = tree.root()

    def _end(self, line: bytes) -> dict[str, Any]:
        """The first line of the manifest; without one there is nothing to hold the events to."""
        parts = siem.lines_of(line)
        if parts is None:
            self._name("end", "The last event is no manifest, or was changed: the file was cut "
                       "off, or made before exports had one.")  # fmt: skip
            return {"filter": {"unknown": True}}
        header, end = parts
        fields: dict[str, Any] = json.loads(header)
        told = json.loads(end)
        rows = sum(self._counts.values())
        given = {"rows": told["rows"], "erased": told["erased"], "digest": told["sha256"]}
        if told["sha256"] != self._hash.hexdigest() or told["rows"] != rows:
            self._name("end", "The events are not those that the manifest was made of: a byte was "
                       "changed, or an event is missing or too many.", line=None)  # fmt: skip
        try:
            vouched = opens_manifest(told["signed"], self._keys, **given)
        except (TlogError, KeyError, AttributeError):
            vouched = False
        if vouched and not self._found.kinds:
            self._proves.append(
                "The file is as it was made, to the byte: its filter, time and counts are signed."
            )
        elif not vouched:
            self._name("manifest", "The manifest is not signed by a key that you trust: filter, "
                       "counts and digest may be anyone's.")  # fmt: skip
        self._doubt(fields, told["erased"])
        return fields

    def _doubt(self, fields: dict[str, Any], values: int) -> None:
        if fields.get("withheld"):
            self._doubts.append("Anything about logs that the reader of this file may not see.")
        self._doubts += [
            f"Anything about {log}: nothing of it was signed when this was written."
            for log in fields.get("unsigned", ())
        ]
        if self._valued:
            self._doubts.append(
                "That a personal value is the one that its entry committed to: the same export as "
                "JSON Lines or CSV proves each."
            )
        self._doubts += erased(
            values, "Whether the log accounts for it the same export as JSON Lines or CSV proves."
        )
        if self._asks_witnesses:
            self._doubts.append("What witnesses saw: export it as JSON Lines or CSV for that.")
        self._doubts.append("Who holds the key, or that what was recorded was true.")

    def _opened(self, signed: bytes, kind: str) -> Checkpoint | None:
        try:
            return open_checkpoint(signed, self._keys)
        except TlogError as error:
            self._name(kind, f"A checkpoint proves nothing: {error}.", line=None)
            return None

    def _head(self, fields: dict[str, Any], *, whole: bool) -> Proven:
        """What the events are worth of one log."""
        log, size = str(fields["log"]), int(fields["size"])
        shown = self._counts.get(log, 0)
        point = self._opened(str(fields["checkpoint"]).encode(), "signature")
        proven = False
        if point is not None and (point.origin, point.size) != (fields["origin"], size):
            self._name("header", f"The checkpoint of {log} is another log's.", log=log, line=None)
        elif point is not None and whole:
            self._grow(log)
            tree = self._trees[log]
            proven = (tree.end, tree.root()) == (size, point.root) and shown == size
            if proven:
                self._proves.append(
                    f"{log} ({point.origin}): {all_here(size)}, as the key signed the first {size}."
                )
            else:
                self._name("root", f"The entries of {log} are not the first {size} that the key "
                           "signed.", log=log, line=None)  # fmt: skip
        elif point is not None:
            self._doubts.append(
                f"That the {shown} entries of {log} stand in it as they are here, or that none of "
                f"the other {size - shown} fits the filter: the same export as JSON Lines or CSV "
                "proves the place of each."
            )
        self._doubts.append(
            f"That {log} had no entry after the first {size}: keep this checkpoint, and hand it "
            "over with the next export."
        )
        for kept in self._kept:
            if kept.origin == fields["origin"]:
                self._compare(log, size, kept)
        return Proven(log=log, origin=str(fields["origin"]), size=size, shown=shown, signed=proven)

    def _compare(self, log: str, size: int, kept: Checkpoint) -> None:
        root = self._roots.get((log, kept.size))
        if kept.size > size:
            self._name("tail", f"You kept a checkpoint of {log} with {kept.size} entries, and this "
                       f"file ends with entry {size - 1}: its tail was cut off.",
                       log=log, seq=size, line=None)  # fmt: skip
        elif root is None:
            self._doubts.append(
                f"That the first {kept.size} entries of {log} are those of the checkpoint that you "
                "kept: they are not all here."
            )
        elif root != kept.root:
            self._name("rewritten", f"The first {kept.size} entries of {log} are not those of the "
                       "checkpoint that you kept: the log was rewritten, and signed anew by the "
                       "same key.", log=log, line=None)  # fmt: skip
        else:
            self._proves.append(f"{log} continues the checkpoint of {entries(kept.size)} that you "
                                "kept.")  # fmt: skip

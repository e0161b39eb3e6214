"""Exports made by hand, without a database: what a verifier is given, and what is done to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from govern.audit import leaf, lines, verify
from govern.tlog import checkpoint, merkle, note

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "govern.test"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = str(note.Signer(NAME, KEY).verifier)


@dataclass
class Log:
    """A log in memory: leaves, and the values beside them."""

    id: str = "house"
    leaves: list[bytes] = field(default_factory=list)
    values: dict[int, dict[str, list[str]]] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"{NAME}/logs/{self.id}"

    def add(self, values: dict[str, str] | None = None, **changed: Any) -> None:
        seq = len(self.leaves)
        opened = {name: [leaf.salt(), value] for name, value in (values or {}).items()}
        fields: dict[str, Any] = {
            "log": self.id,
            "seq": seq,
            "time": f"2026-11-21T09:{seq // 60:02}:{seq % 60:02}.000000Z",
            "type": "grant.issued",
            "actor": "sub_1",
            "session": None,
            "refs": {"subject": f"sub_{seq % 3}", "client": "=cli"},
            "data": {},
            "commit": {name: leaf.commitment(*pair) for name, pair in opened.items()},
        }
        odd = {name: changed.pop(name) for name in [*changed] if name not in fields}
        body = leaf.build(**(fields | changed))
        if odd:
            body = leaf.canonical((leaf.parse(body) or {}) | odd)
        self.leaves.append(body)
        if opened:
            self.values[seq] = opened

    def tree(self, begin: int = 0, end: int | None = None) -> merkle.Range:
        chosen = self.leaves[begin:end]
        return merkle.Range.empty(begin).extend_leaves(map(merkle.leaf_hash, chosen))

    def sign(self, size: int | None = None, *, key: Ed25519PrivateKey = KEY) -> bytes:
        size = len(self.leaves) if size is None else size
        head = checkpoint.Checkpoint(self.origin, size, self.tree(0, size).root())
        return checkpoint.sign(head, note.Signer(self.origin, key))


def log(size: int, id: str = "house") -> Log:
    """A log with a personal value in every fourth entry."""
    made = Log(id)
    for seq in range(size):
        made.add({"note": f"Zoë, “{seq}”\n", "actor": "operator:root"} if seq % 4 == 1 else None)
    return made


def export(
    *logs: Log,
    shown: Callable[[int], bool] | None = None,
    form: str = "jsonl",
    size: int | None = None,
    signed: dict[str, bytes] | None = None,
) -> bytes:
    """An export as govern writes it; `shown` tells which entries the filter lets through."""
    heads = [
        {
            "log": each.id,
            "origin": each.origin,
            "size": len(each.leaves) if size is None else size,
            "checkpoint": ((signed or {}).get(each.id) or each.sign(size)).decode(),
        }
        for each in logs
    ]
    fields = {"made_at": "2026-11-21T10:00:00.000000Z", "logs": heads}
    written = [lines.header(fields | {"filter": {} if shown is None else {"subject": "sub_1"}})]
    rows = 0
    for each in logs:
        written.append(lines.begin(each.id))
        place = 0
        end = len(each.leaves) if size is None else size
        for seq, body in enumerate(each.leaves[:end]):
            if shown is None or shown(seq):
                if seq > place:
                    written.append(lines.skip(place, seq, each.tree(place, seq).hashes))
                digest = lines.encode(merkle.leaf_hash(body))
                written.append(lines.entry(seq, digest, each.values.get(seq), body))
                rows += 1
                place = seq + 1
        if place < end:
            written.append(lines.skip(place, end, each.tree(place, end).hashes))
    return finish(written, rows, form=form)


def finish(
    written: list[bytes],
    rows: int,
    *,
    form: str = "jsonl",
    erased: int = 0,
    key: Ed25519PrivateKey | None = None,
) -> bytes:
    """Put the last line under lines that may have been tampered with, as a forger would."""
    before = b"".join(written)
    if form == "csv":
        before = lines.CSV_HEAD + b"".join(map(lines.to_csv, written))
    digest = sha256(before).hexdigest()
    signed = None
    if key is not None:
        text = lines.manifest(NAME, rows, erased, digest)
        signed = note.sign(text, note.Signer(lines.manifest_name(NAME), key)).decode()
    last = lines.end(rows, erased, digest, signed)
    return before + (lines.to_csv(last) if form == "csv" else last)


def forge(file: bytes, change: Callable[[list[bytes]], object]) -> bytes:
    """Change the lines (header, log, entries…) of a file and close it again as if nothing was."""
    written = file.splitlines(keepends=True)[:-1]
    change(written)
    return finish(written, sum(line.startswith(b'{"seq":') for line in written))


def check(file: bytes, *kept: bytes, key: str = VKEY) -> verify.Report:
    from io import BytesIO

    return verify.check(BytesIO(file), keys=[key], kept=kept)


def found(file: bytes, *kept: bytes) -> list[tuple[str, int | None, int | None]]:
    """(kind, seq, line) of each damage."""
    report = check(file, *kept)
    assert report.ok == (not report.damage)
    return [(each.kind, each.seq, each.line) for each in report.damage]

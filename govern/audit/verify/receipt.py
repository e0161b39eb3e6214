"""A receipt alone, with a key that the reader trusts: what it proves, and what that says."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from govern.audit import leaf
from govern.audit.verify.keys import open_checkpoint, read_keys
from govern.audit.verify.report import Damage
from govern.tlog import merkle, proof
from govern.tlog.errors import TlogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from govern.tlog import note

MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry that is proved: what the log says, and at which signed size of which log."""

    origin: str
    size: int
    seq: int
    fields: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReceiptReport:
    """The outcome; `values` are the personal values whose commitments were opened."""

    ok: bool
    entries: tuple[Entry, ...]
    values: dict[str, str]
    damage: tuple[Damage, ...]


def check_receipt(data: bytes, *, keys: Iterable[str]) -> ReceiptReport:
    """Check a receipt; `Invalid` where no key is given, or one cannot be read.

    Its words are not looked at: what counts is what the proved entries say.
    """
    trusted = read_keys(keys)
    parts = _Parts()
    parts.feed(data[:MOST_BYTES].decode(errors="replace"))
    damage = []
    entries: list[Entry] = []
    values: dict[str, str] = {}
    pairs, openings = parts.pairs()
    if not pairs:
        damage.append(Damage(kind="header", message="This is no receipt: it proves no entry."))
    for body, proved in pairs:
        try:
            entries.append(_entry(body, proved, trusted))
        except (TlogError, ValueError) as error:
            damage.append(Damage(kind="proof", message=f"An entry is not proved: {error}."))
    for opening in openings:
        try:
            name, value = _opened(opening, entries)
        except ValueError as error:
            damage.append(Damage(kind="value", message=f"A value is not proved: {error}."))
        else:
            values[name] = value
    if len({entry.origin for entry in entries}) > 1:
        damage.append(Damage(kind="place", message="The entries are of different logs."))
    return ReceiptReport(
        ok=not damage, entries=tuple(entries), values=values, damage=tuple(damage)
    )  # fmt: skip


class _Parts(HTMLParser):
    """The texts that are marked `data-govern`, in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, str]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A part begins."""
        kind = dict(attrs).get("data-govern")
        if tag == "pre" and kind:
            self.found.append((kind, ""))
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        """A part ends."""
        if tag == "pre":
            self._open = False

    def handle_data(self, data: str) -> None:
        """Some of its text."""
        if self._open:
            kind, text = self.found[-1]
            self.found[-1] = (kind, text + data)

    def pairs(self) -> tuple[list[tuple[str, str]], list[str]]:
        """Entries with the proof that follows each, and the values beside them."""
        rest = [each for each in self.found if each[0] in {"entry", "proof"}]
        entries, proofs = rest[::2], rest[1::2]
        whole = all(kind == "entry" for kind, _ in entries) and len(entries) == len(proofs)
        pairs = [
            (body, proved)
            for (_, body), (kind, proved) in zip(entries, proofs, strict=False)
            if whole and kind == "proof"
        ]
        return pairs, [text for kind, text in self.found if kind == "value"]


def _entry(body: str, proved: str, keys: Sequence[note.Verifier]) -> Entry:
    """What is proved of one entry; TlogError or ValueError when nothing is."""
    data = base64.b64decode("".join(body.split()), validate=True)
    held = proof.parse(proved)
    head = open_checkpoint(held.checkpoint, keys)
    merkle.verify_inclusion(
        merkle.leaf_hash(data), held.index, head.size, held.hashes, head.root
    )  # fmt: skip
    fields = leaf.parse(data)
    if fields is None or fields.get("seq") != held.index:
        raise ValueError("it is none of govern’s, or says that its place is another")
    return Entry(origin=head.origin, size=head.size, seq=held.index, fields=fields)


def _opened(text: str, entries: list[Entry]) -> tuple[str, str]:
    found = json.loads(text)
    if not isinstance(found, dict) or set(found) != {"name", "salt", "value"}:
        raise ValueError("it has no name, salt and value")
    name, salt, value = (str(found[key]) for key in ("name", "salt", "value"))
    made = leaf.commitment(salt, value)
    commits = [entry.fields.get("commit", {}) for entry in entries]
    if not any(isinstance(each, dict) and each.get(name) == made for each in commits):
        raise ValueError(f"no proved entry commits to this “{name}”")
    return name, value

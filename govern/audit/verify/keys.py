"""Verifier keys, and the checkpoints that they open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern import errors
from govern.audit import lines
from govern.tlog import checkpoint, cosignature, note
from govern.tlog.errors import TlogError, UnsignedNoteError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from govern.tlog.checkpoint import Checkpoint


def read_keys(keys: Iterable[str]) -> list[note.Verifier]:
    """Read verifier keys; `Invalid` when there is none, or one is damaged."""
    try:
        read = [note.Verifier.parse(key.strip()) for key in keys]
    except TlogError as error:
        raise errors.Invalid(f"key: {error}", field="key") from error
    if not read:
        raise errors.Invalid("key: without a key that you trust nothing can be proved", field="key")
    return read


def read_witnesses(keys: Iterable[str]) -> list[cosignature.Witness]:
    """Read the keys of witnesses; `Invalid` when one is damaged."""
    try:
        return [cosignature.Witness.parse(key.strip()) for key in keys]
    except TlogError as error:
        raise errors.Invalid(f"witness: {error}", field="witness") from error


def open_checkpoint(signed: bytes, keys: Iterable[note.Verifier]) -> Checkpoint:
    """A checkpoint of whichever log these keys may sign for, its signature verified."""
    origin = signed.split(b"\n", 1)[0].decode(errors="replace")
    named = [
        note.Verifier(origin, key.public)
        for key in keys
        if key.name == origin or origin.startswith(f"{key.name}/logs/")
    ]
    return checkpoint.open(signed, *dict.fromkeys(named), origin=origin)


def opens_manifest(
    signed: str, keys: Iterable[note.Verifier], *, rows: int, erased: int, digest: str
) -> bool:
    """Whether one of these keys signed a manifest of just this; TlogError if it is no such note."""
    for key in keys:
        name = lines.manifest_name(key.name)
        try:
            opened = note.open(signed.encode(), note.Verifier(name, key.public))
        except UnsignedNoteError:
            continue
        return opened.text == lines.manifest(key.name, rows, erased, digest)
    return False

"""Checkpoints: a log's whole state in three lines, signed: which log, how many entries, which root.

C2SP tlog-checkpoint. Invariants: a checkpoint has one text and a text one checkpoint, byte for
byte; lines that a log may have added below the root are kept, since the signature covers them.
"""

import base64
import re
from dataclasses import dataclass

from govern.tlog import note
from govern.tlog.errors import CheckpointError, WrongOriginError
from govern.tlog.merkle import EMPTY_ROOT, HASH_SIZE
from govern.tlog.note import Signer, Verifier

# Sizes are uint64 wherever they are read by others.
_SIZE = re.compile(r"0|[1-9][0-9]{0,19}")
_MAX_SIZE = 2**64 - 1
_LINES = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's name for the world, its number of entries and the root over them."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(line and "\n" not in line for line in (self.origin, *self.extensions)):
            raise CheckpointError("an origin and extensions are lines, none of them empty")
        if not 0 <= self.size <= _MAX_SIZE:
            raise CheckpointError(f"no log has {self.size} entries")
        if len(self.root) != HASH_SIZE:
            raise CheckpointError(f"a root is {HASH_SIZE} bytes long, not {len(self.root)}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError("a log without entries has the root of the empty tree")

    def text(self) -> str:
        """Write the text to be signed, its last newline included."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{each}\n" for each in (self.origin, self.size, root, *self.extensions))


def parse(text: str) -> Checkpoint:
    """Read a checkpoint's text, which proves nothing yet; CheckpointError if it is none."""
    lines = text.split("\n")
    if lines.pop() or len(lines) < _LINES:
        raise CheckpointError("a checkpoint has at least three lines, each ended by a newline")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise CheckpointError(f"a size is a decimal number without leading zeros, not {size!r}")
    try:
        root_hash = note.decode_base64(root)
    except ValueError as error:
        raise CheckpointError(f"the root is {error}") from error
    return Checkpoint(origin, int(size), root_hash, tuple(extensions))


def sign(checkpoint: Checkpoint, *signers: Signer) -> bytes:
    """Write the checkpoint as a signed note.

    The caller answers for C2SP's one rule: never to sign what is inconsistent with an earlier one.
    """
    return note.sign(checkpoint.text(), *signers)


def open(signed: bytes, *verifiers: Verifier, origin: str) -> Checkpoint:  # noqa: A001 - as in note
    """Give back the checkpoint of the log `origin` that at least one of these keys has signed.

    NoteError if it cannot be trusted, CheckpointError if it is no checkpoint, WrongOriginError if
    it is one of another log: one key may sign for several.
    """
    checkpoint = parse(note.open(signed, *verifiers).text)
    if checkpoint.origin != origin:
        raise WrongOriginError(f"this is a checkpoint of {checkpoint.origin!r}, not of {origin!r}")
    return checkpoint

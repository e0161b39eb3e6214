"""Proofs to carry away: that an entry is in a log, as one text that proves it offline.

C2SP tlog-proof: the entry's index, its inclusion proof (RFC 9162 §2.1.3) and a signed checkpoint.
The entry itself is kept beside it. A proof has one text and a text one proof.
"""

import base64
import re
from dataclasses import dataclass

from govern.tlog import note
from govern.tlog.errors import ProofShapeError

_HEAD = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,19})", re.ASCII)
_MOST_HASHES = 64


@dataclass(frozen=True, slots=True)
class Proof:
    """Where an entry is, the hashes beside its way up to the root, and the signed checkpoint."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def text(self) -> str:
        """Write it as C2SP has it."""
        lines = [_HEAD, f"index {self.index}"]
        lines += [base64.b64encode(each).decode() for each in self.hashes]
        return "\n".join([*lines, "", self.checkpoint.decode()])


def parse(text: str) -> Proof:
    """Read a proof, which proves nothing yet; ProofShapeError if it is none.

    Extra data, which C2SP leaves to whoever makes a proof, is not ours and is refused.
    """
    lines, separator, checkpoint = text.partition("\n\n")
    head, *rest = lines.split("\n")
    if head != _HEAD or not separator or not rest:
        raise ProofShapeError(f"a proof begins with {_HEAD}, and holds a checkpoint")
    place = _INDEX.fullmatch(rest[0])
    if place is None or len(rest) > _MOST_HASHES + 1:
        raise ProofShapeError("a proof names an index, then one hash a line")
    try:
        hashes = tuple(note.decode_base64(line) for line in rest[1:])
    except ValueError as error:
        raise ProofShapeError(f"a hash of the proof is {error}") from error
    return Proof(int(place[1]), hashes, checkpoint.encode())

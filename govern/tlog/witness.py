"""What a witness is asked (C2SP tlog-witness v1.0.0): to cosign a checkpoint of a log that grew.

The request's text proves that the log still holds what the witness saw; whoever runs a witness
answers for keeping what it saw.
"""

import base64
from dataclasses import dataclass
from typing import Self

from govern.tlog import note
from govern.tlog.errors import ProofShapeError

MOST_HASHES = 63
MOST_BYTES = 64 * 1024
_OLD = "old "


@dataclass(frozen=True, slots=True)
class Request:
    """That a log of `old` entries grew into that of the signed checkpoint, and the proof of it."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a request, which proves nothing yet; ProofShapeError if it is none."""
        head, separator, checkpoint = body.partition(b"\n\n")
        try:
            first, *hashes = head.decode("ascii").split("\n")
            size = first.removeprefix(_OLD)
            if not (separator and first.startswith(_OLD) and size.isdigit()) or len(size) > 20:  # noqa: PLR2004 - uint64
                raise ValueError("it begins with the old size, and ends with a checkpoint")
            if str(int(size)) != size or len(hashes) > MOST_HASHES:
                raise ValueError("its size has one form, and its proof at most 63 hashes")
            return cls(int(size), tuple(map(note.decode_base64, hashes)), checkpoint)
        except ValueError as error:
            raise ProofShapeError(f"this asks nothing of a witness: {error}") from error

    def body(self) -> bytes:
        """Write it as it is sent."""
        lines = [f"{_OLD}{self.old}", *(base64.b64encode(each).decode() for each in self.proof)]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint

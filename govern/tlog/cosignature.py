"""Cosignatures: a witness says that it saw a log at this size, and that it had only ever grown.

C2SP tlog-cosignature v1.0.1, `cosignature/v1` with Ed25519 alone: a line of a signed note that also
holds when it was made. A witness's key is of another kind than a log's, so neither passes for the
other.
"""

import base64
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from govern.tlog import note
from govern.tlog.errors import BadSignatureError, MalformedKeyError, UnsignedNoteError

_TIME_SIZE = 8
_SIZE = _TIME_SIZE + 64


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness's name and public key: what is needed to believe its cosignature."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not note.is_name(self.name):
            raise MalformedKeyError(
                f"a key's name holds no space, plus or control character: {self.name!r}"
            )

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a witness's key, `name+hex(id)+base64(0x04 || public)`; its id must be its own."""
        return cls(*note.parse_verifier(vkey, note.COSIGNATURE))

    @property
    def key_id(self) -> bytes:
        """The four bytes that tell this key from others of the same name."""
        return note.id_of(self.name, note.COSIGNATURE + self.public)

    def __str__(self) -> str:
        return note.format_key(self.name, self.key_id, note.COSIGNATURE + self.public)

    def seen(self, signed: bytes) -> int:
        """When this witness cosigned a note, in seconds of Unix time; the newest if it did often.

        UnsignedNoteError if it did not; BadSignatureError if a line in its name is not its own.
        """
        text, signatures = note.parse(signed)
        times = [
            self._verified(text, signature)
            for name, key_id, signature in signatures
            if (name, key_id) == (self.name, self.key_id)
        ]
        if not times:
            raise UnsignedNoteError(f"{self.name} did not cosign this note")
        return max(times)

    def _verified(self, text: str, signature: bytes) -> int:
        when = int.from_bytes(signature[:_TIME_SIZE], "big")
        try:
            if len(signature) != _SIZE:
                raise ValueError("it is not as long as a cosignature")
            key = Ed25519PublicKey.from_public_bytes(self.public)
            key.verify(signature[_TIME_SIZE:], _message(text, when))
        except (InvalidSignature, ValueError) as error:
            raise BadSignatureError(f"{self.name} did not cosign this note") from error
        return when


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's private key with its name; it does not show itself when printed."""

    name: str
    key: Ed25519PrivateKey = field(repr=False)

    @property
    def witness(self) -> Witness:
        """The public half, to be given to whoever runs the log."""
        return Witness(self.name, self.key.public_key().public_bytes_raw())

    def line(self, text: str, *, at: int) -> str:
        """The line, its newline included, that vouches for a note's text at an instant."""
        signature = self.key.sign(_message(text, at))
        body = self.witness.key_id + at.to_bytes(_TIME_SIZE, "big") + signature
        return f"{note.LINE_PREFIX}{self.name} {base64.b64encode(body).decode()}\n"


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()

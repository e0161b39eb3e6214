"""Signed notes: a text that people can read, and below it who vouches for every byte of it.

C2SP signed-note v1.0.0, with Ed25519 alone. Invariants:

- What is signed is the text with its last newline; what is handed back was verified first.
- A key is known by its name and its id together; what others sign is ignored, never believed.
- A note has one form only: base64 that is not the canonical one, a control character or a line too
  many is refused, so that equal notes are equal bytes.
"""

import base64
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from govern.tlog.errors import (
    BadSignatureError,
    MalformedKeyError,
    MalformedNoteError,
    UnsignedNoteError,
)

# The kinds of signature that we make or believe; the bytes that C2SP gives them. A note's own is
# the first; the other is a witness's (`cosignature`).
_ED25519 = b"\x01"
COSIGNATURE = b"\x04"
_KEY_SIZE = 32
_ID_SIZE = 4
_SKEY_PREFIX = "PRIVATE+KEY+"
LINE_PREFIX = "\N{EM DASH} "
# C2SP asks for at least 16; more than this is an attack on the reader's time.
_MAX_SIGNATURES = 100


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name: what is needed to believe a note, and no secret."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise MalformedKeyError(
                f"a key's name holds no space, plus or control character: {self.name!r}"
            )
        if len(self.public) != _KEY_SIZE:
            raise MalformedKeyError(f"an Ed25519 public key is {_KEY_SIZE} bytes long")

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a verifier key, `name+hex(id)+base64(0x01 || public)`; its id must be its own."""
        return cls(*parse_verifier(vkey, _ED25519))

    @property
    def key_id(self) -> bytes:
        """The four bytes that tell this key from others of the same name."""
        return id_of(self.name, _ED25519 + self.public)

    def __str__(self) -> str:
        return format_key(self.name, self.key_id, _ED25519 + self.public)

    def verify(self, text: str, signature: bytes) -> None:
        """Return only if this key signed exactly this text; BadSignatureError otherwise."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError) as error:
            raise BadSignatureError(
                f"{self.name}+{self.key_id.hex()} did not sign this text"
            ) from error


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with its name; it does not show itself when printed."""

    name: str
    key: Ed25519PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        _ = self.verifier  # refuses a bad name now, not at the first signature

    @classmethod
    def parse(cls, skey: str) -> Self:
        """Read what `generate` wrote: `PRIVATE+KEY+name+hex(id)+base64(0x01 || seed)`."""
        if not skey.startswith(_SKEY_PREFIX):
            raise MalformedKeyError(f"a private key begins with {_SKEY_PREFIX}")
        name, key_id, seed = _parse_key(skey.removeprefix(_SKEY_PREFIX))
        signer = cls(name, Ed25519PrivateKey.from_private_bytes(seed))
        if signer.verifier.key_id.hex() != key_id:
            raise MalformedKeyError(f"the private key of {name} does not belong to its id {key_id}")
        return signer

    @property
    def verifier(self) -> Verifier:
        """The public half, to be given to whoever reads what this key signs."""
        return Verifier(self.name, self.key.public_key().public_bytes_raw())

    def export(self) -> str:
        """Write the private key as text. Whoever has it can sign in this name."""
        return _SKEY_PREFIX + format_key(
            self.name, self.verifier.key_id, _ED25519 + self.key.private_bytes_raw()
        )


@dataclass(frozen=True, slots=True)
class Note:
    """A text that was verified, and the trusted keys, at least one, that have signed it."""

    text: str
    signed_by: tuple[Verifier, ...]


def generate(name: str) -> tuple[str, str]:
    """Make a new key: (private key to be kept secret, verifier key to be given away)."""
    signer = Signer(name, Ed25519PrivateKey.generate())
    return signer.export(), str(signer.verifier)


def sign(text: str, *signers: Signer) -> bytes:
    """Write the note that these keys vouch for; the text must end in a newline."""
    if not signers:
        raise MalformedNoteError("a note needs at least one signature")
    if not text.endswith("\n"):
        raise MalformedNoteError("a note's text ends in a newline")
    _check_characters(text)
    body = _encode(text)
    lines = []
    for signer in signers:
        signature = signer.verifier.key_id + signer.key.sign(body)
        lines.append(f"{LINE_PREFIX}{signer.name} {base64.b64encode(signature).decode()}\n")
    return body + b"\n" + "".join(lines).encode()


def open(note: bytes, *verifiers: Verifier) -> Note:  # noqa: A001 - the word of the standard
    """Give back the text of a note that at least one of these keys has signed.

    A signature in the name and id of one of them must be right, wherever it stands; those of other
    keys are passed over. MalformedNoteError, BadSignatureError or UnsignedNoteError otherwise.
    """
    trusted = _by_name_and_id(verifiers)
    text, signatures = parse(note)
    signed_by: dict[Verifier, None] = {}
    for name, key_id, signature in signatures:
        verifier = trusted.get((name, key_id))
        if verifier is not None:
            verifier.verify(text, signature)
            signed_by[verifier] = None
    if not signed_by:
        raise UnsignedNoteError(
            "the note is signed by none of the trusted keys, but by "
            + ", ".join(f"{name}+{key_id.hex()}" for name, key_id, _ in signatures)
        )
    return Note(text, tuple(signed_by))


def decode_base64(text: str) -> bytes:
    """Read standard base64 (RFC 4648 §4) in its one canonical form; ValueError for any other."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"not base64: {text!r}") from error
    if base64.b64encode(data).decode() != text:
        raise ValueError(f"not canonical base64: {text!r}")
    return data


def is_name(name: str) -> bool:
    """Check a key's name as C2SP does; a lone surrogate, too, has no place in UTF-8."""
    return bool(name) and not any(
        each == "+" or each.isspace() or each < " " or "\ud800" <= each <= "\udfff" for each in name
    )


def id_of(name: str, key: bytes) -> bytes:
    """The four bytes that tell a key, its kind's byte before it, from others of the same name."""
    return sha256(name.encode() + b"\n" + key).digest()[:_ID_SIZE]


def format_key(name: str, key_id: bytes, key: bytes) -> str:
    """Write a key, its kind's byte before it: `name+hex(id)+base64(key)`."""
    return f"{name}+{key_id.hex()}+{base64.b64encode(key).decode()}"


def parse_verifier(vkey: str, kind: bytes) -> tuple[str, bytes]:
    """Read a public key of a kind, whose id must be its own: (name, 32 bytes)."""
    name, claimed, public = _parse_key(vkey, kind)
    found = id_of(name, kind + public).hex()
    if found != claimed:
        raise MalformedKeyError(f"{name} has key id {found}, not {claimed}")
    return name, public


def _parse_key(text: str, kind: bytes = _ED25519) -> tuple[str, str, bytes]:
    """Split a key's text into (name, id in hex, 32 bytes); the caller compares the id."""
    try:
        name, key_id, encoded = text.split("+", 2)
        key = decode_base64(encoded)
    except ValueError as error:
        raise MalformedKeyError("a key is written name+id+base64") from error
    if key[:1] != kind:
        raise MalformedKeyError(f"the key of {name!r} is of another kind than the one asked for")
    if len(key) != 1 + _KEY_SIZE:
        raise MalformedKeyError(f"an Ed25519 key is {_KEY_SIZE} bytes long")
    return name, key_id, key[1:]


def _by_name_and_id(verifiers: tuple[Verifier, ...]) -> dict[tuple[str, bytes], Verifier]:
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise MalformedKeyError(f"two keys claim {verifier.name}+{verifier.key_id.hex()}")
    return known


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MalformedNoteError("a note is valid UTF-8") from error


def _check_characters(text: str) -> None:
    if any(each < " " and each != "\n" for each in text):
        raise MalformedNoteError("a note holds no control character but the newline")


def parse(note: bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Split a note into its text and (name, key id, signature) of each line, none verified yet.

    MalformedNoteError if it is no note.
    """
    try:
        decoded = note.decode()
    except UnicodeDecodeError as error:
        raise MalformedNoteError("a note is valid UTF-8") from error
    _check_characters(decoded)
    # The last empty line parts text and signatures, since the text may hold empty lines too.
    text, separator, block = decoded.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        raise MalformedNoteError("a note is a text, an empty line, and lines of signatures")
    lines = block.removesuffix("\n").split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise MalformedNoteError(f"a note has at most {_MAX_SIGNATURES} signatures")
    return text + "\n", [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    if not line.startswith(LINE_PREFIX):
        raise MalformedNoteError(f"not a line of a signature: {line!r}")
    name, _, encoded = line.removeprefix(LINE_PREFIX).partition(" ")
    if not is_name(name):
        raise MalformedNoteError(f"no key can have the name {name!r}")
    try:
        signature = decode_base64(encoded)
    except ValueError as error:
        raise MalformedNoteError(f"the signature of {name} is {error}") from error
    if len(signature) <= _ID_SIZE:
        raise MalformedNoteError(f"the signature of {name} is too short to be one")
    return name, signature[:_ID_SIZE], signature[_ID_SIZE:]

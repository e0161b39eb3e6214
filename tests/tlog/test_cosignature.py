"""Cosignatures: what a witness signs is what the specification says, and nothing else passes."""

import base64
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from govern.tlog import note
from govern.tlog.cosignature import Cosigner, Witness
from govern.tlog.errors import (
    BadSignatureError,
    MalformedKeyError,
    ProofShapeError,
    UnsignedNoteError,
)
from govern.tlog.witness import Request

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
COSIGNER = Cosigner("witness.example/1", KEY)
TEXT = "log.example\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
AT = 1_700_000_000
LOG = note.Signer("log.example", Ed25519PrivateKey.generate())
SIGNED = note.sign(TEXT, LOG)


def test_a_line_is_made_as_the_specification_has_it() -> None:
    line = COSIGNER.line(TEXT, at=AT)
    name, encoded = line.removeprefix("\N{EM DASH} ").split()
    body = base64.b64decode(encoded)
    public = KEY.public_key()
    key_id = sha256(b"witness.example/1\n\x04" + public.public_bytes_raw()).digest()[:4]
    assert (name, body[:4], body[4:12]) == (COSIGNER.name, key_id, AT.to_bytes(8, "big"))
    public.verify(body[12:], f"cosignature/v1\ntime {AT}\n{TEXT}".encode())


def test_a_cosigned_note_says_when_it_was_seen_and_is_a_note_as_before() -> None:
    both = SIGNED + COSIGNER.line(TEXT, at=AT).encode() + COSIGNER.line(TEXT, at=AT + 5).encode()
    assert Witness.parse(str(COSIGNER.witness)) == COSIGNER.witness
    assert COSIGNER.witness.seen(both) == AT + 5
    assert note.open(both, LOG.verifier).text == TEXT


def test_what_the_witness_did_not_sign_is_not_taken_for_it() -> None:
    witness = COSIGNER.witness
    with pytest.raises(UnsignedNoteError):
        witness.seen(SIGNED)
    line = COSIGNER.line(TEXT, at=AT)
    other = SIGNED.replace(b"\n3\n", b"\n4\n") + line.encode()
    with pytest.raises(BadSignatureError):
        witness.seen(other)
    body = bytearray(base64.b64decode(line.split()[2]))
    body[11] ^= 1  # another second
    moved = f"\N{EM DASH} {witness.name} {base64.b64encode(body).decode()}\n".encode()
    with pytest.raises(BadSignatureError):
        witness.seen(SIGNED + moved)
    short = base64.b64encode(witness.key_id + bytes(8)).decode()
    with pytest.raises(BadSignatureError):
        witness.seen(SIGNED + f"\N{EM DASH} {witness.name} {short}\n".encode())


def test_a_logs_key_is_no_witnesss_and_the_other_way_round() -> None:
    with pytest.raises(MalformedKeyError):
        Witness.parse(str(LOG.verifier))
    with pytest.raises(MalformedKeyError):
        note.Verifier.parse(str(COSIGNER.witness))


def test_a_request_is_read_as_it_is_written() -> None:
    asked = Request(7, (b"\1" * 32, b"\2" * 32), SIGNED)
    assert Request.parse(asked.body()) == asked
    assert Request.parse(Request(0, (), SIGNED).body()) == Request(0, (), SIGNED)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"old 1", b"old 1\n", b"old 01\n\nx", b"old -1\n\nx", b"old 1\nzz\n\nx",
        b"new 1\n\nx", b"old 1" + b"0" * 20 + b"\n\nx", b"old 1\n" + b"AAAA\n" * 64 + b"\nx",
        b"old \xff\n\nx", "old \u0661\n\nx".encode(),
    ],
)  # fmt: skip
def test_what_asks_nothing_is_refused(body: bytes) -> None:
    with pytest.raises(ProofShapeError):
        Request.parse(body)

"""Checkpoints: those of the world's logs are read, and none is believed for another log."""

import base64
import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from govern.tlog import checkpoint, note
from govern.tlog.checkpoint import Checkpoint
from govern.tlog.errors import (
    BadSignatureError,
    CheckpointError,
    NoteError,
    UnsignedNoteError,
    WrongOriginError,
)
from govern.tlog.merkle import EMPTY_ROOT, leaf_hash
from govern.tlog.note import Signer, Verifier

# Checkpoints that the Go project's log signed for the world, and its published key. The later one
# also bears a line of a key that nobody has to know.
SUMDB = Verifier.parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
SUMDB_ORIGIN = "go.sum database tree"
SUMDB_2021 = """go.sum database tree
6476701
mb8QLQIs0Z0yP5Cstq6guj87oXWeC9gEM8oVikmm9Wk=

— sum.golang.org Az3grsLX85Gz+s1SiTbgkuqxgItqFq7gsMUEyVnrsa9LM7Us9S+1xbFIGu95949rj4nPRYfvimWEPWL+\
o3GeoWwOoAw=
"""
SUMDB_2023 = """go.sum database tree
15067302
gJyioq6dwR9n+NjEWORfYmH+ubeYm3kH42BBQ0bTpYI=

— sum.golang.org Az3grp1rvWOs5NKlr/xR4GLN/CDyzzakmt1o61uSxYKpK1SerqOP2ClbX/peKUZjYnyomH5Xz7GZG3Tp\
B7OeKn4E2ww=
— test.example.com qTGhC/xIPQ0AXKHK6Y+9ypRfuvMZWPjRXM8NiOg5M1WREn07VQXyuIXM3NRNav3ieVFLUqDRK77PWDm\
L6w8w84UqeAw=
"""

ORIGIN = "govern.example/log/house"
SIGNER = Signer("govern.example", Ed25519PrivateKey.from_private_bytes(b"g" * 32))
ROOT = leaf_hash(b"the only entry")
HEAD = Checkpoint(ORIGIN, 1, ROOT)
LINE = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    ("signed", "size", "root"),
    [
        (SUMDB_2021, 6476701, "99bf102d022cd19d323f90acb6aea0ba3f3ba1759e0bd80433ca158a49a6f569"),
        (SUMDB_2023, 15067302, "809ca2a2ae9dc11f67f8d8c458e45f6261feb9b7989b7907e360414346d3a582"),
    ],
)
def test_checkpoints_of_the_go_projects_log_are_verified(signed: str, size: int, root: str) -> None:
    head = checkpoint.open(signed.encode(), SUMDB, origin=SUMDB_ORIGIN)
    assert (head.size, head.root.hex()) == (size, root)
    assert signed.startswith(head.text() + "\n")


def test_a_checkpoint_is_three_lines_of_text() -> None:
    head = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert head.text() == f"{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"


def test_a_signed_checkpoint_opens_for_its_own_log_alone() -> None:
    signed = checkpoint.sign(HEAD, SIGNER)
    assert checkpoint.open(signed, SIGNER.verifier, origin=ORIGIN) == HEAD
    for other in ("", "govern.example/log/hous", f"{ORIGIN}/", "govern.example/log/client"):
        with pytest.raises(WrongOriginError, match="not of"):
            checkpoint.open(signed, SIGNER.verifier, origin=other)


def test_a_checkpoint_of_another_key_or_changed_afterwards_is_not_believed() -> None:
    signed = checkpoint.sign(HEAD, SIGNER)
    with pytest.raises(UnsignedNoteError):
        checkpoint.open(signed, SUMDB, origin=ORIGIN)
    with pytest.raises(BadSignatureError):
        checkpoint.open(signed.replace(b"\n1\n", b"\n2\n"), SIGNER.verifier, origin=ORIGIN)


def test_a_signed_note_that_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(CheckpointError):
        checkpoint.open(note.sign("hello\n", SIGNER), SIGNER.verifier, origin="hello")


def test_lines_below_the_root_are_kept() -> None:
    head = dataclasses.replace(HEAD, extensions=("one", "two words"))
    assert head.text() == HEAD.text() + "one\ntwo words\n"
    assert checkpoint.parse(head.text()) == head


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
    st.integers(1, 2**64 - 1),
    st.binary(min_size=32, max_size=32),
)
def test_a_checkpoint_comes_back_equal(origin: str, size: int, root: bytes) -> None:
    head = Checkpoint(origin, size, root)
    assert checkpoint.parse(head.text()) == head
    signed = checkpoint.sign(head, SIGNER)
    assert checkpoint.open(signed, SIGNER.verifier, origin=origin) == head


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{ORIGIN}\n1\n",
        f"{ORIGIN}\n1\n{LINE}",
        f"\n1\n{LINE}\n",
        f"{ORIGIN}\n\n{LINE}\n",
        f"{ORIGIN}\n1\n\n",
        f"{ORIGIN}\n1\n{LINE}\n\n",
        f"{ORIGIN}\n1\n{LINE}\n\nextension\n",
        f"\n{ORIGIN}\n1\n{LINE}\n",
        f"{ORIGIN}\n01\n{LINE}\n",
        f"{ORIGIN}\n00\n{LINE}\n",
        f"{ORIGIN}\n+1\n{LINE}\n",
        f"{ORIGIN}\n-1\n{LINE}\n",
        f"{ORIGIN}\n 1\n{LINE}\n",
        f"{ORIGIN}\n1 \n{LINE}\n",
        f"{ORIGIN}\n1_0\n{LINE}\n",
        f"{ORIGIN}\n1.0\n{LINE}\n",
        f"{ORIGIN}\n0x1\n{LINE}\n",
        f"{ORIGIN}\n\N{ARABIC-INDIC DIGIT ONE}\n{LINE}\n",
        f"{ORIGIN}\n{2**64}\n{LINE}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{LINE}\n",
        f"{ORIGIN}\n0\n{LINE}\n",  # the empty tree has one root only
        f"{ORIGIN}\n1\n{LINE[:-1]}\n",
        f"{ORIGIN}\n1\n{LINE}=\n",
        f"{ORIGIN}\n1\n {LINE}\n",
        f"{ORIGIN}\n1\n{LINE[4:]}\n",
        f"{ORIGIN}\n1\nAAAA{LINE}\n",
        f"{ORIGIN}\n1\n{ROOT.hex()}\n",
    ],
)
def test_a_text_that_is_not_quite_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        checkpoint.parse(text)


@pytest.mark.parametrize(
    "change",
    [
        {"origin": ""},
        {"origin": "two\nlines"},
        {"size": -1},
        {"size": 2**64},
        {"size": 0},
        {"root": ROOT[:-1]},
        {"root": b""},
        {"extensions": ("",)},
        {"extensions": ("two\nlines",)},
    ],
)
def test_values_that_no_checkpoint_can_have_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        dataclasses.replace(HEAD, **change)


def test_an_origin_that_no_note_can_hold_is_not_signed() -> None:
    with pytest.raises(NoteError):
        checkpoint.sign(dataclasses.replace(HEAD, origin="tab\t"), SIGNER)

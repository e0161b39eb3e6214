"""Signed notes: byte for byte what other implementations write, and nothing damaged is believed."""

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from govern.tlog import note
from govern.tlog.errors import (
    BadSignatureError,
    MalformedKeyError,
    MalformedNoteError,
    NoteError,
    UnsignedNoteError,
)
from govern.tlog.note import Signer, Verifier

# The keys and the text of the documentation and tests of golang.org/x/mod/sumdb/note, where the
# format comes from; Ed25519 signatures are deterministic, so ours must be the same bytes.
PETER_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotp"
    "RZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox"
    "33WWd1RvMc+QQ=\n"
)

# The example of the specification, c2sp.org/signed-note.
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXm"
    "RKuwHjG1Yu72IneyaQM=\n"
)

PETER = Signer.parse(PETER_SKEY)
# This key of the Go tests was made from 32 zero bytes.
ENOCH = Signer("EnochRoot", Ed25519PrivateKey.from_private_bytes(bytes(32)))
STRANGER = Signer("stranger.example", Ed25519PrivateKey.from_private_bytes(b"s" * 32))
BOTH = f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}"


def opened(text: str, *verifiers: Verifier) -> note.Note:
    return note.open(text.encode(), *(verifiers or (PETER.verifier,)))


def line(signer: Signer, text: str = TEXT) -> str:
    return note.sign(text, signer).decode().rpartition("\n\n")[2]


def test_keys_have_the_ids_and_texts_that_go_gives_them() -> None:
    assert str(PETER.verifier) == PETER_VKEY
    assert str(ENOCH.verifier) == ENOCH_VKEY
    assert PETER.export() == PETER_SKEY
    assert str(Verifier.parse(C2SP_VKEY)) == C2SP_VKEY


def test_a_signed_note_is_byte_for_byte_the_one_that_go_writes() -> None:
    assert note.sign(TEXT, PETER).decode() == f"{TEXT}\n{PETER_LINE}"
    assert note.sign(TEXT, PETER, ENOCH).decode() == BOTH


def test_the_example_of_the_specification_opens() -> None:
    verifier = Verifier.parse(C2SP_VKEY)
    assert opened(C2SP_NOTE, verifier) == note.Note("This is an example message.\n", (verifier,))


def test_each_trusted_key_that_signed_is_named_and_others_are_passed_over() -> None:
    assert opened(BOTH).signed_by == (PETER.verifier,)
    assert opened(BOTH, ENOCH.verifier).signed_by == (ENOCH.verifier,)
    assert opened(BOTH, ENOCH.verifier, PETER.verifier).signed_by == (
        PETER.verifier,
        ENOCH.verifier,
    )
    assert opened(BOTH, PETER.verifier, PETER.verifier).signed_by == (PETER.verifier,)


def test_a_note_signed_by_strangers_alone_is_not_believed() -> None:
    with pytest.raises(UnsignedNoteError, match=r"EnochRoot\+af0cfe78"):
        opened(f"{TEXT}\n{ENOCH_LINE}")
    with pytest.raises(UnsignedNoteError):
        note.open(BOTH.encode())


def test_a_line_of_a_stranger_need_not_be_right() -> None:
    wrong = line(STRANGER, "another text\n")
    assert opened(f"{TEXT}\n{wrong}{PETER_LINE}{wrong}").text == TEXT


def test_a_wrong_line_in_a_trusted_name_spoils_the_note_beside_a_right_one() -> None:
    wrong = line(PETER, "another text\n")
    for lines in (wrong, wrong + PETER_LINE, PETER_LINE + wrong, ENOCH_LINE + wrong):
        with pytest.raises(BadSignatureError, match=r"PeterNeumann\+c74f20a3"):
            opened(f"{TEXT}\n{lines}", PETER.verifier, ENOCH.verifier)


def test_a_signature_told_twice_counts_once() -> None:
    assert opened(f"{TEXT}\n{PETER_LINE}{PETER_LINE}").signed_by == (PETER.verifier,)


def test_a_key_of_the_same_name_or_the_same_id_alone_is_another_key() -> None:
    namesake = Signer("PeterNeumann", STRANGER.key)
    with pytest.raises(UnsignedNoteError):
        opened(f"{TEXT}\n{line(namesake)}")
    with pytest.raises(UnsignedNoteError):
        opened(f"{TEXT}\n{PETER_LINE}".replace("PeterNeumann", "PeterNewmann"))


def test_two_keys_that_claim_one_name_and_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ids are short, so such a pair can be searched for; here the id is simply made equal.
    monkeypatch.setattr(Verifier, "key_id", property(lambda _: b"same"))
    one, two = Verifier("twin", b"1" * 32), Verifier("twin", b"2" * 32)
    with pytest.raises(MalformedKeyError, match="two keys claim twin"):
        note.open(BOTH.encode(), one, two)


def test_a_hundred_signatures_are_read_and_one_more_is_not() -> None:
    assert opened(f"{TEXT}\n{ENOCH_LINE * 99}{PETER_LINE}").text == TEXT
    with pytest.raises(MalformedNoteError, match="at most 100"):
        opened(f"{TEXT}\n{ENOCH_LINE * 100}{PETER_LINE}")


def test_the_last_empty_line_parts_text_and_signatures() -> None:
    for text in ("\n", "a\n\nb\n", "a\n\n\n", f"{TEXT}\n{ENOCH_LINE}", "ünïcode\u2028 text\n"):
        assert note.open(note.sign(text, PETER), PETER.verifier).text == text


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "\n",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}\n\n",
        f"{TEXT}{PETER_LINE}",
        f"{TEXT}\n{PETER_LINE}"[:-1],
        f"\n{PETER_LINE}",
        PETER_LINE,
        f"{TEXT}\n{PETER_LINE}\n",
        f"{TEXT}\n{PETER_LINE}Unexpected line.\n",
        f"Unexpected line.\n\n{TEXT}",
        f"\x01{TEXT}\n{PETER_LINE}",
        f"\t{TEXT}\n{PETER_LINE}",
        f"{TEXT}\n{PETER_LINE}".replace("\n", "\r\n"),
        f"{TEXT}\n{PETER_LINE}".replace("—", "-"),
        f"{TEXT}\n{PETER_LINE}".replace("—", "\N{EN DASH}"),
        f"{TEXT}\n{PETER_LINE}".replace("— ", "—"),
        f"{TEXT}\n{PETER_LINE}".replace("— ", "—  "),
        f"{TEXT}\n {PETER_LINE}",
        f"{TEXT}\n{PETER_LINE}".replace("Neumann x", "Neumann  x"),
        f"{TEXT}\n{PETER_LINE}".replace("PeterNeumann", "Peter Neumann"),
        f"{TEXT}\n{PETER_LINE}".replace("PeterNeumann", "Peter\u00a0Neumann"),
        f"{TEXT}\n{PETER_LINE}".replace("PeterNeumann", "Peter+Neumann"),
        f"{TEXT}\n{PETER_LINE}".replace("PeterNeumann ", " "),
        f"{TEXT}\n{PETER_LINE}".replace("AM=\n", "AM\n"),
        f"{TEXT}\n{PETER_LINE}".replace("AM=\n", "AM==\n"),
        f"{TEXT}\n{PETER_LINE}".replace("AM=\n", "AN=\n"),  # same bytes, other base64
        f"{TEXT}\n{PETER_LINE}".replace("x08go/", "x08go_"),
        f"{TEXT}\n{PETER_LINE}".replace("x08go/", "x08g o/"),
        f"{TEXT}\n{PETER_LINE}".replace("AM=\n", "AM= \n"),
        f"{TEXT}\n{PETER_LINE}— stranger.example\n",
        f"{TEXT}\n{PETER_LINE}— stranger.example \n",
        f"{TEXT}\n{PETER_LINE}— stranger.example AAAAAA==\n",  # an id, and no signature
        f"{TEXT}\n{PETER_LINE}— stranger.example ünïcode=\n",
    ],
)
def test_what_is_not_quite_a_note_is_refused(damaged: str) -> None:
    with pytest.raises(MalformedNoteError):
        opened(damaged)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(MalformedNoteError, match="UTF-8"):
        note.open(b"\xff" + BOTH.encode(), PETER.verifier)


def test_no_single_changed_bit_leaves_a_note_believed() -> None:
    whole = note.sign(TEXT, PETER)
    for at in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises(NoteError):
            note.open(bytes(damaged), PETER.verifier)


def test_a_note_cut_short_anywhere_is_refused() -> None:
    whole = note.sign(TEXT, PETER)
    for end in range(len(whole)):
        with pytest.raises(NoteError):
            note.open(whole[:end], PETER.verifier)


@pytest.mark.parametrize("length", [1, 63, 65])
def test_a_signature_of_a_wrong_length_is_refused(length: int) -> None:
    encoded = base64.b64encode(PETER.verifier.key_id + bytes(length)).decode()
    with pytest.raises(BadSignatureError):
        opened(f"{TEXT}\n— PeterNeumann {encoded}\n")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])).map(lambda text: text + "\n"))
def test_what_was_signed_is_what_is_read(text: str) -> None:
    assert note.open(note.sign(text, PETER, ENOCH), ENOCH.verifier).text == text


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_in_our_own_words(data: bytes) -> None:
    for tail in (b"", b"\n\n" + PETER_LINE.encode()):
        with pytest.raises(NoteError):
            note.open(data + tail, PETER.verifier)


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "return\r\n", "\0\n", "\ud800\n"])
def test_a_text_that_no_note_can_hold_is_not_signed(text: str) -> None:
    with pytest.raises(MalformedNoteError):
        note.sign(text, PETER)


def test_a_note_without_a_signer_is_not_written() -> None:
    with pytest.raises(MalformedNoteError):
        note.sign(TEXT)


def test_a_generated_key_signs_what_its_other_half_verifies() -> None:
    skey, vkey = note.generate("govern.example/log")
    assert skey != note.generate("govern.example/log")[0]
    signed = note.sign(TEXT, Signer.parse(skey))
    verifier = Verifier.parse(vkey)
    assert note.open(signed, verifier) == note.Note(TEXT, (verifier,))


def test_a_signer_does_not_show_its_key_when_printed() -> None:
    assert repr(PETER) == "Signer(name='PeterNeumann')"


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", "a\x01b", "a\ud800b"])
def test_no_key_gets_a_name_that_a_note_cannot_hold(name: str) -> None:
    for make in (note.generate, lambda each: Verifier(each, bytes(32))):
        with pytest.raises(MalformedKeyError):
            make(name)


@pytest.mark.parametrize("parse", [Verifier.parse, Signer.parse])
@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "+",
        "++",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a3+",
        PETER_VKEY.replace("c74f20a3", "c74f20a4"),
        PETER_VKEY.replace("c74f20a3", "C74F20A3"),
        PETER_VKEY.replace("c74f20a3", "c74f20a"),
        PETER_VKEY.replace("Neumann", "Newmann"),
        PETER_VKEY.replace("PeterNeumann", ""),
        PETER_VKEY.replace("PeterNeumann", "Peter Neumann"),
        PETER_VKEY + "\n",
        PETER_VKEY[:-4],
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        # Right in itself, but of a kind of signature that is not ours.
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_a_damaged_key_is_refused(parse: Callable[[str], object], damaged: str) -> None:
    for text in (damaged, f"PRIVATE+KEY+{damaged}"):
        with pytest.raises(MalformedKeyError):
            parse(text)


@pytest.mark.parametrize(
    ("parse", "key"), [(Verifier.parse, PETER_VKEY), (Signer.parse, PETER_SKEY)]
)
def test_no_part_of_a_key_and_no_changed_letter_passes_for_it(
    parse: Callable[[str], object], key: str
) -> None:
    for at in range(len(key)):
        for damaged in (
            key[:at],
            key[at + 1 :],
            key[:at] + key[at + 1 :],
            key[:at] + chr(ord(key[at]) + 1) + key[at + 1 :],
        ):
            with pytest.raises(MalformedKeyError):
                parse(damaged)


def test_a_public_key_has_32_bytes() -> None:
    with pytest.raises(MalformedKeyError):
        Verifier("short", bytes(31))

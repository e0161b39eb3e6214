"""An export tells by itself what was done to it, and names the entry and the line."""

import json
import subprocess
import sys
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from govern import errors
from govern.audit import leaf, lines, verify
from govern.tlog import note
from tests.audit import files
from tests.audit.files import KEY, NAME, VKEY, Log, check, export, finish, forge, found, log

OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
FORMS = ("jsonl", "csv")


def at(seq: int) -> int:
    """The index of an entry among the lines of an unfiltered export of one log."""
    return seq + 2


# --- what is right --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [0, 1, 2, 7, 64, 300])
def test_an_untouched_export_is_proven_whole(form: str, size: int) -> None:
    report = check(export(log(size), form=form))
    assert report.ok
    assert report.rows == size
    assert [(each.shown, each.size, each.signed) for each in report.logs] == [(size, size, True)]
    whole = "its one entry is here" if size == 1 else f"all {size} entries are here"
    assert whole in report.proves[0]


@pytest.mark.parametrize("form", FORMS)
def test_several_logs_are_proven_each_by_its_own_checkpoint(form: str) -> None:
    logs = [log(9), log(0, "cli_a"), log(5, "cli_b")]
    report = check(export(*logs, form=form))
    assert report.ok
    assert [(each.log, each.size) for each in report.logs] == [
        ("house", 9), ("cli_a", 0), ("cli_b", 5),
    ]  # fmt: skip


@given(shown=st.sets(st.integers(0, 40)), size=st.integers(0, 40), form=st.sampled_from(FORMS))
def test_whatever_the_filter_leaves_out_the_signed_root_is_reached(
    shown: set[int], size: int, form: str
) -> None:
    made = log(size)
    report = check(export(made, shown=shown.__contains__, form=form))
    assert report.ok
    assert report.rows == len([seq for seq in shown if seq < size])
    assert report.logs[0].signed


def test_a_filtered_export_says_what_it_does_not_prove() -> None:
    report = check(export(log(10), shown=lambda seq: seq == 4))
    assert any("1 of 10 entries" in words for words in report.proves)
    assert any("none of the 9 entries" in words for words in report.does_not_prove)


def test_no_database_and_no_sqlalchemy_is_needed() -> None:
    program = f"""
import sys, types
sys.modules["sqlalchemy"] = None
package = types.ModuleType("govern.audit")
package.__path__ = [{str(Path(verify.__file__).parents[1])!r}]
sys.modules["govern.audit"] = package
from govern.audit import verify
report = verify.check(sys.stdin.buffer, keys=[{VKEY!r}])
sys.exit(0 if report.ok else 1)
"""
    subprocess.run([sys.executable, "-c", program], input=export(log(5)), check=True)


def test_without_a_key_that_the_reader_trusts_nothing_is_checked() -> None:
    file = export(log(3))
    for keys in ([], ["nonsense"], [VKEY[:-3]]):
        with pytest.raises(errors.Invalid) as refused:
            verify.check(BytesIO(file), keys=keys)
        assert refused.value.field == "key"


def test_another_key_proves_nothing() -> None:
    other = str(note.Signer(NAME, OTHER).verifier)
    elsewhere = str(note.Signer("else.test", files.KEY).verifier)
    for key in (other, elsewhere):
        report = check(export(log(3)), key=key)
        assert [each.kind for each in report.damage] == ["signature"]
        assert not report.logs[0].signed


# --- what was done to it --------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_every_flip_of_a_byte_is_found(form: str) -> None:
    file = export(log(3), log(1, "cli_b"), shown=lambda seq: seq != 2, form=form)
    for place in range(len(file)):
        broken = bytearray(file)
        broken[place] ^= 1 << place % 8
        assert not check(bytes(broken)).ok, place


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_byte_is_named_by_its_entry_and_line(form: str) -> None:
    rows = export(log(4), form=form).splitlines(keepends=True)
    shift = 1 if form == "csv" else 0
    for seq in range(4):
        line = at(seq) + shift
        for place in range(len(rows[line]) - 2):
            broken = bytearray(rows[line])
            broken[place] ^= 1
            report = check(b"".join([*rows[:line], bytes(broken), *rows[line + 1 :]]))
            assert {(each.seq, each.line) for each in report.damage if each.seq is not None} == {
                (seq, line + 1)
            }, broken


def some(seq: int) -> bool:
    return seq not in {3, 4, 5}


# Made once: salts are random, and a property is tried again on the very same file.
SAMPLES = {form: export(log(9), log(4, "cli_b"), shown=some, form=form) for form in FORMS}


@given(data=st.data(), form=st.sampled_from(FORMS))
@settings(max_examples=300)
def test_whatever_is_done_to_the_bytes_is_found(data: st.DataObject, form: str) -> None:
    file = SAMPLES[form]
    begin = data.draw(st.integers(0, len(file)))
    end = data.draw(st.integers(begin, len(file)))
    put = data.draw(st.binary(max_size=30) | st.sampled_from(file.splitlines(keepends=True)))
    broken = file[:begin] + put + file[end:]
    report = check(broken)
    assert report.ok == (broken == file)


@given(data=st.data())
@settings(max_examples=300)
def test_whatever_is_done_to_the_lines_is_found_though_the_last_is_made_anew(
    data: st.DataObject,
) -> None:
    file = SAMPLES["jsonl"]
    written = file.splitlines(keepends=True)[:-1]
    changed = data.draw(
        st.permutations(written)
        | st.lists(st.sampled_from(written), max_size=20)
        | st.sets(st.integers(1, len(written) - 1), min_size=1).map(
            lambda gone: [line for i, line in enumerate(written) if i not in gone]
        )
    )
    if changed != written:
        report = check(forge(file, lambda lines: lines.__setitem__(slice(None), changed)))
        assert not report.ok
        assert report.damage


def test_an_entry_changed_without_its_hash_is_named_and_the_rest_stays_proven() -> None:
    def change(written: list[bytes]) -> None:
        written[at(5)] = written[at(5)].replace(b'"actor":"sub_1"', b'"actor":"sub_2"')

    file = forge(export(log(10)), change)
    assert found(file) == [("entry", 5, 8)]
    assert check(file).logs[0].signed


def test_a_changed_hash_beside_an_unchanged_entry_is_told_from_a_changed_entry() -> None:
    digest = lines.encode(bytes(32)).encode()

    def change(written: list[bytes]) -> None:
        parts = lines.ENTRY.fullmatch(written[at(5)])
        assert parts
        written[at(5)] = written[at(5)].replace(parts[2], digest)

    file = forge(export(log(10)), change)
    assert found(file) == [("entry", 5, 8)]
    assert check(file).logs[0].signed


def test_a_changed_value_is_named() -> None:
    def change(written: list[bytes]) -> None:
        written[at(5)] = written[at(5)].replace(b"operator:root", b"operator:toor")

    assert found(forge(export(log(10)), change)) == [("value", 5, 8)]


def test_a_salt_cannot_take_over_the_beginning_of_its_value() -> None:
    made = Log()
    made.add({"actor": "operator:root"})
    salt, value = made.values[0]["actor"]
    made.values[0]["actor"] = [salt + value[:4], value[4:]]
    assert found(export(made)) == [("value", 0, 3)]


def test_a_missing_value_is_named() -> None:
    made = log(10)
    del made.values[5]["note"]
    del made.values[9]
    assert found(export(made)) == [("value_missing", 5, 8), *[("value_missing", 9, 12)] * 2]


def test_a_value_too_many_is_named() -> None:
    made = log(3)
    made.values[2] = {"note": [leaf.salt(), "words"]}
    assert found(export(made)) == [("value", 2, 5)]


@pytest.mark.parametrize("seq", [0, 4, 9])
def test_a_dropped_line_is_named(seq: int) -> None:
    kind, line = ("tail", 12) if seq == 9 else ("missing", at(seq) + 1)
    assert found(forge(export(log(10)), lambda written: written.pop(at(seq)))) == [
        (kind, seq, line)
    ]


def test_a_line_dropped_and_hidden_behind_its_hash_is_named() -> None:
    def change(written: list[bytes]) -> None:
        parts = lines.ENTRY.fullmatch(written[at(4)])
        assert parts
        written[at(4)] = lines.skip(4, 5, [note.decode_base64(parts[2].decode())])

    assert found(forge(export(log(10)), change)) == [("left_out", 4, 7)]


@pytest.mark.parametrize(("one", "other"), [(3, 4), (2, 7), (8, 9), (0, 9)])
def test_two_swapped_lines_are_named(one: int, other: int) -> None:
    def change(written: list[bytes]) -> None:
        written[at(one)], written[at(other)] = written[at(other)], written[at(one)]

    named = found(forge(export(log(10)), change))
    assert {kind for kind, _, _ in named} == {"order"}
    assert {seq for _, seq, _ in named} <= {one, other}
    assert named[0][2] == at(one) + 1


def test_a_doubled_line_is_named() -> None:
    file = forge(export(log(10)), lambda written: written.insert(at(5), written[at(4)]))
    assert found(file) == [("doubled", 4, 8)]
    assert check(file).logs[0].signed


def test_a_line_of_another_log_is_named() -> None:
    other = export(log(10, "cli_b")).splitlines(keepends=True)[at(5)]
    inserted = forge(export(log(10)), lambda written: written.insert(at(5), other))
    assert found(inserted) == [("log", 5, 8)]
    replaced = forge(export(log(10)), lambda written: written.__setitem__(at(5), other))
    assert found(replaced) == [("log", 5, 8)]
    assert not check(replaced).logs[0].signed


def test_a_file_cut_off_is_named() -> None:
    rows = export(log(10)).splitlines(keepends=True)
    assert found(b"".join(rows[:-1])) == [("end", None, 13)]
    assert found(b"".join(rows[: at(7)])) == [("tail", 7, 10), ("end", None, 10)]
    within = b"".join(rows[: at(7)]) + rows[at(7)][:40]
    assert ("line", 7, 10) in found(within)
    assert found(b"".join(rows)[:-1]) == [("end", None, 13)]


def test_a_manifest_that_the_key_signed_proves_filter_time_and_counts_too() -> None:
    written = export(log(10)).splitlines(keepends=True)[:-1]
    report = check(finish(written, 10, key=KEY))
    assert report.ok
    assert any("signed" in words and "filter" in words for words in report.proves)
    assert not any("filter" in words for words in report.does_not_prove)
    assert any("filter" in words for words in check(finish(written, 10)).does_not_prove)


def test_a_manifest_signed_by_another_or_for_another_file_is_named() -> None:
    written = export(log(10)).splitlines(keepends=True)[:-1]
    last = at(10) + 1
    assert found(finish(written, 10, key=OTHER)) == [("manifest", None, last)]
    signed = json.loads(finish(written, 10, key=KEY).splitlines()[-1])["signed"]
    edited = [written[0].replace(b"T10:00:00", b"T11:00:00"), *written[1:]]
    digest = sha256(b"".join(edited)).hexdigest()
    assert found(b"".join(edited) + lines.end(10, 0, digest, signed)) == [("manifest", None, last)]


def test_a_value_that_was_erased_is_counted_and_is_no_damage() -> None:
    made = log(10)
    made.values[5]["note"] = None  # type: ignore[assignment]  # as an erased value is written
    made.add(type="subject.erased", refs={"subject": "sub_2"})
    file = export(made)
    report = check(finish(file.splitlines(keepends=True)[:-1], 11, erased=1))
    assert report.ok, report.damage
    assert any("erased" in words for words in report.does_not_prove)
    assert found(file) == [("end", None, at(11) + 1)]


@pytest.mark.parametrize(
    ("name", "account", "message"),
    [
        ("note", None, "no later entry accounts for"),
        ("note", {"subject": "sub_1"}, "no later entry accounts for"),
        ("actor", {"subject": "sub_2"}, "nobody may erase"),
    ],
)
def test_a_value_that_nothing_accounts_for_is_damage(
    name: str, account: dict[str, str] | None, message: str
) -> None:
    made = log(10)
    made.values[5][name] = None  # type: ignore[assignment]  # as an erased value is written
    if account is not None:
        made.add(type="subject.erased", refs=account)
    rows = len(made.leaves)
    file = finish(export(made).splitlines(keepends=True)[:-1], rows, erased=1)
    [damage] = check(file).damage
    assert (damage.kind, damage.seq) == ("erased", 5)
    assert message in damage.message


def test_what_follows_the_last_line_is_named() -> None:
    assert found(export(log(3)) + b"more\n") == [("end", None, 7)]


def test_a_tail_cut_off_at_an_older_checkpoint_is_found_by_a_later_one_that_was_kept() -> None:
    made = log(10)
    cut = export(made, size=6)
    assert check(cut).ok
    assert found(cut, made.sign(10)) == [("tail", 6, None)]


def test_a_file_rehashed_without_the_key_has_another_root() -> None:
    true, false = log(10), log(10)
    report = check(export(false, signed={"house": true.sign()}))
    assert [(each.kind, each.log) for each in report.damage] == [("root", "house")]
    assert "rewritten without the key" in report.damage[0].message
    assert not report.logs[0].signed


def test_a_file_signed_anew_with_another_key_is_not_believed() -> None:
    made = log(10)
    assert found(export(made, signed={"house": made.sign(key=OTHER)})) == [("signature", None, 1)]


def test_a_log_rewritten_and_signed_by_the_same_key_is_found_by_a_checkpoint_that_was_kept() -> (
    None
):
    kept = log(6).sign()
    assert [kind for kind, _, _ in found(export(log(10)), kept)] == ["rewritten"]
    same_size = log(10).sign()
    assert [kind for kind, _, _ in found(export(log(10)), same_size)] == ["rewritten"]


@given(kept=st.integers(0, 20), shown=st.sets(st.integers(0, 20)) | st.none())
def test_up_to_which_checkpoint_the_tail_is_proven_is_said(
    kept: int, shown: set[int] | None
) -> None:
    made = log(20)
    report = check(
        export(made, shown=None if shown is None else shown.__contains__), made.sign(kept)
    )
    assert report.ok
    said = [words for words in report.proves if "that you kept" in words or "you kept." in words]
    unsaid = [words for words in report.does_not_prove if "checkpoint that you kept" in words]
    assert len(said) + len(unsaid) == 1
    if shown is None:
        assert said
    if said and kept:
        assert f"up to entry {kept - 1}," in said[0]


def test_a_kept_checkpoint_that_the_key_did_not_sign_is_named() -> None:
    made = log(10)
    assert found(export(made), made.sign(5, key=OTHER)) == [("kept", None, None)]
    assert found(export(made), b"nonsense") == [("kept", None, None)]


def test_a_kept_checkpoint_of_a_log_that_is_not_here_is_said_not_to_be_compared() -> None:
    report = check(export(log(3)), log(5, "cli_b").sign())
    assert report.ok
    assert any("does not hold that log" in words for words in report.does_not_prove)


def test_an_entry_that_its_log_signed_and_that_contradicts_itself_is_named() -> None:
    for changed, kind in (
        ({"seq": 7}, "place"),
        ({"log": "cli_b"}, "log"),
        ({"time": "2026-11-21T09:00:01.000000Z"}, "time"),
        ({"time": "yesterday"}, "time"),
        ({"v": 2}, "version"),
        ({"v": True}, "version"),
    ):
        made = log(3)
        made.add(**changed)
        made.add()
        assert (kind, 3, 6) in found(export(made)), changed


def test_fields_that_are_not_known_are_allowed() -> None:
    made = Log()
    made.add(future={"more": 1})
    assert check(export(made)).ok


def test_a_header_that_contradicts_its_checkpoint_is_named() -> None:
    for old, new in ((b'"size":4', b'"size":3'), (b'"origin":"govern', b'"origin":"goverm')):
        header, *rest = export(log(4)).splitlines(keepends=True)[:-1]
        file = finish([header.replace(old, new), *rest], 4)
        assert "header" in {kind for kind, _, _ in found(file)}


@pytest.mark.parametrize(
    "file",
    [b"", b"\n", b"{}\n", b"[]\n", b"null\n", b"kind,log\r\n", b"\xff\xfe", b"{" * 100_000,
     b'{"govern":"export/1"}\n', b'{"filter":{},"govern":"export/2","logs":[],"made_at":""}\n',
     b'{"filter":{},"govern":"export/1","logs":[],"made_at":""}\n', b"[" * 200_000 + b"\n",
     b'{"govern":' + b"9" * 9999 + b"}\n"],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_export_is_refused_as_damage(file: bytes) -> None:
    assert found(file) == [("header", None, 1)] or found(file) == [("header", None, 2)]


def test_damage_everywhere_is_counted_but_does_not_fill_the_memory() -> None:
    def change(written: list[bytes]) -> None:
        for seq in range(1500):
            written[at(seq)] = written[at(seq)].replace(b'"actor":"sub_1"', b'"actor":"sub_2"')

    made = Log()
    for _ in range(1500):
        made.add()
    report = check(forge(export(made), change))
    assert (len(report.damage), report.unnamed) == (1000, 500)


def test_each_damage_is_plain_data() -> None:
    file = forge(export(log(10)), lambda written: written.pop(at(4)))
    damage = [{"seq": d.seq, "line": d.line, "kind": d.kind} for d in check(file).damage]
    assert json.loads(json.dumps(damage)) == [{"seq": 4, "line": 7, "kind": "missing"}]


# --- the form for spreadsheets --------------------------------------------------------------------


@pytest.mark.asvs("16.4.1")
def test_no_cell_is_taken_for_a_formula() -> None:
    for text in ("=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\uff1d1"):
        assert lines.safe(text).startswith("'"), text
    for text in ("", "sub_1", "a=b", "{}"):
        assert lines.safe(text) == text
    made = log(3)
    assert b",'=cli," in export(made, form="csv")


def test_a_row_is_one_physical_line() -> None:
    made = Log()
    made.add({"note": "two\nlines\u2028\x85"}, actor="a\nb\rc\u2028d")
    file = export(made, form="csv")
    assert check(file).ok
    assert file.count(b"\n") == 5


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_text_survives_both_forms(texts: list[str]) -> None:
    made = Log()
    for text in texts:
        made.add({"note": text} if text else None, data={"x": text}, actor=text)
    for form in FORMS:
        assert check(export(made, form=form)).ok


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_make_the_check_fail_otherwise_than_by_damage(noise: bytes) -> None:
    rows = SAMPLES["jsonl"].splitlines(keepends=True)
    for place in range(len(rows) + 1):
        assert not check(b"".join([*rows[:place], noise + b"\n", *rows[place:]])).ok
    assert not check(finish([rows[0], noise], 0)).ok


def test_a_large_file_is_found_the_same_by_several_processes_as_by_one(tmp_path: Path) -> None:
    made = Log()
    for seq in range(9000):
        hour, second = divmod(seq, 3600)
        time = f"2026-11-21T{hour:02}:{second // 60:02}:{second % 60:02}.000000Z"
        made.add({"actor": "operator:root"} if seq % 900 == 1 else None, time=time)
    whole = files.export(made)
    assert len(whole) > 1 << 21
    shown = files.export(made, shown=lambda seq: 100 <= seq < 8500)
    entries = whole.splitlines(keepends=True)
    missing = files.forge(whole, lambda rows: rows.pop(4000))
    swapped = files.forge(whole, lambda rows: rows.insert(2500, rows.pop(2502)))
    damaged = [
        whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        for at in (len(entries[0]) + 700, 1 << 20, len(whole) // 2)
    ]
    path = tmp_path / "export"
    for number, each in enumerate([whole, shown, missing, swapped, *damaged]):
        path.write_bytes(each)
        with path.open("rb") as file:
            several = verify.check(file, keys=[VKEY], processes=2)
        assert several == verify.check(BytesIO(each), keys=[VKEY])
        assert several.ok == (number < 2)

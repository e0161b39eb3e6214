"""The leaf is canonical, tells nothing by its hash, and holds no personal value."""

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from govern.audit import leaf

KEYS = st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
)


def built(**changed: object) -> bytes:
    fields: dict[str, object] = {
        "log": "house",
        "seq": 3,
        "time": "2026-11-21T09:00:00.000000Z",
        "type": "grant.issued",
        "actor": "sub_1",
        "session": None,
        "refs": {},
        "data": {},
        "commit": {},
    }
    return leaf.build(**(fields | changed))  # type: ignore[arg-type]  # of any kind, by design


@given(st.dictionaries(KEYS, VALUES, max_size=6))
@pytest.mark.asvs("16.2.4")
def test_the_bytes_are_those_of_rfc_8785(value: dict[str, object]) -> None:
    assert leaf.canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # of any kind, by design


@given(data=st.dictionaries(KEYS, VALUES, max_size=3), refs=st.dictionaries(KEYS, TEXT, max_size=3))
def test_a_leaf_reads_as_it_was_written(data: dict[str, object], refs: dict[str, str]) -> None:
    fields = leaf.parse(built(data=data, refs=refs))
    assert fields is not None
    assert fields.get("data", {}) == data
    assert fields.get("refs", {}) == refs
    assert leaf.faults(fields, log="house", seq=3, after="") == []


def test_empty_parts_are_left_out() -> None:
    assert set(leaf.parse(built()) or {}) == {
        "v", "log", "seq", "time", "type", "actor", "salt",
    }  # fmt: skip


def test_equal_events_have_different_leaves() -> None:
    assert built() != built()


@given(
    refs=st.dictionaries(KEYS.map(lambda key: f"r{key}"), TEXT, max_size=3),
    data=st.dictionaries(KEYS, VALUES, max_size=3),
    type=TEXT,
    seq=st.integers(0, 2**53 - 1),
)
@example(refs={"r": "%s"}, data={"d": "%d"}, type="\0", seq=0)
def test_a_form_gives_the_bytes_that_each_entry_would_have_had(
    refs: dict[str, str], data: dict[str, object], type: str, seq: int
) -> None:
    whole = {"subject": "sub_1", "grant": "grt_2", "project": "prj_3"}
    alike = [
        (
            leaf.Form(log="house", type=type, actor="system", refs=refs, differing=own, data=data),
            own,
        )
        for own in (whole, whole | {"dataset": "dat_4"}, whole | {"subject": "sub_5"})
    ]
    salts, seqs = leaf.salts(3), range(seq, seq + 3)
    times = [f"2026-11-21T09:00:00.00000{place}Z" for place in range(3)]
    made = leaf.filled(
        [(form, tuple(own[name] for name in form.place)) for form, own in alike],
        salts,
        seqs,
        times,
    )
    for place, (_, own) in enumerate(alike):
        fields = leaf.parse(
            built(seq=seqs[place], type=type, actor="system", refs=refs | own, data=data)
        )
        assert fields is not None
        fields |= {"salt": salts[place], "time": times[place]}
        assert made[place] == leaf.canonical(fields)
        assert len(salts[place]) == len(leaf.salt())


def test_what_json_would_write_otherwise_is_no_plain_id() -> None:
    assert leaf.plain(["grt_0ch3", "sub_1", ""])
    for wrong in ('a"b', "a\\b", "a\nb", "é", "a b"):
        assert not leaf.plain(["grt_0ch3", wrong])


@given(TEXT)
def test_a_commitment_opens_with_its_salt_and_value_alone(value: str) -> None:
    salt = leaf.salt()
    fields = {"commit": {"note": leaf.commitment(salt, value)}}
    assert leaf.value_faults(fields, {"note": [salt, value]}) == []
    for wrong in ([salt, value + "x"], [leaf.salt(), value], [salt], salt, [salt, value, 1]):
        assert [kind for kind, _ in leaf.value_faults(fields, {"note": wrong})] == ["value"]
    assert leaf.value_faults(fields, {"note": None}) == []  # said to have been erased
    assert [kind for kind, _ in leaf.value_faults(fields, {})] == ["value_missing"]


@given(st.binary(max_size=60))
def test_other_bytes_are_no_leaf_and_no_error(body: bytes) -> None:
    fields = leaf.parse(body)
    assert fields is None or leaf.faults(fields, log="house", seq=0, after="")

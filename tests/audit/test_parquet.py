"""An export as Parquet proves as much as CSV, is read by others' tools, and asks for its extra."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import compute, parquet

from govern import errors
from govern.audit import export, lines, verify
from govern.audit import parquet as columns
from govern.audit.export import Filter
from govern.audit.signer import Signer
from tests.audit.test_export import auditor, exported, fill

if TYPE_CHECKING:
    from tests.factory import World


def _checked(world: World, file: bytes) -> verify.Report:
    return verify.check(
        columns.Reader(BytesIO(file)), keys=[Signer(world.store.settings).key]
    )  # fmt: skip


def test_the_columns_are_typed_and_prove_what_the_rows_of_csv_prove(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_id = world.client("ASTER").id
    fill(world.store, log_id, 300)
    Signer(world.store.settings).sign(world.store)
    monkeypatch.setattr(columns, "_GROUP", 64)
    for where in (Filter(), Filter(subject="sub_1")):
        file, done = exported(world.store, where, form="parquet", client=log_id)
        table, _ = exported(world.store, where, form="csv", client=log_id)
        report = _checked(world, file)
        assert report.ok, report.damage
        proved = verify.check(BytesIO(table), keys=[Signer(world.store.settings).key])
        assert replace(report, proves=(), logs=()) == replace(proved, proves=(), logs=())
        assert report.rows == done.rows
        read: Any = parquet.read_table(BytesIO(file))
        entries = read.filter(compute.equal(read["kind"], "entry"))
        assert entries.num_rows == done.rows
        assert read.schema.field("time").type == pa.timestamp("us", tz="UTC")
        assert read.schema.field("seq").type == pa.int64()
        assert entries["seq"].to_pylist() == sorted(entries["seq"].to_pylist())
    whole, _ = exported(world.store, form="parquet", client=log_id)
    assert parquet.ParquetFile(BytesIO(whole)).num_row_groups > 3

    # What is there to read must be what the leaves say, and what was cut off is missed.
    read = parquet.read_table(BytesIO(whole))
    place = read.schema.get_field_index("actor")
    changed = read.set_column(
        place,
        "actor",
        pa.array(["sub_other" if each else None for each in read["actor"].to_pylist()]),
    )
    for damaged in (changed, read.slice(0, 200), read.slice(1), read.drop_columns(["leaf"])):
        out = BytesIO()
        parquet.write_table(damaged, out)
        if damaged.num_columns < len(lines.COLUMNS):
            with pytest.raises(errors.Invalid):
                _checked(world, out.getvalue())
        else:
            assert not _checked(world, out.getvalue()).ok
    for broken in (whole[:-200], b"PAR1", whole[:100] + b"\0" * 400 + whole[500:]):
        with pytest.raises(errors.Invalid):
            assert _checked(world, broken).ok


def test_without_the_extra_it_is_refused_before_anything_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    out = BytesIO()
    with pytest.raises(errors.Invalid, match=r"pip install 'govern\[parquet\]'"):
        export.run(world.store, out, form="parquet", where=Filter(), by=auditor())
    assert out.getvalue() == b""


@pytest.mark.web_alone  # what is read is a file
def test_one_from_a_stranger_is_read_apart_and_may_stand_for_no_more_than_is_borne(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_id = world.client("ASTER").id
    fill(world.store, log_id, 300)
    Signer(world.store.settings).sign(world.store)
    file, done = exported(world.store, form="parquet", client=log_id)
    keys = [Signer(world.store.settings).key]
    with columns.apart(BytesIO(file), most_bytes=1 << 20) as rows:
        report = verify.check(rows, keys=keys)  # type: ignore[arg-type]  # its lines are all
    assert report.ok, report.damage
    assert report.rows == done.rows

    # A few kilobytes that stand for four gigabytes.
    seqs = pa.nulls(40_000, pa.int64())
    long = pa.DictionaryArray.from_arrays(
        pa.array([0] * 40_000, pa.int32()), pa.array(["x" * 100_000])
    )
    texts = {name: long if name == "leaf" else pa.nulls(40_000, pa.string())
             for name in lines.COLUMNS}  # fmt: skip
    out = BytesIO()
    parquet.write_table(pa.table(texts | {"seq": seqs}), out, compression="zstd")
    assert len(out.getvalue()) < 100_000
    for broken, words in (
        (out.getvalue(), "takes too much memory"),
        (file[:-100], "damaged"),
        (b"PAR1", "damaged"),
    ):
        with (
            pytest.raises(errors.Invalid, match=words) as refused,
            columns.apart(BytesIO(broken), most_bytes=1 << 20) as rows,
        ):
            verify.check(rows, keys=keys)  # type: ignore[arg-type]  # its lines are all
        assert refused.value.field == "file"
    with (
        pytest.raises(errors.Invalid, match="more than 0 MB"),
        columns.apart(BytesIO(file), most_bytes=1000) as rows,
    ):
        verify.check(rows, keys=keys)  # type: ignore[arg-type]  # its lines are all
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with (
        pytest.raises(errors.Invalid, match="not installed here"),
        columns.apart(BytesIO(file), most_bytes=1000),
    ):
        pass

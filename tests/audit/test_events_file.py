"""An OCSF export is held to its manifest: any byte, any event missing or added is found."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from typing import TYPE_CHECKING

from govern.audit import siem, single, verify
from govern.audit.export import Filter
from govern.audit.signer import Signer
from tests.audit.test_export import auditor, exported, fill, signed
from tests.audit.test_ocsf import faults

if TYPE_CHECKING:
    from pathlib import Path

    from tests.factory import World


def checked(world: World, file: bytes, *kept: bytes) -> verify.Report:
    return verify.check_events(BytesIO(file), keys=[Signer(world.store.settings).key], kept=kept)


def test_its_manifest_says_what_it_covers_is_valid_ocsf_and_proves_a_whole_log(
    world: World, tmp_path: Path
) -> None:
    client = world.client("ASTER").id
    fill(world.store, client, 40)
    signed(world.store)
    early = json.loads(exported(world.store, client=client)[0].split(b"\n")[0])["logs"][0]
    fill(world.store, client, 2000)
    signed(world.store)
    file, done = exported(world.store, form="ocsf", by=auditor(client))
    proof, _ = exported(world.store, by=auditor(client))
    last = file.splitlines(keepends=True)[-1]
    assert verify.is_events(file[: verify.BEGINS])
    assert faults(last) == []
    told = json.loads(last)["unmapped"]
    assert (told["rows"], told["withheld"]) == (done.rows, ["other_logs"])
    through = json.loads(proof.split(b"\n")[0])["logs"][0]["through"]
    assert told["complete_through"] == {client: through}
    report = checked(world, file, early["checkpoint"].encode())
    assert report.ok, report.damage
    assert report.rows == done.rows
    assert any("without a gap" in words for words in report.proves)
    assert any("continues the checkpoint" in words for words in report.proves)

    (tmp_path / "verify.py").write_text(single.source())
    (tmp_path / "file.ndjson").write_bytes(file)
    found = subprocess.run(
        [sys.executable, "-I", "verify.py", "file.ndjson", "--key",
         Signer(world.store.settings).key],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    assert b"as it was made, to the byte" in found.stdout

    part, _ = exported(world.store, Filter(subject="sub_1"), form="ocsf", client=client)
    report = checked(world, part)
    assert report.ok, report.damage
    assert any("fits the filter" in words for words in report.does_not_prove)


def test_every_change_of_it_is_found_and_named(world: World) -> None:
    client = world.client("ASTER").id
    fill(world.store, client, 30)
    signed(world.store)
    file, _ = exported(world.store, Filter(subject="sub_1"), form="ocsf", client=client)
    events = file.splitlines(keepends=True)
    header, end = siem.lines_of(events[-1]) or (b"", b"")
    unsigned = json.loads(end)
    del unsigned["signed"]
    forged = siem.manifest(header, json.dumps(unsigned).encode() + b"\n")
    for changed, kind in (
        (b"".join([*events[1:]]), "end"),
        (b"".join([events[1], events[0], *events[2:]]), "end"),
        (b"".join([events[0], *events]), "end"),
        (file.replace(b'"severity_id":1', b'"severity_id":2', 1), "end"),
        (file.replace(b'"sequence":', b'"sequence":1', 1), "line"),
        (b"".join(events[:-1]), "end"),
        (b"".join([*events[:-1], events[-1].replace(b'"rows":10', b'"rows":11')]), "end"),
        (b"".join([*events[:-1], forged]), "manifest"),
        (file + b"{}\n", "end"),
        (b"{}\n", "end"),
        (b"", "end"),
    ):
        assert changed != file
        report = checked(world, changed)
        assert not report.ok
        assert kind in {damage.kind for damage in report.damage}, (kind, report.damage)

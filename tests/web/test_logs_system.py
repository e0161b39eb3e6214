"""`/logs/` as the Go team's transparency-log packages read it, which share no code with ours."""

# debian: golang-go golang-golang-x-mod-dev

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from govern.audit.signer import Signer
from govern.tlog import note
from tests.audit.test_export import fill
from tests.support import processes

if TYPE_CHECKING:
    from govern.config import Settings
    from govern.db import Database
    from tests.factory import World

READER = Path(__file__).parent / "reader" / "main.go"


@pytest.mark.system
@pytest.mark.timeout(300)
def test_a_stranger_reads_and_proves_a_log_and_that_it_only_grew(
    world: World, store: Database, settings: Settings, tmp_path: Path
) -> None:
    build = tmp_path / "reader"
    own = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(tmp_path / "cache")}
    subprocess.run(["go", "build", "-o", build, READER], check=True, env=os.environ | own)
    aster = world.client("ASTER")
    row, secret = world.integration("mirror", scopes=("audit.read",), clients=[aster.id])
    fill(store, aster.id, 600)
    signer = Signer(settings)
    signer.sign(store)
    public = note.Verifier.parse(signer.key).public
    log_key = note.Verifier(f"{signer.name}/logs/{aster.code}", public)
    port = processes.free_port()
    with processes.govern(settings, port):
        address = [f"http://127.0.0.1:{port}/logs/ASTER", str(log_key), row.id, secret]

        def read(*more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [build, *address, *more], text=True, capture_output=True, check=False
            )

        first = read()
        assert first.returncode == 0, first.stderr
        size, root = first.stdout.split()
        assert int(size) > 600
        fill(store, aster.id, 300)
        signer.sign(store)
        assert read(size, root).returncode == 0
        forged = read(size, root[:-2] + ("A=" if root[-2] != "A" else "E="))
        assert forged.returncode != 0

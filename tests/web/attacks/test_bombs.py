"""Bombs and odd paths: what is sent to exhaust, or to climb out, is refused in words and soon."""

from __future__ import annotations

import gzip
import io
import json
import os
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from govern import errors
from govern.audit import backup
from govern.audit.signer import Signer
from tests.factory import OPERATOR
from tests.support import postgres
from tests.web.attacks import scene
from tests.web.test_surface import UNSAFE, rules
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask

    from govern.db import Database
    from tests.factory import World

NESTED = b'{"a":' * 30_000 + b"1" + b"}" * 30_000
BODIES = {
    "nested objects": NESTED,
    "nested lists": b"[" * 60_000,
    "a number too long": b'{"number": ' + b"9" * 50_000 + b"}",
    "a number too large": b'{"number": 1e99999}',
    "a name said ten thousand times": b"{" + b'"x":"x",' * 10_000 + b'"x":"y"}',
    "half a character": b'{"reason": "\\ud800"}',
    "gzip": gzip.compress(b'{"reason": "' + b"x" * 1_000_000 + b'"}'),
}


@pytest.fixture
def beginning() -> Any:
    return scene.full


@pytest.mark.web_alone
def test_no_body_of_json_exhausts_a_route_that_reads_it(app: Flask, begun: scene.Scene) -> None:
    credentials = begun.things["integration_id"], begun.things["secret"]
    for name, body in BODIES.items():
        headers = {"Content-Encoding": "gzip"} if name == "gzip" else {}
        began = time.process_time()
        for rule in rules(app):
            if not rule.endpoint.startswith(("api.", "authzen.")) or "GET" in (rule.methods or ()):
                continue
            (method,) = (rule.methods or set()) & UNSAFE
            answer = app.test_client().open(
                begun.path(rule), method=method, data=body, auth=credentials,
                content_type="application/json", headers=headers,
            )  # fmt: skip
            denied = answer.status_code == 200 and answer.json.get("decision") is False
            assert denied or 400 <= answer.status_code < 500, (name, rule, answer.status)
            assert answer.data.count(b"x" * 100) == 0, (name, rule)
        assert time.process_time() - began < 10, name


@pytest.mark.web_alone
def test_no_document_in_a_form_exhausts_it(app: Flask, world: World, begun: scene.Scene) -> None:
    world.seeds.update(begun.seeds)
    visitor = Visitor.of(app).seated(world, begun.people["admin"])
    where = f"/integrations/{begun.things['integration_id']}/registration"
    for document in (NESTED[:400_000].decode(), "[" * 60_000, "9" * 50_000, '{"keys":[1e99999]}'):
        answer = visitor.post(where, {"public_keys": document})
        assert answer.status_code == 422
    auditor = Visitor.of(app).seated(world, begun.people["auditor"])
    for document in (NESTED, b"[" * 60_000, b"\n" * 100_000, gzip.compress(b"x" * 1_000_000)):
        file = {"file": (io.BytesIO(document), "../../etc/passwd"), "key": "x"}
        auditor.get("/log/verify")
        answer = auditor.post("/log/verify", file, content_type="multipart/form-data")
        assert answer.status_code in {200, 422}


@pytest.mark.web_alone
@pytest.mark.parametrize("folder", ["/static/", "/static/vendor/", "/status-lists/", "/logs/"])
def test_no_path_climbs_out_of_its_folder(app: Flask, folder: str) -> None:
    client = app.test_client()
    for path in (
        "../__init__.py", "..%2f__init__.py", "%2e%2e/__init__.py", "....//__init__.py",
        "..\\__init__.py", "..%5c__init__.py", "/etc/passwd", "%2fetc%2fpasswd", "%00", "..%00/",
        "../../../../../../etc/passwd", ".%2e/.%2e/headers.py", "..%252f__init__.py",
    ):  # fmt: skip
        answer = client.get(folder + path)
        assert answer.status_code in {303, 400, 401, 404, 422}, path
        assert b"root:" not in answer.data
        assert b"def build" not in answer.data


def rewritten(file: Path, target: Path, **changed: Any) -> Path:
    """The same backup with another manifest, or with members more."""
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(target, "w") as out:
        for member in source.infolist():
            if member.filename != "manifest.json":
                out.writestr(member.filename, source.read(member))
        told = json.loads(source.read("manifest.json"))
        told |= changed.pop("told", {})
        manifest = changed.pop("manifest", json.dumps(told).encode())
        for name, content in changed.pop("more", {}).items():
            out.writestr(name, content)
        out.writestr("manifest.json", manifest, zipfile.ZIP_DEFLATED)
    return target


def test_no_backup_unpacks_without_end_or_outside_its_place(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PostgreSQL's programs of the server's own version, before those of the system.
    monkeypatch.setenv("PATH", f"{postgres.programs() / 'bin'}{os.pathsep}{os.environ['PATH']}")
    Signer(store.settings).sign(store)
    file = tmp_path / "backup.zip"
    backup.make(store, file, by=OPERATOR)
    digest = "0" * 64
    with zipfile.ZipFile(file) as whole:
        files = json.loads(whole.read("manifest.json"))["files"]
    for name, changed in {
        "nested": {"manifest": b"[" * 100_000},
        "bomb": {"manifest": b'{"format": 1, "x": "' + b"0" * (64 << 20) + b'"}'},
        "climbing": {"more": {"../../evil": b"x"}},
        "a key elsewhere": {"told": {"keys": {"../../../etc/passwd": digest}}},
        "a key from the root": {"told": {"keys": {"/etc/passwd": digest}}},
        "nothing in it": {"told": {"files": {}}},
        "a file elsewhere": {"told": {"files": files | {"../evil": digest}}},
    }.items():
        bad = rewritten(file, tmp_path / f"{name}.zip", **changed)
        with pytest.raises(errors.Invalid, match="backup"):
            backup.restore(store.settings, bad, by=OPERATOR)
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path.parent / "evil").exists()

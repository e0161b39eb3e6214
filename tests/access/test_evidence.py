"""An evidence pack proves itself to a bare Python; what is done to it: audit/test_damage.py."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from govern import clock, errors
from govern.access import clients, concerning, evidence
from govern.audit import single, verify
from govern.audit.signer import Signer
from govern.audit.verify import plain, tally
from tests.audit import files
from tests.factory import OPERATOR, World, person
from tests.support.damage.files import opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CANARY = "Zanzibar"


def fill(world: World) -> None:
    """A client with people, a pause, its lift and a drill; and a rival of whom nobody hears."""
    aster, rival = world.client("ASTER"), world.client(CANARY)
    project = world.project("Kingfisher", client=aster)
    other = world.project(f"{CANARY}-1", client=rival)
    people = [world.subject() for _ in range(4)]
    held = [world.grant(each, project) for each in people]
    world.grant(people[0], other)
    stopped = world.suspend("project:Kingfisher", f"project:{CANARY}-1")
    world.write_particulars()
    assert not world.permits(people[0], project)
    world.lift(stopped)
    world.write_particulars()
    world.revoke(held[0])
    world.drill("client:ASTER")
    world.entitlement("annotator", "read", "annotate", "log_hours", "export")
    world.entitlement(f"{CANARY}-only", "read")
    world.staff("admin")
    world.staff("auditor", client=aster)
    world.staff("auditor", client=rival)


@pytest.fixture
def beginning() -> Callable[[World], None]:
    return fill


def made(world: World, client: str = "ASTER", by: Any = OPERATOR) -> tuple[bytes, str]:
    signer = Signer(world.store.settings)
    concerning.follow(world.store)
    signer.sign(world.store)
    out = io.BytesIO()
    now = clock.utcnow()
    evidence.write(
        world.store, out, client, begin=now - timedelta(days=1), end=now + timedelta(days=1), by=by
    )
    return out.getvalue(), signer.key


def named(data: bytes, key: str, *kept: bytes) -> set[str]:
    report = verify.check_pack(io.BytesIO(data), keys=[key], kept=kept)
    assert report.ok == (not report.damage)
    return {each.kind for each in report.damage}


def bare(folder: Path, file: bytes, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run verify.py where neither govern nor SQLAlchemy can be imported."""
    (folder / "verify.py").write_text(single.source())
    (folder / name).write_bytes(file)
    program = (
        "import runpy, sys\n"
        "sys.modules.update(dict.fromkeys(('govern', 'sqlalchemy', 'pydantic', 'flask')))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-I", "-c", program, "verify.py", name, *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_pack_is_proved_by_a_bare_python_and_answers_what_it_is_asked(
    world: World, tmp_path: Path
) -> None:
    data, key = made(world)
    run = bare(tmp_path, data, "pack.zip", "--key", key)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "not proven: " in run.stdout
    parts = opened(data)
    assert parts["verify.py"].decode() == single.source()
    report = json.loads(parts["report.json"])
    assert report["log"]["events"]["grant.issued"] == 4
    assert report["log"]["events"]["grant.suspended"] == 4
    assert (report["people_who_reached"], report["grants_at_end"]) == (4, 3)
    (stop,) = report["log"]["suspensions"].values()
    assert stop["opened_at"] < stop["lifted_at"]
    assert [each["grants"] for each in stop["sets"]] == [4, 4]
    assert all(each["digest"] == each["derived"] for each in stop["sets"])
    assert report["drills"] == 1
    assert report["grants_over_time"][-1]["grants"] <= 4
    assert b"ASTER" in parts["report.html"]
    # Its charts: people by project, decisions by day, each with its table and counted again.
    (project,) = report["people_over_time"]
    assert (project["project"], len(project["people"])) == ("Kingfisher", tally.Reach.POINTS)
    assert max(project["people"]) <= 4
    (day,) = report["decisions_by_day"]
    assert (day["allowed"], day["denied"]) == (0, 1)
    assert report["bands"][0]["scopes"] == ["project:Kingfisher"]
    html = parts["report.html"].decode()
    assert html.count("<svg") == 3
    assert "<script" not in html
    for words in ("Decisions by day: 0 allowed, 1 denied", "People over time in 1 projects",
                  "<td>Kingfisher</td>", f"<td>{day['day']}</td>"):  # fmt: skip
        assert words in html
    reads = [json.loads(line) for line in parts["reads.jsonl"].splitlines()]
    assert reads[-1]["detail"]["form"] == "evidence"  # its own taking is on record before it
    # Of two numbers of a writer one would see how much was asked of others in between.
    assert all(re.fullmatch("acc_[0-9a-v]{24}", each["id"]) for each in reads)
    meant = [json.loads(line) for line in parts["entitlements.jsonl"].splitlines()]
    assert {each["entitlement"] for each in meant} == {"annotator"}
    assert {each["action"] for each in meant} >= {"read", "log_hours"}
    assert all(each["from"] and each["to"] is None for each in meant)
    (late,) = [each["from"] for each in meant if each["action"] == "export"]
    assert late == max(each["from"] for each in meant) > min(each["from"] for each in meant)
    held = [json.loads(line) for line in parts["roles.jsonl"].splitlines()]
    assert [(each["as"], each["over"]) for each in held] == [
        ("auditor", "client"), ("admin", "all"),
    ]  # fmt: skip
    assert "Who held a role over it" in html
    # A pack says nothing of another client, though a stop and a person concerned both.
    assert not [name for name, part in parts.items() if CANARY.encode() in part]


def test_a_pack_that_reaches_to_now_holds_its_own_taking_on_a_clock_that_stands(
    world: World,
) -> None:
    with clock.at(clock.utcnow() + timedelta(minutes=1)):
        data, _ = made(world)
    reads = [json.loads(line) for line in opened(data)["reads.jsonl"].splitlines()]
    assert [each["detail"]["form"] for each in reads] == ["evidence"]


def test_numbers_of_its_charts_that_do_not_follow_from_its_answers_are_named(world: World) -> None:
    data, key = made(world)
    parts = opened(data)
    report = json.loads(parts["report.json"])
    for place, change in (
        ("people_over_time.0.people.3", lambda r: r["people_over_time"][0]["people"].__setitem__(
            3, 70)),
        ("people_over_time", lambda r: r["people_over_time"].clear()),
        ("decisions_by_day", lambda r: r["decisions_by_day"][0].update(allowed=9)),
        ("counted again", lambda r: r.update(decisions_by_day=[{"day": 1}])),
    ):  # fmt: skip
        wrong = json.loads(json.dumps(report))
        change(wrong)
        found = verify.check_pack(
            io.BytesIO(packed(parts | {"report.json": json.dumps(wrong).encode()})), keys=[key]
        )
        assert [each.message for each in found.damage if place in each.message], place


def packed(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return out.getvalue()


def test_a_pack_takes_the_right_to_export_a_fresh_factor_and_a_client_one_may_know(
    world: World,
) -> None:
    auditor = world.staff("auditor")
    with world.store.reading() as session:
        rival = clients.client(session, CANARY).id
    limited = person(auditor, "auditor", rival)
    with pytest.raises(errors.Unknown):
        made(world, by=limited)
    with pytest.raises(errors.Forbidden):
        made(world, by=person(auditor, "admin"))
    long_ago = clock.utcnow() - timedelta(minutes=6)
    stale = replace(person(auditor, "auditor"), factor_at=long_ago)
    with pytest.raises(errors.FreshFactorRequired):
        made(world, by=stale)
    data, key = made(world, by=person(auditor, "auditor"))
    assert named(data, key) == set()


def test_the_one_file_checks_exports_and_receipts_as_govern_does(tmp_path: Path) -> None:
    whole = files.export(files.log(300))
    assert bare(tmp_path, whole, "log.jsonl", "--key", files.VKEY).returncode == 0
    table = files.export(files.log(7), form="csv")
    assert bare(tmp_path, table, "log.csv", "--key", files.VKEY).returncode == 0
    rows = whole.splitlines(keepends=True)
    run = bare(tmp_path, b"".join([*rows[:9], *rows[10:]]), "log.jsonl", "--key", files.VKEY)
    assert run.returncode == 1
    assert "damage: line 10: Entry 7 of house is missing" in run.stdout
    assert bare(tmp_path, whole, "log.jsonl", "--key", "nonsense").returncode == 2
    assert bare(tmp_path, whole, "log.jsonl").returncode == 2
    assert bare(tmp_path, b"<!doctype html>", "r.html", "--key", files.VKEY).returncode == 1


def test_the_one_file_has_others_look_ahead_in_a_large_file(tmp_path: Path) -> None:
    """Once each of them ended with a traceback: what it found was of a class that no pipe takes."""
    log = files.log(5000)
    for _ in range(900):
        log.add({"note": "x" * 1000})
    whole = files.export(log)
    assert len(whole) > 2 * plain.STRETCH
    run = bare(tmp_path, whole, "log.jsonl", "--key", files.VKEY)
    assert (run.returncode, run.stderr) == (0, "")
    cut = whole.replace(b'"seq":4000,', b'"seq":4001,')
    run = bare(tmp_path, cut, "log.jsonl", "--key", files.VKEY)
    assert (run.returncode, run.stderr) == (1, "")
    assert "damage: line 4003: " in run.stdout


# What verify.py may take from Python's library: each was looked up in that of 3.9.
LIBRARY = {
    "__future__": "annotations",
    "argparse": "ArgumentParser Namespace",
    "base64": "b64decode b64encode",
    "binascii": "b2a_base64",
    "bisect": "bisect_left",
    "builtins": "zip",
    "collections": "Counter",
    "collections.abc": "Callable Iterable Sequence",
    "concurrent.futures": "ThreadPoolExecutor",
    "contextlib": "suppress",
    "csv": "writer",
    "dataclasses": "dataclass field",
    "datetime": "datetime timedelta timezone",
    "fcntl": "fcntl",
    "hashlib": "sha256",
    "html.parser": "HTMLParser",
    "itertools": "chain count islice",
    "json": "JSONDecoder JSONEncoder loads",
    "multiprocessing": "get_context",
    "operator": "concat",
    "os": "cpu_count fstat pread",
    "pathlib": "Path",
    "re": "ASCII Match Pattern compile sub",
    "secrets": "token_bytes token_hex",
    "string": "ascii_letters digits",
    "struct": "iter_unpack",
    "sys": "argv exit platform stderr version_info",
    "types": "SimpleNamespace",
    "zipfile": "BadZipFile ZipFile",
    "zlib": "error",
}
# Methods that came later.
NEWER = {"bit_count", "add_note", "is_junction", "full_match", "hardlink_to", "with_segments"}


def taken(tree: ast.Module) -> set[str]:
    """The names of other modules that a program uses, as `module.name`."""
    modules = {
        each.asname or each.name: each.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for each in node.names
    }
    found = {
        f"{modules[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
    }
    return found | {
        f"{node.module}.{each.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }


def test_the_one_file_takes_nothing_that_the_oldest_python_it_names_has_not() -> None:
    """Once a pipe's name in `fcntl`, new in 3.10, ended the check of any large file on 3.9."""
    tree = ast.parse(single.source(), feature_version=(3, 9))
    known = {f"{module}.{name}" for module, names in LIBRARY.items() for name in names.split()}
    others = taken(tree) - known
    assert {each for each in others if not each.startswith("cryptography.")} == set()
    assert not NEWER & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}

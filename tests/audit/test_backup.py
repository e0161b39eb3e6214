"""A backup is the whole of one moment, and what is put back is never behind what was signed."""

from __future__ import annotations

import json
import os
import shutil
import threading
import zipfile
from dataclasses import replace
from struct import unpack_from
from typing import TYPE_CHECKING, Any

import pytest

from govern import cli, create_app, errors
from govern.audit import backup, fsck, log
from govern.audit.backup import postgresql
from govern.audit.signer import Signer
from govern.db import Database
from tests.audit.test_fsck import append
from tests.factory import OPERATOR, World
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from govern.config import Settings
    from tests.conftest import Templates


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's programs of the server's own version, before those of the system."""
    monkeypatch.setenv("PATH", f"{postgres.programs() / 'bin'}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def elsewhere(
    settings: Settings, database: str, templates: Templates, tmp_path: Path, empty_url: str
) -> Settings:
    """Another machine, with an empty place for the database and nothing else."""
    return replace(
        settings,
        data_dir=tmp_path / "elsewhere",
        database_url=empty_url if database == "postgresql" else "",
    )


def carry_keys(settings: Settings, elsewhere: Settings) -> None:
    for name in ("keys", "signer"):
        shutil.copytree(settings.data_dir / name, elsewhere.data_dir / name, dirs_exist_ok=True)


def sizes(store: Database) -> dict[str, int]:
    with store.reading() as session:
        return {head.id: head.size for head in log.logs(session)}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command over an installation; gives its result, or why it was refused."""

    def run(settings: Settings, *words: str) -> Any:
        monkeypatch.setenv("GOVERN_DATA_DIR", str(settings.data_dir))
        monkeypatch.setenv("GOVERN_DATABASE_URL", settings.database_url)
        status = cli.main(list(words))
        out, err = capfd.readouterr()
        return json.loads(out) if status == 0 else err

    return run


@pytest.fixture
def opened() -> Iterator[list[Database]]:
    stores: list[Database] = []
    yield stores
    for each in stores:
        each.dispose()


def test_a_backup_made_under_load_is_put_back_whole_and_serves(
    world: World, elsewhere: Settings, tmp_path: Path, opened: list[Database]
) -> None:
    project, person = world.project(), world.subject()
    world.grant(person, project)
    assert world.permits(person, project)
    Signer(world.store.settings).sign(world.store)
    stop, written = threading.Event(), threading.Event()

    def load() -> None:
        while not stop.is_set():
            world.grant(world.subject(), project)
            world.permits(person, project)
            written.set()

    writer = threading.Thread(target=load)
    writer.start()
    try:
        assert written.wait(60)
        before = sizes(world.store)
        made = backup.make(world.store, tmp_path / "backup.zip", by=OPERATOR)
        after = sizes(world.store)
    finally:
        stop.set()
        writer.join()
    assert (tmp_path / "backup.zip").stat().st_mode & 0o077 == 0
    held = {log_id: head["size"] for log_id, head in made.logs.items()}
    assert all(before[log_id] <= held[log_id] <= after[log_id] for log_id in before)

    carry_keys(world.store.settings, elsewhere)
    backup.restore(elsewhere, tmp_path / "backup.zip", by=OPERATOR)
    again = Database(elsewhere)
    opened.append(again)
    assert sizes(again) == held
    assert World(again).permits(person, project)
    Signer(elsewhere).sign(again)
    report = fsck.run(again, Signer(elsewhere))
    assert (report.damage, report.ok) == ((), True)
    app = create_app(elsewhere)
    opened.append(app.extensions["govern"])
    assert app.test_client().get("/readyz").json["status"] == "ready"


def test_what_is_behind_the_signer_is_not_put_back_nor_served_nor_asked(
    world: World, elsewhere: Settings, tmp_path: Path, run: Callable[..., Any]
) -> None:
    project, person = world.project(), world.subject()
    world.grant(person, project)
    signer = Signer(world.store.settings)
    signer.sign(world.store)
    carry_keys(world.store.settings, elsewhere)
    backup.make(world.store, tmp_path / "old.zip", by=OPERATOR)
    world.suspend(f"project:{project.code}")
    signer.sign(world.store)

    # Where the memory of the pause is, the backup from before it is refused unread.
    behind = replace(elsewhere, data_dir=tmp_path / "behind")
    carry_keys(world.store.settings, behind)
    with pytest.raises(errors.LogDamaged, match="a pause may be among those"):
        backup.restore(behind, tmp_path / "old.zip", by=OPERATOR)
    assert not (behind.data_dir / "govern.db").exists()

    # Put there all the same, by another way, it opens for nobody.
    backup.restore(elsewhere, tmp_path / "old.zip", by=OPERATOR)
    shutil.copytree(world.store.settings.signer_dir, elsewhere.signer_dir, dirs_exist_ok=True)
    with pytest.raises(errors.LogDamaged, match="not served"):
        create_app(elsewhere)
    for words in (["serve"], ["decide", person.external_id, "read", f"project:{project.code}"]):
        assert "not served" in run(elsewhere, *words)


def test_a_backup_with_its_keys_is_enough_to_go_on_signing_elsewhere(
    store: Database, elsewhere: Settings, tmp_path: Path, opened: list[Database],
    run: Callable[..., Any],
) -> None:  # fmt: skip
    append(store, 300)
    file = tmp_path / "backup.zip"

    made = run(store.settings, "backup", str(file), "--with-keys", "--json")
    assert (made["ok"], made["with_keys"]) == (True, True)
    assert "is missing" in run(elsewhere, "restore", str(file), "--json")
    assert run(elsewhere, "restore", str(file), "--with-keys", "--json")["logs"] == made["logs"]
    assert run(elsewhere, "db", "check", "--json")["ok"]
    again = Database(elsewhere)
    opened.append(again)
    append(again, 3)
    Signer(elsewhere).sign(again)
    assert Signer(elsewhere).key == Signer(store.settings).key
    for name in ("keys/sealing-1.key", "signer/log.key"):
        assert (elsewhere.data_dir / name).stat().st_mode & 0o077 == 0
    # A second time there is something there, which nothing is written over.
    assert "is there: keys" in run(elsewhere, "restore", str(file), "--with-keys", "--json")
    assert "a backup is put back" in run(
        elsewhere, "restore", str(file), "--json"
    ) or "holds" in run(elsewhere, "restore", str(file))


def test_a_backup_is_refused_when_it_is_damaged_or_the_keys_are_others(
    store: Database, elsewhere: Settings, tmp_path: Path
) -> None:
    append(store, 3)
    Signer(store.settings).sign(store)
    file = tmp_path / "backup.zip"
    backup.make(store, file, by=OPERATOR)
    assert not list(tmp_path.glob(".govern*")) + list(tmp_path.glob("*.part"))
    with zipfile.ZipFile(file) as written:
        assert not [name for name in written.namelist() if "key" in name or "signer" in name]
        members = [(one.header_offset, one.compress_size // 2) for one in written.infolist()]
    with pytest.raises(errors.AlreadyExists):
        backup.make(store, file, by=OPERATOR)

    carry_keys(store.settings, elsewhere)
    whole = file.read_bytes()
    # The middle of each member: of a header, or a run of zeros packed, not every bit tells.
    middles = [at + 30 + sum(unpack_from("<HH", whole, at + 26)) + half for at, half in members]
    bent = [
        whole[:at] + bytes(each ^ 0xFF for each in whole[at : at + 64]) + whole[at + 64 :]
        for at in middles
    ]
    for content in (*bent, whole[:-30]):
        damaged = tmp_path / "damaged.zip"
        damaged.write_bytes(content)
        with pytest.raises(errors.Invalid, match="backup"):
            backup.restore(elsewhere, damaged, by=OPERATOR)
    (elsewhere.keys_dir / "sealing-1.key").write_bytes(bytes(32))
    with pytest.raises(errors.Conflict, match=r"sealing-1\.key is not the key"):
        backup.restore(elsewhere, file, by=OPERATOR)
    (elsewhere.signer_dir / "heads.json").unlink()
    shutil.copy(store.settings.keys_dir / "sealing-1.key", elsewhere.keys_dir)
    with pytest.raises(errors.Unavailable, match="memory"):
        backup.restore(elsewhere, file, by=OPERATOR)


def test_without_postgresqls_programs_a_backup_says_which_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgresql, "_DEBIAN", tmp_path)
    with pytest.raises(errors.Unavailable, match="pg_dump of PostgreSQL 18 or newer, and none"):
        postgresql._program("pg_dump", 18)
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.9'\n")
    old.chmod(0o755)
    with pytest.raises(errors.Unavailable, match="only that of 15 was found"):
        postgresql._program("pg_dump", 18)

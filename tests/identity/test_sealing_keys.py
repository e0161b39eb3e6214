"""Secrets at rest: sealed by a key outside the database, which is replaced while all goes on."""

from __future__ import annotations

import base64
import secrets
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import LargeBinary, func, select, update

from govern import config, create_app, db, errors, example, schema, sealing
from govern.audit.record import RECORDED
from govern.db import Base
from govern.identity import authenticators, keys, sealing_keys
from govern.identity.authenticators import Totp
from tests.factory import OPERATOR, World, person

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.config import Settings
    from govern.db import Database

# What lies in the database as bytes and is no secret.
PUBLIC = {
    "access_seal.marks", "access_seal.salt", "log_entry.hash", "log_entry.leaf", "log_tile.hashes",
    "passkey.credential_id", "passkey.public_key",
}  # fmt: skip


def ids(store: Database) -> set[int]:
    """Which keys the sealed values of the database open by."""
    with store.reading() as session:
        return {
            value[0]
            for column in sealing_keys.sealed_columns()
            for value in session.execute(select(column).where(column.is_not(None))).scalars()
        }


def rotate(store: Database) -> sealing_keys.Rotation:
    return sealing_keys.rotate(store, by=OPERATOR)


def key_file(settings: Settings, number: int) -> Path:
    return settings.keys_dir / f"sealing-{number}.key"


def other(store: Database, **changed: Any) -> db.Database:
    """Another node of the same installation."""
    return db.Database(replace(store.settings, database_url=store.settings.url, **changed))


@pytest.mark.asvs("13.3.1")
def test_every_column_of_bytes_is_sealed_or_known_to_be_no_secret() -> None:
    sealed = {f"{column.table.name}.{column.name}" for column in sealing_keys.sealed_columns()}
    assert {"totp.seed", "signing_key.sealed"} <= sealed
    of_bytes = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    assert of_bytes - PUBLIC == sealed


def test_a_rotation_seals_all_anew_and_the_old_key_opens_nothing_more(world: World) -> None:
    people = [world.subject() for _ in range(3)]
    for subject in people:
        world.activate(subject)
    before = keys.sign(world.store, {"sub": "ada"}, type="at+jwt")
    assert ids(world.store) == {1}
    done = rotate(world.store)
    assert done == sealing_keys.Rotation(key=2, was=1, resealed=4)
    assert ids(world.store) == {2}
    key_file(world.store.settings, 1).unlink()
    keys._private.cache_clear()
    schema.upgrade(world.store.settings)
    assert not key_file(world.store.settings, 1).exists(), "and none is made in its place"
    sealing_keys.check(world.store)
    with world.store.reading() as session:
        assert keys.verified(session, before, type="at+jwt")
    assert keys.sign(world.store, {"sub": "ada"}, type="at+jwt")
    world.activate(world.subject())
    assert ids(world.store) == {2}
    events = world.entries("house", "sealing_key.rotated", "sealing_key.retired")
    assert [(entry["type"], entry["data"]) for entry in events] == [
        ("sealing_key.rotated", {"key": 1}),
        ("sealing_key.rotated", {"key": 2, "was": 1}),
        ("sealing_key.retired", {"key": 1, "resealed": 4}),
    ]
    with pytest.raises(errors.Forbidden):
        sealing_keys.rotate(world.store, by=person(world.staff("admin")))


def test_one_that_was_cut_off_is_finished_with_the_same_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        world.activate(world.subject())
    monkeypatch.setattr(sealing_keys, "CHUNK", 1)

    def put(totp_id: str, seed: bytes) -> None:
        world.do(
            lambda s: s.execute(
                update(Totp).where(Totp.id == totp_id).values(seed=seed), execution_options=RECORDED
            )
        )

    with world.store.reading() as session:
        row = session.execute(select(Totp).order_by(Totp.id).offset(2).limit(1)).scalar_one()
    put(row.id, row.seed[:-1] + bytes([row.seed[-1] ^ 1]))
    with pytest.raises(errors.Unavailable, match=f"totp.seed:{row.id}"):
        rotate(world.store)
    assert ids(world.store) == {1, 2}
    sealing_keys.check(world.store)  # both keys are needed, and there
    put(row.id, row.seed)
    assert rotate(world.store) == sealing_keys.Rotation(key=2, was=1, resealed=2)
    assert ids(world.store) == {2}
    assert rotate(world.store).key == 3


def test_everybody_goes_on_working_during_rotations(world: World) -> None:
    people = [world.subject() for _ in range(2)]
    ending, failed = threading.Event(), []

    def go_on(work: Callable[[], Any]) -> None:
        while not ending.is_set():
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the test looks at what it is
                failed.append(error)
                return

    def check_code(subject: Any) -> None:
        with world.store.reading() as session:
            (totp,) = authenticators.enrolled(session, subject.id)
            place = f"totp.seed:{totp.id}"
            seed = sealing.unseal(world.store.settings, totp.seed, place=place).decode()
        assert seed == world.seeds[subject.id]

    for subject in people:
        world.activate(subject)
    node = other(world.store)
    works = [
        lambda: check_code(people[0]),
        lambda: keys.sign(node, {"sub": "ada"}, type="at+jwt"),
        lambda: world.activate(world.subject()),  # which seals
    ]
    threads = [threading.Thread(target=go_on, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    done = [rotate(node) for _ in range(3)]
    ending.set()
    for thread in threads:
        thread.join()
    node.dispose()
    assert failed == []
    assert [rotation.key for rotation in done] == [2, 3, 4]
    assert ids(world.store) == {4}


def test_a_node_without_the_right_keys_does_not_start(
    store: Database, settings: Settings, tmp_path: Path
) -> None:
    sealing_keys.ensure(store)
    assert sealing_keys.prepare(store, by=OPERATOR) == 2
    assert sealing_keys.prepare(store, by=OPERATOR) == 2, "until it is used"
    node = replace(settings, data_dir=tmp_path / "node", database_url=settings.url)
    shutil.copytree(settings.data_dir, node.data_dir)
    assert rotate(store).key == 2
    create_app(node).extensions["govern"].dispose()
    key_file(node, 2).chmod(0o640)
    with pytest.raises(errors.Unavailable, match="read by others"):
        create_app(node)
    key_file(node, 2).unlink()
    with pytest.raises(errors.Unavailable, match="Sealing key 2 is missing"):
        create_app(node)
    config.make_sealing_key(node, 2)
    with pytest.raises(errors.Unavailable, match="not the one"):
        create_app(node)


def told(*values: bytes) -> str:
    return " ".join(f"{n}:{base64.b64encode(v).decode()}" for n, v in enumerate(values, 1))


def test_keys_may_come_from_a_variable_or_from_a_guarded_file(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    first, second = key_file(settings, 1).read_bytes(), secrets.token_bytes(32)
    world.activate(world.subject())
    key_file(settings, 1).unlink()
    node = other(world.store, sealing_keys=told(first))
    with pytest.raises(errors.Conflict, match="GOVERN_SEALING_KEYS on every node"):
        rotate(node)
    node.dispose()
    node = other(world.store, sealing_keys=told(first, second))
    assert rotate(node).resealed == 1
    node.dispose()
    assert not list(settings.keys_dir.glob("sealing-*"))
    file = tmp_path / "keys.txt"
    config.make_secret(file, told(first, second).encode())
    given = config.from_environment({"GOVERN_SEALING_KEYS_FILE": str(file)})
    assert config.sealing_keys(given)[2].value == second
    assert base64.b64encode(second).decode() not in repr(given)
    file.chmod(0o644)
    with pytest.raises(errors.Unavailable, match="read by others"):
        config.from_environment({"GOVERN_SEALING_KEYS_FILE": str(file)})
    for wrong in ("1", "0:AAAA", "256:AAAA", "1:?", f"{told(first)} {told(second)}", "1:AAAA"):
        with pytest.raises(errors.GovernError) as refusal:
            config.from_environment({"GOVERN_SEALING_KEYS": wrong})
        assert "AAAA" not in refusal.value.message


def test_the_keys_of_an_example_world_serve_no_other(
    store: Database, settings: Settings, empty_url: str, tmp_path: Path
) -> None:
    assert example.load(store)
    sealing_keys.check(store)
    sealing_keys.ensure(store)
    with store.reading() as session:
        assert session.execute(select(func.count()).select_from(Totp)).scalar_one() == 4
    rotate(store)
    assert config.sealing_keys(settings)[2].is_example, "and so is every later one"

    real = replace(settings, database_url=empty_url, data_dir=tmp_path / "real")
    (real.data_dir / "keys").mkdir(parents=True)
    shutil.copy(key_file(settings, 1), key_file(real, 1))
    schema.upgrade(real)
    fresh = db.Database(real)
    with pytest.raises(errors.Unavailable, match="of an example world"):
        sealing_keys.ensure(fresh)
    key_file(real, 1).unlink()
    schema.upgrade(real)
    sealing_keys.ensure(fresh)
    value = key_file(real, 1).read_bytes()
    sealing_keys.check(fresh)
    key_file(real, 1).unlink()
    config.make_secret(key_file(real, 1), b"example:" + value)
    with pytest.raises(errors.Unavailable, match="of an example world"):
        sealing_keys.check(fresh)
    fresh.dispose()

"""The signer signs what continues what it signed, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select, text

from govern import errors
from govern.audit import log, triggers, verify
from govern.audit.signer import Signer
from govern.db import Database
from tests.audit.test_fsck import append, tamper

if TYPE_CHECKING:
    from pathlib import Path


def notes(store: Database, log_id: str = "house") -> list[str]:
    with store.reading() as session:
        return list(
            session.execute(
                select(log.Checkpoint.note)
                .where(log.Checkpoint.log_id == log_id)
                .order_by(log.Checkpoint.size)
            ).scalars()
        )


def test_a_head_is_signed_once_for_each_size_and_verifies_with_its_key(store: Database) -> None:
    signer = Signer(store.settings)
    signer.sign(store)
    signer.sign(store)
    append(store, 3)
    signer.sign(store)
    keys = verify.read_keys([signer.key])
    sizes = [verify.open_checkpoint(each.encode(), keys).size for each in notes(store)]
    with store.reading() as session:
        assert sizes == [log.known(session, "house").size - 3, log.known(session, "house").size]


def test_the_tiles_that_became_full_are_kept(store: Database) -> None:
    signer = Signer(store.settings)
    append(store, 700)
    signer.sign(store)
    with store.reading() as session:
        size = log.known(session, "house").size
        tiles = session.execute(select(log.Tile.number).order_by(log.Tile.number)).scalars().all()
    assert tiles == list(range(size // 256))


@pytest.mark.asvs("16.4.3", "16.4.2")
def test_a_shortened_log_is_neither_signed_nor_served(store: Database) -> None:
    signer = Signer(store.settings)
    append(store, 10)
    signer.sign(store)
    before = notes(store)
    tamper(store, "DELETE FROM log_entry WHERE log_id = 'house' AND seq >= 5")
    tamper(store, "UPDATE log SET size = 5 WHERE id = 'house'")
    for act in (signer.sign, signer.check):
        with pytest.raises(errors.LogDamaged):
            act(store)
    assert notes(store) == before


def test_a_rewritten_log_is_not_signed(store: Database) -> None:
    signer = Signer(store.settings)
    append(store, 10)
    signer.sign(store)
    tamper(
        store, "UPDATE log_entry SET leaf = :leaf WHERE log_id = 'house' AND seq = 4", leaf=b"{}"
    )
    append(store, 1)
    with pytest.raises(errors.LogDamaged, match="rewritten"):
        signer.sign(store)


def test_a_gap_is_not_signed(store: Database) -> None:
    signer = Signer(store.settings)
    signer.sign(store)
    append(store, 10)
    tamper(store, "DELETE FROM log_entry WHERE log_id = 'house' AND seq = 4")
    with pytest.raises(errors.LogDamaged, match="Entry 4"):
        signer.sign(store)


def test_a_signer_that_forgot_does_not_sign_another_past(store: Database) -> None:
    signer = Signer(store.settings)
    append(store, 10)
    signer.sign(store)
    heads = store.settings.signer_dir / "heads.json"
    older = heads.read_text()
    append(store, 1)
    signer.sign(store)
    for memory in (older, "{}"):
        heads.write_text(memory)
        append(store, 1)
        with pytest.raises(errors.LogDamaged, match="another past"):
            signer.sign(store)


def test_a_node_that_does_not_sign_remembers_what_it_saw_signed_and_makes_no_key(
    store: Database, tmp_path: Path
) -> None:
    append(store, 10)
    Signer(store.settings).sign(store)
    other = Signer(replace(store.settings, data_dir=tmp_path / "other"))
    other.check(store)
    assert not list((tmp_path / "other").rglob("*.key"))
    tamper(store, "DELETE FROM log_entry WHERE log_id = 'house' AND seq >= 5")
    tamper(store, "UPDATE log SET size = 5 WHERE id = 'house'")
    with pytest.raises(errors.LogDamaged, match="not served"):
        other.check(store)
    late = Database(store.settings)
    other.watch(late)
    with pytest.raises(errors.LogDamaged, match="not served"), late.reading() as session:
        session.connection()
    late.dispose()


def test_followers_on_a_second_machine_do_not_sign_with_a_key_of_their_own(
    store: Database, tmp_path: Path
) -> None:
    append(store, 3)
    Signer(store.settings).sign(store)
    before = notes(store)
    append(store, 3)
    other = Signer(replace(store.settings, data_dir=tmp_path / "other"))
    with pytest.raises(errors.LogDamaged, match="another past"):
        other.sign(store)
    assert notes(store) == before


def test_a_signature_lost_on_the_way_to_the_database_is_given_again(store: Database) -> None:
    signer = Signer(store.settings)
    append(store, 10)
    signer.sign(store)
    before = notes(store)
    tamper(store, "DELETE FROM log_checkpoint WHERE log_id = 'house'")
    signer.sign(store)
    assert notes(store) == before[-1:]


@pytest.mark.asvs("16.4.3")
def test_the_memory_is_outside_the_database_and_the_key_only_its_owners(store: Database) -> None:
    signer = Signer(store.settings)
    append(store, 300)
    signer.sign(store)
    memory = json.loads((store.settings.signer_dir / "heads.json").read_text())
    with store.reading() as session:
        assert memory["house"]["size"] == log.known(session, "house").size
    assert signer.heads()["house"].end == memory["house"]["size"]
    assert (store.settings.signer_dir / "log.key").stat().st_mode & 0o077 == 0


def test_the_triggers_are_in_place_after_the_migrations(store: Database) -> None:
    with store.reading() as session, store.access_reading() as access:
        assert triggers.missing(session, "main") == []
        assert triggers.missing(access, "access") == []
        for table in ("log_entry", "log_value", "log_tile", "log_checkpoint"):
            session.execute(text(f"SELECT 1 FROM {table}"))


def test_what_is_signed_between_the_two_looks_is_not_taken_for_lost(store: Database) -> None:
    signer = Signer(store.settings)
    append(store, 2)
    signer.sign(store)
    meanwhile: list[int] = []

    def write_and_sign(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "FROM log" in statement and not meanwhile:
            meanwhile.append(1)
            append(store, 1)
            signer.sign(store)

    event.listen(store.reader, "after_cursor_execute", write_and_sign)
    try:
        signer.check(store)
    finally:
        event.remove(store.reader, "after_cursor_execute", write_and_sign)
    assert meanwhile

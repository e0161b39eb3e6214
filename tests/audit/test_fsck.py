"""Whatever is changed behind govern's back is named, at the edges of tiles and roots too.

The kinds of damage stand together in tests/support/damage; these are the places where one kind is
named otherwise than elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text

from govern.audit import fsck, leaf, log, record, triggers
from govern.audit.fsck import entries
from govern.audit.signer import Signer
from govern.principal import SYSTEM
from govern.tlog import merkle, tiles
from tests.factory import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db import Database, Session

    Names = set[tuple[str, int | None]]


def fill(world: World) -> None:
    """A house's log of 700 entries, the first 600 signed in three steps."""
    world.client("ASTER")
    for count in (200, 300, 100):
        append(world.store, count)
        Signer(world.store.settings).sign(world.store)
    append(world.store, 100)


@pytest.fixture
def beginning() -> Callable[[World], None]:
    return fill


def append(store: Database, count: int) -> None:
    events = [
        record.Line(
            type="grant.issued",
            refs={"subject": f"sub_{seq % 3}"},
            private={"note": f"note {seq}"} if seq % 5 == 0 else {},
        )
        for seq in range(count)
    ]
    store.transaction(lambda s: record.append_many(s, "house", events, by=SYSTEM))


def tamper(store: Database, statement: str, *, part: str = "main", **values: Any) -> int:
    """Do as the owner of the database can: drop the triggers, change, put them back."""
    engine = store.writer if part == "main" else store.access_writer
    dialect = engine.dialect.name
    with engine.begin() as connection:
        for each in triggers.undo(dialect, part):
            connection.exec_driver_sql(each)
    with engine.begin() as connection:
        done = connection.execute(text(statement), values).rowcount
    with engine.begin() as connection:
        for each in triggers.ddl(dialect, part):
            connection.exec_driver_sql(each)
    assert done
    return done


def named(store: Database) -> Names:
    report = fsck.run(store, Signer(store.settings))
    assert report.ok == (not report.damage)
    return {(each.kind, each.seq) for each in report.damage}


def body(store: Database, seq: int) -> bytes:
    with store.reading() as session:
        entry = session.get(log.Entry, ("house", seq))
        assert entry
        return entry.leaf


def rewrite(store: Database, seq: int, change: Callable[[bytes], bytes], *, rehash: bool) -> None:
    changed = change(body(store, seq))
    tamper(
        store, "UPDATE log_entry SET leaf = :leaf WHERE log_id = 'house' AND seq = :seq",
        leaf=changed, seq=seq,
    )  # fmt: skip
    if rehash:
        tamper(
            store, "UPDATE log_entry SET hash = :hash WHERE log_id = 'house' AND seq = :seq",
            hash=merkle.leaf_hash(changed), seq=seq,
        )  # fmt: skip


def another_salt(old: bytes) -> bytes:
    fields = leaf.parse(old)
    assert fields
    return leaf.canonical(fields | {"salt": leaf.salt()})


def test_what_govern_wrote_is_in_order(world: World) -> None:
    told: list[int] = []
    signer = Signer(world.store.settings)
    report = fsck.run(world.store, signer, progress=told.append)
    assert report.damage == ()
    assert report.ok
    with world.store.reading() as session:
        assert report.entries == sum(head.size for head in log.logs(session)) == told[-1]
    assert fsck.run(world.store).ok


@pytest.mark.parametrize("seq", [255, 256, 580])
@pytest.mark.parametrize("rehash", [False, True])
def test_a_changed_entry_is_named(world: World, seq: int, rehash: bool) -> None:
    rewrite(world.store, seq, another_salt, rehash=rehash)
    if seq < 512 or not rehash:
        assert named(world.store) == {("entry", seq)}
    else:
        # No tile holds it yet, so the next checkpoint tells that something before it was changed.
        assert named(world.store) >= {("root", None)}


@pytest.mark.asvs("16.4.2")
def test_every_changed_entry_is_named(world: World) -> None:
    for seq in (3, 300, 301, 511):
        rewrite(world.store, seq, another_salt, rehash=seq % 2 == 0)
    assert named(world.store) == {("entry", seq) for seq in (3, 300, 301, 511)}


def test_a_leaf_that_is_no_leaf_is_named(world: World) -> None:
    rewrite(world.store, 7, lambda old: old[:-1], rehash=False)
    rewrite(world.store, 8, lambda old: old.replace(b'":', b'": ', 1), rehash=False)
    assert named(world.store) >= {("leaf", 7), ("leaf", 8), ("entry", 7), ("entry", 8)}


@pytest.mark.parametrize("seqs", [[300, 301], [599], [650]])
def test_a_missing_entry_is_named(world: World, seqs: list[int]) -> None:
    for seq in seqs:
        tamper(world.store, "DELETE FROM log_entry WHERE log_id = 'house' AND seq = :seq", seq=seq)
    assert ("missing", seqs[0]) in named(world.store)


@pytest.mark.parametrize("seq", [255, 650])
def test_a_wrong_hash_beside_an_entry_is_named(world: World, seq: int) -> None:
    tamper(
        world.store, "UPDATE log_entry SET hash = :hash WHERE log_id = 'house' AND seq = :seq",
        hash=bytes(32), seq=seq,
    )  # fmt: skip
    assert named(world.store) == {("hash" if seq < 600 else "entry", seq)}


def test_a_wrong_tile_is_told_from_a_wrong_entry(world: World) -> None:
    with world.store.reading() as session:
        tile = session.get(log.Tile, ("house", 0, 1))
        assert tile
    broken = tile.hashes[:320] + bytes(32) + tile.hashes[352:]
    tamper(
        world.store, "UPDATE log_tile SET hashes = :hashes WHERE log_id = 'house' AND number = 1",
        hashes=broken,
    )  # fmt: skip
    assert named(world.store) == {("hash", 256 + 10)}


def test_a_tile_above_is_made_of_those_below(world: World) -> None:
    below = [bytes([number]) * tiles.TILE_SIZE for number in range(256)]
    empty = world.client("BOREAL").id

    def put(session: Session) -> None:
        for number, hashes in enumerate(below):
            session.add(log.Tile(log_id=empty, level=0, number=number, hashes=hashes))

    world.do(put)
    with world.store.reading() as session:
        made = entries.LogCheck(session, empty, None, None, [])._tile_from_below(1, 0)
    assert made == b"".join(merkle.perfect_root([each[:32]] * 256) for each in below)


def test_a_changed_removed_or_foreign_value_is_named(world: World) -> None:
    def of(change: str) -> Names:
        tamper(world.store, change)
        return named(world.store)

    with world.store.reading() as session:
        first, second, third = session.execute(
            text("SELECT seq FROM log_value WHERE log_id = 'house' AND name = 'note' ORDER BY seq")
        ).scalars().all()[:3]  # fmt: skip
    where = "WHERE log_id = 'house' AND name = 'note' AND seq ="
    expected: Names = {("value", first)}
    assert of(f"UPDATE log_value SET value = 'else' {where} {first}") == expected
    expected |= {("value_missing", second)}
    assert of(f"DELETE FROM log_value {where} {second}") == expected
    expected |= {("value_missing", third), ("value", third)}
    assert of(f"UPDATE log_value SET name = 'other' {where} {third}") == expected
    expected |= {("value", 9000)}
    assert of(
        "INSERT INTO log_value (log_id, seq, name, salt, value) "
        "VALUES ('house', 9000, 'note', 's', 'v')"
    ) == expected  # fmt: skip


def test_an_entry_in_a_far_place_is_no_endless_search(world: World) -> None:
    tamper(
        world.store,
        "INSERT INTO log_entry SELECT log_id, 900000000000000, at, type, actor, subject_id, "
        "project_id, suspension_id, leaf, hash FROM log_entry "
        "WHERE log_id = 'house' AND seq = 3",
    )
    found = named(world.store)
    assert ("place", 900000000000000) in found
    assert "missing" in {kind for kind, _ in found}


def test_a_log_that_the_signer_remembers_and_the_database_does_not_is_named(world: World) -> None:
    tamper(world.store, "DELETE FROM log_entry WHERE log_id <> 'house'")
    tamper(world.store, "DELETE FROM log WHERE id <> 'house'")
    assert named(world.store) >= {("head", None), ("tail", 0)}


def test_entries_rewritten_with_all_copies_are_narrowed_down_by_the_signed_roots(
    world: World,
) -> None:
    with world.store.reading() as session:
        sizes = session.execute(
            select(log.Checkpoint.size)
            .where(log.Checkpoint.log_id == "house")
            .order_by(log.Checkpoint.size)
        ).scalars().all()  # fmt: skip
    rewrite(world.store, 530, another_salt, rehash=True)
    report = fsck.run(world.store, Signer(world.store.settings))
    assert any(f"Of entries {sizes[1]} to {sizes[2] - 1} " in d.message for d in report.damage)

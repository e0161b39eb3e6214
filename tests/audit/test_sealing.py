"""The access log's rows are sealed into the house's log once each, and damage to them is named."""

from __future__ import annotations

import threading
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from govern import clock, errors
from govern.audit import decisions, fsck, sealing
from govern.audit.decisions import Access
from govern.audit.sealing import AccessSeal, AccessSealing
from govern.audit.signer import Signer
from govern.cli.followers import Followers
from govern.db import Database, id_at, new_id
from govern.tlog import merkle
from tests.audit.test_fsck import tamper
from tests.factory import T0, World
from tests.support import copies

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.config import Settings


def write(store: Database, count: int, **more: Any) -> None:
    """Rows of this process, as a decision leaves them."""
    row = {
        "at": clock.utcnow(), "kind": "decision", "principal": "int_1", "session_id": None,
        "subject_id": "sub_1", "client_id": "cli_1", "resource_id": "prj_1", "action": "read",
        "permit": True, "reason": "permitted", "as_of": 1, "house_as_of": 2, "worked_at": None,
        "detail": None,
    }  # fmt: skip
    decisions.write(store, [row | more for _ in range(count)])


def foreign(store: Database, writer: str, *numbers: int) -> None:
    """Rows of another process."""

    def work(session: Any) -> None:
        for number in numbers:
            session.add(
                Access(
                    writer=writer, number=number, at=clock.utcnow(), kind="read", principal="x"
                )
            )  # fmt: skip

    store.access_transaction(work)


def runs(world: World) -> list[dict[str, Any]]:
    return [
        run for entry in world.entries("house", "access.sealed") for run in entry["data"]["runs"]
    ]


def writer_of(store: Database) -> str:
    with store.access_reading() as session:
        return (
            session.execute(select(Access.writer).order_by(Access.writer.desc())).scalars().first()
        )


def named(store: Database) -> set[tuple[str, str | None, int | None]]:
    report = fsck.run(store, Signer(store.settings))
    assert report.ok == (not report.damage)
    return {(each.kind, each.writer, each.number) for each in report.damage}


def test_every_row_is_sealed_once_by_a_root_that_anyone_can_derive(world: World) -> None:
    store = world.store
    write(store, 3)
    write(store, 1, worked_at=T0, permit=False, reason="no_grant", detail='{"ä":"\u2028"}')
    assert sealing.seal(store) == 4
    assert sealing.seal(store) == 0
    write(store, 2)
    foreign(store, new_id("wri"), 0, 1)
    assert sealing.seal(store) == 4
    found = runs(world)
    mine = found[0]["writer"]
    assert [(r["first"], r["count"]) for r in found if r["writer"] == mine] == [(0, 4), (4, 2)]

    with store.reading() as session, store.access_reading() as access:
        for run in found:
            seal = session.get_one(AccessSeal, (run["writer"], run["first"]))
            rows = [
                {name: getattr(row, name) for name in sealing.COLUMNS}
                for row in access.execute(
                    select(Access)
                    .where(Access.writer == run["writer"], Access.number >= run["first"])
                    .order_by(Access.number)
                    .limit(run["count"])
                ).scalars()
            ]
            leaves = [seal.salt, *map(sealing.row_bytes, rows)]
            root = merkle.Range.empty().extend_leaves(map(merkle.leaf_hash, leaves)).root()
            assert root == b64decode(run["root"])
            assert clock.text(max(row["at"] for row in rows)) == run["until"]
    report = fsck.run(store, Signer(store.settings))
    assert (report.ok, report.rows, report.not_proven) == (True, 8, ())


def test_a_rows_bytes_are_for_ever() -> None:
    row = dict.fromkeys(sealing.COLUMNS) | {
        "writer": "wri_1", "number": 7, "at": T0, "kind": "decision", "principal": "int_ü",
        "permit": False, "as_of": 3,
    }  # fmt: skip
    assert (
        sealing.row_bytes(row)
        == (
            '{"as_of":3,"at":"2026-11-21T09:00:00.000000Z","kind":"decision","number":7,'
            '"permit":false,"principal":"int_ü","v":1,"writer":"wri_1"}'
        ).encode()
    )


def test_a_gap_is_never_sealed_over(world: World) -> None:
    writer = new_id("wri")
    foreign(world.store, writer, 0, 1, 3, 4)
    assert sealing.seal(world.store) == 2
    assert sealing.seal(world.store) == 0
    assert named(world.store) == {("gap", writer, 2)}
    foreign(world.store, writer, 2)
    assert sealing.seal(world.store) == 3
    assert named(world.store) == set()


def test_two_sealers_at_once_seal_each_row_once(world: World) -> None:
    for _ in range(4):
        write(world.store, 5)
        meeting = threading.Barrier(3)

        def one(meeting: threading.Barrier = meeting) -> int:
            meeting.wait(20)
            return sealing.seal(world.store)

        with ThreadPoolExecutor(3) as pool:
            assert sum(each.result() for each in [pool.submit(one) for _ in range(3)]) == 5
    found = runs(world)
    assert sum(run["count"] for run in found) == 20
    assert [run["first"] for run in found] == [0, 5, 10, 15]
    assert named(world.store) == set()


def test_a_seal_and_its_entry_are_one(world: World) -> None:
    store = world.store
    write(store, 3)
    for table in ("access_seal", "log_entry"):
        away = f"ALTER TABLE {table} RENAME TO aside"
        store.transaction(lambda s, away=away: s.execute(text(away)))
        with pytest.raises((errors.RecordFailed, DBAPIError)):
            sealing.seal(store)
        back = f"ALTER TABLE aside RENAME TO {table}"
        store.transaction(lambda s, back=back: s.execute(text(back)))
        assert runs(world) == []
        with store.reading() as session:
            assert session.execute(select(AccessSeal)).all() == []
    assert sealing.seal(store) == 3
    assert named(store) == set()


def test_long_runs_are_cut_and_stopping_between_commits_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "_MOST_ROWS", 7)
    monkeypatch.setattr(sealing, "_BATCH", 3)
    write(world.store, 20)

    class Stopped(Exception):
        pass

    def stop(_: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        sealing.seal(world.store, progress=stop)
    assert [(run["first"], run["count"]) for run in runs(world)] == [(0, 7)]
    assert sealing.seal(world.store) == 13
    assert [(run["first"], run["count"]) for run in runs(world)] == [(0, 7), (7, 7), (14, 6)]
    assert named(world.store) == set()


def write_and_seal(settings: Settings, tell: Callable[[object], Any]) -> None:
    sealing._MOST_ROWS = 7
    store = Database(settings)
    write(store, 60)
    tell("written")
    sealing.seal(store, progress=tell)


def test_killed_between_its_rows_and_their_seal_nothing_is_left_out_or_sealed_twice(
    world: World,
) -> None:
    settings = world.store.settings
    for lines in (1, 3):  # before the first seal, and after two
        with copies.copy(partial(write_and_seal, settings)) as told:
            for _ in range(lines):
                assert told.readline()
    sealed = sum(run["count"] for run in runs(world))
    assert 14 <= sealed < 120
    assert sealing.seal(world.store) == 120 - sealed
    assert named(world.store) == set()
    report = fsck.run(world.store, Signer(settings))
    assert (report.rows, report.not_proven) == (120, ())


def test_old_writers_are_looked_at_no_more_and_a_process_takes_a_new_id_in_time(
    world: World,
) -> None:
    store = world.store
    old = [id_at("wri", clock.utcnow() - timedelta(hours=age)) for age in (50, 40, 30)]
    for writer in old:
        foreign(store, writer, 0, 1)
    write(store, 1)
    assert sealing.seal(store) == 7
    with store.reading() as session:
        assert session.execute(select(AccessSealing.done)).scalar_one() == old[-1]
    # Whoever adds to one of them later is found, since it was done.
    foreign(store, old[0], 2)
    assert sealing.seal(store) == 0
    assert named(store) == {("added", old[0], 2)}
    before = writer_of(store)
    with clock.at(clock.utcnow() + decisions.LIVES + timedelta(minutes=1)):
        write(store, 1)
        assert writer_of(store) > before
        assert sealing.seal(store) == 1


def test_what_is_written_after_a_clock_ran_ahead_is_sealed_too(world: World) -> None:
    """Writers of a false clock are done with by that clock; who begins by the right one is not."""
    store, now = world.store, clock.utcnow()
    ahead = [id_at("wri", now + timedelta(days=days)) for days in (1, 2)]
    for writer in ahead:
        foreign(store, writer, 0)
    with clock.at(now + timedelta(days=3)):
        assert sealing.seal(store) == 2
    with store.reading() as session:
        assert session.execute(select(AccessSealing.done)).scalar_one() == ahead[0]
    write(store, 2)
    assert writer_of(store) > ahead[-1]
    assert sealing.seal(store) == 2


def test_a_node_seals_nothing_shortly_after_another_did(world: World) -> None:
    write(world.store, 1)
    assert sealing.seal(world.store, apart=timedelta(seconds=60)) == 1
    write(world.store, 1)
    assert sealing.seal(world.store, apart=timedelta(seconds=60)) == 0
    with clock.at(clock.utcnow() + timedelta(seconds=61)):
        assert sealing.seal(world.store, apart=timedelta(seconds=60)) == 1
    # A clock that was set back does not stop the seals until it has caught up.
    write(world.store, 1)
    assert sealing.seal(world.store, apart=timedelta(seconds=60)) == 1


def test_each_kind_of_damage_is_named_by_writer_and_number(world: World) -> None:
    store = world.store
    write(store, 10)
    sealing.seal(store)
    write(store, 5)
    sealing.seal(store)
    writer = writer_of(store)

    def change(statement: str, *, part: str = "access", **values: Any) -> set[Any]:
        tamper(store, statement, part=part, **values)
        return named(store)

    one = "WHERE number = 4"
    for column, value, back in (
        ("principal", "'int_2'", "'int_1'"),
        ("permit", "NOT permit", "NOT permit"),
        ("as_of", "NULL", "1"),
        ("detail", "''", "NULL"),
    ):
        changed = change(f"UPDATE access_row SET {column} = {value} {one}")
        assert changed == {("row", writer, 4)}, column
        assert change(f"UPDATE access_row SET {column} = {back} {one}") == set()

    # The marks changed along: the root still tells, of which run.
    with store.reading() as session:
        kept = session.get_one(AccessSeal, (writer, 0)).marks
    tamper(store, f"UPDATE access_row SET as_of = 9 {one}", part="access")
    with store.access_reading() as session:
        rows = next(sealing.chunks(session, writer, 0, 10))
    marks = b"".join(merkle.leaf_hash(sealing.row_bytes(row))[: sealing.MARK] for row in rows)
    put = "UPDATE access_seal SET marks = :marks WHERE first = 0"
    assert change(put, part="main", marks=marks) == {("root", writer, 0)}
    assert change(f"UPDATE access_row SET as_of = 1 {one}") == {("seal", writer, 4)}
    assert change(put, part="main", marks=kept) == set()

    assert change("DELETE FROM access_row WHERE number = 14") == {("missing", writer, 14)}
    foreign(store, writer, 14)
    assert named(store) == {("row", writer, 14)}
    assert change("DELETE FROM access_row WHERE number IN (2, 3, 7)") == {
        ("row", writer, 14), ("missing", writer, 2), ("missing", writer, 7),
    }  # fmt: skip


def test_what_seals_is_held_to_the_log_and_what_is_not_sealed_is_not_proven(world: World) -> None:
    store = world.store
    write(store, 3)
    sealing.seal(store)
    write(store, 2)
    writer = writer_of(store)
    report = fsck.run(store, Signer(store.settings))
    assert report.ok
    assert report.not_proven == (f"Rows 3 to 4 of {writer}: not sealed yet.",)
    foreign(store, writer, -1)
    assert named(store) == {("added", writer, -1)}
    tamper(store, "DELETE FROM access_row WHERE number = -1", part="access")
    foreign(store, writer, 9)
    assert named(store) == {("gap", writer, 5)}
    tamper(store, "DELETE FROM access_row WHERE number = 9", part="access")
    tamper(store, "UPDATE access_seal SET size = 2")
    assert ("seal", writer, 0) in named(store)
    tamper(store, "UPDATE access_seal SET size = 3")
    assert named(store) == set()
    tamper(store, "DELETE FROM access_seal")
    assert named(store) == {("seal", writer, 0)}
    # A run sealed twice, as by a sealer that lost its memory.
    sealing.seal(store)
    assert ("gap", writer, 0) in named(store)


def test_the_followers_seal_within_five_seconds(world: World) -> None:
    write(world.store, 2)
    followers = Followers(world.store)
    followers.start()
    try:
        write(world.store, 2)
        waiting = threading.Event()
        for _ in range(50):
            if sum(run["count"] for run in runs(world)) == 4:
                break
            waiting.wait(0.1)
        assert sum(run["count"] for run in runs(world)) == 4
    finally:
        followers.stop()

"""Old rows of the access log go by policy, in whole sealed runs, and their going is recorded."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from govern import clock, db, errors
from govern.audit import expiry, fsck, holding, retention, sealing
from govern.audit.decisions import Access
from govern.audit.expiry import AccessExpiry
from govern.audit.sealing import AccessSeal
from govern.audit.signer import Signer
from govern.principal import SYSTEM
from tests.audit.test_fsck import tamper
from tests.audit.test_sealing import foreign, named, write, writer_of
from tests.factory import OPERATOR, World, person

if TYPE_CHECKING:
    from datetime import datetime

    from govern.db import Database

DAY = timedelta(days=1)


@pytest.fixture
def aged(world: World) -> World:
    """Four runs of 5 rows: 30, 20 and 10 days old, the last half so; their writer is done.

    Of the next writer one row is sealed and two are not, which are older still.
    """
    store, now = world.store, clock.utcnow()
    for age in (30, 20, 10):
        write(store, 5, at=now - age * DAY)
        sealing.seal(store)
    write(store, 3, at=now - 15 * DAY)
    write(store, 2, at=now)
    sealing.seal(store)
    with clock.at(now + timedelta(hours=4)):
        write(store, 1)
        sealing.seal(store)
    write(store, 2, at=now - 40 * DAY)
    return world


def ago(days: int) -> datetime:
    return clock.utcnow() - days * DAY


def first_writer(store: Database) -> str:
    with store.access_reading() as session:
        return session.execute(select(func.min(Access.writer))).scalar_one()


def numbers(store: Database) -> list[int]:
    """Those of the first writer."""
    query = select(Access.number).where(Access.writer == first_writer(store))
    with store.access_reading() as session:
        return list(session.execute(query.order_by(Access.number)).scalars())


def left(store: Database) -> int:
    with store.reading() as session:
        return session.execute(select(func.count()).select_from(AccessSeal)).scalar_one()


def test_whole_sealed_runs_below_the_horizon_go_and_an_entry_says_so(aged: World) -> None:
    store = aged.store
    before = ago(12)
    done = expiry.expire(store, before, by=OPERATOR)
    assert (done.rows, done.runs) == (10, 2)
    # The run that is half older stays whole, and what is not sealed stays.
    assert numbers(store) == list(range(10, 20))
    assert left(store) == 3
    entry = aged.entries("house", "access.expired")[0]
    sealed = aged.entries("house", "access.sealed")
    assert entry["data"] == {
        "before": clock.text(before), "sealed_by": sealed[-1]["time"], "runs": 2, "rows": 10,
    }  # fmt: skip
    assert entry["actor"] == "operator"
    report = fsck.run(store, Signer(store.settings))
    assert (report.ok, report.rows) == (True, 11)
    assert report.not_proven == (f"Rows 1 to 2 of {writer_of(store)}: not sealed yet.",)

    again = expiry.expire(store, before, by=OPERATOR)
    assert (again.rows, again.runs) == (0, 0)
    assert len(aged.entries("house", "access.expired")) == 1


def test_of_a_writer_that_still_writes_nothing_goes_before_it_is_done(aged: World) -> None:
    # Its last seal tells where the next begins: without it the rows behind were never sealed.
    store = aged.store
    sealing.seal(store)
    assert expiry.expire(store, ago(12), by=OPERATOR).rows == 12
    assert left(store) == 4
    write(store, 1)
    assert sealing.seal(store) == 1
    assert named(store) == set()
    with clock.at(clock.utcnow() + timedelta(hours=9)):
        write(store, 1)
        assert sealing.seal(store) == 1
    assert expiry.expire(store, ago(12), by=OPERATOR).rows == 0
    assert left(store) == 5
    assert named(store) == set()


def test_stopped_after_any_step_it_is_finished_by_the_next_call(
    aged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = aged.store
    monkeypatch.setattr(expiry, "_ROWS", 2)

    class Killed(Exception):
        pass

    def killed(after: int) -> Any:
        def progress(gone: int) -> None:
            if gone >= after:
                raise Killed

        return progress

    def broken(table: str, transaction: Any) -> None:
        transaction(lambda s: s.execute(text(f"ALTER TABLE {table} RENAME TO aside")))
        with pytest.raises(DBAPIError):
            expiry.expire(store, ago(12), by=SYSTEM)
        transaction(lambda s: s.execute(text(f"ALTER TABLE aside RENAME TO {table}")))

    # Recorded, and the access log does not know of it yet; then it does, and no row is gone.
    broken("access_expiry", store.access_transaction)
    assert len(aged.entries("house", "access.expired")) == 1
    assert numbers(store) == list(range(20))
    assert named(store) == set()
    with pytest.raises(Killed):
        expiry.expire(store, ago(12), by=SYSTEM, progress=killed(1))
    assert 10 <= len(numbers(store)) < 20
    assert named(store) == set()
    with pytest.raises(Killed):
        expiry.expire(store, ago(12), by=SYSTEM, progress=killed(8))
    assert numbers(store) == list(range(10, 20))
    assert left(store) == 5
    assert named(store) == set()
    assert expiry.expire(store, ago(12), by=SYSTEM).rows == 0
    assert left(store) == 3
    assert numbers(store) == list(range(10, 20))
    assert len(aged.entries("house", "access.expired")) == 1
    assert named(store) == set()


def test_two_at_once_record_it_once(aged: World) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = [
            each.result().rows
            for each in [
                pool.submit(expiry.expire, aged.store, ago(12), by=SYSTEM) for _ in range(3)
            ]
        ]
    assert sum(found) == 10
    assert len(aged.entries("house", "access.expired")) == 1
    assert numbers(aged.store) == list(range(10, 20))
    assert named(aged.store) == set()


def test_nothing_else_may_be_missing(aged: World) -> None:
    store = aged.store
    writer = first_writer(store)
    expiry.expire(store, ago(12), by=SYSTEM)
    assert named(store) == set()
    # Within what the triggers let go, but of no run that expired.
    store.access_transaction(lambda s: s.execute(text("DELETE FROM access_row WHERE number = 15")))
    assert named(store) == {("missing", writer, 15)}
    with pytest.raises(DBAPIError, match="append-only"):
        store.access_transaction(
            lambda s: s.execute(text("DELETE FROM access_row WHERE number = 10"))
        )
    foreign(store, writer, 3)
    assert named(store) == {("missing", writer, 15), ("added", writer, 3)}


def test_a_horizon_that_the_log_does_not_record_is_damage(aged: World) -> None:
    store = aged.store
    store.access_transaction(lambda s: s.add(AccessExpiry(before=ago(1))))
    assert named(store) == {("horizon", None, None)}
    gone = text("DELETE FROM access_row WHERE number = 0 AND writer = :writer")
    writer = first_writer(store)
    store.access_transaction(lambda s: s.execute(gone, {"writer": writer}))
    assert ("missing", writer, 0) in named(store)
    expiry.expire(store, ago(12), by=SYSTEM)
    tamper(store, "UPDATE access_horizon SET sealed_by = before")
    assert sum(each.kind == "horizon" for each in fsck.run(store).damage) == 2


def test_the_last_day_always_stays_and_only_the_machine_expires(aged: World) -> None:
    with pytest.raises(errors.Invalid, match="last day"):
        expiry.expire(aged.store, ago(0), by=OPERATOR)
    with pytest.raises(errors.Forbidden):
        expiry.expire(aged.store, ago(12), by=person(aged.staff("admin")))
    assert numbers(aged.store) == list(range(20))


def test_the_policy_keeps_so_many_days_or_all(aged: World) -> None:
    def horizon(days: int) -> datetime | None:
        store = db.Database(dataclasses.replace(aged.store.settings, access_log_days=days))
        try:
            return expiry.horizon(store)
        finally:
            store.dispose()

    now = clock.utcnow()
    with clock.at(now):
        assert horizon(0) is None
        found = horizon(400)
    assert found
    assert (now - timedelta(days=401)) < found <= now - timedelta(days=400)
    assert clock.text(found).endswith("T00:00:00.000000Z")


def test_under_a_legal_hold_nothing_goes_not_even_what_was_recorded_as_expired(aged: World) -> None:
    store = aged.store
    aster = aged.client("ASTER")
    aged.client("BOREAL")
    everything = numbers(store)

    def cut_off(_: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):  # recorded, and begun
        expiry.expire(store, ago(25), by=OPERATOR, progress=cut_off)
    begun = numbers(store)
    assert begun != everything
    aged.do(lambda s: holding.place(s, aster.id, reason="their counsel's letter", by=OPERATOR))
    done = expiry.expire(store, ago(15), by=OPERATOR)
    assert (done.runs, done.rows, done.held) == (0, 0, True)
    assert numbers(store) == begun
    with pytest.raises(errors.AlreadyExists):
        aged.do(lambda s: holding.place(s, aster.id, reason="again", by=OPERATOR))
    with pytest.raises(errors.Invalid):
        aged.do(lambda s: holding.release(s, aster.id, reason=" ", by=OPERATOR))
    aged.do(lambda s: holding.release(s, aster.id, reason="settled", by=OPERATOR))
    with pytest.raises(errors.Unknown):
        aged.do(lambda s: holding.release(s, aster.id, reason="settled", by=OPERATOR))
    assert expiry.expire(store, ago(15), by=OPERATOR).runs == 1
    assert len(numbers(store)) == len(everything) - 10
    for log_id in (aster.id, "house"):
        assert [one["type"] for one in aged.entries(log_id, "hold.set", "hold.released")] == [
            "hold.set", "hold.released",
        ]  # fmt: skip
    rival = person(aged.staff("admin", client=aged.client("COBALT")), "admin", "cli_other")
    with pytest.raises(errors.Unknown):
        aged.do(lambda s: holding.place(s, aster.id, reason="mischief", by=rival))
    signer = Signer(store.settings)
    signer.sign(store)
    assert fsck.run(store, signer).damage == ()


def test_rows_stay_as_long_as_the_client_that_asks_for_longest(aged: World) -> None:
    store, aster, boreal = aged.store, aged.client("ASTER"), aged.client("BOREAL")
    everything = numbers(store)

    def keep(client: str, days: int | None, **more: Any) -> None:
        given: dict[str, Any] = {"reason": "contract", "by": OPERATOR} | more
        aged.do(lambda s: retention.keep(s, client, days, **given))

    rival = person(aged.staff("admin", client=boreal), "admin", boreal.id)
    for days, more, error in (
        (399, {}, errors.Invalid),  # fewer than the installation's
        (-1, {}, errors.Invalid),
        (40_000, {}, errors.Invalid),
        (500, {"reason": " "}, errors.Invalid),
        (500, {"by": rival}, errors.Unknown),
        (None, {}, errors.AlreadyExists),
    ):
        with pytest.raises(error):
            keep(aster.id, days, **more)
    now = clock.utcnow()
    with clock.at(now):
        keep(aster.id, 2555)
        keep(boreal.id, 500)
        found = expiry.horizon(store)
        assert found
        assert now - timedelta(days=2556) < found <= now - timedelta(days=2555)
        keep(aster.id, 0)
        assert expiry.horizon(store) is None
    with pytest.raises(errors.Conflict, match="for ever"):
        expiry.expire(store, ago(12), by=OPERATOR)
    assert numbers(store) == everything
    keep(aster.id, None)
    with pytest.raises(errors.Conflict, match="500 days"):
        expiry.expire(store, ago(12), by=OPERATOR)
    keep(boreal.id, None, by=rival)
    assert expiry.expire(store, ago(12), by=OPERATOR).runs == 2
    for log_id in ("house", aster.id):
        told = [
            entry.get("data", {}).get("days")
            for entry in aged.entries(log_id, "retention.set")
            if entry["refs"]["client"] == aster.id
        ]
        assert told == [2555, 0, None]
    assert fsck.run(store, Signer(store.settings)).ok

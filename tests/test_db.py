"""The database: one commit, sealed values, instants that know their offset, and honest refusals."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import bindparam, select, text
from sqlalchemy import exc as sa_exc

from govern import db, errors
from govern.db import Again, Database, listed, new_id, planned_once, written
from govern.identity.subjects import Organisation
from govern.identity.throttle import Throttle
from govern.sealing import seal, unseal
from tests.factory import World

if TYPE_CHECKING:
    from govern.config import Settings
    from govern.db import Session


@pytest.mark.asvs("13.3.1")
def test_a_sealed_value_opens_in_its_own_row_alone(settings: Settings) -> None:
    sealed = seal(settings, b"seed", place="totp.seed:otp_1")
    assert unseal(settings, sealed, place="totp.seed:otp_1") == b"seed"
    assert b"seed" not in sealed
    for place in ("totp.seed:otp_2", "totp.other:otp_1"):
        with pytest.raises(errors.Unavailable):
            unseal(settings, sealed, place=place)
    for damaged in (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"\x02" + sealed[1:]):
        with pytest.raises(errors.Unavailable):
            unseal(settings, damaged, place="totp.seed:otp_1")


def test_the_same_value_is_sealed_differently_each_time(settings: Settings) -> None:
    assert seal(settings, b"x", place="p") != seal(settings, b"x", place="p")


@pytest.mark.asvs("16.2.2")
def test_instants_keep_their_microseconds_and_come_back_in_utc(store: Database) -> None:
    when = datetime(2026, 11, 21, 12, 0, 0, 123457, tzinfo=timezone(timedelta(hours=3)))
    store.transaction(lambda s: s.add(Throttle(key="k", failures=0, blocked_until=when)))
    with store.reading() as session:
        found = session.get_one(Throttle, "k").blocked_until
    assert found == when
    assert found is not None
    assert found.tzinfo is UTC


def test_an_instant_without_its_offset_is_refused(store: Database) -> None:
    naive = datetime(2026, 11, 21)  # noqa: DTZ001 - what is refused
    with pytest.raises(sa_exc.StatementError, match="offset"):
        store.transaction(lambda s: s.add(Throttle(key="k", failures=0, blocked_until=naive)))


def test_a_refusal_rolls_back_and_leaves_its_aftermath(store: Database) -> None:
    def work(session: Session) -> None:
        session.add(Throttle(key="refused", failures=0))
        session.flush()
        refusal = errors.Conflict("no")
        refusal.aftermath = lambda s: s.add(Throttle(key="counted", failures=1))
        raise refusal

    with pytest.raises(errors.Conflict):
        store.transaction(work)
    with store.reading() as session:
        assert session.execute(select(Throttle.key)).scalars().all() == ["counted"]


def test_work_is_run_anew_when_the_world_moved_and_given_up_in_words(store: Database) -> None:
    runs = []

    def work(session: Session) -> int:
        session.add(Throttle(key=f"k{len(runs)}", failures=0))
        runs.append(session)
        if len(runs) < 3:
            raise Again
        return len(runs)

    assert store.transaction(work) == 3
    with store.reading() as session:
        assert session.execute(select(Throttle.key)).scalars().all() == ["k2"]

    def never(_: Session) -> None:
        raise Again

    with pytest.raises(errors.RecordFailed):
        store.transaction(never)


def test_a_deadlock_is_the_databases_business_and_no_users(store: Database, database: str) -> None:
    """Rows locked crosswise, among them by COPY, whose errors once passed for unknown ones."""
    if database == "sqlite":
        return  # one writer at a time: there is nothing to lock crosswise
    store.transaction(lambda s: s.add_all([Throttle(key=key, failures=0) for key in ("a", "b")]))
    met = threading.Barrier(2)
    results: list[object] = []

    def cross(first: str, second: str) -> None:
        tried = False

        def work(session: Session) -> str:
            nonlocal tried
            session.get_one(Throttle, first, with_for_update=True).failures += 1
            session.flush()
            if not tried:
                tried = True
                met.wait(20)
            session.get_one(Throttle, second, with_for_update=True).failures += 1
            return "done"

        try:
            results.append(store.transaction(work))
        except Exception as error:  # noqa: BLE001 - shown below
            results.append(error)

    threads = [threading.Thread(target=cross, args=order) for order in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["done", "done"]
    with store.reading() as session:
        assert session.execute(select(Throttle.failures)).scalars().all() == [2, 2]


def test_what_many_rows_at_once_break_has_the_name_that_one_row_has(store: Database) -> None:
    """COPY and executemany raised the driver's own errors, which no one who retries knew."""
    row = (new_id("org"), "Northwind")

    def work(session: Session) -> None:
        db.insert_many(session, Organisation.__table__, [row, row])  # type: ignore[arg-type]  # a Table, says SQLAlchemy

    with pytest.raises(sa_exc.IntegrityError):
        store.transaction(work)
    with store.reading() as session:
        assert session.execute(select(Organisation.id)).all() == []


def test_one_snapshot_sees_one_state(store: Database) -> None:
    with store.reading() as session:
        assert session.execute(select(Throttle.key)).all() == []
        store.transaction(lambda s: s.add(Throttle(key="later", failures=0)))
        assert session.execute(select(Throttle.key)).all() == []
    with store.reading() as session:
        assert session.execute(select(Throttle.key)).scalars().all() == ["later"]


def test_what_is_planned_once_is_kept_from_one_reading_to_the_next(
    store: Database, database: str
) -> None:
    store.transaction(lambda s: s.add(Throttle(key="one", failures=1)))
    lower = select(Throttle.key).where(Throttle.failures < bindparam("most"))
    for most in range(3):
        with store.reading() as session:
            few = lower.limit(written(session, 3))
            if database == "postgresql":
                session.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
            found = session.execute(planned_once(few), {"most": most}).scalars().all()
            assert found == ["one"] * (most > 1)
    if database == "postgresql":
        kept = text(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements "
            "WHERE statement LIKE 'SELECT throttle.key%LIMIT 3'"
        )
        with store.reading() as session:
            assert session.execute(kept).one() == (3, 0)
    with store.reading() as session, pytest.raises(sa_exc.DBAPIError):
        session.execute(planned_once(text("SELECT wrong FROM nowhere")))


def test_what_is_planned_once_is_joined_row_by_row_and_nothing_after_it(
    store: Database, database: str
) -> None:
    """Of values that it does not know PostgreSQL read a million people for a page of a project."""
    if database != "postgresql":
        return  # SQLite knows no other way
    joined = text(
        "EXPLAIN SELECT 1 FROM throttle AS one JOIN throttle AS other USING (failures) "
        "WHERE one.failures > (SELECT count(*) FROM throttle)"
    )
    with store.reading() as session:
        first, once, after = (
            "\n".join(session.execute(each).scalars())
            for each in (joined, planned_once(joined), joined)
        )
    assert "Nested Loop" in once
    assert first == after
    assert "Nested Loop" not in first


def test_many_values_are_one_parameter(store: Database) -> None:
    values = [f"v{number}" for number in range(40_000)]
    values += ["quote ' \" \\", "null \\u0000 word", "émoji 🦉"]
    with store.reading() as session:
        given = listed(session, values)
        assert session.execute(select(given.c.value)).scalars().all() == values
        assert session.execute(select(listed(session, []).c.value)).all() == []


def test_ids_are_opaque_and_never_the_same() -> None:
    ids = [new_id("grt") for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert all(re.fullmatch(r"grt_[0-9a-z]{24}", each) for each in ids)


def test_foreign_keys_hold_at_the_commit(world: World) -> None:
    insert = text("INSERT INTO request_item (request_id, item_id) VALUES ('req_none', 'x')")
    with pytest.raises(sa_exc.IntegrityError):
        world.do(lambda s: s.execute(insert))


def test_who_closes_all_connections_closes_that_of_decisions_too(world: World) -> None:
    """It is kept for a moment between questions, and was left open by whoever closed the others."""
    project, person = world.project(), world.subject()
    for _ in range(2):  # they are asked on afterwards, too
        world.permits(person, project)
        store: Any = world.store
        pools = [store._asker.pool, store._access_asker.pool]
        store.dispose()
        assert [(pool.checkedout(), pool.checkedin()) for pool in pools] == [(0, 0)] * 2


def test_whatever_zone_the_server_keeps_connections_live_in_utc(store: Database) -> None:
    """In another the driver could not read the calendar's last day, nor seal a row that has it."""
    if not store.is_postgresql:
        return
    url = f"{store.settings.database_url}?options=-c%20timezone%3DEurope/Berlin"
    elsewhere = Database(replace(store.settings, database_url=url))
    try:
        with elsewhere.reading() as reading, elsewhere.asking() as asking:
            for connection in (reading.connection(), asking):
                assert connection.execute(text("SHOW timezone")).scalar_one() == "UTC"
    finally:
        elsewhere.dispose()

"""`record()`: a change and its entry share one transaction, or neither happens."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import String, bindparam, delete, insert, inspect, literal, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.exc import StaleDataError

from govern import clock, errors
from govern.access import clients, suspensions
from govern.access.clients import Client, Project
from govern.access.grants import Grant
from govern.audit import EventType, log, rows
from govern.audit.log import HOUSE, Log
from govern.audit.record import Line, append_many, record
from govern.db import Inquiry, new_id
from govern.identity import subjects
from govern.identity.subjects import Subject
from tests.factory import OPERATOR, SECOND, T0, World, person

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db import Session


def name_of(world: World, subject: Subject) -> str:
    with world.store.reading() as session:
        return session.get_one(Subject, subject.id).full_name


def test_a_change_without_a_record_is_a_bug_that_changes_nothing(world: World) -> None:
    """The guard looked before the last flush, so a change that nobody had flushed went through."""
    subject = world.subject()
    before = name_of(world, subject)

    def silent(session: Session) -> None:
        session.get_one(Subject, subject.id).full_name = "Someone Else"

    def flushed(session: Session) -> None:
        silent(session)
        session.flush()

    for work in (silent, flushed):
        with pytest.raises(errors.UnauditedChange, match="Subject"):
            world.do(work)
        assert name_of(world, subject) == before


def test_a_record_of_one_thing_does_not_cover_another(world: World) -> None:
    one, other = world.subject(), world.subject()

    def work(session: Session) -> None:
        subjects.change(session, session.get_one(Subject, one.id), full_name="New", by=OPERATOR)
        session.get_one(Subject, other.id).full_name = "New"

    with pytest.raises(errors.UnauditedChange):
        world.do(work)
    assert name_of(world, one) != "New"


def test_new_and_deleted_rows_are_changes_too(world: World) -> None:
    client = world.client()
    project = world.project(client=client)

    def add(session: Session) -> None:
        session.add(Project(id=new_id("prj"), client_id=client.id, code="x", contact="",
                            recorded_at=T0))  # fmt: skip

    def remove(session: Session) -> None:
        session.delete(session.get_one(Project, project.id))

    for work in (add, remove):
        with pytest.raises(errors.UnauditedChange):
            world.do(work)
    with world.store.reading() as session:
        assert session.execute(select(Project.code)).scalars().all() == [project.code]


@pytest.mark.parametrize(
    "statement",
    [
        update(Subject).values(full_name="X"),
        delete(Grant),
        insert(Client).values(id="cli_x", code="x", name="x", recorded_at=T0),
        update(Subject.__table__).values(full_name="X"),  # type: ignore[arg-type]  # a Table, says SQLAlchemy
    ],
    ids=["update", "delete", "insert", "core update"],
)
def test_no_statement_changes_audited_rows_in_bulk(world: World, statement: Any) -> None:
    world.subject()
    with pytest.raises(errors.UnauditedChange):
        world.do(lambda s: s.execute(statement))


def test_what_changed_a_row_that_is_gone_is_not_recorded(world: World) -> None:
    """PostgreSQL writes what changed together with the entries, and nobody asks how many rows."""

    def work(session: Session) -> None:
        gone = Subject(id=new_id("sub"))
        make_transient_to_detached(gone)
        session.add(gone)
        gone.full_name = "Nobody"
        record(session, EventType.SUBJECT_CHANGED, logs=[HOUSE], by=OPERATOR, covers=[gone])

    before = size_of(world)
    with pytest.raises(StaleDataError):
        world.do(work)
    assert size_of(world) == before


def size_of(world: World) -> int:
    with world.store.reading() as session:
        return session.get_one(Log, HOUSE).size


def test_a_row_that_changed_can_be_read_after_the_commit_and_changed_again(world: World) -> None:
    subject = world.subject()

    def work(session: Session) -> Subject:
        row = session.get_one(Subject, subject.id)
        subjects.change(session, row, full_name="New", by=OPERATOR)
        return row

    row = world.do(work)
    assert (row.full_name, row.email) == ("New", subject.email)
    assert not inspect(row).modified
    assert name_of(world, subject) == "New"


def test_what_is_asked_under_the_locks_is_asked_each_for_itself_and_refuses(world: World) -> None:
    """Together in a statement; but two that name a parameter alike are not asked the same."""
    query = select(literal("", String()) + bindparam("given", type_=String()))
    told: list[Any] = []

    def refuse(rows: list[Any]) -> None:
        raise errors.Stale(str(rows))

    def ask(*reads: Callable[[list[Any]], None]) -> Callable[[Session], None]:
        asked = [Inquiry(query, read, {"given": str(n)}) for n, read in enumerate(reads)]

        def work(session: Session) -> None:
            record(session, EventType.SUBJECT_CHANGED, logs=[HOUSE], by=OPERATOR, asked=asked)

        return work

    before = size_of(world)
    world.do(ask(told.append, told.append))
    assert told == [[("0",)], [("1",)]]
    assert size_of(world) == before + 1
    with pytest.raises(errors.Stale, match="1"):
        world.do(ask(told.append, refuse))
    assert size_of(world) == before + 1


def test_acts_of_one_kind_are_written_by_one_statement_that_is_made_once(world: World) -> None:
    """To make it takes longer than to run it, and is done while the heads are locked."""
    world.grant(world.subject(), world.project("Kingfisher"))
    rows._at_once.cache_clear()
    made = set()
    for _ in range(6):
        world.lift(world.suspend("project:Kingfisher"))
        world.write_particulars()
        made.add(rows._at_once.cache_info().currsize)
    assert len(made) == 1
    assert made == {0} or world.store.is_postgresql


def test_nothing_is_kept_that_is_written_through_a_reader(world: World) -> None:
    with world.store.reading() as session, contextlib.suppress(DBAPIError):
        session.add(log.Log(id="x", origin="x", size=0))
        session.flush()
    with world.store.reading() as session:
        assert session.get(Log, "x") is None


# --- a record that cannot be written -----------------------------------------------------------

BREAK = {
    "sqlite": "CREATE TRIGGER broken BEFORE INSERT ON {} BEGIN SELECT RAISE(ABORT, 'full'); END",
    "postgresql": "ALTER TABLE {} ADD CONSTRAINT broken CHECK (false) NOT VALID",
}


@pytest.mark.parametrize("table", ["log_entry", "log_value"])
@pytest.mark.asvs("2.3.3", "16.5.3")
def test_when_the_record_cannot_be_written_the_change_does_not_happen(
    world: World, database: str, table: str
) -> None:
    project = world.project(client=world.client())
    subject, bundle = world.subject(), world.entitlement()
    grant = world.grant(subject, project)
    admin = person(world.staff())
    world.do(lambda s: s.execute(text(BREAK[database].format(table))))
    acts: list[Callable[[], Any]] = [
        lambda: world.grant(subject, project, entitlement=bundle),
        lambda: world.revoke(grant),
        lambda: world.suspend("client:ASTER", note="why", by=admin),
        lambda: world.do(
            lambda s: subjects.change(
                s, s.get_one(Subject, subject.id), full_name="X", by=OPERATOR
            )
        ),
        lambda: world.load("P1,p1@people.example,P,annotator,direct,KE,,ASTER,Kingfisher,,"
                           "annotator,2026-10-01T00:00:00Z,2036-10-01T00:00:00Z"),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(errors.RecordFailed):
            act()
    assert name_of(world, subject) != "X"
    assert world.permits(subject, project)
    with world.store.reading() as session:
        assert session.execute(select(Grant.id)).scalars().all() == [grant.id]
        assert session.execute(select(suspensions.Suspension.id)).all() == []
        assert session.execute(select(Subject.id).where(Subject.external_id == "P1")).all() == []


def test_a_record_too_long_for_a_leaf_is_refused_with_its_change(world: World) -> None:
    subject = world.subject()

    def work(session: Session) -> None:
        row = session.get_one(Subject, subject.id)
        row.full_name = "X"
        record(session, EventType.SUBJECT_CHANGED, logs=[HOUSE], by=OPERATOR,
               data={"much": "x" * 70_000}, covers=[row])  # fmt: skip

    with pytest.raises(errors.RecordFailed):
        world.do(work)
    assert name_of(world, subject) != "X"


# --- order -------------------------------------------------------------------------------------


def test_entries_of_one_log_are_gap_free_and_strictly_later_under_many_writers(
    world: World,
) -> None:
    client = world.client()
    project = world.project(client=client)
    people = [world.subject() for _ in range(6)]
    bundle = world.entitlement()
    failures: list[BaseException] = []

    def one(subject: Subject) -> None:
        try:
            for _ in range(3):
                world.revoke(world.grant(subject, project, entitlement=bundle))
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    def many() -> None:
        try:
            for _ in range(4):
                lines = [Line(type=EventType.GRANT_RESUMED, refs={}) for _ in range(5)]
                world.do(lambda s, lines=lines: append_many(s, client.id, lines, by=OPERATOR))
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=one, args=(subject,)) for subject in people]
    threads.append(threading.Thread(target=many))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    entries = world.entries(client.id)
    assert len(entries) == 2 + 6 * 3 * 2 + 20
    assert [entry["seq"] for entry in entries] == list(range(len(entries)))
    times = [entry["time"] for entry in entries]
    assert times == sorted(set(times))
    with world.store.reading() as session:
        head = session.get_one(Log, client.id)
        assert head.size == len(entries)
        assert head.last_at is not None
        assert clock.text(head.last_at) == times[-1]


@pytest.mark.asvs("16.2.2")
def test_times_grow_even_when_the_clock_stands_or_goes_back(world: World) -> None:
    with clock.at(T0):
        world.subject()
        world.subject()
    with clock.at(T0.replace(year=2025)):
        world.subject()
    times = [entry["time"] for entry in world.entries(HOUSE)]
    assert times == sorted(set(times))


def test_an_act_over_two_logs_has_one_instant_and_its_facts_carry_it(world: World) -> None:
    client = world.client()
    (house,), (own,) = (world.entries(log_id, "client.created") for log_id in (HOUSE, client.id))
    assert house["time"] == own["time"] == clock.text(client.recorded_at)
    assert house["salt"] != own["salt"]


@pytest.mark.asvs("16.2.1")
def test_who_acts_is_named_by_an_opaque_id_and_the_machines_user_as_a_commitment(
    world: World,
) -> None:
    admin = person(world.staff())
    world.do(lambda s: clients.create_client(s, "ONE", name="One", by=admin))
    world.do(lambda s: clients.create_client(s, "TWO", name="Two", by=SECOND))
    one, two = world.entries(HOUSE, "client.created")
    assert (one["actor"], two["actor"]) == (admin.id, "operator")
    assert "actor" not in one["commit"]
    assert "second" not in str(two)


def test_an_entry_in_a_log_that_is_not_there_is_refused(world: World) -> None:
    with pytest.raises(errors.Unknown):
        world.do(lambda s: record(s, EventType.ROSTER_IMPORTED, logs=["nonesuch"], by=OPERATOR))

"""Many people named at once: read from any text, told by line when nobody's, held as one."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from govern import clock, errors
from govern.access import suspensions
from govern.access.modes import Mode
from govern.access.suspension_tables import PeopleList
from govern.access.suspensions import people
from govern.access.suspensions.people import Name, read
from govern.audit.log import HOUSE
from govern.identity.subjects import Subject
from tests.factory import OPERATOR, SECOND, T0, World, person, row

if TYPE_CHECKING:
    from govern.db import Session


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("P1\nP2\r\n\n  P3  \n", [(1, "P1"), (2, "P2"), (4, "P3")]),
        ("P1, p2@x.example;P3\tP1\nP2", [(1, "P1"), (1, "p2@x.example"), (1, "P3"), (2, "P2")]),
        (b"\xef\xbb\xbfP1\n", [(1, "P1")]),
        (
            b"\xef\xbb\xbfExternal_ID,email\r\nP 1,a@x.example\r\n\r\n,b@x\r\n",
            [(2, "P 1")],
        ),
        ('name, email\n"Lee, Ann", ann@x.example\n', [(2, "ann@x.example")]),
        ("", []),
        (" \n,;\n", []),
    ],
)
def test_names_are_read_from_lines_and_from_a_csv_with_a_header(
    given: str | bytes, names: list[tuple[int, str]]
) -> None:
    assert read(given) == [Name(*name) for name in names]


def test_what_is_no_text_is_refused_in_words() -> None:
    for given in (b"\xff\xfeP\x001\x00", 'email\n"' + "x" * 200_000):
        with pytest.raises(errors.Invalid):
            read(given)


def test_a_name_that_is_nobodys_is_told_by_its_line_and_left_out_only_when_that_is_said(
    world: World,
) -> None:
    ann = world.subject("P1")
    names = read("P1\np1@PEOPLE.example\nP9\nP\x00\n\ud800\n" + "x" * 300)
    with pytest.raises(errors.UnknownPeople) as refused:
        world.do(lambda s: people.take(s, names, by=OPERATOR))
    assert [line for line, _ in refused.value.names] == [3, 4, 5, 6]
    assert "4 of 6 names are nobody's: line 3 “P9”, line 4 “P\\x00”" in refused.value.message
    kept = world.do(lambda s: people.take(s, names, leave_out_unknown=True, by=OPERATOR))
    assert (kept.number, kept.left_out, kept.digest) == (1, 4, people.digest([ann.id]))
    for empty in ([], read("P8 P9")):
        with pytest.raises(errors.Invalid):
            world.do(
                lambda s, names=empty: people.take(s, names, leave_out_unknown=True, by=OPERATOR)
            )
    many = [Name(1, f"N{n}") for n in range(people.MOST + 1)]
    with pytest.raises(errors.Invalid, match="at most 200,000"):
        world.do(lambda s: people.take(s, many, by=OPERATOR))


def test_who_is_limited_to_a_client_names_nobody_and_sees_no_list(world: World) -> None:
    scoped = person(world.staff(), client=world.client().id)
    ann = world.subject()
    with pytest.raises(errors.Forbidden):
        world.do(lambda s: people.take(s, [Name(1, ann.external_id)], by=scoped))
    kept = world.people_list(ann)
    with world.store.reading() as session:
        with pytest.raises(errors.Unknown):
            people.find(session, kept.id, by=scoped)
        with pytest.raises(errors.Invalid):
            suspensions.reading.chosen(session, [f"people:{kept.id}"], by=scoped)


def test_a_list_holds_its_people_everywhere_and_nobody_else_until_it_is_lifted(
    world: World,
) -> None:
    world.entitlement()
    one = world.project("Kingfisher")
    other = world.project("Osprey", client=world.client("BOREAL"))
    ann, bob, eve = (world.subject(name) for name in ("ann", "bob", "eve"))
    for who in (ann, bob, eve):
        world.grant(who, one)
    world.grant(ann, other)
    kept = world.people_list(ann, bob)
    held = world.suspend(f"people:{kept.id}")
    assert not world.permits(ann, one)
    assert world.ask(bob, one).reason == "subject_paused"
    assert world.permits(eve, one)
    # As whoever is suspended alone, they see that it is they, and nobody grants them more.
    with world.store.reading() as session:
        assert suspensions.subject_held(session, ann.id)
        assert not suspensions.subject_held(session, eve.id)
    with pytest.raises(errors.Held, match="The subject is suspended"):
        world.grant(bob, other)
    outcome = world.load(row("bob", name="Person bob", client="BOREAL", project="Osprey"))
    assert [fault.column for fault in outcome.rejected] == ["external_id"]
    # The logs of all that are concerned have the number and the digest, and no name.
    for log in (HOUSE, one.client_id, other.client_id):
        (entry,) = world.entries(log, "suspension.opened")
        assert entry["data"]["targets"] == [
            {"kind": "people", "id": kept.id, "count": 2, "digest": kept.digest}
        ]
    world.write_particulars()
    assert len(world.entries(one.client_id, "grant.suspended")) == 2
    with world.store.reading() as session:
        standing = suspensions.reading.progress(session, held.id, by=OPERATOR).standing
        assert (standing.names, standing.people) == (["2 people"], 2)
    # More, and less, as with any other.
    request = world.do(
        lambda s: suspensions.ask_release(
            s, suspensions.find(s, held.id, by=OPERATOR), [bob], by=OPERATOR
        )
    )
    world.approve(request, by=SECOND)
    assert world.permits(bob, one)

    # The sessions that each had before it stay ended, for who was let out and when it is over too.
    def own(subject: Subject) -> tuple[bool, bool]:
        with world.store.reading() as session:
            found = suspensions.own_hold(session, subject.id, after=held.recorded_at - clock.TICK)
            later = suspensions.own_hold(session, subject.id, after=clock.utcnow())
        assert (later.now, later.since) == (found.now, None)
        return found.now, found.since is not None

    assert [own(each) for each in (ann, bob, eve)] == [(True, True), (False, True), (False, False)]
    world.lift(held)
    assert world.permits(ann, other)
    assert [own(each) for each in (ann, bob, eve)] == [(False, True), (False, True), (False, False)]


def test_a_list_that_nobody_suspended_is_forgotten_after_a_day_and_refuses_by_then(
    world: World,
) -> None:
    ann = world.subject()
    project = world.project()
    world.grant(ann, project)
    with clock.at(T0):
        unused, used = world.people_list(ann), world.people_list(ann)
        world.suspend(f"people:{used.id}", mode=Mode.READ_ONLY)
    target = suspensions.Target(suspensions.Scope.PEOPLE, unused.id, unused.id, None)
    with clock.at(T0 + timedelta(hours=25)):
        world.people_list(ann)
    with world.store.reading() as session:
        assert session.get(PeopleList, unused.id) is None
        assert session.get(PeopleList, used.id) is not None
    with pytest.raises(errors.Invalid, match="forgotten"):
        world.do(
            lambda s: suspensions.open(
                s, [target], mode=Mode.PAUSED, reason=suspensions.Reason.OTHER, by=OPERATOR
            )
        )


def test_a_few_are_targets_of_their_own_and_more_are_one(world: World) -> None:
    names = [Name(n, world.subject().external_id) for n in range(1, 4)]
    few = world.do(lambda s: people.targets(s, names, by=OPERATOR))
    assert [target.kind for target in few] == ["subject"] * 3
    more = [Name(n, world.subject().external_id) for n in range(people.ALONE)]
    (one,) = world.do(lambda s: people.targets(s, [*names, *more], by=OPERATOR))
    assert one.kind == "people"


def test_a_list_that_is_suspended_while_old_ones_are_forgotten_is_not_forgotten(
    world: World,
) -> None:
    """Who forgets sees it unused, and reaches it when the pause is committed and locks no more."""
    if not world.store.is_postgresql:
        return  # one writer at a time
    ann, project = world.subject(), world.project()
    world.grant(ann, project)
    with clock.at(T0):
        kept = world.people_list(ann)
    target = suspensions.Target(suspensions.Scope.PEOPLE, kept.id, kept.id, None)
    looking = threading.Event()

    def wait_at_the_lock(_: Any, __: Any, statement: str, given: Any, *___: Any) -> Any:
        if "people_list" in statement and "SKIP LOCKED" in statement:
            looking.set()
            waits = " AND (SELECT count(*) FROM pg_advisory_xact_lock(7)) > 0 FOR UPDATE"
            statement = statement.replace(" FOR UPDATE", waits)
        return statement, given

    def pause(session: Session) -> None:
        session.execute(text("SELECT pg_advisory_xact_lock(7)"))
        suspensions.open(
            session, [target], mode=Mode.PAUSED, reason=suspensions.Reason.OTHER, by=OPERATOR
        )
        forgetting.start()
        assert looking.wait(20)
        with world.store.reading() as watching:
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND objid = 7")
            while not watching.execute(waiting).scalar_one():
                assert forgetting.is_alive()

    forgetting = threading.Thread(target=lambda: world.people_list(world.subject()))
    event.listen(world.store.writer, "before_cursor_execute", wait_at_the_lock, retval=True)
    try:
        world.store.transaction(pause)
        forgetting.join()
    finally:
        event.remove(world.store.writer, "before_cursor_execute", wait_at_the_lock)
    assert world.ask(ann, project).reason == "subject_paused"
    with world.store.reading() as session:
        assert session.get(PeopleList, kept.id) is not None

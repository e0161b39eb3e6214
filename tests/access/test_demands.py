"""Demands: in force at their instant everywhere, seen before they bite, and met by enrolling."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from govern import clock, db, errors
from govern.access import demands, evaluation
from govern.access.demands import Factor, FactorDemand, Numbers, Owed, meeting
from govern.access.evaluation import Question
from govern.audit.log import HOUSE
from govern.principal import RoleHeld
from tests.access.tooling import Tool, listed
from tests.factory import OPERATOR, World, person, together
from tests.test_cli import Ran, environment, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.access.clients import Client, Project

__all__ = ["environment", "run"]
DAY = timedelta(days=1)
ENROL = "second_factor_enrolment_required"


@pytest.fixture
def place(world: World) -> tuple[Client, Project]:
    client = world.client()
    return client, world.project(client=client)


def numbers(world: World, reference: str, factor: Factor = Factor.SECOND_FACTOR) -> Numbers:
    with world.store.reading() as session:
        over = demands.over(session, reference, by=OPERATOR)
        return demands.numbers(session, over, factor, by=OPERATOR)


def owed(world: World, subject: Any, *roles: str) -> list[Owed]:
    with world.store.reading() as session:
        return demands.owed(session, subject.id, [RoleHeld(role) for role in roles])


def test_who_does_not_meet_a_demand_is_seen_before_it_bites_and_told_what_to_enrol(
    world: World, place: tuple[Client, Project]
) -> None:
    client, project = place
    other = world.project("Osprey", client=client)
    first, second, third, fourth = (world.subject(f"P{n}") for n in range(4))
    for who in (first, second, third):
        world.grant(who, project)
    world.revoke(world.grant(fourth, project))
    world.grant(first, other)
    world.enrol(second)
    soon = clock.utcnow() + DAY
    assert numbers(world, "client:ASTER") == Numbers(people=3, unmet=2)
    assert numbers(world, "project:Osprey") == Numbers(people=1, unmet=1)
    assert numbers(world, "client:ASTER", Factor.PHISHING_RESISTANT).unmet == 3
    world.demand("client:ASTER", starts=soon)
    assert owed(world, first) == [
        Owed(factor=Factor.SECOND_FACTOR, by=soon, projects=("Kingfisher", "Osprey"))
    ]
    assert owed(world, second) == owed(world, fourth) == []
    assert world.permits(first, project)
    with world.store.reading() as session:
        (one,) = demands.listed(session, by=OPERATOR)
        assert (one.over.reference, one.begun) == ("client:ASTER", False)
        page = demands.unmet(session, one.over, one.factor, limit=1, by=OPERATOR)
        rest = demands.unmet(session, one.over, one.factor, after=page.after or "", by=OPERATOR)
    assert [row.external_id for row in page.rows] == ["P0"]
    assert ([row.external_id for row in rest.rows], rest.after) == (["P2"], None)
    with clock.at(soon):
        assert world.ask(first, project).reason == ENROL
        assert world.permits(second, project)
        world.demand("project:Osprey", starts=soon + DAY)
        assert owed(world, first) == [
            Owed(factor=Factor.SECOND_FACTOR, by=None, projects=("Kingfisher", "Osprey"))
        ]
        world.enrol(first)
        assert world.permits(first, project)
        assert owed(world, first) == []
        assert numbers(world, "client:ASTER") == Numbers(people=3, unmet=1)


def test_a_page_counts_so_many_grants_for_a_demand_and_says_that_there_are_more(
    world: World, place: tuple[Client, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, project = place
    people = [world.subject() for _ in range(3)]
    for who in people:
        world.grant(who, project)
    world.enrol(people[0])
    made = world.demand(f"client:{client.code}", starts=clock.utcnow() + DAY)
    for most, told in ((3, Numbers(people=3, unmet=2)), (1, None)):
        with world.store.reading() as session:
            found = demands.listed(session, by=OPERATOR)
            counted = demands.measured(session, found, most=most, by=OPERATOR)[made.id]
            alone = demands.numbers(session, found[0].over, found[0].factor, by=OPERATOR)
        assert alone == Numbers(people=3, unmet=2), "what one act is about is counted whole"
        if told is None:
            assert (counted.people, counted.at_least, counted.unmet <= 1) == (1, True, True)
        else:
            assert counted == told
    world.staff("auditor")
    world.demand("role:auditor", starts=clock.utcnow() + DAY)
    with world.store.reading() as session:
        (coming,) = db.together(session, demands.coming(limit=5, by=OPERATOR))
    assert [(one.kind, one.numbers) for one in coming] == [
        ("client", Numbers(people=3, unmet=2)), ("role", Numbers(people=1, unmet=1)),
    ]  # fmt: skip
    monkeypatch.setattr(meeting, "COUNTED", 2)
    with world.store.reading() as session:  # another limit: a statement of its own
        (coming,) = db.together(session, demands.coming(limit=4, by=OPERATOR))
    assert [(one.numbers.people, one.numbers.at_least) for one in coming] == [(2, True), (1, False)]


def test_a_demand_is_set_and_ended_once_with_a_reason_by_who_may(
    world: World, place: tuple[Client, Project]
) -> None:
    client, _ = place
    elsewhere = world.client("BOREAL")
    admin = person(world.staff(client=client), client=client.id)

    def impose(reference: str, **more: Any) -> FactorDemand:
        return world.do(
            lambda s: demands.impose(
                s, demands.over(s, reference, by=more.get("by", OPERATOR)), Factor.SECOND_FACTOR,
                **{"reason": "their contract", "by": OPERATOR} | more,
            )
        )  # fmt: skip

    made = impose("client:ASTER", by=admin)
    (entry,) = world.entries(client.id, "demand.set")
    assert entry["refs"] == {"demand": made.id, "client": client.id}
    assert entry["data"] == {"factor": "second_factor", "over": "client"}
    assert "reason" in entry["commit"]
    with pytest.raises(errors.AlreadyExists):
        impose("client:ASTER")
    with pytest.raises(errors.WindowInvalid):
        impose("client:BOREAL", starts=clock.utcnow() - DAY)
    with pytest.raises(errors.Invalid):
        impose("role:contractor")
    with pytest.raises(errors.Unknown):
        impose("client:BOREAL", by=admin)
    with pytest.raises(errors.Forbidden):
        impose("role:admin", by=admin)
    stale = person(world.staff())
    with (
        clock.at(clock.utcnow() + timedelta(minutes=6)),
        pytest.raises(errors.FreshFactorRequired),
    ):
        impose("client:BOREAL", by=stale)
    foreign = impose("client:BOREAL")
    with world.store.reading() as session:
        theirs = demands.over(session, "client:BOREAL", by=OPERATOR)
        assert [one.row.id for one in demands.listed(session, by=admin)] == [made.id]
        with pytest.raises(errors.Unknown):
            demands.find(session, foreign.id, by=admin)
        with pytest.raises(errors.Unknown):
            demands.numbers(session, theirs, Factor.SECOND_FACTOR, by=admin)
    world.do(lambda s: demands.end(s, s.get_one(FactorDemand, made.id), reason="x", by=admin))
    with pytest.raises(errors.AlreadyEnded):
        world.do(lambda s: demands.end(s, s.get_one(FactorDemand, made.id), reason="x", by=admin))
    assert len(world.entries(client.id, "demand.ended")) == 1
    assert impose("client:ASTER").id != made.id
    impose("role:admin")
    assert world.entries(HOUSE, "demand.set")[0]["data"]["role"] == "admin"
    assert elsewhere.id


def test_a_demand_set_twice_at_once_is_one(world: World, place: tuple[Client, Project]) -> None:
    def work(session: Any) -> FactorDemand:
        over = demands.over(session, "client:ASTER", by=OPERATOR)
        return demands.impose(session, over, Factor.SECOND_FACTOR, reason="x", by=OPERATOR)

    results = together(world.store, work, work)
    assert sorted(type(each).__name__ for each in results) == ["AlreadyExists", "FactorDemand"]


def test_a_token_is_not_active_while_its_holder_does_not_meet_a_demand_nor_ever_after(
    world: World, place: tuple[Client, Project]
) -> None:
    _, project = place
    subject = world.subject()
    world.grant(subject, project)
    tool = Tool.of(world)
    before = tool.token(subject, project)
    demand = world.demand("client:ASTER")
    assert (tool.good(before), listed(world.store, before)) == (False, 1)
    with pytest.raises(errors.Forbidden):
        tool.code(subject, project)
    world.enrol(subject)
    # Whoever meets it again gets a new token; the old one was taken away.
    assert (tool.good(before), listed(world.store, before)) == (False, 1)
    later = tool.token(subject, project)
    assert (tool.good(later), listed(world.store, later)) == (True, 0)
    world.do(lambda s: demands.end(s, s.get_one(FactorDemand, demand.id), reason="x", by=OPERATOR))
    assert tool.good(later)
    soon = clock.utcnow() + timedelta(seconds=40)
    announced = world.demand("client:ASTER", Factor.PHISHING_RESISTANT, starts=soon)
    assert tool.good(later)
    with clock.at(soon):
        assert (tool.good(later), listed(world.store, later)) == (False, 1)
        world.do(
            lambda s: demands.end(s, s.get_one(FactorDemand, announced.id), reason="x", by=OPERATOR)
        )
        assert (tool.good(later), listed(world.store, later)) == (False, 1)


def test_no_permit_has_seen_a_demand_that_its_person_did_not_meet(
    world: World, place: tuple[Client, Project]
) -> None:
    client, project = place
    subject = world.subject()
    world.grant(subject, project)
    ask = Question(subject=subject.external_id, action="read", kind="project", code=project.code)
    found: list[evaluation.Decision] = []
    under_way = threading.Event()

    def keep_asking() -> None:
        while len(found) < 10 or found[-1].permit:
            found.append(evaluation.decide(world.store, ask, by=OPERATOR))
            if len(found) > 5:
                under_way.set()

    thread = threading.Thread(target=keep_asking)
    thread.start()
    assert under_way.wait(20)
    world.demand("client:ASTER")
    after = evaluation.decide(world.store, ask, by=OPERATOR)
    thread.join(20)
    (entry,) = world.entries(client.id, "demand.set")
    assert found[0].permit
    for one in [*found, after]:
        assert one.permit == (one.as_of is not None and one.as_of <= entry["seq"])


def test_the_command_line_sets_lists_and_ends_demands(
    run: Callable[..., Ran], world: World, place: tuple[Client, Project]
) -> None:
    _, project = place
    subject = world.subject("P1")
    world.grant(subject, project)
    wanted = ("demand", "set", "client:ASTER", "second_factor")
    assert run(*wanted).status == 2
    dry = run(*wanted, "--dry-run", "--json").json
    assert (dry["people"], dry["unmet"]) == (1, 1)
    assert run("demand", "list", "--json").json == {"demands": []}
    later = "2099-12-01T00:00:00Z"
    made = run(*wanted, "--from", later, "--reason", "their contract", "--json")
    assert made.json["unmet"] == 1
    (line,) = run("demand", "list", "--json").json["demands"]
    assert (line["id"], line["begun"], line["over"]) == (made.json["id"], False, "client:ASTER")
    (who,) = run("demand", "who", line["id"], "--json").json["people"]
    assert (who["subject"], who["activated"]) == ("P1", False)
    assert run("demand", "who", line["id"]).out.startswith("P1\tp1@people.example")
    told = run("demand", "list").out
    assert "from 2099-12-01 00:00 UTC" in told
    assert "1 person of 1 does not meet it yet." in told
    ended = run("demand", "end", line["id"], "--reason", "agreed", "--json")
    assert ended.json["ended_at"]
    again = run("demand", "end", line["id"], "--reason", "agreed")
    assert (again.status, "ended before" in again.err) == (1, True)

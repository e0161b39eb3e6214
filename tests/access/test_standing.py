"""How things stand for a person: one reading of the one rule, in a fixed number of statements."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import event

from govern import clock
from govern.access import standing, suspensions
from govern.access.evaluation import Question, evaluate
from govern.access.modes import Mode
from tests.factory import OPERATOR, T0

if TYPE_CHECKING:
    from govern.identity.subjects import Subject
    from tests.factory import World

START = T0 + timedelta(days=400)  # after whatever the machine's clock says


def _of(world: World, person: Subject) -> list[standing.Standing]:
    with world.store.reading() as session:
        return standing.of(session, person.id)


def test_what_stands_is_what_the_decision_says(world: World) -> None:
    """Every action that a page says one may do is permitted, and no other: no second rule."""
    person, other = world.subject(), world.subject(organisation="Northwind")
    aster = world.client("ASTER")
    projects = [world.project(f"Project{i}", client=aster) for i in range(6)]
    audio = world.dataset(projects[3], "audio")
    reviewer = world.entitlement("reviewer", "read", "review", "export", "log_hours")
    with clock.at(START):
        for who in (person, other):
            for project in projects[:3]:
                world.grant(who, project, until=START + timedelta(days=9))
            world.grant(who, projects[3], dataset=audio, until=START + timedelta(days=9))
            world.grant(who, projects[4], entitlement=reviewer, until=START + timedelta(hours=1))
            world.grant(
                who, projects[5], entitlement=reviewer,
                starts=START + timedelta(days=2), until=START + timedelta(days=9),
            )  # fmt: skip
    with clock.at(START + timedelta(hours=2)):
        world.suspend("project:Project0")
        world.suspend(
            "project:Project1", mode=Mode.READ_ONLY, hours_until=START + timedelta(hours=9)
        )
        world.suspend("project:Project2", mode=Mode.UNDER_REVIEW)
        world.suspend("dataset:audio", mode=Mode.READ_ONLY)
        world.suspend("organisation:Northwind", mode=Mode.READ_ONLY)
    for hours in (3, 10, 60):
        with clock.at(START + timedelta(hours=hours)), world.store.reading() as session:
            for who in (person, other):
                for one in standing.of(session, who.id):
                    kind, code = (
                        ("dataset", one.dataset) if one.dataset else ("project", one.project)
                    )
                    permitted = set()
                    for action in ("read", "annotate", "review", "export", "log_hours"):
                        where = ("project", one.project) if action == "log_hours" else (kind, code)
                        question = Question(
                            subject=who.external_id, action=action, kind=where[0], code=where[1]
                        )
                        if evaluate(session, question).permit:
                            permitted.add(action)
                    # A dataset's own suspension is asked with the dataset; hours with its project.
                    assert permitted - {"log_hours"} == set(one.may) - {"log_hours"}, (hours, one)
                    if one.dataset is None:
                        assert permitted == set(one.may), (hours, one)


def test_the_number_of_statements_does_not_grow_with_the_grants(world: World) -> None:
    person = world.subject()
    aster = world.client("ASTER")
    counted: list[str] = []

    def count(*args: object) -> None:
        counted.append(str(args[2]))

    def statements() -> int:
        counted.clear()
        event.listen(world.store.reader, "before_cursor_execute", count)
        _of(world, person)
        event.remove(world.store.reader, "before_cursor_execute", count)
        return len(counted)

    world.grant(person, world.project("Kingfisher", client=aster))
    world.suspend("client:ASTER", note="Hold on.")
    few = statements()
    world.suspend("project:Kingfisher", note="This one too.")
    boreal = world.client("BOREAL")
    for i in range(12):
        world.grant(person, world.project(f"Project{i}", client=boreal))
    world.suspend("client:BOREAL", note="And here.")
    assert statements() == few <= 6


def test_hours_stop_when_the_mode_began_that_stops_them(world: World) -> None:
    person, project = world.subject(), world.project("Kingfisher")
    with clock.at(START):
        world.grant(person, project, until=START + timedelta(days=9))
    with clock.at(START + timedelta(hours=1)):
        suspension = world.suspend("project:Kingfisher", mode=Mode.READ_ONLY)
    with clock.at(START + timedelta(hours=2)):
        world.do(
            lambda s: suspensions.change_mode(s, s.merge(suspension), Mode.PAUSED, by=OPERATOR)
        )
    with clock.at(START + timedelta(hours=3)):
        (one,) = _of(world, person)
    assert one.holds[0].since > START + timedelta(hours=1, minutes=59)
    assert one.holds[0].cut_off < START + timedelta(hours=1, minutes=1)


def test_a_dataset_that_is_held_by_itself_is_named_as_a_part(world: World) -> None:
    person, project = world.subject(), world.project("Kingfisher")
    world.dataset(project, "kingfisher-audio")
    world.grant(person, project)
    world.suspend("dataset:kingfisher-audio", note="The audio is being checked.")
    (one,) = _of(world, person)
    assert not one.holds
    assert [part.dataset for part in one.parts] == ["kingfisher-audio"]
    assert "annotate" in one.may


def test_a_suspension_of_the_person_is_their_own_and_not_the_projects(world: World) -> None:
    person, project = world.subject(), world.project("Kingfisher")
    world.grant(person, project)
    world.suspend(f"subject:{person.external_id}", reason="conduct")
    world.suspend("project:Kingfisher")
    with world.store.reading() as session:
        own = standing.whole(session, person.id).own
        assert standing.whole(session, world.subject().id).own is None
    assert own is not None
    assert own.scope == "subject"
    (one,) = _of(world, person)
    assert [hold.scope for hold in one.holds] == ["project", "subject"]
    assert not one.may

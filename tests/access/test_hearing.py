"""Who heard of a suspension: what each integration was told last, and never better than that."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from govern.access import evaluation, suspensions
from govern.access.evaluation import Question
from govern.access.modes import Mode
from govern.access.suspensions import Heard
from govern.audit.decisions import AccessKind
from govern.identity import integrations
from tests.audit.test_sealing import write
from tests.factory import OPERATOR, SECOND, World, person

if TYPE_CHECKING:
    from govern.access.clients import Dataset, Project
    from govern.access.suspensions import Asker, Hearing, Suspension
    from govern.identity.integrations import Integration
    from govern.identity.subjects import Subject
    from govern.principal import Principal

ROOM = import_module("govern.access.suspensions.hearing")


def heard(world: World, suspension: Suspension, *, by: Principal = OPERATOR) -> Hearing:
    with world.store.reading() as session:
        found = suspensions.reading.find(session, suspension.id, by=by)
        return suspensions.hearing(session, found, by=by)


def of(world: World, suspension: Suspension, system: Integration) -> Asker:
    (asker,) = [one for one in heard(world, suspension).askers if one.id == system.id]
    return asker


def ask(
    world: World, system: Integration, who: Subject, what: Project | Dataset, action: str = "read"
) -> evaluation.Decision:
    with world.store.reading() as session:
        by = integrations.principal_of(session, session.get_one(type(system), system.id))
    kind = "dataset" if hasattr(what, "project_id") else "project"
    question = Question(subject=who.external_id, action=action, kind=kind, code=what.code)
    return evaluation.decide(world.store, question, by=by)


def test_an_integration_is_confirmed_only_once_it_was_told_no(world: World) -> None:
    project = world.project("Kingfisher")
    data = world.dataset(project)
    beside = world.project("Osprey")
    ann = world.subject("P-ann")
    for one in (project, beside):
        world.grant(ann, one)
    first, second = (world.integration(name)[0] for name in ("first", "second"))
    before = ask(world, first, ann, data)
    row = world.suspend("project:Kingfisher")
    asker = of(world, row, first)
    assert asker.heard is Heard.UNKNOWN
    assert asker.before is not None
    assert (asker.before.at, asker.before.permit) == (before.at, True)
    assert asker.after is None
    # Asked, but about something else; refused, but not for this.
    assert ask(world, first, ann, beside).permit
    ask(world, first, world.subject(), project)
    asker = of(world, row, first)
    assert asker.heard is Heard.UNKNOWN
    assert asker.after is not None
    assert asker.after.reason == "no_grant"
    denied = ask(world, first, ann, data)
    ask(world, first, ann, project)
    asker = of(world, row, first)
    assert (asker.heard, asker.since) == (Heard.CONFIRMED, denied.at)
    assert asker.after is not None
    assert asker.after.reason == "project_paused"
    assert of(world, row, second).heard is Heard.UNKNOWN
    # What was answered after the lift says nothing of it.
    world.lift(row)
    assert ask(world, second, ann, project).permit
    assert of(world, row, second).heard is Heard.UNKNOWN


def test_a_permit_that_had_seen_the_opening_is_a_failure_and_one_that_had_not_is_none(
    world: World,
) -> None:
    project = world.project("Kingfisher")
    system, other, third = (world.integration(name)[0] for name in ("one", "other", "third"))
    row = world.suspend("project:Kingfisher", mode=Mode.READ_ONLY)
    about = {"resource_id": project.id, "client_id": project.client_id, "action": "annotate"}
    late = row.recorded_at + timedelta(milliseconds=3)
    write(world.store, 1, at=late, as_of=1, principal=system.id, **about)
    assert of(world, row, system).heard is Heard.UNKNOWN
    write(world.store, 1, at=late, as_of=99, principal=other.id, **about)
    write(world.store, 1, at=late, as_of=99, principal=third.id, **about | {"action": "read"})
    assert (of(world, row, other).heard, of(world, row, other).since) == (Heard.FAILED, late)
    # Read-only still permits reading, which tells nothing; neither do hours.
    write(world.store, 1, at=late, as_of=99, principal=third.id, **about | {"action": "log_hours"})
    assert of(world, row, third).heard is Heard.UNKNOWN


@pytest.mark.parametrize("cases", [0, 10])  # things covered that a statement names one by one
def test_a_change_of_mode_and_a_release_are_judged_by_their_places_in_the_log(
    world: World, monkeypatch: pytest.MonkeyPatch, cases: int
) -> None:
    monkeypatch.setattr(ROOM, "_MOST_CASES", cases)
    project = world.project("Kingfisher")
    ann = world.subject("P-ann")
    world.grant(ann, project)
    system = world.integration("one")[0]
    row = world.suspend("project:Kingfisher", mode=Mode.UNDER_REVIEW)
    ask(world, system, ann, project)
    assert of(world, row, system).heard is Heard.CONFIRMED
    second = world.integration("two")[0]
    about = {"resource_id": project.id, "client_id": project.client_id, "subject_id": ann.id}
    seen = len(world.entries(project.client_id))
    write(world.store, 1, at=row.recorded_at, as_of=seen, principal=second.id, **about)
    assert of(world, row, second).heard is Heard.CONFIRMED
    world.do(
        lambda s: suspensions.change_mode(
            s, suspensions.find(s, row.id, by=OPERATOR), Mode.PAUSED, by=OPERATOR
        )
    )
    assert of(world, row, second).heard is Heard.CONFIRMED
    request = world.do(
        lambda s: suspensions.ask_release(
            s, suspensions.find(s, row.id, by=OPERATOR), [ann], reason="cleared", by=OPERATOR
        )
    )
    world.approve(request, by=SECOND)
    assert ask(world, second, ann, project).permit
    assert of(world, row, second).heard is Heard.CONFIRMED
    seen = len(world.entries(project.client_id))
    someone = about | {"subject_id": "sub_other"}
    write(world.store, 1, as_of=seen, principal=second.id, **someone)
    assert of(world, row, second).heard is Heard.FAILED


def test_an_introspection_counts_for_any_scope_that_covers_its_person_or_project(
    world: World,
) -> None:
    project = world.project("Kingfisher")
    ann = world.subject("P-ann")
    world.grant(ann, project)
    system = world.integration("tool", scopes=("introspect",))[0]
    world.integration("feed", scopes=("audit.read",))
    named = f"people:{world.people_list(ann).id}"
    for reference in ("subject:P-ann", named, "organisation:direct", "project:Kingfisher"):
        row = world.suspend(reference)
        assert [one.name for one in heard(world, row).askers] == ["tool"]
        assert of(world, row, system).heard is Heard.UNKNOWN
        write(
            world.store, 1, principal=system.id, kind=AccessKind.INTROSPECTION, permit=False,
            reason="suspended", action="read annotate", subject_id=ann.id, resource_id=project.id,
            client_id=project.client_id, as_of=len(world.entries(project.client_id)),
            house_as_of=len(world.entries("house")),
        )  # fmt: skip
        assert of(world, row, system).heard is Heard.CONFIRMED, reference
        world.lift(row)


def test_only_those_whose_limits_reach_it_are_asked_for_and_a_client_reads_its_own(
    world: World,
) -> None:
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    project = world.project("Kingfisher", client=aster)
    beside = world.project("Osprey", client=aster)
    data = world.dataset(project)
    ann = world.subject("P-ann")
    world.grant(ann, project)

    whole = world.integration("aster", clients=[aster.id])[0]
    world.integration("boreal", clients=[boreal.id])
    world.integration("kingfisher", projects={project.id: aster.id})
    world.integration("osprey", projects={beside.id: aster.id})
    everything = world.integration("everything")[0]
    expected = {
        "client:ASTER": {"aster", "kingfisher", "osprey", "everything"},
        "project:Kingfisher": {"aster", "kingfisher", "everything"},
        f"dataset:{data.code}": {"aster", "kingfisher", "everything"},
        "subject:P-ann": {"aster", "kingfisher", "osprey", "everything"},
    }
    for reference, names in expected.items():
        row = world.suspend(reference)
        assert {one.name for one in heard(world, row).askers} == names, reference
        world.lift(row)
    row = world.suspend("project:Kingfisher")
    auditor = person(world.staff("auditor", client=aster), "auditor", client=aster.id)
    assert {one.name for one in heard(world, row, by=auditor).askers} == {"aster", "kingfisher"}
    ask(world, whole, ann, project)
    ask(world, everything, ann, project)
    told = {one.name: one.heard for one in heard(world, row, by=auditor).askers}
    assert told == {
        "aster": Heard.CONFIRMED,
        everything.id: Heard.CONFIRMED,
        "kingfisher": Heard.UNKNOWN,
    }


def test_it_says_that_more_was_answered_only_where_it_looked_at_as_many_rows_as_it_may(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, beside = world.project("Kingfisher"), world.project("Osprey")
    ann = world.subject("P-ann")
    system, other = (world.integration(name)[0] for name in ("one", "other"))
    data = world.dataset(project)
    row = world.suspend("project:Kingfisher", f"dataset:{data.code}", "subject:P-ann")
    # Each way is looked along thrice: 4 rows of each of three things, 6 of each of two who ask.
    monkeypatch.setattr(ROOM, "_MOST_ROWS", 72)
    seen = {"as_of": len(world.entries(project.client_id)), "house_as_of": 99, "permit": False}

    def answered(count: int, by: Integration, resource: Project | Dataset, **more: str) -> bool:
        write(
            world.store, count, principal=by.id, client_id=project.client_id,
            resource_id=resource.id, reason="project_paused", **seen, **more,
        )  # fmt: skip
        return heard(world, row).whole

    # Each names what is covered by two parts and somebody besides, and counts once.
    assert answered(3, system, data, subject_id=ann.id)
    # About nothing that is covered, but rows that are looked at.
    assert answered(5, other, beside)
    assert not answered(1, other, beside)
    assert of(world, row, other).heard is Heard.UNKNOWN
    assert of(world, row, system).heard is Heard.CONFIRMED


def test_of_what_was_told_before_it_the_newest_are_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, ann = world.project("Kingfisher"), world.subject("P-ann")
    world.grant(ann, project)
    system, _ = world.integration("one")
    asked = [ask(world, system, ann, project) for _ in range(3)]
    row = world.suspend("project:Kingfisher")
    monkeypatch.setattr(ROOM, "_MOST_ROWS", 72)
    for fewer, whole in ((3, True), (4, False)):  # 4 rows, and 3
        monkeypatch.setattr(ROOM, "_BEFORE", fewer)
        before = of(world, row, system).before
        assert before is not None
        assert (before.at, before.permit) == (asked[-1].at, True)
        assert heard(world, row).whole is whole


def test_where_no_system_could_ask_no_answer_is_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ROOM, "_MOST_ROWS", 6)
    project = world.project("Kingfisher")
    system, _ = world.integration("elsewhere", clients=[world.client("BOREAL").id])
    row = world.suspend("project:Kingfisher")
    write(world.store, 9, principal=system.id, resource_id=project.id, permit=False)
    told = heard(world, row)
    assert (told.askers, told.whole) == ((), True)
    # One that could is told of, and that not all was looked at.
    world.integration("tool")
    told = heard(world, row)
    assert [(one.name, one.heard) for one in told.askers] == [("tool", Heard.UNKNOWN)]
    assert not told.whole


def test_of_many_systems_some_are_looked_up_and_it_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page failed on SQLite once there were 167 systems: each takes three parts of 500."""
    project = world.project("Kingfisher")
    one, other = (world.integration(name)[0] for name in ("one", "other"))
    row = world.suspend("project:Kingfisher")
    for system in (one, other):
        write(
            world.store, 1, principal=system.id, resource_id=project.id, permit=False,
            reason="project_paused", as_of=len(world.entries(project.client_id)),
        )  # fmt: skip
    assert heard(world, row).whole
    monkeypatch.setattr(ROOM, "_MOST_WAYS", 1)
    told = heard(world, row)
    assert not told.whole
    # The others are heard of too, where what they asked about is looked up.
    assert {asker.heard for asker in told.askers} == {Heard.CONFIRMED}

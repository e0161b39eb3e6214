"""What a preview tells is what the act does: the same set, counted every way, with its digest."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from govern import clock
from govern.access import asking, suspensions
from govern.access.modes import Mode
from tests.access.tooling import Tool
from tests.factory import OPERATOR, World

if TYPE_CHECKING:
    from govern.access.suspensions import Preview


def seen(world: World, *references: str) -> Preview:
    with world.store.reading() as session:
        targets = [suspensions.target(session, reference) for reference in references]
        return suspensions.preview(session, targets, by=OPERATOR)


def test_the_digest_shown_is_that_of_the_entries_written_also_when_there_are_none(
    world: World,
) -> None:
    project, empty = world.project("Kingfisher"), world.project("Osprey")
    for _ in range(3):
        world.grant(world.subject(), project)
    for code, owner, count in (("Kingfisher", project, 3), ("Osprey", empty, 0)):
        found = seen(world, f"project:{code}")
        row = world.suspend(f"project:{code}", preview_digest=found.digest)
        world.write_particulars()
        (entry,) = world.entries(owner.client_id, "suspension.recorded")
        assert (entry["data"]["count"], found.grants) == (count, count)
        assert entry["data"]["digest"] == found.digest
        with world.store.reading() as session:
            standing = suspensions.reading.progress(session, row.id, by=OPERATOR).standing
        assert standing.digest == found.digest


def test_a_preview_counts_by_client_project_kind_and_country_and_whom_nothing_is_left(
    world: World,
) -> None:
    one = world.project("Kingfisher", client=world.client("ASTER"))
    two = world.project("Puffin", client=world.client("BOREAL"))
    audio = world.dataset(one, "audio")
    world.dataset(one, "video")
    world.dataset(two, "text")
    ann, bob = world.subject("ann"), world.subject("bob", kind="expert")
    world.grant(ann, one)
    world.grant(bob, one, dataset=audio)
    world.grant(bob, two)
    found = seen(world, "client:ASTER")
    assert (found.grants, found.people, found.datasets, found.already_held) == (2, 2, 2, 0)
    assert found.by_client == {"ASTER": 2}
    assert found.by_project == {"Kingfisher": 2}
    assert found.by_kind == {"annotator": 1, "expert": 1}
    assert found.by_country == {"KE": 2}
    assert (found.losing_last_project, [one.name for one in found.losing]) == (1, ["Person ann"])
    assert seen(world, "dataset:audio").datasets == 1
    world.suspend("subject:bob")
    found = seen(world, "client:ASTER", "client:BOREAL")
    assert (found.grants, found.already_held, found.losing_last_project) == (3, 2, 1)
    assert found.by_client == {"ASTER": 2, "BOREAL": 1}


def test_it_counts_the_tokens_that_die_the_requests_refused_and_the_sessions_that_stay(
    world: World,
) -> None:
    project, other = world.project("Kingfisher"), world.project("Osprey")
    audio = world.dataset(project, "audio")
    ann, bob = world.subject("ann"), world.subject("bob")
    world.activate(ann)
    for who, where in ((ann, project), (bob, project), (ann, other)):
        world.grant(who, where)
    tool = Tool.of(world)
    tool.token(ann, project)
    tool.token(ann, other)
    until = clock.utcnow() + timedelta(days=9)
    world.suspend("project:Kingfisher", mode=Mode.UNDER_REVIEW)
    entitlement = world.entitlement("reviewer", "read")
    world.do(
        lambda s: asking.ask(s, bob, project, entitlement, until=until, reason="more", by=OPERATOR)
    )
    (list_of_bob, nobody) = world.people_list(bob), world.people_list(world.subject())
    for reference, tokens, asked in (
        ("project:Kingfisher", 1, 1),
        ("project:Osprey", 1, 0),
        (f"client:{project.client_id}", 1, 1),
        ("dataset:audio", 1, 0),  # a token for the whole project counts on all of it
        ("subject:ann", 2, 0),
        ("organisation:direct", 2, 1),
        (f"people:{list_of_bob.id}", 0, 1),
        (f"people:{nobody.id}", 0, 0),
    ):
        found = seen(world, reference)
        assert (found.tokens, found.requests) == (tokens, asked), reference
    assert audio

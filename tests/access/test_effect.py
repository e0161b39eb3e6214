"""The time to effect of a suspension, as the access log shows it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from govern.access import suspensions
from tests.audit.test_sealing import write
from tests.factory import OPERATOR, World

if TYPE_CHECKING:
    from govern.access.suspensions import Effect, Suspension


def effect(world: World, suspension: Suspension) -> Effect:
    with world.store.reading() as session:
        found = suspensions.reading.find(session, suspension.id, by=OPERATOR)
        return suspensions.effect(session, found)


def test_the_last_permit_and_the_first_refusal_are_those_about_what_is_held(world: World) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    data = world.dataset(project)
    beside = world.project("Osprey", client=client)
    ann = world.subject("P-ann")
    for one in (project, beside):
        world.grant(ann, one)
    held = {}
    for reference in (
        "client:ASTER",
        "project:Kingfisher",
        f"dataset:{data.code}",
        "subject:P-ann",
    ):
        permitted = world.ask(ann, data)
        assert permitted.permit
        held[reference] = row = world.suspend(reference)
        assert effect(world, row) == suspensions.Effect(last_permit_at=permitted.at)
        world.ask(world.subject(), project)  # refused, but for want of a grant
        assert effect(world, row).first_deny_at is None
        denied = world.ask(ann, data)
        world.ask(ann, data)
        assert effect(world, row) == suspensions.Effect(
            last_permit_at=permitted.at, first_deny_at=denied.at
        )
        world.lift(row)
    # What came later, or is beside it, changes nothing.
    last = world.ask(ann, beside).at
    row = world.suspend("project:Kingfisher")
    seen = effect(world, row).last_permit_at
    assert seen is not None
    assert last is not None
    assert seen < last


def test_a_permit_that_had_not_seen_the_opening_counts_whatever_its_clock_says(
    world: World,
) -> None:
    project = world.project("Kingfisher")
    ann = world.subject("P-ann")
    world.grant(ann, project)
    row = world.suspend("project:Kingfisher")
    # Under way as the pause was committed: its instant is later, its snapshot is earlier.
    late = row.recorded_at + timedelta(milliseconds=3)
    about = {"resource_id": project.id, "client_id": project.client_id}
    write(world.store, 1, at=late, as_of=1, **about)
    write(world.store, 1, at=late + timedelta(milliseconds=1), as_of=99, **about)
    assert effect(world, row) == suspensions.Effect(last_permit_at=late)


def test_what_was_asked_after_the_lift_is_no_refusal_of_this_suspension(world: World) -> None:
    project = world.project("Kingfisher")
    ann = world.subject("P-ann")
    world.grant(ann, project)
    row = world.suspend("project:Kingfisher")
    world.lift(row)
    world.suspend("project:Kingfisher")
    assert not world.permits(ann, project)
    assert effect(world, row).first_deny_at is None

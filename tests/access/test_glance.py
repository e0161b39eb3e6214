"""A glance at the open suspensions: of each what measuring it alone tells, asked all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.access import suspensions
from govern.access.modes import Mode
from govern.access.suspensions import reading
from govern.principal import Kind, Principal, RoleHeld
from tests.factory import OPERATOR, SECOND

if TYPE_CHECKING:
    from govern.access.suspension_tables import Suspension
    from govern.identity.subjects import Subject
    from tests.factory import World

PLENTY = 1000


def _told(world: World, by: Principal, *, most: int = PLENTY) -> list[tuple[object, ...]]:
    """Of each open suspension the people, whether there are more, and how far its record is."""
    with world.store.reading() as session:
        found = reading.open_ones(session, by=by)
        reading.glance(session, found, most=most, by=by)
        return [
            (one.suspension.id, one.people, one.at_least, one.progress, one.digest) for one in found
        ]


def _measured(world: World, by: Principal) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    with world.store.reading() as session:
        for one in reading.open_ones(session, by=by):
            reading.measure(session, [one], by=by)
            found.append((one.suspension.id, one.people, False, one.progress, one.digest))
    return found


def _agree(world: World, *callers: Principal) -> None:
    for by in callers:
        assert _told(world, by) == _measured(world, by)


def _release(
    world: World, pause: Suspension, *people: Subject, parts: tuple[str, ...] = ()
) -> None:
    asked = world.do(
        lambda session: suspensions.ask_release(
            session, session.merge(pause), [session.merge(one) for one in people],
            targets=[suspensions.target(session, part) for part in parts], by=OPERATOR,
        )
    )  # fmt: skip
    world.approve(asked, by=SECOND)
    world.write_particulars()


def test_a_glance_tells_of_every_kind_of_scope_what_measuring_it_tells(world: World) -> None:
    """It asks only of kinds of parts and of releases that there are: one at a time comes to be."""
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    places = [world.project(f"P{number}", client=aster) for number in range(2)]
    other = world.project("Other", client=boreal)
    audio = world.dataset(places[0], "audio")
    people = [world.subject(organisation="Northwind" if n % 2 else "direct") for n in range(6)]
    for number, who in enumerate(people):
        world.grant(who, places[number % 2])
        world.grant(who, places[0], dataset=audio) if number > 3 else world.grant(who, other)
    of_aster = Principal(kind=Kind.SUBJECT, id="", roles=(RoleHeld("admin", aster.id),), amr=())
    listed = world.people_list(*people[:3])
    opened = []
    for scope in (
        "client:ASTER", "project:P0", "dataset:audio", "organisation:Northwind",
        f"subject:{people[0].external_id}", f"people:{listed.id}", "client:BOREAL",
    ):  # fmt: skip
        opened.append(world.suspend(scope, mode=Mode.PAUSED))
        _agree(world, OPERATOR, of_aster)  # while its particulars wait
        world.write_particulars()
        _agree(world, OPERATOR, of_aster)
    _release(world, opened[0], people[1], people[2])
    _agree(world, OPERATOR, of_aster)
    _release(world, opened[0], parts=("project:P1", "dataset:audio"))
    _agree(world, OPERATOR, of_aster)
    _release(world, opened[6], people[0])
    _agree(world, OPERATOR, of_aster)
    assert len(_told(world, of_aster)) < len(_told(world, OPERATOR)) == len(opened)
    # Where there are more grants than are counted, it says so.
    over = {row[0]: row[1:3] for row in _told(world, OPERATOR, most=2)}
    assert over[opened[1].id][1] is True

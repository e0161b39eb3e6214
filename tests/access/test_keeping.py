"""What a lift would do is kept while nothing moves, and is never other than what the rule says."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from govern import clock
from govern.access import offboarding, suspensions
from govern.access.grants import Supposing
from govern.access.suspensions import difference, keeping
from govern.identity.subjects import Subject
from tests.factory import OPERATOR

if TYPE_CHECKING:
    from govern.access.suspensions import Suspension
    from tests.factory import World


def told(world: World, suspension: Suspension) -> Any:
    """Counts, digest and the first of those who are held elsewhere, as a page asks for them."""
    lift = Supposing(suspension=suspension.id)
    with world.store.reading() as session:
        standing = suspensions.reading.find(session, suspension.id, by=OPERATOR).standing
        how = suspensions.way(session, lift)
        held = difference.page(
            session, standing, lift, group="held_elsewhere", how=how, by=OPERATOR
        )[0]
        return (
            difference.counts(session, standing, lift, how),
            difference.digest(session, standing, how),
            [(line.grant_id, line.name) for line in held],
        )


def anew(world: World, suspension: Suspension) -> Any:
    keeping._kept.clear()
    return told(world, suspension)


def test_what_is_kept_is_what_the_rule_says_after_whatever_may_change_it(world: World) -> None:
    aster = world.client("ASTER")
    project, other = (world.project(code, client=aster) for code in ("one", "two"))
    people = [world.subject(f"K{number}", organisation="Firm") for number in range(6)]
    given = [world.grant(person, project) for person in people]
    now = clock.utcnow()
    soon = world.grant(people[5], other, until=now + timedelta(days=5))
    row = world.suspend("client:ASTER")
    seen = {str(told(world, row))}

    def moved(step: str, *, more: timedelta = timedelta()) -> None:
        with clock.at(now + more) if more else clock.at(clock.utcnow()):
            kept = told(world, row)
            assert kept == told(world, row) == anew(world, row), step
        assert str(kept) not in seen, step
        seen.add(str(kept))

    world.revoke(given[0])
    moved("a grant is revoked")
    world.suspend("subject:K1")
    moved("a person is suspended")
    over = world.suspend("organisation:Firm")
    moved("their firm is")
    world.lift(over)
    keeping._kept.clear()
    assert str(told(world, row)) in seen
    world.suspend("project:one")
    moved("a project is suspended")
    world.do(
        lambda s: offboarding.offboard(
            s, s.get_one(Subject, people[2].id), number=1, reason="left", by=OPERATOR
        )
    )
    moved("a person leaves")
    assert soon.ends_at is not None
    moved("a window ends", more=timedelta(days=6))


def test_what_is_kept_is_not_asked_again_until_something_moves(world: World) -> None:
    project = world.project()
    person = world.subject()
    grant = world.grant(person, project)
    row = world.suspend(f"project:{project.code}")
    first = told(world, row)[0]
    world.activate(world.subject())
    suspensions.particulars.write(world.store)
    assert told(world, row)[0] is first
    world.revoke(grant)
    assert told(world, row)[0] is not first
    assert told(world, row)[0] is told(world, row)[0]
    people = world.suspend(f"subject:{person.external_id}")
    assert told(world, people)[0] is not told(world, people)[0]

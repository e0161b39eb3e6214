"""What letting people back in would change: every grant in exactly one group, by the rule."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from govern import clock
from govern.access import offboarding, suspensions
from govern.access.grants import Supposing
from govern.access.modes import Mode
from govern.access.suspensions import difference, reading
from tests.factory import OPERATOR, T0, person

if TYPE_CHECKING:
    from govern.access.suspensions import Suspension
    from govern.access.suspensions.difference import Counts
    from tests.factory import World

HOUR = timedelta(hours=1)


def groups(
    world: World, held: Suspension, supposing: Supposing | None = None
) -> tuple[Counts, dict[str, set[str]]]:
    """The counts, and the grants of each group, read page by page."""
    act = supposing or Supposing(suspension=held.id)
    found: dict[str, set[str]] = {}
    with world.store.reading() as session:
        standing = reading.find(session, held.id, by=OPERATOR).standing
        counts = difference.counts(session, standing, act)
        for group in difference.GROUPS:
            after: str | None = ""
            seen: list[str] = []
            while after is not None:
                lines, after, _ = difference.page(
                    session, standing, act, group=group, after=after, limit=2, by=OPERATOR
                )
                seen += [line.grant_id for line in lines]
            assert len(seen) == len(set(seen)) == getattr(counts, group)
            found[group] = set(seen)
    return counts, found


def test_every_grant_that_was_held_is_in_one_group_and_what_was_never_held_in_none(
    world: World,
) -> None:
    with clock.at(T0):
        project, elsewhere = world.project("Kingfisher"), world.project("Cinnabar")
        people = {
            name: world.subject(name)
            for name in ("BACK", "SHORT", "REVOKED", "LEFT", "TWICE", "LATER")
        }
        grant = {
            name: world.grant(
                who,
                project,
                until=T0 + HOUR if name == "SHORT" else None,
                starts=T0 + HOUR if name == "LATER" else None,
            )
            for name, who in people.items()
        }
        ended_before = world.grant(people["BACK"], project)
        world.revoke(ended_before)
        world.grant(people["BACK"], elsewhere)
        held = world.suspend("project:Kingfisher")
    with clock.at(T0 + 2 * HOUR):
        world.revoke(grant["REVOKED"])
        world.do(
            lambda s: offboarding.offboard(s, s.merge(people["LEFT"]), reason="left", by=OPERATOR)
        )
        other = world.suspend("subject:TWICE")
        counts, found = groups(world, held)
        with world.store.reading() as session:
            standing = reading.find(session, held.id, by=OPERATOR).standing
            lines, _, titles = difference.page(
                session, standing, Supposing(suspension=held.id), group="held_elsewhere",
                by=OPERATOR,
            )  # fmt: skip
    assert found == {
        # A window that opened during the pause is neither lost nor in: it stands afterwards.
        "returns": {grant["BACK"].id, grant["LATER"].id},
        "expired": {grant["SHORT"].id},
        "revoked": {grant["REVOKED"].id},
        "offboarded": {grant["LEFT"].id},
        "held_elsewhere": {grant["TWICE"].id},
    }
    assert counts.returns_people == 2
    assert [line.held_by for line in lines] == [other.id]
    assert titles == {other.id: ["Person TWICE"]}


def test_the_returning_group_is_what_the_lift_lets_in(world: World) -> None:
    with clock.at(T0):
        project = world.project()
        people = [world.subject(organisation="Firm" if n % 2 else "direct") for n in range(6)]
        for who in people:
            world.grant(who, project)
        firm = world.suspend("organisation:Firm")
        held = world.suspend("project:Kingfisher")
        counts, found = groups(world, held)
        assert (counts.returns, counts.held_elsewhere) == (3, 3)
        world.do(
            lambda s: suspensions.take_back(
                s, suspensions.find(s, held.id, by=OPERATOR), by=OPERATOR
            )
        )
        assert {who.id for who in people if world.permits(who, project)} == {
            who.id for who in people[::2]
        }
        assert len(found["returns"]) == 3
        assert groups(world, firm)[0].returns == 3


def test_a_stacked_pause_over_the_same_scope_leaves_everyone_held_by_the_other(
    world: World,
) -> None:
    project = world.project()
    for _ in range(3):
        world.grant(world.subject(), project)
    first, second = world.suspend("project:Kingfisher"), world.suspend("project:Kingfisher")
    for held in (first, second):
        counts, _ = groups(world, held)
        assert (counts.returns, counts.held_elsewhere) == (0, 3)


@pytest.mark.parametrize(
    ("mode", "returns"), [(Mode.READ_ONLY, 2), (Mode.UNDER_REVIEW, 2), (Mode.PAUSED, 0)]
)
def test_a_weaker_mode_returns_what_it_stops_no_longer(
    world: World, mode: Mode, returns: int
) -> None:
    project = world.project()
    for _ in range(2):
        world.grant(world.subject(), project)
    held = world.suspend("project:Kingfisher")
    counts, _ = groups(world, held, Supposing(suspension=held.id, mode=mode))
    assert counts.returns == returns


def test_a_release_and_a_narrower_scope_concern_only_whom_and_what_they_name(
    world: World,
) -> None:
    client = world.client()
    one, two = world.project("Kingfisher", client=client), world.project("Heron", client=client)
    out, stays = world.subject(), world.subject()
    grants = {
        (who.id, project.id): world.grant(who, project).id
        for who in (out, stays)
        for project in (one, two)
    }
    held = world.suspend("project:Kingfisher", "project:Heron")
    admin = person(world.staff())
    release = world.do(
        lambda s: suspensions.ask_release(
            s, suspensions.find(s, held.id, by=admin), [s.merge(out)], by=admin
        )
    )
    counts, found = groups(world, held, suspensions.supposing_of(release))
    assert found["returns"] == {grants[out.id, one.id], grants[out.id, two.id]}
    assert counts.held_elsewhere == 0
    narrow = world.do(
        lambda s: suspensions.ask_narrow(
            s, suspensions.find(s, held.id, by=admin), [suspensions.target(s, "project:Heron")],
            by=admin,
        )
    )  # fmt: skip
    counts, found = groups(world, held, suspensions.supposing_of(narrow))
    assert found["returns"] == {grants[out.id, two.id], grants[stays.id, two.id]}
    assert counts.held_elsewhere == 0


def test_whom_a_move_would_let_out_is_shown_to_the_second_person(world: World) -> None:
    project = world.project()
    world.subject(organisation="Elsewhere")
    mover = world.subject(organisation="Firm")
    grant = world.grant(mover, project)
    world.suspend("organisation:Firm")
    with world.store.reading() as session:
        counts = difference.counts(session, None, Supposing(moved=mover.id))
        lines, _, _ = difference.page(
            session, None, Supposing(moved=mover.id), group="returns", by=OPERATOR
        )
    assert counts.returns == 1
    assert [line.grant_id for line in lines] == [grant.id]
    world.suspend("project:Kingfisher")
    with world.store.reading() as session:
        counts = difference.counts(session, None, Supposing(moved=mover.id))
    assert (counts.returns, counts.held_elsewhere) == (0, 1)


def test_the_digest_names_the_list_and_moves_with_it(world: World) -> None:
    project = world.project()
    first, _ = (world.grant(world.subject(), project) for _ in range(2))
    held = world.suspend("project:Kingfisher")

    def digest() -> str:
        with world.store.reading() as session:
            found = reading.find(session, held.id, by=OPERATOR).standing.suspension
            return suspensions.returning_digest(session, found)

    before = digest()
    assert digest() == before
    world.revoke(first)
    assert digest() != before

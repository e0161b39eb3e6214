"""What a lift would do is told by what changed since the pause: it is what the rule says of all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from govern import clock, errors
from govern.access import clients, ending, offboarding, suspensions
from govern.access.grants import Supposing
from govern.access.modes import Mode
from govern.access.suspension_tables import Particulars
from govern.access.suspensions import difference, meanwhile, tallying
from tests.factory import OPERATOR, SECOND, T0

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.access.clients import Project
    from govern.access.grants import Grant
    from govern.access.requests import Request
    from govern.access.suspensions import Suspension
    from govern.identity.subjects import Subject
    from tests.factory import World

HOUR = timedelta(hours=1)


@dataclass
class Cast:
    """ASTER's two projects, and six people of a firm with a grant each for the first."""

    one: Project
    two: Project
    people: list[Subject]
    grants: list[Grant]


@pytest.fixture
def cast(world: World) -> Cast:
    with clock.at(T0):
        aster = world.client("ASTER")
        one, two = (world.project(code, client=aster) for code in ("one", "two"))
        people = [world.subject(f"K{number}", organisation="Firm") for number in range(6)]
        given = [world.grant(who, one, until=T0 + 100 * HOUR) for who in people]
        world.grant(people[5], two, until=T0 + 5 * HOUR)
        world.grant(people[4], two, starts=T0 + 5 * HOUR, until=T0 + 100 * HOUR)
    return Cast(one, two, people, given)


def paused(world: World, *scope: str, **more: Any) -> Suspension:
    with clock.at(T0 + HOUR):
        row = world.suspend(*scope, **more)
        world.write_particulars()
    return row


def told(world: World, row: Suspension) -> tuple[bool, Any]:
    """Whether few changed; and counts, pages and people held, each held against all asked anew."""
    lift = Supposing(suspension=row.id)
    with world.store.reading() as session:
        found = suspensions.reading.progress(session, row.id, by=OPERATOR)
        standing = found.standing
        how = suspensions.way(session, lift)
        over = [part.target for part in standing.parts]
        few = meanwhile.since(session, standing.suspension, over, how.others) is not None
        counts = difference.counts(session, standing, lift, how)
        assert counts == difference._counted(session, standing, lift, how)
        digest = difference.digest(session, standing, how)
        assert digest == suspensions.returning_digest(session, standing.suspension)
        for group in difference.GROUPS:
            lines, _, _ = difference.page(
                session, standing, lift, group=group, how=how, by=OPERATOR
            )
            assert len(lines) == getattr(counts, group), group
        people = standing.people
    with world.store.reading() as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(meanwhile, "since", lambda *_: None)
        again = suspensions.reading.progress(session, row.id, by=OPERATOR).standing
        assert again.people == people
    return few, (counts, digest)


def left(world: World, who: Subject) -> None:
    world.do(lambda s: offboarding.offboard(s, s.merge(who), reason="left", by=OPERATOR))


def released(world: World, row: Suspension, who: Subject) -> None:
    asked = world.do(
        lambda s: suspensions.ask_release(s, s.merge(row), [s.merge(who)], by=OPERATOR)
    )
    world.approve(asked, by=SECOND)


def narrowed(world: World, row: Suspension) -> None:
    world.narrow(row, "project:two")


@pytest.mark.parametrize("scope", ["client:ASTER", "project:one"])
def test_what_changed_for_some_people_is_asked_of_them_alone(
    world: World, cast: Cast, scope: str
) -> None:
    row = paused(world, scope)
    few, before = told(world, row)
    assert few
    seen = {str(before)}

    def moved(step: str) -> None:
        few, now = told(world, row)
        assert few, step
        assert str(now) not in seen, step
        seen.add(str(now))

    with clock.at(T0 + 2 * HOUR):
        world.revoke(cast.grants[0])
        moved("a grant is revoked")
        left(world, cast.people[1])
        moved("somebody left")
        other = world.suspend("subject:K2")
        moved("something else holds one")
        released(world, row, cast.people[3])
        moved("one is let out")
    with clock.at(T0 + 6 * HOUR):
        few, now = told(world, row)
        assert few
        # Over there one window opened and another ended.
        assert (str(now) in seen) is (scope == "project:one")
        seen.add(str(now))
        world.lift(other)
        told(world, row)
    with clock.at(T0 + 101 * HOUR):
        moved("all windows ended")


@pytest.mark.parametrize(
    "change",
    [
        lambda world, _: world.suspend("project:two"),
        narrowed,
        lambda world, _: world.do(
            lambda s: ending.end(s, clients.project(s, "two"), number=1, reason="over", by=OPERATOR)
        ),
    ],
    ids=["another over a part", "a part taken out", "a part ended"],
)
def test_what_changed_for_more_is_asked_of_all(
    world: World, cast: Cast, change: Callable[[World, Suspension], None]
) -> None:
    row = paused(world, "project:one", "project:two")
    with clock.at(T0 + 6 * HOUR):
        few, before = told(world, row)
        assert few
        change(world, row)
        few, now = told(world, row)
        assert not few
        assert now != before


def test_who_is_held_by_their_firm_too_is_asked_about(world: World, cast: Cast) -> None:
    row = paused(world, "client:ASTER")
    with clock.at(T0 + 2 * HOUR):
        world.suspend("organisation:Firm")
        few, (counts, _) = told(world, row)
    assert few
    assert (counts.returns, counts.held_elsewhere) == (0, 7)


def test_of_more_people_than_can_be_asked_about_all_are(
    world: World, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = paused(world, "client:ASTER")
    with clock.at(T0 + 2 * HOUR):
        for given in cast.grants[:3]:
            world.revoke(given)
        assert told(world, row)[0]
        monkeypatch.setattr(meanwhile, "MOST", 2)
        assert not told(world, row)[0]


def test_what_stopped_nothing_at_first_is_asked_of_all(world: World, cast: Cast) -> None:
    row = paused(world, "client:ASTER", mode=Mode.UNDER_REVIEW)
    with clock.at(T0 + 2 * HOUR):
        world.do(
            lambda s: suspensions.change_mode(
                s, suspensions.find(s, row.id, by=OPERATOR), Mode.PAUSED, by=OPERATOR
            )
        )
        world.write_particulars()
        few, (counts, _) = told(world, row)
    assert not few
    assert counts.returns == 7


def test_a_person_with_several_grants_is_counted_once_and_for_good(
    world: World, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallying, "PART", 2)
    row = paused(world, "client:ASTER")
    with clock.at(T0 + 2 * HOUR):
        world.revoke(cast.grants[0])
        assert tallying.tally(world.store) == 0
    with world.store.reading() as session:
        (task,) = session.execute(
            select(Particulars).where(Particulars.suspension_id == row.id)
        ).scalars()
        assert (task.written, task.people) == (7, 6)


def test_people_are_counted_along_their_own_entries_also_where_nothing_is_known_of_the_table(
    world: World,
) -> None:
    """SQLite went through the log for each of its entries: a minute for 10,000 grants."""
    if world.store.is_postgresql:
        return  # it has statistics
    with world.store.reading() as session:
        asked = tallying._firsts().compile(session.connection())
        values = [(asked.params | dict.fromkeys(("begin", "end", "opened"), 0))[name]
                  for name in asked.positiontup or ()]  # fmt: skip
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", tuple(values))
        told = [row.detail for row in plan]
    assert sum("ix_log_entry_subject" in line for line in told) == 1


def test_who_looked_before_the_people_were_counted_may_ask_for_what_they_saw(
    world: World, cast: Cast
) -> None:
    with clock.at(T0 + HOUR):
        row = world.suspend("client:ASTER")
        suspensions.particulars.write(world.store)

    def seen() -> str:
        with world.store.reading() as session:
            return suspensions.returning_digest(session, session.merge(row, load=False))

    with clock.at(T0 + 2 * HOUR):
        before = seen()
        tallying.tally(world.store)
        assert seen() != before
        with pytest.raises(errors.Stale):
            ask(world, row, "0" * 64)
        assert ask(world, row, before).number == 7
        left(world, cast.people[0])
        with pytest.raises(errors.Stale):
            ask(world, row, before)


def ask(world: World, row: Suspension, digest: str) -> Request:
    return world.do(
        lambda s: suspensions.ask_lift(s, s.merge(row), number=7, digest=digest, by=OPERATOR)
    )

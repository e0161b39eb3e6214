"""Who could reach something at any moment of a range: to the microsecond, and as the log tells."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from govern import clock, errors
from govern.access import exposure, offboarding, requests, suspensions
from govern.access.demand_table import Factor
from govern.access.exposure import candidates
from govern.access.modes import Mode
from govern.access.suspension_tables import SuspensionMode, SuspensionTarget
from govern.audit.log import Entry
from govern.audit.record import RECORDED
from govern.db import new_id
from govern.identity import sessions, subjects
from govern.identity.passkeys import Passkey
from tests.access.test_properties import ASKED, HISTORIES, History
from tests.factory import OPERATOR, PASSWORD, SECOND, T0, World, person
from tests.support.replay import exposures

if TYPE_CHECKING:
    from datetime import datetime

HOUR = timedelta(hours=1)
TICK = clock.TICK


class Scene:
    """A project with one person's grant since T0, and the hours in which things happen to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        with clock.at(T0):
            self.client = world.client()
            self.project = world.project(client=self.client)
            self.dataset = world.dataset(self.project)
            self.person = world.subject("P1", organisation="Many Hands")
            self.grant = world.grant(self.person, self.project)

    def at(self, hours: float, act: Any, *given: Any, **more: Any) -> Any:
        with clock.at(T0 + hours * HOUR):
            return act(*given, **more)

    def told(
        self, first: float = 1, last: float = 100, *, kind: str = "project", **more: Any
    ) -> dict[str, list[tuple[datetime, datetime]]]:
        code = {"client": self.client, "project": self.project, "dataset": self.dataset}[kind].code
        with clock.at(T0 + 1000 * HOUR), self.world.store.reading() as session:
            found = exposure.reach(
                session, kind, code, begin=T0 + first * HOUR, end=T0 + last * HOUR,
                **{"by": OPERATOR} | more,
            )  # fmt: skip
        return {each.grant_id: list(each.intervals) for each in found.rows}

    def number(self, first: float = 1, last: float = 100) -> int:
        with clock.at(T0 + 1000 * HOUR), self.world.store.reading() as session:
            return exposure.count(
                session, "project", "Kingfisher", begin=T0 + first * HOUR, end=T0 + last * HOUR,
                by=OPERATOR,
            )  # fmt: skip

    def hours(self, *given: Any, **more: Any) -> list[tuple[float, float]]:
        """The first grant's intervals, in hours since T0."""
        return [
            ((a - T0) / HOUR, (b - T0) / HOUR)
            for a, b in self.told(*given, **more).get(self.grant.id, [])
        ]


def test_what_a_pause_took_is_left_out_and_nothing_else(world: World) -> None:
    scene = Scene(world)
    assert scene.hours() == [(1, 100)]
    paused = scene.at(10, world.suspend, "project:Kingfisher")
    assert scene.hours() == [(1, 10)]
    assert scene.hours(10) == scene.hours(11, 12) == []  # half-open: its first instant is its own
    assert scene.hours(5, 10) == [(5, 10)]
    scene.at(20, world.lift, paused)
    (first, (back, end)) = scene.hours()
    assert first == (1, 10)
    assert 20 <= back < 20.001
    assert end == 100
    assert scene.hours(11, 19) == []  # a range inside the pause
    assert scene.hours(action="annotate") == [first, (back, end)]


def test_a_gap_between_two_pauses_is_told_to_the_microsecond_and_none_where_they_meet(
    world: World,
) -> None:
    scene = Scene(world)
    one = scene.at(10, world.suspend, "project:Kingfisher")
    scene.at(20, world.lift, one)
    two = scene.at(30, world.suspend, "project:Kingfisher")

    def meeting(gap: timedelta) -> Any:
        """As no writer could: the second begins so long after the first has ended."""
        ended = T0 + 20 * HOUR
        return lambda s: [
            *(
                s.connection().execute(
                    table.__table__.update()
                    .where(table.__table__.c[key] == row.id)
                    .values({name: when})
                )
                for table, key in (
                    (SuspensionTarget, "suspension_id"),
                    (SuspensionMode, "suspension_id"),
                )
                for row, name, when in ((one, "ended_at", ended), (two, "recorded_at", ended + gap))
            ),
        ]

    world.do(meeting(timedelta(0)))
    assert scene.hours() == [(1, 10)]
    world.do(meeting(TICK))
    at = T0 + 20 * HOUR
    assert scene.told()[scene.grant.id][1:] == [(at, at + TICK)]
    with world.store.reading() as session, clock.at(T0 + 99 * HOUR):
        assert exposure.reach(
            session, "project", "Kingfisher", begin=at, end=at + TICK, by=OPERATOR
        ).rows[0].intervals == ((at, at + TICK),)


def test_releases_modes_moves_demands_lapses_and_leaving_each_turn_it_at_their_instant(
    world: World,
) -> None:
    scene = Scene(world)
    scene.at(1, world.subject, organisation="direct")
    firm = scene.at(10, world.suspend, "organisation:Many Hands", mode=Mode.READ_ONLY)
    assert scene.hours() == [(1, 100)]
    assert scene.hours(action="annotate") == [(1, 10)]
    scene.at(12, world.do, lambda s: suspensions.change_mode(
        s, s.get_one(suspensions.Suspension, firm.id), Mode.PAUSED, by=OPERATOR
    ))  # fmt: skip
    assert scene.hours() == [(1, 12)]
    moved = scene.at(14, world.do, lambda s: suspensions.move(
        s, subjects.find(s, "P1"), subjects.organisation_named(s, "direct"), by=OPERATOR
    ))  # fmt: skip
    scene.at(15, world.do, lambda s: requests.approve(s, moved.id, by=SECOND))
    assert rounded(scene.hours()) == [(1, 12), (15, 100)]
    whole = scene.at(20, world.suspend, "client:ASTER")
    out = scene.at(21, world.do, lambda s: suspensions.ask_release(
        s, s.get_one(suspensions.Suspension, whole.id),
        targets=[suspensions.target(s, "subject:P1")], by=OPERATOR,
    ))  # fmt: skip
    scene.at(22, world.approve, out, by=SECOND)
    assert rounded(scene.hours()) == [(1, 12), (15, 20), (22, 100)]
    scene.at(30, world.demand, "project:Kingfisher", starts=T0 + 32 * HOUR)
    scene.at(40, world.enrol, scene.person)
    assert rounded(scene.hours(22.5)) == [(22.5, 32), (40, 100)]
    scene.at(50, world.do, lambda s: offboarding.offboard(
        s, subjects.find(s, "P1"), reason="left", by=OPERATOR
    ))  # fmt: skip
    assert rounded(scene.hours(22.5)) == [(22.5, 32), (40, 50)]
    assert rounded(scene.hours(22.5, kind="client")) == [(22.5, 32), (40, 50)]
    assert rounded(scene.hours(22.5, kind="dataset")) == [(22.5, 32), (40, 50)]


def test_who_was_released_has_the_times_of_the_others_and_those_of_the_release(
    world: World,
) -> None:
    scene = Scene(world)
    out, gone = (scene.at(0, world.subject, code) for code in ("P2", "P3"))
    theirs, ended = (scene.at(0, world.grant, each, scene.project) for each in (out, gone))
    scene.at(15, world.do, lambda s: offboarding.offboard(
        s, subjects.find(s, "P3"), reason="left", by=OPERATOR
    ))  # fmt: skip
    whole = scene.at(20, world.suspend, "client:ASTER")
    asked = scene.at(21, world.do, lambda s: suspensions.ask_release(
        s, s.get_one(suspensions.Suspension, whole.id),
        targets=[suspensions.target(s, "subject:P2")], by=OPERATOR,
    ))  # fmt: skip
    scene.at(22, world.approve, asked, by=SECOND)
    one = scene.at(30, world.suspend, "project:Kingfisher")
    person_too = scene.at(35, world.suspend, "subject:P2")
    scene.at(40, world.lift, one)
    scene.at(45, world.lift, person_too)
    scene.at(60, world.lift, whole)
    for kind in ("client", "project", "dataset"):
        told = {
            grant_id: rounded([((a - T0) / HOUR, (b - T0) / HOUR) for a, b in several])
            for grant_id, several in scene.told(kind=kind).items()
        }
        assert told == {
            scene.grant.id: [(1, 20), (60, 100)],
            theirs.id: [(1, 20), (22, 30), (45, 100)],
            ended.id: [(1, 15)],
        }, kind
    for first, last, number in ((1, 100, 3), (16, 100, 2), (23, 50, 1), (31, 40, 0)):
        assert len(scene.told(first, last)) == scene.number(first, last) == number


def test_a_passkey_whose_device_did_not_recognise_its_owner_is_not_like_one_whose_did(
    world: World,
) -> None:
    """Whoever had any passkey was held for alike, so that the answer of one was that of all."""
    scene = Scene(world)
    other = scene.at(0, world.subject, "P2")
    second = scene.at(0, world.grant, other, scene.project)
    for person_id, recognised in ((scene.person.id, True), (other.id, False)):
        row = {
            "id": new_id("pky"), "subject_id": person_id, "credential_id": person_id.encode(),
            "public_key": b"", "name": "key", "backed_up": False, "recognised": recognised,
            "recorded_at": T0,
        }  # fmt: skip
        world.do(lambda s: s.execute(insert(Passkey).values(row), execution_options=RECORDED))  # noqa: B023 - run at once
    scene.at(30, world.demand, "project:Kingfisher", Factor.PHISHING_RESISTANT)
    assert scene.hours() == [(1, 100)]
    assert set(scene.told(31, 100)) == {scene.grant.id}
    assert scene.number(31, 100) == 1
    assert scene.number() == 2
    assert rounded([((a - T0) / HOUR, (b - T0) / HOUR) for a, b in scene.told()[second.id]]) == [
        (1, 30)
    ]


def test_a_review_lets_in_for_twelve_hours_after_a_second_factor(world: World) -> None:
    scene = Scene(world)
    scene.at(10, world.suspend, "project:Kingfisher", mode=Mode.UNDER_REVIEW)
    with clock.at(T0 + 20 * HOUR):
        world.activate(scene.person)
    with clock.at(T0 + 21 * HOUR):
        half = sessions.begin(world.store, scene.person.email, PASSWORD)
        world.do(lambda s: sessions.show_factor(s, half, world.code(scene.person)))
    assert rounded(scene.hours()) == [(1, 10), (21, 33)]
    assert scene.hours(action="log_hours") == [(1, 100)]


def rounded(found: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without the microseconds by which entries of one act differ."""
    return [(round(a, 3), round(b, 3)) for a, b in found]


def test_only_what_had_been_recorded_counts_and_each_grant_is_clipped_to_its_window(
    world: World,
) -> None:
    scene = Scene(world)
    # Recorded at 10 with a window from 2 to 50, and revoked at 40.
    other = scene.at(10, world.grant, world.subject("P2"), scene.project,
                     starts=T0 + 2 * HOUR, until=T0 + 50 * HOUR)  # fmt: skip
    scene.at(40, world.revoke, other)
    ((first, last),) = scene.told()[other.id]
    assert (first, last) == (T0 + 10 * HOUR, T0 + 40 * HOUR)
    assert set(scene.told(41)) == set(scene.told(1, 10)) == {scene.grant.id}
    # Pages by the grant's id give the same, one at a time.
    both = sorted(scene.told())
    assert list(scene.told(limit=1)) == both[:1]
    assert list(scene.told(after=both[0])) == both[1:]
    scoped = person(scene.at(1, world.staff, "auditor", client=scene.client), "auditor",
                    scene.client.id)  # fmt: skip
    assert sorted(scene.told(by=scoped)) == both
    stranger = scene.at(1, world.client, "BOREAL")
    foreign = person(scene.at(1, world.staff, "auditor", client=stranger), "auditor", stranger.id)
    with pytest.raises(errors.Unknown):
        scene.told(by=foreign)


def test_a_page_of_a_range_ends_where_it_looked_at_enough_and_goes_on_there(world: World) -> None:
    scene = Scene(world)
    people = [scene.at(1, world.subject) for _ in range(4)]
    made = [
        scene.at(1, world.grant, who, scene.project, starts=T0 + hour * HOUR)
        for who, hour in zip(people, (1, 50, 50, 2), strict=True)
    ]
    pages, after = [], ""
    while after is not None:
        with world.store.reading() as session, clock.at(T0 + 99 * HOUR):
            found = exposure.reach(
                session, "project", "Kingfisher", begin=T0, end=T0 + 9 * HOUR, after=after,
                limit=2, looked_at=2, by=OPERATOR,
            )  # fmt: skip
        pages.append([each.grant_id for each in found.rows])
        after = found.after
    assert pages == [[scene.grant.id, made[0].id], [], [made[3].id]]


def test_a_range_ends_at_the_latest_now(world: World) -> None:
    Scene(world)
    with world.store.reading() as session, clock.at(T0 + 5 * HOUR):
        (found,) = exposure.reach(
            session, "project", "Kingfisher", begin=T0, end=T0 + 99 * HOUR, by=OPERATOR
        ).rows
        assert found.intervals[0][1] == T0 + 5 * HOUR
        for begin, end in ((5, 5), (3, 2), (6, 7)):
            with pytest.raises(errors.Invalid):
                exposure.reach(
                    session, "project", "Kingfisher", begin=T0 + begin * HOUR,
                    end=T0 + end * HOUR, by=OPERATOR,
                )  # fmt: skip


def agree(history: History, first: int, last: int) -> int:
    """Every exposure of the history is what a replay of its entries tells; how many were asked."""
    begin, end = history.past[first][0], history.past[last][0] + timedelta(seconds=7)
    rows = history.rows
    logs = ["house", *(rows[name].id for name in {*history.model.client_of.values()})]
    asked = [
        (action, kind, name)
        for kind, name in history.scopes if kind in {"client", "project", "dataset"}
        for action in ASKED
    ]  # fmt: skip
    with clock.at(history.now + HOUR), history.world.store.reading() as session:
        found = select(Entry.leaf).where(Entry.log_id.in_(logs))
        entries = [json.loads(leaf) for leaf in session.execute(found).scalars()]
        expected = exposures(
            entries, history.replay.lists, [(a, k, rows[n].id) for a, k, n in asked],
            begin=begin, end=end,
        )  # fmt: skip
        for action, kind, name in asked:
            told = exposure.reach(
                session, kind, name, action=action, begin=begin, end=end, by=OPERATOR
            ).rows
            assert {each.grant_id: list(each.intervals) for each in told} == expected[
                action, kind, rows[name].id
            ], (action, kind, name)
            number = exposure.count(
                session, kind, name, action=action, begin=begin, end=end, by=OPERATOR
            )
            assert number == len(told)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(candidates, "CHUNK", 3)
                pages = [*exposure.every(
                    session, kind, name, action=action, begin=begin, end=end, by=OPERATOR
                )]  # fmt: skip
            assert [one for page in pages for one in page] == told
    return len(asked)


@settings(
    max_examples=2,  # `bench who` runs 200
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=HISTORIES, then=st.integers(0, 30))
def test_every_range_is_told_as_a_replay_of_the_log_tells_it(
    world: World, acts: list[tuple[str, int, int, int]], then: int
) -> None:
    history = History(world, checked=False)
    history.live(acts)
    agree(history, 0, len(history.past) - 1)
    agree(history, then % len(history.past), len(history.past) - 1)

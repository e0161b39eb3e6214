"""Timelines: bars, bands and gaps say what the log says of the same."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from govern import clock, errors
from govern.access import timeline
from govern.access.modes import Mode
from govern.access.suspensions import ask_release
from tests.factory import OPERATOR, SECOND, person

if TYPE_CHECKING:
    from govern.access.timeline import Timeline
    from tests.factory import World


def asked(world: World, kind: str, code: str, **more: Any) -> Timeline:
    begin = clock.utcnow() - timedelta(days=1)
    with world.store.reading() as session:
        return timeline.of(
            session, kind, code, begin=more.pop("begin", begin),
            end=clock.utcnow() + timedelta(hours=1), by=more.pop("by", OPERATOR), **more,
        )  # fmt: skip


def test_a_pause_is_a_band_and_a_release_a_gap_in_it_and_the_bar_says_what_the_rule_says(
    world: World,
) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    ann, bob = world.subject("P-ann"), world.subject("P-bob")
    for each in (ann, bob):
        world.grant(each, project)
    review = world.suspend("client:ASTER", mode=Mode.UNDER_REVIEW)
    paused = world.suspend("project:Kingfisher")
    request = world.do(
        lambda s: ask_release(
            s, s.get_one(type(paused), paused.id), [s.get_one(type(ann), ann.id)],
            reason="cleared", by=OPERATOR,
        )
    )  # fmt: skip
    world.approve(request, by=SECOND)
    found = asked(world, "project", "Kingfisher")
    assert (found.after, found.more, found.whole) == (None, 0, True)
    bars = {bar.grant.external_id: bar for bar in found.bars}
    looks = {
        name: [(b.suspension_id, b.mode, b.gap) for b in bar.bands] for name, bar in bars.items()
    }
    held = [(review.id, Mode.UNDER_REVIEW, False), (paused.id, Mode.PAUSED, False)]
    assert looks["P-bob"] == held
    assert looks["P-ann"] == [*held, (paused.id, Mode.PAUSED, True)]
    stop, gap = bars["P-ann"].bands[1:]
    assert stop.begin == paused.recorded_at
    assert stop.end == gap.begin
    # What the bands show and what the rule permitted part at the same instants.
    for bar in found.bars:
        for first, last in bar.grant.intervals:
            assert not any(
                band.mode is Mode.PAUSED and not band.gap
                and band.begin < last and first < band.end
                for band in bar.bands
            )  # fmt: skip
        assert bar.grant.intervals[0][0] == bar.begin
    # The same of a person, by their id.
    (mine,) = asked(world, "subject", bob.id).bars
    assert (mine.grant.grant_id, mine.begin) == (bars["P-bob"].grant.grant_id, bars["P-bob"].begin)
    assert [(b.suspension_id, b.mode, b.gap) for b in mine.bands] == held


def test_a_large_set_is_told_in_pages_with_the_number_that_is_not_shown(world: World) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    world.crowd(project, client, 7)
    seen: list[str] = []
    after, left = "", []
    while True:
        page = asked(world, "client", "ASTER", limit=3, after=after)
        seen += [bar.grant.external_id for bar in page.bars]
        left.append(page.more)
        if page.after is None:
            break
        after = page.after
    assert left == [4, 1, 0]
    assert len(seen) == len(set(seen)) == 7


def test_who_reads_one_client_is_told_no_others_grants_and_no_suspension_of_people(
    world: World,
) -> None:
    own, other = world.client("ASTER"), world.client("BOREAL")
    ann = world.subject("P-ann")
    for code, client in (("Kingfisher", own), ("Cinnabar", other)):
        world.grant(ann, world.project(code, client=client))
    world.suspend("subject:P-ann")
    auditor = person(world.subject(), "auditor", own.id)
    (bar,) = asked(world, "subject", ann.id, by=auditor).bars
    assert bar.grant.project == "Kingfisher"
    assert bar.bands == ()
    assert bar.grant.intervals[-1][1] < bar.end  # it did not permit, and that is told
    assert len(asked(world, "subject", ann.id).bars) == 2
    with pytest.raises(errors.Unknown):
        asked(world, "project", "Cinnabar", by=auditor)
    with pytest.raises(errors.Forbidden):
        asked(world, "subject", ann.id, by=person(ann, "approver"))
    with pytest.raises(errors.Invalid):
        asked(world, "subject", ann.id, begin=clock.utcnow() + timedelta(days=1))

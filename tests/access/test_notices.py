"""Notices: versions that never change, for those whom a suspension affects."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from govern import clock, errors
from govern.access.suspension_tables import NoticeAcknowledgement
from govern.access.suspensions import notices
from govern.access.suspensions.notices import Words
from tests.factory import OPERATOR, T0, person, together

if TYPE_CHECKING:
    from govern.access.suspensions import Suspension
    from tests.factory import World

START = T0 + timedelta(days=400)
HOUR = timedelta(hours=1)


def post(world: World, row: Suspension, known: str = "", **more: object) -> None:
    seen, by = more.pop("seen", None), more.pop("by", OPERATOR)
    words = Words(known=known, **more)
    world.do(lambda s: notices.post(s, s.merge(row), words, seen=seen, by=by))


def told(world: World, row: Suspension) -> list[str]:
    with world.store.reading() as session:
        return [one.known for one in notices.versions(session, [row.id])[row.id]]


def test_the_note_of_an_opening_is_the_first_version_and_each_has_its_entry(world: World) -> None:
    client = world.client()
    world.project(client=client)
    row = world.suspend("client:ASTER", note="Please stop.")
    post(world, row, "We are checking.", contact="Dana", next_update_by=clock.utcnow() + HOUR)
    assert told(world, row) == ["We are checking.", "Please stop."]
    first, second = world.entries(client.id, "suspension.notice_posted")
    assert (first["data"]["number"], second["data"]["number"]) == (1, 2)
    assert first["commit"].keys() == {"known", "actor"}
    assert second["commit"].keys() == {"known", "contact", "actor"}
    assert "next_update_by" in second["data"]
    assert "checking" not in str(second)
    opened = world.entries(client.id, "suspension.opened")
    assert "note" not in opened[0]["commit"]
    silent = world.suspend("client:ASTER", note=" \n ")
    assert told(world, silent) == []


def test_nothing_is_posted_over_what_one_has_not_seen_nor_about_what_is_over(world: World) -> None:
    world.project()
    row = world.suspend("project:Kingfisher")
    for wrong, error in (
        ({"known": " "}, errors.Invalid),
        ({"known": "x\x07"}, errors.Invalid),
        ({"known": "x", "contact": "a\nb"}, errors.Invalid),
        ({"known": "x", "contact": "c" * 201}, errors.Invalid),
        ({"known": "x", "next_update_by": clock.utcnow() - HOUR}, errors.WindowInvalid),
        ({"known": "x", "seen": 1}, errors.Stale),
    ):
        with pytest.raises(error):
            post(world, row, **wrong)
    post(world, row, not_known="How long it takes.", seen=0)
    world.lift(row)
    with pytest.raises(errors.AlreadyEnded):
        post(world, row, "Over.")
    assert told(world, row) == [""]


def test_two_who_post_at_once_leave_two_versions_unless_they_had_looked(world: World) -> None:
    world.project()
    row = world.suspend("project:Kingfisher")
    works = [
        lambda s, words=words: notices.post(s, s.merge(row), Words(known=words), by=OPERATOR)
        for words in ("one", "two")
    ]
    results = together(world.store, *works)
    assert sorted(result.number for result in results) == [1, 2]
    works = [
        lambda s, words=words: notices.post(
            s, s.merge(row), Words(known=words), seen=2, by=OPERATOR
        )
        for words in ("three", "four")
    ]
    results = together(world.store, *works)
    assert sorted(isinstance(result, errors.Stale) for result in results) == [False, True]


def test_who_is_affected_now_or_was_at_the_opening_acknowledges_and_nobody_else(
    world: World,
) -> None:
    """One released since may still read what was said; one who came after the lift may not."""
    held, released, late, stranger = (world.subject() for _ in range(4))
    kingfisher, osprey = world.project("Kingfisher"), world.project("Osprey")
    with clock.at(START):
        world.grant(held, kingfisher)
        world.grant(released, kingfisher)
        world.grant(stranger, osprey)
        row = world.suspend("project:Kingfisher", note="Stop.")
        world.write_particulars()
    with clock.at(START + HOUR):
        world.lift(row)
        world.grant(late, kingfisher)
        with world.store.reading() as session:
            (notice,) = notices.versions(session, [row.id])[row.id]
        for who in (held, released):
            world.do(lambda s, who=who: notices.acknowledge(s, notice.id, by=person(who)))
        for who in (late, stranger):
            with pytest.raises(errors.Unknown):
                world.do(lambda s, who=who: notices.acknowledge(s, notice.id, by=person(who)))
        with pytest.raises(errors.Unknown):
            world.do(lambda s: notices.acknowledge(s, notice.id, by=OPERATOR))
        with pytest.raises(errors.Unknown):
            world.do(lambda s: notices.acknowledge(s, "not_0", by=person(held)))


def test_a_double_click_is_one_acknowledgement(world: World) -> None:
    who, project = world.subject(), world.project()
    world.grant(who, project)
    row = world.suspend("project:Kingfisher", note="Stop.")
    with world.store.reading() as session:
        (notice,) = notices.versions(session, [row.id])[row.id]
    work = [lambda s: notices.acknowledge(s, notice.id, by=person(who))] * 2
    assert together(world.store, *work) == [None, None]
    with world.store.reading() as session:
        told = notices.versions(session, [row.id], counted=True)
        assert told[row.id][0].readers == 1
        assert session.get(NoticeAcknowledgement, (notice.id, who.id))
    assert len(world.entries(project.client_id, "notice.acknowledged")) == 1


def test_an_admin_of_one_client_posts_for_that_alone(world: World) -> None:
    mine, theirs = world.client("MINE"), world.client("THEIRS")
    row = world.suspend("client:MINE", "client:THEIRS")
    colleague = person(world.staff(client=mine), client=mine.id)
    with pytest.raises(errors.Unknown):
        post(world, row, "x", by=colleague)
    own = world.suspend("client:MINE")
    post(world, own, "x", by=colleague)
    assert (told(world, row), told(world, own)) == ([], ["x"])
    assert world.entries(theirs.id, "suspension.notice_posted") == []

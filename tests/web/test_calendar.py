"""The calendar: what ends, by day, as far as the reader may know of it."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from html import unescape
from typing import TYPE_CHECKING

import pytest

from govern import clock
from govern.access import ends
from govern.access.suspensions import notices
from tests.factory import OPERATOR
from tests.web.desks import desk, told

if TYPE_CHECKING:
    from flask import Flask

    from govern.access.suspensions import Suspension
    from govern.db import Session
    from tests.factory import World


def test_a_month_tells_what_ends_on_each_day_and_a_day_lists_its_grants(
    world: World, app: Flask
) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    other = world.project("Cinnabar")
    end = clock.utcnow().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=40)
    people = [world.subject(f"Q{number:03}") for number in range(27)]
    for place, person in enumerate(people):
        world.grant(person, project, until=end + timedelta(minutes=place))
    world.grant(people[0], other, until=end)
    revoked = world.grant(people[1], project, until=end)
    world.revoke(revoked)
    held = world.suspend("project:Cinnabar", review_by=end + timedelta(hours=3))
    ada = desk(app, world)
    month, day = f"{end:%Y-%m}", f"{end:%Y-%m-%d}"
    words = told(ada.get(f"/calendar?month={month}").text)
    assert "28 grants end" in words
    assert "Review due: Cinnabar" in words
    page = ada.get(f"/calendar?day={day}")
    assert f'href="/suspensions/{held.id}"' in page.text
    assert "Q000 ·" in told(page.text)
    link = re.search(r'href="([^"]*after=[^"]*)" rel="next"', page.text)
    assert link
    rest = ada.get(unescape(link[1]))
    assert told(rest.text).count(" · direct") == 3
    scoped = desk(app, world, client=client)
    words = told(scoped.get(f"/calendar?day={day}").text)
    assert "27 grants end" in words
    assert "Cinnabar" not in words
    for wrong in ("month=soon", "day=2026-02-30", "month=9999-01"):
        assert ada.get(f"/calendar?{wrong}").status_code == 422


def _post(session: Session, row: Suspension, words: notices.Words) -> None:
    notices.post(session, session.merge(row), words, by=OPERATOR)


def test_of_what_falls_due_the_first_are_named_and_the_rest_is_counted(
    world: World, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = world.project("Kingfisher")
    boreal = world.client("BOREAL")
    world.project("Cinnabar", client=boreal)
    day = clock.utcnow().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    day += timedelta(days=70)
    for place in range(4):
        person = world.subject(f"Q{place}")
        world.grant(person, project)
        world.suspend(f"subject:Q{place}", review_by=day + timedelta(hours=place))
    row = world.suspend("project:Cinnabar", review_by=day + timedelta(hours=9))
    for late in (timedelta(hours=10), timedelta(days=1)):  # the newest version alone counts
        words = notices.Words(known="Wait.", next_update_by=day + late)
        world.do(partial(_post, row=row, words=words))
    ada, scoped = desk(app, world), desk(app, world, client=boreal)

    def page(asked: str = f"month={day:%Y-%m}") -> str:
        return told(ada.get(f"/calendar?{asked}").text)

    assert page().count("Review due:") == 5
    assert page(f"day={day:%Y-%m-%d}").count("Update promised") == 0
    assert "Update promised to contractors: Cinnabar" in page(f"day={day + late:%Y-%m-%d}")
    monkeypatch.setattr(ends, "NAMED", 3)
    words_ = page()
    assert [f"Q{place}" in words_ for place in range(4)] == [True, True, True, False]
    assert "and 2 more things" in words_
    assert "and 2 more things" in page(f"day={day:%Y-%m-%d}")
    assert "Update promised to contractors: Cinnabar" in page(f"day={day + late:%Y-%m-%d}")
    # Of another client's nothing is told, nor counted.
    theirs = told(scoped.get(f"/calendar?day={day:%Y-%m-%d}").text)
    assert "Review due: Cinnabar" in theirs
    assert "more thing" not in theirs
    # From where no more are counted on it is said that there are more, of a day by itself not.
    world.suspend("subject:Q0", review_by=day + 2 * late)
    further = "Not all that ends then is counted here."
    assert further not in page()
    monkeypatch.setattr(ends, "COUNTED", 4)
    assert page().count(further) > 1
    assert page(f"day={day + 2 * late:%Y-%m-%d}").count("Review due: Person Q0") == 1
    assert page(f"day={day:%Y-%m-%d}").count(further) == 1
    monkeypatch.setattr(ends, "COUNTED", 5)
    assert page(f"day={day:%Y-%m-%d}").count(further) == 0


def test_what_concerns_a_client_no_more_is_not_in_its_calendar(world: World, app: Flask) -> None:
    boreal = world.client("BOREAL")
    world.project("Cinnabar", client=boreal)
    world.project("Kingfisher")
    due = clock.utcnow() + timedelta(hours=50)
    row = world.suspend("project:Kingfisher", "project:Cinnabar", review_by=due)
    scoped, month = desk(app, world, client=boreal), f"/calendar?month={due:%Y-%m}"
    assert "Review due: Cinnabar" in told(scoped.get(month).text)
    world.narrow(row, "project:Cinnabar")
    assert "Review due" not in told(scoped.get(month).text)
    assert "Review due: Kingfisher" in told(desk(app, world).get(month).text)

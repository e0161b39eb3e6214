"""The calendar: what ends, by day, as far as the reader may know of it."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING

from govern import clock
from tests.web.desks import desk, told

if TYPE_CHECKING:
    from flask import Flask

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

"""What a contractor was told, on their own clock, and what is recorded of them to take away."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from flask import g
from sqlalchemy import select

from govern import clock
from govern.access.suspensions import notices
from govern.access.told import history
from govern.audit.decisions import Access
from govern.signals import mail
from govern.web.pages import contractor
from tests.factory import OPERATOR, PASSWORD
from tests.support.mailbox import mailbox
from tests.web.desks import counted, told
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from govern.config import Settings
    from govern.identity.subjects import Subject
    from tests.factory import World

MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    with mailbox() as box:
        yield replace(
            settings, smtp_url=f"smtp://127.0.0.1:{box.port}", mail_from="access@govern.example"
        )


def seat(world: World, app: Flask, person: Subject) -> Visitor:
    world.activate(person)
    return Visitor.of(app).seated(world, person)


def test_a_person_chooses_the_clock_of_their_pages_and_a_bad_one_changes_nothing(
    world: World, app: Flask
) -> None:
    person, project = world.subject(), world.project("Kingfisher")
    world.grant(person, project)
    now = clock.utcnow()
    pause = world.suspend("project:Kingfisher", hours_until=now + timedelta(days=2))
    mine = seat(world, app, person)
    assert "Times are in UTC." in told(mine.get("/status").text)
    for name in ("Mars/Olympus", "../../etc/passwd"):
        answer = mine.post("/account/time-zone", {"time_zone": name})
        assert answer.status_code == 422
        assert "no time zone that we know" in answer.text
        assert 'id="f-time_zone" name="time_zone" aria-describedby="h-time_zone e-time_zone"' in (
            re.sub(r"\s+", " ", answer.text)
        )
    assert world.entries("house", "preference.set") == []
    for _ in range(2):
        answer = mine.post("/account/time-zone", {"time_zone": "Asia/Kathmandu"})
        assert answer.status_code == 303
    (entry,) = world.entries("house", "preference.set")
    assert "Kathmandu" not in str(entry), "where someone lives is committed to, and no more"
    page = mine.get("/status").text
    assert "Times are those of Asia/Kathmandu." in told(page)
    since = pause.recorded_at.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert f'datetime="{since.isoformat(timespec="seconds")}"' in page
    assert "Today’s hours count." in told(page)
    assert '<option value="Asia/Kathmandu" selected>' in mine.get("/account").text
    assert mine.post("/account/time-zone", {"time_zone": ""}).status_code == 303
    assert "Times are in UTC." in told(mine.get("/status").text)


def test_which_of_todays_hours_count_is_told_by_the_readers_own_day(app: Flask) -> None:
    now = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
    cases = [
        ("UTC", "count", None, "all"),
        ("UTC", "count", now + timedelta(hours=3), "until"),
        ("UTC", "count", now + timedelta(hours=4), "all"),
        ("Asia/Kathmandu", "count", now + timedelta(hours=4), "until"),  # it is tomorrow there
        ("UTC", "stopped", now - timedelta(hours=19), "until"),
        ("UTC", "stopped", now - timedelta(hours=21), "none"),
        ("Asia/Kathmandu", "stopped", now - timedelta(hours=19), "none"),
        ("UTC", "none", None, ""),
    ]
    for zone, hours, until, said in cases:
        with app.test_request_context():
            g.zone = ZoneInfo(zone)
            assert contractor._today(hours, until, now) == said, (zone, hours, until)


def test_every_notice_stays_with_how_it_reached_one_and_the_dates_go_to_a_calendar(
    world: World, app: Flask
) -> None:
    person, stranger = world.subject(), world.subject()
    aster = world.client("ASTER")
    kingfisher = world.project("Kingfisher", client=aster)
    secret = world.project("Heron", client=aster)
    world.grant(person, kingfisher)
    world.grant(stranger, world.project("Osprey"))
    mine, other = seat(world, app, person), seat(world, app, stranger)
    past = world.suspend("client:ASTER", note="A leak is looked into.")
    world.write_particulars()
    with clock.at(clock.utcnow() + MINUTE):
        mail.work(world.store)
    world.lift(past)
    now = clock.utcnow()
    row = world.suspend(
        "project:Kingfisher", "project:Heron", note="Paused; again.",
        hours_until=now + timedelta(hours=5),
    )  # fmt: skip
    words = notices.Words(
        known="One, of two.", next_update_by=now + timedelta(hours=9),
        submit_by=now + timedelta(days=1),
    )  # fmt: skip
    world.do(lambda s: notices.post(s, s.merge(row), words, by=OPERATOR))
    with counted() as sent:
        page = told(mine.get("/notices").text)
    assert len(sent) <= 14, "\n".join(sent)
    assert re.search(
        r"Kingfisher Open .* Notice 2 .* One, of two\. .* No mail was sent to you about this\. "
        r".* Notice 1 .* Paused; again\. .* Kingfisher Lifted .* A leak is looked into\. "
        r"Mailed to you",
        page,
    )
    assert secret.code not in page
    assert "A leak" not in other.get("/notices").text
    with clock.at(now + timedelta(days=90)), world.store.reading() as session:
        assert [one.suspension_id for one in history(session, person.id)][-1] == past.id
    with clock.at(clock.utcnow() + MINUTE):
        mail.work(world.store)
    page = told(mine.get("/notices").text)
    assert page.count("Mailed to you") == 3
    answer = mine.get("/notices.ics")
    assert answer.mimetype == "text/calendar"
    file = answer.text.replace("\r\n ", "")
    assert file.count("BEGIN:VEVENT") == 3
    assert f"DTSTART:{now + timedelta(hours=5):%Y%m%dT%H%M%SZ}" in file
    assert "SUMMARY:Kingfisher: hand in your hours by now" in file
    assert f"UID:submit-{row.id}@" in file
    assert "Heron" not in file
    assert other.get("/notices.ics").text.count("BEGIN:VEVENT") == 0


def test_a_person_takes_away_all_that_is_recorded_of_them_and_of_nobody_else(
    world: World, app: Flask
) -> None:
    person, neighbour = world.subject(), world.subject()
    aster = world.client("ASTER")
    kingfisher = world.project("Kingfisher", client=aster)
    grant = world.grant(person, kingfisher)
    world.grant(neighbour, world.project("Heron", client=aster))
    world.permits(person, kingfisher)
    world.suspend(
        "project:Kingfisher", reason="security_incident", internal_reason="shared a screen",
        ordered_by="Dana at Aster",
    )  # fmt: skip
    world.write_particulars()
    mine = seat(world, app, person)
    answer = mine.get("/account/record")
    assert answer.status_code == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    found = answer.get_json()
    assert found["you"]["email"] == person.email
    assert [each["id"] for each in found["grants"]] == [grant.id]
    types = [entry["type"] for entry in found["log"]]
    assert {"subject.registered", "grant.issued", "grant.suspended", "password.set"} <= set(types)
    assert found["log"][0]["values"]["email"] == person.email
    assert found["decisions"]["newest_first"][-1]["on"] == "Kingfisher"
    text = answer.text
    hidden = (
        "Heron", "ASTER", "Aster", "screen", "Dana", "security_incident", "tester", '"work"',
        neighbour.id, neighbour.full_name, world.seeds[person.id], PASSWORD, aster.id,
    )  # fmt: skip
    for secret in hidden:
        assert secret not in text, secret
    with world.store.access_reading() as session:
        query = select(Access.principal).where(
            Access.action == "own_record", Access.subject_id == person.id
        )
        assert session.execute(query).scalars().all() == [person.id]

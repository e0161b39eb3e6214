"""Lists of admins taken out as CSV, walked from client to people, and found by a few letters."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from govern import clock, permissions
from govern.access import bulk, demands, holdings, lists, overview
from govern.audit.decisions import Access, AccessKind
from tests.web.desks import counted, desk, hidden, told

if TYPE_CHECKING:
    from datetime import timedelta

    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.factory import World

STALE: timedelta = 2 * permissions.FRESH


def rows(answer: TestResponse) -> list[dict[str, str]]:
    assert answer.mimetype == "text/csv", told(answer.text)
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_a_list_is_exported_as_it_is_narrowed_on_record_and_after_a_fresh_factor(
    world: World, app: Flask
) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    other = world.project("Cinnabar")
    people = [world.subject(f"Q{number:03}", organisation="=Firm") for number in range(28)]
    end = clock.utcnow().replace(microsecond=0)
    for place, person in enumerate(people):
        world.grant(person, project, until=end + STALE * (60 - place))
    world.grant(world.subject("Z001"), other)
    ada = desk(app, world)
    given = rows(ada.post("/projects/Kingfisher/export", {"sort": "ends"}))
    assert [row["external_id"] for row in given] == [f"Q{n:03}" for n in reversed(range(28))]
    assert {row["organisation"] for row in given} == {"'=Firm"}
    first = told(ada.get("/projects/Kingfisher?sort=ends").text)
    assert first.index("Q027 ·") < first.index("Q003 ·")
    assert "Q002 ·" not in first
    page = ada.get("/projects/Kingfisher?sort=ends").text
    assert 'name="sort" value="ends"' in page
    listed = rows(ada.post("/people/export", {"organisation": "=Firm", "q": "q00"}))
    assert [row["external_id"] for row in listed] == [f"Q{n:03}" for n in range(10)]
    assert {row["projects"] for row in listed} == {"Kingfisher"}
    scoped = desk(app, world, client=client)
    assert len(rows(scoped.post("/people/export"))) == 29  # and oneself
    assert scoped.post("/projects/Cinnabar/export").status_code == 404
    with clock.at(clock.utcnow() + STALE):
        asked = ada.post("/people/export", {"q": "q00"})
        assert asked.status_code == 403
        assert 'name="q" value="q00"' in asked.text
    with world.store.access_reading() as session:
        found = session.execute(
            select(Access.detail, Access.client_id).where(Access.kind == AccessKind.EXPORT)
        ).all()
    details = sorted(detail for detail, _ in found)
    assert len(details) == 3
    assert not any("q00" in detail for detail in details)
    assert {client_id for _, client_id in found} == {client.id, None}


def test_a_client_leads_to_its_projects_and_a_few_letters_lead_anywhere(
    world: World, app: Flask
) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    world.project("Cinnabar")
    person = world.subject("Q001")
    world.grant(person, project)
    world.suspend("client:ASTER")
    ada, scoped = desk(app, world), desk(app, world, client=client)
    assert 'href="/clients/ASTER"' in ada.get("/").text
    page = ada.get("/clients/ASTER")
    assert 'href="/projects/Kingfisher"' in page.text
    assert "A suspension covers this client" in told(page.text)
    assert "Cinnabar" not in page.text
    for query, address in (
        ("kingf", "/projects/Kingfisher"), ("aster", "/clients/ASTER"),
        ("q00", f"/people/{person.id}"), ("roster", "/roster"),
    ):  # fmt: skip
        assert f'href="{address}"' in ada.get(f"/search?q={query}").text, query
        told_program = ada.get(f"/search?q={query}", headers={"Accept": "application/json"}).json
        urls = {row["url"] for group in told_program["groups"] for row in group["rows"]}
        assert address in urls, query
    assert "Nothing found" in told(scoped.get("/search?q=cinnabar").text)
    assert "/roster" not in scoped.get("/search?q=roster").text.split("<main")[1]


def test_search_says_where_there_is_more_than_it_shows_and_leads_to_all_that_one_may_see(
    world: World, app: Flask
) -> None:
    """Six of each kind were shown of any number, as if they were all."""
    mine = [world.client(f"ASTER{number}") for number in range(7)]
    for number, owner in enumerate(mine):
        world.grant(world.subject(f"ASTER-{number}"), world.project(f"Aster{number}", client=owner))
    for number in range(7):
        world.grant(world.subject(f"A&B-{number}"), world.project(f"A&B{number}", client=mine[0]))
    ada, scoped = desk(app, world), desk(app, world, client=mine[0])
    for kind in ("people", "clients", "projects"):
        everything = f"/lists/{kind}?q=aster"
        page = ada.get("/search?q=aster").text
        assert f"There are more {kind}: show all that match" in told(page)
        assert f'href="{everything}"' in page
        assert "ASTER-6" in ada.get(everything).text or "aster6" in ada.get(everything).text.lower()
        assert everything not in ada.get("/search?q=aster6").text
        assert everything not in scoped.get("/search?q=aster").text  # of one client: one of each
    for kind in ("people", "projects"):
        everything = f"/lists/{kind}?q=a%26b"
        assert f'href="{everything}"' in scoped.get("/search?q=a%26b").text
        assert "6" in told(scoped.get(everything).text)
    groups = ada.get("/search?q=aster", headers={"Accept": "application/json"}).json["groups"]
    assert [rows["rows"][6]["url"] for rows in groups[:3]] == [
        "/lists/projects?q=aster", "/lists/clients?q=aster", "/lists/people?q=aster",
    ]  # fmt: skip


def test_search_says_that_more_filters_are_kept_than_it_shows(world: World, app: Flask) -> None:
    ada = desk(app, world)
    for number in range(7):
        ada.post("/lists/people/filters", {"kind": "annotator", "kept_as": f"late {number}"})
        more = "There are more: type more of the name" in told(ada.get("/search?q=late").text)
        assert more == (number == 6)


def test_the_overview_counts_no_further_than_it_says(
    world: World, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = world.project("Kingfisher", client=world.client("ASTER"))
    for _ in range(4):
        world.grant(world.subject(), project)
    world.suspend("project:Kingfisher")
    ada = desk(app, world)
    words = told(ada.get("/").text)
    assert "4 people affected" in words
    assert "Kingfisher Paused" in words
    with counted() as before:
        ada.get("/")
    monkeypatch.setattr(overview, "GRANTS_COUNTED", 3)
    monkeypatch.setattr(overview, "HELD_COUNTED", 2)
    with counted() as after:
        page = ada.get("/").text
    assert "at least 3 people affected" in told(page)
    assert page.count('data-label="Grants">–<') == 2
    assert len(after) == len(before)


def test_pages_say_where_they_stopped_looking_and_count_whole_what_an_act_is_about(
    world: World, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = world.project("Kingfisher", client=world.client("ASTER"))
    people = [world.subject(f"p{number}") for number in range(3)]
    for who in people:
        world.grant(who, project)
        world.enrol(who)
    made = world.demand("project:Kingfisher")
    ada = desk(app, world)
    assert "Everyone meets it." in told(ada.get("/projects/Kingfisher").text)
    monkeypatch.setattr(demands, "COUNTED", 1)
    monkeypatch.setattr(holdings, "PEOPLE_LOOKED_AT", 1)
    monkeypatch.setattr(lists, "LOOKED_AT", 1)
    assert "Everyone of the first 1 meets it." in told(ada.get("/projects/Kingfisher").text)
    assert "1+" in told(ada.get("/demands").text)
    assert "People with a grant there 3" in told(ada.get(f"/demands/{made.id}").text)
    page = told(ada.get("/people?kind=expert").text)
    assert "Many people were looked through, and there are more" in page
    page = told(ada.get("/lists/grants?status=held").text)
    assert "Many grants were looked through, and there are more" in page


def test_an_act_over_a_list_says_how_far_it_has_come_until_it_is_done(
    world: World, app: Flask
) -> None:
    project = world.project("Kingfisher")
    for _ in range(2):
        world.grant(world.subject(), project)
    ada = desk(app, world)
    act = {"act": "revoke", "project": "Kingfisher"}
    shown = ada.get("/lists/grants/act", query_string=act).text
    asked = {"digest": hidden(shown, "digest"), "number": "2", "reason": "the contract is over"}
    where = ada.post("/lists/grants/act", {**act, **asked}).headers["Location"]
    assert f'hx-get="{where}"' in ada.get(where).text
    part = ada.get(where, headers={"HX-Request": "true"})
    assert "0 of 2" in told(part.text)
    assert "<html" not in part.text
    assert "HX-Refresh" not in part.headers
    bulk.write(world.store)
    assert ada.get(where, headers={"HX-Request": "true"}).headers["HX-Refresh"] == "true"
    whole = ada.get(where).text
    assert "2 of 2" in told(whole)
    assert "hx-get" not in whole

"""Every list is narrowed, ordered, paged by its key, and taken out as it is shown."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest

from govern import clock, paths
from govern.access import clients, demands, lists
from govern.access.lists import LISTS, Asked
from govern.web.pages.lists import CELLS, LEADS
from tests.factory import OPERATOR
from tests.web.desks import counted, desk, told

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.conftest import Beginning
    from tests.factory import World
    from tests.web.visitor import Visitor

# Pages on which things of one sort stand, and the list that has them all, in any order.
LISTED = {
    "admin/people.html": "people",
    "admin/person.html": "grants",
    "admin/project.html": "grants",
    "admin/client.html": "projects",
    "admin/calendar.html": "grants",
    "admin/integrations.html": "integrations",
    "admin/overview.html": "projects",
    "pause/live.html": "people",
}
# Those with no list behind them, and why.
APART = {
    "admin/list.html": "it draws them all",
    "admin/_unmet.html": "its page leads to the list of people",
    "admin/act.html": "numbers by project",
    "admin/demands.html": "the few that are open",
    "admin/integration.html": "the secrets of one",
    "admin/provider.html": "the links of one provider",
    "admin/providers.html": "a few, by their nature",
    "admin/outgoing.html": "what fails, a few at a time",
    "admin/questions.html": "what waits, answered one by one",
    "admin/roster_preview.html": "of one file; its rejected rows are given back as one",
    "admin/request_policies.html": "the few that are set",
    "auditor/_entries.html": "taken out as evidence, by the page of exports",
    "auditor/_exports.html": "one's own exports, each a file",
    "auditor/access.html": "as the log's",
    "auditor/timeline.html": "of one target, taken out as evidence",
    "auditor/verify.html": "what a check of one file found",
    "auditor/who.html": "an answer with its proof, taken out as evidence",
    "components.html": "it shows the parts of pages",
    "components/show.html": "it is the parts of pages",
    "lift/_difference.html": "what one lift would make, which must be seen whole",
    "pause/drills.html": "the few that were held",
    "pause/effect.html": "the systems that heard of one suspension",
}


def rows(answer: TestResponse) -> list[dict[str, str]]:
    assert answer.mimetype == "text/csv", told(answer.text)
    return list(csv.DictReader(io.StringIO(answer.text)))


def paged(ada: Visitor, path: str) -> list[str]:
    """The addresses to which the rows of all pages lead, in their order."""
    found: list[str] = []
    while path:
        page = ada.get(path)
        assert page.status_code == 200, told(page.text)
        found += re.findall(r'<th scope="row"><a href="([^"]+)"', page.text)
        link = re.search(r'href="([^"]*after=[^"]*)" rel="next"', page.text)
        path = unescape(link[1]) if link else ""
    return found


def test_each_page_with_a_table_is_of_a_list_or_says_why_not() -> None:
    assert set(CELLS) == set(LEADS) == set(LISTS)
    for name, listed in LISTS.items():
        cells = {column for columns in CELLS[name] for column in columns}
        assert cells <= set(listed.columns), name
        assert set(listed.choices) <= set(listed.filters), name
    shown = {}
    for file in paths.TEMPLATES.rglob("*.html"):
        text = file.read_text()
        if "pager(" in text or "table-stack" in text:
            shown[file.relative_to(paths.TEMPLATES).as_posix()] = text
    known = LISTED.keys() | APART.keys()
    assert shown.keys() == known, f"of which list, or why of none: {shown.keys() ^ known}"
    for name, listed in LISTED.items():
        assert f'list_link("{listed}"' in shown[name], name


@pytest.fixture
def beginning() -> Beginning:
    return begin


def begin(world: World) -> None:
    client = world.client("ASTER")
    other = world.client("BOREAL")
    project = world.project("Kingfisher", client=client)
    place = world.project("Cinnabar", client=other)
    world.dataset(project, "heron-eggs")
    world.dataset(place, "cinnabar-ore")
    end = clock.utcnow().replace(microsecond=0)
    for number in range(28):
        person = world.subject(f"Q{number:03}", organisation="=Firm" if number % 2 else "Other")
        world.grant(person, project, until=end + timedelta(days=90 - number))
    world.grant(world.subject("Z001"), place)
    world.grant(world.subject("Q100", organisation="Hidden"), place)
    world.suspend("project:Cinnabar")
    lasting = world.suspend("client:ASTER")
    world.ask_lift(lasting, by=OPERATOR)
    world.integration("labels", clients=[client.id])
    world.integration("sweeper")
    world.staff("auditor", client=client)
    world.demand("project:Cinnabar", starts=end + timedelta(days=3))


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_list_is_ordered_both_ways_paged_whole_and_exported_as_it_is_shown(
    world: World, app: Flask, begun: None, name: str
) -> None:
    ada = desk(app, world)
    for sort in LISTS[name].sorts:
        up, down = (
            paged(ada, f"/lists/{name}?sort={sort}"),
            paged(ada, f"/lists/{name}?sort=-{sort}"),
        )
        assert up
        assert down == up[::-1], sort
        given = rows(ada.post(f"/lists/{name}/export", {"sort": f"-{sort}"}))
        assert len(given) == len(down)
        assert list(given[0]) == ["id", *(each for each in LISTS[name].shown if each != "id")]
        assert len({row["id"] for row in given}) == len(given)
    for each, words in LISTS[name].choices.items():
        found = sum(
            len(paged(ada, f"/lists/{name}?{each}={word}")) for word in words if each != "lacks"
        )
        assert each in {"lacks", "due"} or found >= len(up), each
    assert ada.get(f"/lists/{name}?after=nonsense").status_code == 422
    assert ada.get("/lists/nothing").status_code == 404


def test_what_is_no_one_s_to_know_is_in_no_list_filter_or_export(
    world: World, app: Flask, begun: None
) -> None:
    with world.store.reading() as session:
        client = clients.client(session, "ASTER")
    scoped = desk(app, world, client=client)
    for name in LISTS:
        page = scoped.get(f"/lists/{name}")
        assert page.status_code == 200, name
        given = scoped.post(f"/lists/{name}/export").text
        for text in (page.text.split("<main")[1], given):
            for word in ("BOREAL", "Cinnabar", "cinnabar", "Z001", "Hidden", "sweeper"):
                assert word not in text, (name, word)
    # Nor may a filter tell of another client's by what it leaves.
    for query in ("project=Cinnabar", "client=BOREAL"):
        assert not paged(scoped, f"/lists/people?{query}"), query
        assert not paged(scoped, f"/lists/grants?{query}"), query


def test_lists_are_narrowed_by_what_they_show_and_by_what_leads_to_them(
    world: World, app: Flask, begun: None
) -> None:
    ada = desk(app, world)
    given = rows(ada.post("/lists/grants/export", {"project": "Kingfisher", "sort": "ends"}))
    assert [row["external_id"] for row in given] == [f"Q{n:03}" for n in reversed(range(28))]
    assert {row["organisation"] for row in given} == {"'=Firm", "Other"}
    assert {row["status"] for row in given} == {"held"}
    soon = f"{clock.utcnow() + timedelta(days=70):%Y-%m-%d}"
    first = rows(ada.post("/lists/grants/export", {"ends_to": soon, "project": "Kingfisher"}))
    assert {row["external_id"] for row in first} == {f"Q{n:03}" for n in range(20, 28)}
    people = rows(ada.post("/lists/people/export", {"project": "Kingfisher", "q": "q00"}))
    assert len(people) == 10
    lacking = rows(ada.post("/lists/people/export", {"lacks": "second_factor", "q": "q00"}))
    assert len(lacking) == 10
    assert ada.get("/lists/people?lacks=luck").status_code == 422
    assert ada.get("/lists/grants?ends_to=9999-12-31").status_code in {200, 422}
    assert ada.get("/lists/grants?ends_to=soon").status_code == 422
    with world.store.reading() as session:
        (demand,) = demands.listed(session, by=OPERATOR)
    led = paged(ada, f"/lists/people?demand={demand.row.id}")
    assert len(led) == 2
    person = [world.subject(f"L{n}") for n in range(2)]
    named = world.suspend(*(f"subject:{one.external_id}" for one in person))
    assert len(paged(ada, f"/lists/people?suspension={named.id}")) == 2


def test_a_page_of_a_list_asks_as_much_for_many_rows_as_for_few(
    world: World, app: Flask, begun: None
) -> None:
    ada = desk(app, world)
    for name in LISTS:
        with counted() as sent:
            ada.get(f"/lists/{name}")
        assert len(sent) <= 12, name
    with world.store.reading() as session:
        asked = Asked(filters={"project": "Kingfisher"})
        found = lists.page(session, LISTS["people"], asked, limit=5, by=OPERATOR)
    assert [row["external_id"] for row in found.rows] == [f"Q{n:03}" for n in range(5)]


def test_a_filter_is_kept_by_name_for_oneself_or_for_those_who_may_see_the_list(
    world: World, app: Flask, begun: None
) -> None:
    with world.store.reading() as session:
        client = clients.client(session, "ASTER")
        other = clients.client(session, "BOREAL")
    ada, ben = desk(app, world), desk(app, world)
    of_a, of_b = desk(app, world, client=client), desk(app, world, client=other)
    kept = ada.post(
        "/lists/grants/filters", {"kept_as": "Ends next", "sort": "ends", "status": "held"}
    )
    assert kept.status_code == 303
    assert kept.location == "/lists/grants?status=held&sort=ends"
    assert "Ends next" in ada.get("/lists/grants").text
    assert "Ends next" in told(ada.get("/search?q=ends+n").text)
    assert "Ends next" not in ben.get("/lists/grants").text
    newer = {"kept_as": "Ends next", "sort": "ends", "status": "scheduled", "shared": "yes"}
    asked = ada.post("/lists/grants/filters", newer)
    assert asked.status_code == 409
    assert "You keep another filter of this name" in told(asked.text)
    assert 'value="Ends next"' in asked.text
    assert "Replace the one of that name" in asked.text
    assert "Ends next" not in ben.get("/lists/grants").text
    assert ada.post("/lists/grants/filters", {**newer, "replace": "yes"}).status_code == 303
    # What says the same already is no other filter: to share it replaces nothing.
    assert ada.post("/lists/grants/filters", newer).status_code == 303
    assert ada.get("/lists/grants").text.count(">Ends next") == 1  # the newer in the older's place
    assert "Ends next" in ben.get("/lists/grants").text
    assert "Ends next" not in of_a.get("/lists/grants").text
    of_a.post("/lists/grants/filters", {"kept_as": "Of ours", "status": "held", "shared": "yes"})
    assert "Of ours" in ada.get("/lists/grants").text
    assert "Of ours" not in of_b.get("/lists/grants").text
    assert ada.post("/lists/grants/filters", {"kept_as": "", "status": "held"}).status_code == 422
    drop = re.search(r'action="(/lists/grants/filters/\w+/drop)"', ada.get("/lists/grants").text)
    assert drop
    assert ben.post(drop[1]).status_code == 404
    assert ada.post(drop[1]).status_code == 303
    assert "Ends next" not in ada.get("/lists/grants").text


def test_what_needs_someone_now_is_told_in_numbers_that_lead_there_as_far_as_one_may(
    world: World, app: Flask, begun: None
) -> None:
    client = world.client("CEDAR")
    project = world.project("Siskin", client=client)
    soon = clock.utcnow() + timedelta(days=2)
    for _ in range(3):
        world.grant(world.subject(), project, until=soon)
    late = world.suspend("project:Siskin", review_by=clock.utcnow() + timedelta(minutes=1))
    world.demand("project:Siskin")
    ada, scoped = desk(app, world), desk(app, world, client=client)
    with world.store.reading() as session:
        elsewhere = desk(app, world, client=clients.client(session, "BOREAL"))
    with clock.at(clock.utcnow() + timedelta(minutes=3)):
        for reader in (ada, scoped):
            page = reader.get("/")
            words = told(page.text)
            assert "3 grants end within 7 days" in words
            assert "1 review of a suspension is overdue" in words
            assert ("2 demands" if reader is ada else "1 demand") in words
            for link in ("/lists/suspensions?due=review", "/demands", "/lists/grants?sort=ends"):
                assert f'href="{link}' in page.text, link
            found = re.search(r'href="(/lists/grants\?sort=ends[^"]*)"', page.text)
            assert found
            assert len(paged(reader, unescape(found[1]))) == 3
            assert paged(reader, "/lists/suspensions?due=review") == [f"/suspensions/{late.id}"]
        assert "1 request waits for a second person" in told(ada.get("/").text)
        words = told(elsewhere.get("/").text)
        assert "grants end within" not in words
        assert "review of a suspension is overdue" not in words
        assert "waits for a second person" not in words.split("Open suspensions")[0]

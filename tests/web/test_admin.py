"""The admins' pages: overview, projects and their grants, people; searched, paged, in scope."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from govern.access import overview
from govern.access.modes import Mode
from govern.audit import sealing
from tests.factory import OPERATOR
from tests.web.desks import desk, told

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World
    from tests.web.visitor import Visitor

FAR = "2099-01-01T00:00"


@pytest.fixture
def ada(app: Flask, world: World) -> Visitor:
    return desk(app, world)


def test_the_overview_tells_how_everything_stands_and_what_waits(
    world: World, app: Flask, ada: Visitor
) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    person = world.subject()
    world.grant(person, project)
    held = world.suspend("project:Kingfisher", mode=Mode.UNDER_REVIEW)
    form = {"subject": world.subject().external_id, "entitlement": "annotator", "until": FAR,
            "reason": "more hands"}  # fmt: skip
    asked = ada.post("/projects/Kingfisher/grants", form)
    assert asked.status_code == 303
    sealing.seal(world.store)
    page = ada.get("/")
    words = told(page.text)
    assert "were sealed" not in words
    assert "Aster Labs" in words
    assert "1 person affected" in words
    assert "0 of 1" in words
    assert f'href="/suspensions/{held.id}"' in page.text
    assert "You asked for this yourself" in words
    assert "Grant Person" in words
    assert "Access was stopped over a scope" in words
    ben = desk(app, world)
    approved = ben.post(asked.headers["Location"], {"decision": "approve"})
    assert approved.status_code == 303
    assert "Nothing waits" in told(ben.get("/").text)


def test_of_many_suspensions_the_newest_are_shown_and_each_place_stands_as_it_does(
    world: World, ada: Visitor, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "SUSPENSIONS_SHOWN", 1)
    project = world.project("Kingfisher")
    world.grant(world.subject("P-ann"), project)
    held = world.suspend("project:Kingfisher", "subject:P-ann")
    world.ask_lift(held, by=OPERATOR)
    assert "1+" not in told(ada.get("/").text)
    newer = world.suspend("subject:P-ann")
    page = ada.get("/")
    opened = told(page.text).split("Open suspensions")[1]
    assert opened.startswith(" 1+ ")
    assert f'href="/suspensions/{newer.id}"' in page.text
    # The older one is shown no more, and told of whole where somebody waits because of it.
    lift = r"Lift: (Person P-ann, Kingfisher|Kingfisher, Person P-ann)"
    assert re.search(lift, told(page.text))
    assert re.search(r"Kingfisher Paused", told(page.text))
    theirs = desk(app, world, client=world.client("BOREAL"))
    assert "1+" not in told(theirs.get("/").text)
    # A part that was taken out of it is not what a lift would bring back.
    world.narrow(held, "subject:P-ann")
    for path in ("/", "/requests"):
        assert "Lift: Kingfisher asked by" in told(ada.get(path).text)


def test_a_grant_is_given_and_revoked_from_the_projects_page(world: World, ada: Visitor) -> None:
    project = world.project()
    world.entitlement()
    person = world.subject()
    form = {"subject": person.email, "entitlement": "annotator", "until": FAR, "reason": "work"}
    assert ada.post("/projects/Kingfisher/grants", form).headers["Location"].endswith("Kingfisher")
    assert world.permits(person, project)
    page = ada.get("/projects/Kingfisher").text
    grant = re.search(r"/grants/(grt_\w+)/revoke", page)
    assert grant
    assert ada.post(f"/grants/{grant[1]}/revoke", {"reason": ""}).status_code == 422
    assert world.permits(person, project)
    assert ada.post(f"/grants/{grant[1]}/revoke", {"reason": "done"}).status_code == 303
    assert world.ask(person, project).reason == "grant_revoked"
    again = ada.post(f"/grants/{grant[1]}/revoke?from=person", {"reason": "done"})
    assert again.status_code == 409
    assert "was revoked on" in told(again.text)


def test_a_malformed_grant_is_refused_at_its_field_with_what_was_typed_kept(
    world: World, ada: Visitor
) -> None:
    project = world.project()
    world.entitlement()
    person = world.subject()
    right = {"subject": person.external_id, "entitlement": "annotator", "until": FAR,
             "reason": "kept words"}  # fmt: skip
    for wrong, field in [
        ({"subject": "nobody"}, "subject"),
        ({"subject": ""}, "subject"),
        ({"entitlement": "king"}, "entitlement"),
        ({"dataset": "nowhere"}, "dataset"),
        ({"until": ""}, "until"),
        ({"until": "tomorrow"}, "until"),
        ({"from": "2099-02-01T00:00", "until": FAR}, "until"),
        ({"until": "2001-01-01T00:00"}, "until"),
        ({"reason": ""}, "reason"),
    ]:
        answer = ada.post("/projects/Kingfisher/grants", right | wrong)
        assert answer.status_code == 422, wrong
        assert f'href="#f-{field}"' in answer.text, wrong
        assert "reason" in wrong or 'value="kept words"' in answer.text, wrong
        assert not world.permits(person, project), wrong


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.READ_ONLY])
def test_no_grant_is_given_on_a_project_that_is_held(
    world: World, ada: Visitor, mode: Mode
) -> None:
    world.project()
    world.entitlement()
    person = world.subject()
    world.suspend("project:Kingfisher", mode=mode)
    assert "no grant can be given" in told(ada.get("/projects/Kingfisher").text)
    form = {"subject": person.external_id, "entitlement": "annotator", "until": FAR, "reason": "x"}
    answer = ada.post("/projects/Kingfisher/grants", form)
    assert answer.status_code == 409
    assert "no new grants until it is lifted" in told(answer.text)


def test_lists_are_searched_filtered_and_paged_without_a_row_lost_or_doubled(
    world: World, ada: Visitor
) -> None:
    project = world.project()
    people = [world.subject(f"Q{number:03}", organisation="Firm") for number in range(30)]
    for person in people:
        world.grant(person, project)
    world.suspend("subject:Q007")
    for path in ("/projects/Kingfisher", "/people?organisation=Firm"):
        first = ada.get(path).text
        link = re.search(r'href="([^"]*after=[^"]*)" rel="next"', first)
        assert link
        second = ada.get(link[1].replace("&amp;", "&")).text
        seen = re.findall(r"\bQ\d{3}(?= ·)", first) + re.findall(r"\bQ\d{3}(?= ·)", second)
        assert sorted(seen) == [person.external_id for person in people]
    held = told(ada.get("/projects/Kingfisher?status=held").text)
    assert re.findall(r"\bQ\d{3}(?= ·)", held) == ["Q007"]
    assert re.findall(r"Q\d{3}(?= ·)", told(ada.get("/people?state=suspended").text)) == ["Q007"]
    for typed in ("q012", "Q012@people", "person q012"):
        found = told(ada.get(f"/people?q={typed}").text)
        assert re.findall(r"Q\d{3}(?= ·)", found) == ["Q012"], typed
    assert "Nobody found" in told(ada.get("/people?q=%25").text)
    assert ada.get("/people?state=odd&kind=odd&after=%F0%9F%98%80").status_code == 200


def test_offboarding_takes_the_number_of_grants_typed(world: World, ada: Visitor) -> None:
    project = world.project()
    person = world.subject()
    world.grant(person, project)
    path = f"/people/{person.id}/offboard"
    for number, status in (("2", 409), ("", 422), ("-1", 422)):
        answer = ada.post(path, {"reason": "kept words", "number": number})
        assert answer.status_code == status
        assert 'href="#f-number"' in answer.text
        assert "kept words" in answer.text
    assert ada.post(path, {"reason": "", "number": "1"}).status_code == 422
    assert world.permits(person, project)
    assert ada.post(path, {"reason": "left", "number": "1"}).status_code == 303
    assert "Offboarded" in told(ada.get(f"/people/{person.id}").text)
    assert world.ask(person, project).reason == "subject_offboarded"
    assert ada.post(path, {"reason": "left", "number": "0"}).status_code == 409


def test_an_erased_person_is_shown_as_erased(world: World, ada: Visitor) -> None:
    project, person = world.project(), world.subject("Quetzal-7")
    grant = world.grant(person, project)
    path = f"/people/{person.id}"
    assert "offboard them first" in told(ada.get(path).text)
    refused = ada.post(f"{path}/erase", {"reason": "kept words"})
    assert refused.status_code == 409
    assert 'href="#f-erase_reason"' in refused.text
    world.revoke(grant)
    assert ada.post(f"{path}/erase", {"reason": ""}).status_code == 422
    assert ada.post(f"{path}/erase", {"reason": "by law"}).status_code == 303
    page = told(ada.get(path).text)
    assert "erased" in page
    assert person.id in page
    for where in (path, "/people", "/people?q=quetzal", "/projects/Kingfisher"):
        assert person.email not in ada.get(where).text
        assert person.full_name not in ada.get(where).text


def test_a_move_is_at_once_where_nothing_holds_the_firm(world: World, ada: Visitor) -> None:
    person = world.subject(organisation="Firm")
    path = f"/people/{person.id}/organisation"
    wrong = ada.post(path, {"organisation": "Nowhere", "reason": "x"})
    assert wrong.status_code == 422
    assert 'href="#f-organisation"' in wrong.text
    assert 'href="#f-move_reason"' in ada.post(path, {"organisation": "direct"}).text
    assert ada.post(path, {"organisation": "direct", "reason": "x"}).status_code == 303
    assert ada.post(path, {"organisation": "direct", "reason": "x"}).status_code == 422


def test_an_admin_of_one_client_sees_that_client_alone(world: World, app: Flask) -> None:
    own, other = world.client("ASTER"), world.client("BOREAL")
    mine, theirs = (
        world.project("Kingfisher", client=own), world.project("Cinnabar", client=other)
    )  # fmt: skip
    near, far, both = world.subject(), world.subject(), world.subject()
    world.grant(near, mine)
    grant = world.grant(far, theirs)
    world.grant(both, mine)
    world.grant(both, theirs)
    scoped = desk(app, world, client=own)
    home = told(scoped.get("/").text)
    assert "Kingfisher" in home
    assert "Cinnabar" not in home
    assert far.full_name not in home
    assert scoped.get("/projects/Cinnabar").status_code == 404
    assert scoped.get(f"/people/{far.id}").status_code == 404
    assert (
        scoped.post(f"/people/{far.id}/offboard", {"number": "1", "reason": "x"}).status_code == 404
    )
    assert scoped.post(f"/grants/{grant.id}/revoke", {"reason": "x"}).status_code == 404
    form = {"subject": near.external_id, "entitlement": "annotator", "until": FAR, "reason": "x"}
    assert scoped.post("/projects/Cinnabar/grants", form).status_code == 404
    listed = told(scoped.get("/people").text)
    assert far.external_id not in listed
    assert "Cinnabar" not in listed
    assert "Cinnabar" not in told(scoped.get(f"/people/{both.id}").text)
    assert (
        scoped.post(f"/people/{near.id}/offboard", {"number": "1", "reason": "x"}).status_code
        == 403
    )
    assert world.permits(near, mine)


def test_contractors_are_led_to_their_own_page_and_met_with_403(world: World, app: Flask) -> None:
    visitor = desk(app, world, None)
    person = world.subject()
    for path in ("/people", f"/people/{person.id}", "/projects/Absent", "/requests/req_0"):
        assert visitor.get(path).status_code == 403
    assert visitor.get("/").headers["Location"] == "/status"


def test_a_clients_records_page_shows_and_sets_hold_and_retention(
    world: World, ada: Visitor
) -> None:
    client = world.project(client=world.client("ASTER")).client_id
    page = "/clients/ASTER/records"
    assert page in ada.get("/clients/ASTER").text
    assert "There is none now" not in told(ada.get(page).text)
    assert ada.post("/clients/ASTER/hold", {"reason": ""}).status_code == 422
    assert ada.post("/clients/ASTER/hold", {"reason": "letter"}).status_code == 303
    assert "Under legal hold" in told(ada.get(page).text)
    assert ada.post("/clients/ASTER/hold", {"reason": "letter"}).status_code == 409
    assert ada.post("/clients/ASTER/hold/release", {"reason": "settled"}).status_code == 303
    few = ada.post("/clients/ASTER/retention", {"days": "10", "reason": "kept words"})
    assert few.status_code == 422
    assert "no client can ask for less" in few.text
    kept = {"days": "2,555", "reason": "contract"}
    assert ada.post("/clients/ASTER/retention", kept).status_code == 303
    assert "2,555 days" in told(ada.get(page).text)
    kinds = ["hold.set", "hold.released", "retention.set"]
    assert [one["type"] for one in world.entries(client, *kinds)] == kinds

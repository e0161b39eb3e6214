"""Demands on the pages: seen in numbers and names before they are set, and by who must enrol."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from govern import clock, errors
from govern.access import demands
from govern.access.demands import Factor, FactorDemand
from govern.cli.frame import Desk
from tests.factory import OPERATOR, PASSWORD, World
from tests.web.desks import desk, told
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask


def test_a_demand_is_seen_in_numbers_and_names_then_announced_set_and_ended(
    world: World, app: Flask
) -> None:
    client = world.client()
    project = world.project(client=client)
    people = [world.subject(f"P{number}") for number in range(3)]
    for who in people:
        world.grant(who, project)
    world.enrol(people[2])
    world.activate(people[0])
    ada = desk(app, world, client=client)
    assert "/demands/new?over=project:Kingfisher" in ada.get("/projects/Kingfisher").text
    soon = clock.utcnow() + timedelta(days=2)
    wanted = {
        "over": "project:Kingfisher", "factor": "phishing_resistant",
        "starts": f"{soon:%Y-%m-%dT%H:%M}",
    }  # fmt: skip
    page = told(ada.get("/demands/new", query_string=wanted).text)
    assert "People with a grant there 3 Do not meet it 3" in page
    assert "P1 · p1@people.example" in page
    assert "never activated" in page
    assert not world.entries(client.id, "demand.set")
    for wrong, field in (({"over": "client:NONE"}, "NONE"), ({"factor": "x"}, "Which factor?")):
        assert field in told(ada.get("/demands/new", query_string=wanted | wrong).text)
    assert ada.post("/demands", wanted).status_code == 422  # without a reason
    answer = ada.post("/demands", wanted | {"reason": "Their new contract."})
    assert answer.status_code == 303, answer.text
    page = told(ada.get(answer.location).text)
    assert "Not yet in force" in page
    assert "3 people do not meet a demand that is to begin" in told(ada.get("/").text)
    assert "3 people do not meet it" in told(ada.get("/projects/Kingfisher").text)
    assert "Kingfisher Project A passkey" in told(ada.get("/demands").text)

    ben = Visitor.of(app).seated(world, people[0])
    page = told(ben.get("/status").text)
    assert "Enrol a passkey in time" in page
    assert "Everything is open to you" in page
    assert "You may look at the data" in page
    other = desk(app, world, client=world.client("BOREAL"))
    assert other.get(answer.location).status_code == 404
    assert "Kingfisher" not in other.get("/demands").text
    assert other.post(f"{answer.location}/end", {"reason": "x"}).status_code == 404

    world.demand("client:ASTER", Factor.PHISHING_RESISTANT)
    page = told(ben.get("/status").text)
    assert "Enrol a passkey to go on" in page
    assert "You may not look at the data annotate log hours" in page
    assert "Everything is open to you" not in page
    assert "Later ones count once you have enrolled it." in page
    assert ada.post(f"{answer.location}/end", {"reason": "Not so soon."}).status_code == 303
    page = told(ada.get(answer.location).text)
    assert "It is demanded no longer" in page
    assert ada.post(f"{answer.location}/end", {"reason": "Again."}).status_code == 409


def test_who_owes_a_factor_to_their_role_sees_only_where_to_enrol_it(
    world: World, app: Flask
) -> None:
    client = world.client()
    row = world.staff()
    world.activate(row)
    ada = Visitor.of(app).seated(world, row)
    assert ada.get("/people").status_code == 200
    soon = clock.utcnow() + timedelta(seconds=40)
    demand = world.demand("role:admin", Factor.PHISHING_RESISTANT, starts=soon)
    assert ada.get("/people").status_code == 200
    with clock.at(soon):
        for path in ("/", "/people", "/status", "/demands", f"/demands/{demand.id}"):
            answer = ada.get(path)
            assert (answer.status_code, answer.location.split("?")[0]) == (303, "/account"), path
        page = told(ada.get("/account").text)
        assert "Your role demands a passkey" in page
        assert "Pause" not in page
        for path, form in (
            (f"/demands/{demand.id}/end", {"reason": "x"}), ("/pause", {"target": "client:ASTER"}),
        ):  # fmt: skip
            assert ada.post(path, form).status_code == 403
        # An auditor's role asks for nothing, and the machine's user ends what went wrong.
        assert desk(app, world, "auditor", client=client).get("/log").status_code == 200
        world.do(
            lambda s: demands.end(
                s, s.get_one(FactorDemand, demand.id), reason="locked out", by=OPERATOR
            )
        )
        assert ada.get("/people").status_code == 200


def test_who_owes_a_factor_to_their_role_approves_nothing_at_the_machine(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    row = world.staff()
    world.activate(row)
    world.demand("role:admin", Factor.PHISHING_RESISTANT)
    later = clock.utcnow() + timedelta(seconds=30)
    typed = tmp_path_factory.mktemp("typed") / "both"
    typed.write_text(f"{PASSWORD}\n{world.code(row, at=later)}\n")
    desk = Desk()
    desk.__dict__["database"] = world.store
    with clock.at(later), typed.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(errors.FactorRequired, match="a passkey"):
            desk.person(row.email)

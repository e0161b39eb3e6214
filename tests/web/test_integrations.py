"""The pages of integrations: a secret is shown once, and an act counts from the next request."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING

import pytest

from govern.access import forwarding
from tests.factory import OPERATOR
from tests.web.desks import desk, told

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.factory import World
    from tests.web.visitor import Visitor


@pytest.fixture
def ada(app: Flask, world: World) -> Visitor:
    return desk(app, world)


def shown(page: TestResponse, name: str) -> str:
    found = re.search(rf'id="client-{name}">([^<]+)<', page.text)
    assert found, page.text
    return unescape(found[1])


def test_the_secret_is_in_one_answer_and_each_act_counts_from_the_next_request(
    app: Flask, world: World, ada: Visitor
) -> None:
    world.project("Kingfisher", client=world.client("ASTER"))
    form = {"name": "object store", "scope": ["decision", "introspect"], "project": "Kingfisher"}
    made = ada.post("/integrations", form)
    assert made.status_code == 200
    name, secret = shown(made, "id"), shown(made, "secret")
    here = f"/integrations/{name}"
    question = {
        "subject": {"type": "user", "id": "x"},
        "action": {"name": "read"},
        "resource": {"type": "project", "id": "Kingfisher"},
    }

    def asks(secret: str) -> int:
        answer = app.test_client().post("/access/v1/evaluation", json=question, auth=(name, secret))
        return answer.status_code

    assert asks(secret) == 200
    page = ada.get(here)
    assert secret not in page.text
    words = told(page.text)
    assert all(
        word in words for word in ("Active", "introspect", "Kingfisher", "Secrets that count")
    )
    assert "never" not in told(ada.get("/integrations").text)

    assert ada.post(f"{here}/suspend").headers["Location"] == here
    assert asks(secret) == 401
    again = ada.post(f"{here}/suspend")
    assert again.status_code == 409
    assert "It is suspended already." in told(again.text)
    ada.post(f"{here}/resume")
    assert asks(secret) == 200

    rotated = ada.post(f"{here}/rotate", {"overlap": "0"})
    new = shown(rotated, "secret")
    assert (asks(secret), asks(new)) == (401, 200)
    assert "Location" not in rotated.headers
    assert new not in str(rotated.headers)

    ada.post(f"{here}/revoke")
    assert asks(new) == 401
    assert "/resume" not in ada.get(here).text


def test_a_form_that_makes_no_sense_comes_back_as_it_was_filled(world: World, ada: Visitor) -> None:
    row, _ = world.integration()
    good = {"name": "another", "scope": "decision"}
    for wrong, said in (
        ({"name": "tool"}, "already"),
        ({"scope": ""}, "A scope is one of"),
        ({"client": "NOWHERE"}, "There is no client “NOWHERE”."),
        ({"project": "Nowhere"}, "There is no project “Nowhere”."),
    ):
        answer = ada.post("/integrations", {**good, **wrong})
        assert answer.status_code in {409, 422}
        assert said in told(answer.text)
        assert f'value="{wrong.get("name", "another")}"' in answer.text
    for wrong, said in (
        ({"redirect_uris": "http://label.example/back"}, "is not an https address"),
        ({"resources": "api"}, "is no absolute URI"),
        ({"public_keys": "[" * 100_000}, "This is no JSON object."),
        ({"public_keys": '{"keys": []}'}, "at least one key"),
    ):
        empty = {"redirect_uris": "", "resources": "", "public_keys": ""}
        answer = ada.post(f"/integrations/{row.id}/registration", {**empty, **wrong})
        assert answer.status_code == 422, wrong
        assert said in told(answer.text)
    answer = ada.post(
        f"/integrations/{row.id}/registration",
        {"redirect_uris": "https://a.example/\r\nhttps://b.example/", "resources": "urn:x:y"},
    )
    assert answer.status_code == 303
    assert "https://a.example/\nhttps://b.example/" in ada.get(f"/integrations/{row.id}").text


def test_who_may_only_look_looks_and_others_do_not_learn_that_it_exists(
    app: Flask, world: World
) -> None:
    mine = world.client("MINE")
    own, _ = world.integration("own tool", clients=[mine.id])
    rival, _ = world.integration("rival tool", clients=[world.client("RIVAL").id])
    for role in ("admin", "auditor"):
        visitor = desk(app, world, role, client=mine)
        listed = told(visitor.get("/integrations").text)
        assert "own tool" in listed
        assert "rival tool" not in listed
        assert "Create one" not in listed
        assert visitor.get(f"/integrations/{own.id}").status_code == 200
        assert visitor.get(f"/integrations/{rival.id}").status_code == 404
        assert visitor.post(f"/integrations/{rival.id}/suspend").status_code == 404
        for act in ("suspend", "resume", "revoke", "rotate", "registration"):
            answer = visitor.post(f"/integrations/{own.id}/{act}", {"overlap": "1"})
            assert answer.status_code == 403, act
        assert visitor.post("/integrations", {"name": "x", "scope": "api"}).status_code == 403
    contractor = desk(app, world, None)
    assert contractor.get("/integrations").status_code == 403
    with world.store.reading() as session:
        found = session.get(type(own), own.id)
        assert found is not None
        assert found.state == "active"


def test_the_rules_of_a_proxy_are_shown_in_their_order(world: World, ada: Visitor) -> None:
    world.project("Kingfisher")
    row, _ = world.integration("proxy")
    rule = {"host": "data.example", "methods": ["GET"], "path": "/a/**", "action": "read",
            "resource": "project:Kingfisher"}  # fmt: skip
    document = json.dumps({"mode": "bound", "rules": [rule, rule | {"path": "/<b>/**"}]})
    world.do(lambda s: forwarding.set_rules(s, s.get_one(type(row), row.id), document, by=OPERATOR))
    words = told(ada.get(f"/integrations/{row.id}").text)
    assert words.index("data.example/a/**") < words.index("data.example/<b>/**")
    assert "project:Kingfisher" in words

"""The page on which a person gives a tool access: what it says, and where it leads."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from govern import clock
from govern.audit.decisions import Access
from tests.access.tooling import BACK, RESOURCE, Tool, claims, listed
from tests.web.desks import told
from tests.web.oauth.flow import Flow, details, sent_back
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


@pytest.fixture
def flow(app: Flask, world: World) -> Flow:
    return Flow.of(app, world)


def test_a_person_sees_who_asks_for_what_and_is_sent_back_with_their_answer(flow: Flow) -> None:
    both = details("Kingfisher", "read", "export")
    page = flow.browser.get(flow.address(authorization_details=both))
    words = told(page.text)
    assert all(
        word in words
        for word in ("labels", "labels.example", "Kingfisher", "look at the data", "download data")
    )
    policy = page.headers["Content-Security-Policy"]
    assert "form-action 'self' https://labels.example;" in policy
    assert flow.answer("deny")["error"] == "access_denied"
    assert flow.answer("")["error"] == "access_denied"
    answer = flow.redeem(flow.answer(authorization_details=both)["code"])
    (given,) = answer.json["authorization_details"]
    assert given["actions"] == ["read"]
    held = flow.world.suspend("project:Kingfisher")
    assert "Give access" not in told(flow.browser.get(flow.address()).text)
    assert flow.answer()["error"] == "access_denied"
    flow.world.lift(held)
    stranger = Visitor.of(flow.app).get(flow.address())
    assert stranger.status_code == 303
    assert stranger.location.startswith("/sign-in?next=/oauth/authorize%3F")
    form = {"answer": "allow", "csrf_token": "made up"}
    assert flow.browser.client.post(flow.address(), data=form).status_code == 400
    with clock.at(clock.utcnow() + timedelta(hours=13)):
        late = flow.browser.get(flow.address())
    assert late.status_code == 303
    assert late.location.startswith(("/step-up?next=", "/sign-in?next="))


@pytest.mark.asvs("10.4.1")
def test_nobody_is_sent_to_an_address_that_is_not_registered_letter_for_letter(
    flow: Flow,
) -> None:
    for changes in (
        {"client_id": None}, {"client_id": "int_unknown"}, {"client_id": '"'},
        {"redirect_uri": None}, {"redirect_uri": BACK + "/"}, {"redirect_uri": BACK + "?x=1"},
        {"redirect_uri": BACK.upper()}, {"redirect_uri": 'https://evil.example/"'},
        {"redirect_uri": None, "response_type": "token"},
    ):  # fmt: skip
        bad: dict[str, Any] = changes
        for answer in (
            flow.browser.get(flow.address(**bad)),
            flow.browser.post(flow.address(**bad), {"answer": "allow"}),
        ):
            assert answer.status_code == 422, changes
            assert "Location" not in answer.headers
            assert "evil" not in answer.headers["Content-Security-Policy"]


@pytest.mark.asvs("10.4.4", "10.4.6")
def test_what_is_wrong_beyond_the_address_is_told_to_the_tool(flow: Flow) -> None:
    flow.world.project("Heron")
    two = Tool.of(flow.world, "bare", registration=None)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("unsupported_response_type", {"response_type": "token"}),
        ("unsupported_response_type", {"response_type": '"'}),
        ("invalid_request", {"code_challenge": None}),
        ("invalid_request", {"code_challenge": "short"}),
        ("invalid_request", {"code_challenge_method": "plain"}),
        ("invalid_request", {"code_challenge_method": None}),
        ("invalid_scope", {"scope": "decision"}),
        ("invalid_target", {"resource": "https://elsewhere.example"}),
        *(
            ("invalid_authorization_details", {"authorization_details": value})
            for value in (
                None, "", "x", "{}", "[]", "[" * 5000, '"x"', "[1]",
                details("Heron"), details("Nowhere"), details("Kingfisher", "fly"),
                details(type="other"), details(more=1), details(actions=[]), details(actions="x"),
                details(actions=["read"] * 21), details(actions=[1]), details(identifier=""),
                details(dataset=None), details(dataset="nothing"), details(identifier="\x7f"),
                details(locations=[]), details(locations=["https://elsewhere.example"]),
                json.dumps(json.loads(details()) * 2),
            )
        ),
    ]  # fmt: skip
    for name, changes in wrong:
        for answer in (
            flow.browser.get(flow.address(**changes)),
            flow.browser.post(flow.address(**changes), {"answer": "allow"}),
        ):
            assert sent_back(answer)["error"] == name, changes
    told = sent_back(flow.browser.get(flow.address(response_type="token")))
    assert told["error_description"] == "Send response_type=code: nothing else is supported."
    twice = flow.address() + "&resource=x&scope=&authorization_details=[]"
    assert sent_back(flow.browser.get(twice))["error"] == "invalid_request"
    good = details(locations=[RESOURCE])
    assert flow.answer(resource=RESOURCE, authorization_details=good)["code"]
    assert flow.browser.get(flow.address(client_id=two.row.id)).status_code == 422


@pytest.mark.asvs("10.4.9")
def test_a_person_takes_back_what_they_gave_a_tool_and_nobody_else_can(
    app: Flask, flow: Flow
) -> None:
    token, unused = flow.token(), flow.answer()["code"]
    page = flow.browser.get("/account").text
    given = re.findall(r"/account/tools/(tok_\w+)/take-back", page)
    assert len(given) == 2
    assert claims(token)["jti"] in given
    assert "labels" in told(page)
    stranger = flow.world.subject("eve")
    flow.world.activate(stranger)
    other = Visitor.of(app).sign_in(flow.world, stranger)
    assert "/account/tools/" not in other.get("/account").text
    assert other.post(f"/account/tools/{given[0]}/take-back").status_code == 404
    assert flow.active(token)

    flow.browser.get("/account")
    assert flow.browser.client.post(f"/account/tools/{given[0]}/take-back").status_code == 400
    assert flow.browser.client.get(f"/account/tools/{given[0]}/take-back").status_code == 405
    for one in given:
        assert flow.browser.post(f"/account/tools/{one}/take-back").status_code == 303
    assert not flow.active(token)
    assert listed(flow.world.store, token) == 1  # INVALID
    assert flow.redeem(unused).json["error"] == "invalid_grant"
    assert "/account/tools/" not in flow.browser.get("/account").text
    assert flow.browser.post(f"/account/tools/{given[0]}/take-back").status_code == 404
    with flow.world.store.access_reading() as session:
        taken = session.execute(
            select(Access.principal).where(Access.reason == "token_revoked")
        ).scalars()
        assert list(taken) == [flow.ada.id] * 2

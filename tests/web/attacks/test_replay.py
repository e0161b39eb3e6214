"""Replay and fixation: what was used, ended or planted before opens nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from govern import clock
from govern.audit.decisions import Access, AccessKind
from govern.identity import activation
from govern.principal import SYSTEM
from tests.factory import PASSWORD
from tests.web.oauth.flow import Flow
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


def refused(world: World) -> list[tuple[str, str]]:
    """What the access log says was refused."""
    with world.store.access_reading() as session:
        rows = select(Access.action, Access.reason).where(Access.kind == AccessKind.REFUSAL)
        return [
            (action, reason) for action, reason in session.execute(rows.order_by(Access.number))
        ]


@pytest.mark.asvs("7.2.4", "7.2.2")
def test_no_session_that_was_planted_before_a_sign_in_is_signed_in_by_it(
    app: Flask, world: World
) -> None:
    attacker, victim = world.subject(), world.subject()
    for each in (attacker, victim):
        world.activate(each)
    theirs = Visitor.of(app).seated(world, attacker).client.get_cookie("session")
    assert theirs is not None
    later = clock.utcnow() + timedelta(seconds=30)
    for planted in (theirs.value, "made-up", ""):
        browser = Visitor.of(app)
        browser.client.set_cookie("session", planted)
        browser.get("/account" if planted == theirs.value else "/sign-in")
        browser.post("/sign-in", {"email": victim.email, "password": PASSWORD})
        half = browser.client.get_cookie("session")
        assert half is not None
        assert half.value != planted
        later += timedelta(seconds=30)
        with clock.at(later):
            answer = browser.post("/sign-in/code", {"code": world.code(victim, at=later)})
        assert answer.status_code == 303
        full = browser.client.get_cookie("session")
        assert full is not None
        for token in (planted, half.value):
            other = Visitor.of(app)
            other.client.set_cookie("session", token)
            assert other.get("/account").status_code == 303
        assert full.value not in {planted, half.value}


@pytest.mark.asvs("3.5.1", "16.3.3")
def test_no_form_of_another_session_is_taken_and_the_attempt_is_on_record(
    app: Flask, world: World
) -> None:
    person, stranger = world.subject(), world.subject()
    for each in (person, stranger):
        world.activate(each)
    visitor = Visitor.of(app)
    visitor.get("/sign-in")
    before = visitor.csrf
    visitor.seated(world, person)
    theirs = Visitor.of(app).seated(world, stranger).csrf
    last = visitor.csrf
    visitor.post("/sign-out")
    with clock.at(clock.utcnow() + timedelta(minutes=2)):
        visitor.seated(world, person)
    tokens = (theirs, last, "", "x", before[:-1] + "x")
    for token in tokens:
        answer = visitor.client.post("/account/sessions/end-others", data={"csrf_token": token})
        assert answer.status_code == 400
    assert refused(world) == [("POST /account/sessions/end-others", "forbidden")] * len(tokens)


@pytest.mark.asvs("6.4.1")
def test_a_link_that_was_used_or_replaced_opens_nothing(app: Flask, world: World) -> None:
    person = world.subject()
    first, second = (world.do(lambda s: activation.issue(s, person, by=SYSTEM)) for _ in range(2))
    form = {"step": "password", "password": PASSWORD, "password_again": PASSWORD}
    browser = Visitor.of(app)
    assert browser.get(f"/activate/{second}").status_code == 200
    page = browser.post(f"/activate/{second}", form).text
    sealed = page.partition('name="sealed" value="')[2].partition('"')[0]
    world.activate(person)
    for link in (first, second):
        assert browser.get(f"/activate/{link}").status_code == 404
        for step in (form, {"step": "authenticator", "sealed": sealed, "code": world.code(person)}):
            answer = browser.post(f"/activate/{link}", step)
            assert answer.status_code in {404, 422}
            assert "recovery" not in answer.text.lower() or answer.status_code == 404


@pytest.mark.asvs("10.4.2", "10.4.8", "10.4.4")
def test_a_code_of_oauth_is_good_once_and_nothing_outlives_its_token(
    app: Flask, world: World
) -> None:
    flow = Flow.of(app, world)
    code = flow.answer()["code"]
    token = flow.redeem(code).json
    assert set(token) == {"access_token", "token_type", "expires_in", "authorization_details"}
    assert flow.redeem(code).status_code == 400
    assert not flow.active(token["access_token"])
    for grant_type in ("refresh_token", "password", "implicit"):
        form = {"grant_type": grant_type, "refresh_token": token["access_token"],
                "username": flow.ada.email, "password": PASSWORD}  # fmt: skip
        assert flow.post("token", **form).json["error"] == "unsupported_grant_type"


@pytest.mark.asvs("6.3.1", "16.3.3")
def test_no_path_lets_anyone_guess_on_and_every_guess_is_on_record(
    app: Flask, world: World
) -> None:
    """The second factor may be typed at three places, and the password at two."""
    paths = {
        "the password": ("/sign-in", {"password": "wrong horse battery"}),
        "the code": ("/sign-in/code", {"code": "000000"}),
        "the recovery code": ("/sign-in/code", {"recovery_code": "0" * 20}),
        "the code of a form": ("/step-up", {"code": "000000"}),
    }
    for name, (path, wrong) in paths.items():
        person = world.subject()
        world.activate(person)
        visitor = Visitor.of(app)
        if path == "/step-up":
            visitor.seated(world, person)
        elif path != "/sign-in":
            visitor.post("/sign-in", {"email": person.email, "password": PASSWORD})
        failed, rows = len(world.entries("house", "sign_in.failed")), len(refused(world))
        told = [visitor.post(path, {"email": person.email, **wrong}) for _ in range(8)]
        statuses = [answer.status_code for answer in told]
        assert statuses == [401] * 5 + [429] * 3, name
        assert int(told[-1].headers["Retry-After"]) > 0
        assert len(world.entries("house", "sign_in.failed")) == failed + 5
        assert len(refused(world)) == rows + 8

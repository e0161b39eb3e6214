"""One's own authenticators, by their forms: added, named, removed, and asked for in between."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING

import pyotp
import pytest

from govern import clock
from govern.identity import activation, authenticators, passkeys
from govern.identity.passkeys import Asked
from tests.factory import OPERATOR, PASSWORD
from tests.support.authenticator import Device
from tests.web.desks import hidden, told
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from govern.config import Settings
    from govern.identity.subjects import Subject
    from tests.factory import World

ORIGIN = "http://localhost"
LATER = timedelta(minutes=7)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, public_url=ORIGIN)  # passkeys are bound to a host's name


@pytest.fixture
def me(world: World) -> Subject:
    subject = world.subject()
    with clock.at(clock.utcnow() - timedelta(minutes=1)):
        world.activate(subject)
    return subject


def asked(page: str, field: str = "passkey") -> Asked:
    """What a page asks of the browser's own dialogue."""
    found = re.search(r'data-options="([^"]+)"', page)
    assert found, told(page)
    return Asked(unescape(found[1]), hidden(page, f"{field}_sealed"))


def apps(world: World, subject: Subject) -> list[str]:
    with world.store.reading() as session:
        return [each.name for each in authenticators.enrolled(session, subject.id)]


def add_passkey(browser: Visitor, name: str = "Blue key") -> Device:
    device = Device(ORIGIN)
    question = asked(browser.get("/account/passkeys/new").text, "new_passkey")
    sent = {"new_passkey": device.make(question), "new_passkey_sealed": question.sealed}
    answer = browser.post("/account/passkeys", {"name": name, **sent})
    assert answer.status_code == 303, told(answer.text)
    return device


def id_of(page: str, name: str) -> str:
    about = page.partition(f'<strong class="break">{name}</strong>')[2]
    found = re.search(r"/account/authenticators/(\w+)/rename", about)
    assert found, told(page)
    return found[1]


def test_an_app_is_added_named_and_removed_and_the_last_strong_one_stays(
    app: Flask, world: World, me: Subject
) -> None:
    browser = Visitor.of(app).seated(world, me)
    first = id_of(browser.get("/account").text, "Authenticator app")
    refused = browser.post(f"/account/authenticators/{first}/remove")
    assert refused.status_code == 409
    assert "add another one first" in told(refused.text)

    page = browser.get("/account/apps/new").text
    assert 'src="data:image/svg+xml' in page, "a QR code"
    seed = re.search(r"((?:[A-Z2-7]{4} ){7}[A-Z2-7]{4})", told(page))
    assert seed, "and what it says, to be typed"
    sent = {"name": "Spare phone", "sealed": hidden(page, "sealed")}
    wrong = browser.post("/account/apps", {**sent, "first_code": "000000"})
    assert wrong.status_code == 422
    assert seed[1] in told(wrong.text), "the same one, for the code may have been mistyped"
    assert 'value="Spare phone"' in wrong.text
    code = pyotp.TOTP(seed[1].replace(" ", "")).at(clock.utcnow())
    added = browser.post("/account/apps", {**sent, "first_code": code})
    assert added.status_code == 303, told(added.text)
    assert apps(world, me) == ["", "Spare phone"]

    another = id_of(browser.get("/account").text, "Spare phone")
    assert (
        browser.post(f"/account/authenticators/{another}/rename", {"name": ""}).status_code == 422
    )
    browser.post(f"/account/authenticators/{another}/rename", {"name": "Old & <phone>"})
    assert apps(world, me) == ["", "Old & <phone>"]
    assert "Old & <phone>" in told(browser.get("/account").text)
    assert browser.post(f"/account/authenticators/{first}/remove").status_code == 303
    assert apps(world, me) == ["Old & <phone>"]
    assert browser.post(f"/account/authenticators/{another}/remove").status_code == 409

    stranger = Visitor.of(app).seated(world, somebody(world))
    assert stranger.post(f"/account/authenticators/{another}/remove").status_code == 404
    stolen = stranger.post("/account/apps", {**sent, "first_code": code})
    assert stolen.status_code == 422, "a form that was sealed for somebody else"


def somebody(world: World) -> Subject:
    subject = world.subject()
    world.activate(subject)
    return subject


@pytest.mark.asvs("7.5.1")
def test_a_passkey_freshens_a_session_in_the_middle_of_a_form_which_goes_on(
    app: Flask, world: World, me: Subject
) -> None:
    browser = Visitor.of(app).seated(world, me)
    device = add_passkey(browser)
    name = id_of(browser.get("/account").text, "Blue key")
    with clock.at(clock.utcnow() + LATER):
        page = browser.post(f"/account/authenticators/{name}/remove")
        assert page.status_code == 403
        assert "Remove an authenticator" in told(page.text), "what it is for"
        question = asked(page.text)
        lie = device.show(question, origin="https://elsewhere.example")
        sent = {"step_up": "1", "passkey_sealed": question.sealed}
        wrong = browser.post(f"/account/authenticators/{name}/remove", {**sent, "passkey": lie})
        assert wrong.status_code == 401
        question = asked(wrong.text)
        right = {"passkey": device.show(question), "passkey_sealed": question.sealed}
        done = browser.post(f"/account/authenticators/{name}/remove", {**sent, **right})
        assert done.status_code == 303, told(done.text)
    with world.store.reading() as session:
        assert passkeys.in_use(session, me.id) == []


def test_a_sign_in_makes_its_browser_known_whichever_way_it_was(
    app: Flask, world: World, me: Subject
) -> None:
    def news() -> int:
        return len(world.entries("house", "sign_in.new_browser"))

    def renewed(browser: Visitor) -> Visitor:
        """The same browser, signed out, with its cookie for who it is."""
        browser.post("/sign-out")
        return browser

    browser = Visitor.of(app).sign_in(world, me)
    assert news() == 1
    device = add_passkey(browser)
    with clock.at(clock.utcnow() + LATER):
        by_passkey(renewed(browser), device)
        assert news() == 1
        other = Visitor.of(app)
        by_passkey(other, device)
        assert news() == 2
        by_passkey(renewed(other), device)
        assert news() == 2
    with clock.at(clock.utcnow() + 2 * LATER):
        renewed(other).sign_in(world, me)
        assert news() == 2, "nor is a password in a browser that a passkey made known"
        new = {"password": "another long enough phrase"}
        answer = other.post(
            "/account/password", {"current": PASSWORD, **new, "password_again": new["password"]}
        )
        assert answer.status_code == 303, told(answer.text)
        by_passkey(renewed(other), device)
        assert news() == 2
        by_passkey(renewed(browser), device)
        assert news() == 3, "what others knew went with the password"


def by_passkey(browser: Visitor, device: Device) -> None:
    question = asked(browser.get("/sign-in").text)
    sent = {"passkey": device.show(question), "passkey_sealed": question.sealed}
    answer = browser.post("/sign-in/passkey", sent)
    assert answer.status_code == 303, told(answer.text)
    browser.get("/account")


def test_who_activates_an_account_in_a_browser_is_not_told_of_it_afterwards(
    app: Flask, world: World
) -> None:
    subject = world.subject()
    token = world.do(lambda s: activation.issue(s, subject, by=OPERATOR))
    browser = Visitor.of(app)
    browser.get(f"/activate/{token}")
    chosen = {"password": PASSWORD, "password_again": PASSWORD}
    page = browser.post(f"/activate/{token}", {"step": "password", **chosen}).text
    found = re.search(r"((?:[A-Z2-7]{4} ){7}[A-Z2-7]{4})", told(page))
    assert found
    world.seeds[subject.id] = found[1].replace(" ", "")
    sent = {"step": "authenticator", "sealed": hidden(page, "sealed"), "code": world.code(subject)}
    assert "Recovery codes" in browser.post(f"/activate/{token}", sent).text
    browser.sign_in(world, subject)
    assert world.entries("house", "sign_in.new_browser") == []

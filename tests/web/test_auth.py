"""Signing in, the second factor, activation, and the forms' protection, as a browser meets them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pyotp
import pytest
from sqlalchemy import select

from govern import clock
from govern.access import offboarding
from govern.audit.log import Entry
from govern.identity import activation, sessions
from govern.principal import SYSTEM
from tests.factory import OPERATOR, PASSWORD
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor.of(app)


def _types(world: World) -> list[str]:
    with world.store.reading() as session:
        return list(session.execute(select(Entry.type).order_by(Entry.at)).scalars())


def _cookie(visitor: Visitor) -> str:
    cookie = visitor.client.get_cookie("session")
    return cookie.value if cookie else ""


@pytest.mark.asvs("7.2.4")
def test_both_steps_lead_to_a_session_and_to_the_page_that_was_asked_for(
    world: World, visitor: Visitor
) -> None:
    person = world.subject()
    world.activate(person)

    asked = visitor.get("/account")
    assert asked.headers["Location"] == "/sign-in?next=/account"
    visitor.get(asked.headers["Location"])
    answer = visitor.post(
        "/sign-in", {"email": person.email.upper(), "password": PASSWORD, "next": "/account"}
    )
    assert answer.headers["Location"] == "/sign-in/code?next=/account"
    half = _cookie(visitor)
    assert person.email in visitor.get("/sign-in/code?next=/account").text
    with clock.at(clock.utcnow() + timedelta(seconds=30)):
        answer = visitor.post("/sign-in/code", {"code": world.code(person), "next": "/account"})
    assert answer.headers["Location"] == "/account"
    assert _cookie(visitor) != half, "the token is new after the second factor"
    assert person.full_name in visitor.get("/account").text


@pytest.mark.asvs("3.3.2", "3.3.4", "63B-5.1")
@pytest.mark.web_alone
def test_the_cookie_is_for_this_host_alone_and_out_of_reach_of_scripts(
    world: World, visitor: Visitor
) -> None:
    person = world.subject()
    world.activate(person)
    visitor.get("/sign-in")
    answer = visitor.post("/sign-in", {"email": person.email, "password": PASSWORD})
    (cookie,) = [c for c in answer.headers.getlist("Set-Cookie") if c.startswith("session=")]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert "Expires" not in cookie
    assert "Max-Age" not in cookie


def test_a_browser_that_signed_in_is_known_afterwards_and_strangers_do_not_keep_it_out(
    world: World, app: Flask
) -> None:
    person = world.subject()
    world.activate(person)
    at_home, stranger = Visitor.of(app), Visitor.of(app)
    for visitor in (at_home, stranger):
        visitor.get("/sign-in")
    half = at_home.post("/sign-in", {"email": person.email, "password": PASSWORD})
    assert "browser=" not in str(half.headers.getlist("Set-Cookie")), "half a sign-in is none"
    with clock.at(clock.utcnow() + timedelta(seconds=30)):
        answer = at_home.post("/sign-in/code", {"code": world.code(person)})
    (cookie,) = [c for c in answer.headers.getlist("Set-Cookie") if c.startswith("browser=")]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} < set(cookie.split("; "))
    at_home.get("/account")
    at_home.post("/sign-out", {})
    assert at_home.get("/account").status_code == 303, "it opens nothing"
    for _ in range(5):
        stranger.post("/sign-in", {"email": person.email, "password": "wrong wrong wrong"})
    right = {"email": person.email, "password": PASSWORD}
    assert stranger.post("/sign-in", right).status_code == 429
    at_home.get("/sign-in")
    assert at_home.post("/sign-in", right).status_code == 303


def test_unknown_wrong_and_offboarded_are_answered_alike_and_counted(
    world: World, app: Flask
) -> None:
    known, gone = world.subject(), world.subject()
    world.activate(known)
    world.activate(gone)
    world.do(lambda s: offboarding.offboard(s, s.merge(gone), reason="left", by=OPERATOR))

    told = set()
    for email, password in [
        ("nobody@nowhere.example", PASSWORD),
        (known.email, "not the password"),
        (gone.email, PASSWORD),
        ("no address", PASSWORD),
    ]:
        visitor = Visitor.of(app)
        visitor.get("/sign-in")
        answer = visitor.post("/sign-in", {"email": email, "password": password})
        assert answer.status_code == 401
        assert not _cookie(visitor)
        told.add(re.sub(r'value="[^"]*"|nonce="[^"]*"', "", answer.text))
    assert len(told) == 1
    assert _types(world).count("sign_in.failed") == 4


def test_guessing_is_slowed_down_and_says_for_how_long(world: World, visitor: Visitor) -> None:
    person = world.subject()
    world.activate(person)
    visitor.get("/sign-in")
    for _ in range(5):
        visitor.post("/sign-in", {"email": person.email, "password": "wrong wrong wrong"})
    answer = visitor.post("/sign-in", {"email": person.email, "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_a_wrong_code_is_counted_and_leaves_the_sign_in_half_way(
    world: World, visitor: Visitor
) -> None:
    person = world.subject()
    world.activate(person)
    visitor.get("/sign-in")
    visitor.post("/sign-in", {"email": person.email, "password": PASSWORD})
    half = _cookie(visitor)
    answer = visitor.post("/sign-in/code", {"code": "000000"})
    assert answer.status_code == 401
    assert "One-time code" in answer.text
    assert _types(world)[-1] == "sign_in.failed"
    assert _cookie(visitor) == half
    assert visitor.get("/account").status_code == 303


def test_a_code_works_once(world: World, app: Flask) -> None:
    person = world.subject()
    world.activate(person)
    later = clock.utcnow() + timedelta(seconds=30)
    statuses = []
    for _ in range(2):
        visitor = Visitor.of(app)
        visitor.get("/sign-in")
        visitor.post("/sign-in", {"email": person.email, "password": PASSWORD})
        with clock.at(later):
            statuses.append(visitor.post("/sign-in/code", {"code": world.code(person)}).status_code)
    assert statuses == [303, 401]


def test_a_recovery_code_signs_in_once(world: World, app: Flask) -> None:
    person = world.subject()
    code = world.activate(person)[0]
    statuses = []
    for _ in range(2):
        visitor = Visitor.of(app)
        visitor.get("/sign-in")
        visitor.post("/sign-in", {"email": person.email, "password": PASSWORD})
        statuses.append(visitor.post("/sign-in/code", {"recovery_code": code}).status_code)
    assert statuses == [303, 401]


@pytest.mark.asvs("2.3.1", "6.3.3")
def test_half_a_sign_in_can_do_nothing_but_finish_or_give_up(world: World, app: Flask) -> None:
    person = world.staff("admin")
    world.activate(person)
    visitor = Visitor.of(app)
    visitor.get("/sign-in")
    visitor.post("/sign-in", {"email": person.email, "password": PASSWORD})
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if "GET" not in rule.methods or rule.endpoint == "static":
            continue
        if getattr(view, "govern_guard", "signed_in") != "signed_in":
            continue
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        answer = visitor.client.get(path)
        assert answer.status_code in {303, 401}, path
        assert answer.status_code == 401 or answer.headers["Location"].startswith("/sign-in"), path

    token = _cookie(visitor)
    assert visitor.post("/sign-out").headers["Location"] == "/sign-in"
    assert not _cookie(visitor)
    with world.store.reading() as session:
        assert sessions.resume(session, token) is None


@pytest.mark.asvs("7.4.1", "7.2.1")
def test_signing_out_ends_the_session_on_the_server(world: World, visitor: Visitor) -> None:
    person = world.subject()
    world.activate(person)
    visitor.sign_in(world, person)
    token = _cookie(visitor)
    visitor.post("/sign-out")
    visitor.client.set_cookie("session", token)
    assert visitor.get("/account").status_code == 303


def test_signing_in_again_ends_the_session_before(world: World, visitor: Visitor) -> None:
    person = world.subject()
    world.activate(person)
    visitor.sign_in(world, person)
    before = _cookie(visitor)
    visitor.post("/sign-in", {"email": person.email, "password": PASSWORD})
    with world.store.reading() as session:
        assert sessions.resume(session, before) is None


@pytest.mark.web_alone
def test_only_paths_of_ours_are_gone_on_to(world: World, app: Flask) -> None:
    person = world.subject()
    world.activate(person)
    seconds = 0
    for wanted in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil.example",
    ]:
        seconds += 30
        visitor = Visitor.of(app)
        page = visitor.get("/sign-in", query_string={"next": wanted})
        assert "evil" not in page.text
        with clock.at(clock.utcnow() + timedelta(seconds=seconds)):
            answer = visitor.post(
                "/sign-in", {"email": person.email, "password": PASSWORD, "next": wanted}
            )
            assert "evil" not in answer.headers["Location"]
            answer = visitor.post("/sign-in/code", {"code": world.code(person), "next": wanted})
        assert answer.headers["Location"] == "/", wanted


def test_each_role_is_led_to_its_own_place(world: World, app: Flask) -> None:
    auditor, contractor = world.staff("auditor"), world.subject()
    for person in (auditor, contractor):
        world.activate(person)
    visitor = Visitor.of(app).sign_in(world, auditor)
    assert visitor.get("/").headers["Location"] == "/log"
    visitor = Visitor.of(app).sign_in(world, contractor)
    answer = visitor.get("/", follow_redirects=True)
    assert "My projects" in answer.text


# --- activation --------------------------------------------------------------------------------


def _link(world: World, person: object) -> str:
    return world.do(lambda s: activation.issue(s, person, by=SYSTEM))


def _hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


def test_a_link_leads_through_password_authenticator_and_recovery_codes(
    world: World, visitor: Visitor
) -> None:
    person = world.subject()
    path = f"/activate/{_link(world, person)}"
    assert person.email in visitor.get(path).text

    both = {"password": "short", "password_again": "short"}
    answer = visitor.post(path, {"step": "password", **both})
    assert answer.status_code == 422
    assert "12 to 256" in answer.text
    answer = visitor.post(
        path, {"step": "password", "password": PASSWORD, "password_again": PASSWORD + "!"}
    )
    assert "not the same" in answer.text

    answer = visitor.post(
        path, {"step": "password", "password": PASSWORD, "password_again": PASSWORD}
    )
    assert 'src="data:image/svg+xml' in answer.text
    secret = re.search(r'id="secret">([A-Z2-7 ]+)<', answer.text)
    assert secret
    seed = secret[1].replace(" ", "")
    sealed = _hidden(answer.text, "sealed")
    assert seed not in sealed
    assert not any(seed in cookie for cookie in answer.headers.getlist("Set-Cookie"))

    answer = visitor.post(path, {"step": "authenticator", "sealed": sealed, "code": "000000"})
    assert answer.status_code == 422
    assert _hidden(answer.text, "sealed")
    answer = visitor.post(
        path,
        {"step": "authenticator", "sealed": sealed, "code": pyotp.TOTP(seed).at(clock.utcnow())},
    )
    codes = re.findall(r"<li>([0-9A-Z-]{24})</li>", answer.text)
    assert len(codes) == 10
    sealed = _hidden(answer.text, "sealed")
    again = visitor.post(path, {"step": "recovery", "sealed": sealed})
    assert again.status_code == 422
    assert codes[0] in again.text
    done = visitor.post(path, {"step": "recovery", "sealed": sealed, "saved": "yes"})
    assert done.headers["Location"] == "/sign-in"

    assert visitor.get(path).status_code == 404
    world.seeds[person.id] = seed
    visitor.sign_in(world, person)


def test_what_lies_between_the_steps_opens_for_its_own_link_alone(
    world: World, visitor: Visitor
) -> None:
    mine, other = _link(world, world.subject()), _link(world, world.subject())
    visitor.get(f"/activate/{mine}")
    page = visitor.post(
        f"/activate/{mine}",
        {"step": "password", "password": PASSWORD, "password_again": PASSWORD},
    ).text
    sealed = _hidden(page, "sealed")
    for path, given in [(other, sealed), (mine, sealed[:-8] + "AAAAAAA="), (mine, "%"), (mine, "")]:
        answer = visitor.post(
            f"/activate/{path}", {"step": "authenticator", "sealed": given, "code": "123456"}
        )
        assert answer.status_code == 422


def test_a_link_that_never_was_says_no_more_than_one_that_was_used(visitor: Visitor) -> None:
    answer = visitor.get("/activate/never-was")
    assert answer.status_code == 404
    assert "no longer works" in answer.text


# --- forms -------------------------------------------------------------------------------------


@pytest.mark.asvs("3.5.1")
@pytest.mark.web_alone
def test_no_unsafe_route_works_without_the_forms_token(world: World, app: Flask) -> None:
    person = world.staff("admin")
    world.activate(person)
    visitor = Visitor.of(app).sign_in(world, person)
    tried = 0
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if getattr(view, "govern_guard", "") == "credentials":
            continue
        for method in rule.methods & {"POST", "PUT", "PATCH", "DELETE"}:
            path = re.sub(r"<[^>]+>", "x", rule.rule)
            answer = visitor.client.open(path, method=method, data={"csrf_token": "forged"})
            assert answer.status_code == 400, f"{method} {rule.rule}"
            tried += 1
    assert tried >= 5


def test_a_nul_character_is_refused_and_breaks_nothing(visitor: Visitor) -> None:
    visitor.get("/sign-in")
    assert visitor.post("/sign-in", {"email": "a\0@b.example"}).status_code == 422
    assert visitor.get("/sign-in?next=%00").status_code == 422

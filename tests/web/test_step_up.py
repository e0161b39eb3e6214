"""Weighty acts ask for a fresh factor, and the form that was filled comes back whole and is done.

Every form of the application is sent with a factor that is too old, at each address of its map. A
new one that asks for no fresh factor fails until it is named under `LIGHT`, with why it may be.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from govern import clock, paths, permissions
from govern.config import Settings
from govern.identity.passkeys import Asked
from tests.support.authenticator import Device
from tests.web import rehearsing
from tests.web.desks import hidden, stopped, told
from tests.web.test_matrix import WRITTEN, address, filled, routes
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.conftest import Beginning
    from tests.factory import World
    from tests.web.rehearsing import Cast

ODD = "Quotes \" and ' and <b> & more,\u00a0twice\r\n\r\n  and a second line "
INPUT = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
STALE = permissions.FRESH + timedelta(minutes=2)

# What each permission of the table guards on the pages; None: what the table has no word for.
WEIGHTY: dict[str | None, set[str]] = {
    "suspension:open": {
        "/suspensions", "/drills", "/suspensions/<suspension_id>/mode",
        "/suspensions/<suspension_id>/take-back",
    },
    "suspension:lift": {
        "/suspensions/<suspension_id>/lift", "/suspensions/<suspension_id>/narrow",
        "/suspensions/<suspension_id>/release", "/suspensions/<suspension_id>/resume",
    },
    "request:approve": {"/requests/<request_id>"},
    # Who may give access is one of two by asking for it; who may not gives nothing by it.
    "grant:issue": {"/projects/<code>/grants", "/requests/mine", "/requests/new"},
    "grant:revoke": {"/grants/<grant_id>/revoke", "/lists/<list_name>/act"},
    "project:end": {"/projects/<code>/end", "/clients/<code>/end"},
    "log:export": {"/log/export", "/log/exports/<export_id>/file"},
    "role:assign": {"/people/<subject_id>/roles", "/people/<subject_id>/roles/<role_id>/withdraw"},
    "subject:offboard": {"/people/<subject_id>/offboard"},
    "subject:recover": {"/people/<subject_id>/recovery"},
    "subject:erase": {"/people/<subject_id>/erase"},
    "integration:create": {
        "/integrations", "/integrations/<integration_id>/registration",
        "/integrations/<integration_id>/resume", "/integrations/<integration_id>/revoke",
        "/integrations/<integration_id>/rotate", "/integrations/<integration_id>/suspend",
    },
    "roster:import": {"/roster"},
    "hold:set": {
        "/clients/<code>/hold", "/clients/<code>/hold/release", "/clients/<code>/retention",
    },
    "policy:set": {"/request-policies"},
    "demand:set": {"/demands", "/demands/<demand_id>/end"},
    "provider:write": {"/providers", "/providers/<provider_id>/end"},
    "identity:link": {
        "/providers/<provider_id>/links", "/providers/<provider_id>/links/<link_id>/end",
    },
    None: {
        "/people/export", "/projects/<code>/export", "/lists/<list_name>/export",
        "/account/password", "/account/passkeys", "/account/recovery-codes",
        "/account/recovery-codes/remove", "/account/authenticators/<authenticator_id>/remove",
        "/people/<subject_id>/activation-link", "/people/<subject_id>/sessions/end",
        "/people/<subject_id>/sessions/<session_id>/end", "/step-up",
    },
}  # fmt: skip
AT_THE_MACHINE = set[str]()  # by command alone

LIGHT = {
    "/account/apps": "its secret comes sealed from a page that asked for a fresh factor",
    "/account/authenticators/<authenticator_id>/rename": "a name opens nothing",
    "/account/sessions/<session_id>/end": "whoever sees a stranger in their account need not wait",
    "/account/sessions/end-others": "whoever sees a stranger in their account need not wait",
    "/account/tools/<token_id>/take-back": "one's own, from a tool that then can do less",
    "/account/recovery/cancel": "whoever is being robbed of their account need not wait",
    "/people/<subject_id>/recovery/cancel": "everything stays as it was",
    "/people/<subject_id>/organisation": "what would let go of a suspension takes a second person",
    "/suspensions/<suspension_id>/notice": "it tells, and stops or starts nothing",
    "/suspensions/<suspension_id>/review": "it reminds, and stops or starts nothing",
    "/notices/<notice_id>/acknowledge": "one's own having read it",
    "/account/language": "it opens nothing",
    "/account/time-zone": "it opens nothing",
    "/requests/mine/<request_id>/withdraw": "nothing is given by it",
    "/questions/mine": "it asks, and opens nothing",
    "/questions/<question_id>/messages": "it asks or answers, and opens nothing",
    "/roster/preview": "it judges a file, and nothing is written by it",
    "/roster/rejected": "it gives back rows of the file that was sent",
    "/lists/<list_name>/filters": "it keeps what one looks for, and opens nothing",
    "/lists/<list_name>/filters/<filter_id>/drop": "one's own, and opens nothing",
    "/pause": "a choice, and nothing is paused by it",
    "/log/verify": "it reads what was brought along",
    "/oauth/authorize": "tokens ask for a factor of twelve hours' age: access.tokens",
    **dict.fromkeys(
        (
            "/sign-in", "/sign-in/code", "/sign-in/passkey", "/sign-in/link/<token>",
            "/sign-in/log-out/<provider>", "/sign-out", "/forgot", "/reset/<token>",
            "/activate/<token>", "/recover/<token>", "/recover/cancel/<token>",
        ),
        "it is for whoever is not signed in, or signs out",
    ),
}  # fmt: skip
ASKED_BEFORE = {"/account/apps/new", "/account/passkeys/new"}  # pages that show a secret


ORIGIN = "http://localhost"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, public_url=ORIGIN)  # passkeys are bound to a name


@pytest.fixture
def beginning(request: pytest.FixtureRequest) -> Beginning | None:
    return rehearsing.beginning if "begun" in request.fixturenames else None


def carried(page: str) -> dict[str, list[str]]:
    """The hidden fields of a page, by name, in order."""
    found: dict[str, list[str]] = {}
    for name, value in INPUT.findall(page):
        found.setdefault(unescape(name), []).append(unescape(value))
    return found


def asks(answer: TestResponse) -> bool:
    """Whether this is the step-up page."""
    return answer.status_code == 403 and "and this needs it anew" in answer.text


def listed(form: dict[str, Any]) -> dict[str, list[str]]:
    """A form's values as a browser sends them."""
    return {name: value if isinstance(value, list) else [value] for name, value in form.items()}


@pytest.mark.web_alone
@pytest.mark.asvs("7.5.3", "7.5.1")
def test_each_weighty_form_of_the_url_map_asks_for_a_fresh_factor_and_loses_nothing(
    world: World, app: Flask, begun: Cast
) -> None:
    assert set(WEIGHTY) == permissions.NEEDS_FRESH - AT_THE_MACHINE | {None}
    weighty = {path for paths in WEIGHTY.values() for path in paths}
    start = clock.utcnow()
    with clock.at(start):
        seats = rehearsing.seats(app, world, begun, "admin", "auditor")
    odd = {"more": [ODD, "", "2"]}  # whatever a form may have grown

    def send(name: str, path: str, form: dict[str, Any]) -> TestResponse | None:
        seat = seats["auditor" if path.startswith("/log/export") else "admin"]
        method, data = name.partition(" ")[0], {"csrf_token": seat.csrf, **form}
        sent: Any = {} if method == "GET" else {"data": data}
        try:
            return seat.client.open(path, method=method, **sent)
        except rehearsing.TurnedBack:
            return None

    found, kept = set(), {}
    with rehearsing.nothing_is_committed(world.store):
        with clock.at(start + STALE):
            for name, rule, method in routes(app, programs=False):
                if method == "GET" and rule.rule not in ASKED_BEFORE:
                    continue
                form = filled(WRITTEN["bodies"].get(name, {}), begun.a)
                path = address(name, rule, begun.a)
                answer = send(name, path, {**form, **odd})
                if method == "GET":
                    assert answer is not None
                    assert answer.location == f"/step-up?next={path}"
                elif answer is not None and asks(answer):
                    found.add(rule.rule)
                    kept[name, path] = carried(answer.text)
                    if rule.rule != "/step-up":
                        wanted = listed({**form, **odd, "step_up": "1"})
                        assert {**kept[name, path], "csrf_token": 0} == {**wanted, "csrf_token": 0}
                    assert f'action="{path}"' in answer.text
        assert found == weighty
        forms = {rule.rule for _, rule, method in routes(app, programs=False) if method != "GET"}
        others = forms - weighty
        assert others == set(LIGHT), "a new form: say why it takes no fresh factor"
        with clock.at(start + rehearsing.LATER):
            for (name, path), form in kept.items():
                answer = send(name, path, form)
                assert answer is None or not asks(answer), name


def asked(page: str, way: str, field: str) -> Asked:
    """What a page asks of a passkey."""
    found = re.search(rf'data-passkey="{way}" data-field="{field}" data-options="([^"]+)"', page)
    assert found is not None
    return Asked(options=unescape(found[1]), sealed=hidden(page, f"{field}_sealed"))


@pytest.mark.web_alone
@pytest.mark.asvs("7.5.3")
def test_a_half_filled_pause_goes_through_after_a_code_and_after_a_passkey(
    world: World, app: Flask
) -> None:
    me = world.staff()
    world.activate(me)
    aster = world.client("ASTER")
    one, other, third = (world.project(name, client=aster) for name in ("Lark", "Wren", "Crane"))
    browser, device = Visitor.of(app).seated(world, me), Device(ORIGIN)
    form: dict[str, Any] = {
        "target": ["project:Lark", "project:Wren"], "mode": "read_only", "reason_code": "legal",
        "note": ODD,
    }  # fmt: skip
    when = clock.utcnow() + STALE
    with clock.at(when):
        page = browser.post("/suspensions", form)
        assert asks(page), told(page.text)
        assert "One-time code" in page.text
        assert "Use my passkey" not in page.text
        wrong = browser.post("/suspensions", {**carried(page.text), "code": "000000"})
        assert wrong.status_code == 401
        again = carried(wrong.text)
        assert {**again, "csrf_token": 0} == {**carried(page.text), "csrf_token": 0}
        assert not stopped(world, one)
        code = world.code(me, at=when)
        stale = {**again, "code": code, "csrf_token": "x" + again["csrf_token"][0]}
        assert browser.client.post("/suspensions", data=stale).status_code == 400
        done = browser.post("/suspensions", {**again, "code": code})
        assert done.status_code == 303, told(done.text)
        assert stopped(world, one)
        assert stopped(world, other)
        shown = unescape(browser.get(done.location).text).replace("\r\n", "\n")
        assert ODD.strip().replace("\r\n", "\n") in shown

        new = browser.get("/account/passkeys/new").text
        made = device.make(asked(new, "create", "new_passkey"))
        sealed = hidden(new, "new_passkey_sealed")
        answer = browser.post(
            "/account/passkeys",
            {"name": "Blue key", "new_passkey": made, "new_passkey_sealed": sealed},
        )
        assert answer.status_code == 303, told(answer.text)
    with clock.at(when + STALE):
        page = browser.post("/suspensions", {**form, "target": ["project:Crane"]})
        assert asks(page)
        question = asked(page.text, "get", "passkey")
        shows = {"passkey": device.show(question), "passkey_sealed": question.sealed}
        lie = {**shows, "passkey": device.show(question, origin="http://evil.example")}
        refused = browser.post("/suspensions", {**carried(page.text), **lie})
        assert refused.status_code == 401
        kept = carried(refused.text)
        assert kept["note"] == [ODD]
        done = browser.post("/suspensions", {**kept, **shows})
        assert done.status_code == 303, told(done.text)
        assert stopped(world, third)


@pytest.mark.web_alone
def test_no_file_is_brought_along_to_a_form_that_asks_for_a_fresh_factor(
    world: World, app: Flask
) -> None:
    """A browser does not send a file twice: what takes one keeps it, or is no weighty act."""
    templates = paths.TEMPLATES
    taking = {one.name for one in templates.rglob("*.html") if 'type="file"' in one.read_text()}
    assert taking == {"roster.html", "scope.html", "verify.html"}
    assert {"/pause", "/log/verify", "/roster/preview"} <= set(LIGHT)
    me, who = world.staff(), world.subject()
    world.activate(me)
    world.grant(who, world.project())
    browser = Visitor.of(app).seated(world, me)
    with clock.at(clock.utcnow() + STALE):
        names = (io.BytesIO(f"{who.external_id}\n".encode()), "names.csv")
        kept = browser.post("/pause", {"list": names})
        assert kept.status_code == 303, told(kept.text)
        chosen = hidden(browser.get(kept.location).text, "subject")
        page = browser.post(
            "/suspensions",
            {"subject": chosen, "mode": "paused", "reason_code": "other"},
        )
        assert asks(page)
        assert carried(page.text)["subject"] == [chosen]

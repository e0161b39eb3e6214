"""Single sign-on as a browser, a provider and a mailbox meet it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from sqlalchemy import select

from govern import clock
from govern.audit.log import HOUSE
from govern.identity import federation, sessions
from govern.identity.federation import Assurance, LinkOffer, wire
from govern.signals import mail
from tests.factory import OPERATOR
from tests.support import issuer as made
from tests.support import mailbox
from tests.support.issuer import CLIENT_ID, CLIENT_SECRET, Issuer
from tests.web.desks import told
from tests.web.test_step_up import ODD, carried, listed
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from werkzeug.test import TestResponse

    from govern.identity.federation import IdentityProvider
    from tests.factory import World


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with made.running() as running:
        wire._known.clear()
        yield running


@pytest.fixture
def provider(world: World, issuer: Issuer) -> IdentityProvider:
    row: IdentityProvider = world.do(
        lambda s: federation.create(
            s, "Company account", issuer=issuer.url, client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET, assures=Assurance.MFA, amr_values=("mfa",), inside=True,
            by=OPERATOR,
        )
    )  # fmt: skip
    return row


def come(
    visitor: Visitor, issuer: Issuer, provider: IdentityProvider, *, wanted: str = "", **claims: Any
) -> TestResponse:
    """Go to the provider and back."""
    query = f"?{urlencode({'next': wanted})}" if wanted else ""
    away = visitor.get(f"/sign-in/with/{provider.id}{query}")
    assert away.status_code == 302, away.text
    back = issuer.answer(away.headers["Location"], **claims)
    return visitor.get(f"/sign-in/from/{provider.id}?{urlencode(back)}")


def test_by_a_provider_one_is_in_and_where_one_wanted_to_go_and_nowhere_else(
    app: Flask, world: World, issuer: Issuer, provider: IdentityProvider
) -> None:
    ada = world.subject("ada")
    world.activate(ada)
    world.do(lambda s: federation.link(s, ada, provider.id, sub="ada-at-home", by=OPERATOR))
    visitor = Visitor.of(app)
    page = visitor.get("/sign-in?next=/account").text
    assert "Continue with Company account" in page
    assert f'href="/sign-in/with/{provider.id}?next=/account"' in page

    answer = come(visitor, issuer, provider, wanted="/account", amr=["mfa"])
    assert answer.headers["Location"] == "/account"
    (kept,) = [c for c in answer.headers.getlist("Set-Cookie") if c.startswith("sso=")]
    assert "Max-Age=0" in kept, "what was kept for the answer goes with it"
    first = visitor.client.get_cookie("session")
    assert ada.full_name in visitor.get("/account").text

    # A sign-in by whoever is in already ends the session before, and gives a new one.
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example"):
        answer = come(visitor, issuer, provider, wanted=elsewhere, amr=["mfa"])
        assert answer.headers["Location"] == "/"
    assert first is not None
    other = Visitor.of(app)
    other.client.set_cookie("session", first.value)
    assert other.get("/account").status_code == 303

    # Without proof of a second factor, ours is asked for, and nothing else can be done.
    answer = come(visitor, issuer, provider, wanted="/account", amr=["pwd"])
    assert answer.headers["Location"] == "/sign-in/code?next=/account"
    assert visitor.get("/account").status_code == 303
    assert ada.email in visitor.get("/sign-in/code").text


def test_the_cookie_between_leaving_and_coming_back_is_sealed_and_this_hosts_own(
    app: Flask, world: World, issuer: Issuer, provider: IdentityProvider
) -> None:
    visitor = Visitor.of(app)
    away = visitor.get(f"/sign-in/with/{provider.id}")
    (cookie,) = away.headers.getlist("Set-Cookie")
    assert cookie.startswith("sso=")
    for attribute in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"):
        assert attribute in cookie
    assert "Domain" not in cookie
    state = re.search(r"state=([^&]+)", away.headers["Location"])
    assert state is not None
    assert state[1] not in cookie
    app.extensions["govern"].settings = replace(
        app.extensions["govern"].settings, public_url="https://govern.example"
    )
    away = visitor.get(f"/sign-in/with/{provider.id}")
    (cookie,) = away.headers.getlist("Set-Cookie")
    assert cookie.startswith("__Host-sso=")
    assert "Secure" in cookie
    assert "https%3A%2F%2Fgovern.example%2Fsign-in%2Ffrom%2F" in away.headers["Location"]


@pytest.mark.asvs("7.6.2")
def test_a_link_on_another_site_begins_no_sign_in(app: Flask, provider: IdentityProvider) -> None:
    visitor = Visitor.of(app)
    place = f"/sign-in/with/{provider.id}?next=/account"
    for site, leads in (("cross-site", "/sign-in?next=/account"), ("same-site", "/sign-in?next="),
                        ("same-origin", "http://127"), ("none", "http://127")):  # fmt: skip
        answer = visitor.get(place, headers={"Sec-Fetch-Site": site})
        assert answer.headers["Location"].startswith(leads), site


def test_whoever_is_refused_gets_one_and_the_same_page(
    app: Flask, world: World, issuer: Issuer, provider: IdentityProvider
) -> None:
    world.subject("ada")
    visitor = Visitor.of(app)

    def plain(answer: TestResponse) -> tuple[int, str]:
        return answer.status_code, re.sub(r'(nonce|content)="[^"]*"', "", answer.text)

    unlinked = plain(come(visitor, issuer, provider))
    assert unlinked[0] == 401
    known = {"email": "ada@people.example", "email_verified": True}
    assert plain(come(visitor, issuer, provider, **known)) == unlinked
    assert plain(come(visitor, issuer, provider, aud="another")) == unlinked
    assert plain(visitor.get(f"/sign-in/from/{provider.id}?state=x&code=y")) == unlinked
    world.do(lambda s: federation.end(s, provider.id, by=OPERATOR))
    assert plain(visitor.get(f"/sign-in/with/{provider.id}")) == unlinked
    assert plain(visitor.get("/sign-in/with/idp_never")) == unlinked
    assert "Continue with" not in visitor.get("/sign-in").text


@pytest.mark.asvs("6.8.1")
def test_an_address_that_the_provider_confirmed_is_linked_by_the_mail_to_it_and_by_nothing_less(
    app: Flask, world: World, issuer: Issuer, provider: IdentityProvider
) -> None:
    ada = world.subject("ada")
    world.activate(ada)
    visitor = Visitor.of(app)
    with mailbox.mailbox() as box:
        world.store.settings = replace(
            world.store.settings, smtp_url=f"smtp://127.0.0.1:{box.port}",
            mail_from="access@example.com",
        )  # fmt: skip
        for unproved in (
            {"email": ada.email}, {"email": ada.email, "email_verified": "true"},
            {"email": ada.email, "email_verified": False},
            {"email": "nobody@people.example", "email_verified": True},
            {"email": ["ada@people.example"], "email_verified": True},
        ):  # fmt: skip
            assert come(visitor, issuer, provider, **unproved).status_code == 401
        mail.work(world.store)
        told = len(box.mails)  # of the activation
        assert all("link" not in sent["Subject"].lower() for sent in box.mails)

        proved = {"email": ada.email.upper(), "email_verified": True, "amr": ["mfa"]}
        assert come(visitor, issuer, provider, **proved).status_code == 401
        assert come(visitor, issuer, provider, **proved).status_code == 401
        mail.work(world.store)
        (sent,) = box.to(ada.email)[told:]
        found = re.search(r"https?://\S+(/sign-in/link/(\S+))", sent.get_content())
        assert found is not None
        with world.store.reading() as session:
            (row,) = session.execute(select(LinkOffer)).scalars()
        assert found[2].encode() not in row.sealed
        assert found[2] not in json.dumps(world.entries(HOUSE))

        # Opening it links nobody: whatever looks at links in mail does no harm.
        page = visitor.get(found[1])
        assert "Company account" in page.text
        assert come(visitor, issuer, provider, **proved).status_code == 401
        assert visitor.post(found[1]).headers["Location"] == "/sign-in"
        assert visitor.client.get_cookie("session") is None, "it signs nobody in"
        assert visitor.post(found[1]).status_code == 404, "it works once"
        assert visitor.get(found[1]).status_code == 404
        assert come(visitor, issuer, provider, **proved).headers["Location"] == "/"
        assert ada.full_name in visitor.get("/account").text
        mail.work(world.store)
        assert any(
            "Company account" in sent.get_content() for sent in box.to(ada.email)[told + 1 :]
        )
    kinds = [entry["type"] for entry in world.entries(HOUSE) if "identity" in entry["type"]]
    assert kinds == ["identity.offered", "identity.linked"]


@pytest.mark.asvs("7.6.1")
def test_a_provider_sends_someone_away(
    app: Flask, world: World, issuer: Issuer, provider: IdentityProvider
) -> None:
    ada = world.subject("ada")
    world.do(lambda s: federation.link(s, ada, provider.id, sub="ada-at-home", by=OPERATOR))
    visitor = Visitor.of(app)
    come(visitor, issuer, provider, amr=["mfa"], sid="one")
    assert visitor.get("/account").status_code == 200
    place = f"/sign-in/log-out/{provider.id}"
    machine = app.test_client()
    for form in ({}, {"logout_token": "x"}, {"logout_token": issuer.logout_token(aud="another")}):
        answer = machine.post(place, data=form)
        assert answer.status_code == 400
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.get_json()["error"] == "invalid_request"
    assert visitor.get("/account").status_code == 200
    token = issuer.logout_token(sid="one")
    answer = machine.post(place, data={"logout_token": token})
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    assert visitor.get("/account").status_code == 303, "out with the next request"
    assert machine.post(place, data={"logout_token": token}).status_code == 400
    assert machine.get(place).status_code == 405
    ended = world.entries(HOUSE, "session.ended")[-1]
    assert ended["actor"] == "system"
    assert ended["refs"]["subject"] == ada.id


# --- proved anew, in the middle of something -----------------------------------------------------


@dataclass
class Away:
    """An admin with no factor of ours, who came by the provider and fills a form ten minutes on."""

    world: World
    issuer: Issuer
    provider: IdentityProvider
    browser: Visitor
    form: dict[str, Any]

    def leave(self) -> str:
        """Send the form; where the page that asks for more sends one to."""
        page = self.browser.post("/suspensions", self.form)
        assert page.status_code == 403, told(page.text)
        assert "One-time code" not in page.text
        way = re.search(r'href="(/step-up/provider\?[^"]+)">', page.text)
        assert way is not None, told(page.text)
        left = self.browser.get(unescape(way[1]))
        assert left.status_code == 302
        return left.location

    def back(self, answer: dict[str, str]) -> TestResponse:
        return self.browser.get(f"/sign-in/from/{self.provider.id}?{urlencode(answer)}")


def kept_forms(world: World) -> list[str]:
    with world.store.reading() as session:
        return list(session.execute(select(sessions.KeptForm.id)).scalars())


@pytest.fixture
def away(app: Flask, world: World, issuer: Issuer, provider: IdentityProvider) -> Away:
    admin, client = world.staff("admin"), world.client("ASTER")
    world.project("Lark", client=client)
    world.do(lambda s: federation.link(s, admin, provider.id, sub="ada-at-home", by=OPERATOR))
    browser = Visitor.of(app)
    with clock.at(clock.utcnow() - timedelta(minutes=10)):
        assert come(browser, issuer, provider, amr=["mfa"]).location == "/"
        browser.get("/account")
    form = {
        "target": ["project:Lark", "client:ASTER"], "mode": "read_only", "reason_code": "legal",
        "note": ODD,
    }  # fmt: skip
    return Away(world, issuer, provider, browser, form)


@pytest.mark.asvs("7.5.3", "6.8.4")
def test_who_has_no_factor_of_ours_proves_it_anew_at_the_provider_and_loses_nothing(
    away: Away,
) -> None:
    """They had to sign out, sign in again, and type it all once more."""
    browser, world = away.browser, away.world
    before = browser.client.get_cookie("session")
    address = away.leave()
    asked = parse_qs(urlsplit(address).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["300"])
    done = away.back(away.issuer.answer(address, amr=["mfa"]))
    assert done.status_code == 303
    assert done.location.startswith("/step-up/form/")
    page = browser.get(done.location)
    kept = carried(page.text)
    assert {name: kept[name] for name in away.form} == listed(away.form)
    assert "Now send it" in page.text
    sent = browser.post("/suspensions", kept)
    assert sent.status_code == 303, told(sent.text)
    shown = unescape(browser.get(sent.location).text).replace("\r\n", "\n")
    assert ODD.strip().replace("\r\n", "\n") in shown
    assert before is not None
    other = Visitor(browser.client.application.test_client())
    other.client.set_cookie("session", before.value)
    assert other.get("/account").status_code == 303, "the session before has ended"
    opened = world.entries(HOUSE, "session.opened")[-1]
    assert opened["data"] == {"amr": ["fed", "mfa"], "fresh": True}

    # A page that asks for a fresh factor before it is shown is come back to at once.
    with clock.at(clock.utcnow() + timedelta(minutes=10)):
        first = browser.get("/account/apps/new")
        page = browser.get(first.location).text
        way = re.search(r'href="(/step-up/provider\?[^"]+)">', page)
        assert way is not None
        left = browser.get(unescape(way[1]))
        done = away.back(away.issuer.answer(left.location, amr=["mfa"]))
        assert done.location == "/account/apps/new"
        assert browser.get(done.location).status_code == 200
    stranger = Visitor(browser.client.application.test_client())
    someone = world.staff("admin")
    world.activate(someone)
    stranger.seated(world, someone)
    (kept_at,) = kept_forms(world)
    assert stranger.get(f"/step-up/form/{kept_at}").status_code == 404, "nobody else's"
    assert stranger.get("/step-up/provider").status_code == 404, "they came by none"
    with clock.at(clock.utcnow() + sessions.keeping.LIFE):
        assert browser.get(f"/step-up/form/{kept_at}").status_code == 404
        world.do(sessions.forget_lapsed)
    assert kept_forms(world) == []


@pytest.mark.asvs("7.5.3", "6.8.4")
def test_what_does_not_prove_it_anew_renews_nothing_and_loses_nothing(away: Away) -> None:
    world, issuer = away.world, away.issuer
    grace = world.subject("grace")
    world.do(lambda s: federation.link(s, grace, away.provider.id, sub="grace", by=OPERATOR))
    now = int(clock.utcnow().timestamp())
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"amr": ["mfa"], "auth_time": now - 120}, "not_renewed"),
        ({"amr": ["mfa"], "auth_time": None}, "not_renewed"),
        ({"amr": ["pwd"]}, "not_renewed"),
        ({"amr": ["mfa"], "sub": "grace"}, "another_account"),
        ({"amr": ["mfa"], "sub": "nobody", "email": grace.email, "email_verified": True},
         "unlinked"),
        ({"amr": ["mfa"], "nonce": "another"}, "token:nonce"),
    ]  # fmt: skip
    for claims, why in wrong:
        done = away.back(issuer.answer(away.leave(), **claims))
        assert done.location.startswith("/step-up/form/"), why
        page = away.browser.get(done.location)
        assert "Nothing is lost" in page.text
        assert "Sign in anew at Company account" in page.text, "it is asked for once more"
        assert carried(page.text)["note"] == [ODD]
        assert world.entries(HOUSE, "sign_in.failed")[-1]["data"]["why"] == why
        assert away.browser.post("/suspensions", carried(page.text)).status_code == 403
    assert world.entries(HOUSE, "identity.offered") == []
    refused = away.back({"error": "access_denied", "state": "x", "iss": issuer.url})
    assert refused.status_code == 401, "an answer to nothing"

    # What was proved for one session renews no other.
    address = away.leave()
    away.browser.client.delete_cookie("session")
    gone = away.back(issuer.answer(address, amr=["mfa"]))
    assert gone.location.startswith("/step-up/form/")
    assert away.browser.get(gone.location).location.startswith("/sign-in?next=/step-up/form/")

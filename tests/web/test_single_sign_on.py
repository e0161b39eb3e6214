"""Single sign-on as a browser, a provider and a mailbox meet it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import select

from govern.audit.log import HOUSE
from govern.identity import federation
from govern.identity.federation import Assurance, LinkOffer, wire
from govern.signals import mail
from tests.factory import OPERATOR
from tests.support import issuer as made
from tests.support import mailbox
from tests.support.issuer import CLIENT_ID, CLIENT_SECRET, Issuer
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

"""Signing in with a real browser: by every way, twice at once, and in the middle of a pause."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from werkzeug.serving import make_server

from govern import clock, create_app
from govern.access.suspension_tables import (
    Suspension,
    SuspensionMode,
    SuspensionNotice,
    SuspensionTarget,
)
from tests.factory import PASSWORD, World
from tests.support import browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from govern.config import Settings
    from govern.identity.subjects import Subject


@contextmanager
def _served(settings: Settings) -> Iterator[tuple[str, World]]:
    """The application at a name of this machine, since passkeys are bound to names."""

    def serve(environ: Any, start: Any) -> Any:  # by an application that has to know its port
        return app(environ, start)

    server = make_server("127.0.0.1", 0, serve, threaded=True)
    url = f"http://localhost:{server.server_port}"
    app = create_app(replace(settings, public_url=url))
    threading.Thread(target=server.serve_forever).start()
    try:
        yield url, World(app.extensions["govern"])
    finally:
        server.shutdown()
        app.extensions["govern"].dispose()


def _with_passkeys(page: Page) -> None:
    """Give a page's browser a device that makes passkeys and recognises its owner."""
    tools = page.context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    device = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
        "hasUserVerification": True, "isUserVerified": True,
    }  # fmt: skip
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": device})


def _password(page: Page, email: str) -> None:
    page.goto("/sign-in")
    page.fill("[name=email]", email)
    page.fill("[name=password]", PASSWORD)
    page.click("form:has([name=password]) button[type=submit]")


@pytest.mark.browser
@pytest.mark.web_alone
@pytest.mark.asvs("63B-2.2")
def test_a_passkey_is_made_in_a_browser_and_signs_in_alone(settings: Settings) -> None:
    with _served(settings) as (url, world), browser.chromium() as chromium:
        person = world.subject()
        with clock.at(clock.utcnow() - timedelta(minutes=1)):
            world.activate(person)
        page = chromium.new_context(base_url=url).new_page()
        _with_passkeys(page)
        _password(page, person.email)
        page.fill("[name=code]", world.code(person))
        page.click("form:has([name=code]) button[type=submit]")
        _make_passkey(page)
        assert "My laptop" in page.inner_text("main")
        page.context.clear_cookies()
        page.goto("/sign-in?next=/account")
        page.click("button[data-passkey=get]")
        page.wait_for_url(f"{url}/account")  # whole: what is left ends with the same path
        assert "My laptop" in page.inner_text("main")


@pytest.mark.browser
@pytest.mark.web_alone
@pytest.mark.timeout(180)
@pytest.mark.asvs("6.5.1", "7.5.3", "7.5.2", "63B-3.1.1.2")
def test_one_code_lets_one_in_a_pause_survives_its_step_up_and_all_other_sessions_end(
    settings: Settings,
) -> None:
    with _served(settings) as (url, world), browser.chromium() as chromium:
        said: list[str] = []
        ada = world.staff()
        now = clock.utcnow()
        with clock.at(now - timedelta(minutes=1)):
            codes = world.activate(ada)
        aster = world.client("ASTER")
        heron = world.project("Heron", client=aster)
        world.dataset(world.project("Kingfisher", client=aster), "kingfisher-audio")
        world.grant(world.subject(), heron)
        _passwords_can_be_seen_and_pasted(chromium, url)

        pages = [_page(chromium, url, said) for _ in range(2)]
        with clock.at(now):
            first, second = _twice_at_once(world, ada, pages)
            _with_passkeys(first)
            _make_passkey(first)  # which ends the half of a sign-in that the other has

            _password(second, ada.email)
            second.click("summary:has-text('not at hand')")
            second.fill("[name=recovery_code]", codes[0])
            second.click("form:has([name=recovery_code]) button[type=submit]")
            second.wait_for_url(lambda at: "/sign-in" not in at)
            second.goto("/account")
            assert "9 left" in second.inner_text("main")

        with clock.at(now + timedelta(minutes=6)):
            _fill(first)
            first.click("text=Stop it now")
            first.click("button[data-passkey=get]")
            first.wait_for_url("**/suspensions/sus_*")
            _is_as_filled(world)
        with clock.at(now + timedelta(minutes=12)):
            _fill(second)
            second.click("text=Stop it now")
            second.fill("[name=code]", "000000")
            second.click("text=Confirm and go on")
            assert "That did not work." in second.inner_text("main")
            second.fill("[name=code]", world.code(ada))
            second.click("text=Confirm and go on")
            second.wait_for_url("**/suspensions/sus_*")
            _is_as_filled(world)

            second.goto("about:blank")  # else its page, asking for news, may be led away meanwhile
            first.goto("/account")
            first.click("text=End all but this one")
            first.wait_for_load_state()
            second.goto("/account")
            assert "/sign-in" in second.url
            first.reload()
            assert "My laptop" in first.inner_text("main")
        assert said == []


def _twice_at_once(world: World, person: Subject, pages: list[Page]) -> list[Page]:
    """Send one code from two browsers at the same time; returns whom it let in, and whom not."""
    for page in pages:
        _password(page, person.email)
        page.fill("[name=code]", world.code(person))
    for page in pages:
        page.evaluate("document.querySelector('form:has([name=code])').requestSubmit()")
    for page in pages:
        # Either the answer says that it was wrong, or there is no such form any more.
        page.wait_for_selector("[role=alert], main:not(:has([name=code]))")
    first, second = sorted(pages, key=lambda page: "/sign-in" in page.url)
    assert "/sign-in" not in first.url
    assert "/sign-in/code" in second.url
    assert "That did not work." in second.inner_text("main")
    return [first, second]


NOTE = "We are looking into it.\n\n  It may take “long” & <longer>.\nSorry."
WHY = "A leak, they say.\nDana called."


def _page(chromium: Browser, url: str, said: list[str]) -> Page:
    """A browser of its own, whose complaints are kept; that an answer was a refusal is none."""
    page = chromium.new_context(base_url=url).new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "console",
        lambda told: (
            said.append(told.text)
            if told.type == "error" and not told.text.startswith("Failed to load resource")
            else None
        ),
    )
    return page


def _make_passkey(page: Page) -> None:
    page.goto("/account/passkeys/new")
    page.fill("[name=name]", "My laptop")
    page.click("button[data-passkey=create]")
    page.wait_for_url("**/account")


def _fill(page: Page) -> None:
    """Fill every field of a pause of a project and of another's dataset."""
    page.goto("/pause/preview?target=project:Heron&target=dataset:kingfisher-audio")
    page.check("[name=mode][value=read_only]")
    page.select_option("[name=reason_code]", "client_request")
    page.fill("[name=note]", NOTE)
    page.fill("[name=hours_until]", "2036-11-21T09:30")
    page.fill("[name=review_at]", "2036-11-24T17:05")
    page.select_option("[name=ordered_by]", "ops@aster.example")
    page.fill("[name=ordered_how]", "phone, “urgent”")
    page.fill("[name=internal_reason]", WHY)
    page.fill("[name=incident]", "INC-7 <&>")


def _is_as_filled(world: World) -> None:
    """Hold the newest suspension against what `_fill` typed."""
    with world.store.reading() as session:
        row = session.execute(
            select(Suspension).order_by(Suspension.recorded_at.desc()).limit(1)
        ).scalar_one()

        def of(column: Any) -> list[Any]:
            own = column.class_.suspension_id == row.id
            return sorted(session.execute(select(column).where(own)).scalars())

        assert of(SuspensionMode.mode) == ["read_only"]
        assert of(SuspensionTarget.kind) == ["dataset", "project"]
        assert of(SuspensionNotice.known) == [NOTE]
    assert (row.reason, row.internal_reason, row.incident) == ("client_request", WHY, "INC-7 <&>")
    assert row.ordered_by == "ops@aster.example, phone, “urgent”"
    assert row.hours_until == datetime(2036, 11, 21, 9, 30, tzinfo=UTC)
    assert row.review_by == datetime(2036, 11, 24, 17, 5, tzinfo=UTC)


def _passwords_can_be_seen_and_pasted(chromium: Browser, url: str) -> None:
    page = chromium.new_context(base_url=url).new_page()
    page.goto("/sign-in")
    field = page.locator("[name=password]")
    unhindered = "new ClipboardEvent('paste', {bubbles: true, cancelable: true})"
    assert field.evaluate(f"field => field.dispatchEvent({unhindered})")
    field.fill("what is typed")
    page.check("text=Show it")
    assert field.get_attribute("type") == "text"
    page.uncheck("text=Show it")
    assert field.get_attribute("type") == "password"
    page.check("text=Show it")
    page.fill("[name=email]", "nobody@people.example")
    page.evaluate(
        "addEventListener('submit', event => { event.preventDefault(); window.sent = "
        "document.querySelector('[name=password]').type; })"
    )
    page.click("form:has([name=password]) button[type=submit]")
    assert page.evaluate("sent") == "password"
    plain = chromium.new_context(base_url=url, java_script_enabled=False).new_page()
    plain.goto("/sign-in")
    assert plain.is_visible("[name=password]")
    assert not plain.is_visible("text=Show it")

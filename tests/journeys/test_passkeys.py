"""A passkey in a real browser, whose authenticator is virtual: made, and then all it takes."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import make_server

from govern import clock, create_app
from tests.factory import PASSWORD, World
from tests.support import browser

if TYPE_CHECKING:
    from govern.config import Settings


@pytest.mark.browser
@pytest.mark.web_alone
@pytest.mark.asvs("63B-2.2")
def test_a_passkey_is_made_in_a_browser_and_signs_in_alone(settings: Settings) -> None:
    def serve(environ: Any, start: Any) -> Any:  # by an application that has to know its port
        return app(environ, start)

    server = make_server("127.0.0.1", 0, serve, threaded=True)
    url = f"http://localhost:{server.server_port}"
    app = create_app(replace(settings, public_url=url))
    threading.Thread(target=server.serve_forever).start()
    try:
        world = World(app.extensions["govern"])
        person = world.subject()
        with clock.at(clock.utcnow() - timedelta(minutes=1)):
            world.activate(person)
        with browser.chromium() as chromium:
            page = chromium.new_context(base_url=url).new_page()
            tools = page.context.new_cdp_session(page)
            tools.send("WebAuthn.enable")
            device = {
                "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
                "hasUserVerification": True, "isUserVerified": True,
            }  # fmt: skip
            tools.send("WebAuthn.addVirtualAuthenticator", {"options": device})
            page.goto("/sign-in")
            page.fill("[name=email]", person.email)
            page.fill("[name=password]", PASSWORD)
            page.click("form:has([name=password]) button[type=submit]")
            page.fill("[name=code]", world.code(person))
            page.click("form:has([name=code]) button[type=submit]")
            page.goto("/account/passkeys/new")
            page.fill("[name=name]", "My laptop")
            page.click("button[data-passkey=create]")
            page.wait_for_url("**/account")
            assert "My laptop" in page.inner_text("main")
            page.context.clear_cookies()
            page.goto("/sign-in?next=/account")
            page.click("button[data-passkey=get]")
            page.wait_for_url("**/account")
            assert "My laptop" in page.inner_text("main")
    finally:
        server.shutdown()
        app.extensions["govern"].dispose()

"""The whole story in a real browser, against a real server process: who does what, step by step."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from govern import db, example

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from govern.config import Settings

PHONE = {"width": 375, "height": 780}
DESK = {"width": 1280, "height": 860}


@dataclass
class Served:
    """A running server over the example world."""

    settings: Settings
    url: str
    accounts: list[dict[str, str]]
    browser: Browser
    _pages: list[Page] = field(default_factory=list)

    def account(self, role: str, number: int = 0) -> dict[str, str]:
        """An account of the example world by its role."""
        return [account for account in self.accounts if account["role"] == role][number]

    def sign_in(self, role: str, number: int = 0, *, size: dict[str, int] | None = None) -> Page:
        """A browser of their own, signed in with both factors."""
        account = self.account(role, number)
        context = self.browser.new_context(viewport=size or DESK, base_url=self.url)
        page = context.new_page()
        page.goto("/sign-in")
        page.fill("[name=email]", account["email"])
        page.fill("[name=password]", account["password"])
        page.click("button[type=submit]")
        page.fill("[name=code]", example.code(self.settings, account["email"]))
        page.click("form:has([name=code]) button[type=submit]")
        page.wait_for_load_state()
        return page

    def decide(self, subject: str, action: str, kind: str, code: str) -> dict[str, Any]:
        """Ask as the example's labelling tool does."""
        credentials = json.loads((self.settings.data_dir / "example-integration.json").read_text())
        pair = f"{credentials['client_id']}:{credentials['client_secret']}".encode()
        question = {
            "subject": {"type": "user", "id": subject},
            "action": {"name": action},
            "resource": {"type": kind, "id": code},
        }
        request = urllib.request.Request(
            f"{self.url}/access/v1/evaluation",
            json.dumps(question).encode(),
            {
                "Content-Type": "application/json",
                "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def served(settings: Settings, browser: Browser) -> Iterator[Served]:
    """Load the example world into a migrated database, and serve it on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings = replace(settings, public_url=url)
    database = db.Database(settings)
    accounts = example.load(database)
    assert accounts is not None
    database.dispose()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GOVERN_")},
        "GOVERN_DATA_DIR": str(settings.data_dir),
        "GOVERN_DATABASE_URL": settings.database_url,
        "GOVERN_PORT": str(port),
    }
    server = subprocess.Popen([sys.executable, "-m", "govern.cli", "serve"], env=environment)
    try:
        _until_alive(url, server)
        yield Served(settings, url, accounts, browser)
    finally:
        server.terminate()
        server.wait(20)


def _until_alive(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended at once"
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)  # it is starting: the bound above is what counts
    raise AssertionError("the server did not answer within a minute")


def pause(page: Page, code: str, *, note: str) -> str:
    """Pause a client in three steps; returns the address of the suspension's page."""
    page.goto("/pause")
    page.check(f"input[name=target][value='client:{code}']")
    page.click("form[method=post][action='/pause'] button[type=submit]")
    page.select_option("[name=reason_code]", "client_request")
    page.fill("[name=note]", note)
    page.click("form[action='/suspensions'] button[type=submit]")
    page.wait_for_url("**/suspensions/sus_*")
    return page.url.split("?")[0]


def until_written(page: Page) -> None:
    """Wait until the page shows every particular as written."""
    page.wait_for_selector("[data-particulars=done]", timeout=60_000)

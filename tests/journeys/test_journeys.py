"""Admin, contractor and auditor on phone and desk, by keyboard alone, and without JavaScript.

One server serves all; each walk has people, a client and a project of its own. What they saw stays
in build/journeys, as pictures and as the sheets that were printed.
"""

from __future__ import annotations

import json
import re
import threading
import zipfile
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import make_server

from govern import clock, create_app, db, schema
from govern.audit.signer import Signer
from govern.config import Settings
from govern.identity import keys
from tests.factory import PASSWORD, World, roster_file, row
from tests.journeys import story
from tests.support import browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

    from govern.identity.subjects import Subject

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
PICTURES = Path(__file__).parents[2] / "build" / "journeys"
NOTE = "ASTER asked us to stop while they look into something on their side."


@dataclass
class Stage:
    """A server over a world, and a browser."""

    url: str
    world: World
    chromium: Browser

    def page(self, size: dict[str, int], *, script: bool = True, **more: Any) -> Page:
        """A browser of somebody's own."""
        context = self.chromium.new_context(
            base_url=self.url, viewport=size, java_script_enabled=script, reduced_motion="reduce",
            accept_downloads=True, **more,
        )  # fmt: skip
        return context.new_page()

    def person(self, role: str | None) -> Subject:
        """Someone who can sign in now; what they enrolled with is a minute old."""
        found = self.world.staff(role) if role else self.world.subject()
        with clock.at(clock.utcnow() - timedelta(minutes=1)):
            self.world.activate(found)
        return found


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    schema.upgrade(settings)

    def serve(environ: Any, start: Any) -> Any:  # by an application that has to know its port
        return app(environ, start)

    server = make_server("127.0.0.1", 0, serve, threaded=True)
    url = f"http://127.0.0.1:{server.server_port}"
    app = create_app(replace(settings, public_url=url))
    threading.Thread(target=server.serve_forever).start()
    PICTURES.mkdir(parents=True, exist_ok=True)
    store = db.Database(settings)
    keys.ensure(store)
    try:
        with browser.chromium() as chromium:
            yield Stage(url, World(store), chromium)
    finally:
        server.shutdown()
        app.extensions["govern"].dispose()
        store.dispose()


@dataclass
class Walk:
    """One walk through it all: who goes, on what screen, with what."""

    stage: Stage
    name: str
    size: dict[str, int]
    script: bool
    code: str
    taken: int = 0

    def enter(self, person: Subject) -> Page:
        """Sign in by both pages."""
        page = self.stage.page(self.size, script=self.script)
        page.goto("/sign-in")
        page.fill("[name=email]", person.email or "")
        page.fill("[name=password]", PASSWORD)
        self.press(page, "Continue")
        page.fill("[name=code]", self.stage.world.code(person))
        self.press(page, "Sign in")
        assert "/sign-in" not in page.url, page.inner_text("main")
        return page

    def press(self, page: Page, words: str) -> None:
        """A button or link by its words, first of its name."""
        words_of = re.compile(rf"^\s*{re.escape(words)}")
        main = page.locator("main")
        one: Locator = main.get_by_role("button", name=words_of).or_(
            main.get_by_role("link", name=words_of)
        )
        one.first.click()
        page.wait_for_load_state()

    def look(self, page: Page, what: str) -> None:
        """Keep a picture, and hold the page to its width; without scripts it looks the same."""
        if not self.script:
            return
        self.taken += 1
        place = PICTURES / f"{self.name}-{self.taken:02}-{what}.png"
        page.screenshot(path=place, full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= self.size["width"], f"{what}: {wide} px wide"

    def print(self, page: Page, what: str, *, most: int) -> None:
        """Print a page on A4, where a desk has a printer: nothing but the page, and nothing cut."""
        if self.name != "desk":
            return
        page.emulate_media(media="print")
        page.set_viewport_size(PAPER)
        for frame in (".topbar", ".footer", ".page-actions", "nav"):
            assert not page.locator(frame).filter(visible=True).count(), (what, frame)
        assert page.evaluate(_CUT) == [], what
        pdf = page.pdf(path=PICTURES / f"{self.name}-{what}.pdf", format="A4")
        assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= most, what
        page.emulate_media(media="screen")
        page.set_viewport_size(self.size)


# A4 between margins of 15 mm, at 96 dots an inch.
PAPER = {"width": 680, "height": 1009}
# What is wider than the paper, what hides a part of itself, and links that look like none of it.
_CUT = """() => {
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const look = getComputedStyle(one), box = one.getBoundingClientRect();
    if (!box.width || !box.height || look.clipPath !== "none" || look.position === "absolute")
      continue;
    if (box.right > innerWidth + 1) found.push(`${one.localName}.${one.className} is cut off`);
    const hides = ["hidden", "auto", "scroll"].includes(look.overflowX);
    if (hides && one.scrollWidth > one.clientWidth + 1)
      found.push(`${one.localName}.${one.className} hides its end`);
    if (one.localName === "a" && look.color === "rgb(255, 255, 255)")
      found.push(`${one.textContent} is white`);
  }
  return found;
}"""
WALKS = {
    "phone": (story.PHONE, True),
    "desk": (story.DESK, True),
    "no-script": (story.DESK, False),
}


@pytest.fixture(params=WALKS)
def walk(request: pytest.FixtureRequest, stage: Stage) -> Walk:
    size, script = WALKS[request.param]
    return Walk(stage, request.param, size, script, request.param.upper())


def test_a_pause_is_ordered_lived_through_proved_and_resumed(walk: Walk) -> None:
    world, stage = walk.stage.world, walk.stage
    project = world.project(f"{walk.code}-Heron", client=world.client(walk.code))
    world.entitlement()
    ada, ben, carol, dan = (stage.person(role) for role in ("admin", "admin", None, "auditor"))
    world.grant(carol, project)

    admin = walk.enter(ada)
    _takes_a_roster_in(walk, admin, project.code)
    contractor = walk.enter(carol)
    assert "Running" in contractor.inner_text("main")
    suspension = _pauses(walk, admin)
    _is_told_asks_and_keeps(walk, contractor, project.code)
    admin.goto("/questions")
    admin.click(f"main a:has-text('{carol.full_name}')")
    admin.fill("[name=text]", "By Thursday, we think.")
    walk.press(admin, "Send")
    contractor.goto("/questions/mine")
    walk.press(contractor, project.code)
    assert "By Thursday, we think." in contractor.inner_text("main")
    walk.look(contractor, "answer")

    Signer(world.store.settings).sign(world.store)
    _proves(walk, walk.enter(dan), project.code, suspension)

    _asks_to_resume(walk, admin, suspension)
    _approves(walk, walk.enter(ben))
    contractor.goto("/status")
    assert "Running" in contractor.inner_text("main")
    walk.look(contractor, "running-again")


def _takes_a_roster_in(walk: Walk, page: Page, project: str) -> None:
    page.goto("/roster")
    lines = [
        row(f"{walk.code}1", client=walk.code, project=project, name="نور الهدى"),
        row(f"{walk.code}2", client=walk.code, project="Nowhere"),
    ]
    page.set_input_files("[name=file]", {
        "name": "roster.csv", "mimeType": "text/csv", "buffer": roster_file(*lines).getvalue(),
    })  # fmt: skip
    walk.press(page, "See what it would do")
    told = page.inner_text("main")
    assert "Nothing is written yet." in told
    assert "project" in page.inner_text("section[aria-labelledby=s-rejected] tbody")
    walk.look(page, "roster-preview")
    page.check("[name=skip_rejected]")
    walk.press(page, "Take in 1 row")
    assert "1 row was taken in." in page.inner_text("main")


def _pauses(walk: Walk, page: Page) -> str:
    page.goto("/pause")
    page.check(f"[name=target][value='client:{walk.code}']")
    walk.press(page, "Show what it would do")
    assert re.search(r"2\s+people are affected", page.inner_text("main"))
    walk.look(page, "pause-preview")
    page.select_option("[name=reason_code]", "client_request")
    page.fill("[name=note]", NOTE)
    walk.press(page, "Stop it now")
    assert "In force: every decision already refuses." in page.inner_text("#progress")
    walk.look(page, "pause-in-force")
    walk.stage.world.write_particulars()
    if not walk.script:
        page.reload()
    page.wait_for_selector("[data-particulars=done]")
    walk.look(page, "pause-recorded")
    return page.url.partition("?")[0]


def _is_told_asks_and_keeps(walk: Walk, page: Page, project: str) -> None:
    page.goto("/status")
    told = page.inner_text("main")
    assert "Paused" in told
    assert NOTE in told
    assert "This is not about you" in told
    assert re.search(r"count", told), "what becomes of hours"
    walk.look(page, "status")
    walk.print(page, "status", most=3)
    walk.press(page, "I have read this")
    assert "It is noted that you have read it." in page.inner_text("main")
    page.goto("/notices")
    walk.look(page, "notices")
    with page.expect_download() as calendar:
        page.locator("a[href*='/notices.ics']").first.click()
    assert "BEGIN:VCALENDAR" in calendar.value.path().read_text()
    page.goto("/status")
    page.locator("main a[href*='/questions/mine?']").first.click()
    page.fill("[name=text]", "When does it go on?")
    walk.press(page, "Send")
    assert "When does it go on?" in page.inner_text("main")
    page.goto("/account")
    with page.expect_download() as record:
        walk.press(page, "Download it")
    assert project in json.dumps(json.loads(record.value.path().read_text()))
    walk.press(page, "Make new ones")
    assert page.locator(".recovery li").count() == 10
    walk.print(page, "recovery-codes", most=1)


def _proves(walk: Walk, page: Page, project: str, suspension: str) -> None:
    page.goto(f"{suspension}/record")
    walk.print(page, "record", most=4)
    page.goto(f"{suspension}/receipt?client={walk.code}")
    walk.print(page, "receipt", most=4)
    page.goto("/who")
    page.fill("[name=target]", f"project:{project}")
    an_hour_ago = clock.utcnow() - timedelta(hours=1)
    page.fill("[name=from]", f"{an_hour_ago:%Y-%m-%dT%H:%M:%S}")
    walk.press(page, "Show")
    assert page.locator("main tbody tr").count() == 2, "both could, until the pause"
    walk.look(page, "who")
    page.goto(f"/timeline?target=project:{project}")
    assert page.locator("main svg[role=img], main figure svg").count()
    walk.look(page, "timeline")
    walk.press(page, "Evidence pack")
    assert page.is_checked("[name=format][value=pack]")
    with page.expect_download() as waiting:
        walk.press(page, "Export")
    pack = waiting.value.path()
    with zipfile.ZipFile(pack) as files:
        inside = {name.rpartition("/")[2]: name for name in files.namelist()}
        assert "verify.py" in inside
        report = files.read(inside["report.html"]).decode()
    sheet = page.context.new_page()  # of its own: the report needs nothing of the server's
    sheet.set_content(report)
    walk.look(sheet, "report")
    walk.print(sheet, "report", most=4)
    sheet.close()
    page.goto("/log/verify")
    page.set_input_files("[name=file]", pack)
    walk.press(page, "Verify")
    assert "Whole and untouched" in page.inner_text("main")
    walk.look(page, "verified")


def _asks_to_resume(walk: Walk, page: Page, suspension: str) -> None:
    page.goto(suspension)
    walk.press(page, "Lift…")
    walk.look(page, "lift")
    page.fill("[name=number]", "2")
    page.fill("[name=reason]", "cleared by the client")
    walk.press(page, "Ask to lift")
    assert "Nothing changes until someone else approves." in page.inner_text("main")


def _approves(walk: Walk, page: Page) -> None:
    page.goto("/")
    page.locator(f"main a[href*='/requests/req_']:has-text('{walk.code.title()}')").first.click()
    page.wait_for_load_state()
    page.fill("[name=number]", "2")
    walk.look(page, "approve")
    walk.press(page, "Approve")
    assert "Approved. It is done." in page.inner_text("main")


# --- the keyboard ------------------------------------------------------------------------------

_FOCUSED = """() => {
  const one = document.activeElement, look = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  const ring = look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 2;
  return {
    tag: one.localName, name: one.name || "", value: one.value || "",
    href: one.getAttribute("href"),
    words: (one.getAttribute("aria-label") || one.innerText || "").trim(),
    seen: ring && box.width > 0 && box.height > 0 && look.visibility === "visible",
    where: `${one.localName} ${one.id || one.className} ${look.outline}`,
  };
}"""


@dataclass
class Keys:
    """Someone who has no mouse: everything goes through Tab, Enter, Space, arrows and letters."""

    page: Page
    unseen: list[str] = field(default_factory=list)

    def to(self, **wanted: str) -> dict[str, str]:
        """Press Tab until what is wanted has the focus; each stop on the way shows that it has."""
        for _ in range(120):
            self.page.keyboard.press("Tab")
            at: dict[str, str] = self.page.evaluate(_FOCUSED)
            if at["tag"] == "body":
                continue
            if not at["seen"]:
                self.unseen.append(f"{self.page.url}: {at['where']}")
            if all(str(at[name] or "").startswith(value) for name, value in wanted.items()):
                return at
        raise AssertionError(f"{self.page.url}: no way by Tab to {wanted}")

    def enter(self) -> None:
        """Press what has the focus, and wait for the page that follows."""
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)


def test_the_keyboard_alone_signs_in_pauses_and_resumes_and_shows_where_it_is(
    stage: Stage,
) -> None:
    world = stage.world
    world.grant(world.subject(), world.project("Lark", client=world.client("KEYS")))
    ada, ben = stage.person("admin"), stage.person("admin")
    first = _signs_in_by_keys(stage, ada)
    first.page.keyboard.press("Tab")
    assert first.page.evaluate(_FOCUSED)["href"] == "#main", "the first stop skips to the content"
    assert first.page.evaluate(_FOCUSED)["seen"]
    first.page.keyboard.press("Enter")
    assert first.page.evaluate("document.activeElement.id") == "main"

    first.page.keyboard.press("/")
    first.page.wait_for_selector("#palette[open]")
    first.type("KEYS")
    first.page.wait_for_selector(".palette-found a[href='/clients/KEYS']")
    while first.page.evaluate(_FOCUSED)["href"] != "/clients/KEYS":
        first.page.keyboard.press("ArrowDown")
    assert first.page.evaluate(_FOCUSED)["seen"]
    first.enter()
    first.to(href="/pause?target=client:KEYS")
    first.enter()
    first.to(words="Show what it would do")
    first.enter()
    first.to(name="mode", value="paused")
    first.page.keyboard.press("ArrowDown")  # to the mode after it, and back
    first.page.keyboard.press("ArrowUp")
    first.to(name="reason_code")
    first.page.keyboard.press("ArrowDown")
    first.to(words="Stop it now")
    first.enter()
    assert "/suspensions/sus_" in first.page.url
    suspension = first.page.url.partition("?")[0]
    world.write_particulars()
    first.page.goto(suspension)
    first.to(words="Lift…")
    first.enter()
    first.to(name="number")
    first.type("1")
    first.to(name="reason")
    first.type("cleared")
    first.to(words="Ask to lift")
    first.enter()

    second = _signs_in_by_keys(stage, ben, forced_colors="active")  # in colours of their own
    second.to(href=first.page.url.removeprefix(stage.url).partition("?")[0])
    second.enter()
    second.to(name="number")
    second.type("1")
    second.to(words="Approve")
    second.enter()
    assert "Approved. It is done." in second.page.inner_text("main")
    assert first.unseen + second.unseen == []


def _signs_in_by_keys(stage: Stage, person: Subject, **more: Any) -> Keys:
    keyboard = Keys(stage.page(story.DESK, **more))
    keyboard.page.goto("/sign-in")
    assert keyboard.page.evaluate(_FOCUSED)["name"] == "email", "typing may begin at once"
    keyboard.type(person.email or "")
    keyboard.to(name="password")
    keyboard.type(PASSWORD)
    keyboard.enter()
    assert keyboard.page.evaluate(_FOCUSED)["name"] == "code"
    keyboard.type(stage.world.code(person))
    keyboard.enter()
    return keyboard

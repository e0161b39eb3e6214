"""Every page as people see it: usable by everyone, in light and dark, on a desk and on a phone.

The pictures of all pages stay in build/pages, to be looked at; every name in them is Arabic.
"""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import make_server

from govern.identity import activation
from govern.principal import SYSTEM
from govern.web import guard
from tests.journeys import story
from tests.support import axe, browser
from tests.web.attacks import scene
from tests.web.desks import hidden
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flask import Flask
    from playwright.sync_api import Page

    from tests.factory import World

PICTURES = Path(__file__).parents[2] / "build" / "pages"
ARABIC = "نور الهدى"
# Names that stand among other words without their own direction.
_MIXED = """(name) => {
  const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (!text.data.includes(name) || text.data.trim().startsWith(name)
        && text.parentElement.textContent.trim() === text.data.trim()) continue;
    let one = text.parentElement;
    while (getComputedStyle(one).display.startsWith("inline")
           && getComputedStyle(one).unicodeBidi === "normal") one = one.parentElement;
    const own = getComputedStyle(one);
    if (one.dir !== "auto" && !["plaintext", "isolate"].includes(own.unicodeBidi)
        || !own.display.startsWith("inline") && own.unicodeBidi !== "plaintext")
      found.push(`${one.localName}.${one.className}: ${text.data.trim().slice(0, 60)}`);
  }
  return found;
}"""
# What reaches furthest to the side, and begins within the window: the innermost.
_WIDEST = """() => {
  const ends = [...document.querySelectorAll("main *")].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.right > innerWidth && box.left < innerWidth;
  });
  return ends.filter((one) => !ends.some((other) => other !== one && one.contains(other)))
    .slice(0, 3).map((one) => `${one.parentElement.className} > ${one.localName}.${one.className}`);
}"""
# Of an address, what is another one each time.
_RANDOM = re.compile(r"\b[a-z]{3}_\w{20,}|(?<=activate/).+")
# Either width and either scheme: colours do not depend on the width, nor the rest on colours.
LOOKS = {"1280": (story.DESK, "light"), "375-dark": (story.PHONE, "dark")}


@pytest.fixture
def beginning() -> Any:
    return named_in_arabic


def named_in_arabic(world: World) -> scene.Scene:
    return scene.full(world, f"{ARABIC} {{}}")


def addresses(app: Flask, world: World, there: scene.Scene) -> Iterator[tuple[str, Visitor]]:
    """Every page once, and who opens it: whoever may with the least."""
    invited = world.subject()
    link = world.do(lambda s: activation.issue(s, invited, by=SYSTEM))
    stranger = Visitor.of(app)
    yield f"/activate/{link}", stranger
    seen: set[str] = set()
    contractor, auditor, admin = (
        Visitor.of(app).seated(world, there.people[role])
        for role in ("contractor", "auditor", "admin")
    )
    for visitor in (stranger, contractor, auditor, admin):
        for rule in sorted(app.url_map.iter_rules(), key=str):
            kind = getattr(app.view_functions[rule.endpoint], "govern_guard", "signed_in")
            if "GET" not in (rule.methods or set()) or kind == "credentials":
                continue
            where = there.path(rule)
            if rule.endpoint in seen or where == "/account/record":
                continue
            answer = visitor.get(where)
            if answer.status_code == 200 and "<html" in answer.text:
                seen.add(rule.endpoint)
                yield where, visitor
    yield from _asked_for(admin, auditor)
    yield "/nowhere", admin


def _asked_for(admin: Visitor, auditor: Visitor) -> Iterator[tuple[str, Visitor]]:
    """What pages show once something was asked of them, ordered or kept."""
    yield "/pause/preview?target=project:Heron", admin
    yield "/who?target=project:Heron", admin
    yield "/who?target=project:Heron&from=2026-01-01T00:00:00", admin
    yield "/timeline?target=client:ASTER", auditor
    yield "/search?q=a", admin
    yield "/request-policies?over=project:Heron", admin
    yield "/requests/new", admin
    yield "/lists/suspensions", admin
    narrowed = {"kind": "annotator", "sort": "external_id"}
    admin.get("/lists/people")
    admin.post("/lists/people/filters", {**narrowed, "kept_as": f"{ARABIC} 9", "shared": "yes"})
    yield "/lists/people?kind=annotator", admin
    act = {"act": "end_sessions", "kind": "annotator"}
    shown = admin.get("/lists/people/act", query_string=act)
    yield "/lists/people/act?act=grant&kind=annotator", admin
    yield "/lists/people/act?act=suspend&kind=annotator", admin
    (number,) = re.findall(r"done to: (\d+)", shown.text)
    digest = hidden(shown.text, "digest")
    ordered = admin.post(
        "/lists/people/act", {**act, "digest": digest, "number": number, "reason": ARABIC}
    )
    yield ordered.headers["Location"], admin
    auditor.get("/log/export")
    auditor.post("/log/export", {"format": "jsonl", "when": "later"})
    yield "/log/exports", auditor
    yield "/log/changes?from=2026-01-01T00:00:00", auditor


def walked(app: Flask, wanted: Iterable[tuple[str, Visitor]]) -> Iterator[tuple[str, Page]]:
    """Each page as a real browser shows it to its visitor."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        with browser.chromium() as chromium:
            contexts: dict[int, Any] = {}
            for where, visitor in list(wanted):
                context = contexts.get(id(visitor))
                if context is None:
                    context = contexts[id(visitor)] = chromium.new_context(
                        base_url=url, reduced_motion="reduce"
                    )
                    cookie = visitor.client.get_cookie(guard.COOKIE)
                    if cookie is not None:
                        context.add_cookies(
                            [{"name": guard.COOKIE, "value": cookie.value, "url": url}]
                        )
                    context.new_page()
                (page,) = context.pages
                page.goto(where)
                yield where, page
    finally:
        server.shutdown()


def too_wide(page: Page) -> list[str]:
    """What is said of a page that has to be pushed to the side to be read."""
    wide = page.evaluate("document.documentElement.scrollWidth")
    size = page.viewport_size
    assert size is not None
    return [f"{wide} px wide: {page.evaluate(_WIDEST)}"] if wide > size["width"] else []


@pytest.mark.browser
@pytest.mark.web_alone
@pytest.mark.timeout(600)
def test_no_page_has_a_fault_of_accessibility_in_light_or_dark_on_a_desk_or_a_phone(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    world.seeds.update(begun.seeds)
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    wrong, opened = [], 0
    for where, page in walked(app, addresses(app, world, begun)):
        opened += 1
        wrong += [f"{where}, mixed: {each}" for each in page.evaluate(_MIXED, ARABIC)]
        name = re.sub(r"\W+", "-", _RANDOM.sub("one", where)).strip("-") or "start"
        for look, (size, scheme) in LOOKS.items():  # in place: nothing is loaded again
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            wrong += [f"{where}, {look}: {fault}" for fault in (*too_wide(page), *axe.faults(page))]
            page.screenshot(path=PICTURES / f"{name}-{look}.png", full_page=True)
    assert opened > 60
    assert wrong == [], "\n\n".join(wrong)

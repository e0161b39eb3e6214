"""Every page as people see it: usable by everyone, in light and dark, on a desk and on a phone.

The pictures of all pages stay in build/pages, to be looked at; every name in them is Arabic.
"""

from __future__ import annotations

import re
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
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from tests.factory import World

PICTURES = Path(__file__).parents[2] / "build" / "pages"
# Of a scheme's own, or of a width's.
RULES_OF_LOOKS = [
    "color-contrast",
    "link-in-text-block",
    "target-size",
    "scrollable-region-focusable",
]


@pytest.fixture
def beginning() -> Any:
    return named_in_arabic


def named_in_arabic(world: World) -> scene.Scene:
    return scene.full(world, "نور الهدى {}")


def addresses(app: Flask, world: World, there: scene.Scene) -> Iterator[tuple[str, Visitor]]:
    """Every page once, and who opens it: whoever may with the least."""
    invited = world.subject()
    link = world.do(lambda s: activation.issue(s, invited, by=SYSTEM))
    stranger = Visitor.of(app)
    yield f"/activate/{link}", stranger
    seen: set[str] = set()
    for visitor in [
        stranger,
        *(
            Visitor.of(app).seated(world, there.people[role])
            for role in ("contractor", "auditor", "admin")
        ),
    ]:
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
    yield "/pause/preview?target=project:Heron", visitor
    yield "/who?target=project:Heron", visitor
    yield "/nowhere", visitor


@pytest.mark.browser
@pytest.mark.web_alone
@pytest.mark.timeout(600)
def test_no_page_has_a_fault_of_accessibility_in_light_or_dark_on_a_desk_or_a_phone(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    world.seeds.update(begun.seeds)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever).start()
    url = f"http://127.0.0.1:{server.server_port}"
    PICTURES.mkdir(parents=True, exist_ok=True)
    wrong, opened = [], 0
    try:
        with browser.chromium() as chromium:
            contexts: dict[int, Any] = {}
            for where, visitor in list(addresses(app, world, begun)):
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
                page.set_viewport_size(story.DESK)
                page.emulate_media(color_scheme="light")
                page.goto(where)
                opened += 1
                wrong += [f"{where}: {fault}" for fault in axe.faults(page)]
                name = re.sub(r"\W+", "-", where).strip("-") or "start"
                page.screenshot(path=PICTURES / f"{name}-1280.png", full_page=True)
                page.set_viewport_size(story.PHONE)
                page.emulate_media(color_scheme="dark")
                wide = page.evaluate("document.documentElement.scrollWidth")
                if wide > story.PHONE["width"]:
                    wrong.append(f"{where}: {wide} px wide on a phone")
                wrong += [f"{where}, dark: {f}" for f in axe.faults(page, rules=RULES_OF_LOOKS)]
                page.screenshot(path=PICTURES / f"{name}-375-dark.png", full_page=True)
    finally:
        server.shutdown()
    assert opened > 35
    assert wrong == [], "\n\n".join(wrong)

"""Scripts: whatever text anybody typed anywhere is text on every page, and nothing runs."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from govern import create_app
from tests.web.attacks import scene
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from werkzeug.test import TestResponse

    from govern.config import Settings
    from tests.factory import World

RAW = re.compile(r"<img src=x onerror=alert\((\d+)\)>")


@pytest.fixture
def beginning() -> Any:
    return scene.full


def pages(
    app: Flask, world: World, there: scene.Scene, role: str
) -> Iterator[tuple[str, TestResponse]]:
    """Every page that someone of a role can open, about what there is."""
    visitor = Visitor.of(app).seated(world, there.people[role])
    for rule in app.url_map.iter_rules():
        kind = getattr(app.view_functions[rule.endpoint], "govern_guard", "signed_in")
        if "GET" not in (rule.methods or set()) or kind == "credentials":
            continue
        where = there.path(rule)
        yield where, visitor.get(where, headers={"User-Agent": scene.HTML.format(1)})


@pytest.mark.web_alone
def test_no_stored_text_is_markup_on_any_page(app: Flask, world: World, begun: scene.Scene) -> None:
    world.seeds.update(begun.seeds)
    # The one page of strangers that shows what somebody typed.
    strange = app.test_client().get("/sign-in").text
    assert not RAW.search(strange)
    shown = {int(found) for found in RAW.findall(unescape(strange))}
    opened = 0
    for role in begun.people:
        for where, answer in pages(app, world, begun, role):
            assert answer.status_code < 500, where
            if answer.mimetype != "text/html" or answer.status_code != 200:
                continue
            opened += 1
            assert not RAW.search(answer.text), where
            shown |= {int(found) for found in RAW.findall(unescape(answer.text))}
    assert opened > 30
    never = {name for number, name in begun.planted.numbers().items() if number not in shown}
    assert never == set()


@pytest.mark.web_alone
def test_nothing_that_is_sent_comes_back_as_markup(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    """Every field that any page reads, in every address and every form, and in the headers."""
    world.seeds.update(begun.seeds)
    evil = scene.HTML.format(7)
    sent = dict.fromkeys(scene.fields(), evil)
    headers = {"User-Agent": evil, "X-Request-ID": evil, "Referer": f"http://localhost/{evil}"}
    visitor = Visitor.of(app).seated(world, begun.people["admin"])
    came_back = 0
    for rule in list(app.url_map.iter_rules()):
        kind = getattr(app.view_functions[rule.endpoint], "govern_guard", "signed_in")
        if kind == "credentials" or rule.endpoint == "auth.sign_out":
            continue
        for where in {begun.path(rule), begun.path(rule, **dict.fromkeys(begun.things, evil))}:
            for method in sorted((rule.methods or set()) & {"GET", "POST"}):
                answer = (
                    visitor.get(where, query_string=sent, headers=headers)
                    if method == "GET"
                    else visitor.post(where, sent, headers=headers)
                )
                assert answer.status_code < 500, (method, where)
                assert not RAW.search(answer.text) or answer.mimetype != "text/html", where
                answer.headers.remove("X-Request-ID")  # whose echo AuthZEN asks for
                assert evil not in str(answer.headers), where
                came_back += len(RAW.findall(unescape(answer.text)))
    assert came_back > 50


@pytest.mark.web_alone
def test_the_last_resort_repeats_nothing_as_markup(world: World, settings: Settings) -> None:
    """Its page is drawn without a template, and quoted the caller's own X-Request-ID as it came."""
    app = create_app(settings)  # its own, since it is broken for good

    @app.context_processor
    def broken() -> dict[str, object]:
        raise RuntimeError("no page can be drawn")

    answer = app.test_client().get("/nowhere", headers={"X-Request-ID": scene.HTML.format(1)})
    assert answer.mimetype == "text/html"
    assert RAW.search(unescape(answer.text))
    assert not RAW.search(answer.text)
    app.extensions["govern"].dispose()

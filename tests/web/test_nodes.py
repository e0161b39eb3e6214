"""Several nodes are one service: whatever one of them began, another goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from govern import create_app
from tests.factory import PASSWORD
from tests.web.oauth.flow import Flow
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from govern.config import Settings
    from tests.factory import World


@pytest.fixture
def other(settings: Settings) -> Iterator[Flask]:
    """A second node over the same database, with the same keys."""
    made = create_app(settings)
    made.config.update(TESTING=True, SERVER_NAME="localhost")
    yield made
    made.extensions["govern"].dispose()


def moved(visitor: Visitor, node: Flask) -> Visitor:
    """The same browser, whose next request reaches another node."""
    there = Visitor.of(node)
    for name in ("session", "form"):
        cookie = visitor.client.get_cookie(name)
        if cookie is not None:
            there.client.set_cookie(name, cookie.value)
    there.csrf = visitor.csrf
    return there


def test_a_sign_in_a_form_and_a_code_begun_at_one_node_end_at_another(
    app: Flask, other: Flask, world: World
) -> None:
    flow = Flow.of(app, world)
    # Signed in at the one, known to the other, whose forms take the first one's token.
    there = moved(flow.browser, other)
    assert there.client.get("/status").status_code == 200
    # A code given by the one is redeemed by the other, once.
    code = flow.answer()["code"]
    away = Flow(other, world, flow.tool, flow.project, flow.ada, there)
    token = away.redeem(code).json["access_token"]
    assert flow.active(token)
    assert away.active(token)
    assert flow.redeem(code).status_code == 400
    assert not away.active(token)  # a code that is used twice was stolen
    # Signed out at the one is signed out at the other.
    assert there.post("/sign-out").status_code == 303
    assert flow.browser.client.get("/status").status_code == 303


def test_wrong_passwords_are_counted_over_all_nodes(app: Flask, other: Flask, world: World) -> None:
    ada = world.subject("ada")
    world.activate(ada)
    answers = []
    for turn in range(12):
        browser = Visitor.of((app, other)[turn % 2])
        browser.get("/sign-in")
        answers.append(browser.post("/sign-in", {"email": ada.email, "password": "wrong"}))
        if answers[-1].status_code == 429:
            break
    assert answers[-1].status_code == 429
    for node in (app, other):
        browser = Visitor.of(node)
        browser.get("/sign-in")
        answer = browser.post("/sign-in", {"email": ada.email, "password": PASSWORD})
        assert answer.status_code == 429

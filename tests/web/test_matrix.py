"""Who gets what answer at which route, about one's own client and about another.

`matrix.yaml` has a row for every route of the application and every method: what each sort of
caller is answered. A route without a row fails, and so does an answer that is not the row's; both
print the row that the application gives now, to be looked at cell by cell before it is written
down. How to read and to add a row stands at the head of that file.
"""

from __future__ import annotations

import io
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.web import rehearsing
from tests.web.rehearsing import PEOPLE, PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from werkzeug.routing import Rule
    from werkzeug.test import TestResponse

    from govern.db import Database
    from tests.conftest import Beginning
    from tests.factory import World
    from tests.web.rehearsing import Cast, Things

WRITTEN = yaml.safe_load((Path(__file__).parent / "matrix.yaml").read_text())
HEADERS = {"X-Original-Method": "GET", "X-Original-URI": "/x", "X-Forwarded-Uri": "/x"}


@pytest.fixture
def beginning() -> Beginning:
    return rehearsing.beginning


def routes(app: Flask, *, programs: bool) -> Iterator[tuple[str, Rule, str]]:
    """`METHOD /rule`, its rule and method, of all views for people, or all for programs."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        guard = getattr(app.view_functions[rule.endpoint], "govern_guard", "signed_in")
        if guard in {"credentials", "either"} if programs else guard != "credentials":
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield f"{method} {rule.rule}", rule, method


def filled(value: Any, things: Things) -> Any:
    """A body with the client's things in the places of their names."""
    if isinstance(value, dict):
        return {name: filled(one, things) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, things) for one in value]
    return value.format_map(things) if isinstance(value, str) else value


def address(name: str, rule: Rule, things: Things) -> str:
    """The route's address about some things; the row's own choice of things comes first."""
    chosen = WRITTEN["about"].get(name, {})

    def value(found: re.Match[str]) -> str:
        part = found[1].rpartition(":")[2]
        given = chosen.get(part, WRITTEN["parts"].get(part))
        assert given is not None, (
            f"{name}: say under `parts` of matrix.yaml which of a client's things <{part}> names"
        )
        return filled(given, things)

    query = filled(WRITTEN["queries"].get(name, ""), things)
    return re.sub(r"<([^>]+)>", value, rule.rule) + (f"?{query}" if query else "")


def names_things(name: str) -> bool:
    """Whether a request to the route can be about one client's things or another's."""
    sent = str(WRITTEN["bodies"].get(name, "")) + str(WRITTEN["queries"].get(name, ""))
    return "<" in name or re.search(r"{\w+}", sent) is not None


def cell(ask: Callable[[], TestResponse], told: Callable[[TestResponse], None]) -> str:
    """What one caller got: that they act, a decision, or the status."""
    try:
        answer = ask()
    except rehearsing.TurnedBack:
        return "acts"
    told(answer)
    decision = answer.json.get("decision") if answer.is_json and answer.json else None
    if decision is not None:
        return "permit" if decision else "deny"
    return str(answer.status_code)


def row(name: str, tried: tuple[str, ...], cast: Cast, ask: Callable[[str, Things], str]) -> str:
    """The cells of a row: `own/other` where the two clients' things are answered differently.

    To whoever holds something over everything, both clients are alike: they are asked of one.
    """
    cells = []
    for caller in tried:
        own = ask(caller, cast.a)
        limited = caller == "contractor" or caller.endswith("_of_a")
        other = ask(caller, cast.b) if limited and names_things(name) else own
        cells.append(own if own == other else f"{own}/{other}")
    return " ".join(cells)


def listen(cast: Cast, caller: str, sent: str, leaked: list[str]) -> Callable[[TestResponse], None]:
    """Note in `leaked` what someone limited to client A is told of client B."""

    def look(answer: TestResponse) -> None:
        if caller.endswith("_of_a"):
            found = rehearsing.leaks(answer, cast.b, sent)
            leaked.extend(f"{answer.request.path} tells {caller}: {one}" for one in found)

    return look


def asked(store: Database, callers: tuple[str, ...]) -> tuple[str, ...]:
    """Who is tried: all; on PostgreSQL those alone whose answer is for its statements to find."""
    return tuple(one for one in callers if "_of_a" in one) if store.is_postgresql else callers


def compare(
    part: str, callers: tuple[str, ...], tried: tuple[str, ...], found: dict[str, str]
) -> None:
    """Hold what was answered against what is written, and print the rows to write."""
    written = {
        name: " ".join(
            one for one, caller in zip(cells.split(), callers, strict=True) if caller in tried
        )
        for name, cells in WRITTEN[part].items()
    }
    wrong = [
        f'  "{name}": {cells}\n' + (f"     not: {written[name]}\n" if name in written else "")
        for name, cells in found.items()
        if written.get(name) != cells
    ]
    gone = sorted(written.keys() - found.keys())
    assert not wrong, (
        f"\nIn tests/web/matrix.yaml, under `{part}` ({' '.join(tried)}),\nthe application answers "
        "as below (whole rows: on SQLite).\nLook at each cell: is it what that caller should get? "
        "Then write it down.\nA body that the route needs goes under `bodies`.\n\n" + "".join(wrong)
    )
    assert not [name for name, cells in found.items() if name[:4] == "GET " and "acts" in cells]
    assert not gone, f"matrix.yaml has rows for routes that are gone: {gone}"


@pytest.mark.asvs("3.5.3", "8.2.1", "8.2.2", "8.3.1", "8.4.1")
def test_people_get_at_each_route_what_their_row_says(
    world: World, app: Flask, begun: Cast
) -> None:
    seats, tried = rehearsing.seats(app, world, begun), asked(world.store, PEOPLE)

    def ask(name: str, rule: Rule, method: str, caller: str, things: Things) -> str:
        form = {"csrf_token": seats[caller].csrf, **filled(WRITTEN["bodies"].get(name, {}), things)}
        path = address(name, rule, things)
        sent: Any = {} if method == "GET" else {"data": form}
        look = listen(begun, caller, f"{path} {sent}", leaked)
        return cell(lambda: seats[caller].client.open(path, method=method, **sent), look)

    leaked: list[str] = []
    with rehearsing.nothing_is_committed(world.store):
        found = {
            route[0]: row(route[0], tried, begun, partial(ask, *route))
            for route in routes(app, programs=False)
        }
    compare("people", PEOPLE, tried, found)
    assert not leaked, "\n".join(leaked)


@pytest.mark.web_alone  # what is asked of people is asked on both
@pytest.mark.asvs("3.5.3", "8.2.1", "8.2.2", "8.3.1", "8.4.1")
def test_programs_get_at_each_route_what_their_row_says(
    world: World, app: Flask, begun: Cast
) -> None:
    browser = rehearsing.seats(app, world, begun, "admin")["admin"].client
    tried = asked(world.store, PROGRAMS)

    def ask(name: str, rule: Rule, method: str, caller: str, things: Things) -> str:
        client = browser if caller == "browser" else app.test_client()
        body = filled(WRITTEN["bodies"].get(name, {}), things)
        kind = "data" if rule.rule.startswith("/oauth/") or "file" in body else "json"
        if "file" in body:
            body["file"] = (io.BytesIO(body["file"].encode()), "file")
        sent: Any = {} if method == "GET" else {kind: body}
        path, login = address(name, rule, things), begun.programs.get(caller)
        look = listen(begun, caller, f"{path} {sent}", leaked)
        return cell(
            lambda: client.open(path, method=method, headers=HEADERS, auth=login, **sent), look
        )

    leaked: list[str] = []
    with rehearsing.nothing_is_committed(world.store):
        found = {
            route[0]: row(route[0], tried, begun, partial(ask, *route))
            for route in routes(app, programs=True)
        }
    compare("programs", PROGRAMS, tried, found)
    assert not leaked, "\n".join(leaked)

"""Whoever is limited to client A finds nothing of client B wherever they go: not that it moves.

Every field of client B's world holds the word BOREAL. People limited to A follow every link and
search from where they begin; programs read every list. tests/web/test_matrix.py listens
for the same word at every route, asked about either client's things.
"""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin

import pytest

from govern import clock
from govern.access import asking, concerning, evaluation
from govern.access.clients import Client, Project
from govern.access.evaluation import Question
from govern.audit import streams
from govern.audit.signer import Signer
from govern.identity.subjects import Subject
from tests.factory import OPERATOR
from tests.web import rehearsing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.conftest import Beginning
    from tests.factory import World
    from tests.web.rehearsing import Cast, Things

MOST = 120  # pages that one of them opens
PEOPLE = ("auditor_of_a", "admin_of_a", "approver_of_a")
PROGRAMS = ("audit_of_a", "api_of_a")
# One's own reading is recorded there, and a new app has a new secret: never twice the same.
OF_ONESELF = re.compile(r"/log/access(?!\?[^#]*(?:to|until)=)|/account/")
NEW_EACH_TIME = re.compile(
    r'name="csrf_token" value="[^"]*"|req_[0-9a-v]{20,}|nonce="[^"]*"|name="digest" value="[^"]*"'
)
SEARCHES = (
    "/people?q=bor", "/people?organisation=BOREAL+Staffing", "/pause?q=bor", "/log?subject=bor",
    "/log?log=BOREAL", "/who?target=client:BOREAL",
    "/who?target=client:BOREAL&from=2026-01-01T00:00", "/log/access?person=BOREAL-person",
    "/projects/ASTER-open?q=bor", "/log/export?log=BOREAL", "/pause/preview?target=client:BOREAL",
    "/outgoing", "/requests/mine",
)  # fmt: skip
LISTS = (
    "clients", "projects", "datasets", "subjects", "grants", "suspensions", "requests", "drills",
    "log", "log/access", "log/stream", "log/exports",
)  # fmt: skip


@pytest.fixture
def beginning() -> Beginning:
    return rehearsing.beginning


def walk(get: Callable[[str], TestResponse], *more: str) -> Iterator[tuple[str, TestResponse]]:
    """Every page that can be reached from the first one and by searching, each once."""
    waiting, seen = ["/", *SEARCHES, *more], set[str]()
    while waiting and len(seen) < MOST:
        path = waiting.pop(0)
        seen.add(path)
        answer = get(path)
        yield path, answer
        if OF_ONESELF.search(path):
            links = []  # what one read oneself is another place at each walk
        elif answer.location:
            links = [answer.location]
        else:
            # Buttons that draw a fragment anew lead somewhere too.
            links = re.findall(r'(?:href|hx-get|data-url)="([^"#]+)', answer.get_data(as_text=True))
        for link in links:
            place = urljoin(f"http://localhost{path}", unescape(link)).removeprefix(
                "http://localhost"
            )
            local = place.startswith("/") and not place.startswith("/static/")
            if local and place not in seen and place not in waiting:
                waiting.append(place)


def lists(app: Flask, login: tuple[str, str], *more: str) -> Iterator[tuple[str, TestResponse]]:
    """Every list of the API, a few lines at a time."""
    for name in (*LISTS, *more):
        after = ""
        for _ in range(8):
            path = f"/api/v1/{name}{'&' if '?' in name else '?'}limit=5" + (
                f"&after={quote(after)}" if after else ""
            )
            answer = app.test_client().get(path, auth=login)
            yield path, answer
            after = (answer.json or {}).get("next") or ""
            if not after:
                break


def told(path: str, answer: TestResponse, cast: Cast, leaked: list[str]) -> str:
    """What an answer says, without what is new each time; what it says of B goes to `leaked`."""
    leaked += [f"{path}: {one}" for one in rehearsing.leaks(answer, cast.b, path)]
    text = NEW_EACH_TIME.sub("", answer.get_data(as_text=True))
    return f"{answer.status_code} {text}"


def stir(world: World, cast: Cast) -> None:
    """Let much happen at client B."""
    with world.store.reading() as session:
        client = session.get_one(Client, cast.b["client"])
        project = session.get_one(Project, cast.b["open_id"])
        person = session.get_one(Subject, cast.b["subject"])
    new = world.project("BOREAL-new", client=client)
    world.dataset(new, "BOREAL-newer")
    hired = world.subject("BOREAL-newcomer", organisation="BOREAL Agency")
    for one in (hired, person):
        world.grant(one, new)
    world.integration("BOREAL-system", clients=[client.id])
    world.do(lambda s: streams.add(s, "https://boreal.example", client=client.id, by=OPERATOR))
    world.do(
        lambda s: asking.set_(
            s, asking.over(s, "client:BOREAL", by=OPERATOR), roles=("admin",), needed=1,
            pausing=asking.Pausing.WAITS, days=9, open_to=asking.Openness.CLIENT,
            reason="BOREAL asks", by=OPERATOR,
        )
    )  # fmt: skip
    world.staff("auditor", client=client, name="BOREAL-auditor")
    paused = world.suspend(f"project:{project.code}", note="BOREAL again")
    world.drill(f"client:{client.code}")
    world.write_particulars()
    for _ in range(3):
        asked_about(world, cast.b)
    world.ask_lift(paused, by=OPERATOR)
    concerning.follow(world.store)


def asked_about(world: World, things: Things) -> None:
    """Let a decision of a client be a row of the access log."""
    question = Question(
        subject=things["person"], action="read", kind="project", code=things["open"]
    )
    evaluation.decide(world.store, question, by=OPERATOR)


@pytest.mark.web_alone
@pytest.mark.asvs("8.2.3", "8.4.1")
def test_no_name_code_count_or_instant_of_another_client_reaches_who_is_limited_to_one(
    world: World, app: Flask, begun: Cast
) -> None:
    leaked: list[str] = []
    with clock.at(clock.utcnow()):
        people = ("auditor_of_a",) if world.store.is_postgresql else PEOPLE
        seats = rehearsing.seats(app, world, begun, *people)
        for things in (begun.a, begun.b) * 6:
            asked_about(world, things)
        concerning.follow(world.store)
        Signer(world.store.settings).sign(world.store)  # a stream tells what is signed
        # What one reads now is recorded after this, so that it is no row of one's own reading.
        past = quote(clock.text(clock.utcnow() + timedelta(seconds=1)))

    def everything() -> dict[tuple[str, str], Any]:
        found = {}
        for name, browser in seats.items():
            for path, answer in walk(browser.client.get, f"/log/access?to={past}"):
                found[name, path] = told(path, answer, begun, leaked)
        for name in PROGRAMS:
            more = f"log/access?until={past}"
            for path, answer in lists(app, begun.programs[name], more):
                found[name, path] = told(path, answer, begun, leaked)
        return found

    with clock.at(clock.utcnow() + rehearsing.LATER):
        for name in PROGRAMS:  # they have been seen, as from now on
            list(lists(app, begun.programs[name]))
        before = everything()
        assert sum("log/access?" in path and "after=" in path for _, path in before) >= 3
        stir(world, begun)
        Signer(world.store.settings).sign(world.store)
        after = everything()
    assert not leaked, "\n".join(leaked)
    assert {name for name, _path in before} == {*seats, *PROGRAMS}
    assert len(before) > 60
    assert '"begin":0' in before["audit_of_a", "/api/v1/log/stream?limit=5"]
    moved = [
        f"{where}: {_first_difference(before.get(where, ''), after.get(where, ''))}"
        for where in before.keys() | after.keys()
        if before.get(where) != after.get(where) and not OF_ONESELF.search(where[1])
    ]
    assert not moved, "\n".join(sorted(moved))


def _first_difference(one: str, other: str) -> str:
    place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return f"…{one[max(0, place - 80) : place + 80]!r} → {other[max(0, place - 80) : place + 80]!r}"

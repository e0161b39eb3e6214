"""`bench race`: one pause against a crowd that asks in every way, over HTTP.

Each figure counts the permits among requests that started after the pause had been committed;
until then each way must have permitted, or the run is worth nothing. Before and after the crowd
one asks alone, which tells how long an answer takes that permits, and one that denies.
"""

from __future__ import annotations

import base64
import http.client
import json
import statistics
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from bench import servers
from bench.figures import Figure, store, timed
from govern import create_app
from govern.access import forwarding
from govern.client.statuses import StatusList
from tests.access.tooling import Tool, claims
from tests.factory import OPERATOR, World
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from govern.db import Database

    Ask = Callable[[http.client.HTTPConnection], bool]

PEOPLE = 16  # each asks from a connection of their own
LATER = 10_000
ALONE = 200
SUSPENDED = 2
HOST = "data.example"
RULES = {"mode": "bound", "rules": [{
    "host": HOST, "methods": ["GET"], "path": "/**", "action": "read",
    "resource": "project:Kingfisher",
}]}  # fmt: skip


def run(kind: str) -> Iterator[Figure]:
    """Pause while everybody asks."""
    with store(kind) as database:
        yield from _raced(kind, database)


@dataclass
class Crowd:
    """Who asks in which ways, and what each request was told."""

    url: str
    ways: dict[str, list[Ask]]
    told: list[tuple[str, float, bool]] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def ask(self, person: int) -> None:
        """Ask in one way after another until told to end."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            while not self.ending.is_set():
                for way, asks in self.ways.items():
                    start = time.perf_counter()
                    self.told.append((way, start, asks[person](connection)))
        except BaseException as error:  # noqa: BLE001 - a crowd that got smaller would not be told
            self.failed.append(error)
            self.ending.set()

    def later(self, way: str, instant: float) -> list[bool]:
        """What requests in this way that started later were told."""
        return [
            permit for name, start, permit in list(self.told) if name == way and start > instant
        ]


def _raced(kind: str, database: Database) -> Iterator[Figure]:
    world = World(database)
    kingfisher = world.project("Kingfisher", client=world.client("ASTER"))
    people = [world.subject() for _ in range(PEOPLE)]
    app = create_app(database.settings)
    cookies = []
    for person in people:
        world.grant(person, kingfisher)
        world.activate(person)
        visitor = Visitor.of(app).sign_in(world, person)
        found = visitor.client.get_cookie("session")
        assert found is not None
        cookies.append(found.value)
    tool = Tool.of(world)
    world.do(lambda s: forwarding.set_rules(s, tool.row, json.dumps(RULES), by=OPERATOR))
    tokens = [tool.token(person, kingfisher) for person in people]
    basic = "Basic " + base64.b64encode(f"{tool.row.id}:{tool.secret}".encode()).decode()
    ways: dict[str, list[Ask]] = {
        "AuthZEN": [partial(_evaluate, basic, person.external_id) for person in people],
        "introspection": [partial(_introspect, basic, token) for token in tokens],
        "forward-auth": [
            partial(_forward, f"{tool.row.id}:{tool.secret}", cookie) for cookie in cookies
        ],
    }
    with servers.govern(database) as url:
        alone = {"permits": _alone(url, ways)}
        crowd = Crowd(url, ways)
        threads = [threading.Thread(target=crowd.ask, args=(n,)) for n in range(PEOPLE)]
        for thread in threads:
            thread.start()
        _until(crowd, lambda: all(crowd.later(way, 0).count(True) >= PEOPLE for way in ways))
        for token in tokens:  # whoever looks tokens up has done so before
            _listed(url, token)
        world.suspend("project:Kingfisher")
        committed = time.perf_counter()
        while _listed(url, tokens[0]) != SUSPENDED:
            pass
        listed = time.perf_counter() - committed
        _until(crowd, lambda: all(len(crowd.later(way, committed)) >= LATER for way in ways))
        crowd.ending.set()
        for thread in threads:
            thread.join()
        alone["denies"] = _alone(url, ways)
    if crowd.failed:
        raise crowd.failed[0]
    for way in ways:
        later = crowd.later(way, committed)
        yield Figure(
            bench="race", name=f"{way}: permits that started after the commit", database=kind,
            value=later.count(True), unit="of n", n=len(later),
        )  # fmt: skip
    for outcome, medians in alone.items():
        for way, took in medians.items():
            yield Figure(
                bench="race", name=f"{way}: one that {outcome}, asked alone, median",
                database=kind, value=took * 1000, unit="ms", n=ALONE,
            )  # fmt: skip
    yield Figure(
        bench="race", name="status list: SUSPENDED after the commit", database=kind,
        value=listed * 1000, unit="ms",
    )  # fmt: skip


def _alone(url: str, ways: dict[str, list[Ask]]) -> dict[str, float]:
    """Median seconds of each way, one request after another, once it is warm."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    found = {}
    for way, asks in ways.items():
        took = [timed(partial(asks[n % PEOPLE], connection)) for n in range(2 * ALONE)]
        found[way] = statistics.median(took[ALONE:])
    connection.close()
    return found


def _until(crowd: Crowd, reached: Callable[[], bool]) -> None:
    while not crowd.ending.is_set() and not reached():
        time.sleep(0.2)


def _send(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None,
    headers: dict[str, str],
) -> tuple[int, bytes]:  # fmt: skip
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def _evaluate(basic: str, who: str, connection: http.client.HTTPConnection) -> bool:
    body = json.dumps({
        "subject": {"type": "user", "id": who}, "action": {"name": "read"},
        "resource": {"type": "project", "id": "Kingfisher"},
    }).encode()  # fmt: skip
    headers = {"Authorization": basic, "Content-Type": "application/json"}
    status, told = _send(connection, "POST", "/access/v1/evaluation", body, headers)
    _expect(status, {200})
    return bool(json.loads(told)["decision"])


def _introspect(basic: str, token: str, connection: http.client.HTTPConnection) -> bool:
    headers = {"Authorization": basic, "Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"token": token}).encode()
    status, told = _send(connection, "POST", "/oauth/introspect", body, headers)
    _expect(status, {200})
    return bool(json.loads(told)["active"])


def _forward(proxy: str, cookie: str, connection: http.client.HTTPConnection) -> bool:
    headers = {"X-Govern-Proxy": f"{proxy} GET {HOST} /file", "Cookie": f"session={cookie}"}
    status, _ = _send(connection, "GET", "/forward-auth", None, headers)
    _expect(status, {200, 403})
    return status == http.client.OK


def _expect(status: int, known: set[int]) -> None:
    if status not in known:
        raise SystemExit(f"bench race: answered {status}")


def _listed(url: str, token: str) -> int | None:
    """What the token's status list says of it, by a connection of its own."""
    place = claims(token)["status"]["status_list"]
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    status, told = _send(connection, "GET", urlsplit(place["uri"]).path, None, {})
    connection.close()
    _expect(status, {200})
    return StatusList.read(claims(told.decode())["status_list"]).value(place["idx"])

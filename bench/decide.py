"""`bench decide`: decisions over HTTP among 1,000,000 grants, each on record before its answer.

Beside them, in the same run: a view that does nothing, the least that a recorded decision takes on
PostgreSQL (`bare`), and Cerbos, which is told all that it decides by.
"""

from __future__ import annotations

import base64
import json
import random
import urllib.request
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from bench import load, servers, world
from bench.figures import Figure, store
from govern.access.clients import Project
from govern.audit.decisions import Access
from govern.identity import integrations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from govern.db import Database

PEOPLE, GRANTS_EACH = 200_000, 5
CONNECTIONS = 16
BATCH = 500
SECONDS = 10
RATE = 500

JSON = {"Content-Type": "application/json"}


def run(kind: str) -> Iterator[Figure]:
    """Ask about people at random, and the same of what it is compared with."""
    with store(kind) as database:
        world.load_catalogue(database)
        people = world.grow(database, people=PEOPLE, grants_each=GRANTS_EACH)
        yield from _compared(kind, database, people)


def _compared(kind: str, database: Database, people: list[str]) -> Iterator[Figure]:
    draw = random.Random(7)
    held = _held(database)
    asked = [(people[n], draw.choice(held(n))) for n in draw.sample(range(len(people)), k=20_000)]
    singles = [body(question(who, where)) for who, where in asked]
    batches = [
        body({"evaluations": [question(who, where) for who, where in asked[at : at + BATCH]]})
        for at in range(0, len(asked), BATCH)
    ]
    headers = JSON | {"Authorization": credentials(database)}
    with servers.idle(database) as url:
        floor = load.most(url, singles, JSON, connections=CONNECTIONS, seconds=SECONDS)
    with servers.govern(database) as url:
        _see_permits(f"{url}/access/v1/evaluation", singles, headers)
        before = _recorded(database)
        # First it warms up. Afterwards what came at full speed would still be sealed meanwhile.
        warm, paced = (
            load.paced(f"{url}/access/v1/evaluation", singles, headers,
                       rate=RATE, connections=CONNECTIONS, seconds=SECONDS)
            for _ in range(2)
        )  # fmt: skip
        one = load.most(f"{url}/access/v1/evaluation", singles, headers,
                        connections=CONNECTIONS, seconds=SECONDS)  # fmt: skip
        many = load.most(f"{url}/access/v1/evaluations", batches, headers,
                         connections=CONNECTIONS, seconds=SECONDS)  # fmt: skip
        kept = _recorded(database) - before
        told = warm.done + paced.done + one.done + BATCH * many.done
        if kept < told:
            raise SystemExit(f"bench decide: {told:,} answers, and {kept:,} rows of them")
    least = _bare(database, singles, batches)
    peer = _cerbos(asked, held, people)

    def figure(name: str, value: float, unit: str, floor: float | None, n: int) -> Figure:
        return Figure(
            bench="decide", name=name, database=kind, value=value, unit=unit, floor=floor, n=n
        )

    said = f"by {load.DRIVER}, {CONNECTIONS} connections"
    yield figure(f"single, {said}; floor: an idle view", one.rate, "1/s", floor.rate, one.done)
    yield figure(f"single, {said}, p99", one.p99, "ms", floor.p99, one.done)
    yield figure(f"single, {RATE}/s by python, median", paced.p50, "ms", None, paced.done)
    yield figure(f"single, {RATE}/s by python, p99", paced.p99, "ms", None, paced.done)
    yield figure(f"batches of {BATCH}, {said}", many.rate * BATCH, "1/s", None, many.done)
    for name, other in (("the least", least), ("Cerbos", peer)):
        if other is not None:
            yield from _beside(name, (one, many), other, figure)
    if least is not None and peer is not None:
        yield from _beside("Cerbos", least, peer, figure, what="the least: ")


def _beside(
    name: str,
    measured: tuple[load.Load, load.Load],
    floor: tuple[load.Load, load.Load],
    figure: Callable[[str, float, str, float | None, int], Figure],
    *,
    what: str = "",
) -> Iterator[Figure]:
    """Single questions and batches, each with what another made of the same."""
    (one, many), (single, batch) = measured, floor
    yield figure(f"{what}single; floor: {name}", one.rate, "1/s", single.rate, single.done)
    yield figure(
        f"{what}batches of {BATCH}; floor: {name}", many.rate * BATCH, "1/s",
        batch.rate * BATCH, batch.done,
    )  # fmt: skip


def _bare(
    database: Database, singles: list[bytes], batches: list[bytes]
) -> tuple[load.Load, load.Load] | None:
    with servers.bare(database) as url:
        if url is None:
            return None
        _see_permits(url, singles, JSON)
        one, many = (
            load.most(url, bodies, JSON, connections=CONNECTIONS, seconds=SECONDS)
            for bodies in (singles, batches)
        )
        return one, many


def _held(database: Database) -> Any:
    """What gives the projects that the person of a number has a grant on: see `world.grow`."""
    with database.reading() as session:
        codes = list(session.execute(select(Project.code).order_by(Project.id)).scalars())
    return lambda n: [codes[(n + k) % len(codes)] for k in range(GRANTS_EACH)]


def question(who: str, where: str) -> dict[str, Any]:
    return {
        "subject": {"type": "user", "id": who},
        "action": {"name": "read"},
        "resource": {"type": "project", "id": where},
    }


def body(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


def credentials(database: Database, scope: str = "decision") -> str:
    """A system's of that scope, as HTTP Basic."""
    made, secret = database.transaction(
        lambda session: integrations.create(session, scope, scopes=[scope], by=world.BY)
    )
    shown = f"{made.id}:{secret}".encode()
    return f"Basic {base64.b64encode(shown).decode()}"


def _see_permits(url: str, bodies: list[bytes], headers: dict[str, str]) -> None:
    """A fast refusal would prove nothing."""
    for body in bodies[:20]:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
            if json.load(answer)["decision"] is not True:
                raise SystemExit("bench decide: a question that should be permitted was not")


def _recorded(database: Database) -> int:
    with database.access_reading() as session:
        return session.execute(select(func.count()).select_from(Access)).scalar_one()


def _cerbos(
    asked: list[tuple[str, str]], held: Any, people: list[str]
) -> tuple[load.Load, load.Load] | None:
    """The same questions put to Cerbos, each with the attributes that it decides by."""
    number = {who: n for n, who in enumerate(people)}

    def question(part: list[tuple[str, str]]) -> bytes:
        who = part[0][0]
        attributes = {"projects": held(number[who])}
        return body({
            "principal": {"id": who, "roles": ["annotator"], "attr": attributes},
            "resources": [
                {"resource": {"kind": "project", "id": where}, "actions": ["read"]}
                for _, where in part
            ],
        })  # fmt: skip

    with servers.cerbos() as url:
        if url is None:
            return None
        single = load.most(f"{url}/api/check/resources", [question([pair]) for pair in asked],
                           JSON, connections=CONNECTIONS, seconds=SECONDS)  # fmt: skip
        batches = [question(asked[at : at + BATCH]) for at in range(0, len(asked), BATCH)]
        batch = load.most(f"{url}/api/check/resources", batches,
                          JSON, connections=CONNECTIONS, seconds=SECONDS)  # fmt: skip
        return single, batch

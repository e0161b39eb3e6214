"""`bench pages`: every page as each role that may see it, among 1,000,000 people and grants.

The pages are found in the application's own map of addresses, so a new one is measured without
being named here; `TYPED` adds what people type into their filters. Each is asked for over HTTP by
one reader at a time. The floor is /healthz, asked in the same run.

`BENCH_PEOPLE` makes a smaller world, for a quick look.
"""

from __future__ import annotations

import http.client
import os
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from sqlalchemy import update

from bench import servers, world
from bench.figures import KINDS, Figure, percentile, store
from govern import clock, create_app
from govern.access import clients
from govern.access.suspensions import Reason
from govern.audit import log
from govern.audit.decisions import Access
from govern.audit.sealing import AccessSealing
from govern.audit.signer import Signer
from govern.db import id_at, insert_many
from govern.identity import sessions
from govern.identity.subjects import Subject
from govern.web import guard
from tests.factory import PASSWORD, World
from tests.web.rehearsing import things

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask import Flask
    from sqlalchemy import Table

    from govern.access.clients import Client
    from govern.db import Database

PEOPLE = int(os.environ.get("BENCH_PEOPLE", "1000000"))
DECISIONS = PEOPLE // 2  # rows of the access log
ASKED = 40  # times that each page is asked for
LONGEST = 20  # seconds, after which a page is not asked for again
HTML = "text/html"
# Whose pages: the name of the role, which it is, whether over one client alone, and the addresses
# that it works with. What only differs in who asks is asked for once.
ROLES = {
    "admin": ("admin", False, "/"),
    "client admin": ("admin", True, "/"),
    "auditor": ("auditor", False, r"/(log|who|timeline|suspensions|people/[^?]*/history)"),
    "approver": ("approver", False, r"/(requests|suspensions)"),
    "contractor": (None, False, "/"),
}
# What people type and follow, by name: `{}`s are of the large client and of a person in its midst.
TYPED = (
    "/people?q={person}", "/people?q=l0004", "/people?state=suspended", "/people?state=offboarded",
    "/people?kind=annotator", "/people?organisation=Many+Hands", "/people?after=L{half:07}",
    "/projects/{project_code}?q={person}", "/projects/{project_code}?status=held",
    "/projects/{project_code}?status=expired", "/projects/{project_code}?sort=ends",
    "/projects/{project_code}?after=grt_{half:024}", "/projects/{free_code}",
    "/projects/{free_code}?status=in_force", "/search?q=L000", "/search?q=king",
    "/calendar?month=2036-01", "/calendar?day=2036-01-01", "/pause?q=king",
    "/pause/preview?target=project:{small}", "/pause/preview?subject={person}",
    "/who?target=project:{free_code}", "/who?target=project:{project_code}",
    "/who?target=project:{free_code}&from=2026-06-01T00:00", "/who?target=client:{client_code}",
    "/who?target=project:{free_code}&after=grt_{half:024}",
    "/timeline?target=project:{project_code}", "/timeline?target=client:{client_code}",
    "/timeline?target=person:{person}", "/log?log={client_code}", "/log?person={person}",
    "/log?project={project_code}", "/log?type=suspension.opened", "/log?type=grant.suspended",
    "/log?from=2026-01-01T00:00&to=2036-01-01T00:00",
    "/log?log={client_code}&after={client}.{deep}",
    "/log/changes?log={client_code}&size=0", "/log/access?person={person}",
    "/log/access?project={project_code}", "/log/access?outcome=deny", "/log/access?kind=export",
    "/log/access?mine=1", "/suspensions/{suspension}?after=grt_{half:024}",
    "/suspensions/{suspension}/lift?group=held_elsewhere", "/requests/{request}",
    "/suspensions/{plain}", "/suspensions/{plain}/lift", "/suspensions/{lasting}/resume",
)  # fmt: skip


def run() -> Iterator[Figure]:
    """Ask for every page, and tell of the slowest first."""
    for kind in KINDS:
        with store(kind) as database:
            found = filled(database, PEOPLE, decisions=DECISIONS)
            yield from _measured(kind, database, found)


# --- the world ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filled:
    """The world, its things by the names that addresses give them, and who signs in."""

    world: World
    things: dict[str, Any]
    people: dict[str, Subject]


def filled(database: Database, people: int, *, decisions: int) -> Filled:
    """So many people with a grant each, a pause of a client's whole, and one of everything."""
    there = World(database)
    world.load_catalogue(database)
    world.grow(database, people=people, grants_each=1)
    small = things(there, "SMALL")
    half = people // 2
    with database.reading() as session:
        client, project = clients.client(session, "DELPHI"), clients.project(session, "Juniper")
        own = session.get_one(Subject, f"sub_{half:024}")
    there.grant(own, project)
    found: dict[str, Any] = small | {
        "client": client.id, "client_code": client.code, "project": project.id,
        "project_code": project.code, "free_code": "Kingfisher", "small": small["open"],
        "person": own.external_id, "subject": own.id, "half": half,
    }  # fmt: skip
    _pause(there, found)
    _decisions(database, found, decisions)
    Signer(database.settings).sign(database)
    world.analyze(database)
    return Filled(there, found, _staff(there, own, client))


def _pause(there: World, found: dict[str, Any]) -> None:
    """A pause of the client with an entry for each grant, others over people, and what they say."""
    for number in range(3, 23):
        there.suspend(f"subject:L{number:07}", note="We talk to you tomorrow.")
    row = there.suspend(f"client:{found['client_code']}", note="The client asked for it.")
    for number in range(5):
        there.suspend(f"project:{found['small']}", reason=Reason.LEGAL, note=f"Part {number}.")
    there.write_particulars()
    found["suspension"] = row.id
    with there.store.reading() as session:
        found["deep"] = log.positions(session, [found["client"]])[found["client"]] // 2


def _decisions(database: Database, found: dict[str, Any], count: int) -> None:
    """Rows of the access log over thirty days, of a writer that was sealed for good."""
    table, now = cast("Table", Access.__table__), clock.utcnow()
    writer, apart = id_at("wri", now - timedelta(days=31)), timedelta(days=30) / max(count, 1)

    def row(number: int) -> list[Any]:
        value = {
            "writer": writer, "number": number, "at": now - timedelta(days=30) + number * apart,
            "kind": "decision", "principal": found["integration"],
            "subject_id": f"sub_{number * 7 % (2 * found['half']):024}",
            "client_id": found["client"], "resource_id": found["project"], "action": "annotate",
            "permit": number % 50 != 0, "reason": "permitted" if number % 50 else "client_paused",
            "as_of": number % 1000, "house_as_of": 9,
        }  # fmt: skip
        return [value.get(column.name) for column in table.columns]

    rows = (row(number) for number in range(count))
    database.access_transaction(lambda session: insert_many(session, table, rows))
    database.transaction(lambda session: session.execute(update(AccessSealing).values(done=writer)))


def _staff(there: World, own: Subject, client: Client) -> dict[str, Subject]:
    """Who signs in, by the name of their role; all of them can."""
    found = {
        name: own if role is None else there.staff(role, client=client if limited else None)
        for name, (role, limited, _) in ROLES.items()
    }
    for person in found.values():
        there.activate(person)
    return found


def signed_in(there: World, person: Subject) -> str:
    """A session's token, the second factor shown."""
    assert person.email is not None
    half = sessions.begin(there.store, person.email, PASSWORD)
    later = clock.utcnow() + timedelta(seconds=30)
    with clock.at(later):  # activation used the code of this half minute
        code = there.code(person, at=later)
        token: str = there.do(lambda session: sessions.show_factor(session, half, code))
    return token


# --- the pages ---------------------------------------------------------------------------------


def addresses(app: Flask, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each page's rule and address, about the large things where it is about one."""
    pages = []
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        guarded = getattr(app.view_functions[rule.endpoint], "govern_guard", "signed_in")
        if "GET" in (rule.methods or ()) and guarded == "signed_in" and rule.rule != "/static":
            pages.append((rule.rule, _filled_in(rule.rule, found)))
    pages += [(path, path.format_map(found)) for path in TYPED]
    return pages


def _filled_in(rule: str, found: Mapping[str, Any]) -> str:
    def value(part: re.Match[str]) -> str:
        name = part[1].rpartition(":")[2].removesuffix("_id")
        if name == "code":
            name = "client_code" if rule.startswith("/clients/") else "project_code"
        return str(found.get(name, "nonsense"))

    return re.sub(r"<([^>]+)>", value, rule)


class Reader:
    """One browser of someone who is signed in, its connection kept open."""

    def __init__(self, url: str, token: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._headers = {"Cookie": f"{guard.COOKIE}={token}", "Accept": HTML}

    def get(self, path: str) -> tuple[int, str, float]:
        """The status, the kind of what came, and how many milliseconds that took."""
        begun = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        answer.read()
        took = (time.perf_counter() - begun) * 1000
        return answer.status, answer.headers.get_content_type(), took


def _measured(kind: str, database: Database, found: Filled) -> Iterator[Figure]:
    app = create_app(database.settings)
    pages = addresses(app, found.things)
    app.extensions["govern"].dispose()
    taken: dict[str, list[float]] = {}
    floor: list[float] = []
    with servers.govern(database) as url:
        for role, person in found.people.items():
            reader = Reader(url, signed_in(found.world, person))
            for name, path in pages:
                if not re.match(ROLES[role][2], path):
                    continue
                floor.append(reader.get("/healthz")[2])
                times = _times(reader, path)
                if times:
                    taken[f"{role}: {name}"] = times
    least = {share: percentile(floor, share) for share in (0.5, 0.95)}
    for name, times in sorted(taken.items(), key=lambda one: -percentile(one[1], 0.95)):
        for share, word in ((0.95, "p95"), (0.5, "p50")):
            yield Figure(
                bench="pages", name=f"{name}, {word}", database=kind,
                value=percentile(times, share), unit="ms", floor=least[share], n=len(times),
            )  # fmt: skip


def _times(reader: Reader, path: str) -> list[float]:
    """How long each answer took; none where it is no page, or not one of theirs."""
    status, content, _ = reader.get(path)
    if status != http.HTTPStatus.OK or content != HTML:
        return []
    reader.get(path)
    times: list[float] = []
    while len(times) < ASKED and sum(times) < LONGEST * 1000:
        times.append(reader.get(path)[2])
    return times

"""`bench pages`: every page as each role that may see it, among 1,000,000 people and grants.

The pages are found in the application's own map of addresses, so a new one is measured without
being named here; `TYPED` adds what people type into their filters. Each is asked for over HTTP by
one reader at a time, about one person after another: a few times, and often where that says it may
be slow. The floor is /healthz, asked in the same run.

Beside the time that the reader waits stands the processor time that the server and the database
took for it, by the kernel's own count: that a page waits long and takes little of it tells of the
machine, and not of the page. Its statements are counted in this process, of one answer more.

`BENCH_PEOPLE` makes a smaller world, for a quick look.
"""

from __future__ import annotations

import http.client
import os
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

from sqlalchemy import select, update

from bench import servers, world
from bench.figures import Figure, percentile, store
from bench.workers import Workers, begun_by
from govern import clock, create_app
from govern.access import clients
from govern.access.grants import Grant
from govern.access.suspensions import Reason, Suspension
from govern.audit import log
from govern.audit.decisions import Access
from govern.audit.sealing import AccessSealing
from govern.audit.signer import Signer
from govern.db import id_at, insert_many
from govern.identity import sessions
from govern.identity.subjects import Subject
from govern.web import guard
from tests.factory import PASSWORD, World
from tests.web.desks import counted
from tests.web.rehearsing import things

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Table

    from govern.access.clients import Client
    from govern.db import Database, Session

PEOPLE = int(os.environ.get("BENCH_PEOPLE", "1000000"))
DECISIONS = PEOPLE // 2  # rows of the access log
ROWS = 8  # people, far apart, that pages about one are asked for in turn
ASKED = 5  # times that each page is asked for
ASKED_OFTEN = 40  # the same of a page of which one answer took more work than
SUSPICIOUS = 30  # milliseconds; on a machine that others use as well every page waits so long
LONGEST = (
    3  # seconds, after which a page is not asked for again, unless it was asked for too seldom
)
SLOW = 150  # milliseconds, which no page is to take
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
    "/lists/people", "/lists/people?q={person}", "/lists/people?client={client_code}",
    "/lists/people?lacks=second_factor", "/lists/people?organisation=Many+Hands", "/lists/grants",
    "/lists/grants?status=held", "/lists/grants?status=expired&sort=-ends",
    "/lists/grants?project={free_code}&status=held", "/lists/grants?organisation=Many+Hands",
    "/lists/grants?q={person}", "/lists/grants?client={name}",
    "/lists/organisations", "/lists/suspensions",
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


def run(kind: str) -> Iterator[Figure]:
    """Ask for every page, and tell of the slowest first."""
    with store(kind) as database:
        found = filled(database, PEOPLE, decisions=DECISIONS)
        yield from measured(kind, database, found, pages(database, found.things))


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
    asking, _ = there.integration("asking", clients=[client.id])
    found: dict[str, Any] = small | {
        "integration": asking.id, "client": client.id, "client_code": client.code,
        "project": project.id, "project_code": project.code, "free_code": "Kingfisher",
        "small": small["open"], "person": own.external_id, "subject": own.id, "half": half,
        "others": _others(database, project.id, people),
    }  # fmt: skip
    _pause(there, found)
    _decisions(database, found, decisions)
    Signer(database.settings).sign(database)
    world.analyze(database)
    return Filled(there, found, _staff(there, own, client))


def _others(database: Database, project_id: str, people: int) -> list[int]:
    """The numbers of people of a project, far apart."""
    theirs = select(Grant.subject_id).where(Grant.project_id == project_id).order_by(Grant.id)
    with database.reading() as session:
        found = (
            session.scalars(theirs.where(Grant.id >= f"grt_{people * part // ROWS:024}").limit(1))
            for part in range(1, ROWS)
        )
        return [int(subject_id.removeprefix("sub_")) for one in found for subject_id in one]


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
    """Rows of the access log over thirty days, of a writer that was sealed for good.

    Each cites the log as it was by then. A fiftieth, denials, were answered since the client's
    pause.
    """
    table, client = cast("Table", Access.__table__), found["client"]
    with database.reading() as session:
        paused = session.get_one(Suspension, found["suspension"]).recorded_at
        opened = log.place_of(session, client, paused)
        sizes = log.positions(session, [client, log.HOUSE])
    begun, since = paused - timedelta(days=30), count - count // 50
    writer = id_at("wri", begun - timedelta(days=1))
    apart, closer = timedelta(days=30) / since, (clock.utcnow() - paused) / max(count - since, 1)

    def row(number: int) -> list[Any]:
        late, permit = number - since, number < since and number % 50 != 0
        value = {
            "writer": writer, "number": number, "kind": "decision", "action": "annotate",
            "at": begun + number * apart if late < 0 else paused + (late + 1) * closer,
            "principal": found["integration"], "client_id": client, "permit": permit,
            "subject_id": f"sub_{number * 7 % (2 * found['half']):024}",
            "resource_id": found["project"],
            "reason": "permitted" if permit else "action_not_granted" if late < 0
            else "client_paused",
            "as_of": number * opened // since if late < 0 else sizes[client],
            "house_as_of": sizes[log.HOUSE],
        }  # fmt: skip
        return [value.get(column.name) for column in table.columns]

    def work(session: Session) -> None:
        world.quickly(session)
        insert_many(session, table, (row(number) for number in range(count)))

    database.access_transaction(work)
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


def pages(database: Database, found: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Each page's rule and addresses, about the large things where it is about one."""
    app = create_app(database.settings)
    app.extensions["govern"].dispose()
    known = []
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        guarded = getattr(app.view_functions[rule.endpoint], "govern_guard", "signed_in")
        if "GET" in (rule.methods or ()) and guarded == "signed_in" and rule.rule != "/static":
            known.append(rule.rule)
    several = [{**found, **row} for row in _rows(found)]
    found_paths = {rule: [_filled_in(rule, each) for each in several] for rule in known}
    found_paths |= {path: [path.format_map(each) for each in several] for path in TYPED}
    return [(name, list(dict.fromkeys(paths))) for name, paths in found_paths.items()]


def _rows(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What names a person, or a place in a list: of the one in the midst, and of others."""
    yield {}
    for part, number in enumerate(found["others"], 1):
        yield {
            "half": number, "person": f"L{number:07}", "subject": f"sub_{number:024}",
            "deep": 2 * found["deep"] * part // ROWS,
        }  # fmt: skip


def _filled_in(rule: str, found: Mapping[str, Any]) -> str:
    def value(part: re.Match[str]) -> str:
        name = part[1].rpartition(":")[2].removesuffix("_id")
        if name == "code":
            name = "client_code" if rule.startswith("/clients/") else "project_code"
        return str(found.get(name, "nonsense"))

    return re.sub(r"<([^>]+)>", value, rule)


@dataclass(frozen=True)
class Answer:
    """What came for a page, and the milliseconds of waiting and of processors that it took."""

    status: int
    content: str
    waited: float
    worked: float


class Reader:
    """One browser of someone who is signed in, its connection kept open."""

    def __init__(self, url: str, token: str, workers: Workers) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._headers = {"Cookie": f"{guard.COOKIE}={token}", "Accept": HTML}
        self._workers = workers

    def get(self, path: str) -> Answer:
        """Ask for a page, once."""
        try:
            return self._get(path)
        except ConnectionError:  # a server may close one that was kept open
            self._connection.close()
            return self._get(path)

    def _get(self, path: str) -> Answer:
        before, begun = self._workers.nanoseconds(), time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        answer.read()
        waited = (time.perf_counter() - begun) * 1000
        worked = (self._workers.nanoseconds() - before) / 1_000_000
        return Answer(answer.status, answer.headers.get_content_type(), waited, worked)


def measured(
    kind: str, database: Database, found: Filled, wanted: Sequence[tuple[str, list[str]]]
) -> Iterator[Figure]:
    """The slowest page first; at the end how many were slow."""
    taken: dict[str, list[Answer]] = {}
    statements: dict[str, int] = {}
    floor: list[Answer] = []
    app = create_app(database.settings)
    with servers.serving(database) as (url, process):
        # The followers apart: they stand in the process that began these.
        workers = Workers(database, begun_by(process))
        for role, person in found.people.items():
            token, browser = signed_in(found.world, person), app.test_client()
            reader = Reader(url, token, workers)
            browser.set_cookie(guard.COOKIE, token)
            for name, paths in wanted:
                if not re.match(ROLES[role][2], paths[0]):
                    continue
                workers.look()
                floor.append(reader.get("/healthz"))
                answers = _asked(reader, paths)
                if answers:
                    taken[f"{role}: {name}"] = answers
                    with counted() as sent:
                        browser.get(paths[0])
                    statements[f"{role}: {name}"] = len(sent)
    app.extensions["govern"].dispose()
    least = Waits.of(floor)
    slowest = sorted(
        ((Waits.of(answers), name, len(answers)) for name, answers in taken.items()), reverse=True
    )
    for own, name, times in slowest:
        for word, value, bare in zip(("p95", "p50", "processor"), own, least, strict=True):
            yield Figure(
                bench="pages", name=f"{name}, {word}", database=kind, value=value, unit="ms",
                floor=bare, n=times,
            )  # fmt: skip
    for word, values in (
        ("p95", {name: own.p95 for own, name, _ in slowest}),
        ("processor", {name: own.worked for own, name, _ in slowest}),
    ):
        over = {name: value for name, value in values.items() if value > SLOW}
        for name, value in over.items():
            yield Figure(
                bench="pages", name=f"over {SLOW} ms, {word}: {name}", database=kind, value=value,
                unit="ms",
            )  # fmt: skip
        yield Figure(
            bench="pages", name=f"pages over {SLOW} ms, {word}", database=kind, value=len(over),
            unit="pages", n=len(slowest),
        )  # fmt: skip
    most = max(statements, key=statements.__getitem__)
    yield Figure(
        bench="pages", name=f"most statements, {most}", database=kind, value=statements[most],
        unit="statements", n=len(statements),
    )  # fmt: skip


class Waits(NamedTuple):
    """Milliseconds: the 95th percentile and the median of waiting, and the median of working."""

    p95: float
    p50: float
    worked: float

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> Waits:
        """Those of some answers."""
        waited = [answer.waited for answer in answers]
        worked = [answer.worked for answer in answers]
        return cls(percentile(waited, 0.95), percentile(waited, 0.5), percentile(worked, 0.5))


def _asked(reader: Reader, paths: Sequence[str]) -> list[Answer]:
    """Some answers, but for the first; none where it is no page, or not one of theirs."""
    first = reader.get(paths[0])
    if first.status != http.HTTPStatus.OK or first.content != HTML:
        return []
    answers: list[Answer] = []
    end = time.monotonic() + LONGEST
    wanted = ASKED
    while len(answers) < wanted and (len(answers) < ASKED or time.monotonic() < end):
        path = paths[(len(answers) + 1) % len(paths)]
        answers.append(reader.get(path))
        assert answers[-1].status == http.HTTPStatus.OK, path
        if answers[-1].worked > SUSPICIOUS:
            wanted = ASKED_OFTEN
    return answers

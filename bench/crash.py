"""`bench crash`: server and database killed at random instants of a pause, under load.

Each round pauses a project through the API while others ask, and at an instant of chance ends
`govern serve` (and, in every other round on PostgreSQL, the database too) by SIGKILL. Both start
again by themselves, as under systemd. An acknowledged pause must be there, nothing that is asked
afterwards may be permitted, and each grant has its entry exactly once.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from bench import servers
from bench.figures import Figure, opened, store
from govern.access.grants import Grant
from govern.access.suspensions import Particulars, Suspension
from govern.audit import EventType, fsck
from govern.audit.log import Entry
from govern.audit.signer import Signer
from govern.config import Settings
from govern.identity.subjects import Subject
from tests.factory import World
from tests.support import cluster

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from govern.db import Database
    from govern.identity.integrations import Integration
    from tests.support.cluster import Pair

# Every other one on PostgreSQL ends the database too: fifty of each.
ROUNDS = {"sqlite": 50, "postgresql": 100}
GRANTS = 1_000
ASKERS = 4
# The pause itself takes milliseconds, its entries the rest of this.
WITHIN = 0.6
SCOPE = ["project:Kingfisher"]


@dataclass
class Told:
    """What the askers were told: when each request began, and whether it was permitted."""

    answers: list[tuple[float, bool]] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def permits_after(self, instant: float) -> int:
        """Permits among requests that began later."""
        return sum(permit for start, permit in list(self.answers) if start > instant)

    def asked_after(self, instant: float) -> int:
        """Requests that began later and were answered."""
        return sum(start > instant for start, _ in list(self.answers))


def run(kind: str) -> Iterator[Figure]:
    """Kill, start again, and count."""
    if kind == "sqlite":
        with store(kind) as database:
            yield from _killed(kind, database, None)
        return
    with cluster.pair() as pair, tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), database_url=pair.url(pair.primary))
        for database in opened(settings):
            yield from _killed(kind, database, pair)


def _killed(kind: str, database: Database, pair: Pair | None) -> Iterator[Figure]:
    world = World(database)
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    world.crowd(project, client, GRANTS)
    with database.reading() as session:
        every = set(session.execute(select(Grant.id)).scalars())
        people = list(session.execute(select(Subject.external_id)).scalars())
    asking, calling = (
        _basic(*world.integration(name, scopes=(scope,)))
        for name, scope in (("asks", "decision"), ("calls", "api"))
    )
    told, chance = Told(), random.Random(7)
    port = servers.free_port()
    asker = partial(_ask, told, port, asking, people)
    threads = [threading.Thread(target=asker, args=(n,)) for n in range(ASKERS)]
    late, doubled, lost, acknowledged, held = 0, 0, 0, 0, 0
    process = servers.started(database, port)
    for thread in threads:
        thread.start()
    try:
        for number in range(ROUNDS[kind]):
            _until(partial(told.permits_after, time.perf_counter()), 1)
            _post(port, "/api/v1/suspensions/preview", calling, {"targets": SCOPE})  # it is warm
            both = pair if number % 2 else None
            killing = threading.Timer(chance.uniform(0, WITHIN), _kill, (process, both))
            killing.start()
            sure = _pause(port, calling)
            killing.join()
            if both is not None:
                both.start(both.primary)
            process = servers.started(database, port)
            with database.reading() as session:
                suspension = session.execute(
                    select(Suspension).where(Suspension.ended_at.is_(None))
                ).scalar_one_or_none()
            if suspension is None:
                lost += sure is not None
                continue
            held += 1
            acknowledged += sure is not None
            since = sure or time.perf_counter()
            _until(partial(told.asked_after, since), 10 * ASKERS)
            _until(partial(_closed, database, suspension), 1)
            late += told.permits_after(since)
            entries = _entries(database, suspension)
            doubled += entries != Counter(every)
            world.lift(suspension)
    finally:
        told.ending.set()
        for thread in threads:
            thread.join()
        _end(process)
    report = fsck.run(database, Signer(database.settings))
    rounds = ROUNDS[kind]
    for name, value in (
        ("permits that began after the pause", late),
        ("pauses with an entry lost or doubled", doubled),
        ("acknowledged pauses lost", lost),
        ("damage found by fsck", len(report.damage)),
    ):
        yield Figure(
            bench="crash", name=name, database=kind, value=value, unit=f"in {rounds} kills",
            n=rounds,
        )  # fmt: skip
    for name, value in (("committed", held), ("acknowledged", acknowledged)):
        yield Figure(
            bench="crash", name=f"pauses {name} before the kill", database=kind,
            value=value, unit="pauses", n=rounds,
        )  # fmt: skip


def _kill(process: subprocess.Popen[bytes], pair: Pair | None) -> None:
    """End the server, and the database if told, with all that they run, at one instant."""
    os.killpg(process.pid, signal.SIGKILL)
    if pair is not None:
        pair.primary.kill()
    process.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # it did not start again, which is told already
        os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)


def _basic(row: Integration, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{row.id}:{secret}".encode()).decode()


def _pause(port: int, basic: str) -> float | None:
    """Order a pause; gives the instant of its acknowledgement, None if there was none."""
    body = {"targets": SCOPE, "mode": "paused", "reason": "security_incident"}
    try:
        status, _ = _post(port, "/api/v1/suspensions", basic, body)
    except (OSError, http.client.HTTPException):
        return None
    return time.perf_counter() if status == http.client.CREATED else None


def _ask(told: Told, port: int, basic: str, people: list[str], number: int) -> None:
    chance = random.Random(number)
    while not told.ending.is_set():
        question = {
            "subject": {"type": "user", "id": chance.choice(people)},
            "action": {"name": "read"},
            "resource": {"type": "project", "id": "Kingfisher"},
        }
        start = time.perf_counter()
        try:
            status, answer = _post(port, "/access/v1/evaluation", basic, question)
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)  # nobody answers: it is starting
            continue
        if status == http.client.OK:
            told.answers.append((start, bool(json.loads(answer)["decision"])))


def _post(port: int, path: str, basic: str, body: dict[str, Any]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Authorization": basic, "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _closed(database: Database, suspension: Suspension) -> int:
    """How many of its particulars the followers have closed."""
    with database.reading() as session:
        closed = select(func.count()).where(
            Particulars.suspension_id == suspension.id, Particulars.finished_at.is_not(None)
        )
        return session.execute(closed).scalar_one()


def _entries(database: Database, suspension: Suspension) -> Counter[str]:
    """How often each grant has an entry of it."""
    with database.reading() as session:
        leaves = session.execute(
            select(Entry.leaf).where(
                Entry.suspension_id == suspension.id, Entry.type == EventType.GRANT_SUSPENDED
            )
        ).scalars()
        return Counter(json.loads(leaf)["refs"]["grant"] for leaf in leaves)


def _until(count: Callable[[], int], wanted: int) -> None:
    deadline = time.monotonic() + 120
    while count() < wanted:
        if time.monotonic() > deadline:
            raise SystemExit("bench crash: it did not come back")
        time.sleep(0.05)

"""The primary is killed under load and the replica promoted: nothing acknowledged is lost.

Two nodes serve from a primary whose replica is synchronous, by one address that names both.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from govern import create_app, errors, schema
from govern.access.grants import Grant
from govern.audit import fsck
from govern.audit.decisions import Access, row_id
from govern.audit.log import Entry
from govern.audit.signer import Signer
from govern.config import Settings
from govern.db import Database
from tests.factory import World
from tests.support import cluster, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDS = "2036-10-01T00:00:00Z"
PAUSE = {"targets": ["project:Kingfisher"], "mode": "paused", "reason": "client_request"}


@dataclass
class Load:
    """A node's callers: each act is sent again under its key until it is acknowledged."""

    ports: list[int]
    credentials: str
    ending: threading.Event = field(default_factory=threading.Event)
    # What was answered, of which kind, with the instants at which it was asked and answered.
    told: list[tuple[str, float, float, Any]] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, act: Callable[..., None], *given: Any) -> None:
        """Let one more caller act until the end."""

        def run() -> None:
            try:
                act(*given)
            except BaseException as error:  # noqa: BLE001 - shown at the end
                self.failed.append(error)

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def end(self) -> None:
        """Let all callers come to their end."""
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def send(self, place: int, path: str, body: Any, key: str = "") -> Any:
        """What a node answered, or None when it could not."""
        headers = {"Authorization": self.credentials, "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": f'"{key}"'} if key else {}
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.ports[place % len(self.ports)], timeout=30
        )
        try:
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            told = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        assert answer.status in {200, 201, 409, 503}, (answer.status, told)
        return told if answer.status in {200, 201} else None

    def acknowledged(self, path: str, body: Any, key: str) -> Any:
        """Send it, to one node and the other, until one says that it is done."""
        deadline = time.monotonic() + 60
        place = 0
        while (told := self.send(place, path, body, key)) is None:
            assert time.monotonic() < deadline
            place += 1
            time.sleep(0.05)
        return told

    def grant(self, place: int, person: str) -> None:
        """Give one grant after another."""
        number = 0
        while not self.ending.is_set():
            body = {"subject": person, "project": "Kestrel", "entitlement": "annotator",
                    "ends_at": ENDS, "reason": "more work"}  # fmt: skip
            start = time.perf_counter()
            told = self.acknowledged("/api/v1/grants", body, f"grant {place} {number}")
            self.told.append(("grant", start, time.perf_counter(), told["id"]))
            number += 1

    def ask(self, place: int, person: str, project: str) -> None:
        """Ask for one decision after another; no answer is none."""
        while not self.ending.is_set():
            start = time.perf_counter()
            told = self.send(place, "/access/v1/evaluation", {
                "subject": {"type": "user", "id": person}, "action": {"name": "read"},
                "resource": {"type": "project", "id": project},
            })  # fmt: skip
            if told is None:
                time.sleep(0.02)
                continue
            self.told.append((project, start, time.perf_counter(), told))

    def decisions(self, project: str, after: float = 0) -> list[bool]:
        """What was answered to the questions about a project that began later."""
        return [
            answer["decision"]
            for kind, start, _, answer in list(self.told)
            if kind == project and start > after
        ]

    def count(self, kind: str, after: float = 0) -> int:
        """How many of a kind were answered that began later."""
        return sum(name == kind and start > after for name, start, *_ in list(self.told))

    def wait(self, counts: dict[str, int], after: float = 0) -> None:
        """Wait until as many of each kind were answered."""
        deadline = time.monotonic() + 60
        while any(self.count(kind, after) < least for kind, least in counts.items()):
            assert self.failed == []
            assert time.monotonic() < deadline, counts
            time.sleep(0.02)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[cluster.Pair, Settings, Load]]:
    """Two nodes, each with its callers at work, over a primary and a synchronous replica."""
    with ExitStack() as ending:
        pair = ending.enter_context(cluster.pair())
        both = pair.url(
            pair.primary, pair.replica, more="&target_session_attrs=read-write&connect_timeout=2"
        )
        settings = Settings(data_dir=folder / "data", database_url=both)
        schema.upgrade(settings)
        store = Database(settings)
        ending.callback(store.dispose)
        world = World(store)
        for code in ("Kestrel", "Kingfisher"):
            world.grant(world.subject(f"{code}-person"), world.project(code))
        tool, secret = world.integration(scopes=("api", "decision"))
        pair.synchronous()
        ports = [processes.free_port(), processes.free_port()]
        for port in ports:
            ending.enter_context(processes.govern(settings, port))
        basic = base64.b64encode(f"{tool.id}:{secret}".encode()).decode()
        load = Load(ports, f"Basic {basic}")
        ending.callback(load.end)
        for node in range(2):
            load.start(load.grant, node, "Kestrel-person")
            for code in ("Kestrel", "Kingfisher"):
                load.start(load.ask, node, f"{code}-person", code)
        yield pair, settings, load


def test_what_was_acknowledged_outlives_the_primary_and_nodes_find_the_next_by_themselves(
    tmp_path: Path,
) -> None:
    some = {"grant": 10, "Kestrel": 20, "Kingfisher": 20}
    with serving(tmp_path) as (pair, settings, load):
        load.wait(some)
        load.acknowledged("/api/v1/suspensions", PAUSE, "pause")
        paused = time.perf_counter()
        pair.primary.kill()
        killed = time.perf_counter()
        pair.promote()
        load.wait(some, killed)
        load.end()
        assert load.failed == []
        assert any(load.decisions("Kingfisher"))
        assert not any(load.decisions("Kingfisher", paused))
        nothing_is_lost(settings, load)

        # The former primary comes back and takes writes: it lacks what was signed since.
        pair.replica.kill()
        pair.start(pair.primary, "synchronous_standby_names=")
        late = Database(settings)
        Signer(settings).watch(late)
        with pytest.raises(errors.LogDamaged, match="behind its signer"), late.reading() as session:
            session.connection()
        with pytest.raises(errors.LogDamaged, match="behind its signer"):
            create_app(settings)
        assert load.send(0, "/api/v1/suspensions", PAUSE, "late") is None
        late.dispose()


def nothing_is_lost(settings: Settings, load: Load) -> None:
    """Each grant and each decision that a caller was told of is there, once, and the logs hold."""
    store = Database(settings)
    with store.reading() as session:
        grants = set(session.execute(select(Grant.id)).scalars())
        rows = session.execute(select(Access.writer, Access.number))
        decisions = {row_id(settings, writer, number) for writer, number in rows}
        issued = session.execute(select(Entry.seq).where(Entry.type == "grant.issued")).all()
    assert {made for kind, *_, made in load.told if kind == "grant"} <= grants
    assert len(issued) == len(grants)
    answers = [answer for kind, *_, answer in load.told if kind != "grant"]
    for answer in answers:
        if "decision_id" in answer["context"]:
            assert answer["context"]["decision_id"] in decisions
        else:  # it could not be recorded, so it was no
            assert (answer["decision"], answer["context"]["code"]) == (False, "record_failed")
    signer = Signer(settings)
    signer.sign(store)
    report = fsck.run(store, signer)
    assert (report.damage, report.ok) == ((), True)
    store.dispose()

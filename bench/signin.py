"""`bench signin`: password sign-ins beside decisions, and what the time of a refusal tells.

The floor of sign-ins is argon2id alone, on one core. Refusals are timed one by one in a random
order, each of another account, so that no throttle answers.
"""

from __future__ import annotations

import http.client
import http.cookies
import itertools
import json
import math
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from sqlalchemy import insert, update

from bench import load, servers, world
from bench.decide import JSON, body, credentials, question
from bench.figures import Figure, store
from govern import clock
from govern.access import offboarding
from govern.audit.record import RECORDED
from govern.identity import passwords, throttle
from govern.identity.passwords import Password
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from govern.db import Database, Session

PEOPLE = 2_000
SECONDS = 20
WARM = 5  # seconds of decisions before those that are timed
RATE = 200  # decisions a second
CONNECTIONS = 4  # of people who sign in
TRIES = 150  # of each kind of refusal, unless they take longer than
LONGEST = 120  # seconds
RIGHT, WRONG = "correct horse battery staple", "wrong horse battery staple"
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


def run(kind: str) -> Iterator[Figure]:
    """Sign people in while decisions are asked for, then refuse some in each way there is."""
    with store(kind) as database:
        world.load_catalogue(database)
        people = world.grow(database, people=PEOPLE, grants_each=1)
        _give_passwords(database)
        yield from _measured(kind, database, people)


def _measured(kind: str, database: Database, people: list[str]) -> Iterator[Figure]:
    codes = [f"L{n:07}" for n in range(PEOPLE)]
    headers = JSON | {"Authorization": credentials(database)}
    projects = world.DATA.joinpath("catalogue.json").read_text()
    where = [p["code"] for c in json.loads(projects)["clients"] for p in c["projects"]]
    asked = [body(question(who, where[n % len(where)])) for n, who in enumerate(codes)]
    floor = _floor()
    with servers.govern(database) as url:
        decisions = f"{url}/access/v1/evaluation"
        load.paced(decisions, asked, headers, rate=RATE, connections=16, seconds=WARM)
        alone = _paced(decisions, asked, headers)
        with _paced_apart(decisions, asked, headers) as beside:
            rate, count = _sign_ins(url, [f"{who.lower()}@people.example" for who in people[:50]])
            among = beside()
        floor = (floor + _floor()) / 2  # once more, for a machine whose pace changes
        told = _timed_refusals(database, url)

    def figure(name: str, value: float, unit: str, floor: float | None, n: int) -> Figure:
        return Figure(
            bench="signin", name=name, database=kind, value=value, unit=unit, floor=floor, n=n
        )

    yield figure(f"password sign-ins; floor: {passwords.cost()}", rate, "1/s", floor, count)
    yield figure(f"decisions at {RATE}/s meanwhile, p50", among.p50, "ms", alone.p50, among.done)
    yield figure(f"decisions at {RATE}/s meanwhile, p99", among.p99, "ms", alone.p99, among.done)
    unknown = told.pop("unknown")
    yield figure("refused, unknown: median", statistics.median(unknown), "ms", None, len(unknown))
    for name, times in told.items():
        yield figure(f"refused, {name}: median", statistics.median(times), "ms", None, len(times))
        yield figure(
            f"{name} told from unknown by one answer's time; 0.5: by chance alone, "
            f"± {2 * _error(len(times), len(unknown)):.2f}",
            _told_apart(times, unknown), "of 1", None, len(times),
        )  # fmt: skip


def _paced(url: str, asked: list[bytes], headers: dict[str, str]) -> load.Load:
    return load.paced(url, asked, headers, rate=RATE, connections=16, seconds=SECONDS)


@contextmanager
def _paced_apart(
    url: str, asked: list[bytes], headers: dict[str, str]
) -> Iterator[Callable[[], load.Load]]:
    """The same from a process of its own, so that this one's threads delay no question."""
    command = [sys.executable, "-m", "bench.signin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        given, told = process.stdin, process.stdout
        if given is None or told is None:
            raise SystemExit("bench signin: no pipes")
        given.write(json.dumps([url, [each.decode() for each in asked], headers]).encode())
        given.close()
        told.readline()  # it begins
        yield lambda: load.Load(**json.loads(told.readline()))


def _apart() -> None:
    url, asked, headers = json.load(sys.stdin)
    print(flush=True)
    print(json.dumps(asdict(_paced(url, [each.encode() for each in asked], headers))), flush=True)


def _floor(seconds: float = 5) -> float:
    """Hashes a second by one thread that does nothing else."""
    stored, end, count = passwords._hasher.hash(RIGHT), time.perf_counter() + seconds, 0  # noqa: SLF001 - the floor is the thing itself
    begun = time.perf_counter()
    while time.perf_counter() < end:
        passwords._hasher.verify(stored, RIGHT)  # noqa: SLF001 - as above
        count += 1
    return count / (time.perf_counter() - begun)


# --- signing in --------------------------------------------------------------------------------


class _Browser:
    """A connection with the form of the sign-in page, which is sent again and again."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._connection.request("GET", "/sign-in")
        answer = self._connection.getresponse()
        found = _TOKEN.search(answer.read().decode())
        if found is None:
            raise SystemExit("bench signin: the page of the sign-in has no form")
        self._token = found[1]
        jar = http.cookies.SimpleCookie(answer.headers["Set-Cookie"])
        cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())
        self._headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}

    def send(self, email: str, password: str) -> int:
        """One try; the status of its answer."""
        form = {"csrf_token": self._token, "email": email, "password": password}
        self._connection.request("POST", "/sign-in", urlencode(form), self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


def _sign_ins(url: str, emails: list[str]) -> tuple[float, int]:
    """How many sign-ins a second a few browsers get done, and how many they were."""
    given, wrong = itertools.cycle(emails), []
    end = time.perf_counter() + SECONDS
    counts = [0] * CONNECTIONS

    def go_on(place: int, browser: _Browser) -> None:
        while time.perf_counter() < end:
            status = browser.send(next(given), RIGHT)
            if status != http.HTTPStatus.SEE_OTHER:
                wrong.append(status)
            counts[place] += 1

    browsers = [_Browser(url) for _ in counts]
    threads = [threading.Thread(target=go_on, args=item) for item in enumerate(browsers)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    if wrong:
        raise SystemExit(f"bench signin: {len(wrong)} of {sum(counts)} failed, first {wrong[0]}")
    return sum(counts) / took, sum(counts)


# --- what the time of a refusal tells ----------------------------------------------------------


def _timed_refusals(database: Database, url: str) -> dict[str, list[float]]:
    """Milliseconds of each answer to a try that has to fail, by why."""
    kinds = ("wrong password", "offboarded", "disabled")
    draw = random.Random(7)
    tries = [("unknown", f"x{draw.randrange(10**7):07}@people.example") for _ in range(TRIES)]
    first = PEOPLE // 2
    for place, kind in enumerate(kinds):
        numbers = range(first + place * TRIES, first + (place + 1) * TRIES)
        tries += [(kind, f"l{n:07}@people.example") for n in numbers]
        if kind == "offboarded":
            _offboard(database, numbers)
        if kind == "disabled":
            _disable(database, numbers)
    draw.shuffle(tries)
    times: dict[str, list[float]] = {"unknown": [], **{kind: [] for kind in kinds}}
    browser = _Browser(url)
    for _ in range(10):
        browser.send(f"w{draw.random()}@people.example", WRONG)
    end = time.perf_counter() + LONGEST
    for kind, email in tries:
        begun = time.perf_counter()
        if begun > end:
            break
        status = browser.send(email, WRONG if kind == "wrong password" else RIGHT)
        times[kind].append((time.perf_counter() - begun) * 1000)
        if status != http.HTTPStatus.UNAUTHORIZED:
            raise SystemExit(f"bench signin: {kind} was answered {status}")
    return times


def _told_apart(some: list[float], others: list[float]) -> float:
    """How often a guess by one time out of each is right: Mann and Whitney's U as a share."""
    less = sum((a < b) + (a == b) / 2 for a in some for b in others) / (len(some) * len(others))
    return max(less, 1 - less)


def _error(some: int, others: int) -> float:
    """The standard deviation of that share where the two are the same."""
    return math.sqrt((some + others + 1) / (12 * some * others))


# --- whom -------------------------------------------------------------------------------------


def _give_passwords(database: Database) -> None:
    """The same hash for everybody: what it costs to verify is what is measured."""
    hash_ = passwords.hashed(RIGHT)

    def work(session: Session) -> None:
        now = clock.now(session)
        rows = [
            {"subject_id": f"sub_{n:024}", "hash": hash_, "recorded_at": now} for n in range(PEOPLE)
        ]
        session.execute(insert(Password), rows, execution_options=RECORDED)

    database.transaction(work)


def _offboard(database: Database, numbers: range) -> None:
    for n in numbers:
        database.transaction(
            lambda session, n=n: offboarding.offboard(
                session, session.get_one(Subject, f"sub_{n:024}"), reason="left", by=world.BY
            )
        )


def _disable(database: Database, numbers: range) -> None:
    def work(session: Session) -> None:
        for n in numbers:
            subject_id = f"sub_{n:024}"
            counted = throttle.counter("password", subject_id, subject_id=subject_id)
            throttle.failed(session, counted)
            session.execute(
                update(throttle.Throttle)
                .where(throttle.Throttle.key == counted.key)
                .values(failures=throttle.MOST)
            )

    database.transaction(work)


if __name__ == "__main__":
    _apart()

"""Load over HTTP: as many requests as can be, or so many a second, and how long they take.

`wrk` drives where it is installed; else Python, at several times the cost in processor time, which
is why each figure names its driver.
"""

from __future__ import annotations

import http.client
import itertools
import json
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.figures import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DRIVER = "wrk" if shutil.which("wrk") else "python"

# Each line of the file is a body; the last thing told is one line of JSON.
_SCRIPT = """
local bodies, at = {{}}, 0
for line in io.lines("{bodies}") do bodies[#bodies + 1] = line end
wrk.method = "POST"
{headers}
function request()
  at = at % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[at])
end
function done(summary, latency, requests)
  local wrong = summary.errors
  io.write(string.format('\\n{{"done": %d, "micros": %d, "wrong": %d, "p50": %d, "p99": %d}}\\n',
    summary.requests, summary.duration,
    wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What came back: requests a second, and milliseconds for one."""

    rate: float
    p50: float
    p99: float
    done: int


def most(
    url: str, bodies: Sequence[bytes], headers: dict[str, str], *, connections: int, seconds: float
) -> Load:
    """As many as these connections carry, each asking again once it was answered."""
    if DRIVER == "wrk":
        return _by_wrk(url, bodies, headers, connections=connections, seconds=seconds)
    end = time.perf_counter() + seconds
    given = itertools.cycle(bodies)

    def due() -> tuple[float, bytes] | None:
        now = time.perf_counter()
        return (now, next(given)) if now < end else None

    return _by_python(url, due, headers, connections=connections)


def paced(
    url: str,
    bodies: Sequence[bytes],
    headers: dict[str, str],
    *,
    rate: float,
    connections: int,
    seconds: float,
) -> Load:
    """So many a second, each timed from when it was due, so that no wait hides another."""
    start = time.perf_counter()
    numbers = itertools.count()

    def due() -> tuple[float, bytes] | None:
        number = next(numbers)
        at = start + number / rate
        if number >= rate * seconds:
            return None
        time.sleep(max(0.0, at - time.perf_counter()))
        return at, bodies[number % len(bodies)]

    return _by_python(url, due, headers, connections=connections)


def _by_wrk(
    url: str, bodies: Sequence[bytes], headers: dict[str, str], *, connections: int, seconds: float
) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        asked, script = Path(folder) / "bodies", Path(folder) / "asked.lua"
        asked.write_bytes(b"\n".join(bodies) + b"\n")
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        script.write_text(_SCRIPT.format(bodies=asked, headers=lines))
        told = subprocess.run(
            [
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{seconds}s",
                "--timeout=30s",
                f"-s{script}",
                url,
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found = json.loads(told.rstrip().rpartition("\n")[2])
    if found["wrong"]:
        raise SystemExit(f"bench: {found['wrong']:,} of {found['done']:,} answers were wrong")
    return Load(
        rate=found["done"] / found["micros"] * 1e6,
        p50=found["p50"] / 1000,
        p99=found["p99"] / 1000,
        done=found["done"],
    )


def _by_python(
    url: str,
    due: Callable[[], tuple[float, bytes] | None],
    headers: dict[str, str],
    *,
    connections: int,
) -> Load:
    address = urlsplit(url)
    took: list[float] = []
    wrong: list[str] = []

    def ask() -> None:
        connection = http.client.HTTPConnection(address.netloc, timeout=30)
        try:
            while (turn := due()) is not None:
                at, body = turn
                connection.request("POST", address.path, body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != http.client.OK:
                    wrong.append(str(answer.status))
                took.append((time.perf_counter() - at) * 1000)
        except OSError as error:
            wrong.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    if wrong:
        raise SystemExit(f"bench: {len(wrong):,} answers were wrong, the first: {wrong[0]}")
    return Load(
        rate=len(took) / elapsed,
        p50=percentile(took, 0.5),
        p99=percentile(took, 0.99),
        done=len(took),
    )

"""Load over HTTP: as many requests as can be, or so many a second, and how long they take.

`wrk` drives where it is installed; else Python, at several times the cost in processor time, which
is why each figure names its driver.
"""

from __future__ import annotations

import http
import itertools
import json
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from bench.figures import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"
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
        try:
            with _Connection(address.netloc, address.path, headers) as connection:
                while (turn := due()) is not None:
                    at, body = turn
                    status = connection.post(body)
                    if status != http.HTTPStatus.OK:
                        wrong.append(str(status))
                    took.append((time.perf_counter() - at) * 1000)
        except (OSError, ValueError) as error:
            wrong.append(str(error))

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


class _Connection:
    """Posts over one kept connection, with as little work of its own as can be.

    http.client builds and parses each message with objects, which costs as much processor time as
    some of the answers measured: on few cores, the asker would be what is timed.
    """

    def __init__(self, netloc: str, path: str, headers: dict[str, str]) -> None:
        host, _, port = netloc.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._head = f"POST {path} HTTP/1.1\r\nHost: {netloc}\r\n{lines}Content-Length: "

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def post(self, body: bytes) -> int:
        """The status of the answer, once its last byte is here."""
        self._socket.sendall(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._more()
        found = _LENGTH.search(answer, 0, end + 2)
        if found is None:
            if not _CHUNKED.search(answer, 0, end + 2):
                raise ValueError("an answer does not say how long it is")
            while not answer.endswith(_LAST_CHUNK):  # no JSON holds that
                answer += self._more()
            return int(answer[9:12])
        missing = end + 4 + int(found[1]) - len(answer)
        while missing > 0:
            missing -= len(self._more())
        return int(answer[9:12])

    def _more(self) -> bytes:
        got = self._socket.recv(65536)
        if not got:
            raise ConnectionError("the server closed the connection")
        return got

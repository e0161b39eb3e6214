"""One request out and its answer in, or `Unanswered`: bounded in time and size, never redirected.

Each thread of each process keeps a connection of its own: shared ones could hand one question the
answer to another, which might be a permit.
"""

from __future__ import annotations

import ipaddress
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_BYTES = 4 * 1024 * 1024
_CHUNK = 64 * 1024


class Unanswered(Exception):
    """There is no answer that could be trusted; the message says why, for a log."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    media_type: str
    body: bytes
    headers: Mapping[str, str]


class Transport:
    """Sends requests; `timeout` is the time that each has in all, in seconds."""

    def __init__(self, timeout: float, *, auth: tuple[str, str] | None = None) -> None:
        if not timeout > 0:
            raise ValueError("timeout: a number of seconds above 0")
        self._timeout = timeout
        self._auth = auth
        self._own = threading.local()

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Send one request, and once more when a connection kept from before turns out dead."""
        deadline = time.monotonic() + self._timeout
        while True:
            session, is_new = self._session()
            try:
                return self._once(session, method, url, headers, body, deadline=deadline)
            except (requests.RequestException, HTTPError, OSError) as error:
                self._forget()
                dropped = isinstance(error, requests.ConnectionError | OSError)
                late = isinstance(error, requests.Timeout) or time.monotonic() >= deadline
                if is_new or late or not dropped:
                    raise Unanswered(f"{type(error).__name__} from {_host(url)}") from error

    def _once(
        self,
        session: requests.Session,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        deadline: float,
    ) -> Answer:
        left = max(deadline - time.monotonic(), 0.001)
        # Not compressed: a small answer could unpack into one that fills the memory.
        sent = {"Accept-Encoding": "identity", **headers}
        with session.request(
            method, url, headers=sent, data=body, auth=self._auth, timeout=left,
            allow_redirects=False, stream=True,
        ) as response:  # fmt: skip
            received = bytearray()
            while piece := response.raw.read1(_CHUNK, decode_content=False):
                received += piece
                if len(received) > MOST_BYTES:
                    raise Unanswered(f"too long an answer from {_host(url)}")
                if time.monotonic() > deadline:
                    raise requests.Timeout("the answer came too slowly")
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
            return Answer(
                status=response.status_code, media_type=media_type.lower(), body=bytes(received),
                headers=response.headers,
            )  # fmt: skip

    def _session(self) -> tuple[requests.Session, bool]:
        """This thread's session, and whether it is new; a forked process begins its own."""
        if getattr(self._own, "process", None) != os.getpid():
            self._own.session, self._own.process = requests.Session(), os.getpid()
            return self._own.session, True
        return self._own.session, False

    def _forget(self) -> None:
        self._own.session.close()
        self._own.process = None


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address; `ValueError` for what is none of HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.fragment:
        raise ValueError("the address of an HTTP server, without a fragment")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address holds no credentials")
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def base(url: str) -> str:
    """The address of a govern without its last slash: HTTPS, but for this machine itself.

    Raises `ValueError` where credentials or keys would travel in the clear.
    """
    scheme, host, _ = origin(url)
    if scheme != "https" and not _is_here(host):
        raise ValueError(f"{host}: https, since what is sent there is secret or decides")
    return url.rstrip("/")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(url: str) -> str:
    return urlsplit(url).netloc

"""Requests that we send to addresses given to us: to one origin, bounded, and never further inside.

Whoever names a URL must not thereby reach what only this machine reaches (SSRF). So a session made
here speaks to one origin alone, follows no redirect, takes a bounded answer in bounded time, and
connects only to addresses of the public internet: looked up once, checked, and then connected to,
so that no second answer of the name server counts. An origin that is meant to lie inside says so.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import NewConnectionError

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

# Seconds for a connection, for each read of it, and for the whole answer.
_CONNECT, _READ, _WHOLE = 5, 5, 15
_LARGEST = 512 * 1024
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052


class NotAllowed(RequestException):
    """The request leads where it may not, or its answer is none that may be taken."""


def confine(session: Session, base: str, *, inside: bool) -> None:
    """Let a session speak to the origin `base` alone; to private addresses only if `inside`."""
    session.trust_env = False  # no proxy, no netrc: nobody's word but ours
    session.headers["Accept-Encoding"] = "identity"  # what is small on the way is small here
    session.adapters.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Confined(base, inside=inside))


class _Confined(HTTPAdapter):
    def __init__(self, base: str, *, inside: bool) -> None:
        self._base = base
        self._inside = inside
        super().__init__(pool_connections=1, pool_maxsize=2, max_retries=0)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """Connect by our own connections, unless the origin may lie inside."""
        super().init_poolmanager(*args, **more)
        if not self._inside:
            self.poolmanager.pool_classes_by_scheme = {"https": _CheckedPool}

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        """Send it, and take the whole answer within the bounds (`NotAllowed`).

        What the caller wishes of redirects, proxies, times and certificates is not heard.
        """
        url = request.url or ""
        if not url.startswith(f"{self._base}/") or not (self._inside or url.startswith("https:")):
            raise NotAllowed("another origin", request=request)
        deadline = time.monotonic() + _WHOLE
        response = super().send(request, stream=True, timeout=(_CONNECT, _READ), verify=True)
        try:
            if response.is_redirect:
                raise NotAllowed("a redirect", request=request)
            body = b""
            for chunk in response.iter_content(16 * 1024):
                body += chunk
                if len(body) > _LARGEST or time.monotonic() > deadline:
                    raise NotAllowed("too much, or too slow", request=request)
        finally:
            response.close()
        response._content = body  # noqa: SLF001 - where requests keeps what was read
        return response


class _CheckedConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        """Connect to an address that was checked: the name is not looked up a second time."""
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
            if not all(is_public(address) for address in addresses):
                raise NewConnectionError(self, "its name leads inside")
            for address in addresses[:-1]:
                with suppress(OSError):
                    return socket.create_connection((address, self.port), _CONNECT)
            return socket.create_connection((addresses[-1], self.port), _CONNECT)
        except OSError as error:
            raise NewConnectionError(self, f"no connection: {error}") from error


class _CheckedPool(HTTPSConnectionPool):
    ConnectionCls = _CheckedConnection


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also when it wraps an IPv4 one."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return ip.is_global and not ip.is_multicast

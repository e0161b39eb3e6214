"""Addresses: no URL that anybody gives us leads this machine to what only it can reach (SSRF)."""

from __future__ import annotations

import re
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import govern
from govern import errors
from govern.audit import streams
from govern.audit.signer import Signer
from govern.identity import federation
from govern.identity.federation import wire
from govern.signals import streams as sending
from tests.factory import OPERATOR
from tests.support import issuer as made
from tests.support.issuer import CLIENT_ID, CLIENT_SECRET, Issuer
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from tests.factory import World

PUBLIC = "93.184.216.34"
# What a name may lead to: this machine, its network, its cloud's metadata, another spelling of one.
INSIDE = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::",
)  # fmt: skip
# This machine, as an address may spell it without a name server.
SPELT = (
    "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]",
)  # fmt: skip


class Network:
    """A name server that answers what a test says, and a note of each address connected to."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.connected: list[str] = []

    def getaddrinfo(self, host: str, port: int, *more: Any, **other: Any) -> list[Any]:
        if host not in self.answers:
            return _getaddrinfo(host, port, *more, **other)
        given = self.answers[host]
        found = given.pop(0) if len(given) > 1 else given[0]
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(kinds[":" in each], socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    def connect(self, address: tuple[str, int], *_: Any) -> socket.socket:
        self.connected.append(address[0])
        raise OSError("this network leads nowhere")


_getaddrinfo = socket.getaddrinfo


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network()
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    monkeypatch.setattr(socket, "create_connection", found.connect)
    return found


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A port of this machine at which nobody may knock."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.setblocking(False)
        yield server


def provider(world: World, issuer: str, *, inside: bool = False) -> str:
    row = world.do(
        lambda s: federation.create(
            s, "Company", issuer=issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET,
            inside=inside, by=OPERATOR,
        )
    )  # fmt: skip
    return str(row.id)


def sent_to(world: World, url: str) -> None:
    """Have the logs sent to an address for one round."""
    row, _ = world.do(lambda s: streams.add(s, url, by=OPERATOR))
    sending.push(world.store)
    world.do(lambda s: streams.end(s, s.merge(row), by=OPERATOR))


@pytest.mark.web_alone
def test_no_issuer_and_no_receiver_leads_inside_however_its_address_is_spelt(
    app: Flask, world: World, trap: socket.socket, network: Network
) -> None:
    port, visitor = trap.getsockname()[1], Visitor.of(app)
    hosts = [*SPELT, *(f"{number}.names.example" for number in range(len(INSIDE)))]
    network.answers = {
        f"{number}.names.example": [[PUBLIC, address]] for number, address in enumerate(INSIDE)
    }
    tried = 0
    for host in hosts:
        try:
            issuer = provider(world, f"https://{host}:{port}")
        except errors.Invalid:
            continue
        tried += 1
        assert visitor.get(f"/sign-in/with/{issuer}").status_code == 503, host
    assert tried > 20
    Signer(world.store.settings).sign(world.store)
    for host in hosts:
        sent_to(world, f"https://{host}:{port}")
    assert network.connected == []
    with pytest.raises(BlockingIOError):
        trap.accept()


@pytest.mark.web_alone
def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(
    app: Flask, world: World, network: Network
) -> None:
    """A name server that first tells a public address, and then one inside (DNS rebinding)."""
    network.answers = {"id.example.com": [[PUBLIC], ["127.0.0.1"]]}
    issuer = provider(world, "https://id.example.com")
    assert Visitor.of(app).get(f"/sign-in/with/{issuer}").status_code == 503
    assert network.connected == [PUBLIC]
    assert Visitor.of(app).get(f"/sign-in/with/{issuer}").status_code == 503
    assert network.connected == [PUBLIC], "the next look finds it inside"


@pytest.mark.web_alone
def test_a_provider_that_is_trusted_to_lie_inside_leads_no_further(
    app: Flask, world: World, trap: socket.socket
) -> None:
    """Its description, its keys and its tokens lie at its own origin, and nothing is followed."""
    elsewhere = f"http://127.0.0.1:{trap.getsockname()[1]}"
    visitor = Visitor.of(app)
    with made.running() as issuer:
        one = provider(world, issuer.url, inside=True)
        world.do(lambda s: federation.link(s, world.subject(), one, sub="ada-at-home", by=OPERATOR))
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "issuer"):
            for value in (
                f"{elsewhere}/x",
                f"{issuer.url}@{elsewhere[7:]}/x",
                "file:///etc/passwd",
            ):
                issuer.metadata = {name: value}
                wire._known.clear()
                assert visitor.get(f"/sign-in/with/{one}").status_code == 503, value
        issuer.metadata = {}
        away = (302, {"Location": f"{elsewhere}/x"}, b"")
        for path in ("/.well-known/openid-configuration", "/jwks", "/token"):
            wire._known.clear()
            issuer.answers = {path: away}
            assert come(visitor, issuer, one) == 503, path
        issuer.answers = {}
        assert come(visitor, issuer, one) == 303, "it was sound"
    with pytest.raises(BlockingIOError):
        trap.accept()


def come(visitor: Visitor, issuer: Issuer, provider_id: str) -> int:
    """Go to the provider and back, as far as one gets."""
    left = visitor.get(f"/sign-in/with/{provider_id}")
    if left.status_code != 302:
        return left.status_code
    back = issuer.answer(left.location)
    return visitor.get(f"/sign-in/from/{provider_id}", query_string=back).status_code


def test_whatever_asks_others_over_http_is_known() -> None:
    """A new file that does is named here once its requests are confined."""
    root = Path(govern.__file__).parent
    asks = re.compile(r"^\s*(?:import|from) (?:requests|urllib3|urllib\.request|http\.client)\b")
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(asks.match(line) for line in path.read_text().splitlines())
    }
    assert found == {
        "outbound.py", "identity/federation/wire.py", "signals/streams.py",
        "signals/witnesses.py",  # to addresses that only the machine's operator gives
        "client/transport.py",  # a program of its own, that asks us
    }  # fmt: skip

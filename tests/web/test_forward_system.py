"""Real proxies in front of a service: they let through what govern permits, and nothing else.

Each is configured by the very text of docs/forward-auth.md, with this machine's ports put in.
"""

# debian: nginx caddy haproxy

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from govern import clock
from govern.access import forwarding
from govern.identity import sessions
from tests.factory import OPERATOR, PASSWORD, World
from tests.support import processes
from tests.support.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from govern.config import Settings
    from govern.identity.subjects import Subject

PAGE = Path(__file__).parents[2] / "docs" / "forward-auth.md"
HOST = "data.example"


def block(language: str) -> str:
    """What the page says for a program."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 1, language
    return str(found[0])


# --- the service -------------------------------------------------------------------------------


@dataclass
class Service:
    """What stands behind the proxy: it tells what reached it, and keeps it."""

    port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator[Service]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen = {
                    "method": self.command, "path": self.path, "body": body.decode(),
                    "headers": [(name.lower(), value) for name, value in self.headers.items()],
                }  # fmt: skip
                service.seen.append(seen)
                told = json.dumps(seen).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            do_GET = do_PUT = do_DELETE = do_POST = do  # noqa: N815 - names of the library

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_address[1]
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield self
            server.shutdown()


# --- the proxies -------------------------------------------------------------------------------


def program(name: str) -> str:
    """Where a program of Debian is; without it the run fails."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, f"{name} is not installed"
    return found


@contextmanager
def nginx(configuration: str, port: int, folder: Path) -> Iterator[None]:
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{configuration}\n}}\n"
    )
    # Without a user of its own among the directives, what root starts would serve as `nobody`.
    folder.chmod(0o755)
    with running([program("nginx"), "-e", folder / "error.log", "-c", file], port):
        yield


@contextmanager
def caddy(configuration: str, port: int, folder: Path) -> Iterator[None]:
    file = folder / "Caddyfile"
    file.write_text(f"{{\nadmin off\nauto_https off\n}}\n{configuration}")
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    command: list[str | Path] = [
        program("caddy"),
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        file,
    ]
    with (
        (folder / "caddy.log").open("wb") as log,
        running(command, port, env=environment, stderr=log),
    ):
        yield


@contextmanager
def haproxy(configuration: str, port: int, folder: Path) -> Iterator[None]:
    main, _, script = configuration.partition(BOTH)
    (folder / "haproxy.cfg").write_text(main)
    (folder / "govern.lua").write_text(script)
    command: list[str | Path] = [program("haproxy"), "-db", "-f", "haproxy.cfg"]
    with (
        (folder / "log").open("wb") as log,
        running(command, port, cwd=folder, stdout=log, stderr=log),
    ):
        yield


BOTH = "\f"  # stands between two blocks of one configuration

PROXIES: dict[str, tuple[str, Callable[[str, int, Path], Any]]] = {
    "nginx": ("nginx", nginx),
    "caddy": ("caddyfile", caddy),
    "haproxy": ("haproxy lua", haproxy),
}


# --- the world ---------------------------------------------------------------------------------


@dataclass
class Stage:
    """A proxy, the service behind it, and govern beside it."""

    world: World
    ada: Subject
    cookie: str
    service: Service
    port: int
    start: Callable[[], None]
    stop: Callable[[], None]

    def ask(
        self, path: str = "/kingfisher/file", *, method: str = "GET", cookie: str | None = None,
        connection: http.client.HTTPConnection | None = None, body: str | None = None,
        **headers: str,
    ) -> http.client.HTTPResponse:  # fmt: skip
        """One request of a user through the proxy, sent as it is written; its body is in `told`."""
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        own.putrequest(method, path, skip_host=True)
        sent = {"Host": HOST, "Cookie": cookie if cookie is not None else self.cookie} | headers
        if body is not None:
            sent["Content-Length"] = str(len(body))
        for name, value in sent.items():
            if value:
                own.putheader(name, value)
        own.endheaders(body.encode() if body is not None else None)
        answer = own.getresponse()
        answer.told = answer.read()  # type: ignore[attr-defined]  # kept with it
        if connection is None:
            own.close()
        return answer

    def let_through(self, **more: Any) -> dict[str, Any]:
        """A request that reaches the service: what the service saw."""
        before = len(self.service.seen)
        answer = self.ask(**more)
        assert answer.status == 200, (answer.status, answer.headers.items())
        assert len(self.service.seen) == before + 1
        return self.service.seen[-1]

    def refused(self, statuses: set[int], reason: str | None = None, **more: Any) -> Any:
        """A request that does not reach the service: its answer."""
        before = len(self.service.seen)
        answer = self.ask(**more)
        assert answer.status in statuses, (answer.status, answer.headers.items(), more)
        if reason is not None:
            assert answer.headers["X-Deny-Reason"] == reason
        assert len(self.service.seen) == before
        return answer


@contextmanager
def stage(name: str, settings: Settings, world: World, folder: Path) -> Iterator[Stage]:
    project = world.project("Kingfisher", client=world.client("ASTER"))
    world.project("Osprey")
    ada = world.subject("ada")
    world.grant(ada, project)
    world.activate(ada)
    token = sessions.begin(world.store, ada.email, PASSWORD)
    later = clock.utcnow() + timedelta(seconds=30)
    with clock.at(later):
        code = world.code(ada, at=later)
        token = world.do(lambda s: sessions.show_factor(s, token, code))
    row, secret = world.integration("proxy")
    document = json.loads(block("json"))
    document["rules"].append(
        document["rules"][0] | {"path": "/osprey/**", "resource": "project:Osprey"}
    )
    world.do(
        lambda s: forwarding.set_rules(
            s, s.get_one(type(row), row.id), json.dumps(document), by=OPERATOR
        )
    )
    port, govern_port = free_port(), free_port()
    with ExitStack() as stack:
        service = stack.enter_context(Service().serving())
        server = stack.enter_context(ExitStack())

        def start() -> None:
            server.enter_context(processes.govern(settings, govern_port))

        start()
        languages, run = PROXIES[name]
        configuration = BOTH.join(block(language) for language in languages.split())
        for here, there in (
            ("127.0.0.1:8000", f"127.0.0.1:{govern_port}"),
            ("127.0.0.1:9000", f"127.0.0.1:{service.port}"),
            ("8080", str(port)),
            ("CLIENT_ID:CLIENT_SECRET", f"{row.id}:{secret}"),
            ("__Host-session", "session"),  # its name over plain HTTP
        ):
            assert here in configuration, here
            configuration = configuration.replace(here, there)
        stack.enter_context(run(configuration, port, folder))
        cookie = f"theme=dark; session={token}; mysession=kept"
        yield Stage(world, ada, cookie, service, port, start, server.close)


# --- the matrix --------------------------------------------------------------------------------

FORBIDDEN = "/osprey/file"
CLOSED = {401, 403, 500, 502, 503, 504}
REJECTED = CLOSED | {400, 404}
SPOOFED = {
    "X-Auth-User": "ben", "X_Auth_User": "ben",
    "X-Auth-Project": "Osprey", "X_Auth_Project": "Osprey",
    "X-Original-URI": "/kingfisher/file", "X_Original_URI": "/kingfisher/file",
    "X-Original-Method": "GET", "X-Forwarded-Uri": "/kingfisher/file", "X-Forwarded-Method": "GET",
    "X_Forwarded_Uri": "/kingfisher/file", "X-Forwarded-Host": HOST, "X_Forwarded_Host": HOST,
    "X-Rewrite-URL": "/kingfisher/file", "X-Http-Method-Override": "GET",
}  # fmt: skip


@pytest.mark.system
@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_lets_through_what_is_permitted_and_nothing_else(
    name: str, settings: Settings, world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "proxy"
    folder.mkdir()
    with stage(name, settings, world, folder) as proxied:
        who_may_is_let_through_as_who_they_are(proxied)
        who_may_not_is_refused(proxied)
        nothing_that_a_user_sends_stands_for_another_request(proxied)
        no_other_spelling_of_a_path_leads_anywhere(proxied)
        a_pause_cuts_a_connection_in_use(proxied)
        what_fails_is_closed(proxied)


def who_may_is_let_through_as_who_they_are(proxied: Stage) -> None:
    seen = proxied.let_through(path="/kingfisher/a%20b/?q=%2F..%2F")
    headers = dict(seen["headers"])
    assert (seen["method"], seen["path"]) == ("GET", "/kingfisher/a%20b/?q=%2F..%2F")
    assert (headers["x-auth-user"], headers["x-auth-project"]) == ("ada", "Kingfisher")
    assert headers["x-decision-id"]
    # The service learns neither govern's session nor the proxy's secret.
    cookies = dict(pair.strip().split("=") for pair in headers["cookie"].split(";") if pair.strip())
    assert cookies == {"theme": "dark", "mysession": "kept"}
    assert "x-govern-proxy" not in headers
    sent = proxied.let_through(method="PUT", body="label=cat")
    assert (sent["method"], sent["body"]) == ("PUT", "label=cat")


def who_may_not_is_refused(proxied: Stage) -> None:
    anonymous = proxied.refused({401}, "not_signed_in", cookie="theme=dark")
    assert anonymous.headers["WWW-Authenticate"].startswith("Bearer")
    proxied.refused({401}, cookie="session=made-up")
    proxied.refused({401}, Authorization="Bearer made-up")
    proxied.refused({403}, "no_grant", path=FORBIDDEN)
    proxied.refused({403}, "no_rule", path="/elsewhere")
    proxied.refused({403}, "no_rule", method="DELETE")
    proxied.refused({403}, "no_rule", method="POST", path=FORBIDDEN, body="x")


def nothing_that_a_user_sends_stands_for_another_request(proxied: Stage) -> None:
    for spoofed in ({name: value} for name, value in SPOOFED.items()):
        proxied.refused({403}, "no_grant", path=FORBIDDEN, **spoofed)
    proxied.refused({403}, "no_grant", path=FORBIDDEN, **SPOOFED)
    proxied.refused({401}, cookie="theme=dark", **SPOOFED)
    seen = proxied.let_through(**SPOOFED)
    told = [
        value for name, value in seen["headers"] if re.sub("_", "-", name).startswith("x-auth-")
    ]
    assert sorted(told) == ["Kingfisher", "ada"]
    for forged in ("X-Govern-Proxy", "X_Govern_Proxy"):
        value = f"int_0000000000000000:x GET {HOST} /kingfisher/file"
        proxied.refused({401, 403}, path=FORBIDDEN, **{forged: value})
    # A host that the rules do not know, where the proxy serves it at all.
    before = len(proxied.service.seen)
    proxied.ask(Host="other.example")
    assert len(proxied.service.seen) == before


def no_other_spelling_of_a_path_leads_anywhere(proxied: Stage) -> None:
    for path in (
        "/kingfisher/../osprey/file", "/kingfisher/%2e%2e/osprey/file",
        "/kingfisher/..%2fosprey/file",
        "/kingfisher%2f..%2fosprey/file", "//osprey/file", "/kingfisher//../osprey/file",
        "/kingfisher/..;/osprey/file", "/kingfisher/%252e%252e/osprey/file", "/osprey%2ffile",
        "/kingfisher/\\..\\osprey", "/kingfisher/%5c..%5cosprey", "/kingfisher/%00",
        "http://data.example/osprey/file", "/kingfisher/%ff",
    ):  # fmt: skip
        proxied.refused(REJECTED, path=path)


def a_pause_cuts_a_connection_in_use(proxied: Stage) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxied.port, timeout=20)
    proxied.let_through(connection=connection)
    held = proxied.world.suspend("project:Kingfisher")
    proxied.refused({403}, "project_paused", connection=connection)
    proxied.world.lift(held)
    proxied.let_through(connection=connection)
    connection.close()


def what_fails_is_closed(proxied: Stage) -> None:
    def rename(one: str, other: str) -> None:
        proxied.world.do(lambda s: s.execute(text(f"ALTER TABLE {one} RENAME TO {other}")))

    rename("forward_rules", "gone")
    proxied.refused(CLOSED - {401, 403})
    rename("gone", "forward_rules")
    proxied.let_through()
    proxied.stop()
    proxied.refused(CLOSED - {401, 403})
    proxied.start()
    proxied.let_through()

"""Forward-auth as a proxy meets it: 200, 401, 403 or 5xx, and never 200 by a trick or a fault."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text

from govern import clock
from govern.access import forwarding
from govern.access.modes import Mode
from govern.audit.decisions import Access, AccessKind, row_id
from govern.identity import integrations
from tests.factory import OPERATOR, World
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from govern.identity.integrations import Integration

HOST = "data.example"
HERE = f"GET {HOST} /kingfisher/file"


def rule(**more: Any) -> dict[str, Any]:
    return {"host": HOST, "methods": ["GET"], "path": "/kingfisher/**", "action": "read",
            "resource": "project:Kingfisher"} | more  # fmt: skip


def set_rules(world: World, row: Integration, *rules: dict[str, Any], mode: str = "bound") -> None:
    document = json.dumps({"mode": mode, "rules": list(rules)})
    world.do(lambda s: forwarding.set_rules(s, integrations.find(s, row.id), document, by=OPERATOR))


@dataclass
class Proxy:
    """A proxy in front of something, with the cookies of the browser that it speaks for."""

    app: Flask
    row: Integration
    secret: str
    cookie: str = ""

    def ask(
        self, origin: str = HERE, *, path: str = "", method: str = "GET", **headers: str
    ) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        own = {"X-Govern-Proxy": f"{self.row.id}:{self.secret} {origin}".strip()}
        if self.cookie:
            own["Cookie"] = f"session={self.cookie}"
        return self.app.test_client(use_cookies=False).open(
            f"/forward-auth{path}", method=method, headers=own | named
        )


@pytest.fixture
def proxy(world: World, app: Flask) -> Proxy:
    """In front of Kingfisher, for ada, who is signed in and may read it."""
    project = world.project("Kingfisher", client=world.client("ASTER"))
    world.project("Osprey")
    ada = world.subject("ada")
    world.grant(ada, project)
    world.activate(ada)
    row, secret = world.integration("proxy")
    set_rules(world, row, rule(), rule(path="/osprey", resource="project:Osprey"))
    visitor = Visitor.of(app).sign_in(world, ada)
    cookie = visitor.client.get_cookie("session")
    assert cookie
    return Proxy(app, row, secret, cookie.value)


def check(answer: TestResponse, status: int, reason: str | None) -> None:
    """The whole shape of an answer."""
    assert (answer.status_code, answer.headers.get("X-Deny-Reason")) == (status, reason)
    assert answer.data == b""
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Length"] == "0"
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert ("X-Auth-User" in answer.headers) == (status == 200)
    assert "Set-Cookie" not in answer.headers
    assert "Location" not in answer.headers


def rows(world: World) -> list[tuple[str, str, str]]:
    with world.store.access_reading() as session:
        found = session.execute(select(Access).order_by(Access.at, Access.number)).scalars()
        return [(row.kind, row.principal, row.reason or "") for row in found]


def test_who_may_goes_on_and_the_decision_is_on_record(proxy: Proxy, world: World) -> None:
    answer = proxy.ask()
    check(answer, 200, None)
    assert answer.headers["X-Auth-User"] == "ada"
    assert answer.headers["X-Auth-Project"] == "Kingfisher"
    with world.store.access_reading() as session:
        (row,) = session.execute(select(Access).where(Access.kind == AccessKind.DECISION)).scalars()
    assert answer.headers["X-Decision-Id"] == row_id(world.store.settings, row.writer, row.number)
    assert (row.principal, row.action, row.permit) == (proxy.row.id, "read", True)


def test_every_other_case_is_refused_in_its_own_way_and_on_record(
    proxy: Proxy, world: World
) -> None:
    check(proxy.ask(f"GET {HOST} /osprey"), 403, "no_grant")
    check(proxy.ask(f"GET {HOST} /elsewhere"), 403, "no_rule")
    check(proxy.ask(f"PUT {HOST} /kingfisher/file"), 403, "no_rule")
    check(proxy.ask("GET evil.example /kingfisher/file"), 403, "no_rule")
    for origin in (
        "", "GET", f"GET {HOST}", f"GET {HOST} /kingfisher/a b", f"get {HOST} /osprey",
        f"GET {HOST} /osprey/../kingfisher/a", f"GET {HOST} /kingfisher/%2e%2e/osprey",
        f"GET {HOST} //kingfisher/a",
    ):  # fmt: skip
        check(proxy.ask(origin), 403, "request_unclear")
    world.suspend("project:Kingfisher")
    check(proxy.ask(), 403, "project_paused")
    anonymous = Proxy(proxy.app, proxy.row, proxy.secret)
    check(anonymous.ask(), 401, "not_signed_in")
    for credential in (f"{proxy.row.id}:wrong {HERE}", f"int_none:x {HERE}", ":", "x"):
        check(proxy.ask(X_Govern_Proxy=credential), 401, "proxy_unknown")
    reasons = [reason for _, principal, reason in rows(world) if principal == proxy.row.id]
    assert reasons == ["no_grant", *["no_rule"] * 3, *["request_unclear"] * 8, "project_paused",
                       "not_signed_in"]  # fmt: skip
    assert [row for row in rows(world) if row[1] == "anonymous"] == [
        ("refusal", "anonymous", "proxy_unknown")
    ] * 4
    nothing, secret = world.integration("without rules")
    check(Proxy(proxy.app, nothing, secret, proxy.cookie).ask(), 403, "no_rule")
    other, secret = world.integration("without scope", scopes=("introspect",))
    check(Proxy(proxy.app, other, secret, proxy.cookie).ask(), 403, "no_rule")


def test_a_header_that_the_server_could_not_read_sends_nobody_to_sign_in_again(
    proxy: Proxy, world: World
) -> None:
    # With bytes beyond ASCII it comes as an empty one.
    check(proxy.ask(X_Govern_Proxy=""), 403, "request_unclear")
    check(proxy.ask(Cookie=""), 403, "request_unclear")
    assert [who for _, who, _ in rows(world)] == ["anonymous", proxy.row.id]


@pytest.mark.asvs("4.1.3")
def test_the_users_own_headers_method_path_and_body_change_nothing(proxy: Proxy) -> None:
    spoofed = {
        "X_Auth_User": "ben", "X_Original_URI": "/kingfisher/x", "X_Original_Method": "GET",
        "X_Forwarded_Uri": "/kingfisher/x", "X_Forwarded_Method": "GET", "X_Forwarded_Host": HOST,
        "X_HTTP_Method_Override": "GET", "Host": "kingfisher.example",
    }  # fmt: skip
    check(proxy.ask(f"GET {HOST} /osprey", **spoofed), 403, "no_grant")
    answer = proxy.ask(**spoofed)
    check(answer, 200, None)
    assert answer.headers["X-Auth-User"] == "ada"
    for path in (
        "/",
        "//",
        "/../account",
        "/kingfisher/%00?x=%00",
        "/a//b?csrf_token=x",
        "?x=\x00",
    ):
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"):
            check(proxy.ask(f"GET {HOST} /osprey", path=path, method=method), 403, "no_grant")
    client = proxy.app.test_client(use_cookies=False)
    answer = client.post(
        "/forward-auth/upload", data=b"\0" * 1000, content_type="multipart/form-data",
        headers={"X-Govern-Proxy": f"{proxy.row.id}:{proxy.secret} {HERE}",
                 "Cookie": f"session={proxy.cookie}"},
    )  # fmt: skip
    check(answer, 200, None)
    assert client.get("/forward-authority").status_code == 404


def test_in_the_other_mode_the_forwarded_headers_count_and_the_bound_ones_do_not(
    proxy: Proxy, world: World
) -> None:
    set_rules(world, proxy.row, rule(), mode="forwarded")
    headers = {
        "X_Forwarded_Method": "GET", "X_Forwarded_Host": HOST, "X_Forwarded_Uri": "/kingfisher/a",
    }  # fmt: skip
    check(proxy.ask("", **headers), 200, None)
    check(proxy.ask(HERE, **headers), 403, "request_unclear")
    check(proxy.ask("", **headers | {"X_Forwarded_Uri": "/osprey"}), 403, "no_rule")
    check(proxy.ask(""), 403, "request_unclear")


def test_a_session_that_is_half_way_ended_or_of_someone_suspended_does_not_do(
    proxy: Proxy, world: World
) -> None:
    half = Visitor.of(proxy.app)
    half.get("/sign-in")
    half.post(
        "/sign-in", {"email": "ada@people.example", "password": "correct horse battery staple"}
    )
    cookie = half.client.get_cookie("session")
    assert cookie
    check(Proxy(proxy.app, proxy.row, proxy.secret, cookie.value).ask(), 401, "not_signed_in")
    check(Proxy(proxy.app, proxy.row, proxy.secret, "made-up").ask(), 401, "not_signed_in")
    # A credential that was shown and is not good is not made up for by the cookie.
    for shown in ("Bearer nonsense", "Basic YTpi", "x", ""):
        answer = proxy.ask(Authorization=shown)
        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers
    held = world.suspend("subject:ada")
    check(proxy.ask(), 401, "not_signed_in")  # the suspension of a person ends their sessions
    again = Visitor.of(proxy.app)
    with clock.at(clock.utcnow() + timedelta(minutes=2)):
        again.seated(world, world.do(lambda s: subjects_of(s, "ada")))
    cookie = again.client.get_cookie("session")
    assert cookie
    signed_in = Proxy(proxy.app, proxy.row, proxy.secret, cookie.value)
    check(signed_in.ask(), 403, "subject_paused")
    world.lift(held)
    check(signed_in.ask(), 200, None)
    check(proxy.ask(), 401, "not_signed_in")  # and lifting it revives none


def test_a_mode_that_stops_changes_alone_stops_them_alone(proxy: Proxy, world: World) -> None:
    set_rules(world, proxy.row, rule(), rule(methods=["PUT"], action="annotate"))
    assert proxy.ask(f"PUT {HOST} /kingfisher/x").status_code == 200
    world.suspend("project:Kingfisher", mode=Mode.READ_ONLY)
    check(proxy.ask(f"PUT {HOST} /kingfisher/x"), 403, "project_read_only")
    check(proxy.ask(), 200, None)


def test_a_dataset_is_told_with_its_project_and_names_fit_into_headers(
    proxy: Proxy, world: World
) -> None:
    project = world.project("Größe 7 %", client=world.client("BOREAL"))
    world.dataset(project, "audio-1")
    ada = world.do(lambda s: subjects_of(s, "ada"))
    world.grant(ada, project)
    set_rules(world, proxy.row, rule(path="/(?P<bucket>[a-z0-9-]+)", resource="dataset:{bucket}"))
    answer = proxy.ask(f"GET {HOST} /audio-1")
    check(answer, 200, None)
    assert answer.headers["X-Auth-Project"] == "Gr%C3%B6%C3%9Fe 7 %25"
    check(proxy.ask(f"GET {HOST} /audio-2"), 403, "resource_unknown")


def subjects_of(session: Any, name: str) -> Any:
    from govern.identity import subjects

    return subjects.find(session, name)


@pytest.mark.parametrize(
    "broken",
    ["DROP TABLE forward_rules", "DROP TABLE integration_limit", "DROP TABLE web_session",
     "DROP TABLE suspension_mode"],
)  # fmt: skip
def test_a_database_that_fails_lets_nothing_through(
    proxy: Proxy, world: World, broken: str
) -> None:
    kind = " CASCADE" if world.store.is_postgresql else ""
    world.do(lambda s: s.execute(text(broken + kind)))
    answer = proxy.ask()
    assert answer.status_code >= 500
    assert answer.data == b""


def test_a_decision_that_cannot_be_recorded_is_none(proxy: Proxy, world: World) -> None:
    world.store.access_transaction(lambda s: s.execute(text("DROP TABLE access_row")))
    check(proxy.ask(), 503, "record_failed")
    check(Proxy(proxy.app, proxy.row, proxy.secret).ask(), 401, "not_signed_in")


def test_a_suspended_proxy_is_refused_on_the_next_request(proxy: Proxy, world: World) -> None:
    world.do(lambda s: integrations.suspend(s, integrations.find(s, proxy.row.id), by=OPERATOR))
    check(proxy.ask(), 401, "proxy_unknown")

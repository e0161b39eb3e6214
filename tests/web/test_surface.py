"""What holds on every route there is: read from the URL map, so that a new one is held to it."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from govern import clock, create_app
from govern.audit.signer import Signer
from govern.config import Settings
from govern.db import Base
from govern.identity import keys
from govern.web import headers, rates
from tests.factory import PASSWORD
from tests.web.attacks import scene
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.routing import Rule

    from tests.factory import World

UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
EVERY_METHOD = {"GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", *UNSAFE}


@pytest.fixture
def beginning() -> Any:
    return scene.full


def guard_of(app: Flask, rule: Rule) -> str:
    return str(getattr(app.view_functions[rule.endpoint], "govern_guard", "signed_in"))


def rules(app: Flask) -> list[Rule]:
    return sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule)


def credentials(app: Flask, rule: Rule, there: scene.Scene) -> tuple[str, str] | None:
    """Those of an integration, for what takes them."""
    return basic(there) if guard_of(app, rule) == "credentials" else None


def basic(there: scene.Scene) -> tuple[str, str]:
    return there.things["integration_id"], there.things["secret"]


# --- reading -----------------------------------------------------------------------------------


def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """All that the main database holds, but when somebody was last seen."""
    found = {}
    with world.store.reading() as session:
        for table in Base.metadata.sorted_tables:
            columns = [column for column in table.c if not column.name.startswith("last_")]
            rows = session.execute(select(*columns))
            found[table.name] = sorted(tuple(map(repr, row)) for row in rows)
    return found


@pytest.mark.asvs("3.5.3")
def test_reading_changes_nothing_but_the_access_log(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    world.seeds.update(begun.seeds)
    keys.ensure(world.store)  # as `db upgrade` does
    seats = {role: Visitor.of(app).seated(world, person) for role, person in begun.people.items()}
    Signer(world.store.settings).sign(world.store)
    before = everything(world)
    read = 0
    for rule in rules(app):
        if "GET" not in (rule.methods or ()):
            continue
        role = rule.endpoint.partition(".")[0]
        visitor = seats.get(role, seats["admin"])
        if guard_of(app, rule) != "signed_in":
            visitor = Visitor.of(app)
        answer = visitor.client.get(begun.path(rule), auth=credentials(app, rule, begun))
        assert answer.status_code < 500, rule
        read += answer.status_code == 200
    assert read > 60
    after = everything(world)
    assert {name for name in after if after[name] != before[name]} == set()


# --- answers -----------------------------------------------------------------------------------


@pytest.mark.asvs("4.1.1", "4.1.4")
@pytest.mark.web_alone
def test_every_answer_to_every_method_bears_the_headers_and_methods_not_meant_are_refused(
    app: Flask, begun: scene.Scene
) -> None:
    client = app.test_client()
    for rule in [*rules(app), None]:
        where = "/nowhere" if rule is None else begun.path(rule)
        meant = set(app.url_map.bind("localhost").allowed_methods(where))
        for method in sorted(EVERY_METHOD):
            answer = client.open(where, method=method)
            told = answer.headers
            for name in ("X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy"):
                assert told[name] == headers.ALWAYS[name], (method, where)
            assert "unsafe" not in told["Content-Security-Policy"]
            assert "default-src 'none'" in told["Content-Security-Policy"]
            assert "require-trusted-types-for 'script'" in told["Content-Security-Policy"]
            assert told["X-Request-ID"]
            assert told["Cache-Control"].startswith(("no-store", "public", "no-cache"))
            assert not told["Cache-Control"].startswith("public") or method in {"GET", "HEAD"}
            assert "Server" not in told
            if answer.data and method != "HEAD":
                assert told["Content-Type"].startswith(("text/", "application/")), (method, where)
                assert "charset" in told["Content-Type"] or "html" not in told["Content-Type"]
            if method not in meant and rule is not None and rule.rule != "/forward-auth":
                assert answer.status_code == 405, (method, where, answer.status)


def secure_app(settings: Settings, **more: Any) -> Flask:
    """The same installation, as browsers reach it over HTTPS."""
    made = create_app(
        Settings(
            data_dir=settings.data_dir, database_url=settings.database_url,
            public_url="https://gov.example", **more,
        )
    )  # fmt: skip
    made.config.update(TESTING=True)
    return made


@pytest.fixture
def secure(settings: Settings) -> Iterator[Flask]:
    made = secure_app(settings, security_contact="mailto:security@gov.example")
    yield made
    made.extensions["govern"].dispose()


@pytest.mark.asvs("3.3.1", "3.3.2", "3.3.3", "3.3.4", "63B-5.1")
@pytest.mark.web_alone
def test_over_https_every_cookie_is_bound_to_this_host_and_to_https(
    secure: Flask, world: World, begun: scene.Scene
) -> None:
    world.seeds.update(begun.seeds)
    person = begun.people["admin"]
    client = secure.test_client()
    visitor = Visitor(client)
    options = {"base_url": "https://gov.example", "headers": {"Referer": "https://gov.example/"}}
    answers = [visitor.get("/sign-in", **options)]
    given = {"email": person.email, "password": PASSWORD}
    answers.append(visitor.post("/sign-in", given, **options))
    answers.append(visitor.get("/sign-in/code", **options))
    later = clock.utcnow() + scene.STEP
    with clock.at(later):
        code = {"code": world.code(person, at=later)}
        answers.append(visitor.post("/sign-in/code", code, **options))
        assert answers[-1].headers["Location"] == "/"
        answers.append(visitor.get("/account", **options))
        assert answers[-1].status_code == 200
        answers.append(visitor.post("/sign-out", **options))
    cookies = [each for answer in answers for each in answer.headers.getlist("Set-Cookie")]
    names = {each.split("=")[0] for each in cookies}
    assert names == {"__Host-session", "__Host-form", "__Host-browser"}
    for each in cookies:
        assert {"Secure", "HttpOnly", "Path=/"} <= set(each.split("; ")), each
        assert re.search("; SameSite=(Lax|Strict)", each), each
        assert "Domain" not in each
        if not each.startswith("__Host-browser="):
            assert "Max-Age" not in each or "Max-Age=0" in each
    # What stays in the browser signs nobody in.
    assert visitor.client.get_cookie("__Host-browser", domain="gov.example") is not None
    assert visitor.get("/account", **options).status_code == 303
    for answer in answers:
        assert answer.headers["Strict-Transport-Security"] == "max-age=63072000"


@pytest.mark.asvs("4.1.2")
@pytest.mark.web_alone
def test_a_program_that_asks_without_tls_is_not_led_to_it(
    secure: Flask, begun: scene.Scene
) -> None:
    client = secure.test_client()
    for rule in rules(secure):
        if guard_of(secure, rule) == "credentials":
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                answer = client.open(begun.path(rule), method=method, base_url="http://gov.example")
                assert answer.status_code >= 400, rule
                assert "Location" not in answer.headers


@pytest.mark.web_alone
def test_security_txt_names_whom_to_tell_and_never_expires(secure: Flask, app: Flask) -> None:
    answer = secure.test_client().get("/.well-known/security.txt")
    assert answer.content_type == "text/plain; charset=utf-8"
    told = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert told["Contact"] == "mailto:security@gov.example"
    assert told["Canonical"] == "https://gov.example/.well-known/security.txt"
    left = clock.parse(told["Expires"], field="Expires") - clock.utcnow()
    assert 28 < left.days < 31
    assert app.test_client().get("/.well-known/security.txt").status_code == 404


# --- bounds ------------------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """A body that never ends, and says how much of it was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return 0

    def seek(self, *_: int) -> int:
        return 0

    def readinto(self, buffer: Any) -> int:
        buffer[:] = b"a" * len(buffer)
        self.taken += len(buffer)
        assert self.taken <= 40 << 20, "it is read without end"
        return len(buffer)


@pytest.mark.parametrize("told", [True, False], ids=["with a length", "without one"])
@pytest.mark.web_alone
def test_no_route_reads_a_body_without_end(
    app: Flask, world: World, begun: scene.Scene, told: bool
) -> None:
    world.seeds.update(begun.seeds)
    client = Visitor.of(app).seated(world, begun.people["admin"]).client
    refused: list[int] = []
    for rule in rules(app):
        for method in sorted((rule.methods or set()) & UNSAFE):
            form = "multipart/form-data; boundary=x"
            if guard_of(app, rule) == "credentials":
                form = "application/json"
            if rule.endpoint == "api.proving_verify":
                form = "multipart/form-data; boundary=x"
            body = Endless()
            bounds: dict[str, Any] = {"CONTENT_LENGTH": str(10**12)}
            if not told:
                bounds = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
            answer = client.open(
                begun.path(rule), method=method, input_stream=body, content_type=form,
                environ_overrides=bounds, auth=credentials(app, rule, begun),
            )  # fmt: skip
            assert 400 <= answer.status_code < 500, (method, rule, answer.status)
            assert not told or body.taken == 0, rule
            refused.append(answer.status_code)
    assert refused.count(413) > (60 if told else 30)


@pytest.mark.web_alone
def test_no_form_is_read_that_has_thousands_of_parts(app: Flask) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    client = app.test_client()
    for path in ("/sign-in", "/activate/x"):
        answer = client.post(
            path, data=part * 2000 + b"--x--", content_type="multipart/form-data; boundary=x"
        )
        assert answer.status_code == 413, path


def test_who_asks_too_often_waits_and_nobody_else_does(
    app: Flask, world: World, begun: scene.Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "PERSON", "3 per minute")
    monkeypatch.setattr(rates, "PROGRAM", "3 per minute")
    world.seeds.update(begun.seeds)
    first, second = (
        Visitor.of(app).seated(world, begun.people[role]) for role in ("admin", "contractor")
    )
    statuses = [first.get("/account").status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert int(first.get("/account").headers["Retry-After"]) in range(1, 62)
    assert second.get("/account").status_code == 200
    program = app.test_client()
    wrong = (begun.things["integration_id"], "wrong")
    assert {program.get("/api/v1/clients", auth=wrong).status_code for _ in range(5)} == {401}
    told = [program.get("/api/v1/clients", auth=basic(begun)) for _ in range(4)]
    assert [answer.status_code for answer in told] == [200, 200, 200, 429]
    assert told[-1].mimetype == "application/problem+json"
    assert {app.test_client().get("/sign-in").status_code for _ in range(5)} == {200}
    question = {
        "subject": {"type": "user", "id": "x"}, "action": {"name": "read"},
        "resource": {"type": "project", "id": "Heron"},
    }  # fmt: skip
    asked = [
        program.post("/access/v1/evaluation", json=question, auth=basic(begun)) for _ in range(5)
    ]
    assert {answer.status_code for answer in asked} == {200}


# --- other sites -------------------------------------------------------------------------------


@pytest.mark.asvs("3.5.1")
@pytest.mark.web_alone
def test_no_form_of_another_site_is_taken_even_with_our_token(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    world.seeds.update(begun.seeds)
    visitor = Visitor.of(app).seated(world, begun.people["admin"])
    tried = 0
    for rule in rules(app):
        if guard_of(app, rule) == "credentials":
            continue
        for method in (rule.methods or set()) & UNSAFE:
            for site in ("cross-site", "same-site"):
                form = {"csrf_token": visitor.csrf}
                answer = visitor.client.open(
                    begun.path(rule), method=method, data=form, headers={"Sec-Fetch-Site": site}
                )
                assert answer.status_code == 403, rule
                tried += 1
    assert tried > 50


EVIL = "evil.example"


@pytest.mark.web_alone
def test_nothing_is_made_of_the_host_that_a_request_names(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    world.seeds.update(begun.seeds)
    visitor = Visitor.of(app).seated(world, begun.people["admin"])
    told = dict.fromkeys(("Host", "X-Forwarded-Host", "X-Original-URL", "Forwarded"), EVIL)
    client = app.test_client()
    cookie = visitor.client.get_cookie("session")
    assert visitor.csrf
    form = visitor.client.get_cookie("form")
    assert cookie is not None
    assert form is not None
    for each in (cookie, form):
        visitor.client.set_cookie(each.key, each.value, domain=EVIL)
    for rule in rules(app):
        if "GET" in (rule.methods or set()):
            who: FlaskClient = visitor.client
            if guard_of(app, rule) == "public":
                who = client
            answer = who.get(begun.path(rule), headers=told, auth=credentials(app, rule, begun))
            assert EVIL not in answer.text, rule
            assert EVIL not in str(answer.headers), rule
    page = visitor.post(f"/people/{world.subject().id}/activation-link", headers=told)
    assert "http://127.0.0.1:8000/activate/" in page.text
    assert EVIL not in page.text


@pytest.mark.web_alone
def test_no_route_sends_anyone_elsewhere(app: Flask, world: World, begun: scene.Scene) -> None:
    world.seeds.update(begun.seeds)
    visitor = Visitor.of(app).seated(world, begun.people["admin"])
    names = ("next", "url", "redirect_uri", "return_to", "cancel")
    for wanted in ("https://evil.example/", "//evil.example", "/\\evil.example"):
        sent = dict.fromkeys(names, wanted)
        for rule in rules(app):
            if "GET" not in (rule.methods or ()) or guard_of(app, rule) == "credentials":
                continue
            for who in (
                (visitor, Visitor.of(app)) if wanted.startswith("//") else (Visitor.of(app),)
            ):
                answer = who.get(begun.path(rule), query_string=sent, headers={"Referer": wanted})
                where = answer.headers.get("Location", "/")
                assert where.startswith("/"), rule
                assert not where.startswith(("//", "/\\")), rule
                assert f'href="{wanted}' not in answer.text

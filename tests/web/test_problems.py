"""Errors: every one of the domain's is answered, in the shape that its reader knows."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from markupsafe import escape
from sqlalchemy import select, text

from govern import create_app, errors
from govern.audit.decisions import Access, AccessKind
from govern.web import guard, problems
from tests.factory import World
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from govern.config import Settings


def tree(root: type[errors.GovernError]) -> list[type[errors.GovernError]]:
    return [root, *(item for child in root.__subclasses__() for item in tree(child))]


def make(kind: type[errors.GovernError]) -> errors.GovernError:
    if issubclass(kind, errors.TooManyAttempts | errors.Busy):
        return kind("Wait.", retry_after=17)
    if kind is errors.UnknownPeople:
        return errors.UnknownPeople([(3, "nobody")], of=5)
    return kind("A plain sentence.", field="until")


KINDS = [kind for kind in tree(errors.GovernError) if kind is not errors.GovernError]


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """With routes that only fail: `/fail/…`, `/api/fail/…` and `/access/fail/…`."""
    app = create_app(settings)
    app.config.update(TESTING=True, SERVER_NAME="localhost")

    def fail(kind: str) -> Any:
        if kind in vars(errors) and kind != "UnauditedChange":
            raise make(getattr(errors, kind))
        raise RuntimeError(f"secret detail of {kind}")

    def own(code: str) -> Any:
        raise errors.Forbidden("Not you.")

    for prefix in ("", "/api", "/access"):
        app.add_url_rule(
            f"{prefix}/fail/<kind>", f"fail{prefix}", guard.public(fail), methods=["GET", "POST"]
        )
    app.add_url_rule("/own/<code>", "own", own)
    yield app
    app.extensions["govern"].dispose()


def refusals(world: World) -> list[Access]:
    with world.store.access_reading() as session:
        found = select(Access).where(Access.kind == AccessKind.REFUSAL).order_by(Access.number)
        return list(session.execute(found).scalars())


def test_the_table_names_every_error_and_nothing_else() -> None:
    assert set(problems.STATUS) == set(KINDS)
    assert all(400 <= status < 600 for status in problems.STATUS.values())


@pytest.mark.web_alone
def test_every_error_is_told_to_callers_of_the_api_as_a_problem(app: Flask) -> None:
    for kind in KINDS:
        answer = app.test_client().get(f"/api/fail/{kind.__name__}")
        assert answer.status_code == problems.STATUS[kind]
        assert answer.mimetype == "application/problem+json"
        body = answer.json
        code = make(kind).code
        assert (body["type"], body["code"]) == (f"urn:govern:error:{code}", code)
        assert body["status"] == answer.status_code
        assert body["detail"] == make(kind).message
        assert body.get("field") == make(kind).field
        assert body["title"]
        assert body["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.web_alone
def test_every_error_is_told_to_enforcement_points_as_one_sentence(app: Flask) -> None:
    for kind in KINDS:
        answer = app.test_client().get(f"/access/fail/{kind.__name__}")
        status = problems.STATUS[kind]
        assert answer.status_code == (400 if status == 422 else status)
        assert answer.json == {"error": make(kind).message}
        assert ("WWW-Authenticate" in answer.headers) is (status == 401)


@pytest.mark.web_alone
def test_every_error_is_a_page_for_people(app: Flask) -> None:
    for kind in KINDS:
        answer = app.test_client().get(f"/fail/{kind.__name__}")
        if kind in {errors.Unauthenticated, errors.FreshFactorRequired, errors.FactorRequired}:
            assert answer.status_code == 303
            continue
        assert answer.status_code == problems.STATUS[kind]
        assert answer.mimetype == "text/html"
        assert escape(make(kind).message) in answer.text


@pytest.mark.web_alone
def test_a_form_without_its_token_is_refused_before_anything_is_looked_at(app: Flask) -> None:
    answer = app.test_client().post("/fail/Held")
    assert (answer.status_code, answer.mimetype) == (400, "text/html")


@pytest.mark.web_alone
def test_who_tried_too_often_is_told_how_long_to_wait(app: Flask) -> None:
    for prefix in ("", "/api", "/access"):
        answer = app.test_client().get(f"{prefix}/fail/TooManyAttempts")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "17")


@pytest.mark.web_alone
def test_a_page_sends_whoever_is_not_signed_in_to_sign_in_and_back(app: Flask) -> None:
    client = app.test_client()
    answer = client.get("/own/Kingfisher?tab=people&q=a%20b")
    assert answer.status_code == 303
    assert answer.headers["Location"].endswith(
        "/sign-in?next=/own/Kingfisher%3Ftab%3Dpeople%26q%3Da%2520b"
    )
    assert client.get("/own/Kingfisher", headers={"HX-Request": "true"}).headers["HX-Refresh"]
    answer = client.get("/fail/FreshFactorRequired")
    assert answer.headers["Location"].endswith("/step-up?next=/fail/FreshFactorRequired")


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "///evil.example"])
@pytest.mark.web_alone
def test_no_address_leads_away_from_here_after_signing_in(app: Flask, path: str) -> None:
    assert problems._local(path) == problems._local(f"{path}?next={path}") == "/"
    answer = app.test_client().get(path)
    assert "evil" not in answer.headers.get("Location", "").partition("?next=")[0]


@pytest.mark.web_alone
def test_werkzeugs_errors_have_the_same_shapes(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/api/nowhere").json["code"] == "not_found"
    assert client.get("/access/nowhere").status_code == 404
    assert set(client.get("/access/nowhere").json) == {"error"}
    assert "<html" in client.get("/nowhere").text
    answer = client.put("/api/fail/Held")
    assert (answer.status_code, answer.mimetype) == (405, "application/problem+json")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.asvs("16.3.4", "16.5.1", "16.5.4")
@pytest.mark.web_alone
def test_what_nobody_foresaw_is_500_without_details_and_logged_under_its_id(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    for prefix in ("", "/api", "/access"):
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            answer = app.test_client().get(f"{prefix}/fail/anything")
        assert answer.status_code == 500
        assert "secret detail" not in answer.text
        assert "RuntimeError" not in answer.text
        reference = answer.headers["X-Request-ID"]
        assert any(reference in record.getMessage() for record in caplog.records)
        assert "secret detail" in caplog.text
    assert answer.json == {"error": problems._OUR_FAULT}
    assert app.test_client().get("/fail/anything").text.count("req_") == 1


@pytest.mark.asvs("16.5.4")
def test_a_page_can_say_that_the_database_is_gone_without_the_database(
    app: Flask, world: World
) -> None:
    visitor = Visitor.of(app)
    person = world.subject()
    world.activate(person)
    visitor.sign_in(world, person)
    world.do(lambda s: s.execute(text("ALTER TABLE web_session RENAME TO gone")))
    answer = visitor.get("/own/Kingfisher")
    assert answer.status_code in {500, 503}
    assert "<html" in answer.text
    assert "web_session" not in answer.text


@pytest.mark.asvs("16.3.2", "16.2.5", "16.2.1")
def test_a_refusal_is_on_record_with_who_asked_and_what_but_no_secret(
    app: Flask, world: World
) -> None:
    person = world.subject()
    world.activate(person)
    visitor = Visitor.of(app).sign_in(world, person)
    before = len(refusals(world))
    assert visitor.get("/own/Kingfisher?token=secret").status_code == 403
    (row,) = refusals(world)[before:]
    assert (row.principal, row.reason, row.permit) == (person.id, "forbidden", False)
    assert row.action == "GET /own/<code>"
    assert row.session_id is not None
    assert json.loads(row.detail or "") == {"args": {"code": "Kingfisher"}}


def test_to_be_asked_to_sign_in_is_no_refusal(app: Flask, world: World) -> None:
    app.test_client().get("/own/Kingfisher")
    assert refusals(world) == []


def test_a_refusal_that_cannot_be_recorded_is_a_refusal_all_the_same(
    app: Flask, world: World
) -> None:
    world.store.access_transaction(lambda s: s.execute(text("DROP TABLE access_row")))
    assert app.test_client().get("/fail/Forbidden").status_code == 403

"""What holds for every route of the API: credentials, shapes, pages, keys."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from govern import clock, errors
from govern.access import clients, idempotency
from govern.access.clients import Client
from govern.access.idempotency import Answer
from tests.factory import OPERATOR
from tests.web.api.caller import Caller

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from govern.db import Session
    from tests.factory import World

NEW = {"code": "ASTER", "name": "Aster Labs"}


@pytest.fixture
def caller(world: World, app: Flask) -> Caller:
    return Caller.of(world, app)


def problem(answer: TestResponse) -> tuple[int, str | None]:
    assert answer.mimetype == "application/problem+json"
    assert answer.json["status"] == answer.status_code
    return answer.status_code, answer.json.get("field")


def count(world: World, table: Any) -> int:
    with world.store.reading() as session:
        return session.execute(select(func.count()).select_from(table)).scalar_one()


# --- who is calling ----------------------------------------------------------------------------


@pytest.mark.asvs("8.2.1")
def test_who_shows_no_credentials_or_holds_another_scope_gets_nothing(
    world: World, app: Flask, caller: Caller
) -> None:
    assert caller.post("/clients", NEW).status_code == 201
    for credentials in (None, ("int_nobody", "wrong"), (caller.credentials[0], "wrong")):
        answer = caller.get("/clients", auth=credentials)
        assert problem(answer)[0] == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    asks = Caller.of(world, app, "decision")
    assert problem(asks.get("/clients"))[0] == 403
    assert problem(asks.get("/clients/ASTER"))[0] == 403
    reads = Caller.of(world, app, "audit.read")
    assert reads.get("/clients/ASTER").json["name"] == "Aster Labs"
    assert problem(reads.post("/clients", {"code": "B", "name": "B"}))[0] == 403
    assert problem(caller.get("/log/export"))[0] == 403
    assert reads.get("/log/export?log=ASTER&format=csv").mimetype == "text/csv"


@pytest.mark.asvs("8.2.1")
def test_who_comes_with_a_token_is_told_what_is_wrong_with_it(
    world: World, app: Flask, caller: Caller
) -> None:
    """RFC 6750 §3.1: without these words a client does not know whether to get another token."""

    def asked(scope: str, method: str, path: str, body: Any = None) -> tuple[int, str | None]:
        form = {"grant_type": "client_credentials", "scope": scope}
        got = app.test_client().post("/oauth/token", data=form, auth=wide.credentials)
        token = got.json["access_token"] if scope else "made.up.token"
        answer = wide.send(method, path, body, auth=None,
                           headers={"Authorization": f"Bearer {token}"})  # fmt: skip
        return answer.status_code, answer.headers.get("WWW-Authenticate")

    wide = Caller.of(world, app, "api", "audit.read", "decision")
    assert caller.post("/clients", NEW).status_code == 201
    basic, bearer = 'Basic realm="govern", charset="UTF-8"', 'Bearer realm="govern"'
    nothing = caller.get("/clients", auth=None)
    assert nothing.headers["WWW-Authenticate"] == f"{basic}, {bearer}"
    wrong = caller.get("/clients", auth=(caller.credentials[0], "wrong"))
    assert wrong.headers["WWW-Authenticate"] == f"{basic}, {bearer}"
    assert asked("", "GET", "/clients") == (401, f'{basic}, {bearer}, error="invalid_token"')
    short = f'{bearer}, error="insufficient_scope"'
    assert asked("decision", "GET", "/clients") == (403, f'{short}, scope="audit.read api"')
    assert asked("audit.read", "POST", "/clients", {"code": "B", "name": "B"}) == (
        403, f'{short}, scope="api"',
    )  # fmt: skip
    assert asked("api", "GET", "/log/export") == (403, f'{short}, scope="audit.read"')
    assert asked("api", "GET", "/clients") == (200, None)
    # By its secret nobody is told of tokens; what no scope opens, none is named for.
    asks = Caller.of(world, app, "decision").get("/clients")
    assert (asks.status_code, asks.headers.get("WWW-Authenticate")) == (403, None)


def test_what_no_scope_would_open_is_refused_without_one(world: World, app: Flask) -> None:
    """Another token is no remedy where the integration itself is limited to a client."""
    limited = Caller.of(world, app, "api", client=world.client("ASTER"))
    form = {"grant_type": "client_credentials"}
    got = app.test_client().post("/oauth/token", data=form, auth=limited.credentials)
    headers = {"Authorization": f"Bearer {got.json['access_token']}"}
    answer = limited.post("/clients", {"code": "B", "name": "B"}, auth=None, headers=headers)
    assert answer.status_code == 403
    assert "WWW-Authenticate" not in answer.headers


def test_a_persons_session_is_no_credential_here(world: World, app: Flask) -> None:
    from tests.web.desks import desk

    browser = desk(app, world)
    assert browser.get("/api/v1/clients").status_code == 401


# --- what is sent ------------------------------------------------------------------------------


SENSELESS: list[tuple[int, str | None, dict[str, Any]]] = [
    (400, None, {"data": b"{", "content_type": "application/json"}),
    (400, None, {"data": b"", "content_type": "application/json"}),
    (400, None, {"data": b'{"a":' * 100_000, "content_type": "application/json"}),
    (400, None, {"data": b'{"code": "\\ud800"}', "content_type": "application/json"}),
    (413, None, {"data": b" " * 10_000_000, "content_type": "application/json"}),
    (413, None, {"data": b"a" * 10_000_000,
                 "content_type": "application/x-www-form-urlencoded"}),
    (415, None, {"data": b"code=ASTER", "content_type": "application/x-www-form-urlencoded"}),
    (415, None, {"data": b"{}"}),
    (422, None, {"json": []}),
    (422, None, {"json": "ASTER"}),
    (422, "code", {"json": {"name": "x"}}),
    (422, "code", {"json": {"code": 5, "name": "x"}}),
    (422, "code", {"json": {"code": "A\0B", "name": "x"}}),
    (422, "code", {"json": {"code": "A\nB", "name": "x"}}),
    (422, "code", {"json": {"code": "\u2028", "name": "x"}}),
    (422, "code", {"json": {"code": "  ", "name": "x"}}),
    (422, "name", {"json": {"code": "A", "name": "x" * 201}}),
    (422, "more", {"json": {"code": "A", "name": "x", "more": 1}}),
    (422, "code", {"data": b'{"code": "A", "name": "x", "code": "B"}',
                   "content_type": "application/json"}),
    (422, "code", {"data": b'{"code": "A", "name": "x", "\\u0063ode": "A"}',
                   "content_type": "application/json"}),
    (422, "Idempotency-Key", {"json": NEW, "headers": {"Idempotency-Key": ""}}),
    (422, "Idempotency-Key", {"json": NEW, "headers": {"Idempotency-Key": "a b"}}),
    (422, "Idempotency-Key", {"json": NEW, "headers": {"Idempotency-Key": "k" * 256}}),
]  # fmt: skip


def test_what_makes_no_sense_is_refused_by_its_name_and_repeats_nothing(
    caller: Caller, world: World
) -> None:
    for status, field, sent in SENSELESS:
        answer = caller.send("POST", "/clients", **sent)
        assert problem(answer) == (status, field), str(sent)[:200]
        assert "xxxx" not in answer.text
    assert count(world, Client) == 0


def test_an_address_that_makes_no_sense_is_refused_too(caller: Caller) -> None:
    for query in ("limit=0", "limit=201", "limit=x", f"limit={10**30}", "limit=1&limit=2",
                  "lim=1", "q=%00", f"after={'x' * 2001}"):  # fmt: skip
        assert problem(caller.get(f"/clients?{query}"))[0] == 422, query
    # A route that takes no parameters passes over none either, whatever its method.
    caller.post("/clients", NEW)
    for method, path, body in (
        ("GET", "/clients/ASTER", None), ("POST", "/clients", {"code": "B", "name": "B"}),
        ("POST", "/clients/ASTER/end", {"number": 0, "reason": "over"}),
    ):  # fmt: skip
        answer = caller.send(method, f"{path}?dry_run=true", body)
        assert problem(answer) == (422, "dry_run"), path
    assert caller.get("/clients/ASTER").json["state"] == "running"
    for path in ("/clients/none", "/clients/%0a", "/clients//", "/clients/a/b", "/nowhere",
                 "/clients/\ud800".encode("utf-8", "surrogatepass").decode("latin-1")):  # fmt: skip
        assert problem(caller.get(path))[0] == 404, path
    assert problem(caller.send("DELETE", "/clients"))[0] == 405


# --- pages -------------------------------------------------------------------------------------


def test_pages_walk_over_a_list_once_whatever_comes_meanwhile(caller: Caller, world: World) -> None:
    for code in "BDFH":
        world.client(code)
    answer = caller.get("/clients?limit=2&q=Labs")
    assert [one["code"] for one in answer.json["items"]] == ["B", "D"]
    world.client("A")
    world.client("E")
    (following,) = re.findall(r'^</api/v1(/clients\?[^>]+)>; rel="next"$', answer.headers["Link"])
    assert f"after={answer.json['next']}" in following
    answer = caller.get(following)
    assert [one["code"] for one in answer.json["items"]] == ["E", "F"]
    answer = caller.get(f"/clients?after={answer.json['next']}")
    assert [one["code"] for one in answer.json["items"]] == ["H"]
    assert answer.json["next"] is None
    assert "Link" not in answer.headers


# --- keys --------------------------------------------------------------------------------------


def keyed(caller: Caller, body: Any, key: str = '"k1"', path: str = "/clients") -> TestResponse:
    return caller.post(path, body, headers={"Idempotency-Key": key})


def test_the_same_request_under_its_key_is_answered_again_and_not_redone(
    caller: Caller, world: World, app: Flask
) -> None:
    first = keyed(caller, NEW)
    assert first.status_code == 201
    for key in ('"k1"', "k1"):  # the quotes are how a header writes a string
        again = keyed(caller, NEW, key)
        assert (again.status_code, again.json) == (201, first.json)
        assert again.headers["Location"] == first.headers["Location"]
    assert problem(keyed(caller, NEW | {"name": "Other"})) == (422, "Idempotency-Key")
    project = {"client": "ASTER", "code": "Kingfisher"}
    assert problem(keyed(caller, project, path="/projects")) == (422, "Idempotency-Key")
    assert problem(keyed(caller, NEW, "k2"))[0] == 409
    # Another caller's key is another key.
    other = Caller.of(world, app, "api", "audit.read")
    assert problem(keyed(other, NEW))[0] == 409
    assert (count(world, Client), count(world, Answer)) == (1, 1)


def test_a_refusal_leaves_no_answer_behind(caller: Caller, world: World) -> None:
    project = {"client": "ASTER", "code": "Kingfisher"}
    assert problem(keyed(caller, project, path="/projects"))[0] == 404
    world.client("ASTER")
    assert keyed(caller, project, path="/projects").status_code == 201


def test_an_answer_is_forgotten_after_a_day(caller: Caller, world: World) -> None:
    assert keyed(caller, NEW).status_code == 201
    with clock.at(clock.utcnow() + idempotency.KEPT - timedelta(minutes=1)):
        assert keyed(caller, NEW).status_code == 201
    with clock.at(clock.utcnow() + idempotency.KEPT):
        assert problem(keyed(caller, NEW))[0] == 409
        assert keyed(caller, {"code": "B", "name": "B"}).json["code"] == "B"
    assert count(world, Answer) == 1


def test_no_change_is_without_its_answer_nor_an_answer_without_its_change(world: World) -> None:
    def act(session: Session) -> idempotency.Done:
        row = clients.create_client(session, "ASTER", name="Aster", by=OPERATOR)
        return idempotency.Done(201, f"/clients/{row.id}")

    def crash(session: Session) -> None:
        idempotency.once(session, "k", lambda: act(session), request=b"", by=OPERATOR)
        session.at_commit(fail)

    def fail(_session: Session) -> None:
        raise errors.RecordFailed("The disk is full.")

    with pytest.raises(errors.RecordFailed):
        world.do(crash)
    assert (count(world, Client), count(world, Answer)) == (0, 0)


def test_one_key_sent_many_times_at_once_does_one_thing(caller: Caller, world: World) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: keyed(caller, NEW), range(6)))
    done = [answer.json for answer in answers if answer.status_code == 201]
    assert done
    assert all(one == done[0] for one in done)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert count(world, Client) == 1


def test_a_key_whose_first_request_is_under_way_is_told_so(world: World) -> None:
    if not world.store.is_postgresql:
        return  # SQLite lets one writer in at a time: the second waits, and finds the answer
    begun, go_on = threading.Event(), threading.Event()

    def first(session: Session) -> idempotency.Done:
        def act() -> idempotency.Done:
            begun.set()
            assert go_on.wait(30)
            return idempotency.Done(200, "/clients/x")

        return idempotency.once(session, "k", act, request=b"", by=OPERATOR)

    def second(session: Session) -> idempotency.Done:
        return idempotency.once(session, "k", pytest.fail, request=b"", by=OPERATOR)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.do, first)
        assert begun.wait(30)
        with pytest.raises(errors.Conflict):
            world.do(second)
        go_on.set()
        done = running.result()
    assert world.do(second) == done

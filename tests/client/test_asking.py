"""The client asks and fails closed: whatever comes back, only a whole and plain yes permits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from govern.client import UNAVAILABLE, Client, Decision, Question
from govern.client.transport import MOST_BYTES
from tests.client.answering import Handler, Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

PERMIT = {"decision": True, "context": {"as_of": 7, "decision_id": "wri_1-0"}}
DENIAL = {
    "decision": False,
    "context": {
        "as_of": 8, "decision_id": "wri_1-1", "code": "project_paused",
        "reason_user": {"en": "The project is paused."},
    },
}  # fmt: skip


def by_subject(handler: Handler) -> None:
    """Permit people whose name begins with p, and deny the others."""
    asked = json.loads(handler.body)
    told = [
        PERMIT if item["subject"]["id"].startswith("p") else DENIAL
        for item in asked.get("evaluations", [asked])
    ]
    handler.tell({"evaluations": told} if "evaluations" in asked else told[0])


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(by_subject) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Client:
    return Client(served.url, "int_1", "secret", timeout=5)


def test_a_permit_and_a_denial_say_what_govern_said(client: Client, served: Served) -> None:
    yes = client.allowed("p1", "read", "project:Kingfisher")
    assert yes == Decision(permit=True, reason="permitted", id="wri_1-0", as_of=7)
    no = client.allowed("ada", "read", "dataset:a:b")
    assert (bool(yes), bool(no)) == (True, False)
    assert (no.reason, no.sentence, no.as_of) == ("project_paused", "The project is paused.", 8)
    served.answer = lambda handler: handler.tell({"decision": False})
    assert client.allowed("ada", "read", "project:x") == Decision(permit=False, reason="denied")


def test_what_is_asked_is_a_question_of_authzen_with_credentials_and_an_id(
    client: Client, served: Served
) -> None:
    seen: list[Any] = []

    def look(handler: Handler) -> None:
        seen.append((handler.path, json.loads(handler.body), dict(handler.headers)))
        handler.tell(PERMIT)

    served.answer = look
    worked = datetime(2026, 11, 21, 3, 10, tzinfo=UTC)
    client.allowed("p1", "log_hours", "bucket:a:b", worked_at=worked)
    ((path, body, headers),) = seen
    assert path == "/access/v1/evaluation"
    assert body == {
        "subject": {"type": "user", "id": "p1"},
        "action": {"name": "log_hours"},
        "resource": {"type": "bucket", "id": "a:b"},
        "context": {"time": "2026-11-21T03:10:00+00:00"},
    }
    assert headers["Authorization"].startswith("Basic ")
    assert len(headers["X-Request-ID"]) == 32


def test_many_are_answered_in_order_a_thousand_to_a_request(client: Client, served: Served) -> None:
    questions = [Question("pa"[n % 2], "read", "project:x") for n in range(1001)]
    found = client.ask_many(iter(questions))
    assert [decision.permit for decision in found] == [n % 2 == 0 for n in range(1001)]
    assert served.paths == ["/access/v1/evaluations"] * 2
    assert client.ask_many([]) == []


def cut_short(handler: Handler) -> None:
    body = json.dumps(PERMIT).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body) + 10))
    handler.send_header("X-Request-ID", handler.headers["X-Request-ID"])
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = True


def no_answer(handler: Handler) -> None:
    handler.close_connection = True


def elsewhere(handler: Handler) -> None:
    if handler.path == "/permit":
        handler.tell(PERMIT)
    else:
        handler.tell(PERMIT, 307, Location="/permit")


STRANGE: list[Any] = [
    cut_short, no_answer, elsewhere,
    *(lambda handler, s=status: handler.tell(PERMIT, s) for status in (
        201, 204, 400, 401, 403, 404, 413, 429, 500, 502, 503)),
    *(lambda handler, t=kind: handler.tell(PERMIT, type=t) for kind in ("text/html", "", "json")),
    *(lambda handler, b=body: handler.tell(b) for body in (
        b"", b"true", b"{", b"\xff", b"[" * 100_000, b'{"decision": true', b"nonsense",
        b'{"decision": tru', json.dumps(PERMIT).encode() + b"x" * MOST_BYTES)),
    *(lambda handler, v=value: handler.tell(v) for value in (
        None, True, 1, "true", [], [PERMIT], {}, {"Decision": True}, {"decision": "true"},
        {"decision": 1}, {"decision": None}, {"decision": [True]}, {"evaluations": [PERMIT]})),
    lambda handler: handler.tell(PERMIT, X_Request_ID="another"),
]  # fmt: skip


def test_whatever_else_comes_back_is_a_denial(client: Client, served: Served) -> None:
    for number, answer in enumerate(STRANGE):
        served.answer = answer
        found = client.allowed("p1", "read", "project:x")
        assert (found.permit, found.reason) == (False, UNAVAILABLE), number
        assert found.sentence
    served.answer = by_subject
    assert client.allowed("p1", "read", "project:x")


def test_a_batch_that_is_not_answered_whole_is_denied_whole(client: Client, served: Served) -> None:
    two = [Question("p1", "read", "project:x"), Question("p2", "read", "project:x")]
    for told in (
        PERMIT, [PERMIT, PERMIT], {"evaluations": [PERMIT]}, {"evaluations": [PERMIT] * 3},
        {"evaluations": {"0": PERMIT, "1": PERMIT}}, {"evaluations": [PERMIT, {}]},
        {"evaluations": [PERMIT, None]}, {"evaluations": None},
    ):  # fmt: skip
        served.answer = lambda handler, t=told: handler.tell(t)  # type: ignore[misc]  # a lambda with a default
        found = client.ask_many(two)
        assert [(each.permit, each.reason) for each in found] == [(False, UNAVAILABLE)] * 2, told
    error = {"decision": False, "context": {"error": {"status": 400, "message": "…"}}}
    served.answer = lambda handler: handler.tell({"evaluations": [PERMIT, error]})
    assert [each.permit for each in client.ask_many(two)] == [True, False]


def test_a_late_or_dripping_answer_is_a_denial_in_time(served: Served) -> None:
    client = Client(served.url, "int_1", "secret", timeout=0.3)
    body = json.dumps(PERMIT).encode()

    def never(handler: Handler) -> None:
        handler.close_connection = True
        handler.connection.recv(1)  # until the client gives up

    def drip(handler: Handler) -> None:
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("X-Request-ID", handler.headers["X-Request-ID"])
        handler.end_headers()
        for byte in body:
            try:
                handler.wfile.write(bytes([byte]))
            except OSError:
                return
            time.sleep(0.1)

    for answer in (never, drip):
        served.answer = answer
        begun = time.monotonic()
        assert client.allowed("p1", "read", "project:x").reason == UNAVAILABLE
        assert time.monotonic() - begun < 3


def test_nobody_listening_is_a_denial() -> None:
    with serving(by_subject) as served:
        client = Client(served.url, "int_1", "secret")
    assert client.allowed("p1", "read", "project:x").reason == UNAVAILABLE
    nowhere = Client("https://govern.invalid", "int_1", "secret")
    assert nowhere.allowed("p1", "read", "project:x").reason == UNAVAILABLE


def test_a_connection_is_kept_and_a_dead_one_is_replaced_without_a_denial(
    client: Client, served: Served
) -> None:
    for _ in range(5):
        assert client.allowed("p1", "read", "project:x")
    assert served.connections == 1

    def once_more(handler: Handler) -> None:
        """Hang up without an answer, as a server does that restarts meanwhile."""
        served.answer = by_subject
        handler.close_connection = True

    served.answer = once_more
    assert client.allowed("p1", "read", "project:x")
    assert served.connections == 2


def test_threads_and_forked_processes_get_the_answers_to_their_own_questions(
    client: Client, served: Served
) -> None:
    def ask(number: int) -> bool:
        name = f"{'pa'[number % 2]}{number}"
        return client.allowed(name, "read", "project:x").permit == (number % 2 == 0)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(200)))
    assert client.allowed("p1", "read", "project:x")
    before = served.connections
    child = os.fork()
    if child == 0:
        os._exit(0 if client.allowed("p1", "read", "project:x") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert served.connections == before + 1  # a parent's connection is never a child's


def test_wrong_use_raises(client: Client) -> None:
    noon = datetime(2026, 11, 21, 12)  # noqa: DTZ001 - that is the mistake
    wrong: list[tuple[type[Exception], Any]] = [
        (TypeError, lambda: client.allowed(None, "read", "project:x")),
        (TypeError, lambda: client.allowed("p1", b"read", "project:x")),
        (ValueError, lambda: client.allowed("p1", "read", "Kingfisher")),
        (ValueError, lambda: client.allowed("p1", "read", ":Kingfisher")),
        (ValueError, lambda: client.allowed("p1", "log_hours", "project:x", worked_at=noon)),
        (TypeError, lambda: client.allowed("p1", "log_hours", "project:x", worked_at="noon")),
        (ValueError, lambda: Client("http://govern.example", "int_1", "secret")),
        (ValueError, lambda: Client("ftp://govern.example", "int_1", "secret")),
        (ValueError, lambda: Client("https://a:b@govern.example", "int_1", "secret")),
        (ValueError, lambda: Client("govern.example", "int_1", "secret")),
        (ValueError, lambda: Client("https://govern.example", "", "secret")),
        (ValueError, lambda: Client("https://govern.example", "int_1", "")),
        (ValueError, lambda: Client("https://govern.example", "int_1", "s", timeout=0)),
    ]
    for error, use in wrong:
        with pytest.raises(error):
            use()


def test_it_costs_no_server_and_no_database() -> None:
    check = (
        "import sys, govern.client\n"
        "heavy = {'flask', 'werkzeug', 'sqlalchemy', 'pydantic', 'authlib', 'govern.errors'}\n"
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0

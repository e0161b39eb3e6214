"""The guards before WSGI and ASGI applications: the application is called on a permit alone."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from govern.client import AsgiGuard, Client, Question, WsgiGuard
from tests.client.answering import Handler, Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

DENIAL = {"decision": False, "context": {
    "code": "project_paused", "reason_user": {"en": "The project is paused."},
}}  # fmt: skip


def by_subject(handler: Handler) -> None:
    person = json.loads(handler.body)["subject"]["id"]
    if person == "broken":
        handler.tell({}, 500)
    else:
        handler.tell({"decision": True} if person == "ada" else DENIAL)


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(by_subject) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Client:
    return Client(served.url, "int_1", "secret")


# --- WSGI --------------------------------------------------------------------------------------


def wsgi_question(environ: Any) -> Question | None:
    person = environ.get("REMOTE_USER")
    return Question(person, "read", "project:Kingfisher") if person else None


class Wsgi:
    """A guarded WSGI application that remembers whom it served."""

    def __init__(self, client: Client) -> None:
        self.called: list[Any] = []
        self.guarded = validator(WsgiGuard(self.app, client, wsgi_question))

    def app(self, environ: Any, start_response: Any) -> list[bytes]:
        self.called.append(environ["govern.decision"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"the data"]

    def get(self, person: str | None, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "QUERY_STRING": ""}
        setup_testing_defaults(environ)
        if person is not None:
            environ["REMOTE_USER"] = person
        told: list[Any] = []

        def start_response(status: str, headers: Any, _: Any = None) -> Any:
            told.extend((status, dict(headers)))
            return None

        parts = self.guarded(environ, start_response)
        body = b"".join(parts)
        parts.close()  # type: ignore[attr-defined]  # WSGI has it
        return told[0], told[1], body


def test_a_wsgi_application_is_called_on_a_permit_alone(client: Client) -> None:
    site = Wsgi(client)
    assert site.get("ada")[0::2] == ("200 OK", b"the data")
    assert site.called[0].permit
    status, headers, body = site.get("bob")
    assert status == "403 Forbidden"
    assert headers["Cache-Control"] == "no-store"
    assert json.loads(body) == {
        "reason": "project_paused", "message": "The project is paused.",
    }  # fmt: skip
    status, headers, body = site.get("broken")
    assert (status, headers["Retry-After"]) == ("503 Service Unavailable", "1")
    assert json.loads(body)["reason"] == "unavailable"
    assert json.loads(site.get(None)[2])["reason"] == "no_question"
    status, headers, body = site.get("bob", "HEAD")
    assert (status, body) == ("403 Forbidden", b"")
    assert len(site.called) == 1


def test_a_question_that_cannot_be_made_lets_nobody_in(client: Client) -> None:
    called: list[Any] = []

    def wrong(environ: Any) -> Question:
        return Question(environ["no such thing"], "read", "project:x")

    guard = WsgiGuard(lambda *_: called.append(1) or [], client, wrong)
    with pytest.raises(KeyError):
        guard({}, lambda *_: None)  # type: ignore[arg-type,return-value]  # no server
    assert called == []


# --- ASGI --------------------------------------------------------------------------------------


def asgi_question(scope: Any) -> Question | None:
    person = dict(scope["headers"]).get(b"x-user")
    return Question(person.decode(), "read", "project:Kingfisher") if person else None


class Asgi:
    """A guarded ASGI application that remembers the scopes it was called with."""

    def __init__(self, client: Client) -> None:
        self.called: list[Any] = []
        self.guarded = AsgiGuard(self.app, client, asgi_question)

    async def app(self, scope: Any, _receive: Any, send: Any) -> None:
        self.called.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"the data"})
        else:
            await send({"type": f"{scope['type']}.served"})

    def send(self, kind: str, person: str | None = None, method: str = "GET") -> list[Any]:
        headers = [(b"x-user", person.encode())] if person is not None else []
        scope = {"type": kind, "headers": headers, "method": method}
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": f"{kind}.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.guarded(scope, receive, send))
        return sent


def test_an_asgi_application_is_called_on_a_permit_alone(client: Client) -> None:
    site = Asgi(client)
    assert [message.get("status") for message in site.send("http", "ada")] == [200, None]
    assert site.called[0]["govern.decision"].permit
    start, body = site.send("http", "bob")
    assert start["status"] == 403
    assert json.loads(body["body"])["reason"] == "project_paused"
    assert dict(start["headers"])[b"content-type"] == b"application/json"
    start, _ = site.send("http", "broken")
    assert (start["status"], dict(start["headers"])[b"retry-after"]) == (503, b"1")
    start, _ = site.send("http")
    assert start["status"] == 403
    assert site.send("http", "bob", "HEAD")[1]["body"] == b""
    assert len(site.called) == 1


def test_a_websocket_is_closed_before_it_opens_and_a_lifespan_goes_through(
    client: Client,
) -> None:
    site = Asgi(client)
    assert site.send("websocket", "bob") == [
        {"type": "websocket.close", "code": 1008, "reason": "project_paused"}
    ]
    assert site.send("websocket", "broken")[0]["code"] == 1013
    assert site.called == []
    assert site.send("websocket", "ada") == [{"type": "websocket.served"}]
    assert site.send("lifespan") == [{"type": "lifespan.served"}]
    with pytest.raises(NotImplementedError):
        site.send("another", "ada")
    assert len(site.called) == 2


def test_the_event_loop_goes_on_while_a_question_waits(client: Client, served: Served) -> None:
    asked, answer = threading.Event(), threading.Event()

    def wait(handler: Handler) -> None:
        asked.set()
        answer.wait(10)
        by_subject(handler)

    served.answer = wait
    site = Asgi(Client(served.url, "int_1", "secret", timeout=10))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def both() -> None:
        scope = {"type": "http", "headers": [(b"x-user", b"ada")], "method": "GET"}
        waiting = asyncio.ensure_future(site.guarded(scope, None, send))  # type: ignore[arg-type]  # no server
        assert await asyncio.to_thread(asked.wait, 10)
        assert sent == []  # this line runs while the question is out
        answer.set()
        await waiting

    asyncio.run(both())
    assert sent[0]["status"] == 200

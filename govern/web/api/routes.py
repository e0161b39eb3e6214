"""The frame of the API: how a route is declared, how a request is read and its answer told.

A route is a function that takes a session and `by`, and calls one operation; everything else
about it stands in its `Operation`, from which the description is made too. A write commits once,
says where its result can be read, and is answered with what stands there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from govern import errors
from govern.access import idempotency
from govern.access.idempotency import Done
from govern.web import guard
from govern.web.api import shapes
from govern.web.api.shapes import Page, Query

if TYPE_CHECKING:
    from pydantic import BaseModel

    from govern.db import Session
    from govern.principal import Principal

PREFIX = "/api/v1"
MOST_BYTES = 1024 * 1024
JSON, PARTS = "application/json", "multipart/form-data"
OK, CREATED, ACCEPTED = 200, 201, 202

# What rooms call a part of a request, where the API has other words for it: the first of these that
# a route takes.
_CALLED: dict[str, tuple[str, ...]] = {
    "until": ("ends_at",),
    "starts": ("starts_at",),
    "people": ("subjects", "names", "subject"),
    "scope": ("targets",),
    "target": ("targets",),
    "resource": ("code",),
    "client": ("project", "code", "over"),
    "project": ("code", "over"),
    "dataset": ("code",),
    "organisation": ("subject",),
}

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One route: `path` with its ids in angle brackets, what it reads, and what it tells.

    What must not be done with the database in hand goes `before`, whose result the function is
    given as `ready`. `answers` has the shape told with each status, or the media types of a file.
    What only `reads` changes nothing, whatever its method. A body in `parts` is a form with a file
    in it (RFC 7578), else JSON.
    """

    name: str
    method: str
    path: str
    room: str
    view: Callable[..., Any]
    reads: bool
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    parts: bool = False
    most_bytes: int = MOST_BYTES
    before: Callable[..., Any] | None = None
    answers: Mapping[int, Any] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """The parameters in its path."""
        return re.findall(r"<(\w+)>", self.path)


class Routes:
    """The routes of one room, each put down by the function below it."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.operations: list[Operation] = []

    def get(
        self,
        path: str,
        answer: Any,
        *,
        query: type[BaseModel] | None = None,
        before: Callable[..., Any] | None = None,
    ) -> Callable[[View], View]:
        """Something to read."""
        return self._add(
            "GET", path, reads=True, query=query, before=before, answers={OK: answer}
        )  # fmt: skip

    def ask(self, path: str, answer: Any, *, body: type[BaseModel]) -> Callable[[View], View]:
        """Something to read whose question is too long for an address."""
        return self._add("POST", path, reads=True, body=body, answers={OK: answer})

    def judge(
        self,
        path: str,
        answer: Any,
        *,
        body: type[BaseModel],
        most_bytes: int,
        before: Callable[..., Any],
    ) -> Callable[[View], View]:
        """Something that looks at a file which the caller brings along, and changes nothing."""
        return self._add(
            "POST", path, reads=True, body=body, parts=True, most_bytes=most_bytes, before=before,
            answers={OK: answer},
        )  # fmt: skip

    def post(
        self,
        path: str,
        answers: Mapping[int, Any],
        *,
        body: type[BaseModel] | None = None,
        most_bytes: int = MOST_BYTES,
        before: Callable[..., Any] | None = None,
    ) -> Callable[[View], View]:
        """Something to do; the function returns `Done`."""
        return self._add(
            "POST", path, reads=False, body=body, most_bytes=most_bytes, before=before,
            answers=answers,
        )  # fmt: skip

    def patch(
        self, path: str, answers: Mapping[int, Any], *, body: type[BaseModel]
    ) -> Callable[[View], View]:
        """Something to change; the function returns `Done`."""
        return self._add("PATCH", path, reads=False, body=body, answers=answers)

    def _add(self, method: str, path: str, **more: Any) -> Callable[[View], View]:
        def put_down(view: View) -> View:
            name = f"{self.room}_{view.__name__.rstrip('_')}"
            self.operations.append(
                Operation(name=name, method=method, path=path, room=self.room, view=view, **more)
            )
            return view

        return put_down


def serve(blueprint: Blueprint, operations: list[Operation]) -> None:
    """Make views of operations."""
    readers = {item.name: item for item in operations if item.method == "GET"}
    for item in operations:
        view = guard.credentials(_view(item, readers))
        blueprint.add_url_rule(PREFIX + item.path, item.name, view, methods=[item.method])
    most = {f"{blueprint.name}.{item.name}": item.most_bytes for item in operations}

    @blueprint.url_value_preprocessor
    def limit_body(endpoint: str | None, _values: dict[str, Any] | None) -> None:
        """The first step of a request: whoever looks at its body afterwards meets the limit."""
        request.max_content_length = most.get(endpoint or "", MOST_BYTES)


def _view(operation: Operation, readers: dict[str, Operation]) -> Callable[..., Response]:
    def view(**ids: str) -> Response:
        by = guard.integration()
        given: dict[str, Any] = dict(ids)
        asked = shapes.read(operation.query or Query, _parameters())
        if operation.query is not None:
            given["asked"] = asked
        if operation.body is not None:
            sent = _parts() if operation.parts else _body()
            given["asked"] = shapes.read(operation.body, sent)
        try:
            return _answer(operation, readers, given, by=by)
        except errors.GovernError as error:
            error.field = _member(operation, error.field)
            raise

    return view


def _answer(
    operation: Operation, readers: dict[str, Operation], given: dict[str, Any], *, by: Principal
) -> Response:
    if operation.before is not None:
        given["ready"] = operation.before(by=by, **given)
    if operation.reads:
        return _found(operation, given, by=by)
    done = _do(operation, given, by=by)
    endpoint, again = current_app.url_map.bind("localhost").match(PREFIX + done.place, "GET")
    reader = readers[str(endpoint).rpartition(".")[2]]
    answer = _found(reader, dict(again), by=by)
    answer.status_code = done.status
    if done.status != OK:
        answer.headers["Location"] = PREFIX + done.place
    return answer


def _member(operation: Operation, field: str | None) -> str | None:
    """The member, parameter or header at fault as the caller calls it; None where it is none."""
    asked = operation.body or operation.query
    members = {
        item.alias or name for name, item in (asked.model_fields if asked else {}).items()
    }  # fmt: skip
    known = {*members, *operation.ids, idempotency.FIELD}
    first = (field or "").partition(".")[0]
    if first in known:
        return field
    named = next((name for name in _CALLED.get(first, ()) if name in known), None)
    # What else a room has a word for is one of the filters of a list.
    return named or ("filters" if first and "filters" in known else None)


def _found(operation: Operation, given: dict[str, Any], *, by: Principal) -> Response:
    with guard.database().reading() as session:
        answer = operation.view(session, by=by, **given)
    if isinstance(answer, Response):
        return answer
    told = Response(answer.model_dump_json(), content_type=JSON)
    if isinstance(answer, Page) and answer.next is not None:
        query = urlencode([*_others(), ("after", answer.next)])
        told.headers["Link"] = f'<{quote(request.path)}?{query}>; rel="next"'
    return told


def _do(operation: Operation, given: dict[str, Any], *, by: Principal) -> Done:
    """Carry out a write in one transaction, once for each key."""
    key = _key()
    sent = b"\n".join((request.method.encode(), request.path.encode(), request.get_data()))

    def work(session: Session) -> Done:
        def act() -> Done:
            done: Done = operation.view(session, by=by, **given)
            return done

        if key is None:
            return act()
        return idempotency.once(session, key, act, request=sent, by=by)

    return guard.database().transaction(work)


def _key() -> str | None:
    """The key of a write, in quotes or without (draft-ietf-httpapi-idempotency-key-header)."""
    given = request.headers.get(idempotency.FIELD)
    if given is None:
        return None
    if not re.fullmatch(r'"[\x20\x21\x23-\x7e]{1,255}"|[\x21\x23-\x7e]{1,255}', given):
        raise errors.Invalid(
            "A key is 1 to 255 printable ASCII characters, in quotes.", field=idempotency.FIELD
        )
    return given.strip('"')


def _body() -> bytes:
    if request.mimetype != JSON:
        raise UnsupportedMediaType("Send JSON, as Content-Type: application/json.")
    sent = request.get_data()
    if not sent.strip():
        raise BadRequest("The body is empty: send JSON.")
    return sent


def _parts() -> dict[str, Any]:
    """The parts of a form, files among them; each is given once."""
    if request.mimetype != PARTS:
        raise UnsupportedMediaType(f"Send a form, as Content-Type: {PARTS}.")
    return _once([*request.form.lists(), *request.files.lists()])


def _parameters() -> dict[str, Any]:
    """The parameters of the address; one that is no list is given once."""
    return _once(request.args.lists())


def _once(given: Iterable[tuple[str, list[Any]]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, values in given:
        if len(values) > 1 or name in found:
            raise errors.Invalid(f"{name}: given more than once.", field=name)
        found[name] = values[0]
    return found


def _others() -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.args.items(multi=True) if name != "after"]

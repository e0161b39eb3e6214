"""Whatever is sent to AuthZEN's five endpoints: as specified, never a 500, never a permit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factory import World
from tests.web.authzen.asking import ACTIONS, MANY, ONE, RESOURCES, SUBJECTS, Tool, tool_of

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

USER = {"type": "user", "id": "ada"}
PLACE = {"type": "project", "id": "Kingfisher"}
READ = {"name": "read"}
# Each endpoint with a question that it answers, and what it asks for: an id, or a type alone.
ASKED: dict[str, dict[str, Any]] = {
    ONE: {"subject": USER, "action": READ, "resource": PLACE},
    MANY: {"subject": USER, "action": READ, "resource": PLACE, "evaluations": []},
    SUBJECTS: {"subject": {"type": "user"}, "action": READ, "resource": PLACE},
    RESOURCES: {"subject": USER, "action": READ, "resource": {"type": "project"}},
    ACTIONS: {"subject": USER, "resource": PLACE},
}


@pytest.fixture
def tool(world: World, app: Flask) -> Tool:
    """Who asks for ada on Kingfisher would be permitted."""
    world.grant(world.subject("ada"), world.project("Kingfisher"))
    return tool_of(world, app)


def told(answer: TestResponse, status: int) -> None:
    """The answer is an error of this status, with a sentence and nothing else."""
    assert answer.status_code == status, (answer.status, answer.text[:200])
    assert set(answer.json) == {"error"}
    assert isinstance(answer.json["error"], str)
    assert answer.mimetype == "application/json"


def breakages(asked: dict[str, Any]) -> list[Any]:
    """The same question damaged in one way each."""
    found: list[Any] = [[], [asked], "text", 5, None, {}, True]
    for name in ("subject", "action", "resource"):
        if name not in asked:
            continue
        found.append({key: value for key, value in asked.items() if key != name})
        found += [asked | {name: wrong} for wrong in (None, "x", 5, [], {}, [asked[name]])]
        for inner, value in asked[name].items():
            rest = {key: other for key, other in asked[name].items() if key != inner}
            found.append(asked | {name: rest})
            found += [
                asked | {name: asked[name] | {inner: wrong}}
                for wrong in (None, 5, True, [value], {"id": value}, f"{value}\0", "a\nb")
            ]
        found.append(asked | {name: asked[name] | {"properties": "none"}})
    found += [asked | {"context": wrong} for wrong in ("now", 5, [], None)]
    return found


PAGES: list[Any] = [
    [], "next", 5, None, {"limit": 0}, {"limit": -1}, {"limit": "10"}, {"limit": 1.5},
    {"limit": True}, {"token": 5}, {"token": None}, {"token": "\0"}, {"token": "nonsense"},
]  # fmt: skip
NOT_JSON = [
    b"", b"{", b"nonsense", b"\xff\xfe", b'{"subject": "\\ud800"}', b"[" * 100_000,
    b'{"context":' * 5000 + b"1" + b"}" * 5000, b'{"context": NaN}', b"\xef\xbb\xbf{}",
]  # fmt: skip


def test_a_damaged_question_is_a_bad_request_and_the_whole_one_is_answered(tool: Tool) -> None:
    for path, asked in ASKED.items():
        assert tool.send(path, asked).status_code == 200
        for broken in breakages(asked):
            told(tool.raw(path, json.dumps(broken).encode()), 400)
        for body in NOT_JSON:
            told(tool.raw(path, body), 400)
    for path in (SUBJECTS, RESOURCES, ACTIONS):
        for page in PAGES:
            told(tool.send(path, ASKED[path] | {"page": page}), 400)
    told(tool.send(ACTIONS, ASKED[ACTIONS] | {"context": {"time": "yesterday"}}), 400)


def test_what_frames_a_question_is_held_to_the_standard_everywhere(tool: Tool) -> None:
    named = {"X-Request-ID": "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"}
    for path, asked in ASKED.items():
        body = json.dumps(asked).encode()
        assert tool.raw(path, body, "application/json; charset=utf-8").status_code == 200
        for other in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
            told(tool.raw(path, body, other), 400)
        told(tool.raw(path, json.dumps(asked | {"x": "x" * 10_000_000}).encode()), 413)
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = tool.app.test_client().open(path, method=method, auth=tool.credentials)
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        told(tool.send(path, asked, auth=None), 401)
        told(tool.send(path, asked, auth=(tool.credentials[0], "guessed")), 401)
        for answer in (
            tool.send(path, asked, headers=named),
            tool.send(path, {}, headers=named),
            tool.send(path, asked, headers=named, auth=None),
            tool.app.test_client().get(path, headers=named),
        ):
            assert answer.headers["X-Request-ID"] == named["X-Request-ID"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
word = st.sampled_from(["user", "project", "dataset", "bucket"]) | st.text()
entity = anything | st.fixed_dictionaries({"type": word}, optional={"id": st.text()})
page = anything | st.fixed_dictionaries(
    {}, optional={"token": st.text(), "limit": st.integers() | anything}
)
body = anything | st.fixed_dictionaries(
    {"subject": entity, "resource": entity},
    optional={
        "action": anything | st.fixed_dictionaries({"name": st.text() | st.just("log_hours")}),
        "context": anything | st.dictionaries(st.just("time"), anything),
        "evaluations": anything | st.lists(anything, max_size=3),
        "options": anything, "page": page,
    },
)  # fmt: skip


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=body, path=st.sampled_from(list(ASKED)))
def test_whatever_is_sent_is_answered_and_never_permitted(tool: Tool, body: Any, path: str) -> None:
    answer = tool.raw(path, json.dumps(body).encode())
    assert answer.status_code in {200, 400}, answer.text
    if answer.status_code != 200:
        return
    if "results" in answer.json:
        assert answer.json["results"] == []
    else:
        items = answer.json.get("evaluations", [answer.json])
        assert not any(item["decision"] for item in items)

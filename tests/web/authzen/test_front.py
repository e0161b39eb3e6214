"""What is answered in front of Flask, and what is left to it, cannot be told apart."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.factory import World
from tests.web.authzen.asking import MANY, ONE, Tool, question, tool_of

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse


@pytest.fixture
def tool(world: World, app: Flask) -> Tool:
    kingfisher = world.project("Kingfisher", client=world.client("ASTER"))
    world.grant(world.subject("ada"), kingfisher)
    return tool_of(world, app)


def without_its_own(answer: TestResponse) -> tuple[int, dict[str, Any], set[str]]:
    body = json.loads(answer.data)
    for one in body.get("evaluations", [body]):
        one.get("context", {}).pop("decision_id", None)
    # Flask has looked whether there is a cookie; what is never stored need not vary by it.
    return answer.status_code, body, set(answer.headers.keys()) - {"Vary"}


def test_both_say_the_same(tool: Tool) -> None:
    plain, flask_s = "application/json", "application/json; charset=utf-8"
    for path, body in (
        (ONE, question()),
        (ONE, question(who="nobody")),
        (ONE, question(project="Nowhere")),
        (ONE, {"subject": 1}),
        (ONE, question(who="\x00")),
        (MANY, question() | {"evaluations": [{}, {"action": {"name": "annotate"}}, {"action": 1}]}),
        (MANY, {"evaluations": [{}] * 1001}),
    ):
        told = json.dumps(body).encode()
        ours, theirs = tool.raw(path, told, plain), tool.raw(path, told, flask_s)
        assert without_its_own(ours) == without_its_own(theirs), path


def test_a_request_that_is_not_plain_is_answered_all_the_same(tool: Tool) -> None:
    client, body = tool.app.test_client(), json.dumps(question()).encode()
    wrong = client.post(ONE, data=body, content_type="application/json", auth=("int_x", "y"))
    nobody = client.post(ONE, data=body, content_type="application/json")
    garbled = client.post(ONE, data=body, content_type="application/json",
                          headers={"Authorization": "Basic !!"})  # fmt: skip
    assert {one.status_code for one in (wrong, nobody, garbled)} == {401}
    assert client.get(ONE).status_code == 405
    chunked = client.post(ONE, input_stream=io.BytesIO(body), content_type="application/json",
                          environ_overrides={"wsgi.input_terminated": True},
                          auth=tool.credentials)  # fmt: skip
    assert chunked.json["decision"] is True


def test_half_of_a_character_pair_is_no_name(tool: Tool) -> None:
    body = json.dumps(question()).encode().replace(b'"ada"', b'"\\ud800"')
    assert tool.raw(ONE, body).status_code in {200, 400}
    assert tool.raw(ONE, body).json.get("decision") is not True


def test_the_caller_s_name_for_a_request_comes_back(tool: Tool) -> None:
    named = tool.send(ONE, question(), headers={"X-Request-ID": "mine-7"})
    assert named.headers["X-Request-ID"] == "mine-7"
    assert tool.send(ONE, question()).headers["X-Request-ID"].startswith("req_")

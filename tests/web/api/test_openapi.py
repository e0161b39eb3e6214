"""The description of the API is that of what is served: no more, no less."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

# What is asked by POST and changes nothing.
READ_BY_POST = ("/preview", "/verify")


def described(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/api/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    found: dict[str, Any] = answer.json
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


@pytest.mark.web_alone
def test_every_route_of_the_api_is_described_and_nothing_else(app: Flask) -> None:
    served = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(method, path) for method, path, _ in operations(described(app))} == served
    assert len(served) > 30


@pytest.mark.web_alone
def test_the_description_is_one_that_a_stranger_can_read(app: Flask) -> None:
    document = described(app)
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": "http://127.0.0.1:8000"}]
    schemas = document["components"]["schemas"]
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)):
        assert reference.removeprefix("#/components/schemas/") in schemas
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for method, path, operation in operations(document):
        assert operation["summary"].endswith("."), (method, path)
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))


@pytest.mark.web_alone
def test_every_route_says_how_to_prove_oneself_and_how_it_refuses(app: Flask) -> None:
    document = described(app)
    flow = document["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]
    for method, path, operation in operations(document):
        scopes = [one["oauth2"][0] for one in operation["security"] if "oauth2" in one]
        assert "api" in scopes
        assert set(scopes) <= set(flow["scopes"])
        assert ("audit.read" in scopes) is (method == "GET" or path.endswith(READ_BY_POST))
        for status, answer in operation["responses"].items():
            (kind,) = {"problem" if "problem" in name else "told" for name in answer["content"]}
            assert kind == ("told" if status < "300" else "problem")
        assert {"401", "403", "404", "422", "429", "503"} <= operation["responses"].keys()


@pytest.mark.web_alone
def test_every_write_takes_an_idempotency_key_and_no_reading_does(app: Flask) -> None:
    for method, path, operation in operations(described(app)):
        keys = [one for one in operation["parameters"] if one["name"] == "Idempotency-Key"]
        assert len(keys) == (method != "GET" and not path.endswith(READ_BY_POST)), (method, path)

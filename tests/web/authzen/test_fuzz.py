"""What schemathesis makes of AuthZEN's paths, described by the shapes that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import TypeAdapter
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from govern.web.authzen import shapes
from tests.factory import World
from tests.web.authzen.asking import ACTIONS, MANY, ONE, RESOURCES, SUBJECTS, tool_of

if TYPE_CHECKING:
    from flask import Flask

PATHS: dict[str, Any] = {
    ONE: shapes.Evaluation,
    MANY: shapes.Batch,
    SUBJECTS: shapes.SubjectSearch,
    RESOURCES: shapes.ResourceSearch,
    ACTIONS: shapes.ActionSearch,
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 6  # for each path
DECISION = {
    "type": "object", "required": ["decision"], "additionalProperties": False,
    "properties": {"decision": {"type": "boolean"}, "context": {"type": "object"}},
}  # fmt: skip
EVALUATIONS = {
    "type": "object", "required": ["evaluations"], "additionalProperties": False,
    "properties": {"evaluations": {"type": "array", "items": DECISION}},
}  # fmt: skip
RESULTS = {
    "type": "object", "required": ["results"],
    "properties": {"results": {"type": "array", "items": {"type": "object"}}},
}  # fmt: skip
ERROR = {
    "type": "object", "required": ["error"], "additionalProperties": False,
    "properties": {"error": {"type": "string"}},
}  # fmt: skip
TOLD = {ONE: DECISION, MANY: {"anyOf": [EVALUATIONS, DECISION]}}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_nothing_that_is_sent_breaks_or_permits(
    world: World, app: Flask, mode: GenerationMode
) -> None:
    world.grant(world.subject("ada"), world.project("Kingfisher", client=world.client("ASTER")))
    tool = tool_of(world, app)
    schema = schemathesis.openapi.from_dict(described())
    schema.app = app
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(operation.as_strategy(mode))
        @settings(
            max_examples=EXAMPLES, derandomize=True, database=None, deadline=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case: Any) -> None:
            checks = CHECKS
            if mode is GenerationMode.NEGATIVE:
                checks = [*CHECKS, negative_data_rejection]
            answer = case.call_and_validate(auth=tool.credentials, checks=checks)
            assert b'"decision": true' not in answer.content
            assert b'"decision":true' not in answer.content

        ask()


def described() -> dict[str, Any]:
    """The paths as OpenAPI has them."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "AuthZEN", "version": "1.0"},
        "paths": {path: {"post": operation(path)} for path in PATHS},
    }


def operation(path: str) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": inlined(path)}}}
    answers = {"200": TOLD.get(path, RESULTS)} | dict.fromkeys(("400", "401", "413"), ERROR)
    responses = {
        status: {"description": status, "content": {"application/json": {"schema": schema}}}
        for status, schema in answers.items()
    }
    return {"requestBody": body, "responses": responses}


def inlined(path: str) -> dict[str, Any]:
    """A shape's schema without references, as each path here has its own."""
    schema = TypeAdapter(PATHS[path]).json_schema()
    parts = schema.pop("$defs", {})

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return filled(parts[value["$ref"].rpartition("/")[2]])
            return {name: filled(part) for name, part in value.items()}
        return [filled(part) for part in value] if isinstance(value, list) else value

    made: dict[str, Any] = filled(schema)
    return made

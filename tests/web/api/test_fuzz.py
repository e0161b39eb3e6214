"""What schemathesis makes of the API's description: no 5xx, and nothing that it does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.web.api.caller import filled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from tests.factory import World

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
# Examples for each operation, and of these with ids that nobody knows.
EXAMPLES = {"sqlite": (4, 1), "postgresql": (1, 1)}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_meets_an_answer_that_the_description_does_not_foresee(
    world: World, app: Flask, database: str, mode: GenerationMode
) -> None:
    things = filled(world, "ASTER")
    row, secret = world.integration(scopes=("api", "audit.read"))
    described = app.test_client().get("/api/openapi.json").json
    if mode is GenerationMode.POSITIVE:
        with_what_is_there(described, things)
    schema = schemathesis.openapi.from_dict(described)
    schema.app = app
    operations = [item.ok() for item in schema.get_all_operations()]
    assert len(operations) == sum(map(len, described["paths"].values()))
    known, unknown = EXAMPLES[database]
    for operation in operations:
        ids = {item.name: things[item.name] for item in operation.path_parameters}
        for number, path in [(known, ids), (unknown, None)] if ids else [(known, None)]:

            @given(operation.as_strategy(mode, path_parameters=path))
            @settings(
                max_examples=number, derandomize=True, database=None, deadline=None,
                phases=[Phase.generate], suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            def ask(case: Any) -> None:
                case.call_and_validate(auth=(row.id, secret), checks=CHECKS)

            ask()


def with_what_is_there(described: dict[str, Any], things: dict[str, str]) -> None:
    """Offer real names where things are named: else all would be 404."""
    named = {
        **{name: [thing, "nothing"] for name, thing in things.items()},
        "project": ["ASTER-spare", "ASTER-project"],
        "targets": ["project:ASTER-spare", "client:ASTER", f"subject:{things['subject']}"],
        "subjects": ["ASTER-person"],
        "names": ["ASTER-person", "nobody"],
        "entitlement": ["annotator"],
        "organisation": ["direct", "Elsewhere"],
        "country": ["KE"],
        "log": ["ASTER", "house"],
        "filters": [{"client": "ASTER"}, {"lacks": "second_factor"}],
        "digest": ["0" * 64],
    }
    for name, schema in inputs(described):
        if name not in named:
            continue
        if schema.get("type") == "array":
            schema["items"] = {"enum": named[name]}
        elif "anyOf" in schema:
            schema["anyOf"][0] = {"enum": named[name]}
        else:
            schema.clear()
            schema["enum"] = named[name]


def inputs(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every parameter of an address and every member of a body, with its schema."""
    for path in described["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "query":
                    yield parameter["name"], parameter["schema"]
            for content in operation.get("requestBody", {"content": {}})["content"].values():
                shape = content["schema"]["$ref"].rpartition("/")[2]
                yield from described["components"]["schemas"][shape]["properties"].items()

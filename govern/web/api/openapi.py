"""The description of the API (OpenAPI 3.1), made from its routes and shapes: never written by hand.

Every status that a route can answer stands in it, so that a stranger's client meets no surprise.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from govern.access import idempotency
from govern.web import guard
from govern.web.api.routes import JSON, OK, PARTS, PREFIX
from govern.web.api.shapes import Problem

if TYPE_CHECKING:
    from flask import Blueprint
    from pydantic import BaseModel

    from govern.web.api.routes import Operation

    Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_ALWAYS = (401, 403, 404, 422, 429, 503)
_ABOUT = """\
What the pages do, for programs: clients, projects, datasets, people, grants, suspensions, requests
and the log. Integrations call it, with their client id and secret or with a token; each sees and
changes what its scope and its limit to a client allow, and nothing else is told to exist."""


def serve(blueprint: Blueprint, operations: list[Operation]) -> None:
    """Publish the description."""

    @cache
    def made(base: str) -> Json:
        return document(operations, base)

    @guard.public
    def description() -> Json:
        return made(guard.database().settings.public_url)

    blueprint.add_url_rule("/api/openapi.json", "description", description)


def document(operations: list[Operation], base: str) -> Json:
    """The whole description of some operations, served at `base`."""
    schemas = _Schemas(operations)
    paths: dict[str, Json] = {}
    for item in operations:
        path = PREFIX + item.path.replace("<", "{").replace(">", "}")
        paths.setdefault(path, {})[item.method.lower()] = _operation(item, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "govern", "version": "1", "description": _ABOUT.replace("\n", " "),
        },
        "servers": [{"url": base}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "oauth2": {
                    "type": "oauth2",
                    "flows": {
                        "clientCredentials": {
                            "tokenUrl": f"{base}/oauth/token",
                            "scopes": {
                                "api": "Read and change.",
                                "audit.read": "Read, and export the log.",
                            },
                        }
                    },
                },
            },
        },
    }  # fmt: skip


class _Schemas:
    """JSON Schemas of every shape; what is asked and what is told are different readings."""

    def __init__(self, operations: list[Operation]) -> None:
        asked = {item.body for item in operations} | {item.query for item in operations}
        told = {
            shape
            for item in operations
            for shape in item.answers.values()
            if not isinstance(shape, tuple)
        }
        wanted: list[Any] = [(shape, "validation") for shape in asked if shape is not None]
        wanted += [(shape, "serialization") for shape in told]
        wanted.append((Problem, "validation"))  # its `field` may be left out
        wanted.sort(key=lambda pair: str(pair[0].__name__))
        self._refs, found = models_json_schema(wanted, ref_template=_REF)
        self.components: dict[str, Json] = found["$defs"]
        self._queries = {
            item.query: self.components.pop(self._name(item.query))
            for item in {item.query: item for item in operations}.values()
            if item.query is not None
        }

    def _name(self, shape: type[BaseModel]) -> str:
        return str(self._refs[shape, "validation"]["$ref"]).rpartition("/")[2]

    def body(self, shape: type[BaseModel]) -> Json:
        """A reference to what is asked, or may have parts left out."""
        return self._refs[shape, "validation"]

    def answer(self, shape: type[BaseModel]) -> Json:
        """A reference to what is told."""
        return self._refs[shape, "serialization"]

    def parameters(self, shape: type[BaseModel]) -> list[Json]:
        """The members of a query, as parameters of the address."""
        query = self._queries[shape]
        return [
            _parameter("query", name, schema, required=name in query.get("required", ()))
            for name, schema in query["properties"].items()
        ]


def _operation(item: Operation, schemas: _Schemas) -> Json:
    summary, _, more = cleandoc(item.view.__doc__ or "").partition("\n\n")
    parameters = [
        _parameter("path", name, {"type": "string", "minLength": 1}, required=True)
        for name in item.ids
    ]
    if item.query is not None:
        parameters += schemas.parameters(item.query)
    if not item.reads:
        key = {"type": "string", "minLength": 1, "maxLength": 255}
        told = "The same request under the same key is carried out once."
        parameters.append(
            _parameter("header", idempotency.FIELD, key | {"description": told}, required=False)
        )
    found: Json = {
        "operationId": item.name,
        "tags": [item.room],
        "summary": " ".join(summary.split()),
        "parameters": parameters,
        "responses": _responses(item, schemas),
        "security": _security(item),
    }
    if more:
        found["description"] = " ".join(more.split())
    if item.body is not None:
        content = {PARTS if item.parts else JSON: {"schema": schemas.body(item.body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _parameter(place: str, name: str, schema: Json, *, required: bool) -> Json:
    schema = {key: value for key, value in schema.items() if key != "title"}
    told = schema.pop("description", None)
    # That it may be left out is not told as null: there is none in an address.
    options = [one for one in schema.pop("anyOf", []) if one != {"type": "null"}]
    if options:
        schema.pop("default", None)
        schema |= options[0]
    found = {"name": name, "in": place, "required": required, "schema": schema}
    return found | ({"description": told} if told else {})


def _responses(item: Operation, schemas: _Schemas) -> Json:
    found: Json = {}
    for status, shape in sorted(item.answers.items()):
        told: Json = {"description": HTTPStatus(status).phrase}
        if isinstance(shape, tuple):
            told["content"] = {name: {"schema": {"type": "string"}} for name in shape}
        else:
            told["content"] = {JSON: {"schema": schemas.answer(shape)}}
        if status != OK:
            told["headers"] = {"Location": {"required": True, "schema": {"type": "string"}}}
        found[str(status)] = told
    problem = {"application/problem+json": {"schema": schemas.body(Problem)}}
    for status in _refusals(item):
        found[str(status)] = {"description": HTTPStatus(status).phrase, "content": problem}
    return found


def _refusals(item: Operation) -> list[int]:
    found = set(_ALWAYS)
    if item.body is not None:
        found |= {400, 413, 415}
    if not item.reads:
        found |= {400, 409, 413}
    return sorted(found)


def _security(item: Operation) -> list[Json]:
    scopes = ["api", "audit.read"] if item.reads else ["api"]
    return [{"basic": []}, *({"oauth2": [scope]} for scope in scopes)]

"""AuthZEN's paths: who asks, how much is read, and which half answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from govern import errors
from govern.web import guard
from govern.web.authzen import evaluation, metadata, search

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db import Database
    from govern.principal import Principal

    Answer = dict[str, Any]

blueprint = Blueprint("authzen", __name__)

MOST_BYTES = 4 * 1024 * 1024

# In the environment of a request: what stopped `front`, to be told here.
FAILURE = "govern.failure"


@blueprint.url_value_preprocessor
def _limit(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    # The first step of a request: whoever looks at its body afterwards meets the limit.
    request.max_content_length = MOST_BYTES


@blueprint.get("/.well-known/authzen-configuration")
@guard.public
def configuration() -> Answer:
    """Where to ask (AuthZEN §9)."""
    return metadata.document(guard.database().settings)


def _serve(path: str, answer: Callable[..., Answer | Response], name: str) -> None:
    """Answer questions sent by POST with an integration's credentials, and by no other way."""

    @guard.credentials
    def view() -> Answer | Response:
        if FAILURE in request.environ:
            raise request.environ[FAILURE]
        by: Principal = guard.integration()
        database: Database = guard.database()
        return answer(database, _body(), by=by)

    view.__doc__ = answer.__doc__
    blueprint.add_url_rule(path, name, view, methods=["POST"], provide_automatic_options=False)


def _asking(asked: type[evaluation.One | evaluation.Many]) -> Callable[..., Response]:
    def answer(database: Database, body: bytes, *, by: Principal) -> Response:
        told = evaluation.answer(database, asked(body), by=by)
        return Response(told, mimetype="application/json")

    answer.__doc__ = asked.__doc__
    return answer


def _body() -> bytes:
    if request.mimetype != "application/json":
        raise errors.Invalid("Send JSON, as Content-Type: application/json.")
    return request.get_data()


_serve("/access/v1/evaluation", _asking(evaluation.One), "evaluate")
_serve("/access/v1/evaluations", _asking(evaluation.Many), "evaluate_many")
_serve("/access/v1/search/subject", search.subjects, "search_subject")
_serve("/access/v1/search/resource", search.resources, "search_resource")
_serve("/access/v1/search/action", search.actions, "search_action")

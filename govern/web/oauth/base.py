"""What the endpoints of OAuth share: the blueprint, and how a public document may be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, jsonify, request

if TYPE_CHECKING:
    from typing import Any

    from flask import Response

blueprint = Blueprint("oauth", __name__)

MOST_BYTES = 64 * 1024


@blueprint.url_value_preprocessor
def _limit(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    # The first step of a request: whoever looks at its body afterwards meets the limit.
    request.max_content_length = MOST_BYTES


def document(content: dict[str, Any], *, seconds: int) -> Response:
    """A public JSON document, which anyone may read from any page and keep for a while."""
    return kept(jsonify(content), seconds=seconds)


def kept(answer: Response, *, seconds: int) -> Response:
    """Let anyone read this answer, from a page of any origin, and keep it for some seconds."""
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    answer.headers["Cache-Control"] = f"public, max-age={seconds}"
    return answer

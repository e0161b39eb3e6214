"""What the endpoints of OAuth share: the blueprint, and how a public document may be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, jsonify

if TYPE_CHECKING:
    from typing import Any

    from flask import Response

blueprint = Blueprint("oauth", __name__)


def document(content: dict[str, Any], *, seconds: int) -> Response:
    """A public JSON document, which anyone may read from any page and keep for a while."""
    return kept(jsonify(content), seconds=seconds)


def kept(answer: Response, *, seconds: int) -> Response:
    """Let anyone read this answer, from a page of any origin, and keep it for some seconds."""
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    answer.headers["Cache-Control"] = f"public, max-age={seconds}"
    return answer

"""AuthZEN's decisions in front of Flask: the same answers, without what only pages need.

The plain case alone is answered here: a question sent by POST as JSON of a known length, with an
id and secret (HTTP Basic). Every other request, and every one that is refused, is Flask's, which
gets it as it came.
"""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException

from govern import errors
from govern.access.evaluation import Credentials
from govern.identity import integrations
from govern.web import headers
from govern.web.authzen import evaluation
from govern.web.authzen.routes import FAILURE, MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from govern.db import Database

    Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_ASKED: dict[str, Callable[[bytes], evaluation.One | evaluation.Many]] = {
    "/access/v1/evaluation": evaluation.One,
    "/access/v1/evaluations": evaluation.Many,
}


def before(app: Wsgi, database: Database) -> Wsgi:
    """Answer plain questions, and leave all else to `app`."""

    def front(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        asked = _ASKED.get(environ["PATH_INFO"])
        if asked is None:
            return app(environ, start)
        length, credentials = _length(environ), _credentials(environ)
        if length is None or credentials is None:
            return app(environ, start)
        body = environ["wsgi.input"].read(length)
        try:
            told = evaluation.answer(database, asked(body), by=credentials)
        except Exception as error:  # noqa: BLE001 - the front has no words for what goes wrong
            if not isinstance(error, errors.GovernError | HTTPException):
                environ[FAILURE] = error  # not asked again: the database may be down
            environ["wsgi.input"] = io.BytesIO(body)
            return app(environ, start)
        integrations.touch(database, credentials.id)
        start("200 OK", [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(told))),
            *headers.of_programs(database.settings, environ.get("HTTP_X_REQUEST_ID", "")),
        ])  # fmt: skip
        return [told]

    return front


def _length(environ: dict[str, Any]) -> int | None:
    """How long the body is, if this is JSON by POST of an allowed length that is known."""
    if environ["REQUEST_METHOD"] != "POST" or environ.get("CONTENT_TYPE") != "application/json":
        return None
    given = environ.get("CONTENT_LENGTH", "")
    if not (given.isascii() and given.isdecimal()) or "HTTP_TRANSFER_ENCODING" in environ:
        return None
    length = int(given)
    return length if length <= MOST_BYTES else None


def _credentials(environ: dict[str, Any]) -> Credentials | None:
    """The id and secret that were sent (RFC 7617), if any."""
    scheme, _, encoded = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        who, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return Credentials(id=who, secret=secret) if who and colon else None

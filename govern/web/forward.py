"""Forward-auth: a proxy asks about each request of a user, and lets it through on 200 alone.

Who asks, and which request it is about, come in one header of the proxy's own making
(`X-Govern-Proxy: CLIENT_ID:SECRET METHOD HOST URI`), which no user can set without the secret.
Servers fold `X_Original_Uri` and `X-Original-Uri` into one, and the user's may win: so nothing else
is believed, but in a mode for proxies that cannot compose a header.

The answer is 200, 401, 403 or 5xx, without a body; whatever goes wrong, it is never 200. A decision
is on record before it leaves, and so is every refusal of a known proxy's user.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Blueprint, Response, request
from flask_login import current_user

from govern import clock, errors
from govern.access import evaluation, forwarding, names
from govern.access.evaluation import Question
from govern.access.forwarding import Asked, Rules, Unclear
from govern.audit import decisions
from govern.audit.decisions import AccessKind
from govern.web import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from govern.identity.subjects import Subject
    from govern.principal import Principal

    Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

blueprint = Blueprint("forward", __name__)

PATH = "/forward-auth"
_CHALLENGE = 'Bearer realm="govern"'
_BOUND = 4  # CLIENT_ID:SECRET METHOD HOST URI

_log = logging.getLogger(__name__)


def folded(app: Wsgi) -> Wsgi:
    """Let any request to `/forward-auth`, or below it, be one to that very address.

    A proxy may send the user's method, path, query and body along. They are not where the question
    is, and must lead neither to another route, nor to a redirect, nor to a form being read.
    """

    def fold(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == PATH or path.startswith(f"{PATH}/"):
            environ |= {"REQUEST_METHOD": "GET", "PATH_INFO": PATH, "QUERY_STRING": ""}
            for name in ("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING"):
                environ.pop(name, None)
        return app(environ, start)

    return fold


@blueprint.get(PATH, provide_automatic_options=False)
@guard.credentials
def answer() -> Response:
    """Whether the request that the proxy holds may go on."""
    if _unread("X-Govern-Proxy"):
        return _refused(None, HTTPStatus.FORBIDDEN, "request_unclear")
    credential, *origin = request.headers.get("X-Govern-Proxy", "").split(" ")
    client_id, _, secret = credential.partition(":")
    try:
        by = guard.known(client_id, secret)
    except errors.Unauthenticated:
        return _refused(None, HTTPStatus.UNAUTHORIZED, "proxy_unknown")
    with guard.database().glancing() as session:
        rules = forwarding.rules_of(session, by.id)
    try:
        asked = _asked(rules, origin)
    except Unclear:
        return _refused(by, HTTPStatus.FORBIDDEN, "request_unclear")
    if asked is None:
        return _refused(by, HTTPStatus.FORBIDDEN, "no_rule")
    user = _user()
    if user is None:
        unclear = HTTPStatus.FORBIDDEN, "request_unclear"
        nobody = HTTPStatus.UNAUTHORIZED, "not_signed_in"
        return _refused(by, *(unclear if _unread("Cookie") else nobody))
    return _decided(by, user, asked)


def _unread(name: str) -> bool:
    """Whether a header came with bytes beyond ASCII: the server gives it empty.

    Not to know the proxy, or the user, would send them to sign in again and again.
    """
    return request.headers.get(name) == ""


def _asked(rules: Rules | None, origin: list[str]) -> Asked | None:
    if rules is None:
        return None
    if rules.mode == "forwarded" and not origin:
        origin = [
            request.headers.get(f"X-Forwarded-{name}", "") for name in ("Method", "Host", "Uri")
        ]
    elif rules.mode == "forwarded" or len(origin) != _BOUND - 1:
        raise Unclear("origin")
    method, host, uri = origin
    return forwarding.meaning(rules, method=method, host=host, uri=uri)


@dataclass(frozen=True, kw_only=True)
class _User:
    """Whose request it is, and the session that says so."""

    subject: Subject
    session_id: str | None


def _user() -> _User | None:
    """Who sent the request that the proxy holds, with both factors shown; None otherwise.

    That they are suspended is the rule's to say. Credentials that were shown and do not count are
    not made up for by a cookie.
    """
    if request.authorization is not None or "Authorization" in request.headers:
        return None
    if not current_user.is_authenticated or current_user.caller.half_way:
        return None
    caller = current_user.caller
    return _User(subject=caller.subject, session_id=caller.principal.session)


def _decided(by: Principal, user: _User, asked: Asked) -> Response:
    """Ask the one rule; the decision is durable before its answer leaves."""
    question = Question(
        subject=user.subject.email, action=asked.action, kind=asked.kind, code=asked.code
    )
    decision = evaluation.decide(guard.database(), question, by=by)
    if decision.reason == "record_failed":
        return _told(HTTPStatus.SERVICE_UNAVAILABLE, decision.reason)
    if not decision.permit:
        return _told(HTTPStatus.FORBIDDEN, decision.reason, decision.id)
    project = asked.code
    if asked.kind != "project" and decision.project_id is not None:
        with guard.database().reading() as session:
            project = names.of(session, [decision.project_id])[decision.project_id]
    response = _told(HTTPStatus.OK, None, decision.id)
    response.headers["X-Auth-User"] = _plain(user.subject.external_id)
    response.headers["X-Auth-Project"] = _plain(project)
    return response


def _refused(by: Principal | None, status: HTTPStatus, reason: str) -> Response:
    """Refuse without asking the rule, and leave a row of it; it is refused also without the row."""
    row = {
        "at": clock.utcnow(), "kind": AccessKind.REFUSAL,
        "principal": by.id if by else "anonymous", "session_id": None,
        "subject_id": None, "client_id": None, "resource_id": None, "action": PATH,
        "permit": False, "reason": reason, "as_of": None, "house_as_of": None, "worked_at": None,
        "detail": None,
    }  # fmt: skip
    try:
        (row_id,) = decisions.write(guard.database(), [row])
    except errors.RecordFailed:
        _log.exception("a refusal could not be recorded")
        return _told(status, reason)
    return _told(status, reason, row_id)


def _told(status: HTTPStatus, reason: str | None, row_id: str | None = None) -> Response:
    response = Response(status=status)
    del response.headers["Content-Type"]
    if reason is not None:
        response.headers["X-Deny-Reason"] = reason
    if row_id is not None:
        response.headers["X-Decision-Id"] = row_id
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = _CHALLENGE
    return response


def _plain(value: str) -> str:
    """A value as a header can carry it: UTF-8, percent-encoded but for printable ASCII."""
    return quote(value, safe="!#$&'()*+,/:;=?@[]~ ")

"""What the web calls the domain's errors: one table of statuses, told in the caller's own shape.

Programs that ask for decisions read `{"error": …}` (AuthZEN), OAuth clients the codes of RFC 6749,
callers of `/api/` problem+json (RFC 9457), people a page. A refusal leaves its row in the access
log. What nobody foresaw is answered with 500 and no details; nothing is ever let through by an
error.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import Response, g, make_response, redirect, render_template, request
from flask_babel import gettext
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from markupsafe import escape
from sqlalchemy import exc as sa_exc
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from govern import clock, errors, permissions
from govern.audit import decisions
from govern.audit.decisions import AccessKind
from govern.identity import integrations
from govern.web import guard, headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.typing import ResponseReturnValue

    from govern.principal import Principal

STATUS: dict[type[errors.GovernError], int] = {
    errors.Invalid: 422,
    errors.UnknownPeople: 422,
    errors.WindowInvalid: 422,
    errors.Unknown: 404,
    errors.Unauthenticated: 401,
    errors.SignInFailed: 401,
    errors.TooManyAttempts: 429,
    errors.Forbidden: 403,
    errors.FactorRequired: 403,
    errors.FreshFactorRequired: 403,
    errors.SamePerson: 403,
    errors.Conflict: 409,
    errors.AlreadyExists: 409,
    errors.AlreadyEnded: 409,
    errors.Held: 409,
    errors.NeedsSecondPerson: 409,
    errors.ReturnsUnlisted: 409,
    errors.Stale: 409,
    errors.Brake: 409,
    errors.Unavailable: 503,
    errors.Busy: 503,
    errors.RecordFailed: 503,
    errors.LogDamaged: 503,
}
FOR_PROGRAMS = {422: 400}  # what makes no sense is a bad request there
# RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1.
IN_OAUTH = {
    401: "invalid_client",
    403: "insufficient_scope",
    500: "server_error",
    503: "temporarily_unavailable",
}

# What the error page has words for; any other status borrows those of its class.
_PAGE_WORDS = frozenset({400, 403, 404, 405, 409, 413, 429, 500, 503})
_BASIC, _BEARER = 'Basic realm="govern", charset="UTF-8"', 'Bearer realm="govern"'
_OUR_FAULT = "Something broke on our side. Nothing was carried out."
_NOT_READY = "The service cannot answer just now. Access is refused while this lasts."
_LAST_RESORT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>govern</title>
<h1>Something broke on our side</h1><p>Nothing was carried out. Quote {reference}.</p></html>"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An error as any shape tells it. `ours` when the sentence is the domain's, fit for a page."""

    status: int
    code: str
    sentence: str
    field: str | None = None
    ours: bool = False
    scopes: tuple[str, ...] = ()  # of which any one would do


def install(app: Flask) -> None:
    """Answer every error in the shape that the caller reads."""
    app.register_error_handler(errors.GovernError, _domain)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(sa_exc.OperationalError, _unreachable)
    app.register_error_handler(Exception, _unforeseen)


def in_words(error: errors.GovernError) -> str:
    """The error's sentence as the reader of a page speaks; programs are told in English."""
    return str(gettext(error.template, **error.values)) if error.template else ""


# --- what happened -----------------------------------------------------------------------------


def _domain(error: errors.GovernError) -> ResponseReturnValue:
    record_refusal(error)
    if _shape() is _page:
        if type(error) is errors.Unauthenticated:
            return _go_first("/sign-in")
        if isinstance(error, errors.FactorRequired) and _is_read():
            return _go_first("/account")
        if isinstance(error, errors.FreshFactorRequired) and _is_read():
            return _go_first(
                "/step-up"
            )  # a form's own page asks for the code: see pages.acting.act
    answer = _tell(Problem(
        status=STATUS[type(error)], code=error.code, field=error.field, ours=True,
        sentence=in_words(error) if _shape() is _page else error.message,
        scopes=_scopes(error),
    ))  # fmt: skip
    if isinstance(error, errors.TooManyAttempts | errors.Busy):
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def _scopes(error: errors.GovernError) -> tuple[str, ...]:
    """The scopes that would have let an integration pass, if that is what it lacks."""
    wanted = error.permission if isinstance(error, errors.Forbidden) else None
    return tuple(scope for scope in integrations.SCOPES if wanted in permissions.ROLES[scope])


def _http(error: HTTPException) -> ResponseReturnValue:
    """Werkzeug's own: no such address, wrong method, too large, a form without its token."""
    if isinstance(error, CSRFError):
        # Somebody sends our forms from elsewhere, or goes round them.
        record_refusal(errors.Forbidden("This form came without its token."))
    sentence = error.description or error.name
    if error.description == RequestEntityTooLarge.description and request.max_content_length:
        sentence = f"Send at most {request.max_content_length >> 10:,} KiB at once."
    answer = _tell(Problem(
        status=error.code or 500, code=re.sub(r"[^a-z]+", "_", error.name.lower()),
        sentence=sentence,
    ))  # fmt: skip
    for name, value in error.get_headers(request.environ):
        if name != "Content-Type":
            answer.headers[name] = value  # Allow, Retry-After
    return answer


def _unreachable(_: Exception) -> ResponseReturnValue:
    _log.exception("request %s: the database failed", headers.request_id())
    return _tell(Problem(status=503, code="unavailable", sentence=_NOT_READY))


def _unforeseen(_: Exception) -> ResponseReturnValue:
    _log.exception("request %s: %s %s", headers.request_id(), request.method, request.endpoint)
    return _tell(Problem(status=500, code="internal", sentence=_OUR_FAULT))


def _is_read() -> bool:
    return request.method in {"GET", "HEAD"}


def _go_first(place: str) -> ResponseReturnValue:
    """Send a person to show who they are, and back to the page that they wanted."""
    if "HX-Request" in request.headers:
        # A fragment cannot hold another page: the whole page is loaded anew, and sent there.
        return Response(status=401, headers={"HX-Refresh": "true"})
    wanted = "/"
    if _is_read():
        query = request.query_string.decode("latin-1")
        wanted = _local(quote(request.path) + (f"?{query}" if query else ""))
    return redirect(place if wanted == "/" else f"{place}?next={quote(wanted, safe='/')}", 303)


# --- how it is told ----------------------------------------------------------------------------


def _tell(problem: Problem) -> Response:
    return _shape()(problem)


def _shape() -> Callable[[Problem], Response]:
    if request.path.startswith(("/access/", "/.well-known/")):
        return _authzen
    if request.path == "/forward-auth":
        return _bare
    if request.path.startswith("/oauth/") and request.path != "/oauth/authorize":
        return _oauth
    return _problem_json if request.path.startswith(("/api/", "/logs/")) else _page


def _bare(problem: Problem) -> Response:
    """For a proxy, which knows refusals of two kinds and takes anything else for a fault."""
    known = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    broken = problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    status = problem.status if broken or problem.status in known else HTTPStatus.FORBIDDEN
    return _challenged(Response(status=status, headers={"X-Deny-Reason": problem.code}), problem)


def _authzen(problem: Problem) -> Response:
    status = FOR_PROGRAMS.get(problem.status, problem.status)
    return _challenged(make_response({"error": problem.sentence}, status), problem)


def _oauth(problem: Problem) -> Response:
    status = FOR_PROGRAMS.get(problem.status, problem.status)
    plain = problem.sentence.encode("ascii", "replace").decode().replace('"', "'")
    body = {"error": IN_OAUTH.get(status, "invalid_request"), "error_description": plain}
    answer = make_response(body, status)
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = _BASIC  # no token opens these (RFC 6749 §2.3.1)
    return answer


def _problem_json(problem: Problem) -> Response:
    body = {
        "type": f"urn:govern:error:{problem.code}",
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "detail": problem.sentence,
        "code": problem.code,
        "request_id": headers.request_id(),
        **({"field": problem.field} if problem.field is not None else {}),
    }
    answer = Response(json.dumps(body), problem.status, content_type="application/problem+json")
    return _challenged(answer, problem)


def _challenged(answer: Response, problem: Problem) -> Response:
    """Tell a program that was not let in how to show its credentials (RFC 9110 §11.6.1).

    Who came with a token is told whether the token is not good, or not enough (RFC 6750 §3.1), in
    no more detail than the answer itself has.
    """
    given = request.authorization
    bearing = given is not None and given.type == "bearer"
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        error = ', error="invalid_token"' if bearing else ""
        answer.headers["WWW-Authenticate"] = f"{_BASIC}, {_BEARER}{error}"
    elif answer.status_code == HTTPStatus.FORBIDDEN and bearing and problem.scopes:
        answer.headers["WWW-Authenticate"] = (
            f'{_BEARER}, error="insufficient_scope", scope="{" ".join(problem.scopes)}"'
        )
    return answer


def _page(problem: Problem) -> Response:
    broken = problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    try:
        page = render_template(
            "errors/error.html",
            status=problem.status if problem.status in _PAGE_WORDS else 500 if broken else 400,
            detail=problem.sentence if problem.ours else None,
            back_url=_back(),
            reference=headers.request_id() if broken else None,
        )
    except Exception:  # noqa: BLE001 - the last resort
        # The frame asks who is signed in; with the database gone, even that can fail.
        _log.exception("request %s: the error page failed", headers.request_id())
        page = _LAST_RESORT.format(reference=escape(headers.request_id()))
    return make_response(page, problem.status)


def _local(value: str) -> str:
    """A path of this host with its query; `/` for anything that could lead elsewhere."""
    return value if re.fullmatch(r"/(?!/)[\x21-\x5b\x5d-\x7e]*", value) else "/"


def _back() -> str | None:
    """Where the request came from, when that was a page of ours."""
    came_from = request.referrer or ""
    if not came_from.startswith(request.host_url):
        return None
    return _local(came_from[len(request.host_url) - 1 :])


# --- what stays on record ----------------------------------------------------------------------


def record_refusal(error: errors.GovernError) -> None:
    """Leave a row in the access log when someone was refused, or showed wrong credentials.

    It says who, on which route, and the opaque names in its address; never what a form held. To
    be asked to sign in, or for a fresh code, is no refusal.
    """
    shown = type(error) is errors.Unauthenticated and request.authorization is not None
    denied = isinstance(error, errors.Forbidden | errors.SignInFailed | errors.TooManyAttempts)
    if isinstance(error, errors.FreshFactorRequired) or not (shown or denied):
        return
    by = _caller()
    detail: dict[str, object] = {}
    if g.guard in {"signed_in", "either"} and request.view_args:
        # The address of a public page may be a secret itself: an activation link.
        detail["args"] = request.view_args
    claimed = request.authorization.username if request.authorization else None
    if by is None and claimed and re.fullmatch(r"int_[0-9a-z]{16,28}", claimed):
        detail["claimed"] = claimed
    rule = request.url_rule.rule if request.url_rule is not None else ""
    row = {
        "at": clock.utcnow(), "kind": AccessKind.REFUSAL,
        "principal": by.id if by else "anonymous", "session_id": by.session if by else None,
        "subject_id": None, "client_id": None, "resource_id": None,
        "action": f"{request.method} {rule}"[:80], "permit": False, "reason": error.code,
        "as_of": None, "house_as_of": None, "worked_at": None,
        "detail": json.dumps(detail, sort_keys=True) if detail else None,
    }  # fmt: skip
    try:
        decisions.write(guard.database(), [row])
    except errors.RecordFailed:
        # It is refused all the same.
        _log.exception("request %s: a refusal could not be recorded", headers.request_id())


def _caller() -> Principal | None:
    """The integration or person whose request this is, as far as they proved it."""
    if "integration" in g:
        integration: Principal = g.integration
        return integration
    if request.authorization is None and current_user.is_authenticated:
        return guard.principal()
    return None

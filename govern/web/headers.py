"""What every answer carries: a strict content policy, no caching, and the request's own id.

Scripts, styles and fonts come from this host alone, and nothing is kept by a browser or proxy but
static files, whose addresses change with their content, and what a view calls public.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flask import g, request

from govern.db import new_id

if TYPE_CHECKING:
    from typing import Any

    from flask import Flask, Response

    from govern.config import Settings

# `trusted-types htmx`: htmx's own extension (hx-csp) makes that one policy, and nobody another.
_SOURCES = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types htmx",
)
CONTENT_SECURITY_POLICY = "; ".join(_SOURCES)

ALWAYS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TWO_YEARS = 2 * 365 * 24 * 3600
_REQUEST_ID = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?")


def request_id() -> str:
    """What to quote about this request: the caller's own X-Request-ID, or one of ours."""
    found: str = g.request_id
    return found


def of_programs(settings: Settings, given: str) -> list[tuple[str, str]]:
    """What an answer to a program carries that is made outside Flask; `given` names the request."""
    found = [*ALWAYS.items(), ("X-Request-ID", _named(given)), ("Cache-Control", "no-store")]
    if settings.secure:
        found.append(("Strict-Transport-Security", f"max-age={TWO_YEARS}"))
    return found


def _named(given: str) -> str:
    return given if _REQUEST_ID.fullmatch(given) else new_id("req")


def csp_nonce() -> str:
    """A word new for each request, by which htmx tells the page's own markup from injected."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    nonce: str = g.csp_nonce
    return nonce


def may_send_to(response: Response, origin: str) -> Response:
    """Let the form of this one page be answered with a redirect to another origin."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.replace(
        "form-action 'self'", f"form-action 'self' {origin}"
    )
    return response


def install(app: Flask, settings: Settings) -> None:
    """Put the headers on every answer, errors included."""
    app.jinja_env.globals["csp_nonce"] = csp_nonce

    @app.before_request
    def name_the_request() -> None:
        g.request_id = _named(request.headers.get("X-Request-ID", ""))

    @app.after_request
    def add(response: Response) -> Response:
        for name, value in ALWAYS.items():
            response.headers.setdefault(name, value)
        if settings.secure:
            response.headers["Strict-Transport-Security"] = f"max-age={TWO_YEARS}"
        response.headers["X-Request-ID"] = request_id()
        if request.endpoint == "static":
            response.headers["Cache-Control"] = _caching(app)
        elif not response.headers.get("Cache-Control", "").startswith(("public", "private")):
            response.headers["Cache-Control"] = "no-store"
        return response

    @app.url_defaults
    def name_the_content(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static" and "v" not in values:
            values["v"] = _digest(Path(app.static_folder or "") / values["filename"])


def _caching(app: Flask) -> str:
    named = _digest(Path(app.static_folder or "") / (request.view_args or {})["filename"])
    if named is not None and request.args.get("v") == named:
        return f"public, max-age={TWO_YEARS // 2}, immutable"
    return "no-cache"  # it may be kept, and is asked for again each time


@cache
def _digest(path: Path) -> str | None:
    """A few letters that change with a file's content; None where there is no such file."""
    if not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]

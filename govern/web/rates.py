"""How often one caller may ask: nobody's script takes the service away from everybody else.

Counted in each process by person or integration, never by network address, of which none is kept.
Only requests whose caller proved who they are count, so no stranger uses up another's rate; wrong
passwords and codes have a throttle of their own in the database. Decisions, introspection and
forward-auth are not limited: to refuse them would stop people's work.
"""

from __future__ import annotations

import hashlib
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn

from flask import g, request
from flask_limiter import Limiter
from flask_login import current_user

from govern import errors

if TYPE_CHECKING:
    from flask import Flask, Response
    from flask_limiter import RequestLimit

# For each route.
PERSON = "600 per minute"
PROGRAM = "6000 per minute"
# What reads a whole log, or a whole file, for one request.
HEAVY = "30 per minute"
_HEAVY = ("auditor.export_done", "auditor.verify_done", "api.log_export")
_UNLIMITED = ("authzen", "forward")


def install(app: Flask) -> None:
    """Count every request but those that are never limited; `TooManyAttempts` beyond the rate."""
    limiter = Limiter(
        _caller, app=app, default_limits=[_rate], default_limits_deduct_when=_counts,
        storage_uri="memory://", on_breach=_refuse,
    )  # fmt: skip
    limiter.request_filter(_is_unlimited)


def _is_unlimited() -> bool:
    return (
        request.endpoint is None
        or request.endpoint in {"static", "oauth.introspect"}
        or request.blueprint in _UNLIMITED
        or _caller() == ""
    )


def _caller() -> str:
    """Whose request it claims to be; "" for nobody's, which is never counted."""
    given = request.authorization
    if g.get("guard") == "credentials":
        claimed = (given.token or given.username or "") if given is not None else ""
        return f"program:{hashlib.sha256(claimed.encode()).hexdigest()}" if claimed else ""
    if not current_user.is_authenticated:
        return ""
    return f"person:{current_user.caller.subject.id}"


def _rate() -> str:
    if request.endpoint in _HEAVY:
        return HEAVY
    return PROGRAM if g.get("guard") == "credentials" else PERSON


def _counts(response: Response) -> bool:
    return response.status_code != HTTPStatus.UNAUTHORIZED


def _refuse(limit: RequestLimit) -> NoReturn:
    wait = max(1, int(limit.reset_at - time.time()) + 1)
    raise errors.TooManyAttempts("That was asked too often. Wait a little.", retry_after=wait)

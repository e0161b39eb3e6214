"""Whom to tell of a weakness: `/.well-known/security.txt` (RFC 9116), once somebody is named.

It says that it holds for another month, counted anew each day: a file that someone has to renew by
hand is out of date when it is needed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flask import Blueprint, Response

from govern import clock, errors
from govern.web import guard

if TYPE_CHECKING:
    from flask import Flask

PATH = "/.well-known/security.txt"
_HOLDS = timedelta(days=30)

blueprint = Blueprint("contact", __name__)


@blueprint.get(PATH)
@guard.public
def security_txt() -> Response:
    """The file; `Unknown` while no contact is set (RFC 9116 §2.5.3 demands one)."""
    settings = guard.database().settings
    if not settings.security_contact:
        raise errors.Unknown("Nobody is named here: GOVERN_SECURITY_CONTACT is not set.")
    today = clock.utcnow().replace(hour=0, minute=0, second=0, microsecond=0)
    lines = (
        f"Contact: {settings.security_contact}",
        f"Expires: {today + _HOLDS:%Y-%m-%dT%H:%M:%SZ}",
        "Preferred-Languages: en",
        f"Canonical: {settings.public_url}{PATH}",
    )
    answer = Response("".join(f"{line}\n" for line in lines), mimetype="text/plain")
    answer.headers["Cache-Control"] = "public, max-age=3600"
    return answer


def install(app: Flask) -> None:
    """Put the file in its place."""
    app.register_blueprint(blueprint)

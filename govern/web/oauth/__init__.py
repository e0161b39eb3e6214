"""OAuth 2.0: how another system gets a token, has one checked, and takes one back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.web.oauth import consent, documents, endpoints
from govern.web.oauth.base import blueprint

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["consent", "documents", "endpoints", "install"]


def install(app: Flask) -> None:
    """Put the endpoints into the application."""
    app.register_blueprint(blueprint)
    # Credentials come with each request, not from a browser's memory: nobody can borrow them.
    for view in (endpoints.token, endpoints.introspect, endpoints.revoke):
        app.extensions["csrf"].exempt(view)

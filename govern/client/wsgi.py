"""A guard before a WSGI application: it asks, and calls the application only on a permit."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from govern.client.refusing import decide, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from govern.client.asking import Client, Question


class WsgiGuard:
    """`question(environ)` says what to ask for a request; None when that cannot be said: 403.

    The application finds the decision in `environ["govern.decision"]`.
    """

    def __init__(
        self,
        app: WSGIApplication,
        client: Client,
        question: Callable[[WSGIEnvironment], Question | None],
    ) -> None:
        self._app = app
        self._client = client
        self._question = question

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, or hand it on."""
        decision = decide(self._client, self._question(environ))
        if decision.permit:
            environ["govern.decision"] = decision
            return self._app(environ, start_response)
        status, headers, body = refusal(decision)
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

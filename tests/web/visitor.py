"""A visitor of the pages: a test client that fills forms as a browser does, token and all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from govern import clock
from govern.identity import sessions
from govern.web import guard
from tests.factory import PASSWORD

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from govern.identity.subjects import Subject
    from tests.factory import World

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


@dataclass
class Visitor:
    """One browser. `get` and `post` answer as Flask's test client does.

    Whoever sends a form before any page was opened has its token of the page `first`.
    """

    client: FlaskClient
    first: str = "/sign-in"
    _csrf: str = ""

    @classmethod
    def of(cls, app: Flask) -> Visitor:
        """A browser that nobody has used yet."""
        return cls(app.test_client())

    @property
    def csrf(self) -> str:
        """The token of forms, of the page opened last."""
        if not self._csrf:
            self.get(self.first)
        return self._csrf

    @csrf.setter
    def csrf(self, token: str) -> None:
        self._csrf = token

    def get(self, path: str, **more: Any) -> TestResponse:
        """Open a page, and keep its forms' token."""
        return self._kept(self.client.get(path, **more))

    def post(self, path: str, data: dict[str, Any] | None = None, **more: Any) -> TestResponse:
        """Send a form with the token of the page opened last."""
        return self._kept(
            self.client.post(path, data={"csrf_token": self.csrf, **(data or {})}, **more)
        )

    def _kept(self, answer: TestResponse) -> TestResponse:
        if answer.mimetype == "text/html":
            found = _TOKEN.search(answer.text)
            self._csrf = found[1] if found else self._csrf
        return answer

    def sign_in(self, world: World, subject: Subject) -> Visitor:
        """Go through both steps; the subject was activated (`world.activate`) before.

        The authenticator's code is that of the next step of time, since activation used this
        one's: the clock is held half a minute later for this one request.
        """
        self.get("/sign-in")
        answer = self.post("/sign-in", {"email": subject.email, "password": PASSWORD})
        assert answer.status_code in {302, 303}, answer.text
        self.get("/sign-in/code")
        later = clock.utcnow() + timedelta(seconds=30)
        with clock.at(later):
            answer = self.post("/sign-in/code", {"code": world.code(subject, at=later)})
        assert answer.status_code in {302, 303}, answer.text
        self.get("/account")
        return self

    def seated(self, world: World, subject: Subject) -> Visitor:
        """Signed in as by `sign_in`, with the same two operations but without their pages.

        For tests that are about what comes after; tests/web/test_auth.py goes through the pages.
        """
        assert subject.email is not None
        half = sessions.begin(world.store, subject.email, PASSWORD)
        later = clock.utcnow() + timedelta(seconds=30)
        with clock.at(later):
            code = world.code(subject, at=later)
            full = world.do(lambda session: sessions.show_factor(session, half, code))
        self.client.set_cookie(guard.COOKIE, full)
        # The frame of any page has the token, and this one asks the database nothing of its own.
        self.first, self._csrf = "/forgot", ""
        return self

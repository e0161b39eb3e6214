"""The guard: every route asks who is calling, unless it is public by name.

A view is for signed-in people by default; `public` and `credentials` mark the others, so a route
that nobody thought about refuses. The principal is made here once a request, and handed down.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from flask import current_app, g, request
from flask_login import LoginManager, UserMixin, current_user

from govern import errors
from govern.access import demands, tokens
from govern.identity import integrations, sessions, throttle

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flask import Flask
    from werkzeug.wrappers import Request

    from govern.access.demands import Factor
    from govern.db import Database
    from govern.identity.sessions import Caller
    from govern.principal import Principal

    View = TypeVar("View", bound=Callable[..., Any])

COOKIE = "session"
BROWSER = "browser"
# Where a factor is enrolled; whoever owes one to their role may go nowhere else.
_ENROLLING = ("/account", "/step-up", "/sign-in", "/sign-out")


def public(view: View) -> View:
    """Mark a view that anyone may call."""
    view.govern_guard = "public"  # type: ignore[attr-defined]  # our mark
    return view


def half_way(view: View) -> View:
    """Mark a view that a sign-in without its second factor may call."""
    view.govern_guard = "half_way"  # type: ignore[attr-defined]  # our mark
    return view


def credentials(view: View) -> View:
    """Mark a view that integrations call with their own credentials (see `integration`)."""
    view.govern_guard = "credentials"  # type: ignore[attr-defined]  # our mark
    return view


def while_suspended(view: View) -> View:
    """Mark a view that someone may call who is suspended themselves."""
    view.govern_while_suspended = True  # type: ignore[attr-defined]  # our mark
    return view


def either(view: View) -> View:
    """Mark a view for signed-in people, and for integrations with credentials (see `asker`)."""
    view.govern_guard = "either"  # type: ignore[attr-defined]  # our mark
    return view


class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """Flask-Login's view of a caller: its id is the opaque token of a session row.

    `owed` is what their role demands and they have not enrolled: until then they act in none.
    """

    def __init__(self, token: str, caller: Caller, owed: Factor | None = None) -> None:
        self.token = token
        self.caller = caller
        self.owed = owed

    def get_id(self) -> str:
        """The session's token, which names a row on the server and nothing else."""
        return self.token


def database() -> Database:
    """The application's database."""
    found: Database = current_app.extensions["govern"]
    return found


def caller() -> Caller:
    """Who is signed in; only behind the guard."""
    found: Caller = current_user.caller
    return found


def principal() -> Principal:
    """The principal to act as."""
    return caller().principal


def token() -> str:
    """The token of the present session."""
    found: str = current_user.token
    return found


def recognise(given: str) -> User | None:
    """Whose session this token names, if it is one that still counts."""
    if not given:
        return None
    with database().reading() as session:
        found = sessions.resume(session, given)
        if found is None:
            return None
        hold, owed = demands.binding(
            session, found.subject.id, found.principal.roles, after=found.signed_in_at
        )
        if hold.since is not None:
            return None  # a suspension of the person ends the sessions before it, lifted or not
        if hold.now:
            found = replace(found, principal=replace(found.principal, suspended=True))
        if owed is not None:
            found = replace(found, principal=replace(found.principal, roles=()))
    return User(given, found, owed)


def become(new_token: str) -> None:
    """Go on under another session token (or none, ""), and hand it to the browser."""
    user = recognise(new_token)
    if new_token and user is None:
        raise errors.Unauthenticated("Please sign in.")
    # Where Flask-Login keeps the caller of this request; its `login_user` would use a cookie.
    g._login_user = user or current_app.login_manager.anonymous_user()  # type: ignore[attr-defined]  # noqa: SLF001 - as said
    hand_over(new_token)


def hand_over(new_token: str) -> None:
    """Hand the browser a session token for its next request; who calls in this one stays."""
    g.session_token = new_token


def know_browser(subject_id: str = "") -> None:
    """Hand this browser what says that its owner proved themselves here: see `identity.throttle`.

    The caller, or whoever showed all that it takes without signing in.
    """
    subject_id = subject_id or principal().id
    with database().reading() as session:
        g.browser_known = throttle.know(session, subject_id)


def known_browser() -> str:
    """What `know_browser` handed it, if anything; it says nothing of who is calling now."""
    return request.cookies.get(cookie_name(BROWSER), "")


def cookie_name(name: str = COOKIE) -> str:
    """`__Host-` binds the cookie to this host and to HTTPS; plain HTTP is for this machine only."""
    return f"__Host-{name}" if database().settings.secure else name


def integration() -> Principal:
    """The integration whose secret (HTTP Basic) or own token (Bearer) came with the request.

    `Unauthenticated` when neither did, or it counts no more.
    """
    given = request.authorization
    if given is not None and given.type == "bearer":
        return _bearing(given.token or "")
    if given is None or given.type != "basic" or not given.username or given.password is None:
        raise errors.Unauthenticated("Please send your client id and secret (HTTP Basic).")
    return known(given.username, given.password)


def asker() -> Principal:
    """Whoever asks, where both may: credentials that came with the request go before a session."""
    return principal() if request.authorization is None else integration()


def known(client_id: str, secret: str) -> Principal:
    """The integration of this id and secret, or `Unauthenticated`: a wrong secret is counted."""
    try:
        with database().glancing() as session:  # one statement, which is planned already
            found = integrations.authenticate(session, client_id, secret)
    except errors.Unauthenticated:
        integrations.wrong(database(), client_id, secret)
        raise
    g.integration = found  # for the record of a refusal
    integrations.touch(database(), found.id)
    return found


def _bearing(token: str) -> Principal:
    """The integration that got this token for itself, with the scopes that the token has."""
    found = tokens.bearer(database(), token)
    if found is None:
        raise errors.Unauthenticated("This token is not good, or not meant for this service.")
    g.integration = found
    integrations.touch(database(), found.id)
    return found


def install(app: Flask) -> None:
    """Put the guard before every view."""
    login = LoginManager(app)
    login.session_protection = None  # sessions are rows of ours; Flask-Login's cookie is unused

    @login.request_loader  # type: ignore[untyped-decorator]  # Flask-Login has no types
    def load(request: Request) -> User | None:
        found = recognise(request.cookies.get(cookie_name(), ""))
        if found is not None and found.caller.unseen:
            sessions.touch(database(), found.caller.principal.session or "")
        return found

    @app.before_request
    def check() -> None:
        view = app.view_functions.get(request.endpoint or "")
        kind = getattr(view, "govern_guard", "signed_in")
        g.guard = kind
        if request.endpoint is None or request.endpoint == "static":
            return
        if kind in {"public", "credentials"}:
            return
        if kind == "either" and request.authorization is not None:
            return
        if not current_user.is_authenticated:
            raise errors.Unauthenticated("Please sign in.")
        if current_user.caller.half_way and kind != "half_way":
            raise errors.Unauthenticated("Please finish signing in.")
        if kind != "half_way":
            _refuse_bound(view)


def _refuse_bound(view: View | None) -> None:
    """Keep who is suspended to their status, and who owes their role a factor to its enrolment."""
    owed = current_user.owed
    if current_user.caller.principal.suspended:
        if not getattr(view, "govern_while_suspended", False):
            raise errors.Forbidden("Your own access is suspended: only your status is open to you.")
    elif owed is not None and not request.path.startswith(_ENROLLING):
        raise errors.FactorRequired(
            "Your role demands a passkey."
            if owed is demands.Factor.PHISHING_RESISTANT
            else "Your role demands a second factor: an authenticator app or a passkey."
        )

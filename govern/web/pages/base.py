"""What every page stands on: languages, what all templates may count on, and what people type."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from flask import g, request
from flask_babel import Babel, Domain, get_locale, refresh
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFProtect
from sqlalchemy.exc import SQLAlchemyError

from govern import clock, errors, languages, permissions, replica
from govern.access import asking, suspensions
from govern.audit import exports
from govern.db import together
from govern.identity import sessions, throttle
from govern.web import guard
from govern.web.pages import times

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import timedelta
    from typing import Any

    from babel.support import NullTranslations
    from flask import Flask, Response
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Inquiry, Session
    from govern.principal import Principal

T = TypeVar("T")

_LOCAL = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
_SEPARATORS = re.compile(r"[\s,.'’_\u00a0\u202f\u2009]")


def install(app: Flask) -> None:
    """Languages, forgery protection, what templates may use, and the session's cookie."""
    speaking = Babel(app, default_locale=languages.DEFAULT, locale_selector=_language)
    speaking.domain_instance = Catalogues()
    # A page has hundreds of sentences: whose language it is in is found out once for all.
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]  # of its extension
        lambda one: sentences().gettext(one),
        lambda one, several, number: sentences().ngettext(one, several, number),
        newstyle=True,
    )
    app.jinja_env.globals["_"] = app.jinja_env.globals["gettext"]
    # A token lives as long as the browser's form cookie: a form left open over lunch still works.
    app.config.setdefault("WTF_CSRF_TIME_LIMIT", None)
    CSRFProtect(app)
    app.jinja_env.globals.update(
        exact_words=times.exact,
        day_words=times.day,
        relative=times.relative,
        own_time=times.own_time,
        export_ready=export_ready,
        calling=calling,
    )

    @app.before_request
    def refuse_nul() -> None:
        # No text of ours holds one, and PostgreSQL would choke on it.
        if any("\0" in value for value in (*request.values.values(), request.path)):
            raise errors.Invalid(_("What was sent holds a NUL character."))

    @app.before_request
    def refuse_other_sites() -> None:
        # Beside the form's token: a browser says itself whose page sent it (Fetch Metadata).
        if request.method in {"GET", "HEAD", "OPTIONS"} or g.get("guard") == "credentials":
            return
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise errors.Forbidden(_("This form was sent by another site."))

    @app.context_processor
    def everywhere() -> dict[str, Any]:
        return {
            "viewer": viewer(),
            "lang": str(get_locale()),
            "dir": get_locale().text_direction,
            "owed_by_role": owed_by_role(),
            "copy_seen": g.get("copy_seen"),
            "example_world": guard.database().settings.example_accounts.exists(),
        }

    @app.after_request
    def hand_out(response: Response) -> Response:
        if "session_token" in g:
            _set_cookie(response, g.session_token)
        if g.get("browser_known"):
            _set_cookie(
                response, g.browser_known, guard.BROWSER, keep_for=throttle.BROWSER_KNOWN_FOR
            )
        return response


class Catalogues(Domain):  # type: ignore[misc]  # Flask-Babel has no types
    """Where Flask-Babel finds the sentences of the reader's language."""

    def get_translations(self) -> Any:
        """The catalogue of this request's language; English outside a request."""
        return languages.catalogue(str(get_locale() or languages.DEFAULT))


def sentences() -> NullTranslations:
    """The sentences of this request's language, for templates."""
    found: NullTranslations | None = g.get("sentences")
    if found is None:
        found = g.sentences = languages.catalogue(str(get_locale()))
    return found


def speak_anew() -> None:
    """Have what follows in this request said in the language that was chosen in it."""
    refresh()
    g.pop("sentences", None)


def _language() -> str:
    """What the reader chose, if they did; else the best that their browser asks for."""
    user = g.get("_login_user")  # a page about a failure may be drawn before anyone was looked up
    if user is not None and user.is_authenticated and user.caller.subject.language:
        return str(user.caller.subject.language)
    return request.accept_languages.best_match(languages.NAMES) or languages.DEFAULT


# --- what templates see ------------------------------------------------------------------------


def roles_of(by: Principal) -> list[str]:
    """The places in the navigation: a role's own, and one's projects for whoever holds none."""
    held = {} if by.suspended else {role.role: None for role in by.roles}
    return [role for role in ("admin", "auditor", "approver") if role in held] or ["contractor"]


def viewer() -> dict[str, Any] | None:
    """Who is signed in, for the frame of the page; None before the second factor."""
    # A page about a failure may be drawn before anyone was looked up, or without a database.
    user = g.get("_login_user")
    if user is None or not user.is_authenticated or user.caller.half_way:
        return None
    subject = user.caller.subject
    return {
        "name": subject.full_name,
        "email": subject.email,
        "roles": roles_of(user.caller.principal),
        "suspended": user.caller.principal.suspended,
    }


def export_ready() -> bool:
    """Whether an export waits for the viewer to fetch it; told on auditors' pages."""
    return _awaited()[1]


def calling() -> int:
    """How many requests wait for the viewer, for the navigation."""
    if "calling" in g:
        found: int = g.calling
        return found
    return _awaited()[0]


def _awaited() -> tuple[int, bool]:
    """How many requests wait for the viewer, and whether an export does; asked for once a page."""
    if "awaited" not in g:
        by = guard.principal()
        wanted: list[Inquiry[Any]] = [exports.unfetched(by=by)]
        if may_anywhere("request:approve"):
            wanted.append(asking.calls(by=by))
        try:
            with guard.database().reading() as session:
                ready, *calls = together(session, *wanted)
        except SQLAlchemyError:  # a page about a failure is drawn without its number
            ready, calls = False, []
        g.awaited = sum(calls), ready
    found: tuple[int, bool] = g.awaited
    return found


def know_calling(waiting: Iterable[bool]) -> None:
    """What a page that lists all that waits has counted itself: it need not be asked for again."""
    g.calling = sum(waiting)


def owed_by_role() -> str | None:
    """What the viewer must enrol before anything else, if anything."""
    user = g.get("_login_user")
    return getattr(user, "owed", None)


@contextmanager
def showing() -> Iterator[Session]:
    """A snapshot for a page that only shows; of the replica where there is one, and it says so."""
    with replica.reading(guard.database()) as session:
        late = replica.behind(session)
        if late is not None:
            g.copy_seen = {"as_of": replica.as_of(session), "seconds": late.total_seconds()}
        yield session


def held_since(session: OrmSession, subject_id: str) -> datetime | None:
    """When a suspension of a person last ended their sessions, if any of these could still be."""
    after = clock.utcnow() - sessions.LONGEST
    return suspensions.own_hold(session, subject_id, after=after).since


# --- what people type --------------------------------------------------------------------------


def typed(name: str) -> str:
    """A field of the form, without the space around it."""
    return request.form.get(name, "").strip()


def seen() -> str | None:
    """What the form's page said of the state that it changes; None of a form that says nothing."""
    return request.form.get("seen")


def instant(name: str, *, given: Mapping[str, str] | None = None) -> datetime | None:
    """`2026-11-21T09:30`, in UTC, of the form (or of `given`); None when left empty."""
    value = (request.form if given is None else given).get(name, "").strip()
    if not value:
        return None
    found: datetime | None = None
    with suppress(ValueError, errors.Invalid):
        when = datetime.fromisoformat(value)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
        found = clock.parse(when.isoformat(), field=name)
    if found is None or "T" not in value.replace(" ", "T"):
        raise errors.Invalid(
            _("“%(value)s” is not a date and time such as 2026-11-21T09:30.", value=value),
            field=name,
        )
    return found


def count(name: str) -> int:
    """A whole number of the form, however its thousands are set apart ("4,286", "4 286")."""
    value = _SEPARATORS.sub("", typed(name))
    if not (value.isascii() and value.isdigit() and len(value) <= 12):  # noqa: PLR2004 - any count
        raise errors.Invalid(_("“%(value)s” is not a whole number.", value=typed(name)), field=name)
    return int(value)


def local_path(value: str) -> str:
    """A path of this host, with its query; `/` for anything that could lead elsewhere."""
    return value if _LOCAL.fullmatch(value) else "/"


def page_url(**changes: str | None) -> str:
    """This page's address with some of its parameters changed, or left out (None)."""
    wanted = {**request.args.to_dict(), **changes}
    query = urlencode([(name, value) for name, value in wanted.items() if value])
    return f"{request.path}?{query}" if query else request.path


def next_url(after: str | None) -> str | None:
    """Where the next page of a keyset-paged list is; None when this one is the last."""
    return page_url(after=after) if after else None


def first_url() -> str | None:
    """Where the list begins, unless this is the beginning."""
    return page_url(after=None) if request.args.get("after") else None


def may(permission: str, client: str | None) -> bool:
    """Whether the caller holds a permission over a client (None: over everything)."""
    return permissions.covers(guard.principal(), permission, client)


def may_anywhere(permission: str) -> bool:
    """Whether the caller holds a permission over anything."""
    clients = permissions.scope(guard.principal(), permission)
    return clients is None or bool(clients)


# --- the session's cookie ----------------------------------------------------------------------


def _set_cookie(
    response: Response,
    token: str,
    cookie: str = guard.COOKIE,
    *,
    keep_for: timedelta | None = None,
) -> None:
    """Hand out the session's token, or take it back (empty); another cookie where told.

    The session's names no date: it goes with the browser at the latest, and the row on the server
    decides how long it is worth anything.
    """
    name, secure = guard.cookie_name(cookie), guard.database().settings.secure
    if token:
        response.set_cookie(
            name, token, keep_for, path="/", secure=secure, httponly=True, samesite="Lax"
        )
    else:
        response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="Lax")

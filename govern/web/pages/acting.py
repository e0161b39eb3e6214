"""How a form becomes an act.

`act` is the only way from a POST to an operation. It takes a fresh code when the form brings one,
runs the operation in one transaction, and answers a refusal with the form as it was filled. An act
that asks for a fresher factor answers with the step-up page, which carries the whole form along: so
nothing is typed twice, and nothing is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from flask import make_response, render_template, request
from flask_login import current_user

from govern import clock, errors, permissions
from govern.identity import federation, sessions
from govern.web import guard, problems
from govern.web.pages import base, passkeys
from govern.web.problems import STATUS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flask import Response
    from flask.typing import ResponseReturnValue
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.identity.federation import IdentityProvider
    from govern.principal import Principal

T = TypeVar("T")

# Fields that belong to one sending of a form, and are never carried to the next.
_OWN_FIELDS = {"csrf_token", "code", "step_up"} | passkeys.FIELDS


def require_fresh(session: OrmSession, by: Principal) -> None:
    """Ask for a factor of the last five minutes, for what the permissions' table does not name."""
    permissions.require_fresh(by, now=clock.now(session))


def act(
    work: Callable[[Session, Principal], T],
    *,
    done: Callable[[T], ResponseReturnValue],
    again: Callable[[dict[str, str]], ResponseReturnValue],
    title: str,
    cancel: str,
    before: Callable[[Principal], None] | None = None,
) -> ResponseReturnValue:
    """Carry out the form that was sent, once: `work(session, principal)` in one transaction.

    `done` answers for its result. `again` draws the form anew from `request.form` with one
    sentence a field (`""`: the whole); it gets the status of the error. `title` says on the
    step-up page what the code is for, and `cancel` is where its way back leads. `work` may run
    more than once (deadlocks), so it reads the form and calls operations, and nothing else; what
    takes long and must not be done with the database in hand (a password's hash) goes `before`.
    What the caller may not do or know of is raised on, to the page that says so.
    """
    try:
        _take_code()
    except errors.Unauthenticated as error:
        if isinstance(error, (errors.SignInFailed, errors.TooManyAttempts)):
            told = {"passkey" if passkeys.answer() else "code": problems.in_words(error)}
            if "step_up" in request.form:
                return refusal(error, step_up(title, cancel=cancel, errors=told))
            return refusal(error, again(told))
        raise
    by = guard.principal()
    try:
        if before is not None:
            before(by)
        result = guard.database().transaction(lambda session: work(session, by))
    except errors.FreshFactorRequired as error:
        return refusal(error, step_up(title, cancel=cancel))
    except (
        errors.Invalid, errors.Conflict, errors.SamePerson, errors.TooManyAttempts,
    ) as error:  # fmt: skip
        return refusal(error, again({error.field or "": problems.in_words(error)}))
    return done(result)


def _take_code() -> None:
    """Show the code or passkey that came with the form: a new session row, and a new cookie."""
    code, answer, token = base.typed("code"), passkeys.answer(), guard.token()
    if answer is not None:
        shown = guard.database().transaction(lambda s: sessions.show_passkey(s, token, answer))
    elif code:
        shown = guard.database().transaction(lambda s: sessions.show_factor(s, token, code))
    else:
        return
    guard.become(shown)


def refusal(error: errors.GovernError, page: ResponseReturnValue) -> Response:
    """A page that says what was wrong, with the status of the error; a refusal leaves its row."""
    problems.record_refusal(error)
    response = make_response(page)
    response.status_code = STATUS[type(error)]
    if isinstance(error, errors.TooManyAttempts):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def step_up(
    title: str,
    *,
    cancel: str,
    target: str | None = None,
    fields: Sequence[tuple[str, str]] | None = None,
    errors: Mapping[str, str] | None = None,
    back: str | None = None,
    fresh: bool = False,
) -> str:
    """Draw the page that asks for a fresh code and carries the half-filled form along.

    Who came by a provider that may prove it can go there and come `back`: to the form, which is
    kept meanwhile, unless told. `fresh` is the page when they have: it asks for nothing more.
    """
    if fields is None:
        fields = [
            (name, value)
            for name, value in request.form.items(multi=True)
            if name not in _OWN_FIELDS
        ]
    target = target or request.full_path.rstrip("?")
    ways = passkeys.ways(guard.principal().id)
    provider = None if fresh else _renewing()
    if provider is not None:
        form = sessions.HalfFilled(target=target, title=title, cancel=cancel, fields=tuple(fields))
        ways["codes"] = ways["has_app"]
        back = back or _kept(form)
    return render_template(
        "auth/step_up.html",
        act=title,
        target=target,
        fields=[*fields, ("step_up", "1")],
        errors=errors or {},
        cancel_url=cancel,
        fresh=fresh,
        provider=provider.name if provider is not None else None,
        provider_url=f"/step-up/provider?{urlencode({'next': back})}" if back else None,
        **ways,
    )


def _renewing() -> IdentityProvider | None:
    """The provider that may prove a fresh factor of the caller's, if they came by one."""
    with guard.database().reading() as session:
        return federation.renewing(session, by=guard.principal())


def _kept(form: sessions.HalfFilled) -> str:
    """Keep a half-filled form for who goes to their provider; returns where they find it."""
    by = guard.principal()
    return "/step-up/form/" + guard.database().transaction(
        lambda session: sessions.keep(session, form, by=by)
    )


def code_needed() -> bool:
    """Whether a weighty act would ask for a code now, so that the form can ask at once.

    Whoever has a passkey, or came by a provider that may prove a factor, is asked on a page of its
    own, where they may choose.
    """
    by = current_user.caller.principal
    if by.factor_at is not None and clock.utcnow() - by.factor_at <= permissions.FRESH:
        return False
    return not passkeys.enrolled(by.id) and _renewing() is None

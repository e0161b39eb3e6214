"""Single sign-on: to a provider and back, the link that proves an address, and being sent away.

What lies between leaving and coming back is a cookie of its own, sealed, which only this place
reads; it goes with the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import (
    Blueprint,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask_babel import gettext as _
from flask_login import current_user

from govern import errors
from govern.identity import federation
from govern.web import device, guard, problems
from govern.web.pages import acting, auth, base

if TYPE_CHECKING:
    from flask import Flask, Response
    from flask.typing import ResponseReturnValue

blueprint = Blueprint("single_sign_on", __name__)
_LARGEST = 32 * 1024


def _cookie() -> str:
    return guard.cookie_name("sso")


@blueprint.get("/sign-in/with/<provider>")
@guard.public
def depart(provider: str) -> ResponseReturnValue:
    """Send the browser to a provider; nothing is kept but what it carries itself.

    A link on another site leads to our own page first: nobody is signed in but by their own act.
    """
    wanted = request.args.get("next", "")
    return leave(provider, next=base.local_path(wanted) if wanted else "")


def leave(provider: str, *, next: str, renews: bool = False) -> ResponseReturnValue:
    """Send the browser to a provider, to sign in or to prove anew who is signed in."""
    if request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        if renews:
            return redirect(url_for("start.step_up", next=next))
        return redirect(url_for("auth.sign_in", next=next or None))
    try:
        found = federation.depart(guard.database(), provider, next=next, renews=renews)
    except errors.SignInFailed as error:
        return _refused(error)
    answer = redirect(found.address)
    answer.set_cookie(
        _cookie(), found.transaction, max_age=federation.LIFE, path="/", httponly=True,
        secure=guard.database().settings.secure,
        samesite="Lax",  # it comes back with a link from the provider's site
    )  # fmt: skip
    return answer


@blueprint.get("/sign-in/from/<provider>")
@guard.public
def arrive(provider: str) -> ResponseReturnValue:
    """Take the provider's answer: the one GET that signs in, as the protocol has it.

    That it is this browser's own is shown by the cookie, as a form's token would.
    """
    transaction = request.cookies.get(_cookie(), "")
    back = federation.renews(guard.database(), transaction)
    try:
        found = federation.arrive(
            guard.database(),
            provider,
            transaction=transaction,
            answer=request.args.to_dict(),
            present=guard.token() if current_user.is_authenticated else "",
            browser=guard.known_browser(),
            device=device.word(),
        )
    except errors.Unauthenticated as error:
        if back is not None:
            flash(
                _("Your provider did not prove it anew. Nothing is lost: try once more."), "error"
            )
            problems.record_refusal(error)
            return _over(redirect(back, 303))
        if isinstance(error, errors.SignInFailed):
            return _over(_refused(error))
        raise
    if back is not None:
        guard.become(found.token)
        return _over(redirect(found.next or "/", 303))
    auth.end_present()
    session.clear()  # forms opened before the sign-in no longer count
    guard.become(found.token)
    if current_user.caller.half_way:
        return _over(redirect(auth.code_address(found.next), 303))
    guard.know_browser()
    return _over(redirect(found.next or "/", 303))


@blueprint.get("/sign-in/link/<token>")
@guard.public
def link(token: str) -> ResponseReturnValue:
    """Show what a mailed link would link to whom."""
    with guard.database().reading() as s:
        try:
            _offer, subject, provider = federation.open_offer(s, token)
        except errors.Unknown:
            return _dead()
    return render_template(
        "auth/link.html", token=token, email=subject.email, provider=provider.name
    )


@blueprint.post("/sign-in/link/<token>")
@guard.public
def link_done(token: str) -> ResponseReturnValue:
    """Link, once; one still signs in afterwards."""
    try:
        guard.database().transaction(lambda s: federation.accept(s, token))
    except (errors.Unknown, errors.AlreadyExists):
        return _dead()
    flash(_("The two are linked. Sign in to begin."), "success")
    # Not on to the provider at once: browsers hold a form's redirects to the form's own policy.
    return redirect("/sign-in", 303)


@blueprint.post("/sign-in/log-out/<provider>")
@guard.public
def log_out(provider: str) -> ResponseReturnValue:
    """End what a provider's logout token names (OpenID Connect Back-Channel Logout 1.0 §2.5)."""
    if (request.content_length or 0) > _LARGEST:
        return {"error": "invalid_request"}, 413
    token = request.form.get("logout_token", "")
    try:
        federation.log_out(guard.database(), provider, token)
    except errors.Invalid as error:
        return {"error": "invalid_request", "error_description": error.message}, 400
    return "", 200


def install(app: Flask) -> None:
    """A provider has no form of ours: what it sends is signed, and nothing a browser remembers."""
    app.extensions["csrf"].exempt(log_out)


def _refused(error: errors.SignInFailed) -> Response:
    return acting.refusal(
        error, render_template("auth/refused.html", detail=problems.in_words(error))
    )


def _over(response: ResponseReturnValue) -> Response:
    """The answer came: what was kept for it goes."""
    answer = make_response(response)
    answer.delete_cookie(
        _cookie(), path="/", httponly=True, secure=guard.database().settings.secure, samesite="Lax"
    )
    return answer


def _dead() -> ResponseReturnValue:
    return render_template("auth/link.html", token="", email="", provider=""), 404

"""A forgotten password: one answer for every address, and a link that asks for a factor too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import errors
from govern.identity import activation, passwords, resets
from govern.web import guard, problems
from govern.web.pages import acting, base, passkeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

blueprint = Blueprint("reset", __name__)


@blueprint.get("/forgot")
@guard.public
def forgot() -> ResponseReturnValue:
    """Ask for the address; or say what to do where no mail goes out."""
    return _forgot_page("ask" if guard.database().settings.smtp_url else "no_mail")


@blueprint.post("/forgot")
@guard.public
def forgot_done() -> ResponseReturnValue:
    """Answer alike, whoever's address it is."""
    if not guard.database().settings.smtp_url:
        return _forgot_page("no_mail")
    email = base.typed("email")[:254]
    guard.database().transaction(lambda session: resets.ask(session, email))
    return _forgot_page("sent")


def _forgot_page(step: str) -> str:
    return render_template("auth/forgot.html", step=step, form={}, errors={})


@blueprint.get("/reset/<token>")
@guard.public
def reset(token: str) -> ResponseReturnValue:
    """Ask for a new password and for a second factor."""
    return _reset_page(token, {})


@blueprint.post("/reset/<token>")
@guard.public
def reset_done(token: str) -> ResponseReturnValue:
    """Set the password, if the factor is right."""
    password = request.form.get("password", "")
    if password != request.form.get("password_again", ""):
        return _reset_page(token, {"password_again": _("The two are not the same.")}, status=422)
    answer, code = passkeys.answer(), base.typed("code")
    try:
        with guard.database().reading() as session:
            subject = resets.find(session, token)[1]
        hashed = activation.hash_password(password, of=subject)
        guard.database().transaction(
            lambda s: resets.complete(s, token, password_hash=hashed, code=code, answer=answer)
        )
    except errors.Invalid as error:
        return _reset_page(token, {"password": problems.in_words(error)}, status=422)
    except (errors.SignInFailed, errors.TooManyAttempts) as error:
        field = "passkey" if answer else "code"
        return acting.refusal(error, _reset_page(token, {field: problems.in_words(error)}))
    except (errors.Unknown, errors.AlreadyEnded):
        return _dead()
    guard.know_browser(subject.id)
    flash(_("Your password is changed. Sign in with it."), "success")
    return redirect("/sign-in", 303)


def _reset_page(token: str, wrong: Mapping[str, str], *, status: int = 200) -> ResponseReturnValue:
    with guard.database().reading() as session:
        try:
            subject = resets.find(session, token)[1]
        except errors.Unknown:
            return _dead()
    page = render_template(
        "auth/reset.html", step="ask", token=token, email=subject.email, errors=wrong,
        password_min=passwords.MIN_LENGTH,
        passkey=passkeys.ways(subject.id, verified=True)["passkey"],
    )  # fmt: skip
    return page, status


def _dead() -> ResponseReturnValue:
    return render_template("auth/reset.html", step="dead", token="", email="", errors={}), 404

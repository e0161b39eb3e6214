"""Signing in and out, and the first time here: password, authenticator app, recovery codes.

Nobody learns from these pages whether an address is known. What lies between the steps of an
activation travels sealed in the form, bound to its link: not in an address, not in a cookie.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import segno
from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask_babel import gettext as _
from flask_login import current_user

from govern import errors, sealing
from govern.identity import (
    activation,
    authenticators,
    federation,
    passwords,
    recovery,
    sessions,
)
from govern.identity.passkeys import Answer
from govern.web import device, guard, problems
from govern.web.pages import acting, base, passkeys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from flask.typing import ResponseReturnValue

    from govern.db import Session

blueprint = Blueprint("auth", __name__)


def _next() -> str:
    """Where to go after signing in; "" for wherever one's role leads."""
    wanted = request.values.get("next", "")
    return base.local_path(wanted) if wanted else ""


# --- signing in --------------------------------------------------------------------------------


@blueprint.get("/sign-in")
@guard.public
def sign_in() -> ResponseReturnValue:
    """Ask who, and for the password."""
    if current_user.is_authenticated:
        return redirect(url_for(".code", next=_next()) if _half_way() else _next() or "/")
    return _sign_in_page({})


@blueprint.post("/sign-in")
@guard.public
def sign_in_done() -> ResponseReturnValue:
    """Check address and password; the session that follows may do nothing but show a code."""
    try:
        token = sessions.begin(
            guard.database(),
            base.typed("email"),
            request.form.get("password", ""),
            browser=guard.known_browser(),
            device=device.word(),
        )
    except (errors.SignInFailed, errors.TooManyAttempts) as error:
        return acting.refusal(error, _sign_in_page({"": problems.in_words(error)}))
    end_present()
    guard.hand_over(token)
    return redirect(url_for(".code", next=_next()), 303)


@blueprint.post("/sign-in/passkey")
@guard.public
def sign_in_with_passkey() -> ResponseReturnValue:
    """Sign in by a passkey alone, whose device recognised its owner: the session is whole."""
    answer, seen = passkeys.answer() or Answer("", "", ""), device.word()
    browser = guard.known_browser()
    try:
        token = guard.database().transaction(
            lambda s: sessions.begin_with_passkey(s, answer, browser=browser, device=seen)
        )
    except (errors.SignInFailed, errors.TooManyAttempts) as error:
        return acting.refusal(error, _sign_in_page({"": problems.in_words(error)}))
    end_present()
    session.clear()  # forms opened before the sign-in no longer count
    guard.become(token)
    guard.know_browser()
    return redirect(_next() or "/", 303)


@blueprint.get("/sign-in/code")
@guard.half_way
def code() -> ResponseReturnValue:
    """Ask for the second factor."""
    return _code_page({}) if _half_way() else redirect(_next() or "/")


@blueprint.post("/sign-in/code")
@guard.half_way
def code_done() -> ResponseReturnValue:
    """Take a code, a recovery code or a passkey: the session is whole, under a new token."""
    if not _half_way():
        return redirect(_next() or "/", 303)
    answer, token = passkeys.answer(), guard.token()
    field = "recovery_code" if "recovery_code" in request.form else "passkey" if answer else "code"
    shown, browser = base.typed(field), guard.known_browser()

    def show(s: Session) -> str:
        if answer is not None:
            return sessions.show_passkey(s, token, answer, browser=browser)
        return sessions.show_factor(s, token, shown, browser=browser)

    try:
        token = guard.database().transaction(show)
    except (errors.SignInFailed, errors.TooManyAttempts) as error:
        return acting.refusal(error, _code_page({field: problems.in_words(error)}))
    session.clear()  # forms opened before the sign-in no longer count
    guard.become(token)
    guard.know_browser()
    return redirect(_next() or "/", 303)


@blueprint.post("/sign-out")
@guard.half_way
def sign_out() -> ResponseReturnValue:
    """End this session, on the server too; half a sign-in can be given up as well."""
    end_present()
    session.clear()
    guard.become("")
    return redirect(url_for(".sign_in"), 303)


def _half_way() -> bool:
    return bool(current_user.caller.half_way)


def code_address(wanted: str) -> str:
    """Where the second factor is asked for, on the way to a page."""
    return url_for("auth.code", next=wanted)


def end_present() -> None:
    """End the session that this browser brought along, if any."""
    if not current_user.is_authenticated:
        return
    by = guard.principal()
    guard.database().transaction(lambda s: sessions.end(s, by.session or "", by=by))


def _sign_in_page(wrong: Mapping[str, str]) -> str:
    with guard.database().reading() as s:
        providers = [(provider.id, provider.name) for provider in federation.offered(s)]
    return render_template(
        "auth/sign_in.html",
        form={"email": base.typed("email")},
        errors=wrong,
        next=_next(),
        providers=providers,
        passkey=passkeys.anyone(),
    )


def _code_page(wrong: Mapping[str, str]) -> str:
    return render_template(
        "auth/second_factor.html",
        email=guard.caller().subject.email,
        errors=wrong,
        next=_next(),
        **passkeys.ways(guard.principal().id),
    )


# --- the first time, and after a recovery ------------------------------------------------------


def _door() -> ModuleType:
    """Whose link it is: both lead through the same three steps."""
    return recovery if request.path.startswith("/recover/") else activation


@blueprint.get("/recover/<token>", endpoint="recover")
@blueprint.get("/activate/<token>")
@guard.public
def activate(token: str) -> ResponseReturnValue:
    """Show the first step of a link that still works."""
    return _activation_page(token, "password")


@blueprint.post("/recover/<token>", endpoint="recover_done")
@blueprint.post("/activate/<token>")
@guard.public
def activate_done(token: str) -> ResponseReturnValue:
    """Take one step: a password, then the first code, then that the recovery codes are kept."""
    steps = {
        "password": _choose_password,
        "authenticator": _confirm_authenticator,
        "recovery": _keep_codes,
    }
    step = steps.get(request.form.get("step", ""))
    if step is None:
        raise errors.Invalid("step: there is no such step", field="step")
    return step(token)


def _choose_password(token: str) -> ResponseReturnValue:
    password = request.form.get("password", "")
    if password != request.form.get("password_again", ""):
        return _activation_page(
            token, "password", {"password_again": _("The two are not the same.")}, status=422
        )
    try:
        with guard.database().reading() as s:
            subject = _door().find(s, token)[1]
        hashed = activation.hash_password(password, of=subject)
    except (errors.Unknown, errors.Stale) as error:
        return _dead(error)
    except errors.Invalid as error:
        return _activation_page(
            token, "password", {"password": problems.in_words(error)}, status=422
        )
    kept = {"hash": hashed, "seed": authenticators.new_seed()}
    return _activation_page(token, "authenticator", kept=kept)


def _confirm_authenticator(token: str) -> ResponseReturnValue:
    kept = _unsealed(token)
    try:
        subject, codes = guard.database().transaction(
            lambda s: _door().complete(
                s, token, password_hash=kept["hash"], seed=kept["seed"], code=base.typed("code")
            )
        )
    except errors.Invalid as error:
        return _activation_page(
            token, "authenticator", {"code": problems.in_words(error)}, kept=kept, status=422
        )
    except (errors.Unknown, errors.Conflict) as error:
        return _dead(error)
    guard.know_browser(subject.id)
    return _recovery_page(token, {"email": subject.email, "codes": codes})


def _keep_codes(token: str) -> ResponseReturnValue:
    kept = _unsealed(token)
    if request.form.get("saved") != "yes":
        return _recovery_page(
            token, kept, {"saved": _("Please keep them first: they are never shown again.")}
        )
    flash(_("Your account is ready. Sign in to begin."), "success")
    return redirect(url_for(".sign_in"), 303)


def _activation_page(
    token: str,
    step: str,
    wrong: Mapping[str, str] | None = None,
    *,
    kept: dict[str, Any] | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    with guard.database().reading() as s:
        try:
            subject = _door().find(s, token)[1]
        except (errors.Unknown, errors.Stale) as error:
            return _dead(error)
    more: dict[str, Any] = {}
    if kept is not None:
        address = authenticators.provisioning_uri(kept["seed"], subject)
        more = {
            "sealed": _sealed(token, kept),
            "qr": segno.make(address, error="m").svg_data_uri(scale=5, border=4),
            "secret": " ".join(kept["seed"][i : i + 4] for i in range(0, len(kept["seed"]), 4)),
        }
    page = render_template(
        "auth/activate.html", step=step, token=token, recovers=_door() is recovery,
        email=subject.email, errors=wrong or {},
        password_min=passwords.MIN_LENGTH, **more,
    )  # fmt: skip
    return page, status


def _recovery_page(
    token: str, kept: dict[str, Any], wrong: Mapping[str, str] | None = None
) -> ResponseReturnValue:
    page = render_template(
        "auth/activate.html", step="recovery", token=token, recovers=_door() is recovery,
        email=kept["email"],
        codes=kept["codes"], sealed=_sealed(token, kept), errors=wrong or {},
    )  # fmt: skip
    return page, 422 if wrong else 200


def _dead(error: errors.GovernError) -> ResponseReturnValue:
    early = problems.in_words(error) if isinstance(error, errors.Stale) else ""
    page = render_template(
        "auth/activate.html", step="dead", token="", email="", early=early, errors={}
    )
    return page, 404


def _place(token: str) -> str:
    return f"activation.form:{hashlib.sha256(token.encode()).hexdigest()}"


def _sealed(token: str, kept: dict[str, Any]) -> str:
    """What the next step needs, readable by us alone and for this link alone."""
    return sealing.seal_form(guard.database().settings, kept, place=_place(token))


def _unsealed(token: str) -> dict[str, Any]:
    found: dict[str, Any] | None = sealing.open_form(
        guard.database().settings, request.form.get("sealed", ""), place=_place(token)
    )
    if found is None:
        raise errors.Invalid(
            "This form was changed on its way, or is of another link. Open the link again.",
            field="sealed",
        )
    return found

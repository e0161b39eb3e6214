"""One's own authenticators: apps and passkeys are added, named and removed by whoever holds them.

Each change takes a fresh factor and ends one's other sessions. Between the two steps of adding an
app its seed travels sealed in the form, for this person alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import segno
from flask import Blueprint, redirect, render_template, request, url_for
from flask_babel import gettext as _

from govern import clock, errors, permissions, sealing
from govern.identity import account, authenticators
from govern.identity import passkeys as keys
from govern.identity.passkeys import Answer
from govern.web import guard
from govern.web.pages import acting, base, contractor, passkeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

blueprint = Blueprint("authenticators", __name__)


# --- passkeys ----------------------------------------------------------------------------------


@blueprint.get("/account/passkeys/new")
def new_passkey() -> ResponseReturnValue:
    """Ask for a name and for a new passkey, after a fresh factor."""
    return _later() or _passkey_page({})


@blueprint.post("/account/passkeys")
def add_passkey() -> ResponseReturnValue:
    """Take the passkey that the browser made."""
    answer = passkeys.answer("new_passkey") or Answer("", "", "")
    return acting.act(
        lambda session, by: account.add_passkey(session, answer, name=base.typed("name"), by=by),
        done=lambda _none: contractor.done(
            _("Your passkey is added. Your other sessions have ended.")
        ),
        again=_passkey_page,
        title=_("Add a passkey"),
        cancel="/account",
    )


def _passkey_page(wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    asked = None
    with guard.database().reading() as session:
        if keys.available(guard.database().settings):
            asked = account.ask_for_passkey(session, browser=passkeys.browser(), by=by)
    return render_template(
        "contractor/passkey.html", passkey=asked, form={"name": base.typed("name")}, errors=wrong
    )


# --- authenticator apps ------------------------------------------------------------------------


@blueprint.get("/account/apps/new")
def new_app() -> ResponseReturnValue:
    """Show a new secret, to be scanned or typed, after a fresh factor."""
    return _later() or _app_page(authenticators.new_seed(), {})


@blueprint.post("/account/apps")
def add_app() -> ResponseReturnValue:
    """Take the app that shows the right first code."""
    seed = _unsealed(request.form.get("sealed", ""))
    return acting.act(
        lambda session, by: account.add_totp(
            session, seed=seed, code=base.typed("first_code"), name=base.typed("name"), by=by
        ),
        done=lambda _none: contractor.done(
            _("Your authenticator app is added. Your other sessions have ended.")
        ),
        again=lambda wrong: _app_page(seed, wrong),
        title=_("Add an authenticator app"),
        cancel="/account",
    )


def _app_page(seed: str, wrong: Mapping[str, str]) -> str:
    address = authenticators.provisioning_uri(seed, guard.caller().subject)
    return render_template(
        "contractor/app.html",
        qr=segno.make(address, error="m").svg_data_uri(scale=5, border=4),
        secret=" ".join(seed[i : i + 4] for i in range(0, len(seed), 4)),
        sealed=sealing.seal_form(guard.database().settings, seed, place=_place()),
        form={"name": base.typed("name")},
        errors=wrong,
    )


def _place() -> str:
    return f"totp.form:{guard.principal().id}"


def _unsealed(sealed: str) -> str:
    seed = sealing.open_form(guard.database().settings, sealed, place=_place())
    if not isinstance(seed, str):
        raise errors.Invalid(
            "This form was changed on its way, or is someone else's. Begin again.", field="sealed"
        )
    return seed


# --- both --------------------------------------------------------------------------------------


@blueprint.post("/account/authenticators/<authenticator_id>/rename")
def rename(authenticator_id: str) -> ResponseReturnValue:
    """Call one of one's own something else."""
    return acting.act(
        lambda session, by: account.rename(
            session, authenticator_id, name=base.typed("name"), seen=base.seen(), by=by
        ),
        done=lambda _none: contractor.done(_("It has its new name.")),
        again=lambda wrong: contractor.account_page(
            {f"name-{authenticator_id}": told for told in wrong.values()}
        ),
        title=_("Rename an authenticator"),
        cancel="/account",
    )


@blueprint.post("/account/authenticators/<authenticator_id>/remove")
def remove(authenticator_id: str) -> ResponseReturnValue:
    """Remove one of one's own, unless it is the last."""
    return acting.act(
        lambda session, by: account.remove(session, authenticator_id, by=by),
        done=lambda _none: contractor.done(
            _("It is removed, and no longer signs you in. Your other sessions have ended.")
        ),
        again=contractor.account_page,
        title=_("Remove an authenticator"),
        cancel="/account",
    )


@blueprint.post("/account/recovery-codes/remove")
def remove_recovery_codes() -> ResponseReturnValue:
    """End one's recovery codes without making new ones."""
    return acting.act(
        lambda session, by: account.remove_recovery_codes(session, by=by),
        done=lambda _none: contractor.done(_("Your recovery codes no longer work.")),
        again=contractor.account_page,
        title=_("Remove my recovery codes"),
        cancel="/account",
    )


def _later() -> ResponseReturnValue | None:
    """The way to a fresh factor, for a page that is of no use without one."""
    with guard.database().reading() as session:
        try:
            permissions.require_fresh(guard.principal(), now=clock.now(session))
        except errors.FreshFactorRequired:
            return redirect(url_for("start.step_up", next=request.path))
    return None

"""`/` leads everyone to where their work is, and /step-up takes a fresh code for a page to come.

`/components` shows what all pages are made of.
Whoever came by a provider may prove it there instead; a form that they had filled waits meanwhile.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, redirect, render_template, request
from flask_babel import gettext as _

from govern import clock, errors
from govern.identity import federation, sessions
from govern.web import guard
from govern.web.pages import acting, base, overview, single_sign_on

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

blueprint = Blueprint("start", __name__)


@blueprint.get("/")
@guard.while_suspended
def start() -> ResponseReturnValue:
    """Lead by role: an admin to the overview, an auditor to the log, others to what is theirs."""
    roles = base.roles_of(guard.principal())
    if "admin" in roles:
        return overview.page()
    if "auditor" in roles:
        return redirect("/log")
    if "approver" in roles:
        return redirect("/requests")
    return redirect("/status")


@blueprint.get("/components")
def components() -> ResponseReturnValue:
    """Show all that pages are made of, for whoever builds or judges them; it tells of nobody."""
    if "admin" not in base.roles_of(guard.principal()):
        raise errors.Unknown(_("It does not exist, or it is not yours to know about."))
    picture = SimpleNamespace(
        zero=50,
        ticks=[(50, "0"), (80, "1 s")],
        rows=[
            SimpleNamespace(
                label=look,
                told=look,
                look=look,
                silent=80 if look == "unknown" else None,
                marks=[
                    SimpleNamespace(x=20 + 15 * place, shape=shape)
                    for place, shape in enumerate(("order", "permit", "deny", "record", "false"))
                ],
            )
            for look in ("confirmed", "failed", "unknown")
        ],
    )
    return render_template(
        "components.html",
        now=clock.utcnow(),
        picture=picture,
        asked=SimpleNamespace(options="{}", sealed=""),
    )


@blueprint.route("/step-up", methods=["GET", "POST"])
def step_up() -> ResponseReturnValue:
    """Ask for a fresh code before a page that needs one, then go on to it."""
    target = base.local_path(request.values.get("next", ""))
    title = {
        "/account/apps/new": _("Add an authenticator app"),
        "/account/passkeys/new": _("Add a passkey"),
    }.get(target) or _("See %(page)s", page=target)
    if request.method == "GET":
        return _step_up(title, target)
    return acting.act(
        acting.require_fresh,
        done=lambda _nothing: redirect(target, 303),
        again=lambda errors: _step_up(title, target, errors),
        title=title,
        cancel="/",
    )


def _step_up(title: str, target: str, errors: Mapping[str, str] | None = None) -> str:
    return acting.step_up(
        title, cancel="/", fields=[("next", target)], target="/step-up", errors=errors, back=target
    )


@blueprint.get("/step-up/provider")
def step_up_by_provider() -> ResponseReturnValue:
    """Send the browser to the provider that it came by, to sign in there anew."""
    back = base.local_path(request.args.get("next", ""))
    by = guard.principal()
    with guard.database().reading() as session:
        provider = federation.renewing(session, by=by)
    if provider is None:
        raise errors.Unknown(_("You did not come by a provider that proves a second factor."))
    return single_sign_on.leave(provider.id, next=back, renews=True)


@blueprint.get("/step-up/form/<form_id>")
def half_filled(form_id: str) -> ResponseReturnValue:
    """The form that was kept, to be sent now; or to be asked for a fresh factor once more."""
    by = guard.principal()
    with guard.database().reading() as session:
        form = sessions.kept(session, form_id, by=by)
        try:
            acting.require_fresh(session, by)
            fresh = True
        except errors.FreshFactorRequired:
            fresh = False
    return acting.step_up(
        form.title, cancel=form.cancel, target=form.target, fields=form.fields, fresh=fresh,
        back=request.path,
    )  # fmt: skip

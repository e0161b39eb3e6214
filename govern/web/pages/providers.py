"""Identity providers: by whose word people sign in, and who is linked to each.

A provider whose host lies inside is taken in at the machine alone: whoever holds an admin's session
must not thereby have this machine call addresses that only it reaches.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import errors
from govern.identity import federation, subjects
from govern.identity.federation import Assurance
from govern.web import guard
from govern.web.pages import acting, base, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

    from govern.db import Session
    from govern.identity.federation import IdentityProvider
    from govern.principal import Principal

blueprint = Blueprint("providers", __name__)


@blueprint.get("/providers")
def listing() -> ResponseReturnValue:
    """The list, and the form for one more."""
    return _list({})


def _list(wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    with guard.database().reading() as session:
        found = federation.listing(session, by=by)
    return render_template(
        "admin/providers.html",
        rows=[_row(each) for each in found],
        may_create=base.may("provider:write", None),
        form=request.form,
        errors=wrong,
    )


def _row(row: IdentityProvider) -> SimpleNamespace:
    return SimpleNamespace(
        id=row.id,
        url=f"/providers/{row.id}",
        name=row.name,
        state="ended" if row.ended_at else "active",
        issuer=row.issuer,
        client_id=row.client_id,
        assures=row.assures,
        acr_values=row.acr_values.split(),
        amr_values=row.amr_values.split(),
        inside=row.inside,
        since=row.recorded_at,
        ended_at=row.ended_at,
    )


@blueprint.post("/providers")
def create() -> ResponseReturnValue:
    """Let people come by a provider."""

    def work(session: Session, by: Principal) -> IdentityProvider:
        assures = base.typed("assures") or Assurance.NONE
        if assures not in set(Assurance):
            raise errors.Invalid(_("Please choose one."), field="assures")
        return federation.create(
            session, base.typed("name"), issuer=base.typed("issuer"),
            client_id=base.typed("client_id"), client_secret=base.typed("client_secret"),
            assures=Assurance(assures), acr_values=base.typed("acr_values").split(),
            amr_values=base.typed("amr_values").split(), reason=words.reason(), by=by,
        )  # fmt: skip

    def done(row: IdentityProvider) -> ResponseReturnValue:
        try:
            federation.metadata(row.issuer, inside=row.inside)
        except errors.Unavailable:
            told = _(
                "Taken in, but it does not describe itself yet: nobody can come by it until then."
            )
            flash(told, "warning")
        else:
            flash(_("Taken in. Register the addresses below with it."), "success")
        return redirect(f"/providers/{row.id}", 303)

    return acting.act(
        work, done=done, again=_list, title=_("Take in an identity provider"), cancel="/providers"
    )


@blueprint.get("/providers/<provider_id>")
def show(provider_id: str) -> ResponseReturnValue:
    """One provider."""
    return _page(provider_id, {})


def _page(provider_id: str, wrong: Mapping[str, str]) -> str:
    by, wanted = guard.principal(), request.args.get("q", "").strip()
    with guard.database().reading() as session:
        row = federation.find(session, provider_id, by=by)
        found, after = federation.linked(
            session, row, query=wanted, after=request.args.get("after", ""), by=by
        )
        may_end = row.ended_at is None and base.may("provider:write", None)
        number = federation.number_linked(session, row) if may_end else 0
        links = [
            SimpleNamespace(
                id=link.id, sub=link.sub, since=link.recorded_at, name=person.full_name,
                email=person.email, url=f"/people/{person.id}",
            )
            for link, person in found
        ]  # fmt: skip
    public_url = guard.database().settings.public_url
    return render_template(
        "admin/provider.html",
        provider=_row(row),
        links=links,
        filter={"q": wanted},
        next_url=base.next_url(after),
        first_url=base.first_url(),
        redirect_uri=federation.redirect_uri(guard.database(), row.id),
        logout_uri=f"{public_url}/sign-in/log-out/{row.id}",
        may_link=row.ended_at is None and base.may("identity:link", None),
        may_end=may_end,
        number_linked=number,
        form=request.form,
        errors=wrong,
    )


@blueprint.post("/providers/<provider_id>/end")
def end(provider_id: str) -> ResponseReturnValue:
    """Let nobody come by a provider any more; whoever did is signed out."""

    def work(session: Session, by: Principal) -> None:
        federation.end(session, provider_id, reason=words.reason(), by=by)

    def done(_none: None) -> ResponseReturnValue:
        flash(_("Ended. Whoever came by it is signed out."), "success")
        return redirect(f"/providers/{provider_id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: _page(provider_id, words.at_reason(wrong, "end_reason")),
        title=_("End an identity provider"),
        cancel=f"/providers/{provider_id}",
    )


@blueprint.post("/providers/<provider_id>/links")
def link(provider_id: str) -> ResponseReturnValue:
    """Say whose account there is whose here."""

    def work(session: Session, by: Principal) -> None:
        federation.find(session, provider_id, by=by)
        with words.typed("subject", base.typed("subject")) as reference:
            subject = subjects.find(session, reference)
        federation.link(
            session, subject, provider_id, sub=base.typed("sub"), reason=words.reason(), by=by
        )

    def done(_none: None) -> ResponseReturnValue:
        flash(_("Linked. They may sign in by it from now on, and are told by mail."), "success")
        return redirect(f"/providers/{provider_id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: _page(provider_id, words.at_reason(wrong, "link_reason")),
        title=_("Link a person to an identity provider"),
        cancel=f"/providers/{provider_id}",
    )


@blueprint.post("/providers/<provider_id>/links/<link_id>/end")
def unlink(provider_id: str, link_id: str) -> ResponseReturnValue:
    """End a link, and every session that came by it."""

    def work(session: Session, by: Principal) -> None:
        federation.find(session, provider_id, by=by)
        federation.unlink(session, link_id, of=provider_id, reason=words.reason(), by=by)

    def done(_none: None) -> ResponseReturnValue:
        flash(_("Unlinked. Whatever session came by it has ended."), "success")
        return redirect(f"/providers/{provider_id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: _page(provider_id, words.at_reason(wrong, f"reason-{link_id}")),
        title=_("Unlink a person from an identity provider"),
        cancel=f"/providers/{provider_id}",
    )

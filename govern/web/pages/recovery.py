"""The way back: asked for by one admin, approved by another, called off by whom it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template
from flask_babel import gettext as _

from govern import errors
from govern.access import holdings, recovering
from govern.identity import recovery
from govern.web import guard
from govern.web.pages import acting, contractor, people, words

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from govern.access.requests import Request
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("recovery", __name__)

# The person's page has several forms that ask for a reason.
_ON_PERSON = {"reason": "recovery_reason"}


@blueprint.post("/people/<subject_id>/recovery")
def ask(subject_id: str) -> ResponseReturnValue:
    """Ask that a person who lost a factor be let back in; another admin approves."""

    def work(session: Session, by: Principal) -> Request:
        subject = holdings.profile(session, subject_id, by=by).subject
        return recovering.ask(session, subject, reason=words.reason(), by=by)

    def done(row: Request) -> ResponseReturnValue:
        flash(_("Asked. Nothing changes until someone else approves."), "success")
        return redirect(f"/requests/{row.id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: people.page(
            subject_id, {_ON_PERSON.get(name, name): told for name, told in wrong.items()}
        ),
        title=_("Ask for a recovery"),
        cancel=f"/people/{subject_id}",
    )


def approved(row: Request) -> ResponseReturnValue:
    """What the second person sees: where no mail goes out, the link, in this answer alone."""
    subject_id, by = row.subject_id or "", guard.principal()
    token = None
    if not guard.database().settings.smtp_url:
        token = guard.database().transaction(lambda s: recovery.hand_over(s, subject_id, by=by))
    if token is None:
        flash(_("Approved. They are told by mail now; the link follows in a day."), "success")
        return redirect(f"/requests/{row.id}", 303)
    url = f"{guard.database().settings.public_url}/recover/{token}"
    return render_template("lift/recovery_link.html", url=url, back_url=f"/requests/{row.id}")


@blueprint.post("/people/<subject_id>/recovery/cancel")
def cancel(subject_id: str) -> ResponseReturnValue:
    """Call a person's recovery off, as an admin."""

    def work(session: Session, by: Principal) -> None:
        subject = holdings.profile(session, subject_id, by=by).subject
        recovery.call_off(session, subject.id, by=by)

    def done(_none: None) -> ResponseReturnValue:
        flash(_("Called off. Everything of theirs stays as it was."), "success")
        return redirect(f"/people/{subject_id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: people.page(subject_id, wrong),
        title=_("Call a recovery off"),
        cancel=f"/people/{subject_id}",
    )


@blueprint.post("/account/recovery/cancel")
def cancel_own() -> ResponseReturnValue:
    """Call the recovery of one's own account off."""

    def done(_none: None) -> ResponseReturnValue:
        flash(_("Called off. Your account stays as it was."), "success")
        return redirect("/account", 303)

    return acting.act(
        lambda session, by: recovery.call_off(session, by.id, by=by),
        done=done,
        again=contractor.account_page,
        title=_("Call a recovery off"),
        cancel="/account",
    )


@blueprint.get("/recover/cancel/<token>")
@guard.public
def cancel_by_link(token: str) -> ResponseReturnValue:
    """Ask whether the recovery that a notice told of is to be called off."""
    with guard.database().reading() as session:
        try:
            subject = recovery.find_cancel(session, token)[1]
        except errors.Unknown:
            return _cancel_page(token, "dead", ""), 404
    return _cancel_page(token, "ask", subject.email)


@blueprint.post("/recover/cancel/<token>")
@guard.public
def cancel_by_link_done(token: str) -> ResponseReturnValue:
    """Call it off: who reads the person's mail needs no sign-in for that."""
    try:
        guard.database().transaction(lambda s: recovery.cancel_by_link(s, token))
    except (errors.Unknown, errors.AlreadyEnded):
        return _cancel_page(token, "dead", ""), 404
    return _cancel_page(token, "done", "")


def _cancel_page(token: str, step: str, email: str) -> str:
    return render_template("auth/cancel_recovery.html", step=step, token=token, email=email)

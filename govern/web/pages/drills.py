"""Drills: a pause rehearsed on the real data without touching anyone, and what it showed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import errors
from govern.access import suspensions
from govern.access.modes import Mode
from govern.web import guard
from govern.web.pages import acting, base

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("drills", __name__)


@blueprint.get("/drills")
def listing() -> ResponseReturnValue:
    """Every drill, the newest first."""
    return _page({})


@blueprint.post("/drills")
def hold() -> ResponseReturnValue:
    """Rehearse what the preview shows; its form is sent here by its second button."""
    held: list[suspensions.drilling.Rehearsal] = []

    def before(by: Principal) -> None:
        try:
            mode = Mode(base.typed("mode"))
        except ValueError:
            raise errors.Invalid(_("Say how much stops."), field="mode") from None
        targets = request.form.getlist("target")
        people = [f"subject:{code}" for code in request.form.getlist("subject")]
        if not targets and not people:
            raise errors.Invalid(_("Choose at least one thing to stop."), field="target")
        with guard.database().reading() as session:
            parts = suspensions.reading.chosen(session, [*targets, *people], by=by)
        covered = [part.target for part in parts]
        held.append(suspensions.drilling.rehearse(guard.database(), covered, mode=mode, by=by))

    def work(session: Session, by: Principal) -> None:
        suspensions.drilling.keep(session, held[0], by=by)

    def done(_kept: None) -> ResponseReturnValue:
        milliseconds = f"{held[0].microseconds / 1000:.1f}"
        flash(
            _("Rehearsed and rolled back: in force in %(ms)s ms. Nobody noticed.", ms=milliseconds),
            "success",
        )
        return redirect("/drills", 303)

    return acting.act(
        work, done=done, again=_page, title=_("Rehearse a pause"), cancel="/pause", before=before
    )


def _page(wrong: dict[str, str]) -> str:
    by = guard.principal()
    after = request.args.get("after", "")
    with guard.database().reading() as session:
        rows, next_after = suspensions.drilling.page(session, after=after, by=by)
    return render_template(
        "pause/drills.html",
        drills=rows,
        errors=wrong,
        may_hold=base.may_anywhere("suspension:open"),
        next_url=base.next_url(next_after),
        first_url=base.first_url(),
    )

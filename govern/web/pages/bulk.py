"""Acts over a list as it is narrowed: numbers first, then one order, then how far it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import Blueprint, flash, make_response, redirect, render_template, request
from flask_babel import gettext as _

from govern import clock
from govern.access import bulk, clients, entitlements, suspensions
from govern.access.bulk import BulkAct
from govern.access.lists import Asked
from govern.web import guard
from govern.web.pages import acting, base, words
from govern.web.pages.lists import name_of, of, title
from govern.web.pages.pause import chosen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("bulk", __name__)


@blueprint.get("/lists/<list_name>/act")
def show(list_name: str) -> ResponseReturnValue:
    """What an act would be done to, in numbers, and the form that orders it."""
    return _page(list_name, {})


def _page(list_name: str, wrong: Mapping[str, str]) -> str:
    listed, by = of(list_name), guard.principal()
    asked = Asked.of(listed, request.values)
    act = bulk.named(request.values.get("act", ""), listed.name)
    with guard.database().reading() as session:
        found = bulk.preview(session, act, asked, by=by)
    return render_template(
        "admin/act.html",
        list_title=title(listed.name),
        back_url=f"/lists/{listed.name}?{urlencode({**asked.filters, 'sort': asked.sort})}",
        url=f"/lists/{listed.name}/act",
        act=act,
        act_words=name_of(act.name),
        filter=asked.filters,
        found=found,
        form=request.form,
        errors=wrong,
        code_needed=acting.code_needed(),
    )


@blueprint.post("/lists/<list_name>/act")
def order(list_name: str) -> ResponseReturnValue:
    """Order it, for exactly those who were shown."""
    listed = of(list_name)
    asked = Asked.of(listed, request.form)
    act = bulk.named(base.typed("act"), listed.name)
    if not act.ordered:
        return _suspend(list_name, asked)
    taken: list[str] = []

    def before(by: Principal) -> None:
        # A slip of the form is told before anything is taken down.
        words.reason()
        base.count("number")
        with guard.database().reading() as session:
            _details(session, act)
        taken[:] = [
            bulk.take_down(guard.database(), act, asked, digest=base.typed("digest"), by=by)
        ]

    def work(session: Session, by: Principal) -> BulkAct:
        return bulk.order(
            session, taken[0], number=base.count("number"), details=_details(session, act),
            reason=words.reason(), by=by,
        )  # fmt: skip

    def done(row: BulkAct) -> ResponseReturnValue:
        flash(_("Ordered. It is done to one after the other."), "success")
        return redirect(f"/acts/{row.id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: _page(list_name, wrong),
        title=name_of(act.name),
        cancel=f"/lists/{list_name}",
        before=before,
    )


def _suspend(list_name: str, asked: Asked) -> ResponseReturnValue:
    """Keep whom the list holds now, and go on to pause them: seen in numbers there, and ordered."""

    def work(session: Session, by: Principal) -> list[suspensions.Target]:
        found = bulk.suspended_as(session, asked, by=by)
        return suspensions.people.as_targets(session, found, by=by)

    return acting.act(
        work,
        done=chosen,
        again=lambda wrong: _page(list_name, wrong),
        title=name_of("suspend"),
        cancel=f"/lists/{list_name}",
    )


def _details(session: Session, act: bulk.Act) -> dict[str, str | None]:
    """What the act takes beside a reason, each refused at its own field."""
    found: dict[str, str | None] = {}
    if "until" in act.takes:
        until = base.instant("until")
        found["until"] = clock.text(until) if until else None
    if "project" in act.takes:
        with words.typed("act_project", base.typed("act_project")) as code:
            found["project"] = clients.project(session, code).code
    if "entitlement" in act.takes:
        with words.typed("act_entitlement", base.typed("act_entitlement")) as name:
            found["entitlement"] = entitlements.named(session, name).name
    return found


@blueprint.get("/acts/<bulk_id>")
def progress(bulk_id: str) -> ResponseReturnValue:
    """How far an act over a list has come."""
    by = guard.principal()
    with guard.database().reading() as session:
        row = bulk.find(session, bulk_id, by=by)
    if "HX-Request" in request.headers:
        response = make_response(render_template("admin/_act_progress.html", row=row))
        if row.finished_at:  # the browser draws the whole anew, which asks no more
            response.headers["HX-Refresh"] = "true"
        return response
    listed = bulk.ACTS[row.act].list
    return render_template(
        "admin/act_progress.html",
        row=row,
        act_words=name_of(row.act),
        list_title=title(listed),
        list_url=f"/lists/{listed}",
    )

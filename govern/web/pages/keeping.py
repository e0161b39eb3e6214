"""One client's records: its legal hold, and for how long its rows of the access log stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import permissions
from govern.access import places
from govern.audit import holding, retention
from govern.web import guard
from govern.web.pages import acting, base, words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask.typing import ResponseReturnValue

    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("keeping", __name__)


@blueprint.get("/clients/<code>/records")
def show(code: str) -> ResponseReturnValue:
    """What is kept of a client, and what keeps it."""
    return _page(code, {})


def _page(code: str, wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    with guard.database().reading() as session:
        client = places.find_client(session, code, by=by)
        permissions.require(by, "log:read", client=client.id)
        hold = holding.of(session, client.id)
        days = retention.of(session, client.id)
        seen_days = retention.version(session, client.id)
    return render_template(
        "admin/records.html",
        client=client,
        hold=hold,
        days=days,
        seen_days=seen_days,
        default=guard.database().settings.access_log_days,
        may_set=base.may("hold:set", client.id),
        form=request.form,
        errors=wrong,
    )


@blueprint.post("/clients/<code>/hold")
def place(code: str) -> ResponseReturnValue:
    """Put the client under legal hold."""

    def work(session: Session, by: Principal) -> None:
        client = places.find_client(session, code, by=by)
        holding.place(session, client.id, reason=words.reason(), by=by)

    return _act(code, work, told=_("Under legal hold."), title=_("Put under legal hold"))


@blueprint.post("/clients/<code>/hold/release")
def release(code: str) -> ResponseReturnValue:
    """Release the client's legal hold."""

    def work(session: Session, by: Principal) -> None:
        client = places.find_client(session, code, by=by)
        holding.release(session, client.id, reason=words.reason(), seen=base.seen(), by=by)

    return _act(code, work, told=_("Released."), title=_("Release a legal hold"))


@blueprint.post("/clients/<code>/retention")
def keep(code: str) -> ResponseReturnValue:
    """Say for how many days the client's rows stay; empty: as the installation's."""

    def work(session: Session, by: Principal) -> None:
        client = places.find_client(session, code, by=by)
        days = base.count("days") if base.typed("days") else None
        reason, seen = words.reason(), base.seen()
        retention.keep(session, client.id, days, reason=reason, seen=seen, by=by)

    def again(wrong: dict[str, str]) -> ResponseReturnValue:
        return _page(code, words.at_reason(wrong, "days_reason"))

    return _act(code, work, told=_("Set."), title=_("Set the retention"), again=again)


def _act(
    code: str,
    work: Callable[[Session, Principal], None],
    *,
    told: str,
    title: str,
    again: Callable[[dict[str, str]], ResponseReturnValue] | None = None,
) -> ResponseReturnValue:
    back = f"/clients/{code}/records"

    def done(_none: None) -> ResponseReturnValue:
        flash(told, "success")
        return redirect(back, 303)

    return acting.act(
        work, done=done, again=again or (lambda wrong: _page(code, wrong)), title=title, cancel=back
    )

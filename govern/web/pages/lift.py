"""Lifting: see who comes back and who does not, type their number, and ask a second person."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import clock
from govern.access import suspensions
from govern.access.grants import Supposing
from govern.web import guard
from govern.web.pages import acting, base, words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flask.typing import ResponseReturnValue
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.requests import Request
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("lift", __name__)


@blueprint.get("/suspensions/<suspension_id>/lift")
def show(suspension_id: str) -> ResponseReturnValue:
    """The difference that a lift would make now."""
    return _page(suspension_id, {})


@blueprint.post("/suspensions/<suspension_id>/lift")
def ask(suspension_id: str) -> ResponseReturnValue:
    """Ask a second person to lift, with the number of what returns typed."""

    def work(session: Session, by: Principal) -> Request:
        suspension = suspensions.find(session, suspension_id, by=by)
        return suspensions.ask_lift(
            session,
            suspension,
            number=base.count("number"),
            digest=base.typed("digest"),
            reason=words.reason(),
            at=base.instant("at"),
            by=by,
        )

    def done(row: Request) -> ResponseReturnValue:
        flash(_("Asked. Nothing changes until someone else approves."), "success")
        return redirect(f"/requests/{row.id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda errors: _page(suspension_id, errors),
        title=_("Ask to lift a suspension"),
        cancel=f"/suspensions/{suspension_id}/lift",
    )


@blueprint.get("/suspensions/<suspension_id>/resume")
def resume(suspension_id: str) -> ResponseReturnValue:
    """The difference that a resume at its time would make, for whoever confirms it."""
    return _confirming(suspension_id, {})


@blueprint.post("/suspensions/<suspension_id>/resume")
def decide(suspension_id: str) -> ResponseReturnValue:
    """Confirm a resume that is set for a time, or call it off."""
    off = base.typed("decision") == "cancel"

    def work(session: Session, by: Principal) -> None:
        suspension = suspensions.find(session, suspension_id, by=by)
        if off:
            suspensions.cancel(session, suspension, seen=base.seen(), by=by)
            return
        number, digest = base.count("number"), base.typed("digest")
        suspensions.confirm(
            session, suspension, number=number, digest=digest, seen=base.seen(), by=by
        )

    def done(_row: None) -> ResponseReturnValue:
        told = _("Called off. It stays as it is.") if off else _("Confirmed. It ends at its time.")
        flash(told, "success")
        return redirect(f"/suspensions/{suspension_id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda errors: _confirming(suspension_id, errors),
        title=_("Call a resume off") if off else _("Confirm a resume"),
        cancel=f"/suspensions/{suspension_id}/resume",
    )


def _confirming(suspension_id: str, errors: Mapping[str, str]) -> str:
    by = guard.principal()
    now = clock.utcnow()
    with guard.database().reading() as session:
        found = suspensions.reading.find(session, suspension_id, by=by)
        standing, row = found.standing, found.resume
        waits = row is not None and row.ended_at is None
        context: dict[str, Any] = {}
        if row is not None and waits:
            url = f"/suspensions/{suspension_id}/resume"
            context = _returning(session, standing, groups_url=url, by=by)
            context["resume"] = words.resume(session, row, now)
            context["seen"] = row.id
    return render_template(
        "lift/confirm.html",
        s=_summary(standing),
        refused="" if waits else _("No time is set for it."),
        form=request.form,
        errors=errors,
        code_needed=acting.code_needed(),
        **context,
    )


def _summary(standing: suspensions.reading.Standing) -> SimpleNamespace:
    row = standing.suspension
    return SimpleNamespace(
        id=row.id,
        url=f"/suspensions/{row.id}",
        title=words.scope(standing.names),
        mode=standing.mode.value if standing.is_open else "lifted",
    )


def _page(suspension_id: str, errors: Mapping[str, str]) -> str:
    by = guard.principal()
    with guard.database().reading() as session:
        found = suspensions.reading.find(session, suspension_id, by=by)
        standing = found.standing
        refused = ""
        if not standing.is_open:
            refused = _("It was lifted already.")
        elif any(row.kind == "lift" for row in found.waiting):
            refused = _("It was asked for already, and awaits a second person.")
        context: dict[str, Any] = {}
        if not refused:
            url = f"/suspensions/{suspension_id}/lift"
            context = _returning(session, standing, groups_url=url, by=by)
    return render_template(
        "lift/ask.html",
        s=_summary(standing),
        refused=refused,
        form=request.form,
        errors=errors,
        code_needed=acting.code_needed(),
        **context,
    )


def _returning(
    session: OrmSession,
    standing: suspensions.reading.Standing,
    *,
    groups_url: str,
    by: Principal,
) -> dict[str, Any]:
    """The difference that a lift would make now, and the digest of who comes back."""
    supposing = Supposing(suspension=standing.suspension.id)
    how = suspensions.way(session, supposing)
    shown = difference_context(session, standing, supposing, how, groups_url=groups_url, by=by)
    return shown | {"digest": suspensions.difference.digest(session, standing, how)}


def difference_context(
    session: OrmSession,
    standing: suspensions.reading.Standing | None,
    supposing: Supposing,
    how: suspensions.Way | None = None,
    *,
    groups_url: str,
    by: Principal,
) -> dict[str, Any]:
    """What `lift/_difference.html` shows: counts of all groups, and one page of one of them."""
    how = how or suspensions.way(session, supposing)
    group = request.args.get("group", "")
    group = group if group in suspensions.difference.GROUPS else "returns"
    counts = suspensions.difference.counts(session, standing, supposing, how)
    after = request.args.get("after", "")
    lines, following, holders = suspensions.difference.page(
        session, standing, supposing, group=group, after=after, how=how, by=by
    )
    return {
        "counts": counts,
        "group": group,
        "groups_url": groups_url,
        "rows": [_row(line, group, holders) for line in lines],
        "next_url": base.next_url(following),
        "first_url": base.first_url(),
    }


def _row(
    line: suspensions.difference.Line, group: str, holders: dict[str, list[str]]
) -> SimpleNamespace:
    on = clock.text(line.since)[:10] if line.since else ""
    why = {
        "returns": "",
        "expired": _("expired on %(day)s", day=on),
        "revoked": _("revoked on %(day)s", day=on),
        "offboarded": _("left on %(day)s", day=on),
        "held_elsewhere": _(
            "held by %(title)s", title=words.scope(holders.get(line.held_by or "", []))
        ),
    }[group]
    return SimpleNamespace(
        person=SimpleNamespace(
            name=line.name, external_id=line.external_id, url=f"/people/{line.subject_id}"
        ),
        project=line.project,
        entitlement=line.entitlement,
        ends_at=line.ends_at,
        why=why,
    )

"""One suspension: how it takes effect, what it covers, and what can be done about it."""

from __future__ import annotations

import secrets
from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, flash, make_response, redirect, render_template, request
from flask_babel import gettext as _

from govern import clock, errors
from govern.access import suspensions
from govern.access.modes import Mode, tighter
from govern.access.suspension_tables import Scope
from govern.audit.events import SENTENCES
from govern.signals import mail
from govern.web import guard
from govern.web.pages import acting, base, words
from govern.web.pages.pause import BETWEEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import Any

    from flask.typing import ResponseReturnValue

    from govern.access.requests import Request
    from govern.access.suspensions import Suspension
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("suspended", __name__)

_PLACES = {"project": "/projects/{code}", "subject": "/people/{id}"}


@blueprint.get("/suspensions/<suspension_id>")
def show(suspension_id: str) -> ResponseReturnValue:
    """The page of one suspension."""
    return _page(suspension_id, {})


@blueprint.get("/suspensions/<suspension_id>/progress")
def progress(suspension_id: str) -> ResponseReturnValue:
    """The part that moves; when all is written the browser is told to draw the whole anew."""
    by = guard.principal()
    with guard.database().reading() as session:
        found = suspensions.reading.progress(session, suspension_id, by=by)
        seen = suspensions.effect(session, found)
    standing = found.standing
    response = make_response(
        render_template("pause/_progress.html", **_taking_effect(standing, seen))
    )
    if standing.progress.done:
        response.headers["HX-Refresh"] = "true"
    return response


def _taking_effect(
    standing: suspensions.reading.Standing, seen: suspensions.Effect
) -> dict[str, Any]:
    row, how_far = standing.suspension, standing.progress
    late = (row.recorded_at - row.ordered_at).total_seconds() * 1000
    return {
        "p": how_far,
        "state": "open" if standing.is_open else "lifted",
        "effect": SimpleNamespace(
            ordered_at=row.ordered_at,
            committed_at=row.recorded_at,
            ms=max(late, 0.0),
            recorded_at=how_far.finished_at,
            last_permit_at=seen.last_permit_at,
            first_deny_at=seen.first_deny_at,
        ),
    }


def _page(suspension_id: str, wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    after = request.args.get("after", "")
    with guard.database().reading() as session:
        found = suspensions.reading.detail(session, suspension_id, after=after, by=by)
        seen = suspensions.effect(session, found)
        told = suspensions.notices.versions(session, [suspension_id], counted=found.whole)[
            suspension_id
        ]
        # Both count all clients' people, whose number is no one else's to know.
        mailed = mail.told(session, suspension_id) if found.whole else None
        last = found.resume if found.whole else None
        resume = words.resume(session, last, clock.utcnow()) if last else None
    suspensions.reading.note(guard.database(), "suspension", found, by=by)
    standing, row = found.standing, found.standing.suspension
    read = told[0].readers if told else None
    parts = [
        part for part in standing.parts if part.ended_at is None or part.ended_at == row.ended_at
    ]
    whole = found.whole
    may_act = (
        standing.is_open
        and whole
        and all(base.may("suspension:lift", part.client) for part in parts)
    )
    waiting = found.waiting[0] if found.waiting else None
    title = words.scope(standing.names)
    return render_template(
        "pause/live.html",
        now=clock.utcnow(),
        csp_nonce=secrets.token_urlsafe(16),
        s=SimpleNamespace(
            id=row.id,
            title=title,
            state="open" if standing.is_open else "lifted",
            mode=standing.mode.value,
            by=found.opened_by,
            opened_at=row.recorded_at,
            lifted_at=row.ended_at,
            reason_code=row.reason,
            internal_reason=found.inner(row.internal_reason),
            ordered_by=found.inner(row.ordered_by),
            ordered_how="",
            incident=found.inner(row.incident),
            review_at=row.review_by,
            hours_until=row.hours_until or _stopped_at(found),
            held_people=standing.people,
            digest=standing.digest,
        ),
        **_taking_effect(standing, seen),
        targets=[
            SimpleNamespace(
                type=part.kind.value,
                name=part.name,
                code=part.code,
                value=f"{part.kind}:{part.code}",
                url=_PLACES.get(part.kind, "").format(code=part.code, id=part.target_id) or None,
            )
            for part in parts
        ],
        names_people=base.may("subject:read", None)
        and any(part.kind in {Scope.SUBJECT, Scope.PEOPLE} for part in parts),
        events=[
            SimpleNamespace(at=item.at, text=SENTENCES[item.type], by=item.by)
            for item in found.events
        ],
        modes=[
            SimpleNamespace(mode=mode.mode, starts_at=mode.recorded_at, ends_at=mode.ended_at)
            for mode in found.modes
        ],
        releases=[
            SimpleNamespace(
                name=item.name,
                url=_PLACES.get(item.kind, "").format(code=item.code, id=item.target_id) or None,
                at=item.at,
            )
            for item in found.releases
        ],
        grants=[
            SimpleNamespace(
                person=SimpleNamespace(
                    name=item.name, external_id=item.external_id, url=f"/people/{item.subject_id}"
                ),
                project=item.project,
                entitlement=item.entitlement,
                seq=item.seq,
            )
            for item in found.held
        ],
        next_url=base.next_url(found.next_after),
        first_url=base.first_url(),
        waiting=SimpleNamespace(url=f"/requests/{waiting.id}", title=words.asked(waiting, title))
        if waiting
        else None,
        acting=may_act,
        lifting=any(item.kind == "lift" for item in found.waiting),
        resume=resume,
        just_opened="opened" in request.args,
        may_read_log=base.may_anywhere("log:read"),
        moved=_moved(standing),
        take_back_until=found.take_back_until if may_act else None,
        other_modes=[
            (mode.value, not tighter(mode, standing.mode))
            for mode in reversed(Mode)
            if mode is not standing.mode
        ],
        seen_mode=standing.mode_id,
        seen=suspensions.version(row),
        told=told,
        mailed=mailed,
        read=read,
        unread=max(standing.people - (read or 0), 0),
        form=request.form,
        errors=wrong,
        code_needed=acting.code_needed(),
    )


def _stopped_at(found: suspensions.reading.Detail) -> datetime | None:
    """When hours stopped counting where no cut-off was named: as the mode that stops them began."""
    stopping = [mode.recorded_at for mode in found.modes if mode.mode != Mode.UNDER_REVIEW]
    return stopping[0] if stopping else None


def _moved(standing: suspensions.reading.Standing) -> bool:
    """Whether what was executed differs from what the preview showed; told, never waited for."""
    shown = standing.suspension.preview_digest
    return bool(shown and standing.digest and shown != standing.digest)


# --- acts --------------------------------------------------------------------------------------


def _act(
    suspension_id: str,
    work: Callable[[Session, Suspension, Principal], Request | None],
    *,
    title: str,
    told: str,
    fields: Mapping[str, str] | None = None,
) -> ResponseReturnValue:
    """Do something to a suspension: at once, or by a request that a second person decides."""

    def on_it(session: Session, by: Principal) -> Request | None:
        return work(session, suspensions.find(session, suspension_id, by=by), by)

    def done(asked: Request | None) -> ResponseReturnValue:
        if asked is None:
            flash(told, "success")
            return redirect(f"/suspensions/{suspension_id}", 303)
        flash(_("Asked. Nothing changes until someone else approves."), "info")
        return redirect(f"/requests/{asked.id}", 303)

    def again(wrong: dict[str, str]) -> ResponseReturnValue:
        names = fields or {}
        return _page(suspension_id, {names.get(name, name): text for name, text in wrong.items()})

    return acting.act(
        on_it, done=done, again=again, title=title, cancel=f"/suspensions/{suspension_id}"
    )


@blueprint.post("/suspensions/<suspension_id>/mode")
def change_mode(suspension_id: str) -> ResponseReturnValue:
    """Stop more at once, or ask to stop less."""

    def work(session: Session, row: Suspension, by: Principal) -> Request | None:
        try:
            mode = Mode(base.typed("mode"))
        except ValueError:
            raise errors.Invalid(_("Choose a mode."), field="mode") from None
        return suspensions.change_mode(
            session, row, mode, seen=base.typed("seen") or None, by=by
        )  # fmt: skip

    return _act(suspension_id, work, title=_("Change the mode"), told=_("The mode has changed."))


@blueprint.post("/suspensions/<suspension_id>/notice")
def notice(suspension_id: str) -> ResponseReturnValue:
    """Tell the people affected something new."""

    def work(session: Session, row: Suspension, by: Principal) -> None:
        words = suspensions.notices.Words(
            known=base.typed("known"),
            not_known=base.typed("not_known"),
            contact=base.typed("contact"),
            next_update_by=base.instant("next_update_by"),
            submit_by=base.instant("submit_by"),
        )
        seen = base.count("seen") if base.typed("seen") else None
        suspensions.notices.post(session, row, words, seen=seen, by=by)

    return _act(
        suspension_id,
        work,
        title=_("Post a notice"),
        told=_("Posted. Everyone affected sees it now."),
    )


@blueprint.post("/suspensions/<suspension_id>/review")
def review(suspension_id: str) -> ResponseReturnValue:
    """Move the review date."""

    def work(session: Session, row: Suspension, by: Principal) -> None:
        review_by = base.instant("review_at")
        if review_by is None:
            raise errors.Invalid(_("Please fill this in."), field="review_at")
        seen = base.typed("seen") or None
        suspensions.amend(session, row, review_by=review_by, seen=seen, by=by)

    return _act(
        suspension_id,
        work,
        title=_("Change the review date"),
        told=_("Saved. Contractors see it now."),
        fields={"review_by": "review_at"},
    )


@blueprint.post("/suspensions/<suspension_id>/release")
def release(suspension_id: str) -> ResponseReturnValue:
    """Ask for some people, projects or datasets to be let out early."""

    def work(session: Session, row: Suspension, by: Principal) -> Request:
        named = [
            *filter(None, BETWEEN.split(base.typed("subject"))),
            *filter(None, request.form.getlist("part")),
        ]
        out = suspensions.reading.released(session, named, by=by, field="subject")
        return suspensions.ask_release(session, row, targets=out, reason=words.reason(), by=by)

    return _act(
        suspension_id,
        work,
        title=_("Release early"),
        told="",
        fields={"people": "subject", "reason": "release_reason"},
    )


@blueprint.post("/suspensions/<suspension_id>/narrow")
def narrow(suspension_id: str) -> ResponseReturnValue:
    """Ask for a part of its scope to be taken out."""

    def work(session: Session, row: Suspension, by: Principal) -> Request:
        parts = suspensions.reading.chosen(session, request.form.getlist("target"), by=by)
        if not parts:
            raise errors.Invalid(_("Choose what to take out."), field="target")
        targets = [part.target for part in parts]
        return suspensions.ask_narrow(session, row, targets, reason=words.reason(), by=by)

    return _act(
        suspension_id,
        work,
        title=_("Take a part out"),
        told="",
        fields={"scope": "target", "reason": "narrow_reason"},
    )


@blueprint.post("/suspensions/<suspension_id>/take-back")
def take_back(suspension_id: str) -> ResponseReturnValue:
    """Undo one's own mistake alone, within ten minutes."""

    def work(session: Session, row: Suspension, by: Principal) -> None:
        suspensions.take_back(session, row, by=by)

    return _act(
        suspension_id, work, title=_("Take a pause back"), told=_("Taken back. It is lifted.")
    )

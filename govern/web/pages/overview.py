"""The admin's start page, and what awaits a second person."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import format_decimal, ngettext
from flask_babel import gettext as _

from govern import clock, errors
from govern.access import (
    asking,
    awaiting,
    entitlements,
    needing,
    overview,
    requests,
    suspensions,
)
from govern.access.needing import Need, What
from govern.access.requests import RequestKind
from govern.audit import reading
from govern.signals import mail
from govern.web import guard
from govern.web.pages import acting, base, demanding, recovery, times, words
from govern.web.pages.lift import difference_context

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flask.typing import ResponseReturnValue
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.requests import Request
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("overview", __name__)


def page() -> str:
    """The overview: what is suspended, what waits, every client, what happened last."""
    by = guard.principal()
    with guard.database().reading() as session:
        most = overview.SUSPENSIONS_SHOWN
        newest = suspensions.reading.newest(session, most + 1, by=by)
        standings = suspensions.reading.open_ones(
            session, over=[newest, overview.OVER_PLACES], by=by
        )
        shown = standings[:most]
        told = suspensions.reading.glance(session, shown, most=overview.HELD_COUNTED, by=by)
        lines = overview.tree(session, standings, by=by)
        waiting = awaiting.waiting(session, shown, by=by)
        lost = {What.MAIL: mail.lost()} if base.may("subject:read", None) else {}
        news = overview.news(session, also=lost, by=by)
        silent = mail.trouble(session)
    reading.note(guard.database(), "overview", by=by)
    base.know_calling(item.may_approve for item in waiting)
    for line in lines:
        for project in line.projects:
            project.url = f"/projects/{project.code}"  # type: ignore[attr-defined]  # for the page
    return render_template(
        "admin/overview.html",
        now=clock.utcnow(),
        needs=[_need(one) for one in news.needs],
        awaiting=[_waiting(item) for item in waiting],
        suspensions=[words.suspension(one, told[one.suspension.id]) for one in shown],
        more_suspensions=len(standings) > most,
        questions=news.questions,
        more_questions=news.more_questions,
        silent=silent,
        announced=demanding.announced(news.coming),
        knows_all=base.may("suspension:read", None),
        clients=lines,
        events=[
            SimpleNamespace(
                at=item.at,
                text=words.event(item),
                url=f"/suspensions/{item.suspension_id}" if item.suspension_id else None,
            )
            for item in news.recent
        ],
        log_url="/log" if "auditor" in base.roles_of(by) else None,
    )


def _need(one: Need) -> SimpleNamespace:
    """So many things that need someone, in words, and where they are."""
    number = format_decimal(one.number) + ("+" if one.more else "")
    n = one.number
    today = clock.utcnow().date()
    told: dict[What, tuple[str, str]] = {
        What.APPROVE: (
            ngettext("%(n)s request waits for a second person",
                     "%(n)s requests wait for a second person", n, n=number), "/requests",
        ),
        What.CONFIRM: (
            ngettext("%(n)s resume is to be confirmed", "%(n)s resumes are to be confirmed", n,
                     n=number), "/lists/suspensions?due=confirm",
        ),
        What.UPDATE: (
            ngettext("%(n)s update that contractors were promised is late",
                     "%(n)s updates that contractors were promised are late", n, n=number),
            "/lists/suspensions?due=update",
        ),
        What.REVIEW: (
            ngettext("%(n)s review of a suspension is overdue",
                     "%(n)s reviews of suspensions are overdue", n, n=number),
            "/lists/suspensions?due=review",
        ),
        What.QUESTION: (
            ngettext("%(n)s question has no answer", "%(n)s questions have no answer", n, n=number),
            "/questions",
        ),
        What.FACTOR: (
            ngettext("%(n)s demand of a factor is not met by all",
                     "%(n)s demands of a factor are not met by all", n, n=number), "/demands",
        ),
        What.REFUSED: (
            ngettext("%(n)s witness saw another history of our logs",
                     "%(n)s witnesses saw another history of our logs", n, n=number), "/outgoing",
        ),
        What.WITNESS: (
            ngettext("%(n)s witness has not answered for a while",
                     "%(n)s witnesses have not answered for a while", n, n=number), "/outgoing",
        ),
        What.STREAM: (
            ngettext("%(n)s stream of the log does not get through",
                     "%(n)s streams of the log do not get through", n, n=number), "/outgoing",
        ),
        What.MAIL: (
            ngettext("%(n)s mail of the last 7 days did not get through",
                     "%(n)s mails of the last 7 days did not get through", n, n=number),
            "/outgoing",
        ),
        What.SECRETS: (
            ngettext("%(n)s integration has no secret that lasts another 7 days",
                     "%(n)s integrations have no secret that lasts another 7 days", n, n=number),
            "/integrations",
        ),
        What.ENDS: (
            ngettext("%(n)s grant ends within 7 days", "%(n)s grants end within 7 days", n,
                     n=number),
            f"/lists/grants?sort=ends&ends_from={today}&ends_to={today + needing.SOON}",
        ),
    }  # fmt: skip
    words_, url = told[one.what]
    return SimpleNamespace(text=words_, url=url)


def _waiting(item: awaiting.Waiting) -> SimpleNamespace:
    row = item.request
    return SimpleNamespace(
        id=row.id,
        kind=row.kind,
        title=words.request(item),
        asked_by=item.names.get(row.asked_by, row.asked_by),
        asked_at=row.recorded_at,
        detail="",
        url=f"/requests/{row.id}",
        access=row.kind == RequestKind.GRANT,
        given=len(item.wish.given) if item.wish else 0,
        needed=item.wish.needed if item.wish else 0,
        may_approve=item.may_approve,
        why_not=item.why_not,
        may_withdraw=item.may_withdraw,
        mine=item.mine,
    )


@blueprint.get("/requests")
def listing() -> ResponseReturnValue:
    """What awaits a second person: what waits for the caller first, then what does for others."""
    by = guard.principal()
    with guard.database().reading() as session:
        waiting = awaiting.waiting(session, by=by)
    base.know_calling(item.may_approve for item in waiting)
    return render_template(
        "admin/requests.html",
        mine=[_waiting(item) for item in waiting if item.may_approve],
        others=[_waiting(item) for item in waiting if not item.may_approve],
    )


# --- one request -------------------------------------------------------------------------------


@blueprint.get("/requests/<request_id>")
def show_request(request_id: str) -> ResponseReturnValue:
    """What was asked for and the difference it would make, to approve or withdraw."""
    return _request_page(request_id, {})


@blueprint.post("/requests/<request_id>")
def decide(request_id: str) -> ResponseReturnValue:
    """Approve as the second person, or withdraw."""
    decision = base.typed("decision")

    def work(session: Session, by: Principal) -> Request:
        if decision == "withdraw":
            return requests.withdraw(session, request_id, reason=base.typed("reason"), by=by)
        if decision != "approve":
            raise errors.Invalid(_("Approve or withdraw?"))
        row = requests.find(session, request_id, by=by)
        number = base.count("number") if row.number else None
        seen = base.typed("seen") or None
        return requests.approve(session, request_id, number=number, seen=seen, by=by)

    def done(row: Request) -> ResponseReturnValue:
        if row.kind == RequestKind.RECOVER and row.outcome == "approved":
            return recovery.approved(row)
        told = {
            "approved": _("Approved. It is done."),
            "withdrawn": _("Withdrawn. Nothing has changed."),
            "refused": _("Turned down. Nothing has changed."),
        }
        flash(told.get(row.outcome or "", _("Approved. It waits for others yet.")), "success")
        where = "/requests" if row.kind == RequestKind.GRANT else _subject_url(row)
        return redirect(where, 303)

    return acting.act(
        work,
        done=done,
        again=lambda errors: _request_page(request_id, errors),
        title=_("Approve a request") if decision == "approve" else _("Withdraw a request"),
        cancel=f"/requests/{request_id}",
    )


def _subject_url(row: Request) -> str:
    if row.suspension_id:
        return f"/suspensions/{row.suspension_id}"
    if row.kind == RequestKind.GRANT and not base.may_anywhere("subject:read"):
        return "/requests"
    about_person = row.kind in {RequestKind.MOVE, RequestKind.RECOVER, RequestKind.GRANT}
    return f"/people/{row.subject_id}" if about_person else "/"


def _request_page(request_id: str, errors: Mapping[str, str]) -> str:
    by = guard.principal()
    with guard.database().reading() as session:
        item, standing = awaiting.explained(session, request_id, by=by)
        row = item.request
        compared = _difference(session, row, standing, by=by)
        pending = row.ended_at is None
        access = _access(session, item) if row.kind == RequestKind.GRANT else None
    return render_template(
        "lift/approve.html",
        request_=SimpleNamespace(
            id=row.id,
            kind=row.kind,
            title=words.request(item),
            state="pending" if pending else row.outcome,
            asked_by=item.names.get(row.asked_by, row.asked_by),
            asked_at=row.recorded_at,
            reason=item.reason or "–",
            decided_by=item.names.get(row.decided_by or "", row.decided_by),
            decided_at=row.ended_at,
            number=row.number,
            later=row.kind == RequestKind.RESUME,
            recovers=row.kind == RequestKind.RECOVER,
            mine=item.mine,
            subject_url=_subject_url(row),
        ),
        has_difference=bool(compared),
        **(compared or {}),
        moved=bool(compared and row.number and compared["counts"].returns != row.number),
        facts_=_facts(item),
        access=access,
        may_approve=item.may_approve and not (access and access.stopped),
        may_withdraw=item.may_withdraw,
        why_not=item.why_not,
        errors=errors,
        form=request.form,
        code_needed=acting.code_needed(),
    )


def _difference(
    session: OrmSession,
    row: Request,
    standing: suspensions.reading.Standing | None,
    *,
    by: Principal,
) -> dict[str, Any] | None:
    """The difference that a waiting request would make; some make none."""
    if row.kind in {RequestKind.GRANT, RequestKind.RECOVER} or row.ended_at is not None:
        return None
    url = f"/requests/{row.id}"
    supposing = suspensions.supposing_of(row)
    return difference_context(session, standing, supposing, groups_url=url, by=by)


def _access(session: OrmSession, item: awaiting.Waiting) -> SimpleNamespace:
    """What access that is asked for would allow, who approved it, and what it takes yet."""
    row = item.request
    means = entitlements.meanings(session).get(row.details["entitlement"], ("", ()))
    assert item.wish is not None  # noqa: S101 - access that is asked for has one
    wish = item.wish
    shown, stopped = (
        (None, "") if row.ended_at else asking.shown(session, row, wish.policy, wish.given)
    )
    return SimpleNamespace(
        actions=list(means[1]),
        holds=asking.held_there(session, row),
        given=[
            SimpleNamespace(name=item.names.get(one.by, one.by), at=one.at, counts=one.counts)
            for one in wish.given
        ],
        needed=shown.needed if shown else wish.needed,
        missing=shown.missing if shown else 0,
        reviewed=bool(shown and shown.reviewed),
        policy=wish.policy.kind.value if wish.policy.id else "",
        expires_at=row.expires_at,
        version=shown.version if shown else "",
        stopped=stopped,
        mine=wish.settled_by_me,
        said=row.details.get("said", ""),
        cause=row.details.get("cause", ""),
    )


def _at(instant: str | None) -> str:
    """An instant of a request's details, as the reader's language writes one; empty for none."""
    return f"{times.exact(clock.parse(instant, field='until'))} UTC" if instant else ""


def _facts(item: awaiting.Waiting) -> list[tuple[str, str]]:
    row, names = item.request, item.names
    if row.kind == RequestKind.GRANT:
        return [
            (_("Person"), names.get(row.subject_id or "", "")),
            (_("Project"), names.get(row.details["project"], "")),
            *(
                [(_("Dataset"), names.get(row.details["dataset"], ""))]
                if row.details["dataset"]
                else []
            ),
            (_("Entitlement"), names.get(row.details["entitlement"], "")),
            (_("From"), _at(row.details["starts_at"]) or _("when it is approved")),
            (_("Until"), _at(row.details["until"])),
        ]
    if row.kind == RequestKind.RESUME:
        return [(_("To end at"), row.details["at"][:16].replace("T", " ") + " UTC")]
    if row.kind == RequestKind.RELEASE:
        return [(_("Let out"), ", ".join(item.named))]
    if row.kind == RequestKind.NARROW:
        return [(_("Taken out"), ", ".join(item.named))]
    return []

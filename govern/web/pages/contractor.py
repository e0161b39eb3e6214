"""One's own pages: the projects one works on, reachable while suspended, and one's account.

Everything here is about whoever is signed in: no address names a person.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext

from govern import clock, languages
from govern.access import demands, standing, suspensions, tokens
from govern.access.modes import STOPS, Effect
from govern.access.suspensions import Reason, Scope
from govern.identity import account as accounts
from govern.identity import (
    activation,
    authenticators,
    passwords,
    preferences,
    recovery,
    sessions,
    signed_in,
)
from govern.web import guard
from govern.web.pages import acting, base, times, words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from flask.typing import ResponseReturnValue

    from govern.access.standing import Hold, Standing
    from govern.db import Session
    from govern.identity.sessions import WebSession
    from govern.principal import Principal

blueprint = Blueprint("contractor", __name__)

# So long before access runs out, its holder is told to ask for more.
RENEWED_BEFORE = timedelta(days=30)

_ACTIONS = {
    "read": lazy_gettext("look at the data"),
    "annotate": lazy_gettext("annotate"),
    "review": lazy_gettext("review others’ work"),
    "export": lazy_gettext("download data"),
    "log_hours": lazy_gettext("log hours"),
}
# What a contractor may know of why; of the other reasons, the note says as much as it wants to.
_REASONS = {
    Reason.CLIENT_REQUEST: lazy_gettext("The client asked for it."),
    Reason.INTERNAL_REVIEW: lazy_gettext("We are reviewing the project."),
}
_WHY_PAST = {
    "grant_expired": lazy_gettext("your time on it ran out"),
    "grant_revoked": lazy_gettext("your access was ended"),
    "project_ended": lazy_gettext("the project ended"),
    "client_ended": lazy_gettext("the project ended"),
    "subject_offboarded": lazy_gettext("you left"),
}


# --- projects ----------------------------------------------------------------------------------


@blueprint.get("/status")
@guard.while_suspended
def home() -> ResponseReturnValue:
    """Every project one holds or held, and what it means now."""
    by = guard.principal()
    with guard.database().reading() as session:
        found = standing.whole(session, by.id)
        owed = demands.owed(session, by.id, by.roles)
    now = clock.utcnow()
    projects = [_project(one, now) for one in found.projects if one.ended is None]
    _place_notices(projects)
    return render_template(
        "contractor/home.html",
        person={"name": guard.caller().subject.full_name},
        now=now,
        own=_own(found.own),
        owed=owed,
        projects=projects,
        ending=sorted(
            (each for each in projects if each["ends_at"] - now < RENEWED_BEFORE),
            key=lambda each: each["ends_at"],
        ),
        zone=times.zone(),
        over=found.over,
        past=[
            {"code": _code(one), "ended_at": one.ended_at, "why": _WHY_PAST[one.ended]}
            for one in found.projects
            if one.ended is not None
        ],
    )


def _own(hold: Hold | None) -> dict[str, Any] | None:
    if hold is None:
        return None
    return {
        "mode": hold.mode, "since": hold.since, "review_at": hold.review_by,
        "hours_until": hold.hours_until, "notice": _notice(hold),
    }  # fmt: skip


def _notice(hold: Hold) -> dict[str, Any] | None:
    """What is said of a suspension: its newest version, and those before it."""
    if not hold.notices:
        return None
    newest, *earlier = hold.notices
    return {
        "suspension_id": hold.suspension_id, "newest": newest, "earlier": earlier,
        "contact": _contact(newest.contact),
    }  # fmt: skip


def _place_notices(projects: list[dict[str, Any]]) -> None:
    """A notice that is about several projects is shown at the first, and named at the others."""
    shown: dict[str, str] = {}
    for project in projects:
        told = [each for each in project.pop("told") if each is not None]
        project["notices"] = [each for each in told if each["suspension_id"] not in shown]
        project["see"] = [
            (each["suspension_id"], shown[each["suspension_id"]])
            for each in told
            if each["suspension_id"] in shown
        ]
        for each in project["notices"]:
            shown[each["suspension_id"]] = project["code"]


def _code(one: Standing) -> str:
    return f"{one.project} · {one.dataset}" if one.dataset else one.project


def _project(one: Standing, now: datetime) -> dict[str, Any]:
    first = one.holds[0] if one.holds else None
    state = "running" if first is None else str(first.mode)
    told = {
        hold.suspension_id: _notice(hold)
        for hold in (*one.holds, *one.parts)
        if hold.scope is not Scope.SUBJECT
    }
    hours, until = _hours(one)
    hand_in = [
        hold.notices[0].submit_by
        for hold in (*one.holds, *one.parts)
        if hold.notices and hold.notices[0].submit_by
    ]
    parts = [_("use the dataset %(code)s", code=part.dataset) for part in one.parts]
    return {
        "code": _code(one),
        "project": one.project,
        "about": first.suspension_id if first else None,
        "state": state if one.begun else "scheduled",
        "since": first.since if first else None,
        "temporary": state in {"paused", "read_only"},
        "not_about_you": first is not None and first.scope in {Scope.CLIENT, Scope.PROJECT},
        "reason": " ".join(_reasons(one, first)),
        "told": list(told.values()),
        "may": [_ACTIONS.get(action, action) for action in one.may],
        "may_not": [*(_ACTIONS.get(action, action) for action in one.may_not), *parts],
        "hours": hours,
        "hours_until": until,
        "today": _today(hours, until, now),
        "submit_by": min(hand_in, default=None),
        "review_at": first.review_by if first else None,
        "entitlement": ", ".join(one.entitlements),
        "ends_at": one.ends_at,
        "contact": _contact(one.contact),
    }


def _reasons(one: Standing, first: Hold | None) -> list[str]:
    said = []
    if not one.begun:
        said.append(_("Your access begins on %(day)s (UTC).", day=times.exact(one.starts_at)))
    if first is not None:
        said += {
            Scope.ORGANISATION: [
                _("This is not about you: it covers everyone who works through your organisation.")
            ],
            Scope.DATASET: [
                _("This is not about you: it covers everyone who works with this dataset.")
            ],
            Scope.SUBJECT: [_("It is your own access that is limited, as said above.")],
        }.get(first.scope, [])
        if first.scope is not Scope.SUBJECT and first.reason in _REASONS:
            said.append(str(_REASONS[Reason(first.reason)]))
    if one.unmet:
        said.append(_("Enrol what is asked of you first, as said above."))
    if one.factor_needed:
        said.append(_("To go on, sign out and in again with a code from your authenticator."))
    return said


def _hours(one: Standing) -> tuple[str, Any]:
    """Whether hours count, and the cut-off before or after which they do not."""
    if one.unmet:
        return "owed", None
    stopping = [hold for hold in one.holds if Effect.HOURS in STOPS[hold.mode]]
    cut_off = min((hold.cut_off for hold in stopping), default=None)
    if "log_hours" in one.may:
        return "count", cut_off
    if "log_hours" in one.may_not and cut_off is not None:
        return "stopped", cut_off
    return "none", None


def _today(hours: str, until: datetime | None, now: datetime) -> str:
    """Which of today's hours count, by the day of the reader's own clock: all, until, or none."""
    here = now.astimezone(times.zone() or UTC)
    begins = here.replace(hour=0, minute=0, second=0, microsecond=0)
    if hours == "count":
        return "all" if until is None or until >= begins + timedelta(days=1) else "until"
    if hours == "stopped" and until is not None:
        return "until" if until > begins else "none"
    return ""


def _contact(text: str) -> dict[str, str] | None:
    if not text:
        return None
    name, email = parseaddr(text)
    if "@" not in email:
        return {"name": text, "email": ""}
    return {"name": name, "email": email}


@blueprint.post("/notices/<notice_id>/acknowledge")
@guard.while_suspended
def acknowledge(notice_id: str) -> ResponseReturnValue:
    """Say that one has read a notice."""
    return acting.act(
        lambda session, by: suspensions.notices.acknowledge(session, notice_id, by=by),
        done=lambda _none: _noted(),
        again=lambda _wrong: home(),
        title=_("Say that you have read it"),
        cancel="/status",
    )


def _noted() -> ResponseReturnValue:
    flash(_("Thank you. It is noted that you have read it."), "success")
    return redirect("/status", 303)


# --- account -----------------------------------------------------------------------------------


@blueprint.get("/account")
def account() -> ResponseReturnValue:
    """How one signs in, and where one is signed in."""
    return account_page({})


@blueprint.post("/account/sessions/<session_id>/end")
def end_session(session_id: str) -> ResponseReturnValue:
    """End one of one's own sessions."""
    return acting.act(
        lambda session, by: sessions.end(session, session_id, by=by),
        done=lambda _none: done(_("That session has ended.")),
        again=account_page,
        title=_("End a session"),
        cancel="/account",
    )


@blueprint.post("/account/tools/<token_id>/take-back")
def take_back(token_id: str) -> ResponseReturnValue:
    """Take back what one gave a tool."""
    tokens.take_back(guard.database(), token_id, by=guard.principal())
    return done(_("The tool has your access no more."))


@blueprint.post("/account/sessions/end-others")
def end_other_sessions() -> ResponseReturnValue:
    """End all of one's sessions but this one."""
    return acting.act(
        lambda session, by: signed_in.end_others(session, by=by),
        done=lambda _count: done(_("All your other sessions have ended.")),
        again=account_page,
        title=_("End all other sessions"),
        cancel="/account",
    )


@blueprint.post("/account/recovery-codes")
def renew_recovery_codes() -> ResponseReturnValue:
    """Make new recovery codes, shown in this one answer."""
    return acting.act(
        lambda session, by: accounts.renew_recovery_codes(session, by=by),
        done=lambda codes: account_page({}, new_codes=codes),
        again=account_page,
        title=_("Make new recovery codes"),
        cancel="/account",
    )


@blueprint.post("/account/password")
def change_password() -> ResponseReturnValue:
    """Change the password: the present one, and the new one twice."""
    chosen = request.form.get("password", "")
    if chosen != request.form.get("password_again", ""):
        return account_page({"password_again": _("The two are not the same.")}), 422
    # Hashes take a tenth of a second each: they are made before the transaction, once a form.
    hashed: dict[str, Any] = {}

    def work(session: Session, by: Principal) -> None:
        accounts.change_password(session, **hashed, by=by)

    def prepare(by: Principal) -> None:
        hashed["chosen_hash"] = activation.hash_password(chosen, of=guard.caller().subject)
        hashed["proved"] = accounts.prove_password(
            guard.database(), request.form.get("current", ""), by=by
        )

    return acting.act(
        work,
        before=prepare,
        done=lambda _none: _password_changed(),
        again=account_page,
        title=_("Change my password"),
        cancel="/account",
    )


def _password_changed() -> ResponseReturnValue:
    guard.know_browser()  # what this one knew went with the password before
    return done(_("Your password is changed."))


def done(message: str) -> ResponseReturnValue:
    """Back to one's account, which says what happened."""
    flash(message, "success")
    return redirect("/account", 303)


def account_page(wrong: Mapping[str, str], *, new_codes: list[str] | None = None) -> str:
    """One's account, with what was wrong with a form of it."""
    by, me, zone = guard.principal(), guard.caller().subject, times.zone()
    with guard.database().reading() as session:
        since = base.held_since(session, by.id)
        return render_template(
            "contractor/account.html",
            me={"name": me.full_name, "email": me.email, "external_id": me.external_id},
            factors=accounts.factors(session, by=by),
            recovery=authenticators.recovery_codes(session, by.id),
            new_codes=new_codes,
            tools=tokens.mine(session, by=by),
            sessions=[_session(row, by) for row in signed_in.mine(session, since=since, by=by)],
            form={"time_zone": str(zone or ""), **request.form},
            zone=str(zone or ""),
            zones=[(name, name) for name in preferences.zones()],
            errors=wrong,
            password_min=passwords.MIN_LENGTH,
            recovering=recovery.pending(session, by.id),
            sessions_most=sessions.MOST,
            languages=languages.NAMES,
            language=guard.caller().subject.language or "",
        )


def _session(row: WebSession, by: Principal) -> dict[str, Any]:
    """What tells the sessions of a person apart: see `identity.signed_in`."""
    return {
        "id": row.id,
        "current": row.id == by.session,
        "started_at": row.signed_in_at,
        "last_seen_at": row.seen_at,
        "device": row.device or _("An unknown device"),
        "how": words.how_signed_in(row.amr),
    }

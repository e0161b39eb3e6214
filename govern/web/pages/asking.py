"""Asking for access, for oneself or for others; what became of it; and who has to approve it.

Nobody finds here what they may not know of: one's own page offers the projects that one holds or
held, and a code that is typed is answered alike whether it is nowhere or not the asker's to know.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _
from flask_babel import ngettext

from govern import clock, errors
from govern.access import asking, entitlements
from govern.access.asking import Kind, Openness, Pausing
from govern.web import guard, problems
from govern.web.pages import acting, base, words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flask.typing import ResponseReturnValue
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.asking import Over, Policy
    from govern.access.requests import Request
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("asking", __name__)

_FIELDS = ("place", "project", "dataset", "people", "entitlement", "from", "until", "reason")


# --- one's own -----------------------------------------------------------------------------------


@blueprint.get("/requests/mine")
@guard.while_suspended
def mine() -> ResponseReturnValue:
    """What one asked for and what became of it, and a form to ask for more."""
    return _own({})


@blueprint.post("/requests/mine")
@guard.while_suspended
def ask() -> ResponseReturnValue:
    """Ask for access for oneself."""

    def work(session: Session, by: Principal) -> list[Request]:
        with words.typed("place", base.typed("place")) as chosen:
            project, dataset = asking.find_place(session, *chosen.split("/", 1), by=by)
        me = guard.caller().subject
        return asking.ask_for(
            session, [session.get_one(type(me), by.id)], project, dataset=dataset,
            **_wanted(session), by=by,
        )  # fmt: skip

    return acting.act(
        work,
        done=lambda _rows: _told(_("Asked. You are told here what becomes of it.")),
        again=_own,
        title=_("Ask for access"),
        cancel="/requests/mine",
    )


@blueprint.post("/requests/mine/<request_id>/withdraw")
@guard.while_suspended
def take_back(request_id: str) -> ResponseReturnValue:
    """Withdraw what one asked for, or what was asked for oneself."""
    return acting.act(
        lambda session, by: asking.take_back(session, request_id, by=by),
        done=lambda _row: _told(_("Withdrawn. Nothing has changed.")),
        again=_own,
        title=_("Withdraw a request"),
        cancel="/requests/mine",
    )


def _told(message: str) -> ResponseReturnValue:
    flash(message, "success")
    return redirect("/requests/mine", 303)


def _wanted(session: OrmSession) -> dict[str, Any]:
    """What both forms ask for besides the place and the people."""
    with words.typed("entitlement", base.typed("entitlement")) as name:
        bundle = entitlements.named(session, name)
    starts, until = base.instant("from"), base.instant("until")
    if until is None:
        raise errors.Invalid(_("Until when?"), field="until")
    return {"entitlement": bundle, "starts": starts, "until": until, "reason": words.reason()}


def _bundles(session: OrmSession) -> list[tuple[str, str]]:
    means = entitlements.meanings(session).values()
    return [(name, f"{name} ({', '.join(actions)})") for name, actions in means]


def _form() -> dict[str, str]:
    return {name: request.form.get(name, "") for name in _FIELDS}


def _own(wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    with guard.database().reading() as session:
        found = asking.mine(session, by=by)
        places = [] if by.suspended else asking.known_places(session, by=by)
        opened = [] if by.suspended else asking.open_places(session, by=by)
        bundles = _bundles(session) if places or opened else []
        now = clock.now(session)
    return render_template(
        "contractor/requests.html",
        asked=found,
        news=[one for one in found if one.ended_at and now - one.ended_at < asking.NEWS],
        places=[
            (f"{project}/{dataset}" if dataset else project,
             f"{project} · {dataset}" if dataset else project)
            for project, dataset in places
        ]
        + [(project, _("%(project)s (new to you)", project=project)) for project in opened],
        entitlements=bundles,
        suspended=by.suspended,
        by_mail=bool(guard.database().settings.smtp_url),
        form=_form(),
        errors=wrong,
    )  # fmt: skip


# --- for others ----------------------------------------------------------------------------------


@blueprint.get("/requests/new")
def new() -> ResponseReturnValue:
    """A form to ask for access for others, one or several."""
    return _new({})


@blueprint.post("/requests/new")
def ask_for() -> ResponseReturnValue:
    """Ask for access for others: a request each, all of them or none."""

    def work(session: Session, by: Principal) -> list[Request]:
        with words.typed("project", base.typed("project")) as code:
            project, dataset = asking.find_place(session, code, others=True, by=by)
        if base.typed("dataset"):
            with words.typed("dataset", base.typed("dataset")) as named:
                dataset = asking.find_place(session, project.code, named, others=True, by=by)[1]
        people = asking.find_people(session, base.typed("people"), project, by=by)
        return asking.ask_for(
            session, people, project, dataset=dataset, **_wanted(session), by=by
        )  # fmt: skip

    def done(rows: list[Request]) -> ResponseReturnValue:
        number = len(rows)
        return _told(
            ngettext("Asked for %(num)s person.", "Asked for %(num)s people.", number)
        )  # fmt: skip

    return acting.act(
        work, done=done, again=_new, title=_("Ask for access for others"), cancel="/requests/new"
    )


def _new(wrong: Mapping[str, str]) -> str:
    with guard.database().reading() as session:
        bundles = _bundles(session)
    return render_template(
        "asking_for.html",
        entitlements=bundles,
        most=asking.MOST_AT_ONCE,
        form=_form() | {"project": request.values.get("project", "")},
        errors=wrong,
        code_needed=base.may_anywhere("grant:issue") and acting.code_needed(),
    )


# --- policies ------------------------------------------------------------------------------------


@blueprint.get("/request-policies")
def policies() -> ResponseReturnValue:
    """Who has to approve access, place by place; and a form for one of them."""
    return _policies({})


@blueprint.post("/request-policies")
def set_policy() -> ResponseReturnValue:
    """Put a policy in force, or let what is over it count again."""
    ends = base.typed("decision") == "end"

    def work(session: Session, by: Principal) -> Over:
        with words.typed("over", base.typed("over")) as reference:
            place = asking.over(session, reference, by=by)
        if ends:
            asking.end(session, place, reason=words.reason(), seen=base.typed("seen"), by=by)
            return place
        asking.set_(
            session, place, roles=request.form.getlist("roles"),
            people=base.typed("people").split(), leads=base.typed("leads").split(),
            needed=base.count("needed"), pausing=_pausing(), days=base.count("days"),
            open_to=_open_to(place),
            reason=words.reason(), seen=base.typed("seen"), by=by,
        )  # fmt: skip
        return place

    def done(place: Over) -> ResponseReturnValue:
        told = _("What is over it counts there again.") if ends else _("It is in force.")
        flash(told, "success")
        return redirect(f"/request-policies?over={place.reference}", 303)

    return acting.act(
        work, done=done, again=_policies, title=_("Say who approves access"),
        cancel="/request-policies",
    )  # fmt: skip


def _pausing() -> Pausing:
    try:
        return Pausing(base.typed("pausing"))
    except ValueError:
        raise errors.Invalid(_("Does a request wait, or die?"), field="pausing") from None


def _open_to(place: Over) -> Openness:
    given = base.typed("open_to")
    if not given and place.kind is Kind.HOUSE:  # its form does not ask: it is open to nobody
        return Openness.KNOWN
    try:
        return Openness(given)
    except ValueError:
        raise errors.Invalid(_("Whom is it open to?"), field="open_to") from None


def _policies(wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    wrong = dict(wrong)
    reference = request.values.get("over", "").strip()
    shown: dict[str, Any] = {}
    with guard.database().reading() as session:
        listed = asking.listed(session, by=by)
        if reference:
            try:
                shown = _shown(session, asking.over(session, reference, by=by))
            except (errors.Invalid, errors.Unknown, errors.Forbidden) as error:
                wrong.setdefault("over", problems.in_words(error))
        named = {who for _over, one in listed for who in one.people}
        names = asking.names_of(session, named)
    return render_template(
        "admin/request_policies.html",
        policies=[
            SimpleNamespace(
                over=over, url=f"/request-policies?over={over.reference}", policy=policy,
                people=[names[who][1] for who in policy.people if who in names],
            )
            for over, policy in listed
        ],
        default=asking.DEFAULT,
        over=reference,
        shown=shown,
        form=_policy_form(shown),
        chosen=request.form.getlist("roles") if request.method == "POST" else shown.get("roles"),
        most_needed=asking.MOST_NEEDED,
        most_days=asking.MOST_DAYS,
        errors=wrong,
        code_needed=acting.code_needed(),
    )  # fmt: skip


def _shown(session: OrmSession, place: Over) -> dict[str, Any]:
    """What counts over a place, whether it was set there, and how many requests wait under it."""
    own = asking.own_policy(session, place)
    counts: Policy = own or asking.inherited(session, place)
    names = asking.names_of(session, {*counts.people, *counts.leads})
    return {
        "place": place,
        "own": own is not None,
        "seen": own.id if own else "",
        "from": counts.kind.value if counts.id else "",
        "since": counts.since,
        "roles": list(counts.roles),
        "people": " ".join(names[who][0] for who in counts.people if who in names),
        "leads": " ".join(names[who][0] for who in counts.leads if who in names),
        "needed": str(counts.needed),
        "pausing": counts.pausing.value,
        "days": str(counts.days),
        "open_to": counts.open_to.value,
        "waiting": asking.waiting_under(session, place),
        "may_set": base.may("policy:set", place.client) and not place.ended,
    }


def _policy_form(shown: Mapping[str, Any]) -> dict[str, str]:
    """What was typed; else what counts now."""
    if request.method == "POST":
        return {
            name: request.form.get(name, "")
            for name in (
                "people",
                "leads",
                "needed",
                "pausing",
                "days",
                "open_to",
                "reason",
                "seen",
            )
        }
    kept = ("people", "leads", "needed", "pausing", "days", "open_to", "seen")
    return {name: str(shown.get(name, "")) for name in kept} | {"reason": ""}

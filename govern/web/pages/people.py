"""People: found by name, address or id; one person with all that they hold, and how they leave."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import clock, permissions
from govern.access import erasing, holdings, names, offboarding, recovering, suspensions
from govern.identity import activation, recovery, signed_in, subjects
from govern.identity import roles as assignable
from govern.web import guard, sheets
from govern.web.pages import acting, base, words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flask.typing import ResponseReturnValue
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.erasing import Erased
    from govern.access.requests import Request
    from govern.db import Session
    from govern.identity.sessions import WebSession
    from govern.identity.subjects import Subject
    from govern.principal import Principal

blueprint = Blueprint("people", __name__)


@blueprint.get("/people")
def search() -> ResponseReturnValue:
    """The list of people."""
    return _list({})


def _filters() -> dict[str, Any]:
    """What the list is narrowed to: of the address, or of the form that asks for the same list."""
    asked = {
        name: request.values.get(name, "").strip() for name in ("kind", "state", "organisation")
    }
    if asked["state"] not in holdings.STATES:
        asked["state"] = ""
    return {"query": request.values.get("q", "").strip(), **asked}


@blueprint.post("/people/export")
def export() -> ResponseReturnValue:
    """The list under its filters, whole, as CSV; on record."""

    def work(session: Session, by: Principal) -> None:
        acting.require_fresh(session, by)

    def done(_nothing: None) -> ResponseReturnValue:
        rows = holdings.export_people(guard.database(), _filters(), by=guard.principal())
        head = ("external_id", "full_name", "email", "kind", "organisation", "state", "projects")
        return sheets.answer(
            "people",
            head,
            (
                (row.external_id, row.name, row.email, row.kind, row.organisation, row.state,
                 " ".join(row.projects) + (f" and {row.more} more" if row.more else ""))
                for row in rows
            ),
        )  # fmt: skip

    return acting.act(work, done=done, again=_list, title=_("Export people"), cancel="/people")


def _list(wrong: Mapping[str, str]) -> str:
    filters = _filters()
    by = guard.principal()
    with guard.database().reading() as session:
        organisations = holdings.organisations(session, by=by)
        found = holdings.people(
            session, **filters, after=request.args.get("after", ""),
            looked_at=holdings.PEOPLE_LOOKED_AT, by=by,
        )  # fmt: skip
    for row in found.rows:
        row.url = f"/people/{row.id}"
    return render_template(
        "admin/people.html",
        filter={"q" if name == "query" else name: value for name, value in filters.items()},
        organisations=organisations,
        errors=wrong,
        rows=found.rows,
        next_url=base.next_url(found.after),
        first_url=base.first_url(),
        may_import=base.may("roster:import", None),
    )


@blueprint.get("/people/<subject_id>")
def show(subject_id: str) -> ResponseReturnValue:
    """One person."""
    return page(subject_id, {})


def page(subject_id: str, wrong: Mapping[str, str], link: str | None = None) -> str:
    """Draw a person's page; `link` is an activation link, shown this once."""
    by = guard.principal()
    with guard.database().reading() as session:
        found = holdings.profile(session, subject_id, by=by)
        listed = holdings.search(
            session, subject=found.subject.id, after=request.args.get("after", ""), by=by
        )
        everything = base.may("subject:write", None)
        organisations = holdings.organisations(session, by=by) if everything else []
        under_way = recovery.pending(session, found.subject.id) if everything else None
        asked = recovering.waiting(session, found.subject.id) if everything else None
        living = _living(session, found.subject, by) if everything else []
        over = permissions.scope(by, "role:assign")
        over_codes = sorted(names.of(session, over or ()).values())
    subject = found.subject
    here = subject.ended_at is None
    return render_template(
        "admin/person.html",
        person=SimpleNamespace(
            id=subject.id,
            external_id=subject.external_id,
            name=subject.full_name,
            email=subject.email,
            kind=subject.kind,
            organisation=found.organisation,
            country=subject.country,
            expertise=subject.expertise,
            state=found.state,
            since=subject.ended_at,
            last_sign_in=found.last_sign_in,
            activated=found.activated,
            erased_at=subject.erased_at,
        ),
        grants=[
            SimpleNamespace(
                id=row.id,
                project=SimpleNamespace(code=row.project, url=f"/projects/{row.project}"),
                dataset=row.dataset,
                entitlement=row.entitlement,
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                status=row.status,
                may_revoke=base.may_anywhere("grant:revoke")
                and row.status in {"in_force", "held", "scheduled"},
            )
            for row in listed.rows
        ],
        next_url=base.next_url(listed.after),
        first_url=base.first_url(),
        suspensions=[words.suspension(standing) for standing in found.suspensions],
        roles=[
            SimpleNamespace(
                id=role.id,
                may_take=base.may("role:assign", role.client) and subject.id != by.id,
                role=role.role,
                scope=role.over or _("everything"),
                starts_at=role.starts_at,
                ends_at=role.ends_at,
            )
            for role in found.roles
        ],
        sessions=[
            SimpleNamespace(
                id=row.id,
                started_at=row.signed_in_at,
                last_seen_at=row.seen_at,
                device=row.device or _("An unknown device"),
                how=words.how_signed_in(row.amr),
            )
            for row in living
        ],
        history_url=f"/log?subject={subject.id}" if "auditor" in base.roles_of(by) else None,
        activation=SimpleNamespace(url=link, expires_at=clock.utcnow() + activation.LIFE)
        if link
        else None,
        may_give=here and over != frozenset() and subject.id != by.id,
        assignable=[(role, role) for role in assignable.ASSIGNABLE],
        over=None if over is None else [(code, code) for code in over_codes],
        may_offboard=here and base.may("subject:offboard", None) and subject.id != by.id,
        may_erase=subject.erased_at is None
        and base.may("subject:erase", None)
        and subject.id != by.id,
        may_link=here and everything and not found.activated,
        may_recover=here
        and base.may("subject:recover", None)
        and found.activated
        and subject.id != by.id
        and asked is None
        and under_way is None,
        recovery=under_way,
        recovery_asked=f"/requests/{asked.id}" if asked is not None else None,
        may_move=here and everything,
        organisations=[(name, name) for name in organisations if name != found.organisation],
        counts=SimpleNamespace(grants=found.grants, projects=found.projects),
        form=request.form,
        errors=wrong,
    )


def _living(session: OrmSession, subject: Subject, by: Principal) -> list[WebSession]:
    """Where someone is signed in; what a suspension of theirs ended is left out."""
    return signed_in.of(session, subject, since=base.held_since(session, subject.id), by=by)


@blueprint.post("/people/<subject_id>/sessions/end")
def end_sessions(subject_id: str) -> ResponseReturnValue:
    """End every session of a person, who may sign in again."""
    return _end_sessions(subject_id, None)


@blueprint.post("/people/<subject_id>/sessions/<session_id>/end")
def end_session(subject_id: str, session_id: str) -> ResponseReturnValue:
    """End one session of a person."""
    return _end_sessions(subject_id, session_id)


def _end_sessions(subject_id: str, session_id: str | None) -> ResponseReturnValue:
    def work(session: Session, by: Principal) -> None:
        subject = holdings.profile(session, subject_id, by=by).subject
        if session_id is None:
            signed_in.end_all(session, subject, by=by)
        else:
            signed_in.end(session, subject, session_id, by=by)

    def done(_none: None) -> ResponseReturnValue:
        flash(_("They are signed out there. They may sign in again."), "success")
        return redirect(f"/people/{subject_id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: page(subject_id, wrong),
        title=_("End a person’s sessions"),
        cancel=f"/people/{subject_id}",
    )


@blueprint.post("/people/<subject_id>/offboard")
def offboard(subject_id: str) -> ResponseReturnValue:
    """End everything that a person holds, for good; the number of grants is typed as a brake."""

    def work(session: Session, by: Principal) -> int:
        subject = holdings.profile(session, subject_id, by=by).subject
        return offboarding.offboard(
            session, subject, number=base.count("number"), reason=words.reason(), by=by
        )

    def done(_ended: int) -> ResponseReturnValue:
        flash(_("They have left. Every grant, session and role of theirs has ended."), "success")
        return redirect(f"/people/{subject_id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: page(subject_id, wrong),
        title=_("Offboard a person"),
        cancel=f"/people/{subject_id}",
    )


@blueprint.post("/people/<subject_id>/erase")
def erase(subject_id: str) -> ResponseReturnValue:
    """Erase what is personal of a person, for good."""

    def work(session: Session, by: Principal) -> Erased:
        subject = holdings.profile(session, subject_id, by=by).subject
        return erasing.erase(session, subject, reason=words.reason(), by=by)

    def done(_erased: Erased) -> ResponseReturnValue:
        flash(_("Erased. What is left of them is an id."), "success")
        return redirect(f"/people/{subject_id}", 303)

    def again(wrong: dict[str, str]) -> ResponseReturnValue:
        return page(subject_id, {_ERASE.get(name, name): told for name, told in wrong.items()})

    return acting.act(
        work, done=done, again=again, title=_("Erase a person"), cancel=f"/people/{subject_id}"
    )


@blueprint.post("/people/<subject_id>/organisation")
def move(subject_id: str) -> ResponseReturnValue:
    """Move a person to another firm: at once, or by a request where a suspension holds them."""

    def work(session: Session, by: Principal) -> Request | None:
        subject = holdings.profile(session, subject_id, by=by).subject
        with words.typed("organisation", base.typed("organisation")) as name:
            organisation = subjects.organisation_named(session, name)
        return suspensions.move(
            session, subject, organisation, reason=words.reason(), seen=base.seen(), by=by
        )

    def done(asked: Request | None) -> ResponseReturnValue:
        if asked is None:
            flash(_("Moved."), "success")
            return redirect(f"/people/{subject_id}", 303)
        flash(_("A suspension holds their firm, so a second person must approve the move."), "info")
        return redirect(f"/requests/{asked.id}", 303)

    def again(wrong: dict[str, str]) -> ResponseReturnValue:
        return page(subject_id, words.at_reason(wrong, "move_reason"))

    return acting.act(
        work, done=done, again=again, title=_("Move a person"), cancel=f"/people/{subject_id}"
    )


# What speaks against it as a whole stands at its only field.
_ERASE = {"reason": "erase_reason", "": "erase_reason"}


@blueprint.post("/people/<subject_id>/activation-link")
def link(subject_id: str) -> ResponseReturnValue:
    """Make a one-time activation link, and show it in this answer and never again."""

    def work(session: Session, by: Principal) -> str:
        subject = holdings.profile(session, subject_id, by=by).subject
        return activation.issue(session, subject, by=by)

    def done(token: str) -> ResponseReturnValue:
        url = f"{guard.database().settings.public_url}/activate/{token}"
        return page(subject_id, {}, link=url)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: page(subject_id, wrong),
        title=_("Make an activation link"),
        cancel=f"/people/{subject_id}",
    )

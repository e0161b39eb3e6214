"""One project: its people and grants, searched and paged; giving and revoking a grant."""

from __future__ import annotations

from email.utils import parseaddr
from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import errors
from govern.access import asking, clients, entitlements, grants, holdings, overview, places
from govern.identity import subjects
from govern.web import guard, sheets
from govern.web.pages import acting, base, demanding, people, words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flask.typing import ResponseReturnValue

    from govern.access.clients import Project
    from govern.access.grants import Grant
    from govern.access.requests import Request
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("projects", __name__)


@blueprint.get("/projects/<code>")
def show(code: str) -> ResponseReturnValue:
    """One project."""
    return page(code, {})


def page(code: str, wrong: Mapping[str, str]) -> str:
    """Draw a project's page; `wrong` is what was wrong with the form that was sent."""
    by = guard.principal()
    filters = _filters()
    with guard.database().reading() as session:
        found = overview.project_page(session, code, by=by)
        listed = holdings.search(
            session,
            project=found.project,
            **filters,
            after=request.args.get("after", ""),
            looked_at=holdings.LOOKED_AT,
            by=by,
        )
        demanded = demanding.covering(session, [found.project.id, found.client.id], by=by)
    project, client, line = found.project, found.client, found.line
    acts = base.may("grant:issue", client.id)
    name, email = parseaddr(project.contact)
    return render_template(
        "admin/project.html",
        project=SimpleNamespace(
            code=project.code,
            state=line.state,
            since=line.since,
            client=client,
            contact=SimpleNamespace(name=name or email, email=email) if email else None,
            people=line.people,
            grants=line.grants,
            at_least=line.at_least,
        ),
        datasets=line.datasets,
        demanded=demanded,
        may_demand=base.may("demand:set", client.id),
        covering=[words.suspension(standing) for standing in found.covering],
        filter=_shown(filters),
        entitlements=[(name, name) for name in found.entitlements],
        dataset_choices=[(item.code, item.code) for item in line.datasets],
        rows=[
            SimpleNamespace(
                id=row.id,
                person=SimpleNamespace(
                    url=f"/people/{row.subject_id}",
                    name=row.name,
                    external_id=row.external_id,
                    organisation=row.organisation,
                ),
                entitlement=row.entitlement,
                dataset=row.dataset,
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                status=row.status,
                may_revoke=acts and row.status in {"in_force", "held", "scheduled"},
            )
            for row in listed.rows
        ],
        next_url=base.next_url(listed.after),
        first_url=base.first_url(),
        may_end=line.state != "ended" and base.may("project:end", client.id),
        may_grant=acts and line.state in {"running", "under_review"},
        grant_refused=_refused(line.state, acts=acts),
        review_needed=line.state == "under_review",
        form=request.form,
        errors=wrong,
    )


def _filters() -> dict[str, Any]:
    """What the list is narrowed to, and its order: of the address, or of a form about it."""
    asked = {name: request.values.get(name, "").strip() for name in ("status", "entitlement")}
    sort = request.values.get("sort", "")
    if asked["status"] not in holdings.STATUSES:
        asked["status"] = ""
    return {
        "query": request.values.get("q", "").strip(), **asked,
        "sort": sort if sort in holdings.SORTS else "",
    }  # fmt: skip


def _shown(filters: dict[str, Any]) -> dict[str, str]:
    """The filters by the names that they have in the form."""
    return {"q" if name == "query" else name: value for name, value in filters.items()}


@blueprint.post("/projects/<code>/export")
def export(code: str) -> ResponseReturnValue:
    """The list of grants under its filters, whole, as CSV; on record."""

    def work(session: Session, by: Principal) -> Project:
        project, _client = places.find_project(session, code, by=by)
        acting.require_fresh(session, by)
        return project

    def done(project: Project) -> ResponseReturnValue:
        rows = holdings.export_grants(
            guard.database(), project, _filters(), by=guard.principal()
        )  # fmt: skip
        return sheets.answer(
            f"grants-{project.code}" if project.code.isascii() else "grants",
            (
                "external_id", "full_name", "organisation", "client", "project", "dataset",
                "entitlement", "starts_at", "ends_at", "status",
            ),
            (
                (row.external_id, row.name, row.organisation, row.client, row.project, row.dataset,
                 row.entitlement, row.starts_at, row.ends_at, row.status)
                for row in rows
            ),
        )  # fmt: skip

    return acting.act(
        work,
        done=done,
        again=lambda wrong: page(code, wrong),
        title=_("Export the grants on %(code)s", code=code),
        cancel=f"/projects/{code}",
    )


def _refused(state: str, *, acts: bool) -> str:
    if not acts:
        return str(_("Your role does not cover it."))
    told = {
        "paused": _("It is paused: no grant can be given until that is lifted."),
        "read_only": _("It is read-only: no grant can be given until that is lifted."),
        "ended": _("It has ended."),
    }
    return str(told.get(state, ""))


@blueprint.post("/projects/<code>/grants")
def give(code: str) -> ResponseReturnValue:
    """Give a grant, or ask for one where a second person must approve."""

    def work(session: Session, by: Principal) -> Grant | Request:
        project, _client = places.find_project(session, code, by=by)
        with words.typed("subject", base.typed("subject")) as reference:
            subject = subjects.find(session, reference)
        with words.typed("entitlement", base.typed("entitlement")) as name:
            entitlement = entitlements.named(session, name)
        dataset = None
        if base.typed("dataset"):
            with words.typed("dataset", base.typed("dataset")) as name:
                dataset = clients.dataset(session, name)
        starts, until = base.instant("from"), base.instant("until")
        if until is None:
            raise errors.Invalid(_("Until when?"), field="until")
        reason = words.reason()
        try:
            return grants.issue(
                session, subject, project, entitlement, dataset=dataset, starts=starts,
                until=until, reason=reason, by=by,
            )  # fmt: skip
        except errors.NeedsSecondPerson:
            return asking.ask(
                session, subject, project, entitlement, dataset=dataset, starts=starts,
                until=until, reason=reason, by=by,
            )  # fmt: skip

    def done(result: Grant | Request) -> ResponseReturnValue:
        if isinstance(result, grants.Grant):
            flash(_("Granted."), "success")
            return redirect(f"/projects/{code}", 303)
        flash(_("Asked. It waits until a second person approves."), "info")
        return redirect(f"/requests/{result.id}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: page(code, wrong),
        title=_("Give a grant on %(code)s", code=code),
        cancel=f"/projects/{code}",
    )


@blueprint.post("/grants/<grant_id>/revoke")
def revoke(grant_id: str) -> ResponseReturnValue:
    """End a grant for good; leads back to the person (`from=person`) or the project."""
    by = guard.principal()
    with guard.database().reading() as session:
        grant = grants.find(session, grant_id, by=by)
        code = clients.project(session, grant.project_id).code
    to_person = request.args.get("from") == "person"
    back = f"/people/{grant.subject_id}" if to_person else f"/projects/{code}"

    def work(session: Session, by: Principal) -> None:
        found = grants.find(session, grant_id, by=by)
        grants.revoke(session, found, reason=words.reason(), by=by)

    def done(_nothing: None) -> ResponseReturnValue:
        flash(_("Revoked for good."), "success")
        return redirect(back, 303)

    def again(wrong: dict[str, str]) -> ResponseReturnValue:
        told = words.at_reason(wrong, f"reason-{grant_id}")
        return people.page(grant.subject_id, told) if to_person else page(code, told)

    return acting.act(work, done=done, again=again, title=_("Revoke a grant"), cancel=back)

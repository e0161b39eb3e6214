"""Ending a project or a client for good, with the number of grants typed as a brake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import permissions
from govern.access import ending, places
from govern.web import guard
from govern.web.pages import acting, base, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.clients import Client, Project
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("ending", __name__)


@blueprint.get("/projects/<code>/end", endpoint="project")
@blueprint.get("/clients/<code>/end", endpoint="client")
def show(code: str) -> ResponseReturnValue:
    """What would end, and the number to type."""
    return _page(code, {})


def _find(session: OrmSession, code: str, *, by: Principal) -> Client | Project:
    if request.path.startswith("/clients/"):
        return places.find_client(session, code, by=by)
    return places.find_project(session, code, by=by)[0]


def _page(code: str, wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    with guard.database().reading() as session:
        row = _find(session, code, by=by)
        owner = row.client_id if hasattr(row, "client_id") else row.id
        permissions.require(by, "project:end", client=owner)
        grants = ending.open_grants(session, row)
    return render_template(
        "admin/end.html",
        code=row.code,
        whole=row.id == owner,
        ended_at=row.ended_at,
        grants=grants,
        url=request.path,
        back_url="/" if row.id == owner else f"/projects/{row.code}",
        form=request.form,
        errors=wrong,
        code_needed=acting.code_needed(),
    )


@blueprint.post("/projects/<code>/end", endpoint="end_project")
@blueprint.post("/clients/<code>/end", endpoint="end_client")
def end(code: str) -> ResponseReturnValue:
    """End it: in force at once, and for good."""

    def work(session: Session, by: Principal) -> int:
        return ending.end(
            session,
            _find(session, code, by=by),
            number=base.count("number"),
            reason=words.reason(),
            by=by,
        )

    def done(_grants: int) -> ResponseReturnValue:
        flash(_("It has ended. Its grants are being revoked one by one."), "success")
        return redirect("/" if request.path.startswith("/clients/") else f"/projects/{code}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: _page(code, wrong),
        title=_("End %(code)s for good", code=code),
        cancel=request.path,
    )

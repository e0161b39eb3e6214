"""Who can reach something, or could at an instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import render_template, request
from flask_babel import gettext as _

from govern import clock, errors, permissions
from govern.access import clients, entitlements, evaluation, names
from govern.audit import reading
from govern.web import guard
from govern.web.pages import base
from govern.web.pages.auditor.filters import blueprint, instant

if TYPE_CHECKING:
    from datetime import datetime

    from flask.typing import ResponseReturnValue

    from govern.db import Session
    from govern.principal import Principal

PEOPLE = 100


@blueprint.get("/who")
def who() -> ResponseReturnValue:
    """Who can reach a client's projects, a project or a dataset: now, or at an instant."""
    by = guard.principal()
    if not base.may_anywhere("grant:read"):
        permissions.require(by, "grant:read")
    form = {name: request.args.get(name, "").strip() for name in ("target", "at")}
    wrong: dict[str, str] = {}
    answer: dict[str, Any] = {"asked": False, "rows": [], "next_url": None, "first_url": None}
    if form["target"]:
        at = instant(request.args, "at", wrong)
        try:
            if not wrong:
                answer = _who(form["target"], at, by=by)
        except errors.Unknown:
            wrong["target"] = _("There is nothing of that name, or you may not know of it.")
        except errors.Invalid as error:
            wrong["target"] = error.message
    page = render_template("auditor/who.html", form=form, errors=wrong, people=None, **answer)
    return page, 422 if wrong else 200


def _who(target: str, at: datetime | None, *, by: Principal) -> dict[str, Any]:
    kind, _colon, code = target.partition(":")
    kind, code = (kind.strip().lower(), code.strip()) if _colon else ("project", kind.strip())
    with base.showing() as session:
        asked = at or clock.now(session)
        found = evaluation.search(
            session, action="read", kind=kind, code=code, at=at,
            after=request.args.get("after", ""), limit=PEOPLE + 1, by=by,
        )  # fmt: skip
        client_id = _client_of(session, kind, code)
        reading.note(
            guard.database(), "who", client=client_id,
            detail={"at": clock.text(asked), "kind": kind}, by=by,
        )  # fmt: skip
        meant = entitlements.meanings(session, at)
        size = reading.size_at(session, client_id, at, by=by)
        log_name = names.of(session, [client_id])[client_id]
    rows = found[:PEOPLE]
    return {
        "asked": True,
        "question": _(
            "Who could look at %(target)s at %(at)s UTC",
            target=f"{kind}:{code}", at=asked.strftime("%Y-%m-%d %H:%M"),
        ),
        "log": log_name,
        "as_of": size,
        "rows": [
            {
                "person": {
                    "name": row.full_name, "external_id": row.external_id,
                    "url": f"/people/{row.subject_id}/history",
                },
                "scope": row.project,
                "entitlement": meant[row.entitlement_id][0],
                "actions": meant[row.entitlement_id][1],
                "first": row.starts_at,
                "last": row.ends_at,
            }
            for row in rows
        ],
        "next_url": base.next_url(rows[-1].grant_id if len(found) > PEOPLE else None),
        "first_url": base.first_url(),
    }  # fmt: skip


def _client_of(session: Session, kind: str, code: str) -> str:
    """The client whose log answers; `search` has allowed it already."""
    if kind == "client":
        return clients.client(session, code).id
    if kind == "dataset":
        dataset = clients.dataset(session, code)
        return clients.project(session, dataset.project_id).client_id
    return clients.project(session, code).client_id

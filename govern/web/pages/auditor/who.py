"""Who can reach something, could at an instant, or could at any moment of a range."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from flask import render_template, request, send_file
from flask_babel import gettext as _

from govern import clock, errors, permissions
from govern.access import clients, entitlements, evaluation, exposure
from govern.audit import reading
from govern.web import guard, problems
from govern.web.pages import base, times
from govern.web.pages.auditor.filters import blueprint, instant

if TYPE_CHECKING:
    from datetime import datetime
    from typing import BinaryIO

    from flask.typing import ResponseReturnValue

    from govern.db import Session
    from govern.principal import Principal

PEOPLE = 100
_FIELDS = ("target", "at", "from", "to")


@blueprint.get("/who")
def who() -> ResponseReturnValue:
    """Who can reach a client's projects, a project or a dataset: now, then, or ever in a range."""
    by = guard.principal()
    if not base.may_anywhere("grant:read"):
        permissions.require(by, "grant:read")
    form = {name: request.args.get(name, "").strip() for name in _FIELDS}
    wrong: dict[str, str] = {}
    answer: dict[str, Any] = {"asked": False, "rows": [], "next_url": None, "first_url": None}
    if form["target"]:
        at, begin, end = (instant(request.args, name, wrong) for name in ("at", "from", "to"))
        if begin is None and end is not None:
            wrong.setdefault("from", _("A range needs its beginning."))
        elif begin is not None and at is not None:
            wrong.setdefault("at", _("Ask about an instant or about a range, not about both."))
        try:
            if not wrong and begin is not None and request.args.get("format") == "csv":
                return _file(form["target"], begin, end, by=by)
            if not wrong and begin is not None:
                answer = _ever(form["target"], begin, end, by=by)
            elif not wrong:
                answer = _who(form["target"], at, by=by)
        except errors.Unknown:
            wrong["target"] = _("There is nothing of that name, or you may not know of it.")
        except errors.Invalid as error:
            wrong[error.field if error.field in _FIELDS else "target"] = problems.in_words(error)
    page = render_template("auditor/who.html", form=form, errors=wrong, people=None, **answer)
    return page, 422 if wrong else 200


def _who(target: str, at: datetime | None, *, by: Principal) -> dict[str, Any]:
    kind, code = _parted(target)
    with base.showing() as session:
        place = exposure.placed(session, kind, code, by=by)
        asked = at or place.now
        found = evaluation.search(
            session, action="read", kind=kind, code=code, at=at,
            after=request.args.get("after", ""), limit=PEOPLE, looked_at=exposure.LOOKED_AT, by=by,
        )  # fmt: skip
        reading.note(
            guard.database(), "who", client=place.client,
            detail={"at": clock.text(asked), "kind": kind}, by=by,
        )  # fmt: skip
        meant = entitlements.meanings(session, at)
        size = reading.size_at(session, place.client, at, by=by)
    return {
        "asked": True,
        "question": _(
            "Who could look at %(target)s at %(at)s UTC",
            target=f"{kind}:{code}", at=times.exact(asked),
        ),
        "log": place.code,
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
            for row in found.rows
        ],
        "next_url": base.next_url(found.after),
        "first_url": base.first_url(),
    }  # fmt: skip


def _ever(target: str, begin: datetime, end: datetime | None, *, by: Principal) -> dict[str, Any]:
    kind, code = _parted(target)
    with base.showing() as session:
        place = exposure.placed(session, kind, code, by=by)
        begin, end = exposure.within(session, begin, end or place.now, now=place.now)
        found = exposure.reach_of(
            session, place, begin=begin, end=end,
            after=request.args.get("after", ""), limit=PEOPLE, looked_at=exposure.LOOKED_AT,
        )  # fmt: skip
        _noted(place.client, kind, begin, end, by=by)
        meant = entitlements.meanings(session, end)
        size, log_name = reading.size_at(session, place.client, end, by=by), place.code
    return {
        "asked": True,
        "ranged": True,
        "question": _(
            "Who could look at %(target)s at any moment from %(begin)s to %(end)s UTC",
            target=f"{kind}:{code}", begin=_second(begin), end=_second(end),
        ),
        "log": log_name,
        "as_of": size,
        "rows": [
            {
                "person": {
                    "name": row.full_name, "external_id": row.external_id,
                    "url": f"/people/{row.subject_id}/history",
                },
                "scope": f"{row.project}/{row.dataset}" if row.dataset else row.project,
                "grant": row.grant_id,
                "entitlement": meant[row.entitlement_id][0],
                "actions": meant[row.entitlement_id][1],
                "intervals": row.intervals,
            }
            for row in found.rows
        ],
        "next_url": base.next_url(found.after),
        "first_url": base.first_url(),
        "file_url": base.page_url(after=None, format="csv"),
    }  # fmt: skip


def _file(
    target: str, begin: datetime, end: datetime | None, *, by: Principal
) -> ResponseReturnValue:
    """The whole answer as CSV, a row an interval, of one snapshot."""
    kind, code = _parted(target)
    database = guard.database()
    with database.reading() as session:
        begin, end = exposure.within(session, begin, end or clock.now(session))
        pages = exposure.every(session, kind, code, begin=begin, end=end, by=by)
        _noted(_client_of(session, kind, code), kind, begin, end, by=by)
        file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the answer was sent
        file.writelines(piece.encode() for piece in exposure.sheet.rows(pages))
    file.seek(0)
    return send_file(
        file, mimetype="text/csv", as_attachment=True,
        download_name=f"govern-who-{begin:%Y%m%dT%H%M%SZ}-{end:%Y%m%dT%H%M%SZ}.csv",
    )  # fmt: skip


def _noted(client_id: str, kind: str, begin: datetime, end: datetime, *, by: Principal) -> None:
    """Leave the row about a range that was asked of something of a client."""
    reading.note(
        guard.database(), "who", client=client_id,
        detail={"from": clock.text(begin), "to": clock.text(end), "kind": kind}, by=by,
    )  # fmt: skip


def _parted(target: str) -> tuple[str, str]:
    kind, colon, code = target.partition(":")
    return (kind.strip().lower(), code.strip()) if colon else ("project", kind.strip())


def _second(when: datetime) -> str:
    return when.replace(tzinfo=None).isoformat(" ", "seconds")


def _client_of(session: Session, kind: str, code: str) -> str:
    """The client whose log answers; `search` has allowed it already."""
    if kind == "client":
        return clients.client(session, code).id
    if kind == "dataset":
        dataset = clients.dataset(session, code)
        return clients.project(session, dataset.project_id).client_id
    return clients.project(session, code).client_id

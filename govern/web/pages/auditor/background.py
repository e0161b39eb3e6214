"""Exports made in the background: how far each is, and its file once there is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import make_response, render_template, request
from flask_babel import gettext as _

from govern.access import names
from govern.audit import exports
from govern.audit.exports import State
from govern.web import exports as files
from govern.web import guard
from govern.web.pages import acting
from govern.web.pages.auditor.filters import blueprint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flask.typing import ResponseReturnValue

    from govern.audit.exports import LogExport

_MOVING = {State.WAITING, State.WRITING}


@blueprint.get("/log/exports")
def exports_made() -> ResponseReturnValue:
    """One's own exports, the newest first."""
    return _page({})


@blueprint.get("/log/exports/progress")
def exports_progress() -> ResponseReturnValue:
    """The part that moves; when none is under way any more the browser draws the whole anew."""
    rows = _rows()
    response = make_response(render_template("auditor/_exports.html", exports=rows))
    if not any(row.state in _MOVING for row in rows):
        response.headers["HX-Refresh"] = "true"
    return response


@blueprint.post("/log/exports/<export_id>/file")
def export_fetched(export_id: str) -> ResponseReturnValue:
    """Send the file, after its row is in the access log."""
    return acting.act(
        lambda session, by: exports.take(session, export_id, by=by),
        done=lambda taken: files.sent(taken[1], taken[0].form, taken[0].asked_at),
        again=_page,
        title=_("Fetch an export"),
        cancel="/log/exports",
    )


def _page(wrong: Mapping[str, str]) -> str:
    rows = _rows()
    return render_template(
        "auditor/exports.html", exports=rows, errors=wrong,
        moving=any(row.state in _MOVING for row in rows), days=_days(),
        just_asked=request.args.get("asked") == "yes",
    )  # fmt: skip


def _days() -> int:
    return guard.database().settings.export_days


def _rows() -> list[SimpleNamespace]:
    with guard.database().reading() as session:
        found = exports.mine(session, by=guard.principal())
        codes = names.of(session, [row.client_id for row in found if row.client_id])
    return [_shown(row, codes) for row in found]


def _shown(row: LogExport, codes: Mapping[str, str]) -> SimpleNamespace:
    return SimpleNamespace(
        id=row.id, state=row.state, form=files.NAMES[row.form],
        log=codes.get(row.client_id, row.client_id) if row.client_id else None,
        filter=_filter(row.fields["filter"]), asked_at=row.asked_at, passed=row.passed,
        total=row.total, rows=row.rows, rate=row.rate, seconds_left=row.seconds_left,
        bytes=row.bytes, digest=row.digest, ended_at=row.ended_at, expires_at=row.expires_at,
        fetched_at=row.fetched_at, error=row.error,
    )  # fmt: skip


def _filter(asked: Mapping[str, Any]) -> str:
    """What the file shows of the logs, as far as it can be said without a name."""
    labels = {
        "subject": _("one person"), "project": _("one project"), "actor": _("done by one"),
        "from": _("from an instant"), "to": _("until an instant"),
    }  # fmt: skip
    told = [*asked.get("types", ()), *(words for name, words in labels.items() if name in asked)]
    return ", ".join(map(str, told))

"""Everything about one suspension on one page: what an auditor prints and files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask import Response, render_template
from flask_babel import gettext as _

from govern.access import histories, names
from govern.web import guard
from govern.web.pages import words
from govern.web.pages.auditor.entries import named_in, told
from govern.web.pages.auditor.filters import blueprint

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@blueprint.get("/suspensions/<suspension_id>/record")
def record(suspension_id: str) -> ResponseReturnValue:
    """Entries, releases, notices, the resume, the time to effect and the receipts."""
    by = guard.principal()
    with guard.database().reading() as session:
        found = histories.of_suspension(session, suspension_id, by=by)
        called = names.of(session, named_in(found.entries))
    histories.note(guard.database(), found, by=by)
    detail = found.found
    row = detail.standing.suspension
    return render_template(
        "auditor/record.html",
        s={
            "id": row.id,
            "title": words.scope(detail.standing.names),
            "state": detail.standing.mode.value if detail.standing.is_open else "lifted",
            "by": detail.inner(detail.opened_by),
            "opened_at": row.recorded_at,
            "lifted_at": row.ended_at,
            "reason": row.reason,
            "internal_reason": detail.inner(row.internal_reason),
        },
        parts=detail.standing.parts,
        modes=detail.modes,
        releases=found.releases,
        notices=found.notices,
        resume=detail.resume,
        measured=found.measured,
        progress=detail.standing.progress,
        entries=[told(entry, called) for entry in found.entries],
        nothing=_("No entry that you may read tells of it."),
        next_url=None,
        first_url=None,
        clients=found.clients,
    )


@blueprint.get("/suspensions/<suspension_id>/record.json")
def record_as_json(suspension_id: str) -> ResponseReturnValue:
    """The same as the API tells it."""
    by = guard.principal()
    with guard.database().reading() as session:
        found = histories.of_suspension(session, suspension_id, by=by)
        said = histories.record(session, found)
    histories.note(guard.database(), found, by=by)
    return Response(
        json.dumps(said, ensure_ascii=False, indent=2), content_type="application/json"
    )  # fmt: skip

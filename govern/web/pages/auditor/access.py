"""The access log: who asked what and was told what, found by people's own words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import render_template, request
from flask_babel import gettext as _

from govern import errors, permissions
from govern.access import evaluation, uses
from govern.audit import decisions, searching
from govern.audit.decisions import AccessKind
from govern.web import guard, problems
from govern.web.pages import base
from govern.web.pages.auditor.filters import PAGE, blueprint, instant

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from govern.audit.searching import Page, Row
    from govern.db import Session
    from govern.principal import Principal

_FILTERS = ("person", "project", "integration", "from", "to", "outcome", "kind", "mine")
_OUTCOMES = {"": None, "permit": True, "deny": False}


@blueprint.get("/log/access")
def access_log() -> ResponseReturnValue:
    """The rows of the access log that one may read, filtered, newest first."""
    by = guard.principal()
    typed = {name: request.args.get(name, "").strip() for name in _FILTERS}
    wrong: dict[str, str] = {}
    with base.showing() as session:
        page = _page(session, typed, wrong, by=by)
        called = uses.called(session, page.rows if page else (), by=by)
    clients = permissions.scope(by, "log:read")
    codes = [called[one] for one in clients or () if one in called]
    return render_template(
        "auditor/access.html",
        rows=[_shown(row, called, whole=clients is None) for row in page.rows] if page else [],
        until=page.until if page else None,
        next_url=base.next_url(page.after) if page else None,
        first_url=base.first_url(),
        outcomes=[("permit", _("Permitted")), ("deny", _("Refused"))],
        kinds=[(kind.value, words) for kind, words in _kinds().items()],
        filter=typed,
        errors=wrong,
        redacted=_("You read what concerns %(clients)s alone. Other people and systems are shown "
                   "by their ids.", clients=", ".join(sorted(codes))) if codes else "",
    ), 422 if wrong else 200  # fmt: skip


def _page(
    session: Session, typed: dict[str, str], wrong: dict[str, str], *, by: Principal
) -> Page | None:
    """Search as the form says; None when some of it means nothing, and `wrong` says what."""
    begin, end = instant(request.args, "from", wrong), instant(request.args, "to", wrong)
    if typed["outcome"] not in _OUTCOMES:
        wrong["outcome"] = _("There is no such outcome.")
    if typed["kind"] and typed["kind"] not in set(AccessKind):
        wrong["kind"] = _("There is no such kind of access.")
    if wrong:
        return None
    try:
        where = uses.where(
            session, subject=typed["person"], project=typed["project"],
            integration=typed["integration"], permit=_OUTCOMES[typed["outcome"]],
            kind=AccessKind(typed["kind"]) if typed["kind"] else None, begin=begin, end=end, by=by,
        )  # fmt: skip
    except errors.Unknown as error:
        wrong["person" if error.field == "subject" else error.field or ""] = problems.in_words(
            error
        )
        return None
    return searching.search(
        guard.database(),
        replace(where, mine=bool(typed["mine"])),
        after=request.args.get("after", ""),
        limit=PAGE,
        stretches=1,
        snapshot=base.showing if guard.database().copy is not None else None,
        by=by,
    )


def _kinds() -> dict[AccessKind, str]:
    return {
        AccessKind.DECISION: _("Decision"),
        AccessKind.SEARCH: _("Search"),
        AccessKind.READ: _("Look"),
        AccessKind.EXPORT: _("Export"),
        AccessKind.REFUSAL: _("Turned away"),
        AccessKind.INTROSPECTION: _("Question about a token"),
        AccessKind.TOKEN: _("Token given or taken back"),
    }


def _shown(row: Row, called: dict[str, str], *, whole: bool) -> dict[str, Any]:
    """One row, in words; the codes stand beside them."""
    sentence = evaluation.REASONS.get(row.reason or "", "")
    return {
        "id": decisions.row_id(guard.database().settings, row.writer, row.number),
        "mark": row.mark if whole else "",
        "at": row.at,
        "kind": _kinds()[AccessKind(row.kind)],
        "permit": row.permit,
        "person": called.get(row.subject_id or "", row.subject_id or ""),
        "person_url": f"/people/{row.subject_id}/history" if row.subject_id in called else None,
        "action": row.action or "",
        "resource": called.get(row.resource_id or "", row.resource_id or ""),
        "client": called.get(row.client_id or "", row.client_id or ""),
        "by": called.get(row.principal, row.principal),
        "session": row.session_id or "",
        "reason": row.reason or "",
        "sentence": sentence,
        "as_of": row.as_of,
        "worked_at": row.worked_at,
        "detail": [f"{name}: {value}" for name, value in row.detail.items()],
    }

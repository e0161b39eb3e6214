"""What was recorded since the last audit: since a size, a checkpoint, or an instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import render_template, request
from flask_babel import gettext as _

from govern import errors, permissions
from govern.access import histories, names
from govern.audit import reading
from govern.audit.log import HOUSE
from govern.web import guard, problems
from govern.web.pages import base
from govern.web.pages.auditor.entries import listing
from govern.web.pages.auditor.filters import PAGE, blueprint, hidden, instant

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from govern.access.histories import Changes
    from govern.db import Session
    from govern.principal import Principal

_FIELDS = ("log", "size", "checkpoint", "from")
_LARGEST = 18  # digits


@blueprint.get("/log/changes")
def changes() -> ResponseReturnValue:
    """Ask since when; then every entry since, and how many of each type."""
    by = guard.principal()
    form = {name: request.args.get(name, "").strip() for name in _FIELDS}
    wrong: dict[str, str] = {}
    found = None
    shown: dict[str, Any] = {"entries": [], "next_url": None, "first_url": None}
    with base.showing() as session:
        ids = reading.readable(session, by=by)
        codes = names.of(session, ids)
        readable = [(codes.get(one, one), one) for one in ids if one != HOUSE]
        if any(form[name] for name in _FIELDS[1:]):
            try:
                found = _since(session, form, wrong, by=by)
            except (errors.Invalid, errors.LogDamaged) as error:
                wrong[_field(error)] = problems.in_words(error)
            except errors.Unknown:
                wrong["log"] = _("There is no such log, or you may not know of it.")
        if found is not None:
            shown = listing(session, found.page)
    options = [(code, code) for code, _id in sorted(readable)]
    if HOUSE in ids:
        options.append((HOUSE, _("The house: people, roles, keys")))
    page = render_template(
        "auditor/changes.html", form=form, errors=wrong, logs=options, found=found,
        spans=[
            (codes.get(each, _("the house")), found.begins[each], size)
            for each, size in sorted(found.sizes.items())
        ] if found else [],
        redacted=hidden([code for code, _id in sorted(readable)])
        if permissions.scope(by, "log:read") is not None else "",
        **shown,
    )  # fmt: skip
    return page, 422 if wrong else 200


def _since(
    session: Session, form: dict[str, str], wrong: dict[str, str], *, by: Principal
) -> Changes | None:
    begin = instant(request.args, "from", wrong)
    size = form["size"].replace(",", "")
    if size and not (size.isascii() and size.isdigit() and len(size) <= _LARGEST):
        wrong["size"] = _("This is no number of entries.")
    if wrong:
        return None
    found = histories.since(
        session, code=form["log"], size=int(size) if size else None, checkpoint=form["checkpoint"],
        begin=begin, after=request.args.get("after", ""), limit=PAGE, by=by,
    )  # fmt: skip
    histories.note(guard.database(), found, by=by)
    return found


def _field(error: errors.Invalid | errors.LogDamaged) -> str:
    if isinstance(error, errors.LogDamaged):
        return "checkpoint"
    field = error.field or ""
    return {"since": "size"}.get(field, field)

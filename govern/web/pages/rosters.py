"""A roster from a browser: previewed row by row, then taken in as it was shown, or not at all.

The file travels with the form, packed, from the preview to the act: nothing of it is kept here
before somebody confirmed it.
"""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _
from flask_babel import ngettext

from govern import errors, permissions
from govern.access import roster
from govern.web import guard, problems, sheets
from govern.web.pages import acting, base

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flask.typing import ResponseReturnValue
    from sqlalchemy.orm import Session

    from govern.access.roster import Outcome, Preview
    from govern.principal import Principal

blueprint = Blueprint("rosters", __name__)

MOST = 4 * 1024 * 1024  # some 25,000 rows; what is larger goes by command
_MOST_SENT = 2 * MOST  # packed and written in base64, whatever is in it
REJECTED_SHOWN = 50
# What an operation calls the whole of what was sent, and what the form does.
_FIELDS = {"header": "file"}


@blueprint.url_value_preprocessor
def room_for_a_file(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Whoever looks at the form afterwards may find a roster in it."""
    if (endpoint or "").startswith(f"{blueprint.name}."):
        request.max_content_length = request.max_form_memory_size = _MOST_SENT


@blueprint.get("/roster")
def show() -> ResponseReturnValue:
    """Choose a file."""
    return _page({})


@blueprint.post("/roster/preview")
def preview() -> ResponseReturnValue:
    """Say what a file would do; nothing is written."""
    by = guard.principal()
    permissions.require(by, "roster:import")
    try:
        return _preview_page(_uploaded(), {}, by)
    except errors.Invalid as error:
        return acting.refusal(error, _page({"file": problems.in_words(error)}))


def _uploaded() -> bytes:
    file = request.files.get("file")
    if file is None or not file.filename:
        raise errors.Invalid(_("Choose a file."), field="file")
    given: bytes = file.read(MOST + 1)
    if len(given) > MOST:
        raise errors.Invalid(
            _("A file of at most %(n)s MB, please; a larger one by command.", n=MOST >> 20),
            field="file",
        )
    return given


@blueprint.post("/roster")
def take_in() -> ResponseReturnValue:
    """Take in what the preview showed, by the operation of `govern import roster`."""
    outcomes: list[Outcome] = []

    def load(by: Principal) -> None:
        # It commits chunk by chunk, and judges each again under its log's head.
        outcomes[:] = [
            roster.load(
                guard.database(), io.BytesIO(_unpacked()),
                skip_rejected="skip_rejected" in request.form, expected=base.typed("digest"), by=by,
            )
        ]  # fmt: skip

    def work(_session: Session, _by: Principal) -> Outcome:
        return outcomes[0]

    def done(outcome: Outcome) -> ResponseReturnValue:
        if not outcome.applied:
            told = _("Say that the rejected rows are passed over, or correct the file.")
            error = errors.Invalid(told, field="skip_rejected")
            return acting.refusal(error, again({"skip_rejected": told}))
        flash(_done(outcome), "success")
        return redirect("/people", 303)

    def again(wrong: dict[str, str]) -> ResponseReturnValue:
        try:
            return _preview_page(_unpacked(), wrong, guard.principal())
        except errors.Invalid:
            return _page(wrong)

    return acting.act(
        work, before=load, done=done, again=again, title=_("Take in a roster"), cancel="/roster"
    )


def _done(outcome: Outcome) -> str:
    told = ngettext(
        "%(num)s row was taken in.", "%(num)s rows were taken in.", len(outcome.accepted)
    )
    if not outcome.rejected:
        return str(told)
    passed = ngettext(
        "%(num)s row was passed over.", "%(num)s rows were passed over.", len(outcome.rejected)
    )
    return f"{told} {passed}"


@blueprint.post("/roster/rejected")
def rejected() -> ResponseReturnValue:
    """The rows that would be rejected, with why, as a file to correct."""
    by = guard.principal()
    permissions.require(by, "roster:import")
    found = roster.rejected(guard.database(), _unpacked(), by=by)
    rows = ((fault.line, fault.column, fault.reason, *cells) for fault, cells in found)
    return sheets.answer("rejected", ("line", "column", "reason", *roster.COLUMNS), rows)


# --- the pages ---------------------------------------------------------------------------------


def _page(wrong: Mapping[str, str]) -> str:
    permissions.require(guard.principal(), "roster:import")
    return render_template(
        "admin/roster.html", columns=roster.COLUMNS, most=MOST >> 20,
        errors={_FIELDS.get(name, name): told for name, told in wrong.items()},
    )  # fmt: skip


def _preview_page(given: bytes, wrong: Mapping[str, str], by: Principal) -> str:
    found: Preview = roster.preview(guard.database(), io.BytesIO(given), by=by)
    return render_template(
        "admin/roster_preview.html",
        found=found,
        rejected_shown=found.rejected[:REJECTED_SHOWN],
        projects=found.projects.most_common(),
        content=base64.b64encode(zlib.compress(given)).decode(),
        form=request.form,
        errors=wrong,
        code_needed=acting.code_needed(),
    )


def _unpacked() -> bytes:
    """The file that came with the form; never more than may be uploaded."""
    try:
        packed = base64.b64decode(base.typed("content"), validate=True)
        unpacking = zlib.decompressobj()
        given = unpacking.decompress(packed, MOST + 1)
    except (binascii.Error, ValueError, zlib.error):
        given = b""
    if not given or len(given) > MOST:
        raise errors.Invalid(_("Choose the file again."), field="file")
    return given

"""Exports, and their verification: what an auditor takes away, and holds against the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import redirect, render_template, request
from flask_babel import gettext as _

from govern import clock, errors, permissions
from govern.access import names
from govern.audit import exports as background
from govern.audit import parquet, reading, receipts
from govern.audit.events import EventType
from govern.audit.log import HOUSE
from govern.audit.signer import Signer
from govern.web import exports, guard, problems, verifying
from govern.web import receipts as answers
from govern.web.pages import acting, base
from govern.web.pages.auditor.filters import FILTERS, asked_for, blueprint

_DIGITS = 16  # no log has so many entries

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from flask.typing import ResponseReturnValue

    from govern.audit.export import Filter
    from govern.db import Session
    from govern.principal import Principal


@blueprint.get("/log/export")
def export_form() -> ResponseReturnValue:
    """Ask what to export, and show what makes later proof independent of us."""
    return _export_page(request.args, {})


@blueprint.post("/log/export")
def export_done() -> ResponseReturnValue:
    """Send the file, after its row is in the access log; or have it made in the background."""
    form, later = request.form.get("format", ""), request.form.get("when") == "later"
    files: list[BinaryIO] = []

    def write(by: Principal) -> None:
        database = guard.database()
        _may_export(by)
        with database.reading() as session:
            client, where = _wanted(session, by)
            permissions.require_fresh(by, now=clock.now(session))
        if not later:
            files.append(exports.written(database, form, client=client, where=where, by=by))
        elif form == exports.PACK:
            raise errors.Invalid(_("An evidence pack is made at once."), field="when")
        else:
            exports.signed(database)

    def work(session: Session, by: Principal) -> None:
        if later:
            client, where = _wanted(session, by)
            background.ask(session, form=form, client=client, where=where, by=by)

    def done(_none: None) -> ResponseReturnValue:
        if later:
            return redirect("/log/exports?asked=yes", 303)
        return exports.answer(files[-1], form)

    return acting.act(
        work,
        before=write,
        done=done,
        again=lambda wrong: _export_page(request.form, wrong),
        title=_("Export the log"),
        cancel="/log/export",
    )


def _wanted(session: Session, by: Principal) -> tuple[str | None, Filter]:
    """The client whose log is to be exported, None for all that one may; and which entries."""
    asked = asked_for(session, request.form, by=by)
    for name, message in asked.errors.items():
        raise errors.Invalid(message, field=name)
    client = asked.logs[0] if asked.typed["log"] else None
    if client == HOUSE:
        raise errors.Invalid(
            _("Choose a client, or all that you may read: the house goes with all."),
            field="log",
        )
    return client, asked.where


def _may_export(by: Principal) -> None:
    """Turn who may export nothing at all away before anything else is asked of them."""
    if not base.may_anywhere("log:export"):
        permissions.require(by, "log:export")


def _export_page(given: Mapping[str, str], wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    _may_export(by)
    with guard.database().reading() as session:
        ids = reading.readable(session, by=by)
        heads = reading.checkpoints(session, by=by)
        codes = names.of(session, ids)
    return render_template(
        "auditor/export.html",
        logs=sorted((code, code) for code in codes.values()),
        types=sorted(EventType),
        formats=[
            ("jsonl", _("JSON Lines"), _("One entry a line, exactly as stored.")),
            ("csv", _("CSV"), _("For a spreadsheet; proves as much.")),
            ("ocsf", _("OCSF 1.8.0"),
             _("One event a line, for a SIEM; a whole log proves itself.")),
            *([("parquet", _("Parquet"), _("In columns, for analysis; proves as much."))]
              if parquet.is_installed() else []),
            (exports.PACK, _("Evidence pack"),
             _("Of one client and period: the log with its proofs, who could reach what, every "
               "stop, a report that prints, and the program that checks it all offline.")),
        ],
        form={name: given[name] for name in (*FILTERS, "format", "when") if given.get(name)},
        errors=wrong,
        code_needed=acting.code_needed(),
        vkey=Signer(guard.database().settings).key,
        checkpoints=[
            {
                "log": codes.get(head.log_id, head.log_id), "size": head.size,
                "at": head.signed_at, "text": head.note,
            }
            for head in heads
        ],
    )  # fmt: skip


@blueprint.get("/log/receipt")
def receipt() -> ResponseReturnValue:
    """One entry with its proof, as a page to keep."""
    by, database = guard.principal(), guard.database()
    if not base.may_anywhere("log:read"):
        permissions.require(by, "log:read")
    place = request.args.get("seq", "")
    if not (place.isdecimal() and len(place) < _DIGITS):
        raise errors.Invalid(_("Say which entry."), field="seq")
    exports.signed(database)
    with database.reading() as session:
        log_id = names.log_of(session, request.args.get("log", ""), by=by)
        document = receipts.of_entry(session, log_id, int(place), by=by)
    client = None if log_id == HOUSE else log_id
    reading.note(database, "receipt", client=client, detail={"entry": int(place)}, by=by)
    return answers.answer(document)


@blueprint.get("/log/verify")
def verify_form() -> ResponseReturnValue:
    """Say how to verify offline, and offer to do it here."""
    return _verify_page({}, None)


@blueprint.url_value_preprocessor
def room_for_an_export(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Whoever looks at the form afterwards may find an export in it."""
    if endpoint == f"{blueprint.name}.verify_done":
        request.max_content_length = verifying.MOST_UPLOADED


@blueprint.post("/log/verify")
def verify_done() -> ResponseReturnValue:
    """Check an uploaded export or evidence pack; it changes nothing."""
    file = request.files.get("file")
    if file is None or not file.filename:
        return _verify_page({"file": _("Choose the exported file or evidence pack.")}, None), 422
    point = request.files.get("checkpoint")
    kept = [point.stream.read()] if point is not None and point.filename else []
    try:
        report = verifying.check(file.stream, key=base.typed("key"), kept=kept)
    except errors.Invalid as error:
        return _verify_page({error.field or "": problems.in_words(error)}, None), 422
    with guard.database().reading() as session:
        told = verifying.told(session, report, by=guard.principal())
    return _verify_page({}, told | {"name": file.filename})


def _verify_page(wrong: Mapping[str, str], result: dict[str, Any] | None) -> str:
    if not base.may_anywhere("log:read"):
        permissions.require(guard.principal(), "log:read")
    settings = guard.database().settings
    key = Signer(settings).key
    return render_template(
        "auditor/verify.html",
        commands=[
            (
                _(
                    "With a copy of the program that you trust, and the key that you were given "
                    "on the day you began; the key below is only what this server says."
                ),
                f"govern log verify FILE --key '{key}'",
            ),
            (
                _(
                    "Or with verify.py, one file that is in every evidence pack: it takes Python "
                    "3.9 or later and the package cryptography, and nothing of ours."
                ),
                f"python3 verify.py FILE --key '{key}'",
            ),
        ],
        vkey=key,
        errors=wrong,
        form={"key": request.form.get("key", key)},
        max_mb=verifying.MOST_UPLOADED >> 20,
        result=result,
    )

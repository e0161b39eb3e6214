"""What auditors see: the logs, one person's history, who could reach what, exports, verification.

Each opening of a page leaves its row in the access log before it is answered, and each page says
so. What one may not read is answered as if it were not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request
from flask_babel import gettext as _

from govern import clock, errors, permissions
from govern.access import clients, entitlements, evaluation, names
from govern.audit import reading, verify
from govern.audit.events import SENTENCES, EventType
from govern.audit.export import Filter
from govern.audit.log import HOUSE
from govern.audit.signer import Signer
from govern.identity import subjects
from govern.web import exports, guard
from govern.web.pages import base

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import BinaryIO

    from flask.typing import ResponseReturnValue

    from govern.audit.reading import Page, Shown
    from govern.audit.verify import Report
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("auditor", __name__)

PAGE = 50
PEOPLE = 100
_FILTERS = ("log", "type", "person", "project", "from", "to")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_ID = re.compile(r"[a-z]{3}_[0-9a-z]{20,28}")


# --- the log -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """A filter as typed, and what it means; `errors` says what of it means nothing."""

    typed: dict[str, str]
    logs: list[str]
    where: Filter
    errors: dict[str, str]
    readable: list[tuple[str, str]]
    merged: bool


def _asked(session: Session, given: Mapping[str, str], *, by: Principal) -> _Asked:
    """Read the filter of a page or form; another's log is `Unknown`, as if it were not there."""
    typed = {name: given.get(name, "").strip() for name in _FILTERS}
    ids = reading.readable(session, by=by)
    codes = names.of(session, ids)
    options = sorted((codes.get(one, one), one) for one in ids if one != HOUSE)
    readable = [(code, code) for code, _id in options]
    if HOUSE in ids:
        readable.append((HOUSE, _("The house: people, roles, keys")))
    by_code = dict(options) | ({HOUSE: HOUSE} if HOUSE in ids else {})
    wrong: dict[str, str] = {}
    chosen = ids
    if typed["log"]:
        if typed["log"] not in by_code:
            raise errors.Unknown(_("There is no such log, or you may not know of it."))
        chosen = [by_code[typed["log"]]]
    merged = len(chosen) <= reading.MOST
    if not merged:
        chosen = [HOUSE] if HOUSE in ids else chosen[:1]
    if typed["type"] and typed["type"] not in set(EventType):
        wrong["type"] = _("There is no such type of event.")
    where = Filter(
        subject=_named(names.person_told_of, session, typed, "person", wrong, by=by),
        project=_named(names.project_told_of, session, typed, "project", wrong, by=by),
        types=(typed["type"],) if typed["type"] else (),
        begin=_instant(given, "from", wrong),
        end=_instant(given, "to", wrong),
    )
    return _Asked(typed, chosen, where, wrong, readable, merged)


def _named(
    find: Callable[..., str],
    session: Session,
    typed: Mapping[str, str],
    name: str,
    wrong: dict[str, str],
    *,
    by: Principal,
) -> str | None:
    """The id of what was typed into a field of the filter, if anything was."""
    try:
        return find(session, typed[name], by=by) if typed[name] else None
    except errors.Unknown as error:
        wrong[name] = error.message
        return None


def _instant(given: Mapping[str, str], name: str, wrong: dict[str, str]) -> datetime | None:
    try:
        return base.instant(name, given=given)
    except errors.Invalid as error:
        wrong[name] = error.message
        return None


@blueprint.get("/log")
def log() -> ResponseReturnValue:
    """The entries of every log that one may read, filtered, newest first."""
    by = guard.principal()
    with guard.database().reading() as session:
        asked = _asked(session, request.args, by=by)
        page = None
        if not asked.errors:
            reading.note(
                guard.database(), "log",
                subject=asked.where.subject,
                client=asked.logs[0] if len(asked.logs) == 1 and asked.logs[0] != HOUSE else None,
                detail={"filter": asked.where.words(), "logs": len(asked.logs)}, by=by,
            )  # fmt: skip
            page = reading.entries(
                session, asked.logs, where=asked.where, after=request.args.get("after", ""),
                limit=PAGE, by=by,
            )  # fmt: skip
        shown = _entries(session, page)
    may_export = base.may_anywhere("log:export")
    return render_template(
        "auditor/log.html",
        logs=asked.readable,
        types=sorted(EventType),
        filter=asked.typed,
        errors=asked.errors,
        redacted=_redacted(by, asked),
        may_export=may_export,
        export_url="/log/export" + base.page_url(after=None).removeprefix("/log"),
        **shown,
    ), 422 if asked.errors else 200


def _redacted(by: Principal, asked: _Asked) -> str:
    said = []
    if permissions.scope(by, "log:read") is not None:
        said.append(_hidden([words for _code, words in asked.readable]))
    if not asked.merged:
        said.append(_("There are too many logs to show as one: choose one of them."))
    return " ".join(said)


def _hidden(readable: list[str]) -> str:
    words = _(
        "You read the log of %(clients)s. What the house and other clients recorded is not shown.",
        clients=", ".join(readable),
    )
    return str(words)


def _entries(session: Session, page: Page | None) -> dict[str, Any]:
    """What auditor/_entries.html shows."""
    if page is None:
        return {"entries": [], "next_url": None, "first_url": None}
    ids = {one for entry in page.entries for one in (entry.actor, *entry.refs.values())}
    ids |= {one for entry in page.entries for one in (entry.log, *_named_in(entry.data))}
    called = names.of(session, ids)
    return {
        "entries": [_entry(entry, called) for entry in page.entries],
        "next_url": base.next_url(page.after),
        "first_url": base.first_url(),
    }


def _entry(entry: Shown, called: dict[str, str]) -> dict[str, Any]:
    about = [called[one] for one in entry.refs.values() if one in called]
    told = [
        f"{name}: {_('erased') if value is None else value}"
        for name, value in entry.values.items()
        if name != "actor"
    ]
    plain = [f"{name}: {_plain(value, called)}" for name, value in entry.data.items()]
    sentence = SENTENCES.get(EventType(entry.type), "") if entry.type in set(EventType) else ""
    return {
        "log": called.get(entry.log, entry.log),
        "seq": entry.seq,
        "at": entry.at,
        "type": entry.type,
        "text": " · ".join(part for part in (sentence, ", ".join([*about, *plain, *told])) if part),
        "by": entry.values.get("actor") or called.get(entry.actor, entry.actor),
        "leaf": entry.leaf,
    }


def _plain(value: Any, called: Mapping[str, str]) -> str:
    """What an entry says, for reading; the exact bytes stand below it."""
    if isinstance(value, list):
        return ", ".join(_plain(one, called) for one in value)
    if isinstance(value, dict):
        if value.keys() == {"id", "kind"}:
            return f"{value['kind']} {called.get(value['id'], value['id'])}"
        return " ".join(f"{name}={_plain(one, called)}" for name, one in value.items())
    if isinstance(value, bool):
        return str(_("yes") if value else _("no"))
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return f"{value[:10]} {value[11:16]} UTC"
    return str(value)


def _named_in(value: Any) -> set[str]:
    """The opaque ids within an entry's data."""
    if isinstance(value, list):
        return {found for one in value for found in _named_in(one)}
    if isinstance(value, dict):
        return {found for one in value.values() for found in _named_in(one)}
    return {value} if isinstance(value, str) and _ID.fullmatch(value) else set()


@blueprint.get("/people/<subject_id>/history")
def history(subject_id: str) -> ResponseReturnValue:
    """Everything that the readable logs tell of one person."""
    by = guard.principal()
    with guard.database().reading() as session:
        ids = reading.readable(session, by=by)
        if not reading.is_known(session, subject_id, by=by):
            raise errors.Unknown(_("There is no such person, or you may not know of them."))
        subject = subjects.find(session, subject_id)
        codes = names.of(session, ids)
        reading.note(guard.database(), "history", subject=subject_id, by=by)
        wrong: dict[str, str] = {}
        where = Filter(
            subject=subject_id,
            begin=_instant(request.args, "from", wrong),
            end=_instant(request.args, "to", wrong),
        )
        if wrong:
            name, message = wrong.popitem()
            raise errors.Invalid(message, field=name)
        page = reading.entries(
            session, ids[: reading.MOST], where=where, after=request.args.get("after", ""),
            limit=PAGE, by=by,
        )  # fmt: skip
        shown = _entries(session, page)
    read = [codes.get(one, _("the house") if one == HOUSE else one) for one in ids]
    scoped = permissions.scope(by, "log:read") is not None
    return render_template(
        "auditor/history.html",
        person={
            "id": subject.id,
            "external_id": subject.external_id,
            "name": subject.full_name,
            "url": f"/people/{subject.id}" if base.may_anywhere("subject:write") else None,
        },
        logs_read=read,
        redacted=_hidden(read) if scoped else "",
        filter={name: request.args.get(name, "") for name in ("from", "to")},
        **shown,
    )


# --- who could ---------------------------------------------------------------------------------


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
        at = _instant(request.args, "at", wrong)
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
    with guard.database().reading() as session:
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


# --- export and verify -------------------------------------------------------------------------


@blueprint.get("/log/export")
def export_form() -> ResponseReturnValue:
    """Ask what to export, and show what makes later proof independent of us."""
    return _export_page(request.args, {})


@blueprint.post("/log/export")
def export_done() -> ResponseReturnValue:
    """Send the file, after its row is in the access log."""
    form = request.form.get("format", "")
    files: list[BinaryIO] = []

    def write(by: Principal) -> None:
        database = guard.database()
        with database.reading() as session:
            asked = _asked(session, request.form, by=by)
            permissions.require_fresh(by, now=clock.now(session))
        for name, message in asked.errors.items():
            raise errors.Invalid(message, field=name)
        client = asked.logs[0] if asked.typed["log"] else None
        if client == HOUSE:
            raise errors.Invalid(
                _("Choose a client, or all that you may read: the house goes with all."),
                field="log",
            )
        files.append(exports.written(database, form, client=client, where=asked.where, by=by))

    return base.act(
        lambda _session, _by: None,
        before=write,
        done=lambda _nothing: exports.answer(files[-1], form),
        again=lambda wrong: _export_page(request.form, wrong),
        title=_("Export the log"),
        cancel="/log/export",
    )


def _export_page(given: Mapping[str, str], wrong: Mapping[str, str]) -> str:
    by = guard.principal()
    if not base.may_anywhere("log:export"):
        permissions.require(by, "log:export")
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
        ],
        form={name: given.get(name, "") for name in (*_FILTERS, "format") if given.get(name)},
        errors=wrong,
        code_needed=base.code_needed(),
        vkey=Signer(guard.database().settings).key,
        checkpoints=[
            {
                "log": codes.get(head.log_id, head.log_id), "size": head.size,
                "at": head.signed_at, "text": head.note,
            }
            for head in heads
        ],
    )  # fmt: skip


@blueprint.get("/log/verify")
def verify_form() -> ResponseReturnValue:
    """Say how to verify offline, and offer to do it here."""
    return _verify_page({}, None)


@blueprint.post("/log/verify")
def verify_done() -> ResponseReturnValue:
    """Check an uploaded export; it changes nothing."""
    file = request.files.get("file")
    if file is None or not file.filename:
        return _verify_page({"file": _("Choose the exported file.")}, None), 422
    kept = request.files.get("checkpoint")
    try:
        report = verify.check(
            file.stream,  # type: ignore[arg-type]  # werkzeug's own stream of bytes
            keys=[base.typed("key")],
            kept=[kept.stream.read()] if kept is not None and kept.filename else [],
        )
    except errors.Invalid as error:
        return _verify_page({error.field or "": error.message}, None), 422
    return _verify_page({}, _result(report, file.filename))


def _result(report: Report, name: str) -> dict[str, Any]:
    with guard.database().reading() as session:
        ids = set(reading.readable(session, by=guard.principal()))
        codes = names.of(session, [one.log for one in report.logs if one.log in ids])

    def told(sentence: str) -> str:
        for log_id, code in codes.items():
            sentence = sentence.replace(log_id, code)
        return sentence

    return {
        "ok": report.ok,
        "name": name,
        "proves": [told(one) for one in report.proves],
        "damage": [
            {"seq": one.seq, "line": one.line, "kind": one.kind, "text": told(one.message)}
            for one in report.damage
        ],
        "unnamed": report.unnamed,
        "unproven": [told(one) for one in report.does_not_prove],
    }


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
        ],
        vkey=key,
        errors=wrong,
        form={"key": request.form.get("key", key)},
        max_mb=32,
        result=result,
    )

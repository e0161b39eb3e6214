"""The entries of the logs, and everything that they tell of one person.

Each opening of a page leaves its row in the access log before it is answered, and each page says
so. What one may not read is answered as if it were not there.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import render_template, request
from flask_babel import gettext as _

from govern import errors, permissions
from govern.access import histories, names
from govern.audit import reading
from govern.audit.events import SENTENCES, EventType
from govern.audit.export import Filter
from govern.audit.log import HOUSE
from govern.identity import subjects
from govern.web import guard
from govern.web.pages import base
from govern.web.pages.auditor.filters import PAGE, Asked, asked_for, blueprint, hidden, instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flask.typing import ResponseReturnValue

    from govern.audit.reading import Page, Shown
    from govern.db import Session
    from govern.principal import Principal

# What who chooses their type sees: seals change nothing, and come every few seconds.
_SEALS = (EventType.ACCESS_SEALED,)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_ID = re.compile(r"[a-z]{3}_[0-9a-z]{20,28}")


@blueprint.get("/log")
def log() -> ResponseReturnValue:
    """The entries of every log that one may read, filtered, newest first."""
    by = guard.principal()
    with base.showing() as session:
        asked = asked_for(session, request.args, by=by)
        # What each client's log was told stands in the house's as well, once.
        over = (*_SEALS, EventType.HOUSE_TOLD) if HOUSE in asked.logs else _SEALS
        page = None
        if not asked.errors:
            changes = tuple(each for each in EventType if each not in over)
            where = replace(asked.where, types=asked.where.types or changes)
            page = reading.entries(
                session, asked.logs, where=where, after=request.args.get("after", ""),
                limit=PAGE, by=by,
            )  # fmt: skip
            reading.note_page(
                guard.database(), "log", asked.logs, page, where=asked.where, by=by
            )  # fmt: skip
        shown = listing(session, page)
    may_export = base.may_anywhere("log:export")
    return render_template(
        "auditor/log.html",
        logs=asked.readable,
        types=sorted(EventType),
        passed_over=", ".join(over),
        filter=asked.typed,
        errors=asked.errors,
        redacted=_redacted(by, asked),
        may_export=may_export,
        export_url="/log/export" + base.page_url(after=None).removeprefix("/log"),
        **shown,
    ), 422 if asked.errors else 200


def _redacted(by: Principal, asked: Asked) -> str:
    said = []
    if permissions.scope(by, "log:read") is not None:
        said.append(hidden([words for _code, words in asked.readable]))
    if not asked.merged:
        said.append(_("There are too many logs to show as one: choose one of them."))
    return " ".join(said)


def listing(session: Session, page: Page | None) -> dict[str, Any]:
    """What auditor/_entries.html shows."""
    if page is None:
        return {"entries": [], "next_url": None, "first_url": None}
    called = names.of(session, named_in(page.entries))
    return {
        "entries": [told(entry, called) for entry in page.entries],
        "next_url": base.next_url(page.after),
        "first_url": base.first_url(),
    }


def named_in(rows: Iterable[Shown]) -> set[str]:
    """The ids that some entries hold, to be called by their names."""
    ids: set[str] = set()
    for entry in rows:
        ids |= {entry.actor, entry.log, *entry.refs.values(), *_named_in(entry.data)}
    return ids


def told(entry: Shown, called: Mapping[str, str]) -> dict[str, Any]:
    """One entry in words, its exact bytes beside them."""
    about = [called[one] for one in entry.refs.values() if one in called]
    values = [
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
        "text": " · ".join(
            part for part in (sentence, ", ".join([*about, *plain, *values])) if part
        ),
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
    with base.showing() as session:
        ids = reading.readable(session, by=by)
        if not reading.is_known(session, subject_id, by=by):
            raise errors.Unknown(_("There is no such person, or you may not know of them."))
        subject = subjects.find(session, subject_id)
        codes = names.of(session, ids)
        wrong: dict[str, str] = {}
        where = Filter(
            subject=subject_id,
            begin=instant(request.args, "from", wrong),
            end=instant(request.args, "to", wrong),
        )
        if wrong:
            name, message = wrong.popitem()
            raise errors.Invalid(message, field=name)
        page = reading.entries(
            session, ids[: reading.MOST], where=where, after=request.args.get("after", ""),
            limit=PAGE, by=by,
        )  # fmt: skip
        reading.note_page(guard.database(), "history", ids, page, where=where, by=by)
        shown = listing(session, page)
        decided = histories.decided(session, subject_id, begin=where.begin, end=where.end, by=by)
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
        redacted=hidden(read) if scoped else "",
        decided=decided,
        timeline=base.may_anywhere("grant:read"),
        filter={name: request.args.get(name, "") for name in ("from", "to")},
        **shown,
    )

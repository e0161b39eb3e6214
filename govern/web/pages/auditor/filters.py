"""What auditors' pages have in common: the filter that they read, and what they say is hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Blueprint
from flask_babel import gettext as _

from govern import errors
from govern.access import names
from govern.audit import reading
from govern.audit.events import EventType
from govern.audit.export import Filter
from govern.audit.log import HOUSE
from govern.web import problems
from govern.web.pages import base

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("auditor", __name__)

PAGE = 50
FILTERS = ("log", "type", "person", "project", "actor", "from", "to")


@dataclass(frozen=True)
class Asked:
    """A filter as typed, and what it means; `errors` says what of it means nothing."""

    typed: dict[str, str]
    logs: list[str]
    where: Filter
    errors: dict[str, str]
    readable: list[tuple[str, str]]
    merged: bool


def asked_for(session: Session, given: Mapping[str, str], *, by: Principal) -> Asked:
    """Read the filter of a page or form; another's log is `Unknown`, as if it were not there."""
    typed = {name: given.get(name, "").strip() for name in FILTERS}
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
        actor=names.actor(session, typed["actor"], by=by) if typed["actor"] else None,
        types=(typed["type"],) if typed["type"] else (),
        begin=instant(given, "from", wrong),
        end=instant(given, "to", wrong),
    )
    return Asked(typed, chosen, where, wrong, readable, merged)


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
        wrong[name] = problems.in_words(error)
        return None


def instant(given: Mapping[str, str], name: str, wrong: dict[str, str]) -> datetime | None:
    """An instant of a filter; what makes no sense is told in `wrong`."""
    try:
        return base.instant(name, given=given)
    except errors.Invalid as error:
        wrong[name] = problems.in_words(error)
        return None


def hidden(readable: list[str]) -> str:
    """What a client's auditor is told of what they may not read."""
    words = _(
        "You read the log of %(clients)s. What the house and other clients recorded is not shown.",
        clients=", ".join(readable),
    )
    return str(words)

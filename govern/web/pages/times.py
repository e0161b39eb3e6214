"""Instants as pages write them: in UTC, on the viewer's own clock, and as how long ago."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from babel.dates import format_date, format_time, get_datetime_format, get_timezone_gmt
from flask import g
from flask_babel import format_timedelta, get_locale

from govern import clock, languages
from govern.identity import preferences
from govern.web import guard

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo


def exact(at: datetime, *, seconds: bool = False) -> str:
    """An instant in UTC to the minute, or the second, as the reader's language writes one."""
    if get_locale().language == languages.DEFAULT:
        return f"{day(at)} {at:%H:%M:%S}" if seconds else f"{day(at)} {at:%H:%M}"
    return f"{day(at)}, {at:%H:%M:%S}" if seconds else f"{day(at)}, {at:%H:%M}"


def day(at: datetime) -> str:
    """A day in UTC, as the reader's language writes one."""
    if get_locale().language == languages.DEFAULT:
        return at.date().isoformat()  # of a year before 1000 too: %Y is not padded everywhere
    return format_date(at, "medium", locale=get_locale())


def relative(at: datetime) -> str:
    """How long ago, or in how long, in the reader's language."""
    return str(format_timedelta(at - clock.utcnow(), add_direction=True))


def zone() -> ZoneInfo | None:
    """The time zone that the viewer chose, if any; asked for once a request, by pages of theirs."""
    if "zone" not in g:
        with guard.database().reading() as session:
            g.zone = preferences.zone(session, guard.principal().id)
    found: ZoneInfo | None = g.zone
    return found


@dataclass(frozen=True)
class OwnTime:
    """An instant on the viewer's own clock: for a machine, with its offset, and in words."""

    iso: str
    words: str


def own_time(at: datetime) -> OwnTime | None:
    """The same instant in the viewer's time zone and language; None while they chose no zone."""
    own = zone()
    if own is None:
        return None
    here, locale = at.astimezone(own), get_locale()
    time = format_time(here, "short", tzinfo=own, locale=locale)
    named = f"{time} {get_timezone_gmt(here, 'long', locale=locale)}"
    order = str(get_datetime_format("medium", locale=locale)).replace("'", "")
    words = order.format(named, format_date(here, "medium", locale=locale))
    return OwnTime(here.isoformat(timespec="seconds"), words)

"""A calendar file (RFC 5545) of instants that somebody must not miss; times are in UTC.

A line ends in CRLF and is folded before its 76th octet, never within a character (3.1); text is
escaped (3.3.11). The same date keeps its UID, so that a calendar which takes a file again moves
what it has, and a higher SEQUENCE says which is newer (3.8.7.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

MEDIA_TYPE = "text/calendar; charset=utf-8"
_OCTETS = 75
_ESCAPES = {"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n"}


@dataclass(frozen=True, kw_only=True)
class Date:
    """One instant: `uid` names it for ever, `revision` grows with each change of it."""

    uid: str
    at: datetime
    title: str
    words: str = ""
    url: str = ""
    revision: int = 0


def render(dates: Iterable[Date], *, name: str, made_at: datetime) -> bytes:
    """The whole file; `made_at` is its DTSTAMP."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//govern//access//EN",
        "METHOD:PUBLISH",
        f"X-WR-CALNAME:{escaped(name)}",
    ]
    for date in dates:
        lines += [
            "BEGIN:VEVENT",
            f"UID:{escaped(date.uid)}",
            f"DTSTAMP:{_utc(made_at)}",
            f"SEQUENCE:{date.revision}",
            # No end: an event that ends the instant it starts, and keeps nobody busy (3.6.1).
            f"DTSTART:{_utc(date.at)}",
            "TRANSP:TRANSPARENT",
            f"SUMMARY:{escaped(date.title)}",
        ]
        lines += [f"DESCRIPTION:{escaped(date.words)}"] if date.words else []
        lines += [f"URL:{date.url}"] if date.url else []
        lines.append("END:VEVENT")
    lines.append("END:VCALENDAR")
    return b"".join(part + b"\r\n" for line in lines for part in _folded(line))


def escaped(text: str) -> str:
    """A value of type TEXT; what is no line break and yet a control character is left out."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(_ESCAPES.get(c, c) for c in plain if c in "\n\t" or (c >= " " and c != "\x7f"))


def _utc(at: datetime) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}"


def _folded(line: str) -> Iterator[bytes]:
    """The line in parts of at most 75 octets; those after the first begin with a space."""
    part = b""
    for char in line:
        octets = char.encode()
        if len(part) + len(octets) > _OCTETS:
            yield part
            part = b" "
        part += octets
    yield part

"""The calendar file: as RFC 5545 has it, whatever an admin typed."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from govern.web import calendar

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def lines(file: bytes) -> list[str]:
    """The content lines, unfolded (RFC 5545, 3.1)."""
    assert file.endswith(b"\r\n")
    physical = file[:-2].split(b"\r\n")
    assert all(len(each) <= 75 for each in physical)
    for each in physical:
        each.decode()  # no character is split between two lines
    return file[:-2].replace(b"\r\n ", b"").decode().split("\r\n")


def unescaped(value: str) -> str:
    found, rest = "", iter(value)
    for char in rest:
        found += {"n": "\n"}.get(after := next(rest), after) if char == "\\" else char
    return found


def one(title: str) -> list[str]:
    date = calendar.Date(uid="hours-sus_1@host", at=AT, title=title, revision=3)
    return lines(calendar.render([date], name="Mine", made_at=AT))


def test_a_date_has_all_that_the_format_demands() -> None:
    assert one("Hand in") == [
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//govern//access//EN", "METHOD:PUBLISH",
        "X-WR-CALNAME:Mine", "BEGIN:VEVENT", "UID:hours-sus_1@host", "DTSTAMP:20261121T093000Z",
        "SEQUENCE:3", "DTSTART:20261121T093000Z", "TRANSP:TRANSPARENT", "SUMMARY:Hand in",
        "END:VEVENT", "END:VCALENDAR",
    ]  # fmt: skip


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=200))
def test_any_text_comes_out_as_it_went_in_on_lines_that_are_short_enough(title: str) -> None:
    (summary,) = [each for each in one(title) if each.startswith("SUMMARY:")]
    assert unescaped(summary.removeprefix("SUMMARY:")) == title


def test_no_text_adds_a_line_of_its_own() -> None:
    found = one("x\r\nEND:VEVENT\rATTENDEE:a;b,c\\\x00\x1b")
    assert "SUMMARY:x\\nEND:VEVENT\\nATTENDEE:a\\;b\\,c\\\\" in found
    assert len(found) == len(one("x"))

"""What people type: lines of text, and the codes that name one thing."""

from __future__ import annotations

import re
import unicodedata

from govern import errors

_SPACE = re.compile(r"[ \t]+")
LENGTH = 200
_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
# They turn around what stands behind them: a page, a file or a mail reads otherwise than it is.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Letters and signs of which nothing is drawn: Hangul's fillers, and Braille without a dot.
_BLANK = set("\u115f\u1160\u3164\uffa0\u2800")


def clean(value: str) -> str:
    """Trim, and make inner runs of tabs and spaces one space."""
    return _SPACE.sub(" ", value).strip(" ")


def text(value: str, *, field: str, length: int = LENGTH, required: bool = True) -> str:
    """A line of text without control characters, 1 to `length` characters (or empty).

    Something of it is to be seen. What joins or parts letters stays where it stands among such:
    names of Persian and of India's languages are written with it.
    """
    value = clean(value)
    if not value and required:
        raise errors.Invalid(f"{field} is missing.", field=field)
    if len(value) > length:
        raise errors.Invalid(f"{field} is longer than {length} characters.", field=field)
    if not is_line(value):
        raise errors.Invalid(f"{field} holds a control character.", field=field)
    if _TURNING.search(value):
        raise errors.Invalid(
            f"{field} holds a character that turns the direction of the text around it.",
            field=field,
        )
    if value and not is_seen(value):
        raise errors.Invalid(f"{field} holds nothing that can be seen.", field=field)
    return value


def is_line(value: str) -> bool:
    """Whether nothing in it controls, or breaks the line."""
    return value.isprintable() or not any(unicodedata.category(char) in _CONTROL for char in value)


def is_seen(value: str) -> bool:
    """Whether something of it is drawn: a letter, number or sign, and no mark on nothing."""
    return any(char not in _BLANK and unicodedata.category(char)[0] in "LNPS" for char in value)


def code(value: str, *, field: str) -> str:
    """What is typed to name one thing: a line in which nothing is invisible, 1 to 80 characters."""
    value = text(value, field=field, length=80)
    if not value.isprintable():
        raise errors.Invalid(f"{field} holds a character that nobody sees.", field=field)
    return value

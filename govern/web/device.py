"""A word or two for the device of a request, for its owner to know it by; never all it says."""

from __future__ import annotations

from flask import request

# The first that is found counts: browsers name those that they descend from as well.
_BROWSERS = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"), ("FxiOS", "Firefox"), ("CriOS", "Chrome"), ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
    ("CrOS", "ChromeOS"), ("Mac OS X", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


def word() -> str:
    """Such as "Firefox on Linux"; empty for what is no browser that we know."""
    given = request.user_agent.string
    found = [
        next((name for mark, name in marks if mark in given), "") for marks in (_BROWSERS, _SYSTEMS)
    ]
    return " on ".join(part for part in found if part)

"""What the forms of passkeys share: whose browser it is, what it is asked, and what it answers.

The browser's own dialogue needs a script; it puts its answer into the form, which is then sent as
any other. Each question is bound to the browser by a random word in its form cookie.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from flask import request, session

from govern.identity import authenticators, passkeys
from govern.web import guard

if TYPE_CHECKING:
    from typing import Any

# The fields of an answer belong to one sending of a form.
FIELDS = frozenset({"passkey", "passkey_sealed"})


def browser() -> str:
    """A word that no other browser has."""
    found: str = session.setdefault("browser", secrets.token_urlsafe(16))
    return found


def answer(field: str = "passkey") -> passkeys.Answer | None:
    """What the form brought from the browser's dialogue, if anything."""
    credential = request.form.get(field, "")
    if not credential:
        return None
    return passkeys.Answer(credential, request.form.get(f"{field}_sealed", ""), browser())


def anyone() -> passkeys.Asked | None:
    """What a browser is asked before we know who uses it; None where our address is a number."""
    settings = guard.database().settings
    if not passkeys.available(settings):
        return None
    return passkeys.ask_anyone(settings, browser=browser())


def enrolled(subject_id: str) -> bool:
    """Whether a person has a passkey that this address can ask for."""
    database = guard.database()
    if not passkeys.available(database.settings):
        return False
    with database.reading() as reading:
        return bool(passkeys.in_use(reading, subject_id))


def ways(subject_id: str, *, verified: bool = False) -> dict[str, Any]:
    """For a page that asks for a second factor: a question for a passkey, and whether for codes.

    `verified` asks for a passkey whose device recognises its owner.
    """
    with guard.database().reading() as reading:
        asked = passkeys.ask(reading, subject_id, browser=browser(), verified=verified)
        app = bool(authenticators.enrolled(reading, subject_id))
        return {"passkey": asked, "codes": asked is None or app, "has_app": app}

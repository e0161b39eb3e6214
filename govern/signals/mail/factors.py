"""What people are told of their factors, and of whoever tries them or uses them elsewhere.

What one act changes is one mail, to the person's own address, also where they did it themselves:
for it may not have been they. It names what changed and never a secret, a code or a password.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from govern import clock
from govern.audit import EventType
from govern.audit.log import HOUSE, Entry
from govern.db import insert_if_absent
from govern.identity.sessions import WebSession
from govern.languages import later
from govern.signals.mail.tables import MailAct

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Row

    from govern.config import Settings
    from govern.db import Session
    from govern.languages import Voice

_DONE = {
    EventType.PASSWORD_SET: later("A password was set."),
    EventType.TOTP_ENROLLED: later("An authenticator app was added."),
    EventType.PASSKEY_ENROLLED: later("A passkey was added."),
    EventType.RECOVERY_CODES_ISSUED: later(
        "New recovery codes were made; older ones work no longer."
    ),
    EventType.RECOVERY_CODES_REMOVED: later("Your recovery codes were ended."),
    EventType.RECOVERY_CODE_USED: later("A recovery code was used. It works no longer."),
}
_REMOVED = {
    "totp": later("An authenticator app was removed."),
    "passkey": later("A passkey was removed."),
}
_DISABLED = {
    "password": later(
        "Your password was guessed at a hundred times in a row. It counts no longer, but in "
        "browsers in which you signed in with it before. Set a new one:"
    ),
    "present_password": later(
        "Your present password was guessed at a hundred times in a row, from within your account. "
        "It cannot be changed there any longer. Set a new one:"
    ),
    "totp": later(
        "The codes of your authenticator apps were guessed at a hundred times in a row. These "
        "apps count no longer. Sign in with a passkey or a recovery code, and add an app anew:"
    ),
    "recovery": later(
        "Your recovery codes were guessed at a hundred times in a row. They count no longer. Sign "
        "in otherwise, and make new ones:"
    ),
}
_IN_ACCOUNT = {"totp", "recovery"}  # where it is put right; a password is, where it was forgotten
_TRIED = later(
    "Wrong second factors were shown for your account, several in a row. Whoever did so knows "
    "your password, or was signed in as you. If that was not you, set a new password:"
)
FACTORS = "account.factors"
DISABLED = EventType.AUTHENTICATOR_DISABLED
TRIED = EventType.FACTOR_GUESSED_AT
NEW_BROWSER = EventType.NEW_BROWSER
TITLES: dict[str, str] = {
    FACTORS: later("How you sign in has changed"),
    DISABLED: later("A way to sign in was stopped"),
    TRIED: later("Wrong codes for your account"),
    NEW_BROWSER: later("A sign-in with a new browser"),
}
_CHANGES = frozenset({*_DONE, EventType.AUTHENTICATOR_REMOVED})
# A recovery's own mail says all that it changed; it is followed to be told from other changes.
TYPES = _CHANGES | {DISABLED, TRIED, NEW_BROWSER, EventType.RECOVERY_COMPLETED}
_SAME_COMMIT = timedelta(milliseconds=1)
_NOT_YOU = later(
    "If this was not you, end all other sessions on your account page, and tell those who run "
    "govern at once."
)


def acts(session: Session, entries: Iterable[Row[Any]]) -> list[tuple[str, str, datetime]]:
    """The acts to tell of, for entries in their order: ids, whom, and since when."""
    found = []
    for kind, person, at in _commits(entries):
        act_id = f"{kind}:{person}:{clock.micros(at)}"
        insert_if_absent(
            session, MailAct, id=act_id, type=kind, suspension_id=None, actor="", at=at, cursor="",
            finished_at=at,
        )  # fmt: skip
        found.append((act_id, person, at))
    return found


def _commits(entries: Iterable[Row[Any]]) -> list[tuple[str, str, datetime]]:
    """What one commit did to the factors of one person is one act; a recovery's is none of ours."""
    found: dict[tuple[str, str, datetime], None] = {}
    begun: dict[str, datetime] = {}
    for entry in entries:
        person = entry.subject_id
        if person is None or entry.type not in TYPES:
            continue
        if entry.type not in _CHANGES | {EventType.RECOVERY_COMPLETED}:
            found[str(entry.type), person, entry.at] = None
            continue
        if person not in begun or entry.at - begun[person] >= _SAME_COMMIT:
            begun[person] = entry.at
            found[FACTORS, person, entry.at] = None
        if entry.type == EventType.RECOVERY_COMPLETED:
            found.pop((FACTORS, person, begun[person]), None)
    return list(found)


def words(session: Session, settings: Settings, act: MailAct, person: str, say: Voice) -> list[str]:
    """What one person is told."""
    entries = _entries(session, act, person)
    if not entries:
        return []
    at, url = say.when(act.at), settings.public_url
    if act.type == FACTORS:
        done = [f"  {say(_sentence(entry))}" for entry in entries]
        lines = [say("On %(at)s, for your account:", at=at), "", *done]
    elif act.type == NEW_BROWSER:
        lines = [
            say(
                "On %(at)s somebody signed in as you with a browser that was not used for it yet.",
                at=at,
            )
        ]
        opened = entries[0]["refs"]["opened"]
        device = session.execute(
            select(WebSession.device).where(WebSession.id == opened)
        ).scalar_one_or_none()
        lines += [say("It says that it is %(device)s.", device=device)] if device else []
    else:
        factor = entries[0]["data"]["factor"]
        tried = act.type == TRIED
        told = _TRIED if tried else _DISABLED[factor]
        where = "account" if not tried and factor in _IN_ACCOUNT else "forgot"
        lines = [say("On %(at)s:", at=at), "", say(told), f"  {url}/{where}"]
    return [*lines, "", say(_NOT_YOU), f"  {url}/account"]


def _entries(session: Session, act: MailAct, person: str) -> list[dict[str, Any]]:
    """What the log says of an act: its entries' leaves, which hold no secret and no one's name."""
    types = _CHANGES if act.type == FACTORS else {act.type}
    rows = session.execute(
        select(Entry.leaf)
        .where(
            Entry.subject_id == person,
            Entry.log_id == HOUSE,
            Entry.at >= act.at,
            Entry.at < act.at + _SAME_COMMIT,
            Entry.type.in_(types),
        )
        .order_by(Entry.seq)
    ).scalars()
    return [json.loads(leaf) for leaf in rows]


def _sentence(entry: dict[str, Any]) -> str:
    if entry["type"] == EventType.AUTHENTICATOR_REMOVED:
        return _REMOVED[entry["data"]["kind"]]
    return _DONE[EventType(entry["type"])]

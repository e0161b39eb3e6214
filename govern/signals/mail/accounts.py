"""What people are told of their own account: whatever was done to it, themselves included.

Links that are secrets lie sealed in the row that they belong to, and are opened only as the mail
that carries them is written; a link that was called off meanwhile is not mailed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock
from govern.audit import EventType
from govern.db import insert_if_absent
from govern.identity import recovery, resets
from govern.identity.recovery import Recovery
from govern.identity.resets import PasswordReset
from govern.languages import later
from govern.signals.mail.tables import MailAct

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Row

    from govern.config import Settings
    from govern.db import Session
    from govern.languages import Voice

ON_RECOVERY = frozenset({
    EventType.RECOVERY_APPROVED, EventType.RECOVERY_CANCELLED, EventType.RECOVERY_COMPLETED,
    EventType.RESET_ASKED, EventType.RESET_COMPLETED,
})  # fmt: skip
# The mail with a recovery's link, which goes out once it works: no event of its own.
LINK = "recovery.link"
TITLES: dict[str, str] = {
    EventType.RECOVERY_APPROVED: later("Your account is being recovered"),
    EventType.RECOVERY_CANCELLED: later("The recovery of your account was called off"),
    EventType.RECOVERY_COMPLETED: later("Your account was recovered"),
    EventType.RESET_ASKED: later("A new password for your account"),
    EventType.RESET_COMPLETED: later("Your password was changed"),
    LINK: later("The link to recover your account"),
}
_NOT_YOU = later("If this was not you, tell those who run govern at once.")
_CALL_OFF = later("If you did not ask for this, call it off:")


def acts(session: Session, entry: Row[Any]) -> list[tuple[str, datetime]]:
    """The acts to tell a person of for an entry about their account: ids, and when they are due."""
    kinds = [(str(entry.type), entry.at)]
    if entry.type == EventType.RECOVERY_APPROVED:
        row = session.execute(_recovery(entry.subject_id, entry.at)).scalar_one()
        kinds.append((LINK, row.works_from))
    found = []
    for kind, at in kinds:
        act_id = f"{kind}:{entry.subject_id}:{clock.micros(at)}"
        insert_if_absent(
            session, MailAct, id=act_id, type=kind, suspension_id=None, actor=entry.actor, at=at,
            cursor="", finished_at=at,
        )  # fmt: skip
        found.append((act_id, at))
    return found


def words(session: Session, settings: Settings, act: MailAct, person: str, say: Voice) -> list[str]:
    """What one person is told; nothing where it would be true no longer."""
    if act.type == EventType.RECOVERY_APPROVED:
        return _approved(session, settings, act, person, say)
    if act.type == LINK:
        return _link(session, settings, act, person, say)
    if act.type == EventType.RESET_ASKED:
        return _reset(session, settings, act, person, say)
    at = say.when(act.at)
    return {
        EventType.RECOVERY_CANCELLED: [
            say(
                "The recovery of your account was called off on %(at)s. Its link does not work, "
                "and everything is as it was.",
                at=at,
            )
        ],
        EventType.RECOVERY_COMPLETED: [
            say(
                "On %(at)s your account was given a new password and a new authenticator. All "
                "that you had before has ended, and every session.",
                at=at,
            ),
            say(_NOT_YOU),
        ],
        EventType.RESET_COMPLETED: [
            say(
                "On %(at)s a new password was set for your account, and every session ended.", at=at
            ),
            say(_NOT_YOU),
        ],
    }[EventType(act.type)]


def _approved(
    session: Session, settings: Settings, act: MailAct, person: str, say: Voice
) -> list[str]:
    row = session.execute(_recovery(person, act.at)).scalar_one()
    found = recovery.links(session, row)
    if found is None:
        return []
    return [
        say(
            "Two admins agreed to let you back into your account, since a second factor of yours "
            "was reported lost."
        ),
        "",
        say(
            "From %(begin)s until %(end)s a link, which we send you then, lets you set a new "
            "password and a new authenticator. The old ones end at that moment, not before.",
            begin=say.when(row.works_from),
            end=say.when(row.expires_at),
        ),
        "",
        say(_CALL_OFF),
        f"  {settings.public_url}/recover/cancel/{found[1]}",
    ]


def _link(session: Session, settings: Settings, act: MailAct, person: str, say: Voice) -> list[str]:
    row = session.execute(
        select(Recovery).where(
            Recovery.subject_id == person,
            Recovery.works_from == act.at,
            Recovery.ended_at.is_(None),
            Recovery.expires_at > clock.instant(),
        )
    ).scalar_one_or_none()
    found = recovery.links(session, row) if row is not None else None
    if row is None or found is None:
        return []
    token, cancel = found
    return [
        say(
            "This link lets you set a new password and a new authenticator, once, until %(at)s:",
            at=say.when(row.expires_at),
        ),
        f"  {settings.public_url}/recover/{token}",
        "",
        say(_CALL_OFF),
        f"  {settings.public_url}/recover/cancel/{cancel}",
    ]


def _reset(
    session: Session, settings: Settings, act: MailAct, person: str, say: Voice
) -> list[str]:
    row = session.execute(
        select(PasswordReset).where(
            PasswordReset.subject_id == person,
            PasswordReset.recorded_at == act.at,
            PasswordReset.ended_at.is_(None),
            PasswordReset.expires_at > clock.instant(),
        )
    ).scalar_one_or_none()
    token = resets.token_of(session, row) if row is not None else None
    if row is None or token is None:
        return []
    return [
        say(
            "Somebody, you we hope, asked for a new password for your account. This link sets one, "
            "once, until %(at)s; it asks for your second factor too:",
            at=say.when(row.expires_at),
        ),
        f"  {settings.public_url}/reset/{token}",
        "",
        say("If it was not you, there is nothing to do: your password stays as it is."),
    ]


def _recovery(person: str, at: datetime) -> Any:
    return select(Recovery).where(Recovery.subject_id == person, Recovery.recorded_at == at)

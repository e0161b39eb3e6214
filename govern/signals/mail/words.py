"""What a mail says: what was done, what it means for this person, and where to read on.

It is in the language that the person chose, with times of their zone; English and UTC unless they
did. It holds nothing that the person's own page does not: their own projects' codes, what the
notice says, no one else's name, no client. What an admin typed is set in, so that it cannot pass
for ours. The subject tells no code, since it shows on a locked screen.
"""

from __future__ import annotations

import hashlib
import textwrap
from dataclasses import dataclass
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from govern import clock
from govern.access import suspensions
from govern.access.clients import Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.access.modes import STOPS, Effect, Mode
from govern.access.suspensions import Suspension, SuspensionMode
from govern.audit import EventType
from govern.audit.log import Entry
from govern.db import listed
from govern.identity import federation, preferences
from govern.identity.subjects import Subject
from govern.languages import later
from govern.signals.mail import accounts, asked, exports, factors
from govern.signals.mail.following import ANSWERS, GRANTS, ON_ACCOUNTS, ON_GRANTS, TOGETHER

if TYPE_CHECKING:
    from datetime import datetime

    from govern.config import Settings
    from govern.db import Session
    from govern.languages import Voice
    from govern.signals.mail.tables import MailAct

_SAME_COMMIT = timedelta(milliseconds=1)
# What is so of the work, and of a person's own access.
_STATE = {
    Mode.PAUSED: (later("Since %(at)s work is paused."),
                  later("Since %(at)s your own access is paused.")),
    Mode.READ_ONLY: (
        later("Since %(at)s work is read-only: you may look, but change and download nothing."),
        later("Since %(at)s your own access is read-only: you may look, but change and download "
              "nothing."),
    ),
    Mode.UNDER_REVIEW: (
        later("Since %(at)s work is under review: it goes on, with a code from your authenticator "
              "every 12 hours."),
        later("Since %(at)s your own access is under review: work goes on, with a code from your "
              "authenticator every 12 hours."),
    ),
}  # fmt: skip
_SUBJECTS = {
    EventType.SUSPENSION_OPENED: later("A change to your access"),
    EventType.SUSPENSION_MODE_CHANGED: later("A change to your access"),
    EventType.NOTICE_POSTED: later("News about your suspended access"),
    EventType.SUSPENSION_RELEASED: later("Your access is given back"),
    EventType.SUSPENSION_NARROWED: later("Your access is given back"),
    EventType.SUSPENSION_LIFTED: later("Your access is given back"),
    EventType.IDENTITY_OFFERED: later("Is this you?"),
    EventType.IDENTITY_LINKED: later("A new way to sign in"),
    EventType.IDENTITY_UNLINKED: later("A way to sign in has ended"),
}
_TITLES: dict[str, str] = {
    **{str(event): title for event, title in _SUBJECTS.items()},
    **accounts.TITLES,
    **factors.TITLES,
    **exports.TITLES,
    GRANTS: later("Your access has changed"),
    ANSWERS: later("An answer to your question"),
    asked.REQUESTS: asked.TITLE,
}
# Mails to one person about what is theirs, whose words end with what they may do themselves.
_OWN = {
    **dict.fromkeys(accounts.TITLES, accounts.words),
    **dict.fromkeys(factors.TITLES, factors.words),
    **dict.fromkeys(exports.TITLES, exports.words),
}


def compose(
    session: Session, settings: Settings, act: MailAct, people: list[str]
) -> dict[str, EmailMessage | None]:
    """The mails about one act to some people; without those to whom there is nothing to tell.

    None for whom no mail can reach: their address is none.
    """
    among = listed(session, sorted(people))
    addresses = dict(
        session.execute(
            select(Subject.id, Subject.email).join(among, among.c.value == Subject.id)
        ).all()
    )
    own = _OWN.get(act.type)
    voices = preferences.voices(session, people)
    if own is not None:
        told = {each: own(session, settings, act, each, voices[each]) for each in people}
        bodies = {each: lines for each, lines in told.items() if lines}
    elif act.type == GRANTS:
        bodies = _of_grants(session, act, voices)
    elif act.type == ANSWERS:
        bodies = _of_answers(session, settings, act, voices)
    elif act.type == asked.REQUESTS:
        bodies = asked.words(session, settings, act.at, act.at + TOGETHER, voices)
    elif act.type in ON_ACCOUNTS:
        bodies = _of_account(session, settings, act, voices)
    else:
        bodies = _of_suspension(session, act, voices)
    return {
        person: _message(
            settings, act, person, lines, address=addresses[person], say=voices[person]
        )
        for person, lines in bodies.items()
    }


def _message(
    settings: Settings, act: MailAct, person: str, lines: list[str], *, address: str, say: Voice
) -> EmailMessage | None:
    message = EmailMessage()
    try:
        message["To"] = Address(addr_spec=address)
    except (ValueError, IndexError, MessageError):  # all of them are what the parser raises
        return None
    message["From"] = Address("govern", addr_spec=settings.mail_from)
    message["Subject"] = say(_TITLES[act.type])
    message["Date"] = format_datetime(clock.utcnow())
    message["Message-ID"] = message_id(settings, act.id, person)
    # RFC 3834: so that no holiday notice answers a machine.
    message["Auto-Submitted"] = "auto-generated"
    foot = [say("This was sent by a machine that reads no answers.")]
    if act.type not in _OWN:
        page = f"{settings.public_url}/status"
        foot = [say("How things stand now is on your own page: %(url)s", url=page), "", *foot]
    message.set_content("\n".join([*lines, "", *foot, ""]))
    message["Content-Language"] = say.language
    return message


def message_id(settings: Settings, act_id: str, person: str) -> str:
    """The same for one act and person however often it is sent, so that a copy is known as one."""
    digest = hashlib.sha256(f"{act_id} {person}".encode()).hexdigest()[:32]
    return f"<{digest}@{settings.mail_from.rpartition('@')[2]}>"


# --- suspensions -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What was so at an act's instant."""

    event: EventType
    at: datetime
    mode: Mode | None
    cut_off: datetime | None
    notice: suspensions.notices.Version | None


def _of_suspension(
    session: Session, act: MailAct, voices: dict[str, Voice]
) -> dict[str, list[str]]:
    facts, people = _facts(session, act), list(voices)
    named = suspensions.named(session, act.suspension_id or "", facts.event, act.at, people=people)
    places = suspensions.places(
        session, act.suspension_id or "", facts.event, act.at, people=people
    )
    found = {}
    for person, say in voices.items():
        lines = _first(facts, places.get(person, []), say, named=person in named)
        if facts.event not in suspensions.ADMITTING:
            lines += _meaning(facts, say, named=person in named)
            lines += _notice(facts.notice, say)
        found[person] = lines
    return found


def _facts(session: Session, act: MailAct) -> _Facts:
    row = session.get_one(Suspension, act.suspension_id)
    modes = (
        session.execute(
            select(SuspensionMode)
            .where(SuspensionMode.suspension_id == row.id, SuspensionMode.recorded_at <= act.at)
            .order_by(SuspensionMode.recorded_at.desc())
        )
        .scalars()
        .all()
    )
    stopping_since = None
    for each in modes:
        if Effect.HOURS not in STOPS[Mode(each.mode)]:
            break
        stopping_since = each.recorded_at
    told = suspensions.notices.versions(session, [row.id])[row.id]
    return _Facts(
        event=EventType(act.type),
        at=act.at,
        mode=Mode(modes[0].mode) if modes else None,
        cut_off=(row.hours_until or stopping_since) if stopping_since else None,
        notice=next((one for one in told if one.posted_at < act.at + _SAME_COMMIT), None),
    )


def _first(facts: _Facts, places: list[str], say: Voice, *, named: bool) -> list[str]:
    on, at = [f"  {place}" for place in places], say.when(facts.at)
    if facts.event in suspensions.ADMITTING:
        lines = [say("A suspension of your access ended on %(at)s.", at=at)]
        return [*lines, say("It no longer holds you on:"), *on] if on else lines
    if facts.event is EventType.NOTICE_POSTED:
        lines = [say("There is news about your suspended access.")]
    else:
        lines = [say(_STATE[facts.mode or Mode.PAUSED][named], at=at)]
    return [*lines, "", say("Your projects that this is about:"), *on] if on else lines


def _meaning(facts: _Facts, say: Voice, *, named: bool) -> list[str]:
    if facts.event is EventType.NOTICE_POSTED:
        return []
    lines = [""]
    if not named:
        lines += [say("This is not about you: it covers everyone who works there.")]
    if facts.mode is not Mode.UNDER_REVIEW:
        lines += [say("Nothing is asked of you, and what you hold is kept meanwhile.")]
    if facts.cut_off is not None:
        at = say.when(facts.cut_off)
        lines += [say("Hours worked before %(at)s count, and can still be logged.", at=at)]
    return lines


def _notice(notice: suspensions.notices.Version | None, say: Voice) -> list[str]:
    if notice is None:
        return []
    lines = []
    for title, words in (
        (say("What we know:"), notice.known),
        (say("Not known yet:"), notice.not_known),
    ):
        if words:
            lines += ["", title, "", textwrap.indent(words, "  ", lambda _: True)]
    facts = [
        (say("Next update by"), notice.next_update_by and say.when(notice.next_update_by)),
        (say("Hand in your hours by"), notice.submit_by and say.when(notice.submit_by)),
        (say("Whom to ask"), notice.contact),
    ]
    told = [f"{title}: {value}" for title, value in facts if value]
    return [*lines, "", *told] if told else lines


# --- grants ------------------------------------------------------------------------------------


def _of_grants(session: Session, act: MailAct, voices: dict[str, Voice]) -> dict[str, list[str]]:
    """What was given and ended within the time that the act stands for, by others."""
    among = listed(session, sorted(voices))
    place: Any = Project.code
    rows = session.execute(
        select(
            Entry.subject_id, Entry.type, Entry.at, Grant.starts_at, Grant.ends_at,
            place, Dataset.code, Entitlement.name,
        )
        .join(among, among.c.value == Entry.subject_id)
        .join(
            Grant,
            (Grant.subject_id == Entry.subject_id)
            & or_(
                (Entry.type == EventType.GRANT_ISSUED) & (Grant.recorded_at == Entry.at),
                (Entry.type == EventType.GRANT_REVOKED) & (Grant.ended_at == Entry.at),
            )
            & (Grant.client_id == Entry.log_id),
        )
        .join(Project, Project.id == Grant.project_id)
        .join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .where(
            Entry.type.in_(ON_GRANTS),
            Entry.at >= act.at,
            Entry.at < act.at + TOGETHER,
            Entry.actor != Entry.subject_id,
        )
        .order_by(Entry.subject_id, Entry.at)
    )  # fmt: skip
    given: dict[str, list[str]] = {}
    ended: dict[str, list[str]] = {}
    for person, type_, at, starts, ends, project, dataset, entitlement in rows:
        say = voices[person or ""]
        what = f"{project} / {dataset}" if dataset else project
        if type_ == EventType.GRANT_ISSUED:
            line = say(
                "%(what)s (%(may)s), from %(begin)s until %(end)s",
                what=what, may=entitlement, begin=say.when(starts), end=say.when(ends),
            )  # fmt: skip
            given.setdefault(person, []).append(f"  {line}")
        else:
            line = say("%(what)s (%(may)s), on %(at)s", what=what, may=entitlement, at=say.when(at))
            ended.setdefault(person, []).append(f"  {line}")
    found = {}
    for person, say in voices.items():
        lines: list[str] = []
        if person in given:
            lines += [say("You were given access to:"), "", *given[person]]
        if person in ended:
            lines += [*([""] if lines else []), say("Your access ended to:"), "", *ended[person]]
        if lines:
            found[person] = lines
    return found


# --- answers -----------------------------------------------------------------------------------


def _of_answers(
    session: Session, settings: Settings, act: MailAct, voices: dict[str, Voice]
) -> dict[str, list[str]]:
    """That questions were answered, and about what; the answer itself is on the page alone."""
    among = listed(session, sorted(voices))
    rows = session.execute(
        select(Entry.subject_id, Project.code)
        .join(among, among.c.value == Entry.subject_id)
        .outerjoin(Project, Project.id == Entry.project_id)
        .where(
            Entry.type == EventType.QUESTION_ANSWERED,
            Entry.at >= act.at,
            Entry.at < act.at + TOGETHER,
        )
        .distinct()
        .order_by(Entry.subject_id, Project.code)
    )
    about: dict[str, list[str]] = {}
    for person, code in rows:
        say = voices[person or ""]
        place = code or say("your own access")
        about.setdefault(person or "", []).append(f"  {place}")
    url = f"{settings.public_url}/questions/mine"
    found = {}
    for person, places in about.items():
        say = voices[person]
        found[person] = [
            say("There is an answer to what you asked about:"), "", *places, "",
            say("Read it on your own page: %(url)s", url=url),
        ]  # fmt: skip
    return found


# --- accounts ----------------------------------------------------------------------------------


def _of_account(
    session: Session, settings: Settings, act: MailAct, voices: dict[str, Voice]
) -> dict[str, list[str]]:
    found = {}
    for person, say in voices.items():
        if act.type == EventType.IDENTITY_OFFERED:
            offered = federation.offered_at(session, settings, person, act.at)
            if offered is not None:
                found[person] = _offer(settings, *offered, say)
            continue
        told = {"at": say.when(act.at), "name": federation.changed_at(session, person, act.at)}
        done = (
            say("Since %(at)s an account at %(name)s signs in as you.", **told)
            if act.type == EventType.IDENTITY_LINKED
            else say("Since %(at)s your account at %(name)s signs in as you no more.", **told)
        )
        wrong = say("If that is wrong, tell whoever runs this service at once.")
        found[person] = [done, "", wrong]
    return found


def _offer(
    settings: Settings, token: str, provider: federation.IdentityProvider, say: Voice
) -> list[str]:
    return [
        say(
            "Someone signed in at %(name)s with your address, and asked to come in here.",
            name=provider.name,
        ),
        say("If it was you, open this link within the hour, and say so there:"),
        "",
        f"  {settings.public_url}/sign-in/link/{token}",
        "",
        say("If it was not you, do nothing: nobody is let in."),
    ]

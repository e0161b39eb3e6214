"""Opening sessions: by a password and a second factor, a passkey, or a provider's word.

Every authentication, a fresh code included, makes a new row and ends the one before.
"""

from __future__ import annotations

import secrets
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, bindparam, insert, select

from govern import clock, errors
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import RECORDED, record
from govern.db import new_id
from govern.identity import authenticators, passkeys, passwords, roles, subjects, throttle
from govern.identity.passwords import Password
from govern.identity.sessions.ending import end, make_room
from govern.identity.sessions.resuming import live, resume
from govern.identity.sessions.tables import HALF_WAY, LIMITS, CameBy, WebSession, hash_of
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Insert, Select

    from govern.db import Database, Session
    from govern.identity.sessions.resuming import Caller
    from govern.identity.throttle import Counter

# How a second factor was shown (RFC 8176): a one-time code, a recovery code, or a passkey, which is
# the proof of possession that cannot be phished.
SECOND = frozenset({"otp", "rec", "pop", "mfa"})


def begin(
    database: Database, email: str, password: str, *, browser: str = "", device: str = ""
) -> str:
    """Check address and password; returns the token of a half-way session.

    Unknown, wrong, offboarded and disabled are answered alike, in words and in time
    (`SignInFailed`); a failure is counted and recorded although it is refused. The hash is computed
    outside the transaction, so that nobody waits for it. `browser` is the cookie that `know` gave.
    """
    with database.glancing() as session:
        subject, stored = session.execute(
            _known(), {"address": subjects.address(email)}
        ).one_or_none() or (None, None)
        counted = throttle.of_password(
            session,
            stored,
            typed=email,
            subject_id=subject.id if subject is not None else None,
            cookie=browser,
        )
        throttle.allow(session, counted, lock=False)
    hashed = stored.hash if stored is not None else None
    right = passwords.matches(hashed, password)
    renewed = passwords.renewed(hashed, password) if right and hashed else None

    def work(session: Session) -> str:
        turn = throttle.allow(session, counted)
        if not (right and turn.counts) or subject is None or subject.ended_at is not None:
            raise _refused(counted)
        throttle.succeeded(turn)
        if hashed and renewed:
            passwords.keep_renewed(session, subject.id, hashed, renewed)
        token, row = _named(subject.id, amr=("pwd",), device=device)
        session.execute(_begun(), row, execution_options=RECORDED)
        return token

    return database.transaction(work)


@cache
def _begun() -> Insert:
    """A half-way session from now on: the statement looks at the clock itself."""
    now = clock.instant()
    return insert(WebSession.__table__).values(  # type: ignore[arg-type]  # a table, as declared
        signed_in_at=now, expires_at=clock.after(now, HALF_WAY), seen_at=now
    )


@cache
def _known() -> Select[Subject, Password | None]:
    """Whose an address is, and their password: one look, of whoever it is."""
    return (
        select(Subject, Password)
        .outerjoin(Password, Password.subject_id == Subject.id)
        .where(Subject.email == bindparam("address", type_=String()))
    )


def begin_federated(
    session: Session,
    subject_id: str,
    came_by: CameBy,
    *,
    amr: tuple[str, ...],
    factor_at: datetime | None,
    browser: str | None = None,
    device: str,
) -> str:
    """The token of a session that a provider's word opens.

    It is whole from `factor_at`, when the provider proved enough and is believed; else half-way.
    """
    now = clock.now(session)
    absolute, _ = LIMITS[bool(roles.held(session, subject_id))]
    token, row = _new(
        subject_id,
        amr=amr,
        device=device,
        factor_at=None if factor_at is None else min(factor_at, now),
        signed_in_at=now,
        expires_at=now + (HALF_WAY if factor_at is None else absolute),
        now=now,
        came_by=came_by,
    )
    if factor_at is not None:
        by = Principal(kind=Kind.SUBJECT, id=subject_id, session=row["id"], amr=amr)
        make_room(session, subject_id, by=by)
        record(
            session,
            EventType.SESSION_OPENED,
            logs=[HOUSE],
            by=by,
            refs={"subject": subject_id, "link": came_by.link_id},
            data={"amr": list(amr), "fresh": False},
        )
        _tell_of_new_browser(session, subject_id, browser, session_id=row["id"], by=by)
    session.execute(insert(WebSession), row, execution_options=RECORDED)
    return token


def renew_federated(
    session: Session, token: str, came_by: CameBy, *, amr: tuple[str, ...], factor_at: datetime
) -> str:
    """The token of the session that follows, once its owner has signed in anew at the provider.

    Of the very account there by which it came, and with what the provider is believed to have
    proved at `factor_at`; else `SignInFailed`.
    """
    old, subject = _ending(session, token)
    if old.link_id != came_by.link_id or old.factor_at is None:
        raise errors.SignInFailed(throttle.WRONG)
    return _open(session, subject, amr, old=old, browser=None, came_by=came_by, factor_at=factor_at)


def begin_with_passkey(
    session: Session, answer: passkeys.Answer, *, browser: str | None = None, device: str = ""
) -> str:
    """Sign in by a passkey whose device recognised its owner: returns the token of a whole session.

    Whatever is wrong with it, the refusal says the same (`SignInFailed`), and is recorded.
    """
    passkey, good = passkeys.used(session, answer, subject_id=None, verified=True)
    subject = session.get_one(Subject, passkey.subject_id) if passkey is not None else None
    if not good or subject is None or subject.ended_at is not None:
        raise passkeys.unsigned(passkey.subject_id if passkey is not None else None)
    return _open(session, subject, ("pop", "mfa"), old=None, browser=browser, device=device)


def show_factor(session: Session, token: str, code: str, *, browser: str | None = None) -> str:
    """Complete a half-way session, or freshen a full one, with a code: returns a new token.

    The session before ends. Wrong codes are counted by person (`SignInFailed`). `browser` is the
    cookie that `throttle.know` gave, None where no browser is.
    """
    old, subject = _ending(session, token)
    counted = authenticators.counter(subject, code)
    turn = throttle.allow(session, counted)
    shown = authenticators.show(session, subject, code) if turn.counts else None
    if shown is None:
        raise _refused(counted)
    throttle.succeeded(turn)
    return _open(session, subject, (*_first(old), *shown.amr, "mfa"), old=old, browser=browser)


def show_passkey(
    session: Session, token: str, answer: passkeys.Answer, *, browser: str | None = None
) -> str:
    """The same with a passkey of theirs.

    Alone, beside nothing that its owner knows, it counts only if the device recognised them.
    """
    old, subject = _ending(session, token)
    first = _first(old)
    _, good = passkeys.used(session, answer, subject_id=subject.id, verified=not first)
    if not good:
        raise passkeys.unsigned(subject.id)
    return _open(session, subject, (*first, "pop", "mfa"), old=old, browser=browser)


def authenticate(database: Database, email: str, password: str, code: str) -> Caller:
    """Both factors at once, for the command line; the session ends at once."""
    token = begin(database, email, password)
    token = database.transaction(lambda session: show_factor(session, token, code))
    with database.reading() as session:
        found = resume(session, token)
    if found is None or found.principal.session is None:
        raise errors.SignInFailed(throttle.WRONG)
    name, by = found.principal.session, found.principal
    database.transaction(lambda session: end(session, name, by=by))
    return found


def _first(old: WebSession) -> list[str]:
    """What a session stands on beside its second factors: the password, or a provider's word."""
    if old.link_id:
        return ["fed"]
    return [way for way in old.amr.split(" ") if way not in SECOND]


def _ending(session: Session, token: str) -> tuple[WebSession, Subject]:
    """The session that a new one is to follow, locked: two that would, take turns."""
    found = live(session, token, lock=True)
    if found is None:
        raise errors.Unauthenticated("Your sign-in has ended. Please sign in again.")
    return found[:2]


def _open(
    session: Session,
    subject: Subject,
    amr: tuple[str, ...],
    *,
    old: WebSession | None,
    browser: str | None,
    device: str = "",
    came_by: CameBy | None = None,
    factor_at: datetime | None = None,
) -> str:
    """A whole session, after `old` if there is one: it ends, and its time is not prolonged.

    `came_by` is as `old` has it unless told, and `factor_at` now.
    """
    now = clock.now(session)
    if came_by is None and old is not None and old.link_id:
        came_by = CameBy(old.link_id, old.provider_sid)
    absolute, _ = LIMITS[bool(roles.held(session, subject.id))]
    fresh = old is not None and old.factor_at is not None
    token, row = _new(
        subject.id,
        amr=amr,
        device=old.device if old is not None else device,
        factor_at=min(factor_at or now, now),
        signed_in_at=old.signed_in_at if old is not None and fresh else now,
        expires_at=old.expires_at if old is not None and fresh else now + absolute,
        now=now,
        came_by=came_by,
    )
    by = Principal(kind=Kind.SUBJECT, id=subject.id, session=row["id"], amr=amr)
    if old is not None:
        old.device = None
    if not fresh:
        make_room(session, subject.id, by=by)
    session.execute(insert(WebSession), row, execution_options=RECORDED)
    record(
        session,
        EventType.SESSION_OPENED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id, "link": old.link_id if old is not None else None},
        data={"amr": list(amr), "fresh": fresh},
        stamps=[(old, "ended_at")] if old is not None else [],
    )
    if not fresh:
        _tell_of_new_browser(session, subject.id, browser, session_id=row["id"], by=by)
    if "rec" in amr:
        record(
            session, EventType.RECOVERY_CODE_USED, logs=[HOUSE], by=by, refs={"subject": subject.id}
        )
    return token


def _tell_of_new_browser(
    session: Session, subject_id: str, browser: str | None, *, session_id: str, by: Principal
) -> None:
    """Record that a sign-in's browser is not known for its owner, who is told by mail."""
    if browser is None or throttle.knows(session, subject_id, browser):
        return
    refs: dict[str, str | None] = {"subject": subject_id, "opened": session_id}
    record(session, EventType.NEW_BROWSER, logs=[HOUSE], by=by, refs=refs)


def _new(
    subject_id: str,
    *,
    amr: tuple[str, ...],
    device: str | None,
    factor_at: datetime | None,
    signed_in_at: datetime,
    expires_at: datetime,
    now: datetime,
    came_by: CameBy | None = None,
) -> tuple[str, dict[str, Any]]:
    token, row = _named(subject_id, amr=amr, device=device)
    return token, row | {
        "factor_at": factor_at,
        "signed_in_at": signed_in_at,
        "expires_at": expires_at,
        "seen_at": now,
        "link_id": came_by.link_id if came_by else None,
        "provider_sid": came_by.provider_sid if came_by else None,
    }


def _named(
    subject_id: str, *, amr: tuple[str, ...], device: str | None
) -> tuple[str, dict[str, Any]]:
    """A new session's token, and its row but for the times."""
    token = secrets.token_urlsafe(32)
    return token, {
        "id": new_id("ses"),
        "token_hash": hash_of(token),
        "subject_id": subject_id,
        "amr": " ".join(amr),
        "device": device or None,
    }


def _refused(counted: Counter) -> errors.SignInFailed:
    """A refusal that counts and records itself after the roll-back."""
    return throttle.counting(errors.SignInFailed(throttle.WRONG), counted)

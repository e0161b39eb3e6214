"""Sessions: rows on the server, named in the browser by a random token of which we keep the hash.

Every authentication, a fresh code included, makes a new session row and ends the one before; an
ended session never comes back. A session without a second factor may do nothing but show one. A
person has at most five sessions: a sixth sign-in ends the oldest.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Index, insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import RECORDED, record
from govern.clock import Utc
from govern.db import Audited, Base, Id, new_id, references, text_column
from govern.identity import authenticators, passkeys, passwords, roles, subjects, throttle
from govern.identity.passwords import Password
from govern.identity.subjects import Subject
from govern.principal import SYSTEM, Kind, Principal, RoleHeld

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.identity.throttle import Counter

# (absolute, idle): SP 800-63B-4 §2.2.3; those with a role are held shorter.
LIMITS = {
    True: (timedelta(hours=12), timedelta(minutes=15)),
    False: (timedelta(hours=24), timedelta(hours=1)),
}
LONGEST = max(absolute for absolute, _ in LIMITS.values())
HALF_WAY = timedelta(minutes=10)
MOST = 5
# How a second factor was shown (RFC 8176): a one-time code, a recovery code, or a passkey, which is
# the proof of possession that cannot be phished.
SECOND = frozenset({"otp", "rec", "pop", "mfa"})
_TOUCH = timedelta(seconds=60)
_WRONG = "That did not work. Check what you typed and try again."


class WebSession(Audited, Base):
    """A browser's session; its rows are also the history of second factors shown.

    `device` is a word or two such as "Firefox on Linux", forgotten when the session is ended.
    `link_id` is by which link to a provider it came, if by one, and `provider_sid` what the
    provider calls its own session, by which it can end ours.
    """

    __tablename__ = "web_session"
    __table_args__ = (
        Index("ix_web_session_subject", "subject_id", "factor_at"),
        Index("ix_web_session_link", "link_id", "provider_sid"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(text_column(64), unique=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    amr: Mapped[str] = mapped_column(text_column(40))
    device: Mapped[str | None] = mapped_column(text_column(40))
    factor_at: Mapped[datetime | None] = mapped_column(Utc())
    signed_in_at: Mapped[datetime] = mapped_column(Utc())
    expires_at: Mapped[datetime] = mapped_column(Utc())
    seen_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())
    link_id: Mapped[Id | None] = mapped_column(references("identity_link.id"))
    provider_sid: Mapped[str | None] = mapped_column(text_column(255))


@dataclass(frozen=True)
class CameBy:
    """By which link to an identity provider someone came, and its name for its own session."""

    link_id: str
    provider_sid: str | None


@dataclass(frozen=True)
class Caller:
    """Who a session belongs to: the subject's row, and the principal it acts as.

    `unseen` if the session's use was not noted for a minute: see `touch`.
    """

    subject: Subject
    principal: Principal
    signed_in_at: datetime
    unseen: bool

    @property
    def half_way(self) -> bool:
        """Whether the second factor is still to be shown."""
        return self.principal.factor_at is None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def begin(
    database: Database, email: str, password: str, *, browser: str = "", device: str = ""
) -> str:
    """Check address and password; returns the token of a half-way session.

    Unknown, wrong, offboarded and disabled are answered alike, in words and in time
    (`SignInFailed`); a failure is counted and recorded although it is refused. The hash is computed
    outside the transaction, so that nobody waits for it. `browser` is the cookie that `know` gave.
    """
    with database.reading() as session:
        subject = subjects.lookup(session, email) if "@" in email else None
        # Of nobody as well: the look takes its time.
        stored = session.get(Password, subject.id if subject is not None else "")
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
        counts = throttle.allow(session, counted)
        if not (right and counts) or subject is None or subject.ended_at is not None:
            raise _refused(counted)
        throttle.succeeded(session, counted)
        if hashed and renewed:
            passwords.keep_renewed(session, subject.id, hashed, renewed)
        now = clock.now(session)
        token, row = _new(
            subject.id,
            amr=("pwd",),
            device=device,
            factor_at=None,
            signed_in_at=now,
            expires_at=now + HALF_WAY,
            now=now,
        )
        session.execute(insert(WebSession).values(row), execution_options=RECORDED)
        return token

    return database.transaction(work)


def begin_federated(
    session: Session,
    subject_id: str,
    came_by: CameBy,
    *,
    amr: tuple[str, ...],
    factor_at: datetime | None,
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
        _make_room(session, subject_id, by=by)
        record(
            session,
            EventType.SESSION_OPENED,
            logs=[HOUSE],
            by=by,
            refs={"subject": subject_id, "link": came_by.link_id},
            data={"amr": list(amr), "fresh": False},
        )
    session.execute(insert(WebSession).values(row), execution_options=RECORDED)
    return token


def begin_with_passkey(session: Session, answer: passkeys.Answer, *, device: str = "") -> str:
    """Sign in by a passkey whose device recognised its owner: returns the token of a whole session.

    Whatever is wrong with it, the refusal says the same (`SignInFailed`), and is recorded.
    """
    passkey, good = passkeys.used(session, answer, subject_id=None, verified=True)
    subject = session.get_one(Subject, passkey.subject_id) if passkey is not None else None
    if not good or subject is None or subject.ended_at is not None:
        raise _unsigned(passkey.subject_id if passkey is not None else None)
    return _open(session, subject, ("pop", "mfa"), old=None, device=device)


def show_factor(session: Session, token: str, code: str) -> str:
    """Complete a half-way session, or freshen a full one, with a code: returns a new token.

    The session before ends. Wrong codes are counted per authenticator (`SignInFailed`).
    """
    old, subject = _ending(session, token)
    counted = authenticators.counter(session, subject, code)
    counts = throttle.allow(session, counted)
    shown = authenticators.show(session, subject, code) if counts else None
    if shown is None:
        raise _refused(counted)
    throttle.succeeded(session, counted)
    return _open(session, subject, (*_first(old), *shown.amr, "mfa"), old=old)


def show_passkey(session: Session, token: str, answer: passkeys.Answer) -> str:
    """The same with a passkey of theirs.

    Alone, beside nothing that its owner knows, it counts only if the device recognised them.
    """
    old, subject = _ending(session, token)
    first = _first(old)
    _, good = passkeys.used(session, answer, subject_id=subject.id, verified=not first)
    if not good:
        raise _unsigned(subject.id)
    return _open(session, subject, (*first, "pop", "mfa"), old=old)


def _first(old: WebSession) -> list[str]:
    """What a session stands on beside its second factors: the password, or a provider's word."""
    if old.link_id:
        return ["fed"]
    return [way for way in old.amr.split(" ") if way not in SECOND]


def _ending(session: Session, token: str) -> tuple[WebSession, Subject]:
    """The session that a new one is to follow, locked: two that would, take turns."""
    found = _live(session, token, lock=True)
    if found is None:
        raise errors.Unauthenticated("Your sign-in has ended. Please sign in again.")
    return found[:2]


def _open(
    session: Session,
    subject: Subject,
    amr: tuple[str, ...],
    *,
    old: WebSession | None,
    device: str = "",
) -> str:
    """A whole session, after `old` if there is one: it ends, and its time is not prolonged."""
    now = clock.now(session)
    absolute, _ = LIMITS[bool(roles.held(session, subject.id))]
    fresh = old is not None and old.factor_at is not None
    token, row = _new(
        subject.id,
        amr=amr,
        device=old.device if old is not None else device,
        factor_at=now,
        signed_in_at=old.signed_in_at if old is not None and fresh else now,
        expires_at=old.expires_at if old is not None and fresh else now + absolute,
        now=now,
        came_by=CameBy(old.link_id, old.provider_sid) if old is not None and old.link_id else None,
    )
    by = Principal(kind=Kind.SUBJECT, id=subject.id, session=row["id"], amr=amr)
    if old is not None:
        old.device = None
    if not fresh:
        _make_room(session, subject.id, by=by)
    session.execute(insert(WebSession).values(row), execution_options=RECORDED)
    record(
        session,
        EventType.SESSION_OPENED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id, "link": old.link_id if old is not None else None},
        data={"amr": list(amr), "fresh": fresh},
        stamps=[(old, "ended_at")] if old is not None else [],
    )
    if "rec" in amr:
        record(
            session, EventType.RECOVERY_CODE_USED, logs=[HOUSE], by=by, refs={"subject": subject.id}
        )
    return token


def authenticate(database: Database, email: str, password: str, code: str) -> Caller:
    """Both factors at once, for the command line; the session ends at once."""
    token = begin(database, email, password)
    token = database.transaction(lambda session: show_factor(session, token, code))
    with database.reading() as session:
        found = resume(session, token)
    if found is None or found.principal.session is None:
        raise errors.SignInFailed(_WRONG)
    name, by = found.principal.session, found.principal
    database.transaction(lambda session: end(session, name, by=by))
    return found


def resume(session: OrmSession, token: str) -> Caller | None:
    """Who holds this token now; None when it is unknown, ended, expired or idle for too long."""
    found = _live(session, token)
    if found is None:
        return None
    row, subject, held, now = found
    return Caller(
        subject,
        Principal(
            kind=Kind.SUBJECT,
            id=subject.id,
            roles=held,
            session=row.id,
            amr=tuple(row.amr.split(" ")),
            factor_at=row.factor_at,
        ),
        signed_in_at=row.signed_in_at,
        unseen=now - row.seen_at > _TOUCH,
    )


def touch(database: Database, session_id: str) -> None:
    """Note that a session is in use; no page waits for that, nor writes it twice a minute."""

    def work(session: Session) -> None:
        now = clock.now(session)
        session.execute(
            update(WebSession)
            .where(WebSession.id == session_id, WebSession.seen_at < now - _TOUCH)
            .values(seen_at=now),
            execution_options=RECORDED,
        )

    database.note(work)


def living(
    session: OrmSession, subject_id: str, *, since: datetime | None = None
) -> list[WebSession]:
    """Someone's whole sessions that count now, newest first; of those begun at `since` or later.

    The caller's operation has checked the permission.
    """
    _, idle = LIMITS[bool(roles.held(session, subject_id))]
    now = clock.now(session)
    query = select(WebSession).where(
        WebSession.subject_id == subject_id,
        WebSession.factor_at.is_not(None),
        WebSession.ended_at.is_(None),
        WebSession.expires_at > now,
        WebSession.seen_at >= now - idle,
    )
    if since is not None:
        query = query.where(WebSession.signed_in_at >= since)
    return list(session.execute(query.order_by(WebSession.signed_in_at.desc())).scalars())


def end(session: Session, session_id: str, *, by: Principal) -> None:
    """End one of the caller's own sessions; `Unknown` when it is not theirs."""
    end_one(session, by.id, session_id, by=by)


def end_one(session: Session, subject_id: str, session_id: str, *, by: Principal) -> None:
    """End one session of a person; `Unknown` when there is none such, or it ended before.

    The caller's operation has checked the permission.
    """
    row = session.get(WebSession, session_id)
    if row is None or row.subject_id != subject_id or row.ended_at is not None:
        raise errors.Unknown("There is no such session.")
    row.device = None
    record(
        session,
        EventType.SESSION_ENDED,
        logs=[HOUSE],
        by=by,
        refs={"subject": row.subject_id, "session": row.id},
        stamps=[(row, "ended_at")],
    )


def end_all(session: Session, subject_id: str, *, keep: str | None = None, by: Principal) -> int:
    """End every session of a person, half-way ones too, but for `keep`; returns how many.

    The caller's operation has checked the permission.
    """
    rows = list(
        session.execute(
            select(WebSession).where(
                WebSession.subject_id == subject_id,
                WebSession.id != (keep or ""),
                WebSession.ended_at.is_(None),
                WebSession.expires_at > clock.instant(),
            )
        ).scalars()
    )
    _end(session, subject_id, rows, by=by)
    return len(rows)


def _make_room(session: Session, subject_id: str, *, by: Principal) -> None:
    """End the oldest sessions where one more would be too many."""
    _end(session, subject_id, living(session, subject_id)[MOST - 1 :], by=by, why="too_many")


def _end(
    session: Session,
    subject_id: str,
    rows: list[WebSession],
    *,
    by: Principal,
    why: str | None = None,
) -> None:
    if not rows:
        return
    for row in rows:
        row.device = None
    record(
        session,
        EventType.SESSION_ENDED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject_id},
        data={"count": len(rows), "why": why},
        stamps=[(row, "ended_at") for row in rows],
    )


def end_came_by(
    session: Session,
    subject_id: str,
    link_id: str,
    *,
    sid: str | None = None,
    by: Principal,
) -> int:
    """End every session that came by a link (by the provider's session `sid`, if told).

    The caller's operation has checked that they may be.
    """
    query = select(WebSession).where(
        WebSession.link_id == link_id,
        WebSession.ended_at.is_(None),
        WebSession.expires_at > clock.instant(),
    )
    if sid is not None:
        query = query.where(WebSession.provider_sid == sid)
    rows = list(session.execute(query).scalars())
    _end(session, subject_id, rows, by=by, why="link" if sid is None else "provider")
    return len(rows)


def _live(
    session: OrmSession, token: str, *, lock: bool = False
) -> tuple[WebSession, Subject, tuple[RoleHeld, ...], datetime] | None:
    """The session of this token, whose it is, their roles and now; None when it counts no more.

    It is `lock`ed where it will be ended: of two acts that would, the second finds none.
    """
    query = (
        select(WebSession, Subject, clock.instant())
        .join(Subject, Subject.id == WebSession.subject_id)
        .where(
            WebSession.token_hash == _hash(token),
            WebSession.ended_at.is_(None),
            Subject.ended_at.is_(None),
        )
    )
    if lock:
        query = query.with_for_update(of=WebSession)
    found = session.execute(query).one_or_none()
    if found is None:
        return None
    row, subject, now = found
    held = roles.held(session, subject.id) if row.factor_at is not None else ()
    _, idle = LIMITS[bool(held)]
    if now >= row.expires_at or now - row.seen_at > idle:
        return None
    return row, subject, held, now


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
    token = secrets.token_urlsafe(32)
    return token, {
        "id": new_id("ses"),
        "token_hash": _hash(token),
        "subject_id": subject_id,
        "amr": " ".join(amr),
        "device": device or None,
        "factor_at": factor_at,
        "signed_in_at": signed_in_at,
        "expires_at": expires_at,
        "seen_at": now,
        "link_id": came_by.link_id if came_by else None,
        "provider_sid": came_by.provider_sid if came_by else None,
    }


def know(session: Session, *, by: Principal) -> str:
    """A cookie for the browser in which the caller has just signed in (see `throttle`)."""
    return throttle.know(session, by.id)


def _refused(counted: Counter) -> errors.SignInFailed:
    """A refusal that counts and records itself after the roll-back."""
    return throttle.counting(errors.SignInFailed(_WRONG), counted)


def _unsigned(subject_id: str | None) -> errors.SignInFailed:
    """The same for a passkey, which nobody guesses: it is recorded, and slows nobody down."""

    def aftermath(session: Session) -> None:
        record(
            session,
            EventType.SIGN_IN_FAILED,
            logs=[HOUSE],
            by=SYSTEM,
            refs={"subject": subject_id},
            data={"factor": "passkey"},
        )

    refusal = errors.SignInFailed(_WRONG)
    refusal.aftermath = aftermath
    return refusal


__all__ = [
    "Caller",
    "CameBy",
    "WebSession",
    "authenticate",
    "begin",
    "begin_federated",
    "begin_with_passkey",
    "end",
    "end_all",
    "end_came_by",
    "end_one",
    "know",
    "living",
    "resume",
    "show_factor",
    "show_passkey",
    "touch",
]

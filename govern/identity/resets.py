"""A forgotten password: a link by mail sets a new one, for who shows a second factor besides.

A link lives half an hour and works once. Whether an address is known shows nowhere: for one that is
not the same is written, and nothing is mailed.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Index, LargeBinary, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import RECORDED, record
from govern.clock import Utc
from govern.db import PERSONAL, Audited, Base, Id, new_id, references, text_column
from govern.identity import authenticators, one_time, passkeys, sessions, subjects, throttle
from govern.identity.passwords import Password
from govern.identity.sessions.tables import hash_of
from govern.identity.subjects import Subject
from govern.principal import SYSTEM, Kind, Principal
from govern.sealing import SEALED, seal_row, unseal

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.identity.passkeys import Answer

LIFE = timedelta(minutes=30)
# How often an hour one address can be asked for.
MOST = 3


class PasswordReset(Audited, Base):
    """A link that was asked for; `subject_id` is None where nobody's address was typed.

    `token` is sealed, for the mail; `asked_for` is the hash of what was typed.
    """

    __tablename__ = "password_reset"
    __table_args__ = (
        Index("ix_password_reset_subject", "subject_id"),
        Index("ix_password_reset_asked_for", "asked_for", "expires_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id | None] = mapped_column(references("subject.id"))
    asked_for: Mapped[str] = mapped_column(text_column(64), info=PERSONAL)
    token_hash: Mapped[str] = mapped_column(text_column(64), unique=True)
    token: Mapped[bytes | None] = mapped_column(LargeBinary, info=SEALED | PERSONAL)
    expires_at: Mapped[datetime] = mapped_column(Utc())
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


def ask(session: Session, email: str) -> None:
    """Ask for a link to an address: nothing is answered, and much the same is done for any.

    More than three an hour for one address are passed over.
    """
    asked_for = hash_of(email.strip().lower())
    now = clock.now(session)
    lately = select(func.count()).where(
        PasswordReset.asked_for == asked_for,
        PasswordReset.expires_at > now + LIFE - timedelta(hours=1),
    )
    if session.execute(lately).scalar_one() >= MOST:
        return
    subject = subjects.lookup(session, email if "@" in email else "@")
    # Who has none (they come by a provider) is not given one by mail.
    known = session.get(Password, subject.id if subject is not None else "")
    whose = subject.id if subject is not None and known and subject.ended_at is None else None
    reset_id, token = new_id("rst"), secrets.token_urlsafe(32)
    row = PasswordReset(
        id=reset_id,
        subject_id=whose,
        asked_for=asked_for,
        token_hash=hash_of(token),
        token=seal_row(session, token.encode(), place=_place(reset_id)),
        expires_at=now + LIFE,
    )
    session.add(row)
    record(
        session,
        EventType.RESET_ASKED,
        logs=[HOUSE],
        by=SYSTEM,
        refs={"subject": whose, "reset": row.id},
        stamps=[(row, "recorded_at")],
    )


def forget(session: Session, email: str) -> None:
    """Forget that an address was ever asked for: its hash could be guessed."""
    of_it = update(PasswordReset).where(PasswordReset.asked_for == hash_of(email))
    session.execute(
        of_it.values(asked_for=""),
        execution_options={"synchronize_session": False, **RECORDED},
    )


def token_of(session: Session, row: PasswordReset) -> str | None:
    """The token of a link, for its mail; None once it was used."""
    if row.token is None:
        return None
    return unseal(session.database.settings, row.token, place=_place(row.id)).decode()


def find(session: OrmSession, token: str) -> tuple[PasswordReset, Subject]:
    """Whose link this is; `Unknown` when it is used, over or nobody's."""
    return one_time.find(
        session,
        PasswordReset,
        PasswordReset.token_hash == hash_of(token),
        over="This link has been used or has expired. Ask for a new one.",
    )


def forget_lapsed(session: Session) -> None:
    """Erase the sealed tokens of links whose time is over: what is kept of them is a hash."""
    session.execute(
        update(PasswordReset)
        .where(PasswordReset.token.is_not(None), PasswordReset.expires_at <= clock.instant())
        .values(token=None),
        execution_options=RECORDED | {"synchronize_session": False},
    )


def complete(
    session: Session,
    token: str,
    *,
    password_hash: str,
    code: str = "",
    answer: Answer | None = None,
) -> Subject:
    """Use a link: with a second factor shown, the password (hashed beforehand) takes the place.

    A wrong one counts as it does at the sign-in (`SignInFailed`), and leaves the link as it was.
    """
    row, subject = find(session, token)
    amr = _shown(session, subject, code, answer)
    by = Principal(kind=Kind.SUBJECT, id=subject.id, amr=amr)
    password = session.get_one(Password, subject.id)
    password.hash = password_hash
    throttle.replaced(session, "password", subject.id)
    throttle.replaced(session, "present_password", subject.id)
    sessions.end_all(session, subject.id, by=by)
    open_ones = session.execute(
        select(PasswordReset).where(
            PasswordReset.subject_id == subject.id, PasswordReset.ended_at.is_(None)
        )
    ).scalars()
    stamps = []
    for each in open_ones:
        each.token = None
        stamps.append((each, "ended_at"))

    def unused(session: OrmSession) -> None:
        ended = select(PasswordReset.ended_at).where(PasswordReset.id == row.id)
        if session.execute(ended).scalar_one() is not None:
            raise errors.AlreadyEnded("This link has been used.")

    record(
        session,
        EventType.RESET_COMPLETED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id, "reset": row.id},
        data={"amr": list(amr)},
        stamps=[*stamps, (password, "recorded_at")],
        recheck=unused,
    )
    if "rec" in amr:
        record(
            session, EventType.RECOVERY_CODE_USED, logs=[HOUSE], by=by, refs={"subject": subject.id}
        )
    return subject


def _shown(session: Session, subject: Subject, code: str, answer: Answer | None) -> tuple[str, ...]:
    """How a second factor was shown. A mail is no first one, so a passkey must know its owner."""
    if answer is not None:
        _, good = passkeys.used(session, answer, subject_id=subject.id, verified=True)
        if not good:
            raise passkeys.unsigned(subject.id)
        return ("pop",)
    counted = authenticators.counter(subject, code)
    turn = throttle.allow(session, counted)
    shown = authenticators.show(session, subject, code) if turn.counts else None
    if shown is None:
        raise throttle.counting(errors.SignInFailed(throttle.WRONG), counted)
    throttle.succeeded(turn)
    return shown.amr


def _place(reset_id: str) -> str:
    return f"password_reset.token:{reset_id}"

"""Activation: a one-time link with which someone chooses a password and enrols a second factor.

The link's token is random, lives three days, works once, and never becomes a password.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Index, exists, literal, not_, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Again, Audited, Base, Id, listed, new_id, references, text_column
from govern.identity import authenticators, one_time, passwords, sessions, throttle
from govern.identity.authenticators import Totp
from govern.identity.passkeys import Passkey
from govern.identity.passwords import Password
from govern.identity.sessions.tables import hash_of
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import ColumnElement, SQLColumnExpression
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session

LIFE = timedelta(days=3)


class Activation(Audited, Base):
    """A link that was made, and when it was used or replaced."""

    __tablename__ = "activation"
    __table_args__ = (Index("ix_activation_subject", "subject_id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(text_column(64), unique=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    issued_by: Mapped[str] = mapped_column(text_column(200))
    expires_at: Mapped[datetime] = mapped_column(Utc())
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


def issue(session: Session, subject: Subject, *, by: Principal) -> str:
    """Make a link's token for a subject; an earlier unused one stops working.

    Whoever issues it cannot pair with the account in an act that takes two people. There is none
    for an account in use: it would be a way round `recovery`.
    """
    permissions.require(by, "subject:write")
    permissions.require_fresh(by, now=clock.now(session))
    if subject.ended_at is not None:
        raise errors.AlreadyEnded("Who has left is not invited again.", field="subject")

    def unused(session: OrmSession) -> None:
        if is_active(session, subject.id):
            raise errors.AlreadyExists(
                "Their account is in use already: who lost a factor is let back in by a recovery.",
                field="subject",
            )

    unused(session)
    earlier = session.execute(
        select(Activation).where(Activation.subject_id == subject.id, Activation.ended_at.is_(None))
    ).scalars()
    token = secrets.token_urlsafe(24)
    row = Activation(
        id=new_id("act"),
        token_hash=hash_of(token),
        subject_id=subject.id,
        issued_by=by.name or by.id,
        expires_at=clock.now(session) + LIFE,
    )
    session.add(row)
    record(
        session,
        EventType.ACTIVATION_ISSUED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id},
        stamps=[(row, "recorded_at"), *((old, "ended_at") for old in earlier)],
        recheck=unused,
    )
    return token


def is_active(session: OrmSession, subject_id: str) -> bool:
    """Whether an account is in use: a link was used, and it has something to prove oneself with."""
    return bool(session.execute(select(_in_use(literal(subject_id)))).scalar_one())


def _in_use(subject_id: SQLColumnExpression[str]) -> ColumnElement[bool]:
    return or_(
        exists().where(Password.subject_id == subject_id),
        exists().where(Totp.subject_id == subject_id, Totp.ended_at.is_(None)),
        exists().where(Passkey.subject_id == subject_id, Passkey.ended_at.is_(None)),
    )


def not_yet_active(session: OrmSession, external_ids: Sequence[str]) -> list[Subject]:
    """Who of these is here and whose account is not in use yet, in the order given.

    `Unknown` names the first whom nobody knows.
    """
    given = listed(session, external_ids)
    rows = session.execute(
        select(Subject, _in_use(Subject.id)).join(given, given.c.value == Subject.external_id)
    ).all()
    found = {subject.external_id: (subject, active) for subject, active in rows}
    for external_id in external_ids:
        if external_id not in found:
            raise errors.Unknown(f"Nobody is known as “{external_id}”.", field="subject")
    active = {external_id for external_id, (_, in_use) in found.items() if in_use}
    known = [found[external_id][0] for external_id in external_ids if external_id not in active]
    return [subject for subject in known if subject.ended_at is None]


def find(session: OrmSession, token: str) -> tuple[Activation, Subject]:
    """Whom a link is for; `Unknown` when it is used, replaced, expired or never was."""
    return one_time.find(
        session,
        Activation,
        Activation.token_hash == hash_of(token),
        not_(_in_use(Subject.id)),
        over="This link has been used or has expired. Ask for a new one.",
    )


def complete(
    session: Session, token: str, *, password_hash: str, seed: str, code: str
) -> tuple[Subject, list[str]]:
    """Use a link: set the password (hashed beforehand), enrol the app; returns recovery codes.

    Whatever else the person could sign in with ends. All or nothing: a wrong first code leaves the
    link as it was.
    """
    row, subject = find(session, token)
    by = Principal(kind=Kind.SUBJECT, id=subject.id)

    def unused(session: OrmSession) -> None:
        ended = select(Activation.ended_at).where(Activation.id == row.id)
        if session.execute(ended).scalar_one() is not None:
            raise errors.AlreadyEnded("This link has been used.")

    codes = equip(
        session,
        subject,
        password_hash=password_hash,
        seed=seed,
        code=code,
        stamps=[(row, "ended_at")],
        recheck=unused,
        by=by,
    )
    return subject, codes


def equip(
    session: Session,
    subject: Subject,
    *,
    password_hash: str,
    seed: str,
    code: str,
    stamps: Iterable[tuple[Base, str]] = (),
    recheck: Callable[[Session], None] | None = None,
    by: Principal,
) -> list[str]:
    """Give someone a password, an authenticator app and recovery codes; all that was before ends.

    No guess at what they had counts against them, nor keeps them waiting. Returns the codes.
    `stamps` and `recheck` are of the link that was used: see `record`.
    """
    earlier = authenticators.held(session, subject.id)
    authenticators.enrol(session, subject, seed=seed, code=code, instead_of=earlier, by=by)
    password = session.get(Password, subject.id)
    if password is None:
        password = Password(subject_id=subject.id, hash=password_hash)
        session.add(password)
    else:
        password.hash = password_hash
    for factor in ("password", "present_password"):
        throttle.replaced(session, factor, subject.id)
    sessions.end_all(session, subject.id, by=by)

    def as_seen(session: Session) -> None:
        if recheck is not None:
            recheck(session)
        if authenticators.held(session, subject.id) != earlier:
            raise Again  # one that was added meanwhile ends as well

    record(
        session,
        EventType.PASSWORD_SET,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id},
        stamps=[*stamps, (password, "recorded_at")],
        recheck=as_seen,
    )
    return authenticators.issue_recovery_codes(session, subject, by=by)


def hash_password(password: str, *, of: Subject | None = None) -> str:
    """Hash the chosen password before the transaction begins; `Invalid` at `password`.

    One that is made of the name or address of whom it is `of` is refused, too.
    """
    return passwords.hashed(password, about=() if of is None else (of.full_name, of.email))


def issuers(session: OrmSession, subject_id: str) -> set[str]:
    """Everyone who ever made a link for this account: they created or recovered it."""
    return set(
        session.execute(
            select(Activation.issued_by).where(Activation.subject_id == subject_id)
        ).scalars()
    )

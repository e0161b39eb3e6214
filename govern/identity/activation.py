"""Activation: a one-time link with which someone chooses a password and enrols a second factor.

The link's token is random, lives three days, works once, and never becomes a password.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Index, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Id, listed, new_id, references, text_column
from govern.identity import authenticators, passwords, sessions, throttle
from govern.identity.authenticators import Totp
from govern.identity.passkeys import Passkey
from govern.identity.passwords import Password
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    Whoever issues it cannot pair with the account in an act that takes two people.
    """
    permissions.require(by, "subject:write")
    if subject.ended_at is not None:
        raise errors.AlreadyEnded("Who has left is not invited again.", field="subject")
    earlier = session.execute(
        select(Activation).where(Activation.subject_id == subject.id, Activation.ended_at.is_(None))
    ).scalars()
    token = secrets.token_urlsafe(24)
    row = Activation(
        id=new_id("act"),
        token_hash=_hash(token),
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
    )
    return token


def not_yet_active(session: OrmSession, external_ids: Sequence[str]) -> list[Subject]:
    """Who of these is here and has no second factor yet, in the order given.

    `Unknown` names the first whom nobody knows.
    """
    given = listed(session, external_ids)
    rows = session.execute(
        select(
            Subject,
            or_(
                *(
                    select(table.id)
                    .where(table.subject_id == Subject.id, table.ended_at.is_(None))
                    .exists()
                    for table in (Totp, Passkey)
                )
            ),
        ).join(given, given.c.value == Subject.external_id)
    ).all()
    found = {subject.external_id: (subject, strong) for subject, strong in rows}
    for external_id in external_ids:
        if external_id not in found:
            raise errors.Unknown(f"Nobody is known as “{external_id}”.", field="subject")
    active = {external_id for external_id, (_, strong) in found.items() if strong}
    known = [found[external_id][0] for external_id in external_ids if external_id not in active]
    return [subject for subject in known if subject.ended_at is None]


def find(session: OrmSession, token: str) -> tuple[Activation, Subject]:
    """Whom a link is for; `Unknown` when it is used, replaced, expired or never was."""
    found = session.execute(
        select(Activation, Subject)
        .join(Subject, Subject.id == Activation.subject_id)
        .where(
            Activation.token_hash == _hash(token),
            Activation.ended_at.is_(None),
            Activation.expires_at > clock.instant(),
            Subject.ended_at.is_(None),
        )
    ).one_or_none()
    if found is None:
        raise errors.Unknown("This link has been used or has expired. Ask for a new one.")
    return found[0], found[1]


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

    earlier = authenticators.strong(session, subject.id)
    authenticators.enrol(session, subject, seed=seed, code=code, by=by)
    password = session.get(Password, subject.id)
    if password is None:
        password = Password(subject_id=subject.id, hash=password_hash)
        session.add(password)
    else:
        password.hash = password_hash
    throttle.replaced(session, "password", subject.id)
    throttle.replaced(session, "present_password", subject.id)
    sessions.end_all(session, subject.id, by=by)
    record(
        session,
        EventType.PASSWORD_SET,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id},
        stamps=[
            (row, "ended_at"),
            (password, "recorded_at"),
            *((each, "ended_at") for each in earlier),
        ],
        recheck=unused,
    )
    return subject, authenticators.issue_recovery_codes(session, subject, by=by)


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


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

"""Recovery: a way back for who lost their second factor, which two people open and nobody hurries.

Who approves sees no secret: a one-time link goes to the person's own address. It works a day after
the approval and for a day; meanwhile the person, or any admin, calls it off, by the notice that
goes out at once or from a session. Using it ends every authenticator and session that there was.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Index, LargeBinary, select, update
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import RECORDED, record
from govern.clock import Utc
from govern.db import PERSONAL, Audited, Base, Code, Id, new_id, references, text_column
from govern.identity import activation, one_time
from govern.identity.sessions.tables import hash_of
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal
from govern.sealing import SEALED, seal_row, unseal

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session

COOLING = timedelta(days=1)
LIFE = timedelta(days=1)
USED, CANCELLED = "used", "cancelled"


_OVER = "This link has been used, was called off, or has expired."


class Recovery(Audited, Base):
    """One recovery that two people agreed on; `outcome` is used or cancelled, or none if it lapsed.

    `links` holds both tokens, sealed, until they were mailed or shown: of each we keep the hash.
    """

    __tablename__ = "recovery"
    __table_args__ = (Index("ix_recovery_subject", "subject_id", "ended_at"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    token_hash: Mapped[str] = mapped_column(text_column(64), unique=True)
    cancel_hash: Mapped[str] = mapped_column(text_column(64), unique=True)
    links: Mapped[bytes | None] = mapped_column(LargeBinary, info=SEALED | PERSONAL)
    asked_by: Mapped[str] = mapped_column(text_column(200))
    approved_by: Mapped[str] = mapped_column(text_column(200))
    works_from: Mapped[datetime] = mapped_column(Utc())
    expires_at: Mapped[datetime] = mapped_column(Utc())
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    outcome: Mapped[Code | None]
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


def recoverable(session: OrmSession, subject: Subject) -> None:
    """Refuse who has left, who has nothing to lose yet, and whose recovery is under way."""
    if subject.ended_at is not None:
        raise errors.AlreadyEnded("Who has left is not let in again.", field="subject")
    if not activation.is_active(session, subject.id):
        raise errors.Invalid(
            "Their account was never activated: an activation link does.", field="subject"
        )
    if pending(session, subject.id) is not None:
        raise errors.AlreadyExists("A recovery of theirs is under way.", field="subject")


def approve(session: Session, subject: Subject, *, asked_by: str, by: Principal) -> Recovery:
    """Open the way back: the second person's act, whose caller has checked who the two are."""
    permissions.require(by, "request:approve", now=clock.now(session))
    recoverable(session, subject)
    now = clock.now(session)
    recovery_id = new_id("rcv")
    token, cancel = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    row = Recovery(
        id=recovery_id,
        subject_id=subject.id,
        token_hash=hash_of(token),
        cancel_hash=hash_of(cancel),
        links=seal_row(
            session,
            json.dumps({"token": token, "cancel": cancel}).encode(),
            place=_place(recovery_id),
        ),
        asked_by=asked_by,
        approved_by=by.name or by.id,
        works_from=now + COOLING,
        expires_at=now + COOLING + LIFE,
        outcome=None,
    )
    session.add(row)
    record(
        session,
        EventType.RECOVERY_APPROVED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id, "recovery": row.id},
        data={"works_from": clock.text(row.works_from)},
        stamps=[(row, "recorded_at")],
        recheck=lambda session: recoverable(session, subject),
    )
    return row


def links(session: Session, row: Recovery) -> tuple[str, str] | None:
    """The tokens of a recovery's two links, to use it and to call it off; None once forgotten."""
    if row.links is None:
        return None
    found = json.loads(unseal(session.database.settings, row.links, place=_place(row.id)))
    return found["token"], found["cancel"]


def hand_over(session: Session, subject_id: str, *, by: Principal) -> str | None:
    """The link's token, once, for who approved where no mail goes out; None for anyone else."""
    row = pending(session, subject_id)
    if row is None or row.approved_by != (by.name or by.id):
        return None
    found = links(session, row)
    session.execute(
        update(Recovery).where(Recovery.id == row.id).values(links=None),
        execution_options=RECORDED | {"synchronize_session": False},
    )
    return found[0] if found is not None else None


def forget_lapsed(session: Session) -> None:
    """Erase the sealed links of recoveries whose time is over: what is kept of them is a hash."""
    session.execute(
        update(Recovery)
        .where(Recovery.links.is_not(None), Recovery.expires_at <= clock.instant())
        .values(links=None),
        execution_options=RECORDED | {"synchronize_session": False},
    )


def pending(session: OrmSession, subject_id: str) -> Recovery | None:
    """The recovery of someone that is under way, or can be used now."""
    return session.execute(
        select(Recovery).where(
            Recovery.subject_id == subject_id,
            Recovery.ended_at.is_(None),
            Recovery.expires_at > clock.instant(),
        )
    ).scalar_one_or_none()


def find(session: OrmSession, token: str) -> tuple[Recovery, Subject]:
    """Whose link this is; `Unknown` when it is used or called off or over, `Stale` too early."""
    row, subject = _find(session, Recovery.token_hash == hash_of(token))
    if clock.now(session) < row.works_from:
        at = f"{row.works_from:%Y-%m-%d %H:%M}"
        raise errors.Stale("This link works from %(at)s UTC on.", at=at)
    return row, subject


def find_cancel(session: OrmSession, token: str) -> tuple[Recovery, Subject]:
    """Whose recovery the link of a notice calls off; `Unknown` where there is none to call off."""
    return _find(session, Recovery.cancel_hash == hash_of(token))


def complete(
    session: Session, token: str, *, password_hash: str, seed: str, code: str
) -> tuple[Subject, list[str]]:
    """Use a link: a new password and authenticator; all that was before ends. Recovery codes.

    All or nothing: a wrong first code leaves the link as it was.
    """
    row, subject = find(session, token)
    by = Principal(kind=Kind.SUBJECT, id=subject.id)
    codes = activation.equip(
        session, subject, password_hash=password_hash, seed=seed, code=code, by=by
    )
    _end(session, row, USED, EventType.RECOVERY_COMPLETED, by=by)
    return subject, codes


def cancel(session: Session, row: Recovery, *, by: Principal) -> None:
    """Call a recovery off: the person themselves, or any admin."""
    if by.id != row.subject_id:
        permissions.require(by, "subject:recover")
    _end(session, row, CANCELLED, EventType.RECOVERY_CANCELLED, by=by)


def call_off(session: Session, subject_id: str, *, by: Principal) -> None:
    """Call off what is under way for someone; `AlreadyEnded` when nothing is, or no more."""
    if by.id != subject_id:
        permissions.require(by, "subject:recover")
    row = pending(session, subject_id)
    if row is None:
        raise errors.AlreadyEnded("No recovery is under way any more.")
    cancel(session, row, by=by)


def cancel_by_link(session: Session, token: str) -> None:
    """Call a recovery off by the link of its notice, which went to the person's own address."""
    row, subject = find_cancel(session, token)
    cancel(session, row, by=Principal(kind=Kind.SUBJECT, id=subject.id))


def _end(session: Session, row: Recovery, outcome: str, event: EventType, *, by: Principal) -> None:
    def still_open(session: OrmSession) -> None:
        ended = select(Recovery.ended_at).where(Recovery.id == row.id)
        if session.execute(ended).scalar_one() is not None:
            raise errors.AlreadyEnded("This recovery was used or called off just now.")

    row.outcome, row.links = outcome, None
    record(
        session,
        event,
        logs=[HOUSE],
        by=by,
        refs={"subject": row.subject_id, "recovery": row.id},
        stamps=[(row, "ended_at")],
        recheck=still_open,
    )


def _find(session: OrmSession, whose: ColumnElement[bool]) -> tuple[Recovery, Subject]:
    return one_time.find(session, Recovery, whose, over=_OVER)


def _place(recovery_id: str) -> str:
    return f"recovery.links:{recovery_id}"

"""Legal holds: while one stands over a client, nothing is dropped or erased that may concern it.

A sealed run of the access log holds rows of many clients and goes whole or not at all, so under a
hold of any client no row expires. A hold has no end of its own: somebody releases it, and says why.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit.events import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Again, Audited, Base, Id, new_id
from govern.principal import Kind

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal


class LegalHold(Audited, Base):
    """A client under legal hold, from an instant until it is released."""

    __tablename__ = "legal_hold"
    __table_args__ = (
        Index(
            "uq_legal_hold_active",
            "client_id",
            unique=True,  # one at a time, whatever anyone does at once
            sqlite_where=text("released_at IS NULL"),
            postgresql_where=text("released_at IS NULL"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    client_id: Mapped[Id]
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    released_at: Mapped[datetime | None] = mapped_column(Utc())


def place(session: Session, client_id: str, *, reason: str, by: Principal) -> LegalHold:
    """Put a client under hold; `AlreadyExists` when it is."""
    permissions.require(by, "hold:set", client=client_id, now=clock.now(session))
    _said(reason)
    if of(session, client_id) is not None:
        raise errors.AlreadyExists("This client is under legal hold already.")
    row = LegalHold(id=new_id("hol"), client_id=client_id)
    session.add(row)

    def recheck(session: Session) -> None:
        if of(session, client_id) is not None:
            raise Again

    record(
        session, EventType.HOLD_SET, logs=[HOUSE, client_id], by=by, refs={"client": client_id},
        data={"hold": row.id}, private={"reason": reason}, stamps=[(row, "recorded_at")],
        recheck=recheck,
    )  # fmt: skip
    return row


def release(
    session: Session, client_id: str, *, reason: str, seen: str | None = None, by: Principal
) -> LegalHold:
    """Release a client's hold; `Unknown` when there is none. No program does.

    `seen` is the id of the hold that the caller looked at: any other is `Stale`.
    """
    permissions.require(by, "hold:set", client=client_id, now=clock.now(session))
    if by.kind is Kind.INTEGRATION:
        raise errors.Forbidden("A person releases a hold, no program.")
    _said(reason)
    row = of(session, client_id)
    if row is None:
        raise errors.Unknown("This client is under no legal hold.")
    if seen is not None and seen != row.id:
        raise errors.Stale("Someone placed another hold meanwhile: look at it first.")
    record(
        session, EventType.HOLD_RELEASED, logs=[HOUSE, client_id], by=by,
        refs={"client": client_id}, data={"hold": row.id}, private={"reason": reason},
        stamps=[(row, "released_at")],
    )  # fmt: skip
    return row


def standing(session: OrmSession) -> list[LegalHold]:
    """The holds in force, oldest first; for whoever runs the installation."""
    query = select(LegalHold).where(LegalHold.released_at.is_(None))
    return list(session.execute(query.order_by(LegalHold.recorded_at)).scalars())


def any_stands(session: OrmSession) -> bool:
    """Whether any client is under hold."""
    query = select(LegalHold.id).where(LegalHold.released_at.is_(None)).limit(1)
    return session.execute(query).first() is not None


def of(session: OrmSession, client_id: str) -> LegalHold | None:
    """The hold that a client is under now, if any."""
    query = select(LegalHold).where(
        LegalHold.client_id == client_id, LegalHold.released_at.is_(None)
    )
    return session.execute(query).scalar_one_or_none()


def _said(reason: str) -> None:
    if not reason.strip():
        raise errors.Invalid("reason: say why", field="reason")

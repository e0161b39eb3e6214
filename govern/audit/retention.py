"""Retention by client: how many days its rows of the access log stay at least.

A sealed run holds rows of many clients and goes whole, or its root could not be derived any more.
So rows go when no client asks for them any longer, and none can ask for less than the installation
keeps (GOVERN_ACCESS_LOG_DAYS).
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Integer, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit.events import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Again, Audited, Base, Id
from govern.principal import Kind

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

MOST = 36_500


class AccessRetention(Audited, Base):
    """For how many days a client's rows stay at least: 0 for ever, None as the installation's."""

    __tablename__ = "access_retention"

    client_id: Mapped[Id] = mapped_column(primary_key=True)
    days: Mapped[int | None] = mapped_column(Integer)
    recorded_at: Mapped[datetime] = mapped_column(Utc())


def keep(
    session: Session,
    client_id: str,
    days: int | None,
    *,
    reason: str,
    seen: str | None = None,
    by: Principal,
) -> None:
    """Set a client's days; `Invalid` when they are fewer than the installation's.

    What was recorded as expired before goes all the same. `seen` is the `version` that the caller
    looked at: any other is `Stale`. A program may only have rows stay longer.
    """
    permissions.require(by, "hold:set", client=client_id, now=clock.now(session))
    if not reason.strip():
        raise errors.Invalid("reason: say why", field="reason")
    least = session.database.settings.access_log_days
    if days is not None and not 0 <= days <= MOST:
        raise errors.Invalid(f"days: 0 (for ever) to {MOST}", field="days")
    if days and (not least or days < least):
        raise errors.Invalid(
            f"days: this installation keeps rows {f'for {least} days' if least else 'for ever'}, "
            "and a run of rows of many clients goes whole: no client can ask for less",
            field="days",
        )
    row = session.get(AccessRetention, client_id)
    if seen is not None and seen != version(session, client_id):
        raise errors.Stale("Someone set other days meanwhile: look at them first.", field="days")
    before = (row.days, row.recorded_at) if row is not None else None
    present = row.days if row is not None else None
    if present == days:
        raise errors.AlreadyExists("Their rows stay that long already.", field="days")
    if by.kind is Kind.INTEGRATION and _as_long(days, least) < _as_long(present, least):
        raise errors.Forbidden("A person may have rows go sooner, no program.", field="days")

    def recheck(session: OrmSession) -> None:
        query = select(AccessRetention.days, AccessRetention.recorded_at).where(
            AccessRetention.client_id == client_id
        )
        found = session.execute(query.with_for_update()).one_or_none()
        if (tuple(found) if found is not None else None) != before:
            raise Again

    if row is None:
        row = AccessRetention(client_id=client_id)
        session.add(row)
    row.days = days
    record(
        session, EventType.RETENTION_SET, logs=[HOUSE, client_id], by=by,
        refs={"client": client_id}, data={"days": days}, private={"reason": reason},
        stamps=[(row, "recorded_at")], recheck=recheck,
    )  # fmt: skip


def _as_long(days: int | None, least: int) -> float:
    """Days to compare by: of the installation where none are set, and 0 is for ever."""
    return (least if days is None else days) or math.inf


def of(session: OrmSession, client_id: str) -> int | None:
    """A client's own days, if it has any."""
    query = select(AccessRetention.days).where(AccessRetention.client_id == client_id)
    return session.execute(query).scalar_one_or_none()


def version(session: OrmSession, client_id: str) -> str:
    """What names the setting that someone saw."""
    row = session.get(AccessRetention, client_id)
    return clock.text(row.recorded_at) if row is not None else ""


def all_set(session: OrmSession) -> dict[str, int]:
    """Clients with days of their own; for whoever runs the installation."""
    query = select(AccessRetention.client_id, AccessRetention.days).where(
        AccessRetention.days.is_not(None)
    )
    return {client_id: days for client_id, days in session.execute(query) if days is not None}


def longest(session: OrmSession, days: int) -> int:
    """For how many days rows stay, of the installation's `days` and every client's; 0 for ever."""
    asked = [days, *all_set(session).values()]
    return 0 if 0 in asked else max(asked)

"""Idempotency: a write that is sent again under the same key is answered again, and not redone.

What was answered is kept for a day in the transaction that made the change, so there is never one
without the other. Only a digest of the key and the place of the result are kept: nothing personal.
A refusal leaves nothing, and may be tried again under its key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Integer, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors
from govern.clock import Utc
from govern.db import Base, hold, text_column

if TYPE_CHECKING:
    from govern.db import Session
    from govern.principal import Principal

FIELD = "Idempotency-Key"
KEPT = timedelta(hours=24)
_SWEPT = 100  # answers past their day that one write clears away


@dataclass(frozen=True)
class Done:
    """What a write is answered with: its status, and where the result can be read."""

    status: int
    place: str


class Answer(Base):
    """One answer. `id` is the digest of caller and key, `request` that of what was sent."""

    __tablename__ = "idempotent_answer"

    id: Mapped[str] = mapped_column(text_column(64), primary_key=True)
    request: Mapped[str] = mapped_column(text_column(64))
    status: Mapped[int] = mapped_column(Integer)
    place: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc(), index=True)


def once(
    session: Session, key: str, act: Callable[[], Done], *, request: bytes, by: Principal
) -> Done:
    """Do `act`, or tell how it ended when it was done under this key within a day.

    `Invalid` when the key came with another `request` then, `Conflict` while its first is under
    way (on SQLite it waits for that one instead).
    """
    name = _digest(f"{by.id} {key}".encode())
    if not hold(session, f"idempotency {name}", wait=False):
        raise errors.Conflict("The first request with this key is still under way.", field=FIELD)
    now = clock.now(session)
    _forget(session, now)
    found = session.get(Answer, name)
    if found is None or found.recorded_at <= now - KEPT:
        done = act()
        found = found or Answer(id=name)
        found.request, found.recorded_at = _digest(request), now
        found.status, found.place = done.status, done.place
        session.add(found)
        return done
    if found.request != _digest(request):
        raise errors.Invalid("This key came with another request before.", field=FIELD)
    return Done(found.status, found.place)


def _forget(session: Session, now: datetime) -> None:
    """Clear away some answers past their day; those that another write clears are passed over."""
    old = (
        select(Answer.id)
        .where(Answer.recorded_at <= now - KEPT)
        .limit(_SWEPT)
        .with_for_update(skip_locked=True)
    )
    session.execute(
        delete(Answer).where(Answer.id.in_(old)), execution_options={"synchronize_session": False}
    )


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()

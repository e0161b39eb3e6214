"""Ending sessions, one's own or another's: an ended one never comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock, errors
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.identity.sessions.resuming import living
from govern.identity.sessions.tables import MOST, WebSession

if TYPE_CHECKING:
    from govern.db import Session
    from govern.principal import Principal


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


def make_room(session: Session, subject_id: str, *, by: Principal) -> None:
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

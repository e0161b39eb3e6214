"""Where people are signed in: each sees and ends their own sessions, an admin anyone's.

What is told of a session is when and how it began, when it was last used, and a word for the
device: no address, and nothing by which a browser could be known again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern import clock, permissions
from govern.identity import sessions

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.identity.sessions import WebSession
    from govern.identity.subjects import Subject
    from govern.principal import Principal


def mine(session: OrmSession, *, since: datetime | None = None, by: Principal) -> list[WebSession]:
    """The caller's own sessions, newest first; of those begun at `since` or later."""
    return sessions.living(session, by.id, since=since)


def end_others(session: Session, *, by: Principal) -> int:
    """End every session of the caller but the present one; returns how many."""
    return sessions.end_all(session, by.id, keep=by.session, by=by)


def of(
    session: OrmSession, subject: Subject, *, since: datetime | None = None, by: Principal
) -> list[WebSession]:
    """Someone's sessions, newest first; of those begun at `since` or later."""
    permissions.require(by, "subject:write")
    return sessions.living(session, subject.id, since=since)


def end(session: Session, subject: Subject, session_id: str, *, by: Principal) -> None:
    """End one session of someone; `Unknown` when there is none such, or it ended before."""
    permissions.require(by, "subject:write")
    permissions.require_fresh(by, now=clock.now(session))
    sessions.end_one(session, subject.id, session_id, by=by)


def end_all(session: Session, subject: Subject, *, by: Principal) -> int:
    """End every session of someone; returns how many."""
    permissions.require(by, "subject:write")
    permissions.require_fresh(by, now=clock.now(session))
    return sessions.end_all(session, subject.id, keep=by.session, by=by)

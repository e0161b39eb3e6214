"""Going on in a session: whose token it is, that it is in use, and which of someone's count."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import String, and_, bindparam, case, exists, select, update

from govern import clock
from govern.audit.record import RECORDED
from govern.identity import roles
from govern.identity.sessions.tables import LIMITS, WebSession, hash_of
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal, RoleHeld

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session

_TOUCH = timedelta(seconds=60)


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


def resume(session: OrmSession, token: str) -> Caller | None:
    """Who holds this token now; None when it is unknown, ended, expired or idle for too long."""
    found = live(session, token)
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
        now = clock.instant()
        session.execute(
            update(WebSession)
            .where(WebSession.id == session_id, WebSession.seen_at < clock.before(now, _TOUCH))
            .values(seen_at=now),
            execution_options=RECORDED | {"synchronize_session": False},
        )

    database.note(work)


def living(
    session: OrmSession, subject_id: str, *, since: datetime | None = None
) -> list[WebSession]:
    """Someone's whole sessions that count now, newest first; of those begun at `since` or later.

    The caller's operation has checked the permission.
    """
    held = exists().where(roles.RoleAssignment.subject_id == subject_id, roles.counts())
    now = clock.instant()
    seldom, often = (clock.before(now, LIMITS[each][1]) for each in (False, True))
    query = select(WebSession).where(
        WebSession.subject_id == subject_id,
        WebSession.factor_at.is_not(None),
        WebSession.ended_at.is_(None),
        WebSession.expires_at > now,
        WebSession.seen_at >= case((held, often), else_=seldom),
    )
    if since is not None:
        query = query.where(WebSession.signed_in_at >= since)
    return list(session.execute(query.order_by(WebSession.signed_in_at.desc())).scalars())


def live(
    session: OrmSession, token: str, *, lock: bool = False
) -> tuple[WebSession, Subject, tuple[RoleHeld, ...], datetime] | None:
    """The session of this token, whose it is, their roles and now; None when it counts no more.

    It is `lock`ed where it will be ended: of two acts that would, the second finds none.
    """
    found = session.execute(_live(lock=lock), {"hash": hash_of(token)}).all()
    if not found:
        return None
    row, subject, now, *_ = found[0]
    assigned = (RoleHeld(role, client) for *_, role, client in found if role is not None)
    held = tuple(assigned) if row.factor_at is not None else ()
    _, idle = LIMITS[bool(held)]
    if now >= row.expires_at or now - row.seen_at > idle:
        return None
    return row, subject, held, now


@cache
def _live(*, lock: bool) -> Select[Any]:
    """A row for each role that the person holds, or one; built once, since every page asks it."""
    held = roles.RoleAssignment
    query: Any = (
        select(WebSession, Subject, clock.instant(), held.role, held.client_id)
        .join(Subject, Subject.id == WebSession.subject_id)
        .outerjoin(held, and_(held.subject_id == Subject.id, roles.counts()))
        .where(
            WebSession.token_hash == bindparam("hash", type_=String()),
            WebSession.ended_at.is_(None),
            Subject.ended_at.is_(None),
        )
    )
    found: Select[Any] = query.with_for_update(of=WebSession) if lock else query
    return found

"""Ending a project or a client for good: one act ends all access, and nothing undoes it.

It is no suspension: the window closes with the act's commit, from which every decision denies and
every token is worthless; then each grant that was open is revoked by an entry of its own, in
chunks that hold the log's head for a moment, resumable and exactly once. No import, lift or new
grant brings anything back: who works for the client again starts with a new project.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Index, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.access.clients import Client, Project
from govern.access.grants import Grant
from govern.access.suspensions import chain, digest_of
from govern.audit import EventType
from govern.audit.heads import lock
from govern.audit.log import HOUSE, Entry, positions
from govern.audit.record import RECORDED, Line, append_many, record
from govern.clock import Utc
from govern.db import Base, Id, new_id, references, text_column
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.principal import Principal

CHUNK = 100  # grants: holds a client's head for some 20 ms


class Ending(Base):
    """How far the revocations are written that follow the end of a project, or of a client.

    `as_at` is the act's instant; `cursor` is the last grant revoked, `digest` the chain over all
    of them so far (hex).
    """

    __tablename__ = "ending"
    __table_args__ = (Index("ix_ending_open", "finished_at", "as_at"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    client_id: Mapped[Id] = mapped_column(references("client.id"))
    project_id: Mapped[Id | None] = mapped_column(references("project.id"))
    as_at: Mapped[datetime] = mapped_column(Utc())
    cursor: Mapped[Id] = mapped_column(default="")
    written: Mapped[int] = mapped_column(BigInteger, default=0)
    digest: Mapped[str] = mapped_column(text_column(64), default="")
    finished_at: Mapped[datetime | None] = mapped_column(Utc())


def open_grants(session: OrmSession, place: Client | Project) -> int:
    """How many grants would be revoked with a project or client: all that are not over yet."""
    # By an index alone, which does not tell which were revoked: these are few, and taken off.
    query = select(func.count(Grant.id)).where(
        Grant.project_id.in_(_projects(place)), Grant.ends_at > clock.instant()
    )
    revoked = query.where(Grant.ended_at.is_not(None))
    both = select(query.scalar_subquery() - revoked.scalar_subquery())
    return int(session.execute(both).scalar_one())


def end(
    session: Session, place: Client | Project, *, number: int, reason: str, by: Principal
) -> int:
    """End a project, or a client with all its projects, for good; in force from the commit on.

    `number` is what someone typed: that of the grants that end (`Brake`), which is returned.
    """
    owner = place.id if isinstance(place, Client) else place.client_id
    permissions.require(by, "project:end", client=owner, now=clock.now(session))
    refs: dict[str, str | None] = {"client": owner}
    event, logs = EventType.CLIENT_ENDED, [HOUSE, owner]
    if isinstance(place, Project):
        refs |= {"project": place.id}
        event, logs = EventType.PROJECT_ENDED, [owner]
    seen = positions(session, [owner])

    def counted(session: OrmSession) -> None:
        count = open_grants(session, place)
        if number != count:
            raise errors.Brake(f"Type the number of grants that end: {count}.", field="number")

    def recheck(session: OrmSession) -> None:
        _refuse_ended(session, place)
        if positions(session, [owner]) != seen:  # else nothing was granted or revoked meanwhile
            counted(session)

    _refuse_ended(session, place)
    counted(session)
    task = Ending(
        id=new_id("end"), client_id=owner, project_id=refs.get("project"), cursor="", digest=""
    )
    session.add(task)
    record(
        session,
        event,
        logs=logs,
        by=by,
        refs=refs,
        data={"grants": number},
        private={"reason": reason},
        stamps=[(place, "ended_at"), (task, "as_at")],
        recheck=recheck,
    )
    return number


def _refuse_ended(session: OrmSession, place: Client | Project) -> None:
    """Neither it nor its client has ended; whoever ends either takes the client's head."""
    query = select(Client.ended_at).where(Client.id == place.id)
    if isinstance(place, Project):
        query = (
            select(func.coalesce(Project.ended_at, Client.ended_at))
            .join(Client, Client.id == Project.client_id)
            .where(Project.id == place.id)
        )
    ended = session.execute(query).scalar_one()
    if ended is not None:
        raise errors.AlreadyEnded(f"{place.code} ended on {clock.text(ended)}.")


def _within(place: Client | Project) -> ColumnElement[bool]:
    if isinstance(place, Client):
        return Grant.client_id == place.id
    return Grant.project_id == place.id


def _projects(place: Client | Project) -> Select[str]:
    own = Project.client_id if isinstance(place, Client) else Project.id
    return select(Project.id).where(own == place.id)


def _open(at: ColumnElement[datetime] | datetime) -> tuple[ColumnElement[bool], ...]:
    """What expired before is not revoked, and what was revoked not again."""
    return Grant.ended_at.is_(None), Grant.ends_at > at


# --- the revocations ---------------------------------------------------------------------------


def write(database: Database, *, progress: Callable[[int], None] | None = None) -> int:
    """Revoke what is left of all that ended; returns how many grants.

    May run in several processes at once: each takes a task that no other holds. One that fails
    keeps no other from being written; what stopped it is raised afterwards.
    """
    total, failed = 0, list[Exception]()
    with database.asking() as connection:  # many times a second, and without a transaction
        tasks = connection.execute(_OUTSTANDING).scalars().all()
    for task_id in tasks:
        while True:
            try:
                written = database.transaction(partial(_chunk, task_id=task_id))
            except Exception as error:  # noqa: BLE001 - whatever it is, others are owed too
                failed.append(error)
                break
            if written is None:
                break
            total += written
            if progress is not None:
                progress(written)
    if failed:
        raise failed[0]
    return total


_OUTSTANDING = (
    select(Ending.id).where(Ending.finished_at.is_(None)).order_by(Ending.as_at, Ending.id)
)


def _chunk(session: Session, task_id: str) -> int | None:
    """Write a task's next revocations; None when it is done, or another process is at it."""
    own = select(Ending).where(Ending.id == task_id, Ending.finished_at.is_(None))
    task = session.execute(own.with_for_update(skip_locked=True)).scalar_one_or_none()
    if task is None:
        return None
    lock(session, [task.client_id])  # nobody revokes one of them meanwhile
    wanted = select(Grant).where(
        Grant.client_id == task.client_id,
        Grant.id > task.cursor,
        Grant.recorded_at <= task.as_at,
        *_open(task.as_at),
    )
    if task.project_id is not None:
        wanted = wanted.where(Grant.project_id == task.project_id)
    rows = session.execute(wanted.order_by(Grant.id).limit(CHUNK)).scalars().all()
    ended = EventType.CLIENT_ENDED if task.project_id is None else EventType.PROJECT_ENDED
    first = append_many(session, task.client_id, [_line(row, ended) for row in rows], by=SYSTEM)
    if rows:
        session.execute(
            update(Grant),
            [
                {"id": row.id, "ended_at": first + place * clock.TICK}
                for place, row in enumerate(rows)
            ],
            execution_options=RECORDED,
        )
    for row in rows:
        task.digest = chain(task.digest, row.id)
        task.cursor = row.id
    task.written += len(rows)
    if len(rows) < CHUNK:
        _finish(session, task)
    session.flush()
    return len(rows)


def _line(grant: Grant, ended: EventType) -> Line:
    refs = {
        "grant": grant.id,
        "subject": grant.subject_id,
        "client": grant.client_id,
        "project": grant.project_id,
        "entitlement": grant.entitlement_id,
    } | ({"dataset": grant.dataset_id} if grant.dataset_id else {})
    return Line(type=EventType.GRANT_REVOKED, refs=refs, data={"with": ended})


def _finish(session: Session, task: Ending) -> None:
    opened = session.execute(
        select(func.min(Entry.seq)).where(Entry.log_id == task.client_id, Entry.at == task.as_at)
    ).scalar_one()
    refs = {"client": task.client_id} | ({"project": task.project_id} if task.project_id else {})
    line = Line(
        type=EventType.ENDING_RECORDED,
        refs=refs,
        data={
            "position": opened,
            "count": task.written,
            "digest": digest_of({task.client_id: task.digest}),
        },
    )
    append_many(session, task.client_id, [line], by=SYSTEM)
    task.finished_at = clock.now(session)

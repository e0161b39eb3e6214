"""Acts over a list, done to each row in turn: resumable, and each exactly once.

Whoever ordered it is who did it, in every entry: what they may was asked when they ordered it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from govern import clock, errors
from govern.access import clients, entitlements, grants, offboarding
from govern.access.bulk.table import BulkAct, BulkItem
from govern.access.clients import Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.audit import EventType
from govern.audit.heads import lock
from govern.audit.log import HOUSE
from govern.audit.record import RECORDED, Line, append_many
from govern.identity import sessions
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal, RoleHeld

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from govern.db import Database, Session

REVOKED_AT_ONCE = 100  # grants: holds the clients' heads for some 20 ms
_AT_ONCE = 10  # of what takes several entries each


def write(
    database: Database, *, only: str = "", progress: Callable[[int], None] | None = None
) -> int:
    """Do what is left of all that was ordered, or of one act; returns how many were looked at.

    May run in several processes at once: each takes an act that no other holds.
    """
    total = 0
    with database.asking() as connection:
        acts = connection.execute(_OUTSTANDING).scalars().all()
    for bulk_id in [only] if only else acts:
        while (taken := _next(database, bulk_id)) is not None:
            total += taken
            if progress is not None:
                progress(taken)
    return total


_OUTSTANDING = (
    select(BulkAct.id)
    .where(BulkAct.finished_at.is_(None), BulkAct.recorded_at.is_not(None))
    .order_by(BulkAct.recorded_at)
)


def _next(database: Database, bulk_id: str) -> int | None:
    """The next few rows; one at a time where one among them is refused at the commit."""
    try:
        return database.transaction(partial(_chunk, bulk_id=bulk_id, alone=False))
    except errors.GovernError:
        pass
    try:
        return database.transaction(partial(_chunk, bulk_id=bulk_id, alone=True))
    except errors.GovernError:
        return database.transaction(partial(_chunk, bulk_id=bulk_id, alone=True, passing=True))


def _chunk(session: Session, bulk_id: str, *, alone: bool, passing: bool = False) -> int | None:
    """Do it to the next rows; None when it is done, or another process is at it."""
    own = select(BulkAct).where(BulkAct.id == bulk_id, BulkAct.finished_at.is_(None))
    row = session.execute(own.with_for_update(skip_locked=True)).scalar_one_or_none()
    if row is None:
        return None
    size = 1 if alone else REVOKED_AT_ONCE if row.act == "revoke" else _AT_ONCE
    items = session.execute(
        select(BulkItem.item_id)
        .where(BulkItem.bulk_id == row.id, BulkItem.item_id > row.cursor)
        .order_by(BulkItem.item_id)
        .limit(size)
    ).scalars().all()  # fmt: skip
    by = Principal(
        kind=Kind.SYSTEM, id=row.ordered_by, roles=(RoleHeld("system"),), session=row.session_id
    )
    done = 0 if passing or not items else _ACTS[row.act](session, row, items, by)
    row.done += done
    row.passed += len(items) - done
    if items:
        row.cursor = items[-1]
    if len(items) < size:
        row.finished_at = clock.now(session)
        # Counted in the house's log alone: a client's has an entry for each of its own.
        told = {"act": row.act, "bulk": row.id, "done": row.done, "passed": row.passed}
        session.at_commit(partial(_finished, told=told, by=by))
    return len(items)


def _finished(session: Session, *, told: dict[str, Any], by: Principal) -> None:
    append_many(session, HOUSE, [Line(type=EventType.BULK_RECORDED, refs={}, data=told)], by=by)


# --- what is done ------------------------------------------------------------------------------


def _revoke(session: Session, row: BulkAct, items: Sequence[str], by: Principal) -> int:
    """Revoke many grants, with one head of a log held after the other in the order of their ids."""
    owners = select(Grant.client_id).where(Grant.id.in_(items)).distinct()
    lock(session, session.execute(owners).scalars())  # nobody revokes one of them meanwhile
    now = clock.now(session)
    found = session.execute(
        select(Grant)
        .where(Grant.id.in_(items), Grant.ended_at.is_(None), Grant.ends_at > now)
        .order_by(Grant.client_id, Grant.id)
    ).scalars().all()  # fmt: skip
    by_client: dict[str, list[Grant]] = {}
    for grant in found:
        by_client.setdefault(grant.client_id, []).append(grant)
    for client, some in by_client.items():
        first = append_many(session, client, [_line(row, one) for one in some], by=by)
        session.execute(
            update(Grant),
            [{"id": one.id, "ended_at": first + n * clock.TICK} for n, one in enumerate(some)],
            execution_options=RECORDED,
        )
    return len(found)


def _line(row: BulkAct, grant: Grant) -> Line:
    refs = {name: value for name, value in grants.refs_of(grant).items() if value}
    return Line(
        type=EventType.GRANT_REVOKED, refs=refs, data={"bulk": row.id},
        private={"reason": row.reason}, about=grant.subject_id,
    )  # fmt: skip


def _each(
    do: Callable[[Session, BulkAct, str, Principal], None],
) -> Callable[[Session, BulkAct, Sequence[str], Principal], int]:
    """Do it to one after the other; who is refused is passed over."""

    def some(session: Session, row: BulkAct, items: Sequence[str], by: Principal) -> int:
        done = 0
        for item in items:
            try:
                do(session, row, item, by)
            except errors.GovernError:
                continue
            done += 1
        return done

    return some


def _change_end(session: Session, row: BulkAct, item: str, by: Principal) -> None:
    """Give the same until another instant, and end the old: what was given stays on record."""
    old = session.get_one(Grant, item)
    until, now = _until(row), clock.now(session)
    # One that has run out since it was shown would come back, and its old one could not be ended.
    if old.ended_at is not None or old.ends_at <= now or old.ends_at == until:
        raise errors.AlreadyEnded("It is as it should be, or over.")
    grants.issue(
        session,
        session.get_one(Subject, old.subject_id),
        session.get_one(Project, old.project_id),
        session.get_one(Entitlement, old.entitlement_id),
        dataset=session.get_one(Dataset, old.dataset_id) if old.dataset_id else None,
        starts=max(old.starts_at, now),
        until=until,
        reason=row.reason,
        by=by,
    )
    grants.revoke(session, old, reason=row.reason, by=by)


def _give(session: Session, row: BulkAct, item: str, by: Principal) -> None:
    project = clients.project(session, row.details["project"])
    entitlement = entitlements.named(session, row.details["entitlement"])
    same = select(Grant.id).where(
        Grant.subject_id == item, Grant.project_id == project.id, Grant.dataset_id.is_(None),
        Grant.entitlement_id == entitlement.id, Grant.ended_at.is_(None),
        Grant.ends_at >= _until(row), Grant.starts_at <= clock.instant(),
    )  # fmt: skip
    if session.execute(same).first() is not None:
        raise errors.Conflict("They hold it already.")
    grants.issue(
        session, session.get_one(Subject, item), project, entitlement, until=_until(row),
        reason=row.reason, by=by,
    )  # fmt: skip


def _until(row: BulkAct) -> datetime:
    return clock.parse(row.details["until"], field="until")


def _end_sessions(session: Session, row: BulkAct, item: str, by: Principal) -> None:
    if not sessions.end_all(session, item, keep=row.session_id, by=by):
        raise errors.AlreadyEnded("They are signed in nowhere.")


def _offboard(session: Session, row: BulkAct, item: str, by: Principal) -> None:
    offboarding.offboard(session, session.get_one(Subject, item), reason=row.reason, by=by)


_ACTS: dict[str, Callable[[Session, BulkAct, Sequence[str], Principal], int]] = {
    "revoke": _revoke,
    "change_end": _each(_change_end),
    "grant": _each(_give),
    "end_sessions": _each(_end_sessions),
    "offboard": _each(_offboard),
}

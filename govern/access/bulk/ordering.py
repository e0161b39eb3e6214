"""Acts over a list, from the numbers that it would touch to the order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import and_, delete, distinct, exists, func, or_, select

from govern import clock, errors, permissions
from govern.access import lists, requests, suspensions
from govern.access.bulk.table import ACTS, Act, BulkAct, BulkItem
from govern.access.clients import Client, Project
from govern.access.grants import Grant
from govern.access.lists import LISTS, Asked
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import insert_many, new_id
from govern.identity import typed
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Select, Table
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.principal import Principal

# Rows taken down in one transaction: nobody waits longer for it than for a few entries.
_AT_ONCE = 2000
_UNORDERED_FOR = timedelta(hours=1)
_NOBODY = "There is nobody and nothing to do it to."


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What an act would be done to: `number` rows, told apart by client and project and by kind.

    `people` counts persons; `grants` those of their grants that are not over. `digest` names the
    set: SHA-256 over the ids of its rows, sorted, one a line.
    """

    number: int
    people: int
    grants: int
    digest: str
    places: list[tuple[str, str, int, int]] = field(default_factory=list)
    kinds: list[tuple[str, int]] = field(default_factory=list)


def named(name: str, list_name: str) -> Act:
    """An act by its name; `Invalid` where it is none of the list's."""
    act = ACTS.get(name)
    if act is None or act.list != list_name:
        raise errors.Invalid("Say what is to be done.", field="act")
    return act


def preview(session: OrmSession, act: Act, asked: Asked, *, by: Principal) -> Preview:
    """Count what an act over a list would touch, by the query that it would be done by."""
    _may(act, by=by)
    keys = _keys(act, asked, by=by)
    mark, number = hashlib.sha256(), 0
    for chunk in _chunks(session, keys):
        mark.update("".join(f"{key}\n" for key in chunk).encode())
        number += len(chunk)
    touched = keys.order_by(None).subquery()
    over = Grant.id if act.list == "grants" else Grant.subject_id
    places = session.execute(
        select(Client.code, Project.code, func.count(), func.count(distinct(Grant.subject_id)))
        .select_from(Grant)
        .join(Project, Project.id == Grant.project_id)
        .join(Client, Client.id == Grant.client_id)
        .where(over.in_(select(touched.c.key_)), *_open())
        .group_by(Client.code, Project.code)
        .order_by(Client.code, Project.code)
    ).all()
    who = select(touched.c.key_)
    if act.list == "grants":
        who = select(Grant.subject_id).where(Grant.id.in_(who))
    kinds = session.execute(
        select(Subject.kind, func.count())
        .where(Subject.id.in_(who))
        .group_by(Subject.kind)
        .order_by(Subject.kind)
    ).all()
    return Preview(
        number=number,
        people=sum(count for _, count in kinds),
        grants=sum(row[2] for row in places),
        digest=mark.hexdigest(),
        places=[(row[0], row[1], row[2], row[3]) for row in places],
        kinds=[(kind, count) for kind, count in kinds],
    )


def _open() -> tuple[Any, ...]:
    return Grant.ended_at.is_(None), Grant.ends_at > clock.instant()


def _may(act: Act, *, by: Principal, now: datetime | None = None) -> frozenset[str] | None:
    """The clients over which the caller may do it (None: all); an act on people takes all."""
    clients = permissions.require_some(by, act.permission)
    if clients is not None and act.list == "people":
        raise errors.Forbidden(f"This takes the permission {act.permission} over everything.")
    if now is not None:
        permissions.require_fresh(by, now=now)
    return clients


def _keys(act: Act, asked: Asked, *, by: Principal) -> Select[Any]:
    """The keys of the rows: of grants, those that are not over and that the caller may act on."""
    keys = lists.keys(LISTS[act.list], asked, by=by)
    if act.list == "grants":
        keys = keys.where(*_open())
        clients = permissions.scope(by, act.permission)
        if clients is not None:
            keys = keys.where(Grant.client_id.in_(clients))
        if by.projects is not None:  # some of them, and clients that may be known whole
            known = or_(Grant.project_id.in_(by.projects), Grant.client_id.in_(by.projects))
            keys = keys.where(known)
        return keys
    return keys.where(Subject.ended_at.is_(None), Subject.id != by.id)


def _chunks(session: OrmSession, keys: Select[Any]) -> Iterator[Sequence[str]]:
    found = session.execute(keys.execution_options(yield_per=_AT_ONCE)).scalars()
    return found.partitions(_AT_ONCE)


# --- the order ---------------------------------------------------------------------------------


def suspended_as(session: OrmSession, asked: Asked, *, by: Principal) -> suspensions.people.Found:
    """Whom a list of people holds now, to be suspended as one (`suspensions.people.keep`).

    Who has left is not among them, nor is the caller.
    """
    act = ACTS["suspend"]
    _may(act, by=by)
    wanted = _keys(act, asked, by=by).with_only_columns(Subject.id, Subject.external_id)
    found = session.execute(wanted.limit(suspensions.people.MOST + 1)).all()
    if not found:
        raise errors.Invalid(_NOBODY, field="filters")
    return suspensions.people.Found(people=[(row[0], row[1]) for row in found])


def take_down(database: Database, act: Act, asked: Asked, *, digest: str, by: Principal) -> str:
    """Write down the rows that an act is to be done to; returns the id by which to `order` it.

    From one snapshot, in short transactions. `Conflict` where the set is not the one that was
    shown (`digest`): nothing is kept of it then.
    """
    if not act.ordered:
        raise errors.Invalid("That is no act of its own: suspend the list of them.", field="act")
    with database.reading() as session:
        _may(act, by=by, now=clock.now(session))
        row = BulkAct(
            id=new_id("blk"), act=act.name, details={}, reason="", number=0, digest=digest,
            ordered_by=requests.signature(by), session_id=by.session, made_at=clock.now(session),
        )  # fmt: skip
        bulk_id = row.id
        database.transaction(lambda s: s.add(row))
        mark = hashlib.sha256()
        for chunk in _chunks(session, _keys(act, asked, by=by)):
            mark.update("".join(f"{key}\n" for key in chunk).encode())
            _keep(database, bulk_id, chunk)
    if mark.hexdigest() != digest:
        database.transaction(lambda s: _forget(s, bulk_id))
        raise errors.Conflict(
            "The list has changed since it was shown. Look at the new numbers first."
        )
    return bulk_id


def _keep(database: Database, bulk_id: str, chunk: Sequence[str]) -> None:
    table = cast("Table", BulkItem.__table__)
    database.transaction(lambda s: insert_many(s, table, [(bulk_id, key) for key in chunk]))


def _forget(session: OrmSession, bulk_id: str) -> None:
    session.execute(delete(BulkItem).where(BulkItem.bulk_id == bulk_id))
    session.execute(delete(BulkAct).where(BulkAct.id == bulk_id))


def order(
    session: Session,
    bulk_id: str,
    *,
    number: int,
    details: dict[str, str | None],
    reason: str,
    by: Principal,
) -> BulkAct:
    """Let what was taken down be done; from the commit on it is, whatever becomes of the caller.

    `number` is what someone typed: that of the rows (`Brake`). `details` is what the act takes.
    """
    row = session.get(BulkAct, bulk_id)
    if row is None or row.ordered_by != requests.signature(by) or row.recorded_at is not None:
        raise errors.Conflict("The list has changed since it was shown. Look at it again.")
    act = ACTS[row.act]
    _may(act, by=by, now=clock.now(session))
    count = session.execute(
        select(func.count()).select_from(BulkItem).where(BulkItem.bulk_id == bulk_id)
    ).scalar_one()
    if count == 0:
        raise errors.Invalid(_NOBODY)
    if number != count:
        raise errors.Brake(f"Type how many it is done to: {count}.", field="number")
    row.reason = typed.text(reason, field="reason", length=500)
    row.number, row.details = count, _checked(session, act, details)
    by_client = _by_client(session, row) if act.list == "grants" else {}
    record(
        session,
        EventType.BULK_ORDERED,
        logs=[HOUSE, *sorted(by_client)],
        by=by,
        data={"act": act.name, "bulk": row.id},
        own={HOUSE: {"count": count, "digest": row.digest}}
        | {client: {"count": number} for client, number in by_client.items()},
        private={"reason": row.reason},
        stamps=[(row, "recorded_at")],
    )
    return row


def _checked(
    session: OrmSession, act: Act, details: dict[str, str | None]
) -> dict[str, str | None]:
    """What the act takes, refused now where it could be done to nobody."""
    for name in act.takes:
        if not details.get(name):
            raise errors.Invalid("This is missing.", field=name)
    for name, value in details.items():
        if value and name not in act.takes:
            raise errors.Invalid("This is nothing that the act takes.", field=name)
    until = details.get("until")
    if until and clock.parse(until, field="until") <= clock.now(session):
        raise errors.WindowInvalid("The window has ended already.", field="until")
    return {name: details[name] for name in act.takes}


def _by_client(session: OrmSession, row: BulkAct) -> dict[str, int]:
    """How many of the grants are of each client."""
    found = session.execute(
        select(Grant.client_id, func.count())
        .join(BulkItem, BulkItem.item_id == Grant.id)
        .where(BulkItem.bulk_id == row.id)
        .group_by(Grant.client_id)
    )
    return {client: count for client, count in found}  # noqa: C416 - rows are no pairs to mypy


def find(session: OrmSession, bulk_id: str, *, by: Principal) -> BulkAct:
    """An act that was ordered, as whoever may do its like sees it; else `Unknown`."""
    row = session.get(BulkAct, bulk_id)
    if row is not None and row.recorded_at is not None:
        clients = permissions.scope(by, ACTS[row.act].permission)
        if clients is None or row.ordered_by == requests.signature(by):
            return row
    raise errors.Unknown("There is no such act.")


def recent(session: OrmSession, *, by: Principal, limit: int = 20) -> list[BulkAct]:
    """The caller's own acts that are not done yet, oldest first."""
    query = (
        select(BulkAct)
        .where(
            BulkAct.finished_at.is_(None), BulkAct.recorded_at.is_not(None),
            BulkAct.ordered_by == requests.signature(by),
        )
        .order_by(BulkAct.recorded_at)
        .limit(limit)
    )  # fmt: skip
    return list(session.execute(query).scalars())


def forget(session: Session) -> None:
    """Drop some rows that were taken down for what is done, or was never ordered."""
    old = BulkAct.made_at < clock.now(session) - _UNORDERED_FOR
    over = or_(BulkAct.finished_at.is_not(None), and_(BulkAct.recorded_at.is_(None), old))
    kept = exists().where(BulkItem.bulk_id == BulkAct.id)
    bulk_id = session.execute(select(BulkAct.id).where(over, kept).limit(1)).scalar()
    if bulk_id is None:
        return
    some = select(BulkItem.item_id).where(BulkItem.bulk_id == bulk_id).limit(_AT_ONCE)
    session.execute(delete(BulkItem).where(BulkItem.bulk_id == bulk_id, BulkItem.item_id.in_(some)))

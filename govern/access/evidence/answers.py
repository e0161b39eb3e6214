"""The questions that a pack answers, each streamed as rows; the caller asks as one client's."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, func, select

from govern import clock
from govern.access import entitlements, evaluation, exposure, names, suspensions
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.access.suspensions import drilling
from govern.audit import EventType, decisions, leaf
from govern.audit.decisions import Access, AccessKind
from govern.audit.log import Checkpoint, Entry
from govern.audit.witnessing import Cosignature, LogWitness

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from govern.access.clients import Client
    from govern.db import Database, Session
    from govern.principal import Principal

_PAGE = 1000
POINTS = 60


def heads(session: Session, log_id: str, begin: datetime, end: datetime) -> Iterator[Any]:
    """Every head that was signed in the period, and the newest."""
    newest = select(func.max(Checkpoint.size)).where(Checkpoint.log_id == log_id).scalar_subquery()
    rows = session.execute(
        select(Checkpoint.size, Checkpoint.signed_at, Checkpoint.note)
        .where(
            Checkpoint.log_id == log_id,
            ((Checkpoint.signed_at >= begin) & (Checkpoint.signed_at < end))
            | (Checkpoint.size == newest),
        )
        .order_by(Checkpoint.size)
        .execution_options(yield_per=_PAGE)
    )
    for size, at, note in rows:
        yield {"size": size, "signed_at": clock.text(at), "note": note}


def cosignatures(session: Session, log_id: str, begin: datetime, end: datetime) -> Iterator[Any]:
    """What witnesses wrote under these heads."""
    rows = session.execute(
        select(Cosignature.size, LogWitness.name, Cosignature.line, Cosignature.seen_at)
        .join(LogWitness, LogWitness.id == Cosignature.witness_id)
        .where(
            Cosignature.log_id == log_id, Cosignature.seen_at >= begin, Cosignature.seen_at < end
        )
        .order_by(Cosignature.size)
        .execution_options(yield_per=_PAGE)
    )
    for size, name, line, at in rows:
        yield {"size": size, "witness": name, "seen_at": clock.text(at), "line": line}


def who(session: Session, client: Client, at: datetime, *, by: Principal) -> Iterator[Any]:
    """Who could read something of the client at an instant, and by which grant."""
    meant = entitlements.meanings(session, at)
    after: str | None = ""
    while after is not None:
        found = evaluation.search(
            session, action="read", kind="client", code=client.code, at=at, after=after,
            limit=_PAGE, by=by,
        )  # fmt: skip
        for row in found.rows:
            yield {
                "grant": row.grant_id, "subject": row.subject_id, "external_id": row.external_id,
                "full_name": row.full_name, "project": row.project,
                "entitlement": meant[row.entitlement_id][0],
                "starts_at": clock.text(row.starts_at), "ends_at": clock.text(row.ends_at),
            }  # fmt: skip
        after = found.after


def reached(
    session: Session, client: Client, begin: datetime, end: datetime, *, by: Principal
) -> Iterator[Any]:
    """Who could read something of the client at any moment of the period, and when."""
    for rows in exposure.every(session, "client", client.code, begin=begin, end=end, by=by):
        for row in rows:
            yield {
                "grant": row.grant_id, "subject": row.subject_id, "external_id": row.external_id,
                "full_name": row.full_name, "project": row.project, "dataset": row.dataset,
                "intervals": [[clock.text(one), clock.text(other)] for one, other in row.intervals],
            }  # fmt: skip


def stops(
    session: Session, client: Client, begin: datetime, end: datetime, *, by: Principal
) -> Iterator[Any]:
    """Each suspension that stood in the period: what it covered, its effect, its reviews."""
    after: str | None = ""
    while after is not None:
        rows, after = suspensions.reading.page(session, after=after, limit=100, by=by)
        for standing in rows:
            row = standing.suspension
            if row.recorded_at >= end or (row.ended_at is not None and row.ended_at <= begin):
                continue
            yield suspensions.time_to_effect(session, row.id, by=by).told() | {
                "covers": [part.name for part in standing.parts],
                "scopes": [f"{part.kind}:{part.code}" for part in standing.parts],
                "reason": row.reason,
                "lifted_at": clock.text(row.ended_at) if row.ended_at else None,
                "review_by": clock.text(row.review_by),
                "reviews": _reviews(session, client.id, row.id),
            }


def _reviews(session: Session, log_id: str, suspension: str) -> list[dict[str, Any]]:
    rows = session.execute(
        select(Entry.seq, Entry.at, Entry.leaf)
        .where(
            Entry.log_id == log_id,
            Entry.suspension_id == suspension,
            Entry.type == EventType.SUSPENSION_AMENDED,
        )
        .order_by(Entry.seq)
    )
    return [
        {"entry": seq, "at": clock.text(at), "said": (leaf.parse(body) or {}).get("data", {})}
        for seq, at, body in rows
    ]


def drills(session: Session, begin: datetime, end: datetime, *, by: Principal) -> Iterator[Any]:
    """Each pause that was rehearsed in the period."""
    after: str | None = ""
    while after is not None:
        rows, after = drilling.page(session, after=after, limit=100, by=by)
        for row in rows:
            if begin <= row.at < end:
                yield asdict(row) | {"at": clock.text(row.at)}


def meant(session: Session, client: Client, rows: Iterable[dict[str, Any]]) -> Iterator[Any]:
    """What each entitlement that the client's grants name permitted, and when; with its name."""
    given = exists().where(Grant.client_id == client.id, Grant.entitlement_id == Entitlement.id)
    named = {
        row.id: row.name
        for row in session.execute(select(Entitlement.id, Entitlement.name).where(given))
    }
    for row in rows:
        if row["id"] in named:
            yield {"entitlement": named[row["id"]], **row}


def called(session: Session, rows: Sequence[dict[str, Any]]) -> Iterator[Any]:
    """Roles, each with the name of who held it."""
    people = names.of(session, {row["subject"] for row in rows})
    for row in rows:
        yield {"full_name": people.get(row["subject"], ""), **row}


def reads(database: Database, client: Client, begin: datetime, end: datetime) -> Iterator[Any]:
    """Who read the client's records, took them away or was refused: rows of the access log."""
    kinds = (AccessKind.READ, AccessKind.EXPORT, AccessKind.SEARCH, AccessKind.REFUSAL)
    with database.access_reading() as access:
        rows = access.execute(
            select(Access)
            .where(
                Access.client_id == client.id, Access.at >= begin, Access.at < end,
                Access.kind.in_(kinds),
            )
            .order_by(Access.at, Access.writer, Access.number)
            .execution_options(yield_per=_PAGE)
        ).scalars()  # fmt: skip
        for row in rows:
            yield {
                # Writer and number would tell how much was asked of other clients in between.
                "id": decisions.row_id(database.settings, row.writer, row.number),
                "at": clock.text(row.at), "kind": row.kind, "principal": row.principal,
                "session": row.session_id, "what": row.action, "subject": row.subject_id,
                "reason": row.reason, "detail": json.loads(row.detail) if row.detail else {},
            }  # fmt: skip


def decided(database: Database, client: Client, begin: datetime, end: datetime) -> Iterator[Any]:
    """How many decisions there were, by outcome and reason."""
    with database.access_reading() as access:
        rows = access.execute(
            select(Access.permit, Access.reason, func.count())
            .where(
                Access.client_id == client.id, Access.at >= begin, Access.at < end,
                Access.kind == AccessKind.DECISION,
            )
            .group_by(Access.permit, Access.reason)
            .order_by(Access.permit, Access.reason)
        )  # fmt: skip
        for permit, reason, count in rows:
            yield {"permit": permit, "reason": reason, "count": count}


def decided_by_day(
    database: Database, client: Client, begin: datetime, end: datetime
) -> list[dict[str, Any]]:
    """How many decisions allowed and denied on each day in UTC that had any."""
    found = []
    day = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    with database.access_reading() as access:
        while day < end:
            after = day + timedelta(days=1)
            counts = dict.fromkeys((True, False), 0)
            for permit, count in access.execute(
                select(Access.permit, func.count())
                .where(
                    Access.client_id == client.id, Access.at >= max(day, begin),
                    Access.at < min(after, end), Access.kind == AccessKind.DECISION,
                )
                .group_by(Access.permit)
            ):  # fmt: skip
                counts[bool(permit)] += count
            if any(counts.values()):
                found.append(
                    {"day": f"{day:%Y-%m-%d}", "allowed": counts[True], "denied": counts[False]}
                )
            day = after
    return found


def curve(session: Session, client: Client, begin: datetime, end: datetime) -> list[Any]:
    """Grants within their window at each of some instants; pauses are not taken off."""
    step = (end - begin) / POINTS
    steps = [0] * (POINTS + 2)
    rows = session.execute(
        select(Grant.starts_at, Grant.recorded_at, Grant.ends_at, Grant.ended_at)
        .where(Grant.client_id == client.id, Grant.starts_at < end, Grant.ends_at > begin)
        .execution_options(yield_per=_PAGE)
    )
    for starts, recorded, ends, ended in rows:
        first = max(starts, recorded) - begin
        last = (min(ends, ended) if ended else ends) - begin
        low, high = max(-(-first // step), 0), min(-(-last // step), POINTS + 1)
        if low < high:
            steps[low] += 1
            steps[high] -= 1
    points, held = [], 0
    for number in range(POINTS + 1):
        held += steps[number]
        points.append({"at": clock.text(begin + number * step), "grants": held})
    return points


def named(session: Session, ids: set[str]) -> dict[str, str]:
    """The names of people that the report shows."""
    return names.of(session, ids)

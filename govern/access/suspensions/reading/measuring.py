"""How far the record of suspensions is, and how many people each holds now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, literal, null, select, union_all

from govern import clock
from govern.access import grants
from govern.access.grants import Grant
from govern.access.suspension_tables import Particulars
from govern.access.suspensions import particulars
from govern.access.suspensions.previewing import digest_of
from govern.access.suspensions.reading.standings import Progress, Standing, may_see
from govern.access.suspensions.targets import covered
from govern.db import listed

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

TASKS_COUNTED = 100  # unfinished particulars whose remainder one page counts


def measure(
    session: OrmSession,
    standings: list[Standing],
    *,
    most: int | None = None,
    people: bool = True,
    by: Principal,
) -> None:
    """Fill in how many people each suspension holds now, and how far its latest act is recorded.

    With `most`, people are counted over so many grants of each, and `at_least` is set where a
    suspension holds more; none are counted unless `people`. Two statements for all. What is left
    of an unfinished record is counted, not guessed; where it is long, by who writes it.
    """
    if not standings:
        return
    clients = may_see(by)
    tasks = _tasks(session, standings, clients)
    latest = {
        suspension: [task for task in group if task.as_at == group[0].as_at]
        for suspension, group in tasks.items()
    }
    unfinished = [
        task for group in latest.values() for task in group if task.finished_at is None
    ][:TASKS_COUNTED]  # fmt: skip
    questions = [
        _held_people(standing, clients, most)
        for standing in standings
        if people and standing.is_open
    ]
    questions += [
        particulars.remaining(task).add_columns(null()) for task in unfinished if task.total is None
    ]
    rows = session.execute(union_all(*questions)).all() if questions else []
    counted = {row[0]: row[1] for row in rows}
    looked_at = {row[0]: row[2] or 0 for row in rows}
    for standing in standings:
        own = latest.get(standing.suspension.id, [])
        standing.digest = _digest(standing, tasks.get(standing.suspension.id, []))
        written = sum(task.written for task in own)
        done = all(task.finished_at is not None for task in own)
        ends = [task.finished_at for task in own if task.finished_at is not None]
        standing.people = counted.get(standing.suspension.id, 0)
        standing.at_least = most is not None and looked_at.get(standing.suspension.id, 0) > most
        standing.progress = Progress(
            recorded=written,
            total=sum(_size(task, counted) for task in own),
            done=done,
            finished_at=max(ends) if done and ends else None,
            rate=_rate(own, written, max(ends) if done and ends else clock.utcnow()),
        )


def _size(task: Particulars, left: dict[str, int]) -> int:
    if task.finished_at is None and task.total is not None:
        return task.total
    return task.written + left.get(task.id, 0)


def _rate(own: list[Particulars], written: int, until: datetime) -> float | None:
    took = (until - own[0].as_at).total_seconds() if own else 0
    return written / took if written and took > 0 else None


def _tasks(
    session: OrmSession, standings: list[Standing], clients: frozenset[str] | None
) -> dict[str, list[Particulars]]:
    among = listed(session, [standing.suspension.id for standing in standings])
    query = select(Particulars).join(among, among.c.value == Particulars.suspension_id)
    if clients is not None:
        query = query.where(Particulars.log_id.in_(clients))
    found: dict[str, list[Particulars]] = {}
    for task in session.execute(query.order_by(Particulars.as_at.desc())).scalars():
        found.setdefault(task.suspension_id, []).append(task)
    return found


def _digest(standing: Standing, tasks: list[Particulars]) -> str | None:
    opening = [task for task in tasks if task.as_at == standing.suspension.recorded_at]
    if any(task.finished_at is None for task in opening):
        return None
    return digest_of({task.log_id: task.digest for task in opening if task.written})


def _held_people(standing: Standing, clients: frozenset[str] | None, most: int | None) -> Any:
    """How many people a suspension holds, and over how many grants they were counted."""
    parts = [part.target for part in standing.parts if part.ended_at is None]
    held = grants.facts(Grant.subject_id.label("subject_id")).where(
        covered(parts),
        grants.all_of(grants.standing()),
        grants.unreleased(standing.suspension.id, grants.NOW),
    )
    if clients is not None:
        held = held.where(Grant.client_id.in_(clients))
    if most is not None:
        held = held.limit(most + 1)
    each = held.subquery()
    return select(
        literal(standing.suspension.id), func.count(each.c.subject_id.distinct()), func.count()
    ).select_from(each)

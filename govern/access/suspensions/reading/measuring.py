"""How far the record of suspensions is, and how many people each holds now."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import String, and_, bindparam, cast, func, literal, select, union_all
from sqlalchemy.orm import aliased

from govern import clock
from govern.access import grants
from govern.access.grants import Grant
from govern.access.suspension_tables import (
    Particulars,
    PeopleListItem,
    Scope,
    SuspensionNotice,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.access.suspensions import meanwhile, touching
from govern.access.suspensions.keeping import kept
from govern.access.suspensions.notices import version
from govern.access.suspensions.previewing import digest_of
from govern.access.suspensions.reading.standings import Progress, Standing, may_see
from govern.access.suspensions.targets import covered, under
from govern.db import among_few, listed, listing
from govern.identity.subjects import Membership

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.suspensions.notices import Version
    from govern.principal import Principal

_IDS = bindparam("suspensions", type_=String())  # a JSON list
TASKS_COUNTED = 8  # unfinished particulars whose remainder one page counts: each takes 40 KB of SQL


def measure(
    session: OrmSession, standings: list[Standing], *, people: bool = True, by: Principal
) -> None:
    """Fill in how many people each suspension holds now, and how far its latest act is recorded.

    None are counted unless `people`. What is left of an unfinished record is counted, not guessed;
    where it is long, by who writes it.
    """
    if not standings:
        return
    clients = may_see(by)
    tasks = _tasks(session, standings, clients)
    counted = _counted(session, _remaining(tasks))
    for standing in standings:
        if people and standing.is_open:
            standing.people = _held_people(session, standing, clients)
        _fill(standing, tasks.get(standing.suspension.id, []), counted)


def glance(
    session: OrmSession, standings: list[Standing], *, most: int, by: Principal
) -> dict[str, list[Version]]:
    """The same of many open ones, with all parts; and what was said of each, the newest first.

    People are counted over so many grants of each, and `at_least` is set where a suspension holds
    more. One statement for all, and one for what is left of unfinished records: so many at most.
    """
    told: dict[str, list[Version]] = {standing.suspension.id: [] for standing in standings}
    if not standings:
        return told
    postgresql = session.get_bind().dialect.name == "postgresql"
    tasks: dict[str, list[Particulars]] = {}
    numbers: dict[str, tuple[int, int]] = {}
    clients = may_see(by)
    parts = [part for standing in standings for part in standing.parts]
    # Whoever is admitted to some clients does not see all parts.
    kinds = {Scope(part.target.kind) for part in parts} if clients is None else set(Scope)
    out = select(SuspensionRelease.kind).where(
        SuspensionRelease.suspension_id.in_(sorted(told)), SuspensionRelease.ended_at.is_(None)
    )
    released = tuple(sorted(map(Scope, session.scalars(out.distinct()))))
    wanted = _glanced(clients, tuple(sorted(kinds)), released, most, postgresql=postgresql)
    for row in session.execute(wanted, {_IDS.key: json.dumps(sorted(told))}):
        if row.what == "held":
            looked_at, people = row.said.split()
            numbers[row.own] = int(looked_at), int(people)
        elif row.what == "task":
            tasks.setdefault(row.Particulars.suspension_id, []).append(row.Particulars)
        else:
            told[row.SuspensionNotice.suspension_id].append(version(row.SuspensionNotice))
    for own_tasks in tasks.values():
        own_tasks.sort(key=lambda task: task.as_at, reverse=True)
    questions = _remaining(tasks, most=most)
    counted = _counted(session, questions)
    for standing in standings:
        id_ = standing.suspension.id
        looked_at, standing.people = numbers[id_]
        standing.at_least = looked_at > most
        _fill(standing, tasks.get(id_, []), counted)
        told[id_].sort(key=lambda each: -each.number)
    return told


@lru_cache(maxsize=64)
def _glanced(
    clients: frozenset[str] | None,
    kinds: tuple[Scope, ...],
    released: tuple[Scope, ...],
    most: int,
    *,
    postgresql: bool,
) -> Select[Any]:
    """The parts of a glance at some suspensions: made once, for that takes longer than to ask.

    Of no more kinds of parts, and of what was let out, than there are: to plan it takes PostgreSQL
    longer as well.
    """
    ids = listing(_IDS, postgresql=postgresql)
    among = select(ids.c.value)
    recorded = select(literal("task"), Particulars.id, literal(None, String())).where(
        Particulars.suspension_id.in_(among)
    )
    if clients is not None:
        recorded = recorded.where(Particulars.log_id.in_(clients))
    own = union_all(
        select(
            literal("held").label("what"), ids.c.value.label("own"),
            _first_held(ids.c.value, clients, kinds, released, most).label("said"),
        ),
        recorded,
        select(literal("notice"), SuspensionNotice.id, literal(None, String())).where(
            SuspensionNotice.suspension_id.in_(among)
        ),
    ).subquery()  # fmt: skip
    return (
        select(own, Particulars, SuspensionNotice)
        .outerjoin(Particulars, Particulars.id == own.c.own)
        .outerjoin(SuspensionNotice, SuspensionNotice.id == own.c.own)
    )


def _counted(session: OrmSession, questions: list[Any]) -> dict[str, int]:
    """The numbers that some questions are answered with, by the id that each begins with."""
    if not questions:
        return {}
    return {row[0]: row[1] for row in session.execute(union_all(*questions))}


def _remaining(tasks: dict[str, list[Particulars]], *, most: int | None = None) -> list[Any]:
    """Questions for what is left of the latest act of each, where nobody wrote that down."""
    unfinished = [
        task
        for group in tasks.values()
        for task in group
        if task.as_at == group[0].as_at and task.finished_at is None
    ][:TASKS_COUNTED]
    return [touching.remaining(task, most=most) for task in unfinished if task.total is None]


def _fill(standing: Standing, tasks: list[Particulars], counted: dict[str, int]) -> None:
    """How far the latest act is recorded; `tasks` are those of all acts, the latest first."""
    own = [task for task in tasks if task.as_at == tasks[0].as_at]
    standing.digest = _digest(standing, tasks)
    written = sum(task.written for task in own)
    done = all(task.finished_at is not None for task in own)
    ends = [task.finished_at for task in own if task.finished_at is not None]
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


def _held_people(session: OrmSession, standing: Standing, clients: frozenset[str] | None) -> int:
    """How many people a suspension holds."""
    known = meanwhile.since(session, standing.suspension, [part.target for part in standing.parts])
    if known is not None:
        if not known.changed:
            return known.people
        return known.people + _more_people(session, standing, known.changed)
    parts = [part.target for part in standing.parts if part.ended_at is None]
    held = grants.facts(func.count(Grant.subject_id.distinct())).where(
        covered(parts),
        grants.all_of(grants.standing()),
        grants.unreleased(standing.suspension.id, grants.NOW),
    )
    if clients is not None:
        held = held.where(Grant.client_id.in_(clients))
    return kept(
        session, standing, ("people", clients), lambda: int(session.execute(held).scalar_one())
    )


def _more_people(session: OrmSession, standing: Standing, changed: Sequence[str]) -> int:
    """How many more of some people a suspension holds than its opening touched; or fewer."""
    among = among_few(session, Grant.subject_id, select(listed(session, changed).c.value))
    people = func.count(Grant.subject_id.distinct())
    over = covered(part.target for part in standing.parts)
    now = grants.facts(people).where(
        among,
        over,
        grants.all_of(grants.standing()),
        grants.unreleased(standing.suspension.id, grants.NOW),
    )
    then = grants.facts(people, moment=meanwhile.OPENING).where(among, over, meanwhile.stood())
    both = select(now.scalar_subquery() - then.scalar_subquery())
    return int(session.execute(both, meanwhile.bound(standing.suspension)).scalar_one())


def _first_held(
    suspension_id: Any,
    clients: frozenset[str] | None,
    kinds: tuple[Scope, ...],
    released: tuple[Scope, ...],
    most: int,
) -> Any:
    """How many of the first grants that a suspension holds there are, and of how many people.

    A text of both. Each kind of its targets is looked up along an index of its own, so that no more
    grants are looked at than are counted.
    """
    looks = []
    for kind in kinds:
        target = aliased(SuspensionTarget)
        held = grants.facts(Grant.subject_id.label("subject_id"))
        if kind is Scope.ORGANISATION:
            member = aliased(Membership)
            held = held.join(
                member, and_(member.subject_id == Grant.subject_id, member.ended_at.is_(None))
            ).join(target, target.target_id == member.organisation_id)
        elif kind is Scope.PEOPLE:
            item = aliased(PeopleListItem)
            held = held.join(item, item.subject_id == Grant.subject_id).join(
                target, target.target_id == item.list_id
            )
        else:
            held = held.join(target, target.target_id == under(kind))
        held = held.where(
            target.suspension_id == suspension_id,
            target.kind == kind,
            target.ended_at.is_(None),
            grants.all_of(grants.standing()),
            grants.unreleased(suspension_id, grants.NOW, kinds=released),
        )
        if clients is not None:
            held = held.where(Grant.client_id.in_(clients))
        looks.append(held.correlate(suspension_id.table))
    first = select(union_all(*looks).subquery().c.subject_id).limit(most + 1)
    each = first.correlate(suspension_id.table).subquery()
    return (
        select(
            cast(func.count(), String)
            + " "
            + cast(func.count(each.c.subject_id.distinct()), String)
        )
        .select_from(each)
        .correlate(suspension_id.table)
        .scalar_subquery()
    )

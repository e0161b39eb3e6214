"""Whom an act on a suspension concerns: who is told of it, and who may read what is said.

It is a reading of the one rule at the act's own instant, so the answer is the same whenever it is
asked. A project's people are concerned by a suspension of one of its datasets too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    String,
    and_,
    cast,
    exists,
    not_,
    null,
    or_,
    select,
    true,
    type_coerce,
    union,
    union_all,
)
from sqlalchemy.orm import aliased

from govern import clock
from govern.access import grants
from govern.access.clients import Dataset, Project
from govern.access.grants import Grant, Moment, SomeId
from govern.access.modes import Effect
from govern.access.suspension_tables import (
    PeopleListItem,
    Scope,
    Suspension,
    SuspensionRelease,
    SuspensionTarget,
    naming,
)
from govern.access.suspensions.targets import Target, affected, covered
from govern.audit import EventType
from govern.clock import Utc
from govern.db import listed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

# Acts that let people in; of all others it is told to everyone whom the suspension holds.
ADMITTING = frozenset({
    EventType.SUSPENSION_LIFTED, EventType.SUSPENSION_RELEASED, EventType.SUSPENSION_NARROWED,
})  # fmt: skip


def concerned(suspension_id: SomeId, moment: Moment) -> ColumnElement[bool]:
    """The grants that a suspension covers at a moment, or covers a dataset of."""
    return or_(affected(suspension_id, moment), _in_part(suspension_id, moment))


def _in_part(suspension_id: SomeId, moment: Moment) -> ColumnElement[bool]:
    target, dataset = aliased(SuspensionTarget), aliased(Dataset)
    return (
        exists()
        .where(
            target.suspension_id == suspension_id,
            target.kind == Scope.DATASET,
            moment.stands(target),
            grants.unreleased(target.suspension_id, moment, dataset=dataset.id),
            dataset.id == target.target_id,
            dataset.project_id == Grant.project_id,
            Grant.dataset_id.is_(None),
        )
        .correlate_except(target, dataset)
    )


def audience(
    session: OrmSession, suspension_id: str, event: EventType, at: datetime, *, after: str = ""
) -> Select[str]:
    """The ids of all whom an act concerns, in order, those behind `after`."""
    told = grants.facts(Grant.subject_id.label("id"), moment=Moment.past(at)).where(
        _told(session, suspension_id, event, at), Grant.subject_id > after
    )
    # Who is named is told, whether or not they hold anything.
    people = union(told, *_named(suspension_id, event, at)).subquery()
    found: Any = select(people.c.id).where(people.c.id > after).order_by(people.c.id)
    return found  # type: ignore[no-any-return]  # a union's columns have no type


def named(
    session: OrmSession,
    suspension_id: str,
    event: EventType,
    at: datetime,
    *,
    people: Iterable[str],
) -> set[str]:
    """Those of some people who are named by what an act is about, alone or in a list."""
    among = listed(session, sorted(set(people)))
    everyone = union(*_named(suspension_id, event, at)).subquery()
    query = select(everyone.c.id).join(among, among.c.value == everyone.c.id)
    return set(session.execute(query).scalars())


def _named(suspension_id: str, event: EventType, at: datetime) -> list[Select[str]]:
    target = aliased(SuspensionTarget)
    ended = target.ended_at == at
    if event is not EventType.SUSPENSION_NARROWED:
        ended = or_(target.ended_at.is_(None), target.ended_at > at)
    stood = [target.suspension_id == suspension_id, target.recorded_at <= at, ended]

    def held(person: Any) -> ColumnElement[bool]:
        let_out = select(SuspensionRelease.id).where(
            SuspensionRelease.suspension_id == suspension_id,
            SuspensionRelease.target_id == person,
        )
        if event is EventType.SUSPENSION_RELEASED:
            return let_out.where(SuspensionRelease.recorded_at == at).exists()
        return not_(let_out.where(Moment.past(at).stands(SuspensionRelease)).exists())

    return [
        select(target.target_id.label("id")).where(
            target.kind == Scope.SUBJECT, *stood, held(target.target_id)
        ),
        select(PeopleListItem.subject_id.label("id"))
        .join(target, target.target_id == PeopleListItem.list_id)
        .where(target.kind == Scope.PEOPLE, *stood, held(PeopleListItem.subject_id)),
    ]


def places(
    session: OrmSession,
    suspension_id: str,
    event: EventType,
    at: datetime,
    *,
    people: Iterable[str],
) -> dict[str, list[str]]:
    """The projects, by code, in which an act concerns each of some people.

    Only what a person holds themselves: no one learns a code from it that they did not know.
    """
    among = listed(session, sorted(set(people)))
    rows = session.execute(
        grants.facts(Grant.subject_id, Project.code, Dataset.code, moment=Moment.past(at))
        .join(among, among.c.value == Grant.subject_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .where(_told(session, suspension_id, event, at))
        .distinct()
        .order_by(Grant.subject_id, Project.code, Dataset.code)
    )
    found: dict[str, list[str]] = {}
    for subject_id, project, dataset in rows:
        found.setdefault(subject_id, []).append(f"{project} / {dataset}" if dataset else project)
    return found


def opened(
    session: OrmSession, suspension_ids: Iterable[str], *, person: str
) -> dict[str, list[str]]:
    """Where the opening of each of some suspensions concerned a person: projects, as in `places`.

    None of those that did not; an empty list where it was the person who was named.
    """
    among = listed(session, sorted(set(suspension_ids)))
    then = Moment(at=type_coerce(Suspension.recorded_at, Utc()))
    target = aliased(SuspensionTarget)
    held = (
        grants.facts(Suspension.id, Project.code, Dataset.code, moment=then)
        .join(Suspension, true())
        .join(among, among.c.value == Suspension.id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .where(
            Grant.subject_id == person,
            grants.all_of(grants.standing(then)),
            concerned(Suspension.id, then),
        )
    )
    # Nobody is let out before it is opened.
    themselves = (
        select(target.suspension_id, cast(null(), String()), cast(null(), String()))
        .join(Suspension, Suspension.id == target.suspension_id)
        .join(among, among.c.value == Suspension.id)
        .where(naming(target, person), then.stands(target))
    )
    found: dict[str, list[str]] = {}
    rows: set[Any] = set(session.execute(union_all(held, themselves)))
    for suspension_id, project, dataset in sorted(
        rows, key=lambda row: [part or "" for part in row]
    ):
        places = found.setdefault(suspension_id, [])
        if project is not None:
            places.append(f"{project} / {dataset}" if dataset else project)
    return found


def _told(
    session: OrmSession, suspension_id: str, event: EventType, at: datetime
) -> ColumnElement[bool]:
    """The grants for which an act makes a difference."""
    moment, before = Moment.past(at), Moment.past(at - clock.TICK)
    targets = _targets(session, suspension_id, at)
    # First by the keys that an index finds, then exactly.
    projects = select(Dataset.project_id).where(
        Dataset.id.in_([item.id for item in targets if item.kind is Scope.DATASET])
    )
    among = or_(covered(targets, before), covered(targets, moment), Grant.project_id.in_(projects))
    stood = grants.all_of(grants.standing(moment))
    if event not in ADMITTING:
        return and_(among, stood, concerned(suspension_id, moment))
    out = not_(concerned(suspension_id, moment))
    return and_(
        among,
        stood,
        concerned(suspension_id, before),
        true() if event is EventType.SUSPENSION_LIFTED else out,
        # Whom another suspension still shuts out has nothing to come back to yet.
        not_(grants.held(Effect.OBSERVE, moment)),
    )


def _targets(session: OrmSession, suspension_id: str, at: datetime) -> list[Target]:
    """What a suspension covered just before an act or just after it."""
    rows = session.execute(
        select(SuspensionTarget.kind, SuspensionTarget.target_id)
        .where(
            SuspensionTarget.suspension_id == suspension_id,
            SuspensionTarget.recorded_at <= at,
            or_(SuspensionTarget.ended_at.is_(None), SuspensionTarget.ended_at >= at),
        )
        .order_by(SuspensionTarget.id)
    )
    return [Target(Scope(kind), target_id, "", None) for kind, target_id in rows]

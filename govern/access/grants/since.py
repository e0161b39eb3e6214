"""What was taken from a grant since a position of the log, even if it was given back since.

Whatever holds a grant began to at some instant: where its target, its mode and the person's
membership had all been recorded. The rule is asked at that instant, of the suspension alone; so
one that began since the position, and then ended, narrowed or let the person go, still shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, exists, func, not_, or_, select
from sqlalchemy.orm import aliased

from govern import clock
from govern.access import modes
from govern.access.clients import Dataset
from govern.access.entitlements import EntitlementAction
from govern.access.grants.clauses import laid, reviewed, unheld, unreleased
from govern.access.grants.demanded import unmet_since
from govern.access.grants.moment import NOW, Clause, Moment
from govern.access.grants.table import Grant
from govern.access.modes import Effect
from govern.access.suspension_tables import (
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.identity.subjects import Membership

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select, SQLColumnExpression


def unsuspended(effect: Effect, *, dataset: SQLColumnExpression[str]) -> list[Clause]:
    """That no suspension stops the effect now, nor asks for a factor that was not shown.

    `dataset` is null for what is about the whole project: then its datasets belong to it, and a
    suspension over any of them takes a part away.
    """
    clauses = unheld(effect, dataset=dataset)
    if effect is Effect.HOURS:
        return clauses
    part = aliased(Dataset)
    own = {clause.reason: clause.test for clause in unheld(effect, dataset=part.id)}
    held = exists().where(
        dataset.is_(None),
        part.project_id == Grant.project_id,
        not_(and_(own[Scope.DATASET], reviewed(dataset=part.id).test)),
    )
    whole = Clause("part_held", not_(held.correlate_except(part)))
    return [*clauses, reviewed(NOW, dataset=dataset), whole]


def taken(
    action: SQLColumnExpression[str],
    effect: SQLColumnExpression[str],
    *,
    hours: bool,
    since: SQLColumnExpression[datetime],
    house_since: SQLColumnExpression[datetime],
    dataset: SQLColumnExpression[str],
) -> ColumnElement[bool]:
    """That some of the grant's action was taken away after a position of the logs.

    `since` and `house_since` are the instants of the last entries known then, of the client's log
    and of the house's: instants strictly increase in a log, so all that was recorded later is
    later, whatever a clock says. At the position itself the rule permitted, so whatever holds the
    grant now began since; so with a demand that was not met. `dataset` is as in `unsuspended`. A
    review, which asks for a second factor of the last twelve hours, is not looked at: no token
    outlives the one of its giving.
    """
    withdrawn = exists().where(
        EntitlementAction.entitlement_id == Grant.entitlement_id,
        EntitlementAction.action == action,
        EntitlementAction.ended_at > house_since,
    )
    taken_back = exists().where(
        SuspensionRelease.target_id.in_([Grant.subject_id, Grant.project_id, dataset]),
        SuspensionRelease.ended_at > since,
    )
    return or_(
        and_(
            _stirred(hours=hours, since=since),
            or_(*_begun(effect, hours=hours, since=since, dataset=dataset, still=False)),
        ),
        withdrawn.correlate_except(EntitlementAction),
        taken_back.correlate_except(SuspensionRelease),
        unmet_since(since=since, house_since=house_since),
    )


def holding_since(
    effect: SQLColumnExpression[str],
    *,
    hours: bool,
    since: SQLColumnExpression[datetime],
    dataset: SQLColumnExpression[str],
) -> ColumnElement[bool]:
    """That a suspension which began to hold the grant after the position still does."""
    return or_(*_begun(effect, hours=hours, since=since, dataset=dataset, still=True))


def _stirred(*, hours: bool, since: SQLColumnExpression[datetime]) -> ColumnElement[bool]:
    """What must be so before any hold can have begun: it spares the quiet the looking.

    The latest of all suspensions' facts is asked once in a statement, whatever the tokens.
    """
    latest = [func.max(SuspensionTarget.recorded_at), func.max(SuspensionMode.recorded_at)]
    if hours:
        past = Suspension.hours_until <= clock.instant()
        latest.append(func.max(case((past, Suspension.hours_until))))
    moved = exists().where(
        Membership.subject_id == Grant.subject_id, Membership.recorded_at > since
    )
    return or_(
        *(select(each).scalar_subquery() > since for each in latest),
        moved.correlate_except(Membership),
    )


def _begun(
    effect: SQLColumnExpression[str],
    *,
    hours: bool,
    since: SQLColumnExpression[datetime],
    dataset: SQLColumnExpression[str],
    still: bool,
) -> Iterator[ColumnElement[bool]]:
    """The suspensions, by kind of scope, that began to hold the grant after the position."""
    for scope in Scope:
        found = _Laid(*laid(scope, dataset=dataset), scope, dataset)
        yield found.begun(effect, hours=hours, since=since, still=still)
    if not hours:
        part = aliased(Dataset)
        found = _Laid(*laid(Scope.DATASET, dataset=part.id), Scope.DATASET, part.id)
        over_a_part = exists().where(
            dataset.is_(None),
            part.project_id == Grant.project_id,
            found.begun(effect, hours=hours, since=since, still=still),
        )
        yield over_a_part.correlate_except(part)


@dataclass(frozen=True)
class _Laid:
    """All that was ever laid over one kind of scope of the grant."""

    query: Select[str, str]
    target: Any
    mode: Any
    scope: Scope
    dataset: SQLColumnExpression[str]

    def begun(
        self,
        effect: SQLColumnExpression[str],
        *,
        hours: bool,
        since: SQLColumnExpression[datetime],
        still: bool,
    ) -> ColumnElement[bool]:
        """That some of it began to hold the grant after the position; and does `still`."""
        query, target, mode = self.query, self.target, self.mode
        at = _later(target.recorded_at, mode.recorded_at)
        facts = [target, mode]
        if self.scope is Scope.ORGANISATION:
            at = _later(at, Membership.recorded_at)
            facts.append(Membership)
        if hours:  # until its cut-off a suspension takes none
            cut_off = Suspension.hours_until
            query = query.join(Suspension, Suspension.id == mode.suspension_id)
            query = query.where(or_(cut_off.is_(None), cut_off <= clock.instant()))
            at = case((cut_off > at, cut_off), else_=at)
        moments = [Moment(at=at), *([NOW] if still else [])]
        stopped = [
            and_(effect == each, mode.mode.in_(modes.stopping(each)))
            for each in Effect
            if (each is Effect.HOURS) is hours
        ]
        query = query.where(at > since, or_(*stopped))
        for moment in moments:
            query = query.where(
                unreleased(target.suspension_id, moment, dataset=self.dataset),
                *(moment.unended(fact) for fact in facts),
            )
        return query.exists()


def _later(one: Any, other: Any) -> ColumnElement[datetime]:
    return case((one > other, one), else_=other)

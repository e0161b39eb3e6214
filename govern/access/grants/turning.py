"""When the rule can turn: every instant at which some clause may begin or cease to hold.

Between two of these instants that follow one another nothing the rule reads changes, so to ask it
at each is to ask it at all times. One instant too many costs a question, one too few an answer:
whoever gives a clause a new fact adds its instants here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Null, null, select, union_all
from sqlalchemy.orm import aliased

from govern import clock
from govern.access.clients import Client, Project
from govern.access.demand_table import Factor, FactorDemand
from govern.access.entitlements import EntitlementAction
from govern.access.grants.clauses import SECOND_FACTOR_WITHIN, laid
from govern.access.grants.demanded import MEETING
from govern.access.grants.table import Grant
from govern.access.modes import Effect
from govern.access.suspension_tables import Scope, Suspension, SuspensionRelease
from govern.clock import Utc
from govern.identity.sessions import WebSession
from govern.identity.subjects import Membership, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import CompoundSelect, Select, SQLColumnExpression

_INSTANTS = 5


def turning(
    grant_id: SQLColumnExpression[str],
    action: SQLColumnExpression[str],
    effect: Effect,
    *,
    dataset: SQLColumnExpression[str] | None = None,
    scopes: Sequence[Scope] | None = None,
) -> CompoundSelect[Any]:
    """Rows of a grant's id and five instants (or nulls) at which its clauses can turn.

    Of the grants of a column's ids, but for what their own rows say: `open_`. `dataset` is the
    dataset asked about, when the question is about one. With `scopes` only of the clauses of
    `unheld` that are about these.
    """
    facts = [*_held(effect, dataset, scopes or list(Scope))]
    if scopes is None:
        facts += [*_standing(), *_entitled(action), *_demanded()]
        if effect is not Effect.HOURS:
            facts.append(_reviewed())
    return union_all(*(fact.where(Grant.id == grant_id) for fact in facts))


def _row(*instants: Any) -> Select[Any]:
    """A row of as many columns as any other of them."""
    padding = [null()] * (_INSTANTS - len(instants))
    told = [
        (each.cast(Utc()) if isinstance(each, Null) else each).label(f"at_{place}")
        for place, each in enumerate([*instants, *padding])
    ]
    return select(Grant.id, *told)


def _standing() -> Iterator[Select[Any]]:
    yield (
        _row(Subject.ended_at, Project.ended_at, Client.ended_at)
        .join(Subject, Subject.id == Grant.subject_id)
        .join(Project, Project.id == Grant.project_id)
        .join(Client, Client.id == Grant.client_id)
    )


def _entitled(action: SQLColumnExpression[str]) -> Iterator[Select[Any]]:
    holds = EntitlementAction
    yield _row(holds.recorded_at, holds.ended_at).where(
        holds.entitlement_id == Grant.entitlement_id, holds.action == action
    )


def _held(
    effect: Effect, dataset: SQLColumnExpression[str] | None, scopes: Sequence[Scope]
) -> Iterator[Select[Any]]:
    own: Any = Grant.dataset_id if dataset is None else dataset
    for scope in scopes:
        found, target, mode = laid(scope, dataset=own)
        facts = [target.recorded_at, target.ended_at, mode.recorded_at, mode.ended_at]
        if effect is Effect.HOURS:
            facts.append(Suspension.hours_until)
            found = found.join(Suspension, Suspension.id == mode.suspension_id)
        # The names of `laid` stand for its tables; the grant is one more.
        yield found.with_only_columns(*_row(*facts).selected_columns)
    if Scope.ORGANISATION in scopes:
        member = aliased(Membership)
        yield _row(member.recorded_at, member.ended_at).where(member.subject_id == Grant.subject_id)
    for kind, one in {
        Scope.SUBJECT: Grant.subject_id, Scope.PROJECT: Grant.project_id, Scope.DATASET: own
    }.items():  # fmt: skip
        released = aliased(SuspensionRelease)
        yield _row(released.recorded_at, released.ended_at).where(
            released.kind == kind, released.target_id == one
        )


def _demanded() -> Iterator[Select[Any]]:
    for place in (Grant.client_id, Grant.project_id):
        demand = aliased(FactorDemand)
        yield _row(demand.recorded_at, demand.starts_at, demand.ended_at).where(
            demand.target_id == place, demand.factor.in_(list(Factor))
        )
    for table in sorted({t for tables in MEETING.values() for t in tables}, key=str):
        own = aliased(table)
        yield _row(own.recorded_at, own.ended_at).where(own.subject_id == Grant.subject_id)


def _reviewed() -> Select[Any]:
    """A second factor counts from when it was shown until twelve hours later."""
    own: Any = aliased(WebSession)
    lapsed = clock.after(own.factor_at, SECOND_FACTOR_WITHIN)
    return _row(own.factor_at, lapsed).where(own.subject_id == Grant.subject_id)

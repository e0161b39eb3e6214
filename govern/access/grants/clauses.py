"""The one rule: when a grant is in force.

A grant is in force at an instant when its window holds it; its subject, project and client are
active; its entitlement holds the action; no suspension that stops the action covers it; and the
subject has in use what the client and project demand (`demanded`). The clauses are the only
spelling of this: the decision, the lists, the preview, the effects of a pause and "who had access
then" are all readings of them. Nothing is copied into a grant's row when it is suspended, so
nothing can drift.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import (
    SQLColumnExpression,
    and_,
    exists,
    func,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.orm import aliased

from govern import clock
from govern.access import modes
from govern.access.clients import Client, Project
from govern.access.entitlements import EntitlementAction
from govern.access.grants.demanded import met
from govern.access.grants.moment import NOW, Clause, Moment
from govern.access.grants.supposing import SomeId, Supposing
from govern.access.grants.table import Grant
from govern.access.modes import Effect, Mode
from govern.access.suspension_tables import (
    PeopleListItem,
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.identity.sessions import WebSession
from govern.identity.subjects import Membership, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy import ColumnElement, Select

SECOND_FACTOR_WITHIN = timedelta(hours=12)


def standing(moment: Moment = NOW) -> list[Clause]:
    """The rule without actions and suspensions: what would be in force if nothing were held."""
    return list(_standing(moment))


# To build clauses costs more than to ask them, so they are kept: those about now, and those about
# an instant that is bound when a statement is run.
@lru_cache(maxsize=64)
def _standing(moment: Moment) -> tuple[Clause, ...]:
    return (
        Clause("subject_offboarded", moment.unended(Subject)),
        Clause("client_ended", moment.unended(Client)),
        Clause("project_ended", moment.unended(Project)),
        *open_(moment),
    )


def open_(moment: Moment = NOW) -> list[Clause]:
    """What the rule asks of the grant's row alone: its window, and that it was not revoked."""
    return [
        Clause("grant_revoked", moment.unended(Grant)),
        Clause("grant_not_started", Grant.starts_at <= moment.instant),
        Clause("grant_expired", Grant.ends_at > moment.instant),
    ]


def entitled(action: str | SQLColumnExpression[str], moment: Moment = NOW) -> Clause:
    """That the grant's entitlement holds the action."""
    holds = exists().where(
        EntitlementAction.entitlement_id == Grant.entitlement_id,
        EntitlementAction.action == action,
        moment.stands(EntitlementAction),
    )
    # Of the asking statement it may name the grant, and the action where that is a column.
    return Clause("action_not_granted", holds.correlate_except(EntitlementAction))


def unheld(
    effect: Effect,
    moment: Moment = NOW,
    *,
    dataset: SQLColumnExpression[str] | None = None,
    supposing: Supposing | None = None,
) -> list[Clause]:
    """That no suspension which stops `effect` covers the grant: a clause for each `Scope`, in turn.

    `dataset` is the dataset asked about, when the question is about one.
    """
    return list(_unheld(effect, moment, dataset, supposing))


@lru_cache(maxsize=128)
def _unheld(
    effect: Effect,
    moment: Moment,
    dataset: SQLColumnExpression[str] | None,
    supposing: Supposing | None,
) -> tuple[Clause, ...]:
    found = []
    for scope in Scope:
        holding = _holding(
            scope,
            modes.stopping(effect),
            moment,
            dataset,
            supposing,
            hours=effect is Effect.HOURS,
        )
        # Whoever is named in a list is told no other word than who is named alone.
        reason = Scope.SUBJECT if scope is Scope.PEOPLE else scope
        found.append(Clause(reason, not_(holding.exists()), holding))
    return tuple(found)


def reviewed(moment: Moment = NOW, *, dataset: SQLColumnExpression[str] | None = None) -> Clause:
    """That whoever works under review has shown a second factor within twelve hours."""
    under_review = [
        _holding(scope, [Mode.UNDER_REVIEW], moment, dataset, None).exists() for scope in Scope
    ]
    since = clock.before(moment.instant, SECOND_FACTOR_WITHIN)
    shown = (
        exists()
        .where(
            WebSession.subject_id == Grant.subject_id,
            WebSession.factor_at > since,
            WebSession.factor_at <= moment.instant,
        )
        .correlate_except(WebSession)
    )
    return Clause("second_factor_required", or_(not_(or_(*under_review)), shown))


def overlying(*, dataset: SQLColumnExpression[str] | None = None) -> dict[Scope, Select[str]]:
    """The ids of all suspensions that cover the grant now, whatever they stop, by kind of scope."""
    found = {}
    for scope in Scope:
        holding = _holding(scope, list(Mode), NOW, dataset, None)
        found[scope] = holding.with_only_columns(holding.selected_columns.suspension_id)
    return found


def overlaid(*, dataset: SQLColumnExpression[str] | None = None) -> ColumnElement[bool]:
    """That some open suspension covers the grant now, whatever it stops and whomever it let out.

    Where none does, every clause of `unheld` and `reviewed` holds: a short way to say so.
    """
    found = []
    for scope in Scope:
        target = aliased(SuspensionTarget)
        query = exists().where(target.kind == scope, target.ended_at.is_(None))
        over = _over(query, scope, target, NOW, dataset)
        found.append(over.correlate_except(target, Membership, PeopleListItem))
    return or_(*found)


def rule(
    action: str | SQLColumnExpression[str],
    effect: Effect,
    moment: Moment = NOW,
    *,
    dataset: SQLColumnExpression[str] | None = None,
) -> list[Clause]:
    """The whole rule for an action of some effect, in the order in which clauses are explained."""
    clauses = [
        *standing(moment),
        entitled(action, moment),
        *unheld(effect, moment, dataset=dataset),
        *met(moment),
    ]
    if effect is not Effect.HOURS:
        clauses.append(reviewed(moment, dataset=dataset))
    return clauses


def all_of(clauses: list[Clause]) -> ColumnElement[bool]:
    """The clauses as one condition."""
    return and_(*(clause.test for clause in clauses))


def held(
    effect: Effect, moment: Moment = NOW, *, supposing: Supposing | None = None
) -> ColumnElement[bool]:
    """That some suspension which stops `effect` covers the grant."""
    return not_(all_of(unheld(effect, moment, supposing=supposing)))


def facts(*columns: Any, moment: Moment = NOW) -> Select[Any]:
    """A query over grants with what the rule's clauses name, as far as recorded at `moment`."""
    return (
        select(*columns)
        .select_from(Grant)
        .join(Subject, Subject.id == Grant.subject_id)
        .join(Project, Project.id == Grant.project_id)
        .join(Client, Client.id == Grant.client_id)
        .where(moment.known(Grant))
    )


def covering(
    *,
    project: SQLColumnExpression[str] | str,
    dataset: SQLColumnExpression[str] | str | None,
    effect: Effect,
) -> ColumnElement[bool]:
    """Which grants could permit an action on a project, or on one of its datasets.

    A project grant covers the project's datasets; a dataset grant permits that dataset, and
    logging hours on its project.
    """
    whole: ColumnElement[bool] = Grant.dataset_id.is_(None)
    if dataset is not None:
        whole = or_(whole, Grant.dataset_id == dataset)
    elif effect is Effect.HOURS:
        whole = true()
    return and_(Grant.project_id == project, whole)


def _holding(
    scope: Scope,
    stopping: list[Mode],
    moment: Moment,
    dataset: SQLColumnExpression[str] | None,
    supposing: Supposing | None,
    *,
    hours: bool = False,
) -> Select[str, str]:
    """The modes of the suspensions over one kind of scope that stop something for a grant.

    `hours` when it is hours that are stopped: they count until the cut-off.
    """
    target, mode = aliased(SuspensionTarget), aliased(SuspensionMode)
    query = _stopped(target, mode, stopping, moment, hours=hours).where(
        target.kind == scope, unreleased(target.suspension_id, moment, dataset=dataset)
    )
    if supposing is not None:
        query = query.where(supposing.still(target, stopping, dataset))
    held: Select[str, str] = _over(query, scope, target, moment, dataset)
    return held.correlate_except(
        target, mode, Suspension, Membership, PeopleListItem, SuspensionRelease
    )


def laid(scope: Scope, *, dataset: SQLColumnExpression[str]) -> tuple[Select[str, str], Any, Any]:
    """All that was ever laid over one kind of scope of the grant, and its target and mode."""
    target, mode = aliased(SuspensionTarget), aliased(SuspensionMode)
    query = _modes(target, mode).where(target.kind == scope)
    found: Select[str, str] = _over(query, scope, target, None, dataset)
    found = found.correlate_except(target, mode, Suspension, Membership, PeopleListItem)
    return found, target, mode


def _over(
    query: Any,
    scope: Scope,
    target: Any,
    moment: Moment | None,
    dataset: SQLColumnExpression[str] | None,
) -> Any:
    """A query over targets of one kind of scope, of those alone that the grant lies in.

    Without a moment, of those too that it lay in once, by a membership that ended.
    """
    if scope is Scope.ORGANISATION:
        now = () if moment is None else (moment.stands(Membership), moment.begun(Membership))
        return query.where(
            Membership.organisation_id == target.target_id,
            Membership.subject_id == Grant.subject_id,
            *now,
        )
    if scope is Scope.PEOPLE:
        return query.where(
            PeopleListItem.list_id == target.target_id,
            PeopleListItem.subject_id == Grant.subject_id,
        )
    column = {
        Scope.CLIENT: Grant.client_id,
        Scope.PROJECT: Grant.project_id,
        Scope.DATASET: Grant.dataset_id if dataset is None else dataset,
        Scope.SUBJECT: Grant.subject_id,
    }[scope]
    return query.where(target.target_id == column)


def _modes(target: Any, mode: Any) -> Select[str, str]:
    return (
        select(mode.mode, mode.suspension_id)
        .select_from(target)
        .join(mode, mode.suspension_id == target.suspension_id)
    )


def _stopped(
    target: Any, mode: Any, stopping: list[Mode], moment: Moment, *, hours: bool
) -> Select[str, str]:
    """The modes that stop something, with whose they are, over whatever target they are laid."""
    query = _modes(target, mode).where(
        mode.mode.in_(stopping), moment.stands(target), moment.stands(mode)
    )
    if hours:
        query = query.join(Suspension, Suspension.id == mode.suspension_id).where(
            _past_cut_off(mode, moment)
        )
    return query


def blanket(
    effect: Effect, moment: Moment, *, client: SomeId, project: SomeId | None,
    dataset: SomeId | None,
) -> Select[str]:  # fmt: skip
    """A suspension that stops `effect` for all but people released from it, by its id, if any.

    For lists: after a pause of a project nobody is left but whom `let_out` names, so its grants,
    which may be a million, need not be walked to find that out. Of a whole client, or project, none
    of its parts was let out either.
    """
    target, mode = aliased(SuspensionTarget), aliased(SuspensionMode)
    over = {Scope.CLIENT: client, Scope.PROJECT: project, Scope.DATASET: dataset}
    return (
        _stopped(target, mode, modes.stopping(effect), moment, hours=effect is Effect.HOURS)
        .with_only_columns(mode.suspension_id)
        .where(
            or_(
                *(
                    and_(target.kind == scope, target.target_id == one)
                    for scope, one in over.items()
                    if one is not None
                )
            ),
            *(
                not_(_released(mode.suspension_id, scope, one, moment))
                for scope, one in over.items()
                if scope is not Scope.CLIENT
            ),
        )
        .limit(1)
    )


def let_out(
    suspension: SQLColumnExpression[str], moment: Moment, *, after: SQLColumnExpression[str]
) -> Select[str]:
    """The people who were released from a suspension, by id, those behind `after`."""
    return select(SuspensionRelease.target_id).where(
        SuspensionRelease.suspension_id == suspension,
        SuspensionRelease.kind == Scope.SUBJECT,
        SuspensionRelease.target_id > after,
        moment.stands(SuspensionRelease),
        moment.begun(SuspensionRelease),
    )


def _past_cut_off(mode: Any, moment: Moment) -> ColumnElement[bool]:
    """That hours worked at the moment count no longer under a mode that stops them.

    Without a cut-off that is from the mode's beginning. A cut-off before the opening reaches back
    to it; but hours worked later under a milder mode are not lost when the mode tightens again.
    """
    cut_off = Suspension.hours_until
    if moment.worked_at is None:
        return or_(cut_off.is_(None), cut_off <= moment.instant)
    return and_(
        func.coalesce(cut_off, mode.recorded_at) <= moment.worked_at,
        or_(
            mode.recorded_at <= moment.worked_at,
            mode.recorded_at == Suspension.recorded_at,
        ),
    )


def unreleased(
    suspension: Any,
    moment: Moment,
    *,
    dataset: SQLColumnExpression[str] | None = None,
    kinds: Iterable[Scope] = Scope,
) -> ColumnElement[bool]:
    """That neither the grant's person, nor its project, nor its dataset was let out.

    `dataset` is the dataset asked about, when the question is about one. A condition for each, so
    that a database may join them; only for `kinds`, where it is known that nothing else was.
    """
    what = {
        Scope.SUBJECT: Grant.subject_id,
        Scope.PROJECT: Grant.project_id,
        Scope.DATASET: Grant.dataset_id if dataset is None else dataset,
    }
    let_out = (_released(suspension, kind, what[kind], moment) for kind in kinds if kind in what)
    return and_(true(), *map(not_, let_out))


def _released(suspension: Any, kind: Scope, one: Any, moment: Moment) -> ColumnElement[bool]:
    """That one was let out of a suspension, or of None any of its kind."""
    return (
        exists()
        .where(
            SuspensionRelease.suspension_id == suspension,
            SuspensionRelease.kind == kind,
            true() if one is None else SuspensionRelease.target_id == one,
            moment.stands(SuspensionRelease),
            moment.begun(SuspensionRelease),
        )
        .correlate_except(SuspensionRelease)
    )

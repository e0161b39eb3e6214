"""How things stand for one person: each project they hold or held, and what it means for them now.

It is a reading of the one rule's clauses, over the grants of one subject, in a fixed number of
statements. What it tells is fit for that person: no one else's name, no client, no internal
reason. Who may see it is the caller's to know: a person reads their own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    String,
    and_,
    bindparam,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from govern import clock
from govern.access import grants
from govern.access.clients import Dataset, Project
from govern.access.entitlements import Entitlement, EntitlementAction
from govern.access.grants import Grant
from govern.access.modes import STOPS, Effect, Mode, effect_of
from govern.access.suspension_tables import (
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
    naming,
)
from govern.access.suspensions import notices, telling
from govern.access.suspensions.notices import Version
from govern.db import planned_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, CompoundSelect, Select
    from sqlalchemy.orm import Session

# How long, and how many of them, suspensions that are over are shown.
SHOWN_AFTER = timedelta(days=30)
MOST_OVER = 10
_STRICTEST_FIRST = [Mode.PAUSED, Mode.READ_ONLY, Mode.UNDER_REVIEW]


@dataclass(frozen=True, kw_only=True)
class Hold:
    """One suspension as far as it concerns the person: through which scope, how much, since when.

    `since` is when its present mode began; `stopped_since` when it began to stop hours.
    `dataset` is set when it covers a part of the project alone; `notices` are newest first.
    """

    suspension_id: str
    scope: Scope
    mode: Mode
    since: datetime
    stopped_since: datetime
    reason: str
    review_by: datetime
    hours_until: datetime | None
    dataset: str | None = None
    notices: tuple[Version, ...] = ()

    @property
    def cut_off(self) -> datetime:
        """Until when hours count."""
        return self.hours_until or self.stopped_since


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One project, or one dataset of it where that is all that is held.

    `ended` is why it is over (a reason code of the rule) and `ended_at` when; for what is held,
    `may` are the actions that would be permitted now and `may_not` those that the person's
    entitlements hold and something stops. `holds` are strictest first; `parts` are the datasets
    that a suspension of their own takes out. `factor_needed` when a code would open what is shut,
    and `unmet` when nothing is open before what is demanded there is enrolled.
    """

    project: str
    dataset: str | None
    contact: str
    entitlements: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    ended: str | None = None
    ended_at: datetime | None = None
    begun: bool = True
    may: tuple[str, ...] = ()
    may_not: tuple[str, ...] = ()
    factor_needed: bool = False
    unmet: bool = False
    holds: tuple[Hold, ...] = ()
    parts: tuple[Hold, ...] = ()


@dataclass
class _Group:
    """The person's grants on one project, or on one dataset: the same suspensions cover them."""

    rows: list[Any] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Over:
    """A suspension that holds the person no longer: where it did, from when until when."""

    places: list[str]
    since: datetime
    until: datetime
    notices: tuple[Version, ...]


@dataclass(frozen=True, kw_only=True)
class Whole:
    """How someone stands: their `projects`, those held first, by code.

    `own` is the strictest suspension that names them, whether or not they hold anything; `over` is
    what held them until lately and was explained to them, the latest first.
    """

    projects: list[Standing]
    own: Hold | None
    over: list[Over]


def of(session: Session, subject_id: str) -> list[Standing]:
    """Every project that a person holds or held, those held first, by code."""
    return _read(session, subject_id, over=()).projects


def whole(session: Session, subject_id: str) -> Whole:
    """All that a person is to know of how they stand."""
    over = session.execute(_over(), {"person": subject_id}).all()
    return _read(session, subject_id, over=over)


def _read(session: Session, subject_id: str, *, over: Sequence[Any]) -> Whole:
    person = {"person": subject_id}
    groups: dict[tuple[str, str | None], _Group] = defaultdict(_Group)
    for row in session.execute(_grants(), person):
        groups[row.project_id, row.dataset_id].rows.append(row)
    actions: dict[str, set[str]] = defaultdict(set)
    for entitlement_id, action in session.execute(_actions(), person):
        actions[entitlement_id].add(action)
    laid = session.execute(_laid(), person).all()
    told = _told(
        session, [row.suspension_id for row in laid] + [row.id for row in over], subject_id
    )
    parts = _holds((row for row in laid if row.dataset is not None), told)
    holds = _holds((row for row in laid if row.dataset is None), told)
    found = [_standing(group.rows, actions, holds, parts) for group in groups.values()]
    return Whole(
        projects=sorted(
            found, key=lambda one: (one.ended is not None, one.project, one.dataset or "")
        ),
        own=next(iter(holds.get(subject_id, [])), None),
        over=_past(session, over, told, subject_id),
    )


def _past(
    session: Session, rows: Sequence[Any], told: dict[str, tuple[Version, ...]], subject_id: str
) -> list[Over]:
    explained = [row for row in rows if told.get(row.id)]
    if not explained:
        return []
    places = telling.opened(session, [row.id for row in explained], person=subject_id)
    return [
        Over(places=places[row.id], since=row.recorded_at, until=row.until, notices=told[row.id])
        for row in explained
        if row.id in places
    ]


# --- the statements, built once: to build them took longer than to answer them -----------------

_PERSON = bindparam("person", type_=String())


@cache
def _grants() -> Select[Any]:
    """Each grant of the person, the rule's clauses one by one, and what is stopped."""
    stopped = [grants.held(effect).label(f"stops_{effect}") for effect in Effect]
    clauses = [clause.test.label(clause.reason) for clause in (*grants.standing(), *grants.met())]
    wanted = (
        grants.facts(
            Grant.id, Grant.project_id, Grant.dataset_id, Grant.entitlement_id,
            Grant.starts_at, Grant.ends_at, Grant.ended_at,
            Project.code, Project.contact, Project.ended_at.label("project_ended_at"),
            Dataset.code.label("dataset"), Entitlement.name.label("entitlement"),
            grants.reviewed().test.label("reviewed"), clock.instant().label("now"),
            *clauses, *stopped,
        )
        .join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .where(Grant.subject_id == _PERSON)
        .order_by(Grant.id)
    )  # fmt: skip
    return planned_once(wanted)


@cache
def _actions() -> Select[str, str]:
    """What the person's entitlements permit now."""
    return (
        select(EntitlementAction.entitlement_id, EntitlementAction.action)
        .join(Grant, Grant.entitlement_id == EntitlementAction.entitlement_id)
        .where(Grant.subject_id == _PERSON, grants.NOW.stands(EntitlementAction))
        .distinct()
    )


def _mode_rows(key: Any, scope: Scope, dataset: Any = None) -> Select[Any]:
    """Suspensions that are open, with every interval of their mode; `key` is whom they concern."""
    return (
        select(
            key.label("key"), literal(scope.value).label("scope"),
            (null() if dataset is None else dataset).label("dataset"),
            Suspension.id.label("suspension_id"), Suspension.reason, Suspension.review_by,
            Suspension.hours_until,
            SuspensionMode.mode, SuspensionMode.recorded_at, SuspensionMode.ended_at,
        )
        .select_from(Suspension)
        .join(SuspensionMode, SuspensionMode.suspension_id == Suspension.id)
        .where(Suspension.ended_at.is_(None))
    )  # fmt: skip


@cache
def _laid() -> CompoundSelect[Any]:
    """The suspensions over each grant, over a dataset of what is held whole, and over the person.

    The second are told by their `dataset`; the last have the person as their key.
    """
    covering = [
        _mode_rows(Grant.id, scope)
        .join(Grant, Suspension.id.in_(ids))
        .where(Grant.subject_id == _PERSON, *_unended())
        for scope, ids in grants.overlying().items()
    ]
    inside = grants.overlying(dataset=Dataset.id)[Scope.DATASET]
    parts = (
        _mode_rows(Grant.id, Scope.DATASET, Dataset.code)
        .join(Grant, Grant.dataset_id.is_(None))
        .join(Dataset, and_(Dataset.project_id == Grant.project_id, Suspension.id.in_(inside)))
        .where(Grant.subject_id == _PERSON, *_unended())
    )
    own = (
        _mode_rows(_PERSON, Scope.SUBJECT)
        .join(SuspensionTarget, SuspensionTarget.suspension_id == Suspension.id)
        .where(naming(SuspensionTarget, _PERSON), SuspensionTarget.ended_at.is_(None))
    )
    return planned_once(union_all(*covering, parts, own))


@cache
def _over() -> Select[Any]:
    """The latest suspensions that are over, for the person or for all, and may have held them."""
    let_out = (
        select(func.min(SuspensionRelease.recorded_at))
        .where(
            SuspensionRelease.suspension_id == Suspension.id,
            SuspensionRelease.target_id == _PERSON,
            SuspensionRelease.ended_at.is_(None),
        )
        .scalar_subquery()
    )
    until: ColumnElement[datetime] = func.coalesce(let_out, Suspension.ended_at)
    own = select(Grant.id).where(
        Grant.subject_id == _PERSON,
        SuspensionTarget.target_id.in_([Grant.client_id, Grant.project_id, Grant.dataset_id]),
    )
    of_people = [Scope.SUBJECT, Scope.PEOPLE, Scope.ORGANISATION]
    near = exists().where(
        SuspensionTarget.suspension_id == Suspension.id,
        or_(SuspensionTarget.kind.in_(of_people), own.exists()),
    )
    found: Any = (
        select(Suspension.id, Suspension.recorded_at, until.label("until"))
        .where(until > clock.before(clock.instant(), SHOWN_AFTER), near)
        .order_by(until.desc(), Suspension.id)
        .limit(MOST_OVER)
    )
    return found  # type: ignore[no-any-return]  # its columns have many types


def _unended() -> list[ColumnElement[bool]]:
    """The clauses that speak of a grant's own end."""
    own = {"grant_revoked", "grant_expired"}
    return [clause.test for clause in grants.standing() if clause.reason in own]


# --- putting it together -----------------------------------------------------------------------


def _told(session: Session, ids: Iterable[str], subject_id: str) -> dict[str, tuple[Version, ...]]:
    """What was said of some suspensions, by suspension, newest first."""
    posted = notices.versions(session, ids, reader=subject_id)
    return {suspension_id: tuple(versions) for suspension_id, versions in posted.items()}


def _holds(rows: Iterable[Any], told: dict[str, tuple[Version, ...]]) -> dict[str, list[Hold]]:
    """The suspensions of each key (a grant, or the person), strictest first."""
    intervals: dict[tuple[str, str, str | None], list[Any]] = defaultdict(list)
    for row in rows:
        intervals[row.key, row.suspension_id, row.dataset].append(row)
    found: dict[str, list[Hold]] = defaultdict(list)
    for (key, suspension_id, _), group in intervals.items():
        hold = _hold(group, told.get(suspension_id, ()))
        if hold is not None:
            found[key].append(hold)
    for holds in found.values():
        holds.sort(key=_weight)
    return found


def _weight(hold: Hold) -> tuple[int, bool, datetime]:
    """Strictest first; of two alike the one that is not about the person, then the older."""
    return _STRICTEST_FIRST.index(hold.mode), hold.scope is Scope.SUBJECT, hold.since


def _hold(rows: list[Any], told: tuple[Version, ...]) -> Hold | None:
    rows = sorted(rows, key=lambda row: row.recorded_at)
    present = rows[-1]
    if present.ended_at is not None:
        return None
    scope = Scope(present.scope)
    stopped_since = present.recorded_at
    for row in reversed(rows):
        if Effect.HOURS not in STOPS[Mode(row.mode)]:
            break
        stopped_since = row.recorded_at
    return Hold(
        suspension_id=present.suspension_id,
        # In a list or alone: it is they who are named.
        scope=Scope.SUBJECT if scope is Scope.PEOPLE else scope,
        mode=Mode(present.mode),
        since=present.recorded_at, stopped_since=stopped_since, reason=present.reason,
        review_by=present.review_by, hours_until=present.hours_until,
        dataset=present.dataset, notices=told,
    )  # fmt: skip


def _standing(
    rows: list[Any],
    actions: dict[str, set[str]],
    holds: dict[str, list[Hold]],
    parts: dict[str, list[Hold]],
) -> Standing:
    """One project from all its grants: of those that stand, or else of the one that ended last."""
    here = [row for row in rows if _ended(row) is None]
    shown = here or [max(rows, key=_ended_at)]
    last = max(shown, key=lambda row: row.ends_at)
    common = {
        "project": last.code, "dataset": last.dataset, "contact": last.contact,
        "entitlements": tuple(sorted({row.entitlement for row in shown})),
        "starts_at": min(row.starts_at for row in shown), "ends_at": last.ends_at,
    }  # fmt: skip
    if not here:
        return Standing(**common, ended=_ended(last), ended_at=_ended_at(last))
    held = {action for row in here for action in actions[row.entitlement_id]}
    begun = [row for row in here if row.grant_not_started]
    open_ = {
        action
        for row in begun
        for action in actions[row.entitlement_id]
        if not getattr(row, f"stops_{effect_of(action)}")
    }
    shut = {action for action in open_ if effect_of(action) is not Effect.HOURS}
    # A demand is of the project or its client, so it is met for all of these or for none.
    unmet = not all(getattr(here[0], reason) for reason in grants.ENROL.values())
    factor_needed = not unmet and bool(shut) and not any(row.reviewed for row in begun)
    may = set() if unmet else open_ - shut if factor_needed else open_
    return Standing(
        **common,
        begun=bool(begun),
        may=_ordered(may),
        may_not=_ordered(held - may),
        factor_needed=factor_needed,
        unmet=unmet,
        holds=_once(hold for row in here for hold in holds.get(row.id, [])),
        parts=_once(hold for row in here for hold in parts.get(row.id, [])),
    )


def _ended(row: Any) -> str | None:
    """The first clause that failed for good; None while the grant stands or is yet to begin."""
    for clause in grants.standing():
        if clause.reason != "grant_not_started" and not getattr(row, clause.reason):
            return clause.reason
    return None


def _ended_at(row: Any) -> datetime:
    ends: list[datetime | None] = [row.ended_at, row.project_ended_at, row.ends_at]
    return min(end for end in ends if end is not None)


def _once(holds: Iterable[Hold]) -> tuple[Hold, ...]:
    return tuple(sorted(dict.fromkeys(holds), key=_weight))


def _ordered(actions: set[str]) -> tuple[str, ...]:
    """In the order of what they do: look, change, take, log hours."""
    order = list(Effect)
    return tuple(sorted(actions, key=lambda action: (order.index(effect_of(action)), action)))

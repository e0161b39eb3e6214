"""What needs someone now: each sort of thing as a number and where it is seen to.

Nothing is counted past `MOST`: what is more says so. Whoever is
admitted to some clients alone is told of what they may act on there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, and_, bindparam, exists, func, literal, not_, or_, select, union_all
from sqlalchemy.orm import aliased

from govern import clock, permissions
from govern.access import grants, requests
from govern.access.clients import Dataset, Project
from govern.access.demand_table import Factor, FactorDemand
from govern.access.grants import Grant
from govern.access.questions import Question
from govern.access.requests import Request
from govern.access.suspension_tables import (
    ScheduledResume,
    Suspension,
    SuspensionNotice,
    SuspensionTarget,
)
from govern.access.suspensions.scheduling import CONFIRM_WITHIN
from govern.audit.streams import LogStream, LogStreamState
from govern.audit.witnessing import LogWitness, WitnessFailure
from govern.db import Inquiry
from govern.identity.integrations.tables import (
    Integration,
    IntegrationLimit,
    IntegrationSecret,
)
from govern.identity.roles import RoleAssignment
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import ColumnElement, Select, SelectBase

    from govern.principal import Principal

MOST = 1000
_ME = bindparam("needed_by", type_=String())
SOON = timedelta(days=7)
# A witness may be away for so long before anybody need look.
PATIENCE = timedelta(minutes=15)
# Of more grants, who lacks a factor is told by the demand's own page.
GRANTS_LOOKED_AT = 20_000


class What(StrEnum):
    """What may need someone, the most pressing first."""

    APPROVE = "approve"
    CONFIRM = "confirm"
    UPDATE = "update"
    REVIEW = "review"
    QUESTION = "question"
    FACTOR = "factor"
    REFUSED = "refused"
    WITNESS = "witness"
    STREAM = "stream"
    MAIL = "mail"
    SECRETS = "secrets"
    ENDS = "ends"


@dataclass(frozen=True, kw_only=True)
class Need:
    """So many things of a sort (`more`: and more than counted)."""

    what: What
    number: int
    more: bool


def needs(*, also: Mapping[What, Select[Any]] | None = None, by: Principal) -> Inquiry[list[Need]]:
    """What the caller may see to now; what there is none of is left out.

    `also`: what is told by floors above this one, of which the caller may know.
    """
    sorts = tuple(
        (what, clients)
        for what, (permission, _) in _SORTS.items()
        if (clients := permissions.scope(by, permission)) is None or clients
    )
    query = _needed(sorts, tuple((also or {}).items()))
    return Inquiry(query, _told, given={_ME.key: requests.signature(by)})


@lru_cache(maxsize=64)
def _needed(
    sorts: tuple[tuple[What, frozenset[str] | None], ...],
    also: tuple[tuple[What, Select[Any]], ...],
) -> SelectBase:
    """What to count of each sort, of those alone that the caller may see to: made once for many.

    Of some clients, or of all (None).
    """
    asked = {what: _SORTS[what][1](clients) for what, clients in sorts} | dict(also)
    parts = [
        select(literal(what.value).label("what"), func.count().label("number")).select_from(
            query.limit(MOST + 1).subquery()
        )
        for what, query in asked.items()
    ]
    nothing = select(literal("").label("what"), literal(0).label("number"))
    return union_all(*parts) if parts else nothing


def _told(rows: list[tuple[Any, ...]]) -> list[Need]:
    found: dict[str, int] = dict(rows)
    return [
        Need(what=what, number=min(found[what], MOST), more=found[what] > MOST)
        for what in What
        if found.get(what)
    ]


def _within(query: Select[Any], column: Any, clients: frozenset[str] | None) -> Select[Any]:
    return query if clients is None else query.where(column.in_(clients))


def _approve(clients: frozenset[str] | None) -> Select[Any]:
    asked = select(Request.id).where(Request.ended_at.is_(None), Request.asked_by != _ME)
    return _within(asked, Request.client_id, clients)


def _open(clients: frozenset[str] | None) -> Select[Any]:
    """Open suspensions; of some clients, those that lie over something of theirs."""
    found = select(Suspension.id).where(Suspension.ended_at.is_(None))
    if clients is None:
        return found
    projects = select(Project.id).where(Project.client_id.in_(clients))
    datasets = select(Dataset.id).where(Dataset.project_id.in_(projects))
    target = SuspensionTarget
    over = or_(
        target.target_id.in_(clients), target.target_id.in_(projects),
        target.target_id.in_(datasets),
    )  # fmt: skip
    return found.where(exists().where(target.suspension_id == Suspension.id, over))


def confirm_due() -> ColumnElement[bool]:
    """That a resume is set for a suspension, and can be confirmed now, and is not."""
    now = clock.instant()
    return exists().where(
        ScheduledResume.suspension_id == Suspension.id, ScheduledResume.ended_at.is_(None),
        ScheduledResume.confirmed_at.is_(None), ScheduledResume.at > now,
        ScheduledResume.at <= clock.after(now, CONFIRM_WITHIN),
    ).correlate(Suspension)  # fmt: skip


def update_late() -> ColumnElement[bool]:
    """That contractors were to hear of a suspension again before now."""
    later = aliased(SuspensionNotice)
    newer = exists().where(
        later.suspension_id == SuspensionNotice.suspension_id,
        later.number > SuspensionNotice.number,
    ).correlate(SuspensionNotice)  # fmt: skip
    return exists().where(
        SuspensionNotice.suspension_id == Suspension.id,
        SuspensionNotice.next_update_by < clock.instant(), ~newer,
    ).correlate(Suspension)  # fmt: skip


def review_late() -> ColumnElement[bool]:
    """That a suspension was to be looked at before now."""
    return Suspension.review_by < clock.instant()


def _due(
    condition: Callable[[], ColumnElement[bool]],
) -> Callable[[frozenset[str] | None], Select[Any]]:
    return lambda clients: _open(clients).where(condition())


def _question(clients: frozenset[str] | None) -> Select[Any]:
    asked = (
        select(Question.id)
        .join(Subject, Subject.id == Question.subject_id)
        .where(Question.waiting_since.is_not(None), Subject.ended_at.is_(None))
    )
    return _within(asked, Question.client_id, clients)


def _factor(clients: frozenset[str] | None) -> Select[Any]:
    """Demands that somebody does not meet yet; not looked for where there are many grants."""
    place = or_(
        Grant.client_id == FactorDemand.target_id, Grant.project_id == FactorDemand.target_id
    )
    holding = exists().where(
        place, Grant.ended_at.is_(None), Grant.ends_at > clock.instant(), _lacks(Grant.subject_id)
    ).correlate(FactorDemand)  # fmt: skip
    assigned = exists().where(
        RoleAssignment.role == FactorDemand.target_id, RoleAssignment.ended_at.is_(None),
        or_(RoleAssignment.ends_at.is_(None), RoleAssignment.ends_at > clock.instant()),
        _lacks(RoleAssignment.subject_id),
    ).correlate(FactorDemand)  # fmt: skip
    looked_at = select(Grant.id).limit(GRANTS_LOOKED_AT + 1).subquery()
    few = select(func.count()).select_from(looked_at).scalar_subquery() <= GRANTS_LOOKED_AT
    asked = select(FactorDemand.id).where(
        FactorDemand.ended_at.is_(None), or_(assigned, and_(few, holding))
    )
    return _within(asked, FactorDemand.client_id, clients)


def _lacks(subject_id: Any) -> ColumnElement[bool]:
    """That someone does not have what a demand asks."""
    return or_(
        *(
            and_(FactorDemand.factor == factor, not_(grants.has(factor, subject_id)))
            for factor in Factor
        )
    )


def _stream(clients: frozenset[str] | None) -> Select[Any]:
    failing = (
        select(LogStream.id)
        .join(LogStreamState, LogStreamState.stream_id == LogStream.id)
        .where(LogStream.ended_at.is_(None), LogStreamState.failures > 0)
    )
    return _within(failing, LogStream.client_id, clients)


def _witness(*, refuses: bool) -> Callable[[frozenset[str] | None], Select[Any]]:
    """Witnesses that saw another history than ours, or follow some log no more for a while."""

    def asked(clients: frozenset[str] | None) -> Select[Any]:
        counts: ColumnElement[bool] = WitnessFailure.refuses.is_(True)
        if not refuses:
            late = WitnessFailure.since < clock.before(clock.instant(), PATIENCE)
            counts = and_(WitnessFailure.refuses.is_(False), late)
        failing = exists().where(WitnessFailure.witness_id == LogWitness.id, counts)
        found = select(LogWitness.id).where(LogWitness.ended_at.is_(None), failing)
        return _within(found, LogWitness.client_id, clients)

    return asked


def _secrets(clients: frozenset[str] | None) -> Select[Any]:
    """Integrations whose every secret ends soon, or has: they will be heard of no more."""
    soon = clock.after(clock.instant(), SOON)
    lasting = exists().where(
        IntegrationSecret.integration_id == Integration.id,
        or_(IntegrationSecret.ends_at.is_(None), IntegrationSecret.ends_at > soon),
    )
    any_ = exists().where(IntegrationSecret.integration_id == Integration.id)
    ending = select(Integration.id).where(Integration.ended_at.is_(None), any_, ~lasting)
    if clients is None:
        return ending
    own = exists().where(IntegrationLimit.integration_id == Integration.id)
    return ending.where(own, ~own.where(IntegrationLimit.client_id.not_in(clients)))


def _ends(clients: frozenset[str] | None) -> Select[Any]:
    now = clock.instant()
    ending = select(Grant.id).where(
        Grant.ends_at >= now, Grant.ends_at < clock.after(now, SOON), Grant.ended_at.is_(None)
    )
    return _within(ending, Grant.client_id, clients)


_SORTS: dict[What, tuple[str, Callable[[frozenset[str] | None], Select[Any]]]] = {
    What.APPROVE: ("request:approve", _approve),
    What.CONFIRM: ("suspension:lift", _due(confirm_due)),
    What.UPDATE: ("suspension:open", _due(update_late)),
    What.REVIEW: ("suspension:open", _due(review_late)),
    What.QUESTION: ("question:answer", _question),
    What.FACTOR: ("demand:set", _factor),
    What.REFUSED: ("log:read", _witness(refuses=True)),
    What.WITNESS: ("log:read", _witness(refuses=False)),
    What.STREAM: ("log:read", _stream),
    What.SECRETS: ("integration:create", _secrets),
    What.ENDS: ("grant:issue", _ends),
}

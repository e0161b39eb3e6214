"""Finding a suspension, what it does now, and whether it holds someone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, not_, or_, select

from govern import clock, errors, permissions
from govern.access.modes import Mode
from govern.access.suspension_tables import (
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
    naming,
)
from govern.access.suspensions.parts import targets_of
from govern.clock import Utc

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


def find(session: OrmSession, suspension_id: str, *, by: Principal) -> Suspension:
    """The suspension; `Unknown` when there is none or the caller may know of none of its scopes."""
    row = session.get(Suspension, suspension_id)
    clients = permissions.scope(by, "suspension:read")
    if row is None or (
        clients is not None
        and not clients & {item.client for item in targets_of(session, suspension_id)}
    ):
        raise errors.Unknown(f"There is no suspension {suspension_id}.")
    return row


def mode_of(session: OrmSession, suspension_id: str) -> SuspensionMode | None:
    """The mode that a suspension has now; None once it is lifted."""
    return session.execute(
        select(SuspensionMode).where(
            SuspensionMode.suspension_id == suspension_id, SuspensionMode.ended_at.is_(None)
        )
    ).scalar_one_or_none()


def may_change(
    session: OrmSession,
    suspension: Suspension,
    *,
    permission: str = "suspension:lift",
    by: Principal,
) -> SuspensionMode:
    """The mode in force of a suspension that the caller may change; `AlreadyEnded` once lifted.

    To do what someone else asked for takes `request:approve` instead.
    """
    now = clock.now(session)
    for item in targets_of(session, suspension.id):
        permissions.require(by, permission, client=item.client, now=now)
    present = mode_of(session, suspension.id)
    if present is None:
        raise errors.AlreadyEnded("This suspension was lifted before.")
    return present


def organisation_held(session: OrmSession, organisation_id: str) -> bool:
    """Whether any suspension covers an organisation now."""
    return holding_organisation(session, organisation_id) is not None


def holding_organisation(session: OrmSession, organisation_id: str) -> Suspension | None:
    """The oldest suspension that covers an organisation now."""
    return session.execute(
        select(Suspension)
        .join(SuspensionTarget, SuspensionTarget.suspension_id == Suspension.id)
        .where(
            SuspensionTarget.kind == Scope.ORGANISATION,
            SuspensionTarget.target_id == organisation_id,
            SuspensionTarget.ended_at.is_(None),
            Suspension.ended_at.is_(None),
        )
        .order_by(Suspension.recorded_at)
        .limit(1)
    ).scalar_one_or_none()


@dataclass(frozen=True)
class OwnHold:
    """What suspensions of someone themselves do: whether any stops them now, and the last's begin.

    Whatever of theirs began before `since` is over, lifted or not; None where none began lately.
    """

    now: bool
    since: datetime | None


def own_hold(session: OrmSession, subject_id: str, *, after: datetime) -> OwnHold:
    """Whether a suspension of the person themselves stops them, or began to later than `after`."""
    rows = session.execute(own_holds(), {"subject": subject_id, "after": after}).all()
    return own_hold_of(rows, after=after)


def own_hold_of(rows: Iterable[Any], *, after: datetime) -> OwnHold:
    """What rows of `own_holds` come to."""
    rows = list(rows)
    begun = [max(first, second) for _, first, second in rows]
    return OwnHold(
        now=any(row[0] for row in rows),
        since=max((at for at in begun if at > after), default=None),
    )


@cache
def own_holds() -> Select[bool, datetime, datetime]:
    """The statement of `own_hold`, built once: every request of who is signed in asks it."""
    mode, target = SuspensionMode, SuspensionTarget
    subject_id = bindparam("subject", type_=target.target_id.type)
    after = bindparam("after", type_=Utc())
    stands = and_(target.ended_at.is_(None), mode.ended_at.is_(None), not_(_let_out(subject_id)))
    return (
        select(stands, mode.recorded_at, target.recorded_at)
        .join(target, target.suspension_id == mode.suspension_id)
        .where(
            or_(stands, mode.recorded_at > after, target.recorded_at > after),
            mode.mode != Mode.UNDER_REVIEW,
            or_(target.ended_at.is_(None), mode.recorded_at < target.ended_at),
            or_(mode.ended_at.is_(None), target.recorded_at < mode.ended_at),
            naming(target, subject_id),
        )
    )


def subject_held(session: OrmSession, subject_id: str) -> bool:
    """Whether a suspension of the person themselves stops anything for them."""
    return own_hold(session, subject_id, after=clock.now(session)).now


def _let_out(subject_id: ColumnElement[str]) -> ColumnElement[bool]:
    """That the person was let out of the suspension early."""
    return (
        select(SuspensionRelease.id)
        .where(
            SuspensionRelease.suspension_id == SuspensionMode.suspension_id,
            SuspensionRelease.kind == Scope.SUBJECT,
            SuspensionRelease.target_id == subject_id,
            SuspensionRelease.ended_at.is_(None),
        )
        .exists()
    )

"""Finding a suspension, what it does now, and whether it holds someone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock, errors, permissions
from govern.access.modes import Mode
from govern.access.suspension_tables import (
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionTarget,
    naming,
)
from govern.access.suspensions.parts import targets_of

if TYPE_CHECKING:
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


def subject_held(session: OrmSession, subject_id: str) -> bool:
    """Whether a suspension of the person themselves stops anything for them."""
    return (
        session.execute(
            select(SuspensionMode.id)
            .join(SuspensionTarget, SuspensionTarget.suspension_id == SuspensionMode.suspension_id)
            .where(
                naming(SuspensionTarget, subject_id),
                SuspensionTarget.ended_at.is_(None),
                SuspensionMode.ended_at.is_(None),
                SuspensionMode.mode != Mode.UNDER_REVIEW,
            )
            .limit(1)
        ).first()
        is not None
    )

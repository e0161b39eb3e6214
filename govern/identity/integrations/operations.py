"""Giving systems credentials, and taking them away: created, rotated, suspended, revoked.

Scopes and limits are chosen once, at the creation: an integration that should do more is another
one. Each act is in the house's log, and in the log of each client that the integration is limited
to, which there reads nothing of the other clients.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from govern import clock, errors, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import new_id
from govern.identity import throttle, typed
from govern.identity.integrations import guessing
from govern.identity.integrations.credentials import hashed
from govern.identity.integrations.registration import Registration
from govern.identity.integrations.tables import (
    SCOPES,
    Integration,
    IntegrationLimit,
    IntegrationSecret,
    LimitKind,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Base, Session
    from govern.principal import Principal

OVERLAP = timedelta(hours=24)
MOST_OVERLAP = timedelta(days=30)
# What looks at a project before it answers; all else is limited by client.
_BY_PROJECT = frozenset({"decision", "introspect"})


def find(session: OrmSession, name: str) -> Integration:
    """The integration with this id or name; `Unknown` if there is none."""
    own = session.get(Integration, name) if name.startswith("int_") else None
    found = own or (
        session.execute(select(Integration).where(Integration.name == name)).scalar_one_or_none()
    )
    if found is None:
        raise errors.Unknown(f"There is no integration “{name}”.", field="integration")
    return found


def create(
    session: Session,
    name: str,
    *,
    scopes: Collection[str],
    clients: Sequence[str] = (),
    projects: Mapping[str, str] | None = None,
    registration: Registration | None = None,
    by: Principal,
) -> tuple[Integration, str]:
    """Give a system credentials; returns its row and the secret, which is never seen again.

    It may know of the `clients` (ids) and of the `projects` (each id with its client's) alone, or
    of everything when neither is named.
    """
    permissions.require(by, "integration:create", now=clock.now(session))
    name = typed.text(name, field="name")
    wanted = [scope for scope in SCOPES if scope in scopes]
    if not wanted or len(wanted) != len(set(scopes)):
        raise errors.Invalid(f"A scope is one of: {', '.join(SCOPES)}.", field="scope")
    if projects and not _BY_PROJECT.issuperset(wanted):
        raise errors.Invalid(
            "Only decision and introspect can be limited to projects; limit it to clients.",
            field="project",
        )
    registration = (registration or Registration()).checked()

    def free(session: OrmSession) -> None:
        if session.execute(select(Integration.id).where(Integration.name == name)).first():
            raise errors.AlreadyExists(f"There is an integration “{name}” already.", field="name")

    free(session)
    row = Integration(id=new_id("int"), name=name, scope=" ".join(wanted))
    _register(row, registration)
    limits = [
        IntegrationLimit(integration_id=row.id, kind=kind, target_id=target, client_id=client)
        for kind, target, client in (
            *((LimitKind.CLIENT, client, client) for client in dict.fromkeys(clients)),
            *((LimitKind.PROJECT, *project) for project in (projects or {}).items()),
        )
    ]
    kept, secret = _new_secret(row)
    session.add_all([row, kept, *limits])
    record_act(
        session,
        EventType.INTEGRATION_CREATED,
        row,
        limits,
        data={"scope": wanted},
        private={"registration": registration.text()},
        covers=limits,
        stamps=[(row, "recorded_at"), (kept, "recorded_at")],
        recheck=free,
        by=by,
    )
    return row, secret


def version(integration: Integration) -> str:
    """What names the state of an integration that someone saw: its registration, and its stop."""
    registration = Registration(
        redirect_uris=integration.redirect_uris,
        resources=integration.resources,
        public_keys=integration.public_keys,
    )
    stopped = clock.text(integration.suspended_at) if integration.suspended_at else ""
    return hashlib.sha256(f"{stopped} {registration.text()}".encode()).hexdigest()


def _unchanged(integration: Integration, seen: str | None) -> None:
    if seen is not None and seen != version(integration):
        raise errors.Stale("Someone changed it meanwhile: look at it as it is now.", field="seen")


def change(
    session: Session,
    integration: Integration,
    registration: Registration,
    *,
    seen: str | None = None,
    by: Principal,
) -> None:
    """Register an integration anew for OAuth: all of `registration` replaces what was there.

    `seen` is the `version` that the caller looked at: any other is `Stale`.
    """
    limits = begin_act(session, integration, by=by)
    registration = registration.checked()
    _unchanged(integration, seen)
    _register(integration, registration)
    record_act(
        session,
        EventType.INTEGRATION_CHANGED,
        integration,
        limits,
        private={"registration": registration.text()},
        covers=[integration],
        by=by,
    )


def rotate(
    session: Session,
    integration: Integration,
    *,
    overlap: timedelta = OVERLAP,
    newest: str | None = None,
    by: Principal,
) -> str:
    """Make a new secret and return it; the one before goes on for `overlap`, or not at all (0).

    A secret that was to end sooner still does. `newest` is when the newest secret was made that the
    caller saw, as text: any other is `Stale`.
    """
    limits = begin_act(session, integration, by=by)
    if not timedelta(0) <= overlap <= MOST_OVERLAP:
        raise errors.Invalid(
            f"The overlap is between 0 and {MOST_OVERLAP.days} days.", field="overlap"
        )
    before = session.execute(
        select(IntegrationSecret).where(IntegrationSecret.integration_id == integration.id)
    ).scalars().all()  # fmt: skip
    made = max((row.recorded_at for row in before), default=None)
    if newest is not None and newest != (clock.text(made) if made else ""):
        raise errors.Stale("Someone made another secret meanwhile: look at it first.")
    now = clock.now(session)
    until = now + overlap
    touched: list[IntegrationSecret] = []
    for row in before:
        if not overlap or (row.ends_at is not None and row.ends_at <= now):
            # A row that is gone needs no clock to be refused.
            session.delete(row)
        elif row.ends_at is None or row.ends_at > until:
            row.ends_at = until
        touched.append(row)
    kept, secret = _new_secret(integration)
    session.add(kept)
    throttle.replaced(session, guessing.FACTOR, integration.id)
    record_act(
        session,
        EventType.INTEGRATION_ROTATED,
        integration,
        limits,
        data={"overlap_seconds": int(overlap.total_seconds())},
        covers=touched,
        stamps=[(kept, "recorded_at")],
        by=by,
    )
    return secret


def suspend(session: Session, integration: Integration, *, by: Principal) -> None:
    """Stop an integration's credentials: it is refused from its next request."""
    limits = begin_act(session, integration, by=by)
    if integration.suspended_at is not None:
        raise errors.Conflict("It is suspended already.")
    record_act(
        session,
        EventType.INTEGRATION_SUSPENDED,
        integration,
        limits,
        stamps=[(integration, "suspended_at")],
        by=by,
    )


def resume(
    session: Session, integration: Integration, *, seen: str | None = None, by: Principal
) -> None:
    """Let a suspended integration's credentials count again.

    One person may: it admits nobody to anything that the rule does not give them, since an
    integration holds no grant and no approval; and who may resume one may create its equal.
    `seen` is the `version` that the caller looked at: any other is `Stale`.
    """
    limits = begin_act(session, integration, by=by)
    if integration.suspended_at is None:
        raise errors.Conflict("It is not suspended.")
    _unchanged(integration, seen)
    integration.suspended_at = None
    record_act(
        session,
        EventType.INTEGRATION_RESUMED,
        integration,
        limits,
        stamps=[(integration, "resumed_at")],
        by=by,
    )


def revoke(session: Session, integration: Integration, *, by: Principal) -> None:
    """End an integration for good; its name stays taken."""
    limits = begin_act(session, integration, by=by)
    record_act(
        session,
        EventType.INTEGRATION_REVOKED,
        integration,
        limits,
        stamps=[(integration, "ended_at")],
        by=by,
    )


def begin_act(
    session: Session, integration: Integration, *, by: Principal
) -> Sequence[IntegrationLimit]:
    """What each later act begins with: may they, and is it still there? Returns its limits.

    The row is locked, so that of two acts at once the second sees what the first did.
    """
    permissions.require(by, "integration:create", now=clock.now(session))
    session.execute(
        select(Integration)
        .where(Integration.id == integration.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).scalar_one()
    if integration.ended_at is not None:
        raise errors.AlreadyEnded("It was revoked, for good.")
    return session.execute(
        select(IntegrationLimit)
        .where(IntegrationLimit.integration_id == integration.id)
        .order_by(IntegrationLimit.target_id)
    ).scalars().all()  # fmt: skip


def _register(row: Integration, registration: Registration) -> None:
    row.redirect_uris = list(registration.redirect_uris)
    row.resources = list(registration.resources)
    row.public_keys = registration.public_keys


def _new_secret(row: Integration) -> tuple[IntegrationSecret, str]:
    secret = secrets.token_urlsafe(32)
    return IntegrationSecret(hash=hashed(secret), integration_id=row.id), secret


def record_act(
    session: Session,
    type: EventType,
    row: Integration,
    limits: Sequence[IntegrationLimit],
    *,
    data: dict[str, Any] | None = None,
    private: dict[str, str | None] | None = None,
    covers: Iterable[Base] = (),
    stamps: Iterable[tuple[Base, str]] = (),
    recheck: Callable[[Session], None] | None = None,
    by: Principal,
) -> None:
    """One entry in the house's log, and one in each client's, which names that client alone."""
    limited = {kind: [row.target_id for row in limits if row.kind == kind] for kind in LimitKind}
    record(
        session,
        type,
        logs=[HOUSE],
        by=by,
        refs={"integration": row.id},
        data={
            **(data or {}),
            **{f"{kind}s": targets for kind, targets in limited.items() if targets},
        },
        private={"name": row.name, **(private or {})},
        covers=covers,
        stamps=stamps,
        recheck=recheck,
    )
    for client in sorted({limit.client_id for limit in limits}):
        projects = [
            limit.target_id
            for limit in limits
            if limit.client_id == client and limit.kind == LimitKind.PROJECT
        ]
        record(
            session,
            type,
            logs=[client],
            by=by,
            refs={"integration": row.id, "client": client},
            data={**(data or {}), **({"projects": projects} if projects else {})},
            private={"name": row.name},
        )

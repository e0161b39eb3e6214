"""The lists of suspensions, of requests that await a second person, and of integrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, exists, func, literal, or_, select
from sqlalchemy.orm import aliased

from govern.access import needing
from govern.access.clients import Client, Dataset, Project
from govern.access.lists.engine import List
from govern.access.modes import Mode
from govern.access.requests import Request, RequestKind
from govern.access.suspension_tables import Reason, Suspension, SuspensionMode, SuspensionTarget
from govern.access.suspensions import reading
from govern.identity.integrations import SCOPES, Integration
from govern.identity.integrations.tables import IntegrationLimit
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


def _suspensions(columns: Sequence[Any]) -> Select[Any]:
    # An open one has one open mode; that of a lifted one ended with it.
    last = or_(SuspensionMode.ended_at.is_(None), SuspensionMode.ended_at == Suspension.ended_at)
    return (
        select(*columns)
        .select_from(Suspension)
        .join(SuspensionMode, and_(SuspensionMode.suspension_id == Suspension.id, last))
    )


def _named(session: OrmSession, rows: list[dict[str, Any]], by: Principal) -> None:
    """What each covers, by name, as far as the caller may see it."""
    titles = reading.titles(session, (row["key"] for row in rows), by=by)
    for row in rows:
        row["suspension"] = ", ".join(titles.get(row["key"], ()))


def _over(clients: frozenset[str]) -> ColumnElement[bool]:
    """Those that cover something of some clients."""
    projects = select(Project.id).where(Project.client_id.in_(clients))
    datasets = select(Dataset.id).where(Dataset.project_id.in_(projects))
    within = or_(
        SuspensionTarget.target_id.in_(clients),
        SuspensionTarget.target_id.in_(projects),
        SuspensionTarget.target_id.in_(datasets),
    )
    return exists().where(SuspensionTarget.suspension_id == Suspension.id, within)


def _lifted() -> ColumnElement[str]:
    return case((Suspension.ended_at.is_(None), "open"), else_="lifted")


# What of a suspension is due.
_DUE = {
    "confirm": needing.confirm_due, "update": needing.update_late, "review": needing.review_late,
}  # fmt: skip

SUSPENSIONS = List(
    name="suspensions",
    permission="suspension:read",
    key=Suspension.id,
    columns={
        "suspension": Suspension.id, "state": _lifted(), "mode": SuspensionMode.mode,
        "reason": Suspension.reason, "since": Suspension.recorded_at,
        "review": Suspension.review_by, "ended": Suspension.ended_at,
    },
    query=_suspensions,
    sorts={"since": Suspension.id, "review": Suspension.review_by},
    filters={
        "state": lambda value, _: _lifted() == literal(value),
        "mode": lambda value, _: SuspensionMode.mode == value,
        "reason": lambda value, _: Suspension.reason == value,
        "due": lambda value, _: and_(Suspension.ended_at.is_(None), _DUE[value]()),
    },
    choices={
        "due": tuple(_DUE), "state": ("open", "lifted"), "mode": tuple(Mode),
        "reason": tuple(Reason),
    },
    visible=_over,
    finish=_named,
)  # fmt: skip


# --- requests ----------------------------------------------------------------------------------


def _requests(columns: Sequence[Any]) -> Select[Any]:
    return (
        select(*columns)
        .select_from(Request)
        .outerjoin(_asker, _asker.id == Request.asked_by)
        .outerjoin(_decider, _decider.id == Request.decided_by)
        .outerjoin(Client, Client.id == Request.client_id)
    )


_asker, _decider = aliased(Subject), aliased(Subject)
_OUTCOME = func.coalesce(Request.outcome, "pending")

REQUESTS = List(
    name="requests",
    permission="request:read",
    key=Request.id,
    columns={
        "request": Request.kind, "state": _OUTCOME, "client": Client.code,
        "asked_by": func.coalesce(_asker.full_name, Request.asked_by),
        "since": Request.recorded_at,
        "decided_by": func.coalesce(_decider.full_name, Request.decided_by),
        "ended": Request.ended_at,
    },
    query=_requests,
    sorts={"since": Request.id},
    filters={
        "kind": lambda value, _: Request.kind == value,
        "state": lambda value, _: literal(value) == _OUTCOME,
        "client": lambda value, _: Client.code == value,
    },
    choices={
        "kind": tuple(RequestKind),
        "state": ("pending", "approved", "withdrawn", "refused", "died", "expired"),
    },
    visible=Request.client_id.in_,
)  # fmt: skip


# --- integrations ------------------------------------------------------------------------------


def _integrations(columns: Sequence[Any]) -> Select[Any]:
    return select(*columns).select_from(Integration)


def _within(clients: frozenset[str]) -> ColumnElement[bool]:
    """Those that are limited to some clients."""
    own = exists().where(IntegrationLimit.integration_id == Integration.id)
    return and_(own, ~own.where(IntegrationLimit.client_id.not_in(clients)))


_STANDS = case(
    (Integration.ended_at.is_not(None), "revoked"),
    (Integration.suspended_at.is_not(None), "suspended"),
    else_="active",
)

INTEGRATIONS = List(
    name="integrations",
    permission="integration:read",
    key=Integration.id,
    columns={
        "integration": Integration.name, "id": Integration.id, "state": _STANDS,
        "scopes": Integration.scope, "seen": Integration.last_seen_at,
        "since": Integration.recorded_at, "ended": Integration.ended_at,
    },
    query=_integrations,
    sorts={"integration": Integration.name, "since": Integration.id},
    filters={
        "q": lambda part, _: func.lower(Integration.name).contains(part.lower(), autoescape=True),
        "state": lambda value, _: literal(value) == _STANDS,
        # Scopes are kept as words with a space between.
        "scope": lambda value, _: (literal(" ") + Integration.scope + " ").contains(f" {value} "),
    },
    choices={"state": ("active", "suspended", "revoked"), "scope": tuple(SCOPES)},
    visible=_within,
)  # fmt: skip

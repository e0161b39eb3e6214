"""Integrations to look at: lists and one, with what each is limited to and its secrets' ends.

Who is admitted to some clients alone sees those that are limited to these.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import exists, or_, select

from govern import clock, errors, permissions
from govern.db import listed
from govern.identity.integrations.tables import Integration, IntegrationLimit, IntegrationSecret

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

PAGE = 50


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An integration and its limits; of its secrets, when each was made and ends."""

    integration: Integration
    limits: tuple[IntegrationLimit, ...]
    secrets: tuple[tuple[datetime, datetime | None], ...] = ()


def listing(
    session: OrmSession, *, after: str = "", limit: int = PAGE, by: Principal
) -> tuple[list[Shown], str | None]:
    """Integrations by name, and the name after which the next are; None when that is all."""
    rows = list(
        session.execute(
            _visible(by).where(Integration.name > after).order_by(Integration.name).limit(limit + 1)
        ).scalars()
    )
    page = rows[:limit]
    limits: dict[str, list[IntegrationLimit]] = {row.id: [] for row in page}
    among = listed(session, list(limits))
    for found in session.execute(
        select(IntegrationLimit)
        .join(among, among.c.value == IntegrationLimit.integration_id)
        .order_by(IntegrationLimit.kind, IntegrationLimit.target_id)
    ).scalars():
        limits[found.integration_id].append(found)
    return (
        [Shown(integration=row, limits=tuple(limits[row.id])) for row in page],
        page[-1].name if len(rows) > limit else None,
    )


def shown(session: OrmSession, integration_id: str, *, by: Principal) -> Shown:
    """One integration; `Unknown` where the caller may not know of it."""
    row = session.execute(_visible(by).where(Integration.id == integration_id)).scalar_one_or_none()
    if row is None:
        raise errors.Unknown("There is no such integration.")
    limits = session.execute(
        select(IntegrationLimit)
        .where(IntegrationLimit.integration_id == row.id)
        .order_by(IntegrationLimit.kind, IntegrationLimit.target_id)
    ).scalars()
    secrets = session.execute(
        select(IntegrationSecret.recorded_at, IntegrationSecret.ends_at)
        .where(
            IntegrationSecret.integration_id == row.id,
            or_(IntegrationSecret.ends_at.is_(None), clock.instant() < IntegrationSecret.ends_at),
        )
        .order_by(IntegrationSecret.recorded_at.desc())
    )
    return Shown(
        integration=row,
        limits=tuple(limits),
        secrets=tuple((made, ends) for made, ends in secrets),
    )


def names(session: OrmSession, ids: Sequence[str], *, by: Principal) -> dict[str, str]:
    """The names of those among some ids that the caller may know of."""
    if not ids:
        return {}
    among = listed(session, ids)
    rows = session.execute(_visible(by).join(among, among.c.value == Integration.id)).scalars()
    return {row.id: row.name for row in rows}


def reaching(
    session: OrmSession,
    *,
    clients: Sequence[str],
    owners: Sequence[str],
    projects: Sequence[str],
    begin: datetime,
    end: datetime | None,
    by: Principal,
) -> list[Integration]:
    """Those that may know of some clients, or of some projects whose clients are `owners`.

    Only those that were there at some time between `begin` and `end` (None: until now), as far as
    the caller may know of them; without limits one may know of everything.
    """

    def limited(*tests: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(IntegrationLimit.integration_id == Integration.id, *tests)

    def among(column: Any, ids: Sequence[str]) -> ColumnElement[bool]:
        found: ColumnElement[bool] = column.in_(select(listed(session, list(ids)).c.value))
        return found

    wanted = _visible(by).where(
        or_(Integration.ended_at.is_(None), Integration.ended_at > begin),
        or_(
            ~limited(),
            limited(among(IntegrationLimit.client_id, clients)),
            limited(among(IntegrationLimit.target_id, [*owners, *projects])),
        ),
    )
    if end is not None:
        wanted = wanted.where(Integration.recorded_at < end)
    return list(session.execute(wanted.order_by(Integration.name)).scalars())


def _visible(by: Principal) -> Select[Integration]:
    clients = permissions.require_some(by, "integration:read")
    wanted = select(Integration)
    if clients is None:
        return wanted
    own = exists().where(IntegrationLimit.integration_id == Integration.id)
    return wanted.where(own, ~own.where(IntegrationLimit.client_id.not_in(clients)))

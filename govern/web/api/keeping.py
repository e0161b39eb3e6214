"""What is kept of a client: its legal hold, and for how long its rows of the access log stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from govern import permissions
from govern.access import places
from govern.access.idempotency import Done
from govern.audit import holding, retention
from govern.web import guard
from govern.web.api.routes import CREATED, OK, Routes
from govern.web.api.shapes import Asked, Count, Instant, Told, Why

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

routes = Routes("keeping")


class Records(Told):
    """What keeps a client's records."""

    client: str
    held: bool = Field(description="Under legal hold: nothing expires, and nobody is erased.")
    held_since: Instant | None
    days: int | None = Field(description="Its rows stay so long; 0 for ever, null as `default`.")
    default: Count = Field(description="Days of the installation; 0 for ever.")


class Hold(Asked):
    """Why a client is put under legal hold."""

    reason: Why


class Retention(Asked):
    """For how many days a client's rows stay at least, and why."""

    days: Count = Field(description="0 for ever.")
    reason: Why


@routes.get("/clients/<client>/records", Records)
def show(session: OrmSession, client: str, *, by: Principal) -> Records:
    """Its legal hold, and for how long its rows of the access log stay."""
    row = places.find_client(session, client, by=by)
    permissions.require(by, "log:read", client=row.id)
    hold = holding.of(session, row.id)
    return Records(
        client=row.code, held=hold is not None, held_since=hold.recorded_at if hold else None,
        days=retention.of(session, row.id), default=guard.database().settings.access_log_days,
    )  # fmt: skip


@routes.post("/clients/<client>/hold", {CREATED: Records}, body=Hold)
def hold(session: Session, client: str, *, asked: Hold, by: Principal) -> Done:
    """Put a client under legal hold; a person releases it, no program."""
    row = places.find_client(session, client, by=by)
    holding.place(session, row.id, reason=asked.reason, by=by)
    return Done(CREATED, f"/clients/{row.id}/records")


@routes.post("/clients/<client>/retention", {OK: Records}, body=Retention)
def keep(session: Session, client: str, *, asked: Retention, by: Principal) -> Done:
    """Have a client's rows stay longer; a person may have them go sooner, no program."""
    row = places.find_client(session, client, by=by)
    retention.keep(session, row.id, asked.days, reason=asked.reason, by=by)
    return Done(OK, f"/clients/{row.id}/records")

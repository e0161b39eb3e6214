"""Lifting: the difference it makes, and asking for what lets someone back in.

One caller stops, two resume: all but taking back one's own mistake awaits a person, who approves it
in the browser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern import errors
from govern.access import suspensions
from govern.access.grants import Supposing
from govern.access.idempotency import Done
from govern.web.api.requests import Request
from govern.web.api.routes import ACCEPTED, OK, Routes
from govern.web.api.shapes import (
    Asked,
    Count,
    Digest,
    Instant,
    Page,
    Paging,
    Reference,
    Told,
    Why,
)
from govern.web.api.suspensions import Suspension, Targets

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

routes = Routes("lifting")


class Difference(Told):
    """Who a lift would let in, and who not, and why not: grants in each group."""

    returns: int
    returns_people: int
    expired: int
    revoked: int
    offboarded: int
    held_elsewhere: int
    digest: str | None = Field(description="Of what returns; null unless all of it may be seen.")


class Line(Told):
    """A grant of a group. `since` is when it expired or was revoked, or its person left."""

    grant: str
    subject: str
    external_id: str
    full_name: str
    project: str
    entitlement: str
    ends_at: Instant
    since: Instant | None
    held_by: str | None = Field(description="The other suspension that holds it.")


class Lines(Paging):
    """Which group of the difference."""

    group: Literal["returns", "expired", "revoked", "offboarded", "held_elsewhere"] = "returns"


class Lift(Asked):
    """A lift asked for; `number` is that of the grants that return, as a brake."""

    number: Count
    digest: Digest | None = Field(default=None, description="That of the difference seen.")
    reason: Why
    at: Instant | None = Field(
        default=None, description="Not before then, and only if confirmed in the day before."
    )


class Confirmation(Asked):
    """That a lift at its time is still right; as a brake, the number of grants that return."""

    number: Count
    digest: Digest | None = Field(default=None, description="That of the difference seen.")


class Release(Asked):
    """People, and projects or datasets of what is held, to let out early."""

    subjects: list[Reference] = Field(default_factory=list, max_length=1500)
    targets: list[Reference] = Field(
        default_factory=list, max_length=500, description="As project:CODE or dataset:CODE."
    )
    reason: Why


class Narrowing(Targets):
    """What to take out of the scope."""

    reason: Why


@routes.get("/suspensions/<suspension>/difference", Difference)
def difference(session: OrmSession, suspension: str, *, by: Principal) -> Difference:
    """The difference that a lift would make now, counted."""
    found = suspensions.reading.find(session, suspension, by=by)
    counts = suspensions.difference.counts(
        session, found.standing, Supposing(suspension=suspension)
    )
    return Difference(
        returns=counts.returns, returns_people=counts.returns_people, expired=counts.expired,
        revoked=counts.revoked, offboarded=counts.offboarded,
        held_elsewhere=counts.held_elsewhere,
        digest=suspensions.difference.digest(session, found.standing) if found.whole else None,
    )  # fmt: skip


@routes.get("/suspensions/<suspension>/difference/grants", Page[Line], query=Lines)
def lines(session: OrmSession, suspension: str, *, asked: Lines, by: Principal) -> Page[Line]:
    """One group of that difference, grant by grant."""
    standing = suspensions.reading.find(session, suspension, by=by).standing
    rows, after, seen = suspensions.difference.page(
        session, standing, Supposing(suspension=suspension), group=asked.group,
        after=asked.after, limit=asked.limit, by=by,
    )  # fmt: skip
    items = [
        Line(
            grant=row.grant_id, subject=row.subject_id, external_id=row.external_id,
            full_name=row.name, project=row.project, entitlement=row.entitlement,
            ends_at=row.ends_at, since=row.since,
            held_by=row.held_by if row.held_by in seen else None,
        )
        for row in rows
    ]  # fmt: skip
    return Page[Line](items=items, next=after)


@routes.post("/suspensions/<suspension>/lift", {ACCEPTED: Request}, body=Lift)
def lift(session: Session, suspension: str, *, asked: Lift, by: Principal) -> Done:
    """Ask a second person to lift it."""
    row = suspensions.find(session, suspension, by=by)
    waiting = suspensions.ask_lift(
        session,
        row,
        number=asked.number,
        digest=asked.digest,
        reason=asked.reason,
        at=asked.at,
        by=by,
    )
    return Done(ACCEPTED, f"/requests/{waiting.id}")


@routes.post("/suspensions/<suspension>/lift/confirm", {OK: Suspension}, body=Confirmation)
def confirm(session: Session, suspension: str, *, asked: Confirmation, by: Principal) -> Done:
    """Confirm that a lift which is set for a time is still right."""
    row = suspensions.find(session, suspension, by=by)
    suspensions.confirm(session, row, number=asked.number, digest=asked.digest, by=by)
    return Done(OK, f"/suspensions/{row.id}")


@routes.post("/suspensions/<suspension>/lift/cancel", {OK: Suspension})
def cancel(session: Session, suspension: str, *, by: Principal) -> Done:
    """Call a lift off that is set for a time."""
    row = suspensions.find(session, suspension, by=by)
    suspensions.cancel(session, row, by=by)
    return Done(OK, f"/suspensions/{row.id}")


@routes.post("/suspensions/<suspension>/release", {ACCEPTED: Request}, body=Release)
def release(session: Session, suspension: str, *, asked: Release, by: Principal) -> Done:
    """Ask a second person to let some people, projects or datasets out early."""
    row = suspensions.find(session, suspension, by=by)
    read = suspensions.reading.released
    out = [
        *read(session, (f"subject:{one}" for one in asked.subjects), by=by, field="subjects"),
        *read(session, asked.targets, by=by, field="targets"),
    ]
    try:
        waiting = suspensions.ask_release(session, row, targets=out, reason=asked.reason, by=by)
    except errors.Invalid as error:
        if error.field == "people" and asked.targets:
            error.field = "targets"  # it is people by name that nothing is wrong with
        raise
    return Done(ACCEPTED, f"/requests/{waiting.id}")


@routes.post("/suspensions/<suspension>/narrow", {ACCEPTED: Request}, body=Narrowing)
def narrow(session: Session, suspension: str, *, asked: Narrowing, by: Principal) -> Done:
    """Ask a second person to take a part out of its scope."""
    row = suspensions.find(session, suspension, by=by)
    parts = suspensions.reading.chosen(session, asked.targets, by=by, field="targets")
    waiting = suspensions.ask_narrow(
        session, row, [part.target for part in parts], reason=asked.reason, by=by
    )
    return Done(ACCEPTED, f"/requests/{waiting.id}")


@routes.post("/suspensions/<suspension>/take-back", {OK: Suspension})
def take_back(session: Session, suspension: str, *, by: Principal) -> Done:
    """Undo one's own mistake, within ten minutes of opening it."""
    row = suspensions.find(session, suspension, by=by)
    suspensions.take_back(session, row, by=by)
    return Done(OK, f"/suspensions/{row.id}")

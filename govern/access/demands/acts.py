"""Setting and ending a demand: in force from its commit, or from an instant that is announced.

One demand for the same factor is open over the same thing at a time: to change when it begins, it
is ended and set anew. Ending one lets people in again, but no one whom a suspension holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock, errors, permissions
from govern.access import grants, places
from govern.access.demand_table import Factor, FactorDemand, Kind
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import new_id
from govern.identity import roles

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

LONGEST_REASON = 500


@dataclass(frozen=True, kw_only=True)
class Over:
    """Whom a demand is made of: a role's name, or a client's or project's id with its code."""

    kind: Kind
    id: str
    name: str
    client: str | None = None
    ended: bool = False

    @property
    def reference(self) -> str:
        """`client:ASTER`, as it is typed."""
        return f"{self.kind}:{self.name}"


def over(session: OrmSession, reference: str, *, by: Principal) -> Over:
    """What `role:NAME`, `client:CODE` or `project:CODE` stands for; `Unknown` beyond one's own."""
    kind, _, name = reference.strip().partition(":")
    if kind == Kind.CLIENT:
        client = places.find_client(session, name, by=by)
        return Over(
            kind=Kind.CLIENT, id=client.id, name=client.code, client=client.id,
            ended=client.ended_at is not None,
        )  # fmt: skip
    if kind == Kind.PROJECT:
        project, client = places.find_project(session, name, by=by)
        return Over(
            kind=Kind.PROJECT, id=project.id, name=project.code, client=client.id,
            ended=project.ended_at is not None or client.ended_at is not None,
        )  # fmt: skip
    if kind == Kind.ROLE and name in roles.ASSIGNABLE:
        return Over(kind=Kind.ROLE, id=name, name=name)
    words = ", ".join(f"role:{name}" for name in roles.ASSIGNABLE)
    raise errors.Invalid(f"Name client:CODE, project:CODE, or one of {words}.", field="over")


def find(session: OrmSession, demand_id: str, *, by: Principal) -> FactorDemand:
    """A demand by id; `Unknown` where the caller may not know of it."""
    clients = permissions.require_some(by, "grant:read")
    row = session.get(FactorDemand, demand_id)
    if row is None or (clients is not None and row.client_id not in clients):
        raise errors.Unknown("There is no such demand.", field="demand")
    return row


def impose(
    session: Session,
    over: Over,
    factor: Factor,
    *,
    starts: datetime | None = None,
    reason: str,
    by: Principal,
) -> FactorDemand:
    """Demand a factor of whoever holds the role, or a grant there, now or from `starts` on."""
    now = clock.now(session)
    permissions.require(by, "demand:set", client=over.client, now=now)
    if starts is not None and starts < now:
        raise errors.WindowInvalid("A demand begins now or later.", field="starts")
    if over.ended:
        raise errors.AlreadyEnded(f"{over.name} has ended.", field="over")

    def free(session: OrmSession) -> None:
        same = select(FactorDemand.id).where(
            FactorDemand.target_id == over.id,
            FactorDemand.factor == factor,
            FactorDemand.ended_at.is_(None),
        )
        if session.execute(same).first() is not None:
            raise errors.AlreadyExists(f"{over.name} demands that already.", field="factor")

    free(session)
    row = FactorDemand(
        id=new_id("dem"), kind=over.kind, target_id=over.id, client_id=over.client,
        factor=factor, starts_at=starts,
    )  # fmt: skip
    session.add(row)
    record(
        session,
        EventType.DEMAND_SET,
        logs=[over.client or HOUSE],
        by=by,
        refs=_refs(row),
        data={
            "over": over.kind,
            "role": over.name if over.kind is Kind.ROLE else None,
            "factor": factor,
            "starts_at": clock.text(starts) if starts else None,
        },
        private={"reason": reason[:LONGEST_REASON]},
        stamps=[(row, "recorded_at")],
        recheck=free,
    )
    return row


def end(session: Session, row: FactorDemand, *, reason: str, by: Principal) -> None:
    """Demand it no longer, from the commit on."""
    permissions.require(by, "demand:set", client=row.client_id, now=clock.now(session))

    def open_(session: OrmSession) -> None:
        ended = select(FactorDemand.ended_at).where(FactorDemand.id == row.id)
        if session.execute(ended).scalar_one() is not None:
            raise errors.AlreadyEnded("That demand was ended before.")

    open_(session)
    record(
        session,
        EventType.DEMAND_ENDED,
        logs=[row.client_id or HOUSE],
        by=by,
        refs=_refs(row),
        private={"reason": reason[:LONGEST_REASON]},
        stamps=[(row, "ended_at")],
        recheck=open_,
    )


def _refs(row: FactorDemand) -> dict[str, str | None]:
    return {
        "demand": row.id,
        "client": row.client_id,
        "project": row.target_id if row.kind == Kind.PROJECT else None,
    }


def begun(session: OrmSession, row: FactorDemand) -> bool:
    """Whether a demand counts now."""
    query = select(grants.in_force(FactorDemand)).where(FactorDemand.id == row.id)
    return session.execute(query).scalar_one()

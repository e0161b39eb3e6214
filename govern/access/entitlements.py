"""Entitlements: named bundles of actions. What a name meant then is kept by interval."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Index, and_, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import errors, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Code, Id, new_id, references
from govern.identity import typed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal


class Entitlement(Audited, Base):
    """A name that grants use."""

    __tablename__ = "entitlement"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Code] = mapped_column(unique=True)
    recorded_at: Mapped[datetime] = mapped_column(Utc())


class EntitlementAction(Audited, Base):
    """That an entitlement permits an action, from one entry of the log to another."""

    __tablename__ = "entitlement_action"
    __table_args__ = (Index("ix_entitlement_action_entitlement", "entitlement_id", "action"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    entitlement_id: Mapped[Id] = mapped_column(references("entitlement.id"))
    action: Mapped[Code]
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


def named(session: OrmSession, name: str) -> Entitlement:
    """The entitlement of this name; `Unknown` if there is none."""
    found = session.execute(
        select(Entitlement).where(Entitlement.name == name)
    ).scalar_one_or_none()
    if found is None:
        raise errors.Unknown(f"There is no entitlement “{name}”.", field="entitlement")
    return found


def actions_of(session: OrmSession, entitlement: Entitlement) -> list[EntitlementAction]:
    """What an entitlement permits now."""
    return list(
        session.execute(
            select(EntitlementAction)
            .where(
                EntitlementAction.entitlement_id == entitlement.id,
                EntitlementAction.ended_at.is_(None),
            )
            .order_by(EntitlementAction.action)
        ).scalars()
    )


def meanings(
    session: OrmSession, at: datetime | None = None
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What each entitlement is called and permits, now or at an instant, by its id."""
    then = (
        EntitlementAction.ended_at.is_(None)
        if at is None
        else and_(
            EntitlementAction.recorded_at <= at,
            or_(EntitlementAction.ended_at.is_(None), EntitlementAction.ended_at > at),
        )
    )
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for row, action in session.execute(
        select(Entitlement, EntitlementAction.action)
        .outerjoin(
            EntitlementAction, and_(EntitlementAction.entitlement_id == Entitlement.id, then)
        )
        .order_by(Entitlement.name, EntitlementAction.action)
    ):
        _, actions = found.get(row.id, ("", ()))
        found[row.id] = (row.name, (*actions, action) if action else actions)
    return found


def define(session: Session, name: str, *, actions: Iterable[str], by: Principal) -> Entitlement:
    """Set what an entitlement permits from now on; the same actions again change nothing."""
    permissions.require(by, "catalogue:write")
    name = typed.text(name, field="entitlement", length=80)
    wanted = {typed.text(action, field="action", length=80) for action in actions}
    row = session.execute(select(Entitlement).where(Entitlement.name == name)).scalar_one_or_none()
    stamps: list[tuple[Base, str]] = []
    if row is None:
        row = Entitlement(id=new_id("ent"), name=name)
        session.add(row)
        stamps.append((row, "recorded_at"))
    present = {} if stamps else {item.action: item for item in actions_of(session, row)}
    for action in sorted(wanted - present.keys()):
        item = EntitlementAction(id=new_id("eac"), entitlement_id=row.id, action=action)
        session.add(item)
        stamps.append((item, "recorded_at"))
    stamps += [(present[action], "ended_at") for action in sorted(present.keys() - wanted)]
    if stamps:
        record(
            session,
            EventType.ENTITLEMENT_DEFINED,
            logs=[HOUSE],
            by=by,
            refs={"entitlement": row.id},
            data={"name": name, "actions": sorted(wanted)},
            stamps=stamps,
        )
    return row

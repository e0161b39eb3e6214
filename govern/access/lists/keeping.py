"""Filters kept by name: one's own, or shared with whoever may see the list.

A filter says what to look for and gives nobody anything to see: who opens a shared one sees what
they may.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Index, and_, func, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.clock import Utc
from govern.db import Base, Code, Id, new_id, references, text_column
from govern.identity import typed
from govern.principal import Kind

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.lists.engine import Asked, List
    from govern.db import Session
    from govern.principal import Principal

MOST = 50  # of one person
_SHOWN = 100


class SavedFilter(Base):
    """What a list is narrowed to and its order, under a name; `client_id` None: over everything.

    A shared one is for those who may see what its maker may: of one client, its own people.
    """

    __tablename__ = "saved_filter"
    __table_args__ = (Index("ix_saved_filter_owner", "owner_id", "list"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    owner_id: Mapped[Id] = mapped_column(references("subject.id"))
    list: Mapped[Code]
    name: Mapped[str] = mapped_column(text_column(80))
    filters: Mapped[dict[str, Any]] = mapped_column(JSON)
    sort: Mapped[Code]
    shared: Mapped[bool]
    client_id: Mapped[Id | None]
    recorded_at: Mapped[datetime] = mapped_column(Utc())


def save(
    session: Session,
    listed: List,
    asked: Asked,
    *,
    name: str,
    shared: bool,
    replace: bool = False,
    by: Principal,
) -> SavedFilter:
    """Keep what a list is narrowed to, under a name that is new for that list.

    `AlreadyExists` where one's own of that name says something else, unless one means to `replace`
    it.
    """
    clients = permissions.require_some(by, listed.permission)
    if by.kind is not Kind.SUBJECT:
        raise errors.Forbidden("Filters are kept for people.")
    name = typed.text(name, field="kept_as", length=80)
    own = session.execute(
        select(SavedFilter).where(SavedFilter.owner_id == by.id)
    ).scalars().all()  # fmt: skip
    row = next((one for one in own if (one.list, one.name) == (listed.name, name)), None)
    if row is None:
        if len(own) >= MOST:
            raise errors.Conflict(
                f"You keep {MOST} filters already: drop one first.", field="kept_as"
            )
        row = SavedFilter(
            id=new_id("flt"), owner_id=by.id, list=listed.name, name=name,
            recorded_at=clock.now(session),
        )  # fmt: skip
        session.add(row)
    elif not replace and (row.filters, row.sort) != (asked.filters, asked.sort):
        raise errors.AlreadyExists(
            "You keep another filter of this name. Give this one another name, or say that it "
            "replaces that.",
            field="kept_as",
        )
    row.filters, row.sort, row.shared = dict(asked.filters), asked.sort, shared
    row.client_id = None if clients is None else min(clients)
    return row


def saved(
    session: OrmSession, *, listed: List | None = None, query: str = "", by: Principal
) -> list[SavedFilter]:
    """One's own filters and those shared with one, by name: of a list, or with a part in the name.

    What someone admitted to one client shares, that client's people see, and who may see all.
    """
    mine = SavedFilter.owner_id == by.id
    wanted = select(SavedFilter).order_by(SavedFilter.name, SavedFilter.id).limit(_SHOWN)
    if listed is not None:
        wanted = wanted.where(SavedFilter.list == listed.name)
        clients = permissions.scope(by, listed.permission)
    else:
        clients = permissions.scope(by, "subject:read")
    theirs: ColumnElement[bool] = SavedFilter.shared.is_(True)
    if clients is not None:
        theirs = and_(theirs, SavedFilter.client_id.in_(clients))
    if query:
        part = func.lower(SavedFilter.name).contains(query.lower(), autoescape=True)
        wanted = wanted.where(part)
    return list(session.execute(wanted.where(or_(mine, theirs))).scalars())


def drop(session: Session, filter_id: str, *, by: Principal) -> SavedFilter:
    """Keep a filter of one's own no longer; `Unknown` where it is another's."""
    row = session.get(SavedFilter, filter_id)
    if row is None or row.owner_id != by.id:
        raise errors.Unknown("There is no such filter.")
    session.delete(row)
    return row

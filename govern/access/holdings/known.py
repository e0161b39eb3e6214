"""Whom a caller may know of, how people are found by what is typed, and pages of what is found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, func, or_, select, union_all

from govern import permissions
from govern.access.grants import Grant
from govern.identity.roles import RoleAssignment
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement, CompoundSelect
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

PAGE = 25
_FEW = 5000
_FURTHEST = "\U0010ffff"  # sorts after every text with the same beginning


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some rows of a list, and the key after which the next ones are; None when that is all."""

    rows: list[Any]
    after: str | None


def known_to(clients: frozenset[str]) -> ColumnElement[bool]:
    """Whoever holds or held a grant of some clients, or a role over one of them."""
    return or_(
        *(
            exists()
            .where(table.subject_id == Subject.id, table.client_id.in_(clients))
            .correlate(Subject)
            for table in (Grant, RoleAssignment)
        )
    )


def few_known(session: OrmSession, clients: frozenset[str]) -> bool:
    """Whether some clients have so few grants that these are walked, and not all people."""
    held = select(Grant.id).where(Grant.client_id.in_(clients)).limit(_FEW + 1).subquery()
    number: int = session.execute(select(func.count()).select_from(held)).scalar_one()
    return number <= _FEW


def known_ids(clients: frozenset[str]) -> CompoundSelect[str]:
    """The ids of whom `known_to` tells, for few."""
    return union_all(
        *(
            select(table.subject_id).where(table.client_id.in_(clients))
            for table in (Grant, RoleAssignment)
        )
    )


def matching(query: str) -> ColumnElement[bool]:
    """Id or address begin with what was typed, or the name holds it; ASCII letters of any case."""
    typed = query.strip()
    low = _lowered(typed)
    starts = [begins(Subject.external_id, typed), begins(Subject.email, typed.lower())]
    if typed.upper() != typed:
        starts.append(begins(Subject.external_id, typed.upper()))
    if "@" in typed or re.fullmatch(r"\S*\d\S*", typed):
        return or_(*starts)
    return or_(*starts, func.lower(Subject.full_name).contains(low, autoescape=True))


def begins(column: Any, value: str) -> ColumnElement[bool]:
    """A range rather than LIKE: both databases find it by the index."""
    return and_(column >= value, column < value + _FURTHEST)


def _lowered(value: str) -> str:
    # As both databases lower text that is compared byte by byte.
    return "".join(char.lower() if char.isascii() else char for char in value)


def clients_of(by: Principal, permission: str) -> frozenset[str] | None:
    """The clients over which the caller holds it (None: all); `Forbidden` where over none."""
    clients = permissions.scope(by, permission)
    if clients is not None and not clients:
        permissions.require(by, permission)
    return clients

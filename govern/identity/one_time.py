"""One-time links: the row that a token leads to, while it is open, and whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from govern import clock, errors
from govern.db import Base
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

Link = TypeVar("Link", bound=Base)


def find(
    session: Session, of: type[Link], *whose: ColumnElement[bool], over: str
) -> tuple[Link, Subject]:
    """The open row of a table of links, and its person; else `Unknown`, in the words of `over`."""
    table: Any = of  # with subject_id, expires_at and ended_at
    found = session.execute(
        select(of, Subject)
        .join(Subject, Subject.id == table.subject_id)
        .where(
            *whose,
            table.ended_at.is_(None),
            table.expires_at > clock.instant(),
            Subject.ended_at.is_(None),
        )
    ).one_or_none()
    if found is None:
        raise errors.Unknown(over)
    return found[0], found[1]

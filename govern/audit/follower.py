"""Followers: whoever wants to know follows the logs, each with a cursor of its own in every log.

A cursor moves in the transaction that does what the entries up to it ask for, so each entry is
taken exactly once, whatever crashes. There is no outbox and no queue: the logs are all there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, and_, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from govern.audit.log import Entry, Log
from govern.db import Base, Code, Id, insert_if_absent

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Row
    from sqlalchemy.orm import Session


class FollowerCursor(Base):
    """How many entries of a log a follower has taken; none where there is no row."""

    __tablename__ = "follower_cursor"

    follower: Mapped[Code] = mapped_column(primary_key=True)
    log_id: Mapped[Id] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)


def behind(session: Session, follower: str) -> list[Row[str, int, int]]:
    """The logs that a follower has not taken whole: their ids, its position, their sizes."""
    position = func.coalesce(FollowerCursor.position, 0)
    mine = and_(FollowerCursor.log_id == Log.id, FollowerCursor.follower == follower)
    query = (
        select(Log.id, position, Log.size)
        .outerjoin(FollowerCursor, mine)
        .where(Log.size > position)
        .order_by(Log.id)
    )
    return list(session.execute(query))


def news(
    session: Session, log_id: str, begin: int, end: int, *, types: Collection[str]
) -> list[Row[Any]]:
    """The entries of some types in [begin, end) of a log, in order."""
    return list(
        session.execute(
            select(Entry.at, Entry.type, Entry.actor, Entry.subject_id, Entry.suspension_id)
            .where(
                Entry.log_id == log_id, Entry.seq >= begin, Entry.seq < end, Entry.type.in_(types)
            )
            .order_by(Entry.seq)
        )
    )


def advance(session: Session, follower: str, log_id: str, *, was: int, to: int) -> bool:
    """Move a cursor; False when it stands elsewhere by now, and the entries are not ours to take.

    The cursor's row is locked until the commit.
    """
    insert_if_absent(session, FollowerCursor, follower=follower, log_id=log_id, position=0)
    moved = session.execute(
        update(FollowerCursor)
        .where(
            FollowerCursor.follower == follower,
            FollowerCursor.log_id == log_id,
            FollowerCursor.position == was,
        )
        .values(position=to),
        execution_options={"synchronize_session": False, "preserve_rowcount": True},
    )
    return bool(moved.rowcount == 1)  # type: ignore[attr-defined]  # a DML result has it

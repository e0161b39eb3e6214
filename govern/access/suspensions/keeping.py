"""What a lift would do to a large scope, kept for whoever looks again while nothing has moved.

To ask the rule of each grant of a large client takes seconds, and a page that shows the outcome is
turned and looked at by two. Whatever can change it is recorded in the logs of the scope or in the
house's, or is a window that opens or ends: until then it stands. What is kept is shown and never
acted on: whoever asks for a lift, or approves one, has all of it asked anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import and_, case, cast, exists, false, func, null, or_, select

from govern import clock
from govern.access.grants import Grant
from govern.access.suspensions.admission import INDIFFERENT
from govern.access.suspensions.targets import covered
from govern.audit.log import HOUSE, Entry, Log
from govern.clock import Utc

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.suspensions.reading import Standing

T = TypeVar("T")

_MOST = 64  # scopes of which a process keeps anything


@dataclass(frozen=True)
class _Kept:
    """What was found when logs had these sizes; it holds from one instant until another."""

    sizes: dict[str, int]
    begin: datetime
    until: datetime | None
    found: dict[Hashable, Any]

    def holds(self, now: datetime, sizes: dict[str, int]) -> bool:
        """Whether no window turned since; in a snapshot that is not older."""
        in_time = self.begin <= now and (self.until is None or now < self.until)
        return in_time and all(sizes[log] >= size for log, size in self.sizes.items())


_kept: WeakKeyDictionary[Any, dict[Hashable, _Kept]] = WeakKeyDictionary()


def kept(session: OrmSession, standing: Standing, key: Hashable, find: Callable[[], T]) -> T:
    """What `find` finds of all that a suspension covers, or found before if that still holds.

    `key` tells apart what is found of one suspension. Of people nothing is kept: their grants are
    of any client.
    """
    parts = standing.parts
    name = (standing.suspension.id, *sorted(part.id for part in parts))
    seen: dict[Hashable, _Kept | None] = session.info.setdefault("govern_kept", {})
    if name not in seen:  # once for a snapshot
        among = {part.client for part in parts if part.client}
        whole = all(part.client for part in parts)
        over = covered(part.target for part in parts)
        seen[name] = _standing(session, name, among, over) if whole else None
    one = seen[name]
    if one is None:
        return find()
    if key not in one.found:
        one.found[key] = find()
    found: T = one.found[key]
    return found


def _standing(
    session: OrmSession, name: Hashable, clients: set[str], over: ColumnElement[bool]
) -> _Kept | None:
    """What is kept under a name and holds in this snapshot; None where it just ceased to hold."""
    memory = _kept.setdefault(session.get_bind().engine, {})
    one = memory.pop(name, None)
    now = clock.instant()
    turns, moved = (_until(over, now), false()) if one is None else (null(), _moved(one.sizes))
    wanted: list[Any] = [Log.id, Log.size, now, cast(turns, Utc()), moved]
    rows = session.execute(select(*wanted).where(Log.id.in_([HOUSE, *clients]))).all()
    sizes = {row[0]: row[1] for row in rows}
    _, _, at, until, has_moved = rows[0]
    if one is None:
        one = _Kept(sizes, at, until, {})
    elif has_moved or not one.holds(at, sizes):
        return None
    else:
        one = replace(one, sizes=sizes)
    memory[name] = one
    for old in list(memory)[:-_MOST]:  # of a copy, and once: other threads keep things too
        memory.pop(old, None)
    return one


def _moved(sizes: dict[str, int]) -> ColumnElement[bool]:
    """Whether anything was recorded since logs had some sizes that may change what is kept."""
    newer = or_(*(and_(Entry.log_id == log, Entry.seq >= size) for log, size in sizes.items()))
    return exists().where(newer, Entry.type.not_in(sorted(INDIFFERENT)))


def _until(over: ColumnElement[bool], now: ColumnElement[datetime]) -> Any:
    """When the next window of some grants opens or ends."""
    turns = case((Grant.starts_at > now, Grant.starts_at), else_=Grant.ends_at)
    return (
        select(func.min(turns))
        .where(over, Grant.ended_at.is_(None), Grant.ends_at > now)
        .scalar_subquery()
    )

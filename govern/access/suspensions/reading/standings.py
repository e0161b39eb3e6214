"""How suspensions stand: what each covers by name, in which mode, as far as the caller may know."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, not_, or_, select, true
from sqlalchemy.orm import aliased

from govern import permissions
from govern.access.modes import Mode
from govern.access.suspension_tables import Suspension, SuspensionMode, SuspensionTarget
from govern.access.suspensions.parts import Part, named, part_of
from govern.db import listed, planned_once, written

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the entries of the latest act are written, of how many; `total` may still grow.

    `rate` is how many a second were written since the act, None before the first.
    """

    recorded: int = 0
    total: int = 0
    done: bool = True
    finished_at: datetime | None = None
    rate: float | None = None

    @property
    def left(self) -> int:
        """How many entries are still owed."""
        return self.total - self.recorded

    @property
    def seconds_left(self) -> int | None:
        """About how long it takes yet, when it goes on as it went; None when that is not known."""
        if self.done:
            return 0
        return math.ceil(self.left / self.rate) if self.rate else None


@dataclass(kw_only=True)
class Standing:
    """One suspension: its row, its mode (the last one, once lifted), and the parts one may see.

    `people` are those whom it holds now (`at_least`: there are more); `digest` is that of
    the grants that the opening touched, once all of these are written.
    """

    suspension: Suspension
    mode: Mode
    mode_id: str
    parts: list[Part] = field(default_factory=list)
    progress: Progress = Progress()
    people: int = 0
    at_least: bool = False
    digest: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it still holds."""
        return self.suspension.ended_at is None

    @property
    def names(self) -> list[str]:
        """What it covers now, or covered at the end."""
        return [part.name for part in self.parts if _lasts(part, self.suspension.ended_at)]


def _lasts(part: Part, end: datetime | None) -> bool:
    """Whether a suspension that ended then (None: it did not) covers a part now, or did at last."""
    return part.ended_at is None or part.ended_at == end


def may_see(by: Principal) -> frozenset[str] | None:
    """The clients whose suspensions the caller may see: None for all; `Forbidden` if none."""
    return permissions.require_some(by, "suspension:read")


def seen_by(clients: frozenset[str] | None, *, still: bool = False) -> ColumnElement[bool]:
    """Which suspensions cover or covered, or `still` do, what some clients have; None: all."""
    if clients is None:
        return true()
    parts = named().subquery()
    theirs = select(parts.c.suspension_id).where(parts.c.client.in_(clients))
    return Suspension.id.in_(theirs.where(parts.c.ended_at.is_(None)) if still else theirs)


def newest(session: OrmSession, most: int, *, by: Principal) -> ColumnElement[bool]:
    """The targets of so many open suspensions that the caller may see, those opened last."""
    ids = (
        select(Suspension.id)
        .where(Suspension.ended_at.is_(None), seen_by(may_see(by), still=True))
        .order_by(Suspension.recorded_at.desc(), Suspension.id)
        .limit(written(session, most))
    )
    return SuspensionTarget.suspension_id.in_(select(ids.subquery().c.id))


def open_ones(
    session: OrmSession, *, by: Principal, over: Iterable[ColumnElement[bool]] = ()
) -> list[Standing]:
    """Every open suspension that the caller may see, the newest first.

    `over` narrows it to those with a target that one of the conditions names.
    """
    clients = may_see(by)
    mode = aliased(SuspensionMode)
    query = (
        named()
        .add_columns(Suspension, mode.mode.label("mode"), mode.id.label("mode_id"))
        .join(Suspension, Suspension.id == SuspensionTarget.suspension_id)
        .join(mode, and_(mode.suspension_id == Suspension.id, mode.ended_at.is_(None)))
        .where(SuspensionTarget.ended_at.is_(None))
        .order_by(Suspension.recorded_at.desc(), Suspension.id, SuspensionTarget.id)
    )
    conditions = list(over)
    if conditions:
        query = query.where(or_(*conditions))
    return _gathered(session, query, clients)


def _gathered(
    session: OrmSession, query: Select[Any], clients: frozenset[str] | None
) -> list[Standing]:
    """Parts with their suspension and its mode, gathered by suspension; others' parts left out."""
    found: dict[str, Standing] = {}
    for row in session.execute(planned_once(query)):
        part = part_of(row)
        if clients is not None and part.client not in clients:
            continue
        standing = found.setdefault(
            part.suspension_id,
            Standing(suspension=row.Suspension, mode=Mode(row.mode), mode_id=row.mode_id),
        )
        standing.parts.append(part)
    return list(found.values())


def page(
    session: OrmSession, *, state: str = "", after: str = "", limit: int = 25, by: Principal
) -> tuple[list[Standing], str | None]:
    """Suspensions by id, oldest first, with all their parts; `state` is open, lifted or any ("").

    Also where the next page begins; None when that is all.
    """
    clients = may_see(by)
    wanted = select(Suspension.id).where(Suspension.id > after)
    if state:
        is_open = Suspension.ended_at.is_(None)
        wanted = wanted.where(is_open if state == "open" else not_(is_open))
    wanted = wanted.where(seen_by(clients))
    among = wanted.order_by(Suspension.id).limit(limit + 1).subquery()
    mode = aliased(SuspensionMode)
    last = or_(mode.ended_at.is_(None), mode.ended_at == Suspension.ended_at)
    query = (
        named()
        .add_columns(Suspension, mode.mode.label("mode"), mode.id.label("mode_id"))
        .join(among, among.c.id == SuspensionTarget.suspension_id)
        .join(Suspension, Suspension.id == SuspensionTarget.suspension_id)
        .join(mode, and_(mode.suspension_id == Suspension.id, last))
        .order_by(Suspension.id, SuspensionTarget.id)
    )
    found = _gathered(session, query, clients)
    return found[:limit], found[limit - 1].suspension.id if len(found) > limit else None


def strictest(standings: Iterable[Standing], *ids: str) -> tuple[Mode, datetime] | None:
    """The strictest mode that lies directly over one of some clients, projects or datasets."""
    over = [
        (standing.mode, standing.suspension.recorded_at)
        for standing in standings
        if any(part.target_id in ids for part in standing.parts)
    ]
    order = list(Mode)
    return max(over, key=lambda item: order.index(item[0]), default=None)


def titles(session: OrmSession, ids: Iterable[str], *, by: Principal) -> dict[str, list[str]]:
    """What some suspensions cover now, or covered at the end, by name, as far as one may see it."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    clients = may_see(by)
    among = listed(session, wanted)
    found: dict[str, list[str]] = {}
    query = (
        named()
        .add_columns(Suspension.ended_at.label("end"))
        .join(among, among.c.value == SuspensionTarget.suspension_id)
        .join(Suspension, Suspension.id == SuspensionTarget.suspension_id)
        .order_by(SuspensionTarget.id)
    )
    for row in session.execute(planned_once(query)):
        part = part_of(row)
        if _lasts(part, row.end) and (clients is None or part.client in clients):
            found.setdefault(part.suspension_id, []).append(part.name)
    return found

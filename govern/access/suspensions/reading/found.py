"""Finding one suspension with all that is its own: modes, parts, requests, in one statement."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, String, literal, select, text, union_all

from govern import clock, errors
from govern.access.clients import Client, Dataset
from govern.access.modes import Mode
from govern.access.requests import Request, signature
from govern.access.suspension_tables import (
    ScheduledResume,
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionTarget,
)
from govern.access.suspensions.opening import TAKE_BACK_WITHIN
from govern.access.suspensions.parts import named, part_of
from govern.access.suspensions.reading.standings import Standing, may_see
from govern.audit import EventType, reading
from govern.audit.log import ACTS, HOUSE, Entry
from govern.db import planned_once
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database
    from govern.principal import Principal

# Datasets of its projects that are named; one more tells that there are more.
INSIDE = 101


@dataclass(frozen=True, kw_only=True)
class Found:
    """One suspension, its modes in order, its opener's name, and what awaits a second person.

    `whole` is whether the caller may see all that it covers. `resume` is the last one that was set
    for a time, waiting or ended; `places` are those of the opening's entry in each log, and
    `inside` the first datasets of the projects that it covers, by the project. `concerned` are code
    and name of each client in whose log it is and of which the caller may know, by id.
    """

    standing: Standing
    whole: bool
    opened_by: str
    modes: list[SuspensionMode]
    waiting: list[Request]
    take_back_until: datetime | None
    resume: ScheduledResume | None
    places: dict[str, int]
    inside: dict[str, list[str]]
    concerned: dict[str, tuple[str, str]]

    def inner(self, value: str) -> str:
        """What is told of all clients at once, which may name another than the caller's."""
        return value if self.whole else ""


def find(session: OrmSession, suspension_id: str, *, by: Principal) -> Found:
    """One suspension with the parts that the caller may see; `Unknown` where there are none."""
    clients = may_see(by)
    rows = session.execute(planned_once(_everything(suspension_id))).all()
    everything = sorted(
        (part_of(row[_BEFORE_PARTS:]) for row in rows if row.what == "part"),
        key=lambda part: part.id,
    )
    parts = [part for part in everything if clients is None or part.client in clients]
    if not rows or not parts:
        raise errors.Unknown(f"There is no suspension {suspension_id}.")
    suspension, opener = rows[0].Suspension, rows[0].opener
    modes = [row.SuspensionMode for row in rows if row.what == "mode"]
    modes.sort(key=lambda mode: (mode.recorded_at, mode.id))
    resumes = [row.ScheduledResume for row in rows if row.what == "resume"]
    inside: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.what == "inside":
            inside[row.owner].append(row.own)
    return Found(
        standing=Standing(
            suspension=suspension, mode=Mode(modes[-1].mode), mode_id=modes[-1].id, parts=parts
        ),
        whole=len(parts) == len(everything),
        opened_by=opener or suspension.opened_by,
        modes=modes,
        waiting=_waiting([row.Request for row in rows if row.what == "request"], clients),
        take_back_until=_take_back_until(suspension, by=by),
        resume=max(resumes, key=lambda each: each.recorded_at, default=None),
        places={row.own: row.place for row in rows if row.what == "opened"},
        inside=dict(inside),
        concerned={
            row.own: (row.client_code, row.client_name)
            for row in rows
            if row.client_code is not None and (clients is None or row.own in clients)
        },
    )


def note(database: Database, what: str, found: Found, *, by: Principal) -> None:
    """Leave a row in the access log for each client that it concerns, before it is shown."""
    told = {"suspension": found.standing.suspension.id}
    reading.note_each(database, what, dict.fromkeys(found.concerned or (HOUSE,), told), by=by)


_BEFORE_PARTS = 11


def _everything(suspension_id: str) -> Select[Any]:
    """A row for each thing of a suspension's own, with that thing beside what is the same in all.

    Each is looked up by its key, so there are as many rows as things, and no product of them.
    """
    own = _own(suspension_id).subquery()
    part = named().where(SuspensionTarget.suspension_id == suspension_id).subquery()
    query: Any = (
        select(
            own.c.what, own.c.own, own.c.owner, own.c.place, Suspension,
            Subject.full_name.label("opener"), SuspensionMode, Request, ScheduledResume,
            Client.code.label("client_code"), Client.name.label("client_name"), *part.c,
        )
        .select_from(own)
        .join(Suspension, Suspension.id == literal(suspension_id))
        .outerjoin(Subject, Subject.id == Suspension.opened_by)
        .outerjoin(SuspensionMode, SuspensionMode.id == own.c.own)
        .outerjoin(Request, Request.id == own.c.own)
        .outerjoin(ScheduledResume, ScheduledResume.id == own.c.own)
        .outerjoin(Client, Client.id == own.c.own)
        .outerjoin(part, part.c.id == own.c.own)
    )  # fmt: skip
    found: Select[Any] = query
    return found


def _own(suspension_id: str) -> Any:
    """The keys of all that is a suspension's own, by what it is."""
    nobody, nowhere = literal("", String()), literal(None, BigInteger())

    def each(what: str, table: Any, *tests: Any) -> Any:
        columns = (literal(what).label("what"), table.id.label("own"), nobody.label("owner"))
        return select(*columns, nowhere.label("place")).where(
            table.suspension_id == suspension_id, *tests
        )

    inside = (
        select(
            literal("inside").label("what"), Dataset.id.label("own"),
            Dataset.project_id.label("owner"), nowhere.label("place"),
        )
        .join(SuspensionTarget, SuspensionTarget.target_id == Dataset.project_id)
        .where(
            SuspensionTarget.suspension_id == suspension_id, SuspensionTarget.kind == Scope.PROJECT
        )
        .limit(INSIDE)
        .subquery()
    )  # fmt: skip
    return union_all(
        each("mode", SuspensionMode),
        each("part", SuspensionTarget),
        each("request", Request, Request.ended_at.is_(None)),
        each("resume", ScheduledResume),
        select(literal("opened"), Entry.log_id, nobody, Entry.seq).where(
            Entry.suspension_id == suspension_id,
            text(f"log_entry.{ACTS}"),  # so that its index is taken
            Entry.type == EventType.SUSPENSION_OPENED,
        ),
        select(inside),
    )


def _waiting(rows: list[Request], clients: frozenset[str] | None) -> list[Request]:
    seen = [row for row in rows if clients is None or row.client_id in clients]
    return sorted(seen, key=lambda row: row.recorded_at)


def _take_back_until(opened: Suspension, *, by: Principal) -> datetime | None:
    until = opened.recorded_at + TAKE_BACK_WITHIN
    untouched = opened.ended_at is None and opened.opened_by == signature(by)
    return until if untouched and clock.utcnow() < until else None

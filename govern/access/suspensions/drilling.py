"""Drills: a pause rehearsed on the real data, rolled back, and kept as evidence of how fast it is.

The very opening runs, up to the commit that is not made, and is rolled back at once: it holds the
logs' heads for no longer than a pause does. So do the first few entries of the particulars, for
their rate. Nothing is left of either: no entry, no place in a log, no row; nobody is told. What is
kept is an event of its own, `drill.held`, in the log of each client whose things were rehearsed (in
the house's for people), with what was found of that client alone.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from govern import clock, errors, permissions
from govern.access import names
from govern.access.requests import signature
from govern.access.suspension_tables import Drill, PeopleList, Reason
from govern.access.suspensions import opening, particulars
from govern.access.suspensions.parts import name_of, name_of_list
from govern.access.suspensions.previewing import preview
from govern.access.suspensions.targets import Target, allowed
from govern.audit import EventType, reading
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import listed, new_id
from govern.identity.subjects import Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session as OrmSession

    from govern.access.modes import Mode
    from govern.db import Database, Session
    from govern.principal import Principal

# The opening is rehearsed so often, and the middle one counts: the first may wait for a cold cache.
_TIMES = 3
# A chunk that held others up for less than so many seconds is rehearsed once more: a command that
# just began had its statements to make, which takes longer than to write a few entries.
_SHORT = 0.25


class _RolledBackError(Exception):
    """Carries what was measured out of the transaction that it ends."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found


@dataclass(frozen=True, kw_only=True)
class Share:
    """What the rehearsal found of one log's targets."""

    log: str
    targets: tuple[Target, ...]
    grants: int
    people: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What was measured: from the start of the act to its commit, and entries a second after it.

    `rate` is that of the first `chunk` entries; None where no grant would be touched.
    """

    mode: Mode
    microseconds: int
    chunk: int
    rate: int | None
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Newest:
    """The last drill: which, when, and how long the act took."""

    id: str
    at: datetime
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A drill as people see it; `covers` are names, `log` the client's code or `house`."""

    id: str
    at: datetime
    log: str
    covers: tuple[str, ...]
    mode: str
    milliseconds: float
    rate: int | None
    grants: int
    people: int
    digest: str
    by: str

    @property
    def seconds_to_record(self) -> float | None:
        """How long the particulars would have taken at that rate."""
        return self.grants / self.rate if self.rate else None


def rehearse(
    database: Database, targets: Iterable[Target], *, mode: Mode, by: Principal
) -> Rehearsal:
    """Open a suspension over the targets, and take everything back before the commit.

    Takes the right to open it in earnest. The commit's own time is that of a row of the access log,
    which is made durable in the same way, and says that this was read.
    """
    wanted = list(dict.fromkeys(targets))
    with database.reading() as session:
        allowed(by, wanted, permission="suspension:open", now=clock.now(session))
        shares = tuple(_shares(session, wanted, by=by))
    opened = statistics.median(_opened(database, wanted, mode, by=by) for _ in range(_TIMES))
    begun = time.perf_counter()
    reading.note(database, "drill", detail={"targets": len(wanted)}, by=by)
    committed = time.perf_counter() - begun
    chunk, took = _first_chunk(database, wanted, mode, by=by)
    if 0 < chunk * took < _SHORT:
        chunk, took = _first_chunk(database, wanted, mode, by=by)
    return Rehearsal(
        mode=mode,
        microseconds=round((opened + committed) * 1_000_000),
        chunk=chunk,
        rate=max(round(1 / took), 1) if chunk else None,
        shares=shares,
    )


def keep(session: Session, found: Rehearsal, *, by: Principal) -> list[Drill]:
    """Put a rehearsal on record, in each log concerned."""
    rows = []
    for share in found.shares:
        allowed(by, list(share.targets), permission="suspension:open", now=clock.now(session))
        told = [{"kind": item.kind.value, "id": item.id} for item in share.targets]
        row = Drill(
            id=new_id("drl"), log_id=share.log, mode=found.mode, targets=json.dumps(told),
            microseconds=found.microseconds, rate=found.rate, grants=share.grants,
            people=share.people, digest=share.digest, held_by=signature(by),
        )  # fmt: skip
        session.add(row)
        record(
            session,
            EventType.DRILL_HELD,
            logs=[share.log],
            by=by,
            refs={"drill": row.id, "client": share.log if share.log != HOUSE else None},
            data={
                "mode": found.mode, "targets": told, "microseconds": found.microseconds,
                "chunk": found.chunk, "rate": found.rate, "grants": share.grants,
                "people": share.people, "digest": share.digest,
            },
            stamps=[(row, "recorded_at")],
        )  # fmt: skip
        rows.append(row)
    return rows


def page(
    session: Session, *, after: str = "", limit: int = 25, by: Principal
) -> tuple[list[Shown], str | None]:
    """Drills, the newest first, and where the next page begins; those of one's own clients."""
    clients = permissions.require_some(by, "suspension:read")
    query = select(Drill).order_by(Drill.id.desc()).limit(limit + 1)
    if clients is not None:
        query = query.where(Drill.log_id.in_(clients))
    if after:
        query = query.where(Drill.id < after)
    rows = list(session.execute(query).scalars())
    shown = _shown(session, rows[:limit])
    return shown, rows[limit - 1].id if len(rows) > limit else None


def find(session: Session, drill_id: str, *, by: Principal) -> Shown:
    """One drill; `Unknown` where it is not the caller's to know of."""
    clients = permissions.scope(by, "suspension:read")
    row = session.get(Drill, drill_id)
    if row is None or (clients is not None and row.log_id not in clients):
        raise errors.Unknown("There is no such drill.")
    return _shown(session, [row])[0]


def latest(session: OrmSession, targets: Iterable[Target], *, by: Principal) -> Newest | None:
    """The newest drill of the logs that own some targets, as far as the caller may see them."""
    clients = permissions.scope(by, "suspension:read")
    owners = {item.client or HOUSE for item in targets}
    if clients is not None:
        owners &= clients
    among = select(listed(session, sorted(owners)).c.value)
    query = select(Drill.id, Drill.recorded_at, Drill.microseconds).where(Drill.log_id.in_(among))
    row = session.execute(query.order_by(Drill.id.desc()).limit(1)).first()
    return None if row is None else Newest(row.id, row.recorded_at, row.microseconds / 1000)


def _shares(session: Session, targets: list[Target], *, by: Principal) -> Iterable[Share]:
    for owner in sorted({item.client or HOUSE for item in targets}):
        own = [item for item in targets if (item.client or HOUSE) == owner]
        found = preview(session, own, by=by)
        yield Share(
            log=owner, targets=tuple(own), grants=found.grants, people=found.people,
            digest=found.digest,
        )  # fmt: skip


def _opened(database: Database, targets: list[Target], mode: Mode, *, by: Principal) -> float:
    """Seconds from the start of the act until nothing but the commit is left of it."""

    def work(session: Session) -> None:
        begun = time.perf_counter()
        opening.open(session, targets, mode=mode, reason=Reason.OTHER, by=by)

        def back(session: Session) -> None:
            session.flush()
            raise _RolledBackError(time.perf_counter() - begun)

        session.at_commit(back)  # behind the record, which is written there

    took: float = _back(database, work)
    return took


def _first_chunk(
    database: Database, targets: list[Target], mode: Mode, *, by: Principal
) -> tuple[int, float]:
    """The first few entries of the particulars, and the seconds that each took.

    The opening is not recorded here, so that the heads are locked by the chunk alone.
    """

    def work(session: Session) -> None:
        row = opening.open(session, targets, mode=mode, reason=Reason.OTHER, by=by)
        now = clock.now(session)
        for new in session.new:
            for stamp in ("recorded_at", "as_at"):
                if hasattr(new, stamp):
                    setattr(new, stamp, now)
        session.flush()
        raise _RolledBackError(particulars.rehearse(session, row.id))

    found: tuple[int, float] = _back(database, work)
    return found


def _back(database: Database, work: Any) -> Any:
    try:
        database.transaction(work)
    except _RolledBackError as measured:
        return measured.found
    raise AssertionError("a rehearsal was committed")


def _shown(session: OrmSession, rows: list[Drill]) -> list[Shown]:
    covered = {row.id: json.loads(row.targets) for row in rows}
    ids = {item["id"] for items in covered.values() for item in items}
    given = listed(session, sorted(ids))
    others = (
        select(Organisation.id, Organisation.name).join(given, given.c.value == Organisation.id),
        select(PeopleList.id, name_of_list()).join(given, given.c.value == PeopleList.id),
        select(Subject.id, Subject.external_id).join(given, given.c.value == Subject.id),
    )
    told = ids | {row.log_id for row in rows} | {row.held_by for row in rows}
    called = names.of(session, told, rather=others)
    return [
        Shown(
            id=row.id, at=row.recorded_at, log=called.get(row.log_id, row.log_id),
            covers=tuple(
                name_of(item["kind"], called[item["id"]]) if item["id"] in called else item["id"]
                for item in covered[row.id]
            ),
            mode=row.mode, milliseconds=row.microseconds / 1000, rate=row.rate,
            grants=row.grants, people=row.people, digest=row.digest,
            by=called.get(row.held_by, row.held_by),
        )
        for row in rows
    ]  # fmt: skip

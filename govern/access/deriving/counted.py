"""What is kept of the particulars of acts: how far they are, their digest and how many people.

Receipts, lists of a lift and pages read these instead of the entries themselves; here they are held
against them. In memory is kept what there is of acts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from govern import clock
from govern.access.deriving.spanning import acts, unlike
from govern.access.suspension_tables import Particulars
from govern.access.suspensions.previewing import digest_of
from govern.audit import EventType
from govern.audit.log import HOUSE, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.orm import Session

    Recorded = tuple[str, str, str, int, int, str]

# Acts that leave particulars; of those who moved only what they left behind was held.
_ACTS = (
    EventType.SUSPENSION_OPENED, EventType.SUSPENSION_MODE_CHANGED, EventType.SUSPENSION_LIFTED,
    EventType.SUSPENSION_RELEASED, EventType.SUSPENSION_NARROWED, EventType.SUBJECT_MOVED,
)  # fmt: skip
_COLUMNS = ("suspension_id", "log_id", "event", "as_at", "written", "digest")


def differences(session: Session) -> Iterator[str]:
    """Each set of particulars that is not as the logs have it, in words."""
    at, owed, recorded = _said(session)
    rows = list(session.execute(select(Particulars)).scalars())
    finished = [row for row in rows if row.finished_at is not None]
    yield from unlike(
        "set of particulars",
        _COLUMNS,
        [(*each[:3], at.get((each[1], each[3])), *each[4:]) for each in recorded],
        [
            (row.suspension_id, row.log_id, row.event, row.as_at, row.written,
             digest_of({row.log_id: row.digest}))
            for row in finished
        ],
    )  # fmt: skip
    held = {(row.suspension_id, row.log_id, clock.text(row.as_at)) for row in rows}
    for suspension, log_id, time in sorted(owed - held):
        yield f"Particulars of {suspension} are owed to {log_id} since {time}, and have no row."
    ends = {each[:4]: seq for each, seq in recorded.items()}
    places = {(log_id, time): seq for (log_id, seq), time in at.items()}
    for row in rows:
        begin = places.get((row.log_id, clock.text(row.as_at)))
        name = f"particulars of {row.suspension_id} in {row.log_id}, as at {clock.text(row.as_at)},"
        if begin is None:
            yield f"The {name} are of no act."
        elif row.finished_at is None:
            if row.written != _entries(session, row):
                yield f"The {name} are not so far as their row says."
        elif row.people is not None:
            end = ends.get((row.suspension_id, row.log_id, row.event, begin), begin)
            if row.people != _people(session, row, begin, end):
                yield f"The {name} are not of {row.people} people."


def _said(
    session: Session,
) -> tuple[Mapping[tuple[str, int], str], set[tuple[str, str, str]], Mapping[Recorded, int]]:
    """When the entries of acts are from, what they owe, and the sets that were closed, by place."""
    at: dict[tuple[str, int], str] = {}
    owed: set[tuple[str, str, str]] = set()
    recorded: dict[Recorded, int] = {}
    for batch in acts(session, (*_ACTS, EventType.SUSPENSION_RECORDED)):
        for fields in batch:
            log_id, time, refs, data = (
                fields["log"], fields["time"], fields.get("refs", {}), fields.get("data", {})
            )  # fmt: skip
            if fields["type"] == EventType.SUSPENSION_RECORDED:
                told = (data["event"], data["position"], data["count"], data["digest"])
                recorded[refs["suspension"], log_id, *told] = fields["seq"]
            elif log_id != HOUSE:
                at[log_id, fields["seq"]] = time
                if fields["type"] != EventType.SUBJECT_MOVED:
                    owed.add((refs["suspension"], log_id, time))
    return at, owed, recorded


def _entries(session: Session, row: Particulars) -> int:
    """How many entries there are of an act that is still written; what came before it left some."""
    alike = (
        Particulars.suspension_id == row.suspension_id,
        Particulars.log_id == row.log_id,
        Particulars.event == row.event,
        Particulars.id != row.id,
    )
    others = session.execute(select(func.coalesce(func.sum(Particulars.written), 0)).where(*alike))
    return _number(session, func.count(), row) - int(others.scalar_one())


def _people(session: Session, row: Particulars, begin: int, end: int) -> int:
    return _number(session, func.count(Entry.subject_id.distinct()), row, begin, end)


def _number(
    session: Session, what: Any, row: Particulars, begin: int = 0, end: int | None = None
) -> int:
    query = select(what).where(
        Entry.suspension_id == row.suspension_id, Entry.log_id == row.log_id,
        Entry.type == row.event, Entry.seq >= begin,
    )  # fmt: skip
    if end is not None:
        query = query.where(Entry.seq < end)
    return int(session.execute(query).scalar_one())

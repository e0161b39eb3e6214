"""What a person was ever told: the notices of each suspension that concerned them, unchanged.

Which suspensions did, the log says: it has an entry for each grant that one held. Who is named, or
works on a project of which a dataset was stopped, is told as well. Nobody finds a notice here of a
suspension that came before them, or of a place that is not theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, cast, null, select, type_coerce, union

from govern.access.clients import Dataset, Project
from govern.access.grants import Grant, Moment
from govern.access.suspension_tables import Scope, Suspension, SuspensionTarget, naming
from govern.access.suspensions import notices
from govern.audit import EventType
from govern.audit.log import Entry
from govern.clock import Utc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session as OrmSession

    from govern.access.suspensions.notices import Version

MOST = 50  # suspensions, the latest
_PARTICULARS = (EventType.GRANT_SUSPENDED, EventType.GRANT_REVIEW_REQUIRED)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One suspension of the past or of now: where it concerned the person, and what was said.

    `places` are codes of projects, none where the person themselves is named; `versions` are
    newest first; `until` is None while it is open.
    """

    suspension_id: str
    places: tuple[str, ...]
    since: datetime
    until: datetime | None
    hours_until: datetime | None
    versions: tuple[Version, ...]


def history(
    session: OrmSession, subject_id: str, *, now: Iterable[tuple[str, str]] = ()
) -> list[Told]:
    """The latest suspensions that concerned a person and said something, the latest first.

    `now` are those known to hold them at present and the project's code, for particulars may not be
    written yet.
    """
    held: dict[str, list[str]] = {}
    for suspension_id, code in now:
        held.setdefault(suspension_id, []).append(code)
    concerning = union(
        select(Entry.suspension_id.label("id"), Project.code.label("place"))
        .join(Project, Project.id == Entry.project_id)
        .where(
            Entry.subject_id == subject_id,
            Entry.suspension_id.is_not(None),
            Entry.type.in_(_PARTICULARS),
        ),
        select(SuspensionTarget.suspension_id, cast(null(), Text)).where(
            naming(SuspensionTarget, subject_id)
        ),
        _parts(subject_id),
        select(Suspension.id, cast(null(), Text)).where(Suspension.id.in_(sorted(held))),
    ).subquery()
    rows = session.execute(
        select(Suspension, concerning.c.place)
        .join(concerning, concerning.c.id == Suspension.id)
        .order_by(Suspension.recorded_at.desc(), Suspension.id, concerning.c.place)
    ).all()
    places: dict[str, list[str]] = {}
    found: dict[str, Any] = {}
    for row, place in rows:
        if row.id not in found and len(found) == MOST:
            break
        found[row.id] = row
        places.setdefault(row.id, []).extend([place] if place else [])
    said = notices.versions(session, found, reader=subject_id)
    return [
        Told(
            suspension_id=row.id,
            places=tuple(dict.fromkeys([*places[row.id], *held.get(row.id, ())])),
            since=row.recorded_at, until=row.ended_at, hours_until=row.hours_until,
            versions=tuple(said[row.id]),
        )
        for row in found.values()
        if said[row.id]
    ]  # fmt: skip


def _parts(subject_id: str) -> Any:
    """Suspensions of a dataset of a project that the person held as a whole when it began."""
    then = Moment(at=type_coerce(SuspensionTarget.recorded_at, Utc()))
    held = and_(
        Grant.subject_id == subject_id,
        Grant.dataset_id.is_(None),
        then.stands(Grant),
        Grant.starts_at <= SuspensionTarget.recorded_at,
        Grant.ends_at > SuspensionTarget.recorded_at,
    )
    return (
        select(SuspensionTarget.suspension_id, Project.code)
        .join(Dataset, Dataset.id == SuspensionTarget.target_id)
        .join(Project, Project.id == Dataset.project_id)
        .join(Grant, and_(Grant.project_id == Project.id, held))
        .where(SuspensionTarget.kind == Scope.DATASET)
    )

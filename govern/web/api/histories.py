"""Histories: of a person and of a suspension, and what changed since the last audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.access import histories
from govern.access.modes import Mode
from govern.web import guard
from govern.web.api.effect import TimeToEffect
from govern.web.api.log import Entry
from govern.web.api.routes import Routes
from govern.web.api.shapes import Instant, Paging, Prose, Told, Words
from govern.web.api.who import Interval

if TYPE_CHECKING:
    from govern.db import Session
    from govern.principal import Principal

routes = Routes("histories")


class Ranged(Paging):
    """Which entries."""

    since: Instant | None = Field(default=None, description="From this instant on.")
    until: Instant | None = Field(default=None, description="Before this instant.")


class Pause(Interval):
    """A time in which a suspension stood over a grant."""

    suspension: str
    mode: Mode
    released: bool = Field(description="That it had let this grant out.")


class Grant(Told):
    """A grant with the time in which it stood, and when it permitted to read."""

    grant: str
    subject: str
    external_id: str
    full_name: str
    project: str
    dataset: str | None
    starts_at: Instant
    ends_at: Instant
    intervals: list[Interval]
    pauses: list[Pause]


class Decisions(Told):
    """How often it was decided each way."""

    permitted: int
    refused: int
    first: Instant | None
    last: Instant | None
    whole: bool = Field(description="False: only the newest 1,000 were counted.")


class Following(Told):
    """Entries, newest first."""

    entries: list[Entry]
    next: str | None = Field(description="`after` of the next page; null when this is the last.")


class History(Following):
    """All that is known of one person, of the entries one page."""

    subject: str
    external_id: str
    full_name: str
    grants: list[Grant]
    more_grants: bool
    decisions: Decisions


class Place(Told):
    """One log: from which entry on, and how many it has."""

    log: str
    begin: int
    size: int


class Changes(Following):
    """What was written since."""

    logs: list[Place]
    number: int
    continues: int | None = Field(description="Size of the checkpoint that the log continues.")
    types: dict[str, int] | None = Field(description="Null where there are over 10,000.")


class Part(Told):
    """One thing that was covered."""

    type: str
    code: str
    starts_at: Instant
    ends_at: Instant | None


class ModeOf(Told):
    """A mode and its time."""

    mode: Mode
    starts_at: Instant
    ends_at: Instant | None


class Release(Told):
    """What was let out early."""

    type: str
    code: str
    at: Instant


class Notice(Told):
    """One version of what people were told."""

    number: int
    posted_at: Instant
    known: str
    not_known: str
    next_update_by: Instant | None


class Resume(Told):
    """A lift that was set for a time."""

    at: Instant
    outcome: str
    confirmed_at: Instant | None


class Receipt(Told):
    """Where a client's receipt is."""

    client: str
    path: str


class Record(Told):
    """Everything about one suspension."""

    id: str
    state: Literal["open", "lifted"]
    covers: list[Part]
    modes: list[ModeOf]
    opened_at: Instant
    opened_by: str
    lifted_at: Instant | None
    reason: str
    released: list[Release]
    notices: list[Notice]
    resume: Resume | None
    effect: TimeToEffect
    receipts: list[Receipt]
    entries: list[Entry]


class Since(Paging):
    """Since when: one of `size` (of one log), `checkpoint` and `since`."""

    log: Words = Field(default="", description="A client's code, or `house`; else all readable.")
    size: int | None = Field(default=None, ge=0, le=2**53 - 1)
    checkpoint: Prose = Field(default="", description="A signed note that was kept.")
    since: Instant | None = None


@routes.get("/subjects/<subject>/history", History, query=Ranged)
def history(session: Session, subject: str, *, asked: Ranged, by: Principal) -> History:
    """One person's whole history: grants with what paused them, decisions, and every entry."""
    part = histories.Part(
        begin=asked.since, end=asked.until, after=asked.after, limit=asked.limit
    )  # fmt: skip
    found = histories.of_person(session, subject, part, by=by)
    histories.note(guard.database(), found, by=by)
    return History(**histories.person(session, found))


@routes.get("/log/changes", Changes, query=Since)
def changes(session: Session, *, asked: Since, by: Principal) -> Changes:
    """What was written since the last audit; a log that is not what was signed is refused."""
    found = histories.since(
        session, code=asked.log, size=asked.size, checkpoint=asked.checkpoint, begin=asked.since,
        after=asked.after, limit=asked.limit, by=by,
    )  # fmt: skip
    histories.note(guard.database(), found, by=by)
    return Changes(**histories.changes(session, found))


@routes.get("/suspensions/<suspension>/record", Record)
def record(session: Session, suspension: str, *, by: Principal) -> Record:
    """Everything about one suspension, in one answer."""
    found = histories.of_suspension(session, suspension, by=by)
    histories.note(guard.database(), found, by=by)
    return Record(**histories.record(session, found))

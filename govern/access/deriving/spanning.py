"""Rows that stand from one entry to another: each is held against the entries that say so.

Modes, targets, releases, notices, reviews and set ends of suspensions, drills, roles, demands, what
entitlements mean, clients with their holds and retention, and projects. An act over several clients
has an entry in each of their logs; only together they say what it was. Logs are streamed; in memory
is kept what there is of these things.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from govern import clock
from govern.access.clients import Client, Dataset, Project
from govern.access.demand_table import FactorDemand
from govern.access.entitlements import EntitlementAction
from govern.access.requests import RequestKind
from govern.access.suspension_tables import (
    Drill,
    ScheduledResume,
    Suspension,
    SuspensionMode,
    SuspensionNotice,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.audit import EventType, leaf
from govern.audit.holding import LegalHold
from govern.audit.log import Entry, Value
from govern.audit.retention import AccessRetention
from govern.identity.roles import RoleAssignment

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    Row = tuple[str | int | None, ...]
    Fields = dict[str, Any]

_BATCH = 4096
# Table → what it is called, and the columns that the log tells of.
_TABLES: dict[Any, tuple[str, tuple[str, ...]]] = {
    SuspensionMode: ("mode", ("suspension_id", "mode", "recorded_at", "ended_at")),
    SuspensionTarget: (
        "target", ("suspension_id", "kind", "target_id", "recorded_at", "ended_at"),
    ),
    SuspensionRelease: (
        "release", ("suspension_id", "kind", "target_id", "recorded_at", "ended_at"),
    ),
    SuspensionNotice: (
        "notice", ("id", "suspension_id", "number", "next_update_by", "submit_by", "recorded_at"),
    ),
    Suspension: ("suspension", ("id", "hours_until", "review_by")),
    RoleAssignment: ("role", ("id", "subject_id", "role", "client_id", "ends_at", "recorded_at")),
    FactorDemand: (
        "demand", ("id", "kind", "target_id", "client_id", "factor", "starts_at", "recorded_at"),
    ),
    EntitlementAction: ("action", ("entitlement_id", "action", "recorded_at", "ended_at")),
    Client: ("client", ("id", "recorded_at", "ended_at")),
    Project: ("project", ("id", "client_id", "recorded_at", "ended_at")),
    Dataset: ("dataset", ("id", "project_id", "type", "recorded_at")),
    ScheduledResume: (
        "resume",
        ("suspension_id", "at", "shown_at", "asked_by", "approved_by", "recorded_at",
         "confirmed_by", "confirmed_at", "outcome", "ended_at"),
    ),
    Drill: (
        "drill",
        ("id", "log_id", "mode", "targets", "microseconds", "rate", "grants", "people", "digest",
         "held_by", "recorded_at"),
    ),
    LegalHold: ("hold", ("id", "client_id", "recorded_at", "released_at")),
    AccessRetention: ("retention", ("client_id", "days", "recorded_at")),
}  # fmt: skip


def differences(session: Session) -> Iterator[str]:
    """Each of these rows that is not as the logs made it, in words."""
    told = _Told()
    for batch in acts(session, tuple(_STEPS)):
        for fields in batch:
            try:
                _STEPS[fields["type"]](told, fields)
            except (KeyError, TypeError):
                yield f"Entry {fields.get('seq')} of {fields.get('log')} lacks what it tells of."
    for table, (word, columns) in _TABLES.items():
        rows = session.execute(
            select(*(getattr(table, each) for each in columns)).execution_options(yield_per=_BATCH)
        )
        yield from unlike(word, columns, told.rows[table].values(), rows)


class _Told:
    """What the entries so far say should stand, table by table."""

    def __init__(self) -> None:
        # Table → what tells rows apart → the row; an act comes once from each of its logs.
        self.rows: dict[Any, dict[Row, Row]] = defaultdict(dict)
        self._open: dict[tuple[Any, Row], Row] = {}
        # Request → when a resume was asked for, and by whom; suspension → its resume that waits.
        self.asked: dict[str, tuple[str, str]] = {}
        self.waiting: dict[str, Row] = {}

    def put(self, table: Any, *row: Any, key: int = 1) -> None:
        """A row by its first `key` columns."""
        self.rows[table].setdefault(tuple(row[:key]), tuple(row))

    def begin(self, table: Any, *what: Any, at: str) -> None:
        """Something stands from now on."""
        key = (*what, at)
        if key not in self.rows[table]:
            self.rows[table][key] = (*key, None)
            self._open[table, what] = key

    def end(self, table: Any, *what: Any, at: str) -> None:
        """It does so no longer."""
        key = self._open.pop((table, what), None)
        if key is not None:
            self.rows[table][key] = (*key, at)

    def standing(self, table: Any, *first: Any) -> list[Row]:
        """What stands now, of those that begin so."""
        return [what for kind, what in self._open if kind is table and what[: len(first)] == first]


def acts(session: Session, types: tuple[str, ...]) -> Iterator[list[Fields]]:
    """Batches of entries of some types in the order of their instants, of all logs."""
    rows = session.execute(
        signed(select(Entry.leaf))
        .where(Entry.type.in_(types))
        .order_by(Entry.at, Entry.log_id, Entry.seq)
        .execution_options(yield_per=_BATCH)
    )
    for batch in rows.partitions():
        yield [fields for body, name in batch if (fields := said(body, name, types))]


def signed(query: Any) -> Select[Any]:
    """Let a query of entries tell who acted by name too: the value that their leaf commits to."""
    beside = and_(
        Value.log_id == Entry.log_id, Value.seq == Entry.seq, Value.name == "actor"
    )  # fmt: skip
    told: Select[Any] = query.add_columns(Value.value).outerjoin_from(Entry, Value, beside)
    return told


def said(body: bytes, name: str | None, types: Collection[str]) -> Fields | None:
    """The fields of an entry, `by` being who signed it; None when it is none of these types.

    What an entry is says its leaf; a column that says otherwise is named where logs are.
    """
    fields = leaf.parse(body)
    if not fields or "time" not in fields or fields.get("type") not in types:
        return None
    return fields | {"by": name or fields["actor"]}


# --- what each act says


def _opened(told: _Told, fields: Fields) -> None:
    at, name, data = fields["time"], fields["refs"]["suspension"], fields["data"]
    told.begin(SuspensionMode, name, data["mode"], at=at)
    for each in data.get("targets", ()):
        told.begin(SuspensionTarget, name, each["kind"], each["id"], at=at)
    told.put(Suspension, name, data.get("hours_until"), data.get("review_by"))


def _mode_changed(told: _Told, fields: Fields) -> None:
    at, name, data = fields["time"], fields["refs"]["suspension"], fields["data"]
    if (name, data["mode"], at) not in told.rows[SuspensionMode]:
        told.end(SuspensionMode, name, data["was"], at=at)
        told.begin(SuspensionMode, name, data["mode"], at=at)


def _amended(told: _Told, fields: Fields) -> None:
    key = (fields["refs"]["suspension"],)
    row = told.rows[Suspension].get(key, (*key, None, None))
    told.rows[Suspension][key] = (*row[:2], fields["data"]["review_by"])


def _narrowed(told: _Told, fields: Fields) -> None:
    for each in fields.get("data", {}).get("targets", ()):
        told.end(SuspensionTarget, fields["refs"]["suspension"], each["kind"], each["id"],
                 at=fields["time"])  # fmt: skip


def _released(told: _Told, fields: Fields) -> None:
    data, name = fields.get("data", {}), fields["refs"]["suspension"]
    out = [("subject", each) for each in data.get("people", ())]
    out += [(each["kind"], each["id"]) for each in data.get("targets", ())]
    for kind, target in out:
        told.begin(SuspensionRelease, name, kind, target, at=fields["time"])


def _lifted(told: _Told, fields: Fields) -> None:
    for what in told.standing(SuspensionMode, fields["refs"]["suspension"]):
        told.end(SuspensionMode, *what, at=fields["time"])
    _resume_ended(told, fields, "resumed" if "scheduled" in fields.get("data", {}) else "lifted")


def _asked(told: _Told, fields: Fields) -> None:
    if fields["data"]["kind"] == RequestKind.RESUME:
        told.asked[fields["refs"]["request"]] = fields["time"], fields["by"]


def _scheduled(told: _Told, fields: Fields) -> None:
    name, time = fields["refs"]["suspension"], fields["time"]
    if (name, time) not in told.rows[ScheduledResume]:
        asked = told.asked.get(fields["refs"]["request"], (None, None))
        row = (name, fields["data"]["at"], *asked, fields["by"], time, None, None, None, None)
        told.rows[ScheduledResume][name, time] = row
        told.waiting[name] = (name, time)


def _confirmed(told: _Told, fields: Fields) -> None:
    key = told.waiting.get(fields["refs"]["suspension"])
    if key is not None:
        row = told.rows[ScheduledResume][key]
        told.rows[ScheduledResume][key] = (*row[:6], fields["by"], fields["time"], *row[8:])


def _cancelled(told: _Told, fields: Fields) -> None:
    _resume_ended(told, fields, fields["data"]["outcome"])


def _missed(told: _Told, fields: Fields) -> None:
    """Nobody was let in, and the suspension is looked at now."""
    _resume_ended(told, fields, fields["data"]["outcome"])
    key = (fields["refs"]["suspension"],)
    row = told.rows[Suspension].get(key)
    if row is not None:
        review = min(str(row[2]), fields["data"]["at"])
        told.rows[Suspension][key] = (*row[:2], review)


def _resume_ended(told: _Told, fields: Fields, outcome: str) -> None:
    key = told.waiting.pop(fields["refs"]["suspension"], None)
    if key is not None:
        row = told.rows[ScheduledResume][key]
        told.rows[ScheduledResume][key] = (*row[:8], outcome, fields["time"])


def _drilled(told: _Told, fields: Fields) -> None:
    data = fields["data"]
    targets = json.dumps([{"kind": each["kind"], "id": each["id"]} for each in data["targets"]])
    told.put(Drill, fields["refs"]["drill"], fields["log"], data["mode"], targets,
             data["microseconds"], data.get("rate"), data["grants"], data["people"],
             data["digest"], fields["by"], fields["time"])  # fmt: skip


def _held(told: _Told, fields: Fields) -> None:
    told.begin(LegalHold, fields["data"]["hold"], fields["refs"]["client"], at=fields["time"])


def _let_go(told: _Told, fields: Fields) -> None:
    told.end(LegalHold, fields["data"]["hold"], fields["refs"]["client"], at=fields["time"])


def _kept(told: _Told, fields: Fields) -> None:
    client = fields["refs"]["client"]
    row = (client, fields.get("data", {}).get("days"), fields["time"])
    told.rows[AccessRetention][client,] = row


def _posted(told: _Told, fields: Fields) -> None:
    refs, data = fields["refs"], fields["data"]
    told.put(SuspensionNotice, refs["notice"], refs["suspension"], data["number"],
             data.get("next_update_by"), data.get("submit_by"), fields["time"])  # fmt: skip


def _assigned(told: _Told, fields: Fields) -> None:
    refs, data = fields["refs"], fields["data"]
    told.put(RoleAssignment, refs["role"], refs["subject"], data["role"], refs.get("client"),
             data.get("until"), fields["time"])  # fmt: skip


def _demanded(told: _Told, fields: Fields) -> None:
    refs, data = fields["refs"], fields["data"]
    target = {"role": data.get("role"), "client": refs.get("client")}.get(
        data["over"], refs.get("project")
    )
    told.put(FactorDemand, refs["demand"], data["over"], target, refs.get("client"),
             data["factor"], data.get("starts_at"), fields["time"])  # fmt: skip


def _defined(told: _Told, fields: Fields) -> None:
    name, wanted = fields["refs"]["entitlement"], fields["data"]["actions"]
    present = {str(what[1]) for what in told.standing(EntitlementAction, name)}
    for action in sorted(present - set(wanted)):
        told.end(EntitlementAction, name, action, at=fields["time"])
    for action in sorted(set(wanted) - present):
        told.begin(EntitlementAction, name, action, at=fields["time"])


def _client_created(told: _Told, fields: Fields) -> None:
    told.begin(Client, fields["refs"]["client"], at=fields["time"])


def _client_ended(told: _Told, fields: Fields) -> None:
    told.end(Client, fields["refs"]["client"], at=fields["time"])


def _project_created(told: _Told, fields: Fields) -> None:
    told.begin(Project, fields["refs"]["project"], fields["refs"]["client"], at=fields["time"])


def _project_ended(told: _Told, fields: Fields) -> None:
    told.end(Project, fields["refs"]["project"], fields["refs"]["client"], at=fields["time"])


def _dataset_created(told: _Told, fields: Fields) -> None:
    refs = fields["refs"]
    told.put(Dataset, refs["dataset"], refs["project"], fields.get("data", {}).get("type"),
             fields["time"])  # fmt: skip


_STEPS: dict[str, Callable[[_Told, Fields], None]] = {
    EventType.SUSPENSION_OPENED: _opened,
    EventType.SUSPENSION_MODE_CHANGED: _mode_changed,
    EventType.SUSPENSION_AMENDED: _amended,
    EventType.SUSPENSION_NARROWED: _narrowed,
    EventType.SUSPENSION_RELEASED: _released,
    EventType.SUSPENSION_LIFTED: _lifted,
    EventType.NOTICE_POSTED: _posted,
    EventType.ROLE_ASSIGNED: _assigned,
    EventType.DEMAND_SET: _demanded,
    EventType.ENTITLEMENT_DEFINED: _defined,
    EventType.CLIENT_CREATED: _client_created,
    EventType.CLIENT_ENDED: _client_ended,
    EventType.PROJECT_CREATED: _project_created,
    EventType.PROJECT_ENDED: _project_ended,
    EventType.DATASET_CREATED: _dataset_created,
    EventType.REQUEST_OPENED: _asked,
    EventType.RESUME_SCHEDULED: _scheduled,
    EventType.RESUME_CONFIRMED: _confirmed,
    EventType.RESUME_CANCELLED: _cancelled,
    EventType.RESUME_MISSED: _missed,
    EventType.DRILL_HELD: _drilled,
    EventType.HOLD_SET: _held,
    EventType.HOLD_RELEASED: _let_go,
    EventType.RETENTION_SET: _kept,
}


# --- what stands


def unlike(
    word: str, columns: Sequence[str], told: Iterable[Row], rows: Iterable[Iterable[Any]]
) -> Iterator[str]:
    """Each row that no entry tells, and each that an entry tells and there is not, in words."""
    wanted, found = Counter(told), Counter(_plain(row) for row in rows)
    for row in (found - wanted).elements():
        yield f"{_words(word, columns, row)}: so it stands, and no entry says so."
    for row in (wanted - found).elements():
        yield f"{_words(word, columns, row)}: so it was recorded, and no row says so."


def _plain(row: Iterable[Any]) -> Row:
    return tuple(clock.text(each) if isinstance(each, datetime) else each for each in row)


def _words(word: str, columns: Sequence[str], row: Row) -> str:
    pairs = zip(columns, row, strict=True)
    told = ", ".join(f"{name} {value}" for name, value in pairs if value is not None)
    return f"{'An' if word[0] in 'aeiou' else 'A'} {word}, {told}"

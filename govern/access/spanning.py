"""Rows that stand from one entry to another: each is held against the entries that say so.

Modes, targets, releases, notices and reviews of suspensions, roles, demands, what entitlements
mean, clients and projects, and to which organisation people belong. An act over several clients
has an entry in each of their logs; only together they say what it was. Logs are streamed; in
memory is kept what there is of these things, and of people those who moved.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from govern import clock
from govern.access.clients import Client, Dataset, Project
from govern.access.demand_table import FactorDemand
from govern.access.entitlements import EntitlementAction
from govern.access.suspension_tables import (
    Suspension,
    SuspensionMode,
    SuspensionNotice,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.audit import EventType, leaf
from govern.audit.log import Entry
from govern.db import listed
from govern.identity.roles import RoleAssignment
from govern.identity.subjects import Membership, Subject

if TYPE_CHECKING:
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
}  # fmt: skip


def differences(session: Session) -> Iterator[str]:
    """Each of these rows that is not as the logs made it, in words."""
    told = _Told()
    for batch in _acts(session, tuple(_STEPS)):
        for fields in batch:
            _STEPS[fields["type"]](told, fields)
    for table, (word, columns) in _TABLES.items():
        yield from _compared(session, table, word, columns, told.rows[table])
    yield from _memberships(session)


class _Told:
    """What the entries so far say should stand, table by table."""

    def __init__(self) -> None:
        # Table → what tells rows apart → the row; an act comes once from each of its logs.
        self.rows: dict[Any, dict[Row, Row]] = defaultdict(dict)
        self._open: dict[tuple[Any, Row], Row] = {}

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


def _acts(session: Session, types: tuple[str, ...]) -> Iterator[list[Fields]]:
    """Batches of entries of some types in the order of their instants, of all logs."""
    rows = session.execute(
        select(Entry.leaf)
        .where(Entry.type.in_(types))
        .order_by(Entry.at, Entry.log_id, Entry.seq)
        .execution_options(yield_per=_BATCH)
    ).scalars()
    for batch in rows.partitions():
        yield [fields for body in batch if (fields := leaf.parse(body)) and "time" in fields
               and fields.get("type") in types]  # fmt: skip


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
}


# --- what stands


def _compared(
    session: Session, table: Any, word: str, columns: tuple[str, ...], told: dict[Row, Row]
) -> Iterator[str]:
    wanted = Counter(told.values())
    rows = session.execute(
        select(*(getattr(table, column) for column in columns)).execution_options(yield_per=_BATCH)
    )
    found = Counter(_plain(row) for row in rows)
    for row in (found - wanted).elements():
        yield f"{_words(word, columns, row)}: so it stands, and no entry says so."
    for row in (wanted - found).elements():
        yield f"{_words(word, columns, row)}: so it was recorded, and no row says so."


def _memberships(session: Session) -> Iterator[str]:
    """To which organisation people belong, thousands at a time."""
    moved: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for batch in _acts(session, (EventType.SUBJECT_MOVED,)):
        for fields in batch:
            move = (fields["time"], fields["refs"]["organisation"])
            if move not in moved[fields["refs"]["subject"]]:
                moved[fields["refs"]["subject"]].append(move)
    word, columns = "membership", ("subject_id", "organisation_id", "recorded_at", "ended_at")
    known = 0
    for batch in _acts(session, (EventType.SUBJECT_REGISTERED,)):
        known += len(batch)
        told: dict[Row, Row] = {}
        for fields in batch:
            subject = fields["refs"]["subject"]
            steps = [(fields["time"], fields["refs"]["organisation"]), *moved[subject]]
            ends = [*(at for at, _ in steps[1:]), None]
            for (at, organisation), end in zip(steps, ends, strict=True):
                told[subject, at] = (subject, organisation, at, end)
        given = listed(session, sorted({str(subject) for subject, _ in told}))
        rows = session.execute(
            select(*(getattr(Membership, column) for column in columns)).join(
                given, given.c.value == Membership.subject_id
            )
        )
        wanted, found = Counter(told.values()), Counter(_plain(row) for row in rows)
        for row in (found - wanted).elements():
            yield f"{_words(word, columns, row)}: so it stands, and no entry says so."
        for row in (wanted - found).elements():
            yield f"{_words(word, columns, row)}: so it was recorded, and no row says so."
    count = session.execute(select(func.count()).select_from(Subject)).scalar_one()
    if count != known:
        yield f"{count} people stand, and {known} were registered."


def _plain(row: Iterable[Any]) -> Row:
    return tuple(clock.text(each) if isinstance(each, datetime) else each for each in row)


def _words(word: str, columns: tuple[str, ...], row: Row) -> str:
    pairs = zip(columns, row, strict=True)
    told = ", ".join(f"{name} {value}" for name, value in pairs if value is not None)
    return f"{'An' if word[0] in 'aeiou' else 'A'} {word}, {told}"

"""Requests, approvals and policies as the logs tell them: each row that says otherwise is named.

Logs are streamed; in memory is kept which requests, approvals and policies there were, by id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from govern import clock
from govern.access.asking.tables import Openness, RequestApproval, RequestPolicy
from govern.access.requests import Request
from govern.audit import EventType, leaf
from govern.audit.log import Entry
from govern.db import listed

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

Fields = dict[str, Any]
_BATCH = 2048
_CLOSING = frozenset({
    EventType.REQUEST_APPROVED, EventType.REQUEST_WITHDRAWN, EventType.REQUEST_DIED,
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What is told of a table: the word and the reference that name a row, and the types."""

    word: str
    table: Any
    making: EventType
    ending: frozenset[EventType]


_TABLES = (
    _Told(word="request", table=Request, making=EventType.REQUEST_OPENED, ending=_CLOSING),
    _Told(
        word="approval", table=RequestApproval, making=EventType.REQUEST_ENDORSED,
        ending=frozenset(),
    ),
    _Told(
        word="policy", table=RequestPolicy, making=EventType.REQUEST_POLICY_SET,
        ending=frozenset({EventType.REQUEST_POLICY_ENDED}),
    ),
)  # fmt: skip


def differences(session: Session) -> Iterator[str]:
    """Each of these rows that is not as the logs made it, in words."""
    for each in _TABLES:
        yield from _of(session, each)


def _of(session: Session, told: _Told) -> Iterator[str]:
    word = told.word
    made: set[str] = set()
    ended: set[str] = set()
    for batch in _batches(session, told.ending | {told.making}):
        named = [fields for fields in batch if fields["refs"].get(word)]
        rows = _rows(session, told.table, (fields["refs"][word] for fields in named))
        for fields in named:
            name = fields["refs"][word]
            row = rows.get(name)
            if fields["type"] != told.making:
                ended.add(name)
                if row is not None and not _same_end(row, fields):
                    yield f"The {word} {name} ended at {fields['time']}; its row says otherwise."
                continue
            made.add(name)
            if row is None:
                yield f"The {word} {name} was recorded, and has no row."
            elif not _SAME[word](row, fields):
                yield f"The row of the {word} {name} is not what was recorded."
    columns = told.table.__table__.columns
    wanted = select(columns.id, *([columns.ended_at] if "ended_at" in columns else []))
    for name, *end in session.execute(wanted.execution_options(yield_per=_BATCH)):
        if name not in made:
            yield f"The {word} {name} has a row, and no entry made it."
        elif end and end[0] is not None and name not in ended:
            yield f"The {word} {name} is ended by its row, and by no entry."


def _batches(session: Session, types: Iterable[EventType]) -> Iterator[list[Fields]]:
    wanted: set[Any] = {str(each) for each in types}
    rows = session.execute(
        select(Entry.leaf)
        .where(Entry.type.in_(sorted(types)))
        .order_by(Entry.log_id, Entry.seq)
        .execution_options(yield_per=_BATCH)
    )
    for batch in rows.scalars().partitions():
        parsed = [leaf.parse(body) for body in batch]
        # What an entry is says its leaf; a column that says otherwise is named where logs are.
        yield [fields for fields in parsed if fields and fields.get("type") in wanted]


def _rows(session: Session, table: Any, names: Iterable[str]) -> dict[str, Any]:
    given = listed(session, sorted(set(names)))
    columns = table.__table__.columns
    found = session.execute(select(*columns).join(given, given.c.value == table.id))
    return {row.id: row for row in found}


def _time(at: datetime | None) -> str | None:
    return clock.text(at) if at is not None else None


def _actor(who: str) -> str:
    """What an entry calls someone: who sat at the machine is committed to, and not named."""
    return who.partition(":")[0]


def _same_request(row: Any, fields: Fields) -> bool:
    refs, data = fields["refs"], fields.get("data", {})
    told = (
        data["kind"], data["number"], data.get("expires_at"), refs.get("client"),
        refs.get("subject"), refs.get("suspension"), fields["time"], fields["actor"],
    )  # fmt: skip
    is_now = (
        row.kind, row.number, _time(row.expires_at), row.client_id, row.subject_id,
        row.suspension_id, _time(row.recorded_at), _actor(row.asked_by),
    )  # fmt: skip
    # Entries from before access was asked for by its project name none.
    placed = "project" not in refs or (
        (refs["project"], refs.get("dataset")) == (row.project_id, row.dataset_id)
    )
    return bool(told == is_now and placed)


def _same_approval(row: Any, fields: Fields) -> bool:
    told = (fields["refs"]["request"], fields["time"], fields["actor"])
    return bool(told == (row.request_id, _time(row.recorded_at), _actor(row.approved_by)))


def _same_policy(row: Any, fields: Fields) -> bool:
    data = fields["data"]
    told = (
        data["over"], data["roles"], data["people"], data["leads"], data["needed"],
        data["pausing"], data["days"], data.get("open_to", Openness.KNOWN), fields["time"],
        fields["refs"].get("client"),
    )  # fmt: skip
    return told == (
        row.kind, row.roles, row.people, row.leads, row.needed, row.pausing, row.days,
        row.open_to, _time(row.recorded_at), row.client_id,
    )  # fmt: skip


_SAME: dict[str, Callable[[Any, Fields], bool]] = {
    "request": _same_request,
    "approval": _same_approval,
    "policy": _same_policy,
}


def _same_end(row: Any, fields: Fields) -> bool:
    outcome = fields.get("data", {}).get("outcome")
    return bool(_time(row.ended_at) == fields["time"] and getattr(row, "outcome", None) == outcome)

"""Reading the logs: newest first, over all that one may read, a page at a time.

Every function asks for the permission first. A page is found by place and never by counting: its
cursor says how far it has come in each log. Nothing is told of a log that the caller may not read,
not even that it exists.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select, text, union_all

from govern import clock, errors, permissions
from govern.audit import decisions, leaf, log
from govern.audit.decisions import AccessKind
from govern.audit.log import ACTS, HOUSE, Checkpoint, Entry, Value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from govern.audit.export import Filter
    from govern.db import Database
    from govern.principal import Principal

# Logs that one page merges: a statement grows with each.
MOST = 24


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One entry as a reader sees it; `values` are its personal values, None where erased."""

    log: str
    seq: int
    at: datetime
    type: str
    actor: str
    leaf: str
    refs: dict[str, str]
    data: dict[str, Any]
    values: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Entries, newest first, and the cursor of the next page (None: that is all)."""

    entries: list[Shown]
    after: str | None


def readable(session: Session, *, by: Principal) -> list[str]:
    """The logs that the caller may read, by id: a client's own, or all; `Forbidden` if none."""
    clients = permissions.require_some(by, "log:read")
    if clients is not None:
        return sorted(clients)
    return [head.id for head in log.logs(session)]


def entries(
    session: Session,
    logs: Sequence[str],
    *,
    where: Filter,
    first: Mapping[str, int] | None = None,
    after: str = "",
    limit: int = 50,
    by: Principal,
) -> Page:
    """The newest entries of these logs that fit the filter, behind the cursor `after`.

    `first` is the place in each log before which nothing is read. `Unknown` when one of the logs is
    not the caller's to read. At most `MOST` logs at once.
    """
    for log_id in logs:
        _may_read(by, log_id)
    places = _places(after)
    rows = _with_values(session, _merged(logs, where, first or {}, places, limit + 1))
    more, rows = len(rows) > limit, rows[:limit]
    for row in rows:
        places[row.log] = row.seq
    return Page(
        entries=rows,
        after="~".join(f"{log_id}.{seq}" for log_id, seq in places.items()) if more else None,
    )


def of_suspension(
    session: Session, suspension_id: str, *, by: Principal, limit: int = 200
) -> list[Shown]:
    """The acts on one suspension as the readable logs have them, newest first; no particulars."""
    clients = permissions.require_some(by, "log:read")
    wanted: Any = (
        select(Entry.log_id, Entry.seq, Entry.at, Entry.type, Entry.actor, Entry.leaf)
        .where(Entry.suspension_id == suspension_id, text(ACTS))
        .order_by(Entry.at.desc(), Entry.log_id)
        .limit(limit)
    )
    if clients is not None:
        wanted = wanted.where(Entry.log_id.in_(clients))
    return _with_values(session, wanted)


def _with_values(session: Session, wanted: Select[Any]) -> list[Shown]:
    """Some entries with their values, the newest first, in one statement."""
    page = wanted.subquery()
    rows = session.execute(
        select(page, Value.name, Value.value)
        .outerjoin(Value, and_(Value.log_id == page.c.log_id, Value.seq == page.c.seq))
        .order_by(page.c.at.desc(), page.c.log_id.desc(), page.c.seq.desc())
    )
    found: dict[tuple[str, int], Any] = {}
    values: dict[tuple[str, int], dict[str, str | None]] = defaultdict(dict)
    for row in rows:
        key = (row.log_id, row.seq)
        found[key] = row
        if row.name is not None:
            values[key][row.name] = row.value
    return [_shown(row, values[key]) for key, row in found.items()]


def is_known(session: Session, subject_id: str, *, by: Principal) -> bool:
    """Whether any log that the caller may read tells of this person."""
    told = select(Entry.seq).where(Entry.subject_id == subject_id).limit(1)
    clients = permissions.scope(by, "log:read")
    if clients is not None:
        told = told.where(Entry.log_id.in_(clients))
    return session.execute(told).first() is not None


def size_at(session: Session, log_id: str, at: datetime | None, *, by: Principal) -> int:
    """How many entries a log had at an instant, or has now."""
    _may_read(by, log_id)
    query = select(func.coalesce(func.max(Entry.seq) + 1, 0)).where(Entry.log_id == log_id)
    return session.execute(query if at is None else query.where(Entry.at <= at)).scalar_one()


def checkpoints(session: Session, *, by: Principal) -> list[Checkpoint]:
    """The newest signed head of each log that the caller may export."""
    clients = permissions.scope(by, "log:export")
    newest = (
        select(Checkpoint.log_id, func.max(Checkpoint.size).label("size"))
        .group_by(Checkpoint.log_id)
        .subquery()
    )
    rows = session.execute(
        select(Checkpoint)
        .join(newest, and_(newest.c.log_id == Checkpoint.log_id, newest.c.size == Checkpoint.size))
        .order_by(Checkpoint.log_id)
    ).scalars()
    return [row for row in rows if clients is None or row.log_id in clients]


def note(
    database: Database, what: str, *, subject: str | None = None, client: str | None = None,
    detail: dict[str, Any] | None = None, by: Principal,
) -> None:  # fmt: skip
    """Leave the row in the access log that says what is being read, before it is answered.

    `RecordFailed` when it cannot be written: then nothing may be shown. Nothing in `detail` may be
    a personal value.
    """
    decisions.write(database, [_row(what, subject, client, detail, by=by)])


def note_each(
    database: Database, what: str, details: Mapping[str, dict[str, Any]], *,
    subject: str | None = None, by: Principal,
) -> None:  # fmt: skip
    """The same of several logs, each with the detail that is its own; none: of no client's.

    So every client's evidence has who read of it, and nothing of what was read of others with it.
    """
    rows = [
        _row(what, subject, None if log_id == HOUSE else log_id, detail, by=by)
        for log_id, detail in (details or {HOUSE: {}}).items()
    ]
    decisions.write(database, rows)


def note_page(
    database: Database, what: str, logs: Collection[str], page: Page, *, where: Filter,
    by: Principal,
) -> None:  # fmt: skip
    """The same of a page of these logs: of a single one asked for, else of those it shows."""
    shown = sorted({row.log for row in page.entries}) if len(logs) > 1 else logs
    told = {"filter": where.words()}
    note_each(database, what, dict.fromkeys(shown, told), subject=where.subject, by=by)


def _row(
    what: str, subject: str | None, client: str | None, detail: dict[str, Any] | None, *,
    by: Principal,
) -> dict[str, Any]:  # fmt: skip
    return {
        "at": clock.utcnow(), "kind": AccessKind.READ, "principal": by.id, "session_id": by.session,
        "subject_id": subject, "client_id": client, "resource_id": None, "action": what,
        "permit": None, "reason": None, "as_of": None, "house_as_of": None, "worked_at": None,
        "detail": leaf.canonical(detail).decode() if detail else None,
    }  # fmt: skip


def _may_read(by: Principal, log_id: str) -> None:
    permissions.require(by, "log:read", client=None if log_id == HOUSE else log_id)


def _merged(
    logs: Sequence[str], where: Filter, first: Mapping[str, int], places: dict[str, int], limit: int
) -> Select[Any]:
    """The newest of each log, each read backwards along its key from where the cursor is."""
    heads = []
    for log_id in logs:
        newest = select(
            Entry.log_id, Entry.seq, Entry.at, Entry.type, Entry.actor, Entry.leaf
        ).where(Entry.log_id == log_id, *where.conditions())
        if log_id in places:
            newest = newest.where(Entry.seq < places[log_id])
        if first.get(log_id):
            newest = newest.where(Entry.seq >= first[log_id])
        heads.append(select(newest.order_by(Entry.seq.desc()).limit(limit).subquery()))
    both = union_all(*heads).subquery()
    merged = select(both).order_by(both.c.at.desc(), both.c.log_id.desc(), both.c.seq.desc())
    return merged.limit(limit)


def _places(after: str) -> dict[str, int]:
    places = {}
    for part in filter(None, after.split("~")):
        log_id, _, seq = part.partition(".")
        if not (seq.isascii() and seq.isdigit() and len(seq) < 19):  # noqa: PLR2004 - 63 bits
            raise errors.Invalid("after: this is no place in the log", field="after")
        places[log_id] = int(seq)
    return places


def _shown(row: Any, values: dict[str, str | None]) -> Shown:
    fields = leaf.parse(row.leaf) or {}
    committed = dict.fromkeys(fields.get("commit", {}))
    return Shown(
        log=row.log_id, seq=row.seq, at=row.at, type=row.type, actor=row.actor,
        leaf=row.leaf.decode(errors="replace"), refs=fields.get("refs", {}),
        data=fields.get("data", {}), values=committed | values,
    )  # fmt: skip

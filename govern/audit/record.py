"""`record()`: a change and its entry share one transaction, or neither happens.

An operation queues its entries; just before the commit the heads of the logs concerned are locked
in id order, the operation's preconditions are asked again in new statements, every entry gets its
place and instant, the facts that it records are stamped with that instant, and all is written.

The guard: a change of an audited row that no queued entry covers raises `UnauditedChange`, and so
does any bulk statement on an audited table that does not say which operation records it.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Delete, Insert, Update, event, inspect
from sqlalchemy import exc as sa_exc

from govern import clock, errors
from govern.audit import leaf, rows
from govern.audit.heads import lock, move, moving, next_instant
from govern.audit.log import Entry, Value
from govern.db import Audited, Base, Session, insert_many, is_transient, together
from govern.prepared import Keeping
from govern.tlog import merkle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Table
    from sqlalchemy.orm import ORMExecuteState
    from sqlalchemy.orm import Session as OrmSession

    from govern.audit.events import EventType
    from govern.audit.heads import Head
    from govern.db import Inquiry
    from govern.principal import Principal

# Marks a bulk statement whose operation writes the entries itself.
RECORDED = {"govern_recorded": True}
# Leaves made in one go.
_TOGETHER = 250


@dataclass(frozen=True, kw_only=True)
class _Queued:
    type: EventType
    logs: tuple[str, ...]
    by: Principal
    refs: dict[str, str]
    data: dict[str, Any]
    own: dict[str, dict[str, Any]]
    private: dict[str, str]
    about: str | None
    covers: tuple[Base, ...]
    stamps: tuple[tuple[Base, str], ...]


@dataclass(kw_only=True)
class _Unit:
    """What one transaction will write."""

    queue: list[_Queued] = field(default_factory=list)
    asked: list[Inquiry[None]] = field(default_factory=list)
    rechecks: list[Callable[[Session], datetime | None]] = field(default_factory=list)
    changed: dict[tuple[Any, ...], str] = field(default_factory=dict)


def _unit(session: OrmSession) -> _Unit:
    unit: _Unit = session.info.setdefault("govern_unit", _Unit())
    return unit


def record(
    session: Session,
    type: EventType,
    *,
    logs: Iterable[str],
    by: Principal,
    refs: dict[str, str | None] | None = None,
    data: dict[str, Any] | None = None,
    own: dict[str, dict[str, Any]] | None = None,
    private: dict[str, str | None] | None = None,
    about: str | None = None,
    covers: Iterable[Base] = (),
    stamps: Iterable[tuple[Base, str]] = (),
    recheck: Callable[[Session], datetime | None] | None = None,
    asked: Iterable[Inquiry[None]] = (),
) -> None:
    """Queue one event for each of `logs`; nothing is written before the commit.

    `refs` are opaque ids, `data` no one's personal value, `own` more of it for some log alone: what
    another client's log may not name. `private` values enter as commitments,
    and may be erased with the person they are `about`. `covers` are the audited rows whose change
    this is the record of; `stamps` name the columns that take the entry's instant. `recheck`
    raises when, seen afresh under the heads' locks, the operation may no longer be; so do those
    that are `asked`, all in one statement. Where it waits for more locks it returns the instant at
    which it had them: what is recorded is no older.
    """
    unit = _unit(session)
    stamps = tuple(stamps)
    values = {name: value for name, value in (private or {}).items() if value}
    if by.name:
        values["actor"] = by.name
    unit.queue.append(
        _Queued(
            type=type,
            logs=tuple(dict.fromkeys(logs)),
            by=by,
            refs={name: value for name, value in (refs or {}).items() if value},
            data={name: value for name, value in (data or {}).items() if value is not None},
            own=own or {},
            private=values,
            about=about,
            covers=(*covers, *(row for row, _ in stamps)),
            stamps=stamps,
        )
    )
    if recheck is not None:
        unit.rechecks.append(recheck)
    unit.asked.extend(asked)
    session.at_commit(_write)


_ENTRIES, _VALUES = cast("Table", Entry.__table__), cast("Table", Value.__table__)


def _write(session: Session) -> None:
    unit = _unit(session)
    heads = lock(session, (log for queued in unit.queue for log in queued.logs))
    _ask(session, unit.asked)
    held_at = [at for recheck in unit.rechecks if (at := recheck(session)) is not None]
    at = max([next_instant(heads.values()), *held_at])
    entries: list[dict[str, Any]] = []
    values: list[dict[str, Any]] = []
    for queued in unit.queue:
        for row, column in queued.stamps:
            setattr(row, column, at)
        for log_id in queued.logs:
            _add(heads[log_id], queued, at, entries, values)
        at += clock.TICK
    _note_changes(session)
    *others, last = heads.values()
    with _writing():
        move(session, others)
        then, moved = moving(last)
        rows.write(session, {_ENTRIES: entries, _VALUES: values}, then=then, **moved)


def _ask(session: OrmSession, asked: Iterable[Inquiry[None]]) -> None:
    """Ask in one statement, or one more where two have a parameter of the same name."""
    groups: list[list[Inquiry[None]]] = []
    names: set[str] = set()
    for inquiry in asked:
        own = set(inquiry.given or ())
        if not groups or own & names:
            groups.append([])
            names = set()
        groups[-1].append(inquiry)
        names |= own
    for group in groups:
        together(Keeping(session.connection()), *group)


@contextmanager
def _writing() -> Iterator[None]:
    """Say what it means when entries cannot be written, unless the same may succeed anew."""
    try:
        yield
    except sa_exc.DBAPIError as error:
        if is_transient(error):
            raise
        raise errors.RecordFailed(
            "The record could not be written, so nothing was done."
        ) from error


def _add(
    head: Head,
    queued: _Queued,
    at: datetime,
    entries: list[dict[str, Any]],
    values: list[dict[str, Any]],
) -> None:
    commit = {}
    for name, value in queued.private.items():
        salt = leaf.salt()
        commit[name] = leaf.commitment(salt, value)
        values.append(
            {
                "log_id": head.id,
                "seq": head.size,
                "name": name,
                "about": queued.about,
                "salt": salt,
                "value": value,
            }
        )
    entry = make_entry(
        log=head.id,
        seq=head.size,
        at=at,
        type=queued.type,
        actor=queued.by.id,
        session=queued.by.session,
        refs=queued.refs,
        data=queued.data | queued.own.get(head.id, {}),
        commit=commit,
    )
    entries.append(dict(zip(ENTRY_COLUMNS, entry, strict=True)))
    head.size += 1
    head.last_at = at


ENTRY_COLUMNS = tuple(column.name for column in Entry.__table__.columns)


def make_entry(
    *,
    log: str,
    seq: int,
    at: datetime,
    type: str,
    actor: str,
    session: str | None,
    refs: dict[str, str],
    data: dict[str, Any],
    commit: dict[str, str],
) -> tuple[Any, ...]:
    """One row of `log_entry`, in the order of its columns."""
    body = leaf.build(
        log=log,
        seq=seq,
        time=clock.text(at),
        type=type,
        actor=actor,
        session=session,
        refs=refs,
        data=data,
        commit=commit,
    )
    if len(body) > leaf.MAX_BYTES:
        raise errors.RecordFailed("The record of this act would be too long; nothing was done.")
    return (
        log,
        seq,
        at,
        type,
        actor,
        refs.get("subject"),
        refs.get("project"),
        refs.get("suspension"),
        body,
        merkle.leaf_hash(body),
    )


@dataclass(frozen=True, kw_only=True)
class Line:
    """One event of a bulk operation, which stamps its facts itself."""

    type: str
    refs: dict[str, str]
    data: dict[str, Any] = field(default_factory=dict)
    private: dict[str, str] = field(default_factory=dict)
    about: str | None = None


def append_many(
    session: OrmSession, log_id: str, lines: Sequence[Line], *, by: Principal
) -> datetime:
    """Append in bulk to one log, under its head's lock, in this transaction.

    The entries carry consecutive instants, a tick apart; returns the first one's.
    """
    head = lock(session, [log_id])[log_id]
    first = next_instant([head])
    entries: list[tuple[Any, ...]] = []
    values: list[tuple[Any, ...]] = []
    name = {"actor": by.name} if by.name else {}
    for offset, line in enumerate(lines):
        place, commit = head.size + offset, {}
        for item, value in (line.private | name).items():
            salt = leaf.salt()
            commit[item] = leaf.commitment(salt, value)
            values.append((log_id, place, item, line.about, salt, value))
        entries.append(
            make_entry(
                log=log_id,
                seq=place,
                at=first + offset * clock.TICK,
                type=line.type,
                actor=by.id,
                session=by.session,
                refs=line.refs,
                data=line.data,
                commit=commit,
            )
        )
    if entries:
        with _writing():
            insert_many(session, _ENTRIES, entries)
            insert_many(session, _VALUES, values)
        head.size, head.last_at = head.size + len(entries), entries[-1][2]
        move(session, [head])
    return first


def append_alike(
    session: OrmSession,
    head: Head,
    alike: Sequence[tuple[leaf.Form, tuple[str, ...]]],
    salts: Sequence[str],
) -> None:
    """The same for entries without values, to a head that is locked, and moved by `moving` then.

    Each is given as its form and the ids that are its own, and has a salt. A subject and a project
    are among these ids, and a suspension among what the forms share.
    """
    first, count = next_instant([head]), len(alike)
    instants, texts = clock.ticks(first, count)

    def entries() -> Iterator[tuple[Any, ...]]:
        # In parts that stay in the processor's own memory, while the database stores those before.
        for begin in range(0, count, _TOGETHER):
            part = alike[begin : begin + _TOGETHER]
            if not leaf.plain(itertools.chain.from_iterable([ids for _, ids in part])):
                raise errors.RecordFailed("An id is none, so it cannot be recorded.")
            end = begin + len(part)
            seqs = range(head.size + begin, head.size + end)
            bodies = leaf.filled(part, salts[begin:end], seqs, texts[begin:end])
            for seq, at, (form, ids), body in zip(
                seqs, instants[begin:end], part, bodies, strict=True
            ):
                yield (
                    head.id, seq, at, form.type, form.actor, ids[form.place["subject"]],
                    ids[form.place["project"]], form.refs["suspension"], body,
                    merkle.leaf_hash(body),
                )  # fmt: skip

    with _writing():
        insert_many(session, _ENTRIES, entries())
    head.size, head.last_at = head.size + count, instants[-1]


# --- the guard ---------------------------------------------------------------------------------


@event.listens_for(Session, "before_flush")
def _note_changes(session: Session, *_: object) -> None:
    changed = _unit(session).changed
    for row in (*session.new, *filter(session.is_modified, session.dirty), *session.deleted):
        if isinstance(row, Audited):
            changed[_key(row)] = type(row).__name__


@event.listens_for(Session, "before_commit")
def _refuse_silent_change(session: Session) -> None:
    session.flush()  # the commit would do it only after this, and nobody would look at it
    unit = _unit(session)
    covered = {_key(row) for queued in unit.queue for row in queued.covers}
    silent = sorted(name for key, name in unit.changed.items() if key not in covered)
    if silent:
        raise errors.UnauditedChange(f"{', '.join(silent)}: changed without a record")


def _key(row: object) -> tuple[Any, ...]:
    state = inspect(row)
    return (state.mapper, *state.mapper.primary_key_from_instance(row))


_AUDITED_TABLES: set[str] = set()


@event.listens_for(Session, "do_orm_execute")
def _refuse_bulk_change(state: ORMExecuteState) -> None:
    statement = state.statement
    if not isinstance(statement, Insert | Update | Delete):
        return
    if not _AUDITED_TABLES:
        _AUDITED_TABLES.update(
            mapper.local_table.name  # type: ignore[attr-defined]  # every mapper has a Table
            for mapper in Base.registry.mappers
            if issubclass(mapper.class_, Audited)
        )
    name = getattr(statement.table, "name", "")
    if name in _AUDITED_TABLES and not state.execution_options.get("govern_recorded"):
        raise errors.UnauditedChange(f"{name}: a bulk change that no operation records")

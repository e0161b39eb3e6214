"""Exports that are made in the background: asked for, written by a follower, fetched for a while.

What the file will say is settled when it is asked for: its first line, which names the filter and
up to where each log goes, is kept, and so is how far the file is durable. Whoever asked for it may
fetch it, as long as they may export all that is in it. No file outlives an erasure that came after
it, since it would still hold what was erased.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Index, Integer, bindparam, func, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.audit import export, leaf
from govern.audit.events import EventType
from govern.audit.export import Filter
from govern.audit.log import HOUSE, Entry
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Base, Code, Id, Inquiry, new_id, text_column, together

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.config import Settings
    from govern.db import Session
    from govern.principal import Principal

# Under way at once for one who asks.
MOST = 5
SHOWN = 50
# For so long it is told that there was one, after its file is gone.
REMEMBERED = timedelta(days=30)


class State(StrEnum):
    """How an export stands."""

    WAITING = "waiting"
    WRITING = "writing"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"


class LogExport(Base):
    """One export: what it is to be, and how far it is.

    `header` is its first line. Of the log at `number` of it, entries before `scanned` were looked
    at and those before `place` are in the `file`, whose first `bytes` are durable; `passed` of all
    `total` entries were looked at, `rows` of them fit, at `rate` a second. `holder` writes it, and
    another may take it over after `held_until`.
    """

    __tablename__ = "log_export"
    __table_args__ = (
        Index("ix_log_export_asked_by", "asked_by", "id"),
        Index("ix_log_export_state", "state", "held_until"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    asked_by: Mapped[Id]
    asked_at: Mapped[datetime] = mapped_column(Utc())
    form: Mapped[Code]
    client_id: Mapped[Id | None]
    header: Mapped[str]
    state: Mapped[Code]
    number: Mapped[int] = mapped_column(Integer, default=0)
    scanned: Mapped[int] = mapped_column(BigInteger, default=0)
    place: Mapped[int] = mapped_column(BigInteger, default=0)
    passed: Mapped[int] = mapped_column(BigInteger, default=0)
    total: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int] = mapped_column(BigInteger, default=0)
    erased: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    file: Mapped[Code | None]
    rate: Mapped[int | None] = mapped_column(BigInteger)
    holder: Mapped[Id | None]
    held_until: Mapped[datetime] = mapped_column(Utc())
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[str] = mapped_column(text_column(500), default="")
    digest: Mapped[str | None] = mapped_column(text_column(64))
    ended_at: Mapped[datetime | None] = mapped_column(Utc())
    expires_at: Mapped[datetime | None] = mapped_column(Utc())
    fetched_at: Mapped[datetime | None] = mapped_column(Utc())

    @property
    def fields(self) -> dict[str, Any]:
        """The first line, read."""
        found: dict[str, Any] = json.loads(self.header)
        return found

    @property
    def where(self) -> Filter:
        """Which entries it shows."""
        return Filter.of(self.fields["filter"])

    @property
    def seconds_left(self) -> int | None:
        """How long it will take at the present rate, if that is known."""
        return (self.total - self.passed) // self.rate if self.rate else None


def folder(settings: Settings) -> Path:
    """Where files are written; nodes of one installation share it, to hand out each other's."""
    return settings.exports_dir


def ask(
    session: Session, *, form: str, client: str | None = None, where: Filter, by: Principal
) -> LogExport:
    """Have every log that `by` may export, or that of the client `client` (its id), written.

    Takes `log:export` with a fresh factor. `Conflict` while `MOST` of theirs are under way,
    `Unavailable` when nothing of these logs is signed yet.
    """
    now = clock.now(session)
    logs, withheld = export.allowed(session, client, now=now, by=by)
    export.check_form(form)
    under_way = select(func.count(LogExport.id)).where(
        LogExport.asked_by == by.id, LogExport.state.in_((State.WAITING, State.WRITING))
    )
    if session.execute(under_way).scalar_one() >= MOST:
        raise errors.Conflict(f"{MOST} exports of yours are under way: wait until one is ready.")
    fields = export.header(session, logs, where, withheld)
    row = LogExport(
        id=new_id("exp"), asked_by=by.id, asked_at=now, form=form, client_id=client,
        header=leaf.canonical(fields).decode(), state=State.WAITING, total=size(fields),
        held_until=now,
    )  # fmt: skip
    session.add(row)
    record(
        session, EventType.EXPORT_ASKED, logs=[HOUSE], by=by, refs={"export": row.id},
        data={"form": form, "filtered": bool(where.words()), "logs": len(fields["logs"])},
    )  # fmt: skip
    return row


def size(fields: dict[str, Any]) -> int:
    """How many entries a header covers."""
    return sum(int(head["size"]) for head in fields["logs"])


def mine(
    session: OrmSession, *, after: str = "", limit: int = SHOWN, by: Principal
) -> list[LogExport]:
    """What one asked for, the newest first; takes `log:export` over anything."""
    permissions.require_some(by, "log:export")
    query = select(LogExport).where(LogExport.asked_by == by.id)
    if after:
        query = query.where(LogExport.id < after)
    return list(session.execute(query.order_by(LogExport.id.desc()).limit(limit)).scalars())


def find(session: OrmSession, export_id: str, *, by: Principal) -> LogExport:
    """One of them; another's is `Unknown`."""
    permissions.require_some(by, "log:export")
    row = session.get(LogExport, export_id)
    if row is None or row.asked_by != by.id:
        raise errors.Unknown("There is no such export, or it is not yours.")
    return row


def news(session: OrmSession, *, by: Principal) -> bool:
    """Whether one of theirs is ready that they have not fetched yet."""
    (found,) = together(session, unfetched(by=by))
    return bool(found)


def unfetched(*, by: Principal) -> Inquiry[bool]:
    """The same, to be asked along with others."""
    return Inquiry(_unfetched(), bool, {"whose_export": by.id})


@cache
def _unfetched() -> Select[str]:
    """Built once, since every page asks it."""
    query = select(LogExport.id).where(
        LogExport.asked_by == bindparam("whose_export"), LogExport.state == State.READY,
        LogExport.fetched_at.is_(None), LogExport.expires_at > clock.instant(),
    )  # fmt: skip
    return query.limit(1)


def take(session: Session, export_id: str, *, by: Principal) -> tuple[LogExport, Path]:
    """The file of one that is ready, after its row is in the access log.

    Takes `log:export`, with a fresh factor, over all that is in it. `AlreadyEnded` when it expired
    or someone was erased since, `Unavailable` when it is not ready or lies with another node.
    """
    now = clock.now(session)
    permissions.require_some(by, "log:export")
    permissions.require_fresh(by, now=now)
    row = find(session, export_id, by=by)
    fields = row.fields
    for head in fields["logs"]:
        over = None if head["log"] == HOUSE else head["log"]
        permissions.require(by, "log:export", client=over, now=now)
    if row.state == State.EXPIRED or (row.expires_at is not None and row.expires_at <= now):
        raise errors.AlreadyEnded("Its file is gone: ask for it anew.")
    if row.state != State.READY:
        raise errors.Unavailable("It is not ready yet.")
    if is_outdated(session, fields):
        raise errors.AlreadyEnded("Someone was erased since it was made: ask for it anew.")
    found = folder(session.database.settings) / str(row.file)
    if not found.is_file():
        raise errors.Unavailable("Its file is not on this node.")
    export.note(
        session.database, [head["log"] for head in fields["logs"]],
        {"export": row.id, "form": row.form}, where=row.where, at=now, by=by,
    )  # fmt: skip
    row.fetched_at = now
    return row, found


def is_outdated(session: OrmSession, fields: dict[str, Any]) -> bool:
    """Whether a value was erased that a file with this header may still hold."""
    accounting = export.accounting(Filter.of(fields["filter"]))
    return any(
        session.execute(
            select(Entry.seq)
            .where(Entry.log_id == head["log"], Entry.seq >= head["size"], *accounting)
            .limit(1)
        ).first()
        for head in fields["logs"]
    )

"""Notices: what the people whom a suspension affects are told, version by version.

A version says what is known, what is not known yet, by when they hear again and whom to ask. Once
posted it never changes: what was said, and when, can be shown years later. Who may read one is who
is held now or was when the suspension was opened, and who says to have read it is kept, once each.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, case, exists, func, literal, not_, null, select
from sqlalchemy.orm import aliased

from govern import clock, errors, permissions
from govern.access import grants
from govern.access.grants import Grant, Moment
from govern.access.requests import signature
from govern.access.suspension_tables import (
    NoticeAcknowledgement,
    Suspension,
    SuspensionNotice,
    SuspensionTarget,
    naming,
)
from govern.access.suspensions.parts import targets_of
from govern.access.suspensions.targets import logs_of
from govern.access.suspensions.telling import concerned
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import Again, Inquiry, listed, new_id, together
from govern.identity import typed
from govern.principal import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Words:
    """What one version says, as someone typed it."""

    known: str
    not_known: str = ""
    contact: str = ""
    next_update_by: datetime | None = None
    submit_by: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Version(Words):
    """One version as it was posted; `read_at` is when the person asked for acknowledged it.

    `readers` is how many did, of the newest where that was asked for.
    """

    id: str
    number: int
    posted_at: datetime
    read_at: datetime | None = None
    readers: int | None = None


def post(
    session: Session,
    suspension: Suspension,
    words: Words,
    *,
    seen: int | None = None,
    by: Principal,
) -> SuspensionNotice:
    """Tell the people affected something new.

    `seen` is the number of the version that the caller looked at (0: none): any other is `Stale`.
    """
    targets = targets_of(session, suspension.id)
    for item in targets:
        permissions.require(by, "suspension:open", client=item.client)
    if suspension.ended_at is not None:
        raise errors.AlreadyEnded("This suspension was lifted before.")
    last = _last(session, suspension.id)
    if seen is not None and seen != last:
        raise errors.Stale("Someone posted another notice meanwhile. Look at it first.")
    now = clock.now(session)
    for name in ("next_update_by", "submit_by"):
        until = getattr(words, name)
        if until is not None and until <= now:
            raise errors.WindowInvalid("That instant has passed already.", field=name)

    def recheck(session: OrmSession) -> None:
        ended = select(Suspension.ended_at).where(Suspension.id == suspension.id)
        if session.execute(ended.with_for_update()).scalar_one() is not None:
            raise errors.Stale("Someone lifted this suspension just now.")
        if _last(session, suspension.id) != last:
            if seen is None:
                raise Again
            raise errors.Stale("Someone posted another notice just now. Look at it first.")

    logs = logs_of(session, targets)
    return add(session, suspension, words, number=last + 1, logs=logs, by=by, recheck=recheck)


def add(
    session: Session,
    suspension: Suspension,
    words: Words,
    *,
    number: int,
    logs: list[str],
    by: Principal,
    recheck: Callable[[OrmSession], None] | None = None,
) -> SuspensionNotice:
    """Write one version with its record; for operations that checked their own permission."""
    row = SuspensionNotice(
        id=new_id("not"),
        suspension_id=suspension.id,
        number=number,
        known=prose(words.known, "known"),
        not_known=prose(words.not_known, "not_known"),
        contact=typed.text(words.contact, field="contact", required=False),
        next_update_by=words.next_update_by,
        submit_by=words.submit_by,
        posted_by=signature(by),
    )
    if not row.known and not row.not_known:
        raise errors.Invalid("Say what is known, or what is not known yet.", field="known")
    session.add(row)
    record(
        session,
        EventType.NOTICE_POSTED,
        logs=logs,
        by=by,
        refs={"suspension": suspension.id, "notice": row.id},
        data={
            "number": number,
            "next_update_by": clock.text(row.next_update_by) if row.next_update_by else None,
            "submit_by": clock.text(row.submit_by) if row.submit_by else None,
        },
        private={"known": row.known, "not_known": row.not_known, "contact": row.contact},
        stamps=[(row, "recorded_at")],
        recheck=recheck,
    )
    return row


def acknowledge(session: Session, notice_id: str, *, by: Principal) -> None:
    """Say that one has read a version; a second time changes nothing.

    `Unknown` for whoever it does not affect.
    """
    notice = session.get(SuspensionNotice, notice_id)
    logs = None
    if notice is not None and by.kind is Kind.SUBJECT:
        suspension = session.get_one(Suspension, notice.suspension_id)
        logs = touching(session, suspension, by.id)
    if logs is None:
        raise errors.Unknown(f"There is no notice {notice_id}.")
    if session.get(NoticeAcknowledgement, (notice_id, by.id)) is not None:
        return
    row = NoticeAcknowledgement(notice_id=notice_id, subject_id=by.id)

    def recheck(session: OrmSession) -> None:
        there = select(NoticeAcknowledgement.subject_id).where(
            NoticeAcknowledgement.notice_id == notice_id, NoticeAcknowledgement.subject_id == by.id
        )
        if session.execute(there).first() is not None:
            raise Again

    session.add(row)
    record(
        session,
        EventType.NOTICE_ACKNOWLEDGED,
        logs=logs,
        by=by,
        # Not under the suspension: 30,000 of these would bury what was done to it.
        refs={"notice": notice_id, "subject": by.id},
        stamps=[(row, "recorded_at")],
        recheck=recheck,
    )


def touching(session: OrmSession, suspension: Suspension, subject_id: str) -> list[str] | None:
    """The logs in which a suspension concerns someone; None when it does not.

    It concerns whom it holds now, and whom it held when it was opened.
    """
    moments = [Moment.past(suspension.recorded_at)]
    if suspension.ended_at is None:
        moments.append(grants.NOW)
    found: set[str] = set()
    for moment in moments:
        query = grants.facts(Grant.client_id, moment=moment).where(
            Grant.subject_id == subject_id,
            grants.all_of(grants.standing(moment)),
            concerned(suspension.id, moment),
        )
        found.update(session.execute(query.distinct()).scalars())
    named = select(SuspensionTarget.id).where(
        SuspensionTarget.suspension_id == suspension.id,
        naming(SuspensionTarget, subject_id),
    )
    if session.execute(named).first() is not None:
        found.add(HOUSE)
    return sorted(found) or None


def prose(value: str, field: str) -> str:
    """Free text of an admin: several lines are welcome, other control characters are not."""
    value = value.replace("\r\n", "\n").strip()
    if any(ord(char) < 32 and char not in "\n\t" for char in value):  # noqa: PLR2004 - space
        raise errors.Invalid(f"{field} holds a control character.", field=field)
    if len(value) > 4000:  # noqa: PLR2004 - fits a leaf many times over
        raise errors.Invalid(f"{field} is longer than 4,000 characters.", field=field)
    return value


# --- reading -----------------------------------------------------------------------------------


def versions(
    session: OrmSession,
    suspension_ids: Iterable[str],
    *,
    reader: str | None = None,
    counted: bool = False,
) -> dict[str, list[Version]]:
    """All versions of some suspensions' notices, the newest first; and when `reader` read each.

    `counted` tells how many have acknowledged the newest.
    """
    wanted = sorted(set(suspension_ids))
    if not wanted:
        return defaultdict(list)
    inquiry = versions_of(session, wanted, reader=reader, counted=counted)
    found: dict[str, list[Version]] = together(session, inquiry)[0]
    return found


def versions_of(
    session: OrmSession,
    suspension_ids: Sequence[str],
    *,
    reader: str | None = None,
    counted: bool = False,
) -> Inquiry[dict[str, list[Version]]]:
    """The same, to be asked along with others."""
    row, read, among = SuspensionNotice, NoticeAcknowledgement, listed(session, suspension_ids)
    own = (
        row.id, row.suspension_id, row.number, row.known, row.not_known, row.contact,
        row.next_update_by, row.submit_by, row.recorded_at,
    )  # fmt: skip
    query = (
        select(
            *own, read.recorded_at.label("read_at"),
            (_readers() if counted else literal(None, Integer())).label("readers"),
        )
        .join(among, among.c.value == row.suspension_id)
        .outerjoin(read, and_(read.notice_id == row.id, read.subject_id == literal(reader or "")))
    )  # fmt: skip
    names = [column.key for column in own]

    def told(rows: list[tuple[Any, ...]]) -> dict[str, list[Version]]:
        found: dict[str, list[Version]] = defaultdict(list)
        for *values, read_at, number in sorted(rows, key=lambda row: (row[1], -row[2])):
            each = SimpleNamespace(**dict(zip(names, values, strict=True)))
            found[each.suspension_id].append(version(each, read_at=read_at, readers=number))
        return found

    return Inquiry(query, told)


def version(row: Any, *, read_at: datetime | None = None, readers: int | None = None) -> Version:
    """One version, of its row."""
    return Version(
        id=row.id, number=row.number, known=row.known, not_known=row.not_known,
        contact=row.contact, next_update_by=row.next_update_by, submit_by=row.submit_by,
        posted_at=row.recorded_at, read_at=read_at, readers=readers,
    )  # fmt: skip


def _readers() -> ColumnElement[int | None]:
    """How many have acknowledged a version that none follows; null of the others."""
    later, read = aliased(SuspensionNotice), aliased(NoticeAcknowledgement)
    number = select(func.count()).where(read.notice_id == SuspensionNotice.id).scalar_subquery()
    follows = exists().where(
        later.suspension_id == SuspensionNotice.suspension_id,
        later.number > SuspensionNotice.number,
    )
    return case((not_(follows), number), else_=null())


def _last(session: OrmSession, suspension_id: str) -> int:
    return session.execute(
        select(func.coalesce(func.max(SuspensionNotice.number), 0)).where(
            SuspensionNotice.suspension_id == suspension_id
        )
    ).scalar_one()

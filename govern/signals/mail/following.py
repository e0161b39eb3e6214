"""Following the logs: what people are to be told, noted once each as the cursors move.

Grants come singly, by hundreds or by the roster, so what happens to a person's grants within two
minutes is told in one mail, and so are answers to their questions and what became of requests. An
act on a suspension has an entry in each log concerned, and is noted at the first of them. A notice
that opens with its suspension is told with it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from govern import clock
from govern.access import suspensions
from govern.access.suspensions import Suspension
from govern.audit import EventType, follower
from govern.db import insert_if_absent, listed
from govern.identity.subjects import Subject, SubjectKind
from govern.signals.mail import accounts, asked, exports, factors
from govern.signals.mail.tables import MailAct, MailDelivery, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session

FOLLOWER = "mail"
GRANTS = "grants"
ANSWERS = "answers"
ON_SUSPENSIONS = frozenset({
    EventType.SUSPENSION_OPENED, EventType.SUSPENSION_MODE_CHANGED, EventType.NOTICE_POSTED,
    EventType.SUSPENSION_RELEASED, EventType.SUSPENSION_NARROWED, EventType.SUSPENSION_LIFTED,
})  # fmt: skip
ON_GRANTS = frozenset({EventType.GRANT_ISSUED, EventType.GRANT_REVOKED})
# About someone's own way in: they are told even of what they did themselves, lest it was not they.
ON_ACCOUNTS = frozenset({
    EventType.IDENTITY_OFFERED, EventType.IDENTITY_LINKED, EventType.IDENTITY_UNLINKED,
})  # fmt: skip
# What a person is told of once for two minutes of it, by the act that their mails belong to.
_GATHERED = {GRANTS: ON_GRANTS, ANSWERS: frozenset({EventType.QUESTION_ANSWERED})}
_TYPES = (
    ON_SUSPENSIONS.union(*_GATHERED.values())
    | ON_ACCOUNTS
    | accounts.ON_RECOVERY
    | factors.TYPES
    | exports.TYPES
    | asked.TYPES
)
TOGETHER = timedelta(minutes=2)
# Every entry of a log is there, and was followed, so long after its instant.
SETTLED = timedelta(minutes=1)
# What happened longer ago is no news: a mail about it would mislead.
TOO_LATE = timedelta(days=4)
_STRIDE = 2000
_CHUNK = 1000
_SAME_COMMIT = timedelta(milliseconds=1)


class _Overtaken(Exception):
    """Another process does this meanwhile."""


def follow(database: Database, *, progress: Callable[[int], None] | None = None) -> None:
    """Take all entries that the logs gained, and note whom to tell.

    Without a mail server the cursors move all the same, and nobody is noted. `progress` is called
    between commits, and may raise to stop.
    """
    while True:
        with database.reading() as session:
            behind = follower.behind(session, FOLLOWER)
        if not behind:
            break
        for log_id, position, size in behind:
            _take(database, log_id, position, min(size, position + _STRIDE))
            if progress is not None:
                progress(0)
    with database.reading() as session:
        acts = list(
            session.execute(
                select(MailAct).where(MailAct.finished_at.is_(None)).order_by(MailAct.at)
            ).scalars()
        )
    for act in acts:
        _spread(database, act, progress)


def _take(database: Database, log_id: str, begin: int, end: int) -> None:
    entries: list[Row[Any]] = []
    if database.settings.smtp_url:
        with database.reading() as session:
            entries = follower.news(session, log_id, begin, end, types=_TYPES)

    def work(session: Session) -> None:
        if not follower.advance(session, FOLLOWER, log_id, was=begin, to=end):
            return
        since = clock.now(session) - TOO_LATE
        fresh = [entry for entry in entries if entry.at > since]
        for kind, types in _GATHERED.items():
            whom = [
                (entry.at, entry.subject_id)
                for entry in fresh
                if entry.type in types and entry.actor != entry.subject_id
            ]
            _note_gathered(session, kind, whom)
        ended = [entry for entry in fresh if entry.type in asked.TYPES]
        _note_gathered(session, asked.REQUESTS, asked.told(session, ended))
        for act_id, person, at in factors.acts(session, fresh):
            _note(session, act_id, [person], at=at)
        for entry in fresh:
            _note_own(session, entry)
            if entry.type in ON_SUSPENSIONS and not _told_with_opening(session, entry):
                insert_if_absent(
                    session, MailAct, id=f"{entry.type}:{entry.suspension_id}:"
                    f"{clock.micros(entry.at)}", type=entry.type,
                    suspension_id=entry.suspension_id, actor=entry.actor, at=entry.at, cursor="",
                )  # fmt: skip

    database.transaction(work)


def _told_with_opening(session: OrmSession, entry: Row[Any]) -> bool:
    if entry.type != EventType.NOTICE_POSTED:
        return False
    opened_at = session.get_one(Suspension, entry.suspension_id).recorded_at
    return bool(entry.at - opened_at < _SAME_COMMIT)


def window_of(at: datetime) -> datetime:
    """When the time began whose grants, or answers, are told of together."""
    length = TOGETHER // clock.TICK
    return clock.from_micros(clock.micros(at) // length * length)


def _note_gathered(
    session: Session, kind: str, whom: Iterable[tuple[datetime, str | None]]
) -> None:
    windows: dict[datetime, dict[str, None]] = {}
    for at, person in whom:
        if person is not None:
            windows.setdefault(window_of(at), {})[person] = None
    for begins, people in windows.items():
        act_id = f"{kind}:{clock.micros(begins)}"
        insert_if_absent(
            session, MailAct, id=act_id, type=kind, suspension_id=None, actor="", at=begins,
            cursor="", finished_at=begins,
        )  # fmt: skip
        _note(session, act_id, people, at=begins + TOGETHER + SETTLED)


def _note_own(session: Session, entry: Row[Any]) -> None:
    """Note what is for one person alone: about their own way in, or what they asked for."""
    if entry.type in exports.TYPES and entry.subject_id is not None:
        _note(session, exports.act(session, entry), [entry.subject_id], at=entry.at)
    if entry.type in ON_ACCOUNTS:
        _note_account(session, entry)
    if entry.type in accounts.ON_RECOVERY and entry.subject_id is not None:
        for act_id, at in accounts.acts(session, entry):
            _note(session, act_id, [entry.subject_id], at=at)


def _note_account(session: Session, entry: Row[Any]) -> None:
    act_id = f"{entry.type}:{entry.subject_id}:{clock.micros(entry.at)}"
    insert_if_absent(
        session, MailAct, id=act_id, type=entry.type, suspension_id=None, actor="", at=entry.at,
        cursor="", finished_at=entry.at,
    )  # fmt: skip
    _note(session, act_id, [entry.subject_id], at=entry.at)


def _note(
    session: Session, act_id: str, people: Iterable[str], *, at: datetime, but: str = ""
) -> None:
    """Note that some people are to be told, `but` one, unless they are noted already."""
    among = listed(session, sorted(people))
    query = (
        select(Subject.id)
        .join(among, among.c.value == Subject.id)
        .where(Subject.kind != SubjectKind.SERVICE, Subject.id != but)
    )
    rows = [
        {
            "act_id": act_id, "subject_id": subject_id, "state": State.WAITING, "attempts": 0,
            "next_try_at": at, "ended_at": None, "error": "",
        }
        for subject_id in session.execute(query).scalars()
    ]  # fmt: skip
    dialect: Any = postgresql if session.database.is_postgresql else sqlite
    if rows:
        session.execute(dialect.insert(MailDelivery).on_conflict_do_nothing(), rows)


def _spread(database: Database, act: MailAct, progress: Callable[[int], None] | None) -> None:
    """Note an act's mails, by chunks that a crash neither loses nor doubles."""
    cursor = act.cursor
    try:
        with database.reading() as session:
            query = suspensions.audience(
                session, act.suspension_id or "", EventType(act.type), act.at, after=cursor
            )
            people = session.execute(query.execution_options(yield_per=_CHUNK)).scalars()
            for chunk in people.partitions(_CHUNK):
                _spread_over(database, act, cursor, chunk)
                cursor = chunk[-1]
                if progress is not None:
                    progress(len(chunk))
        _spread_over(database, act, cursor, [])
    except _Overtaken:
        return


def _spread_over(database: Database, act: MailAct, was: str, people: Sequence[str]) -> None:
    def work(session: Session) -> None:
        now = clock.now(session)
        values: dict[str, Any] = {"cursor": people[-1]} if people else {"finished_at": now}
        moved = session.execute(
            update(MailAct)
            .where(MailAct.id == act.id, MailAct.cursor == was, MailAct.finished_at.is_(None))
            .values(**values),
            execution_options={"synchronize_session": False, "preserve_rowcount": True},
        )
        if moved.rowcount != 1:  # type: ignore[attr-defined]  # a DML result has it
            raise _Overtaken
        _note(session, act.id, people, at=now, but=act.actor)

    database.transaction(work)

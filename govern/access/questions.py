"""Questions: what somebody on a project asks about it, and what those who answer for it say.

A question is a thread of messages that never change. Each is an event in the log of the client
whose project it is about (the house's, where it is about a person's own access), and its text is
there alone: a value that can be erased, and that no other client's reader meets. The person and
whoever may answer for the client see the thread, and nobody else knows of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Index, Integer, UniqueConstraint, and_, func, or_, select, text
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, permissions
from govern.access.clients import Project
from govern.access.grants import Grant
from govern.access.requests import signature
from govern.access.suspension_tables import Suspension
from govern.access.suspensions import notices
from govern.audit import EventType
from govern.audit.log import HOUSE, Entry, Value
from govern.audit.record import record
from govern.clock import Utc
from govern.db import (
    Audited,
    Base,
    Id,
    Inquiry,
    new_id,
    references,
    text_column,
    together,
)
from govern.identity.subjects import Subject
from govern.principal import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

LONGEST = 2000  # characters of a message
A_DAY = 20  # messages that one person may send
IN_A_ROW = 3  # of theirs in a thread, before an answer
MOST = 50  # threads and messages that are shown
_DAY = timedelta(days=1)
_EVENTS = (EventType.QUESTION_ASKED, EventType.QUESTION_ANSWERED)


class Question(Audited, Base):
    """One thread.

    `number` is that of its last message, of `last_at`; `waiting_since` is when the first message
    without an answer was written, and empty while there is none.
    """

    __tablename__ = "question"
    __table_args__ = (
        Index("ix_question_subject", "subject_id", "last_at"),
        Index(
            "ix_question_waiting",
            "waiting_since",
            "id",
            sqlite_where=text("waiting_since IS NOT NULL"),
            postgresql_where=text("waiting_since IS NOT NULL"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    client_id: Mapped[Id | None] = mapped_column(references("client.id"))
    project_id: Mapped[Id | None] = mapped_column(references("project.id"))
    suspension_id: Mapped[Id | None] = mapped_column(references("suspension.id"))
    number: Mapped[int] = mapped_column(Integer)
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    last_at: Mapped[datetime] = mapped_column(Utc())
    waiting_since: Mapped[datetime | None] = mapped_column(Utc())


class QuestionMessage(Audited, Base):
    """That somebody wrote in a thread, and when; what, the log's value says."""

    __tablename__ = "question_message"
    __table_args__ = (UniqueConstraint("question_id", "number"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    question_id: Mapped[Id] = mapped_column(references("question.id"))
    number: Mapped[int] = mapped_column(Integer)
    written_by: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())


def ask(
    session: Session, project: str, words: str, *, suspension: str | None = None, by: Principal
) -> Question:
    """Begin a thread about a project that one holds or held (a code), or one's own access (empty).

    `suspension` is the one it is about, if any. `Unknown` where either is not the caller's to know.
    """
    if by.kind is not Kind.SUBJECT:
        raise errors.Forbidden("Only a person asks.")
    place = _place(session, project, by.id) if project else None
    if suspension is not None:
        row = session.get(Suspension, suspension)
        if row is None or notices.touching(session, row, by.id) is None:
            raise errors.Unknown("There is no such suspension, or it does not concern you.")
    words = _text(words)
    _not_too_many(session, by)
    question = Question(
        id=new_id("que"), subject_id=by.id, client_id=place.client_id if place else None,
        project_id=place.id if place else None, suspension_id=suspension, number=0,
    )  # fmt: skip
    session.add(question)
    _write(session, question, words, asked=True, by=by)
    return question


def write(session: Session, question_id: str, words: str, *, seen: int, by: Principal) -> Question:
    """Go on with a thread: the person asks again, or one who may answer does.

    `seen` is the number of the last message that the writer looked at: any other is `Stale`.
    """
    question = find(session, question_id, by=by)
    asked = by.id == question.subject_id
    if seen != question.number:
        raise errors.Stale("Somebody wrote meanwhile. Read that first; what you typed is kept.")
    words = _text(words)
    if asked:
        _not_too_many(session, by)
        answered = select(func.max(QuestionMessage.number)).where(
            QuestionMessage.question_id == question.id, QuestionMessage.written_by != by.id
        )
        if question.number - (session.execute(answered).scalar_one() or 0) >= IN_A_ROW:
            raise errors.Held("Your question waits. You can go on once there is an answer.")
    else:
        left = session.get_one(Subject, question.subject_id).ended_at
        if left is not None:
            raise errors.AlreadyEnded("Who asked has left, and would not read it.")
    _write(session, question, words, asked=asked, by=by)
    return question


def _write(session: Session, question: Question, words: str, *, asked: bool, by: Principal) -> None:
    last = question.number

    def recheck(session: OrmSession) -> None:
        there = session.execute(
            select(Question.number).where(Question.id == question.id).with_for_update()
        ).scalar_one_or_none()
        if (there or 0) != last:
            raise errors.Stale("Somebody wrote just now. Read that first; what you typed is kept.")

    message = QuestionMessage(
        id=new_id("msg"), question_id=question.id, number=last + 1, written_by=signature(by)
    )
    session.add(message)
    question.number = last + 1
    stamps: list[tuple[Base, str]] = [(message, "recorded_at"), (question, "last_at")]
    if last == 0:
        stamps.append((question, "recorded_at"))
    if not asked:
        question.waiting_since = None
    elif question.waiting_since is None:
        stamps.append((question, "waiting_since"))
    record(
        session,
        EventType.QUESTION_ASKED if asked else EventType.QUESTION_ANSWERED,
        logs=[question.client_id or HOUSE],
        by=by,
        # Not under the suspension: questions would bury what was done to it.
        refs={
            "question": question.id,
            "subject": question.subject_id,
            "client": question.client_id,
            "project": question.project_id,
            "about": question.suspension_id,
        },
        data={"number": message.number},
        private={"text": words},
        about=question.subject_id,
        stamps=stamps,
        recheck=recheck,
    )


def _place(session: OrmSession, code: str, subject_id: str) -> Project:
    """The project of this code, if the person holds or held anything there."""
    held = select(Grant.id).where(Grant.project_id == Project.id, Grant.subject_id == subject_id)
    found = session.execute(
        select(Project).where(Project.code == code, held.exists())
    ).scalar_one_or_none()
    if found is None:
        raise errors.Unknown(f"You are on no project “{code}”.", field="project")
    return found


def _text(words: str) -> str:
    words = notices.prose(words, "text")
    if not words:
        raise errors.Invalid("Please write something.", field="text")
    if len(words) > LONGEST:
        raise errors.Invalid(f"At most {LONGEST:,} characters, please.", field="text")
    return words


def _not_too_many(session: OrmSession, by: Principal) -> None:
    sent = (
        select(QuestionMessage.recorded_at)
        .join(Question, Question.id == QuestionMessage.question_id)
        .where(
            Question.subject_id == by.id,
            Question.last_at > clock.before(clock.instant(), _DAY),
            QuestionMessage.written_by == by.id,
            QuestionMessage.recorded_at > clock.before(clock.instant(), _DAY),
        )
        .order_by(QuestionMessage.recorded_at)
    )
    times = session.execute(sent).scalars().all()
    if len(times) >= A_DAY:
        wait = times[-A_DAY] + _DAY - clock.now(session)
        raise errors.TooManyAttempts(
            f"You wrote {A_DAY} messages within a day. Write again later, or to whom your page "
            "names.",
            retry_after=max(1, int(wait.total_seconds())),
        )


# --- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Line:
    """A thread in a list: about which project (None: the person's own access), and who asked."""

    id: str
    project: str | None
    person: str
    subject_id: str
    number: int
    asked_at: datetime
    last_at: datetime
    waiting_since: datetime | None


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message; `asked` when it is the person's; `text` is None once it was erased."""

    number: int
    at: datetime
    asked: bool
    writer: str
    text: str | None


def find(session: OrmSession, question_id: str, *, by: Principal) -> Question:
    """The thread, for whoever asked and those who may answer; `Unknown` for all others."""
    row = session.get(Question, question_id)
    if row is not None and by.kind is Kind.SUBJECT and row.subject_id == by.id:
        return row
    if row is None or not permissions.covers(by, "question:answer", row.client_id):
        raise errors.Unknown(f"There is no question {question_id}.")
    return row


def line(session: OrmSession, question_id: str, *, by: Principal) -> Line:
    """One thread as a list shows it."""
    find(session, question_id, by=by)
    return _lines(session, _listed().where(Question.id == question_id))[0]


def mine(session: OrmSession, *, by: Principal) -> list[Line]:
    """The caller's own threads, the latest first."""
    own = _listed().where(Question.subject_id == by.id)
    return _lines(session, own.order_by(Question.last_at.desc(), Question.id).limit(MOST))


def waiting(
    session: OrmSession, *, after: str = "", limit: int = MOST, by: Principal
) -> tuple[list[Line], str | None]:
    """The threads that wait for an answer of the caller's, oldest first, and the next page."""
    (found,) = together(session, awaited(after=after, limit=limit, by=by))
    lines: tuple[list[Line], str | None] = found
    return lines


def awaited(
    *, after: str = "", limit: int, by: Principal
) -> Inquiry[tuple[list[Line], str | None]]:
    """The same, to be asked along with others."""
    clients = permissions.require_some(by, "question:answer")
    query = _awaited(clients, limit)
    if after:
        since, last = _behind(after)
        query = query.where(
            or_(
                Question.waiting_since > since,
                and_(Question.waiting_since == since, Question.id > last),
            )
        )

    def read(rows: list[tuple[Any, ...]]) -> tuple[list[Line], str | None]:
        found = sorted(map(_line, rows), key=lambda line: (line.waiting_since, line.id))
        if len(found) <= limit:
            return found, None
        last_shown = found[limit - 1]
        assert last_shown.waiting_since is not None  # noqa: S101 - the query's own condition
        return found[:limit], f"{clock.micros(last_shown.waiting_since)}.{last_shown.id}"

    return Inquiry(query, read, given=None if after else {})


@lru_cache(maxsize=64)
def _awaited(clients: frozenset[str] | None, limit: int) -> Select[Any]:
    query = _listed().where(Question.waiting_since.is_not(None), Subject.ended_at.is_(None))
    if clients is not None:
        query = query.where(Question.client_id.in_(clients))
    return query.order_by(Question.waiting_since, Question.id).limit(limit + 1)


def _behind(after: str) -> tuple[datetime, str]:
    micros, _, last = after.partition(".")
    if not (micros.isascii() and micros.isdigit() and len(micros) <= 16):  # noqa: PLR2004 - a date
        raise errors.Invalid("after: this is no place in the list", field="after")
    return clock.from_micros(int(micros)), last


def messages(session: OrmSession, question: Question) -> list[Message]:
    """What was written in a thread that the caller found, in its order; of many, the last."""
    rows = session.execute(
        select(QuestionMessage, Subject.full_name, Value.value)
        .outerjoin(Subject, Subject.id == QuestionMessage.written_by)
        .outerjoin(
            Entry,
            and_(
                Entry.subject_id == question.subject_id,
                Entry.log_id == (question.client_id or HOUSE),
                Entry.at == QuestionMessage.recorded_at,
                Entry.type.in_(_EVENTS),
            ),
        )
        .outerjoin(
            Value,
            and_(Value.log_id == Entry.log_id, Value.seq == Entry.seq, Value.name == "text"),
        )
        .where(QuestionMessage.question_id == question.id)
        .order_by(QuestionMessage.number.desc())
        .limit(MOST)
    ).all()
    return [
        Message(
            number=row.number, at=row.recorded_at, asked=row.written_by == question.subject_id,
            writer=name or row.written_by, text=value,
        )
        for row, name, value in reversed(rows)
    ]  # fmt: skip


def _listed() -> Select[Any]:
    """What a `Line` is made of, in its order."""
    query: Any = select(
        Question.id, Project.code, Subject.full_name, Question.subject_id, Question.number,
        Question.recorded_at, Question.last_at, Question.waiting_since,
    )  # fmt: skip
    listed: Select[Any] = query.join(Subject, Subject.id == Question.subject_id).outerjoin(
        Project, Project.id == Question.project_id
    )
    return listed


def _line(row: Sequence[Any]) -> Line:
    id_, project, person, subject_id, number, asked_at, last_at, waiting_since = row
    return Line(
        id=id_, project=project, person=person, subject_id=subject_id, number=number,
        asked_at=asked_at, last_at=last_at, waiting_since=waiting_since,
    )  # fmt: skip


def _lines(session: OrmSession, query: Select[Any]) -> list[Line]:
    return [_line(row) for row in session.execute(query)]

"""Decisions that count: asked together, recorded by one write, and only then told.

Questions that arrive while others are being answered wait for those alone, and are then answered
together: by one snapshot taken after the last of them came in, so that none misses a pause that
was committed before it. Few threads do that for the whole process, each a writer of the access
log: the more there is to ask, the more is asked and written at once.
"""

from __future__ import annotations

import queue
import threading
import weakref
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from sqlalchemy import exc as sa_exc

from govern import errors
from govern.access.evaluation.callers import (
    Caller,
    Credentials,
    as_known_to,
    as_told,
    identified,
    row_of,
)
from govern.access.evaluation.desk import Desks, meet
from govern.access.evaluation.facts import evaluate_many
from govern.access.evaluation.granting import permit
from govern.access.evaluation.line import Line
from govern.access.evaluation.questions import Decision, Question
from govern.audit.decisions import Writer
from govern.identity.integrations import Known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from govern.access.evaluation.desk import Waiting
    from govern.db import Database
    from govern.principal import Principal

# Questions answered together, at most: one snapshot must not make the first wait for long.
_TOGETHER = 1000
# Seconds without a question after which the connection is given back.
_LULL = 0.1


class Inquiry(Protocol):
    """Questions that come together, of one caller: read, and told, on the thread that answers.

    There both are done in turn, for all who ask at once; on the askers' own threads they would take
    the interpreter from the few that everybody waits for.
    """

    @property
    def is_many(self) -> bool:
        """Whether it is a list, which takes a while."""

    def questions(self) -> Sequence[Question]:
        """What is asked; what this raises is raised to who asked."""

    def stop_at(self) -> bool | None:
        """The decision that ends the list; what comes after is not recorded."""

    def told(self, by: Principal, decisions: list[Decision]) -> Any:
        """The answer, as whoever asked wants it."""


class _Plain(NamedTuple):
    """Questions that need no reading, and whose answer are the decisions."""

    asked: Sequence[Question]
    stops_at: bool | None

    @property
    def is_many(self) -> bool:
        return False

    def questions(self) -> Sequence[Question]:
        return self.asked

    def stop_at(self) -> bool | None:
        return self.stops_at

    def told(self, _: Principal, decisions: list[Decision]) -> list[Decision]:
        return decisions


class _Job(NamedTuple):
    """An inquiry, who makes it, and where its answer goes, or what is to be raised.

    A queue for one thing wakes who waits with half the work of a `Future`.
    """

    inquiry: Inquiry
    by: Principal | Credentials
    answer: queue.SimpleQueue[Any]


class _Asked(NamedTuple):
    """A job that was read."""

    job: _Job
    questions: Sequence[Question]
    stop_at: bool | None


# Who asked what, as whom, or why not, and what was decided.
_Answered: TypeAlias = "tuple[_Asked, Caller | Exception, list[Decision]]"


def decide(database: Database, question: Question, *, by: Principal) -> Decision:
    """Answer one question, durably recorded before it leaves; a denial when it cannot be.

    What the caller may not know exists is denied without a reason that tells: `resource_unknown`.
    """
    return decide_many(database, [question], by=by)[0]


def decide_many(
    database: Database,
    questions: Sequence[Question],
    *,
    stop_at: bool | None = None,
    by: Principal,
) -> list[Decision]:
    """Answer several questions, recorded together.

    `stop_at` ends the list with the first decision that says so; what comes after is not recorded.
    """
    found: list[Decision] = answer(database, _Plain(questions, stop_at), by=by)
    return found


def answer(database: Database, inquiry: Inquiry, *, by: Principal | Credentials) -> Any:
    """The same for what is still to be read: who shows an id and a secret is found out then, too.

    Raises `Unauthenticated` for credentials that do not count.
    """
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    _DESKS.of(database, long=inquiry.is_many).hand_in(_Job(inquiry, by, waiting))
    found = waiting.get()
    if isinstance(found, Exception):
        raise found
    return found


def _serve(owner: weakref.ref[Database], desk: Waiting[_Job]) -> None:
    """Answer all that is waiting, again and again, until the database is let go."""
    writer: Writer | None = None
    known = Known()
    job = desk.get()
    while job is not None:
        if isinstance(job, threading.Barrier):
            meet(job)
            job = desk.get()
            continue
        database = owner()
        if database is None:
            break
        try:
            writer = writer or Writer(database)
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear of it
            job.answer.put(error)
            del database
            job = desk.get()
            continue
        with closing(Line(database)) as line:
            while isinstance(job, _Job):
                _answer(line, writer, known, _waiting(job, desk))
                try:
                    job = desk.get(timeout=_LULL)
                except queue.Empty:
                    job = threading.Barrier(1)  # nobody waits for it
        del database, line
    desk.put(None)  # for the next of the threads


_DESKS = Desks(_serve)


def _waiting(job: _Job, desk: Waiting[_Job]) -> list[_Asked]:
    """This job and all that wait behind it, read."""
    asked: list[_Asked] = []
    size = 0
    while True:
        one = _read(job)
        if one is not None:
            asked.append(one)
            size += len(one.questions)
        if size >= _TOGETHER:
            return asked
        try:
            following = desk.get_nowait()
        except queue.Empty:
            return asked
        if not isinstance(following, _Job):
            desk.put(following)
            return asked
        job = following


def _read(job: _Job) -> _Asked | None:
    """The job with its questions; none if they cannot be read, which is told at once."""
    try:
        return _Asked(job, job.inquiry.questions(), job.inquiry.stop_at())
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear of it
        job.answer.put(error)
        return None


def _answer(line: Line, writer: Writer, known: Known, asked: list[_Asked]) -> None:
    if not asked:
        return
    try:
        try:
            found = _together(line, writer, known, asked, plainly=line.is_one)
        except sa_exc.DBAPIError:
            # It may have died since it was last used, or cannot write. What fails here was told to
            # nobody; a permit that is on record nonetheless will be there twice.
            line.close()
            found = _together(line, writer, known, asked, plainly=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, each asker must hear of it
        line.close()
        if len(asked) == 1:
            asked[0].job.answer.put(error)
            return
        # One of them may be at fault for all: each is asked by itself.
        for one in asked:
            _answer(line, writer, known, [one])
        return
    # Whoever is woken wants the interpreter: none is before there is an answer for each.
    answers = [_outcome(one, who, decisions) for one, who, decisions in found]
    for (one, _, _), answer in zip(found, answers, strict=True):
        one.job.answer.put(answer)


def _outcome(asked: _Asked, who: Caller | Exception, decisions: list[Decision]) -> Any:
    if isinstance(who, Exception):
        return who
    try:
        return asked.job.inquiry.told(who.by, decisions)
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear of it
        return error


def _together(
    line: Line, writer: Writer, known: Known, asked: list[_Asked], *, plainly: bool
) -> list[_Answered]:
    """Find out who asks, answer and record: by few statements for all, however many they are.

    `plainly`: what can be is found and recorded by one.
    """
    connection = line.asking()
    callers = identified(connection, known, [one.job.by for one in asked])
    permitted = _permitted(connection, writer, known, asked, callers) if plainly else {}
    told: list[_Answered] = [(asked[at], callers[at], [found]) for at, found in permitted.items()]
    left = [at for at in range(len(asked)) if at not in permitted]
    if left:
        told += _reasoned(
            line, writer, known, [asked[at] for at in left], [callers[at] for at in left]
        )
    return told


def _reasoned(
    line: Line,
    writer: Writer,
    known: Known,
    asked: list[_Asked],
    callers: list[Caller | Exception],
) -> list[_Answered]:
    """Answer by the whole rule, each with its reason, then record."""
    connection = line.asking()
    questions: list[Question] = []
    for one, who in zip(asked, callers, strict=True):
        if not isinstance(who, Exception):
            questions += one.questions
    decisions = evaluate_many(connection, questions)
    following = iter(decisions)
    given = [
        [] if isinstance(who, Exception) else list(islice(following, len(one.questions)))
        for one, who in zip(asked, callers, strict=True)
    ]
    if any(decision.house_as_of != known.as_of for decision in decisions):
        known.forget()
        again = identified(connection, known, [one.job.by for one in asked])
        callers = [
            who if isinstance(who, Exception) else now
            for who, now in zip(callers, again, strict=True)
        ]
    found: list[_Answered] = []
    rows: list[tuple[object, ...]] = []
    for one, who, mine in zip(asked, callers, given, strict=True):
        counted: list[Decision] = []
        found.append((one, who, counted))
        if isinstance(who, Exception):
            continue
        for question, decided in zip(one.questions, mine, strict=True):
            if counted and counted[-1].permit is one.stop_at:
                break
            decision = as_known_to(who, decided)
            counted.append(decision)
            rows.append(row_of(question, decision, who.by))
    try:
        ids = iter(writer.write(rows, line.recording))
    except errors.RecordFailed:
        line.close()
        return [(one, who, _all_denied(one)) for one, who, _ in found]
    return [
        (
            one,
            who,
            counted
            if isinstance(who, Exception)
            else [as_told(decision, next(ids), who) for decision in counted],
        )
        for one, who, counted in found
    ]


def _permitted(
    connection: Connection,
    writer: Writer,
    known: Known,
    asked: list[_Asked],
    callers: list[Caller | Exception],
) -> dict[int, Decision]:
    """Which of those that hold one question are plainly permitted, by their places.

    Lists are left out: their rows are one write, in their order.
    """
    places: list[int] = []
    plain: list[tuple[Question, Principal, frozenset[str] | None, int | None]] = []
    for at, (one, who) in enumerate(zip(asked, callers, strict=True)):
        if isinstance(who, Exception) or len(one.questions) != 1:
            continue
        house = None
        if isinstance(one.job.by, Credentials):
            if known.find(one.job.by) is None:
                continue  # their secret ends by itself, which no entry tells
            house = known.as_of
        places.append(at)
        plain.append((one.questions[0], who.by, who.clients, house))
    return {places[at]: found for at, found in permit(connection, writer, plain).items()}


def _all_denied(asked: _Asked) -> list[Decision]:
    """What is told when nothing can be recorded."""
    denied = Decision(permit=False, reason="record_failed")
    return [denied] * (1 if asked.stop_at is False else len(asked.questions))

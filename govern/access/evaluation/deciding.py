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
from contextlib import ExitStack, closing, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import exc as sa_exc

from govern import clock, errors, permissions
from govern.access.evaluation.desk import Desks, meet
from govern.access.evaluation.facts import evaluate_many
from govern.access.evaluation.questions import Decision, Question
from govern.audit.decisions import AccessKind, Writer
from govern.identity import integrations
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


class Credentials(NamedTuple):
    """Who asks, still to be found out: an integration's id and secret."""

    id: str
    secret: str


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


class _Caller(NamedTuple):
    """Who asks, and about which clients they may (None: all)."""

    by: Principal
    clients: frozenset[str] | None


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
        writer = writer or Writer(database)
        with closing(_Line(database)) as line:
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


class _Line:
    """The connections that questions are answered by: had when needed, kept while there are more.

    On PostgreSQL the access log is where all the rest is, and one does for both.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held = ExitStack()
        self._asking: Connection | None = None
        self._recording: Connection | None = None

    def asking(self) -> Connection:
        """The one there is, or another."""
        if self._asking is None:
            self._asking = self._held.enter_context(self._database.asking())
        return self._asking

    def recording(self) -> Connection:
        """The same to the access log."""
        if self._database.is_postgresql:
            return self.asking()
        if self._recording is None:
            self._recording = self._held.enter_context(self._database.access_asking())
        return self._recording

    def close(self) -> None:
        """Give them back; whatever happens to them then is no asker's matter."""
        self._asking = self._recording = None
        with suppress(sa_exc.SQLAlchemyError):
            self._held.close()


def _read(job: _Job) -> _Asked | None:
    """The job with its questions; none if they cannot be read, which is told at once."""
    try:
        return _Asked(job, job.inquiry.questions(), job.inquiry.stop_at())
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear of it
        job.answer.put(error)
        return None


def _answer(line: _Line, writer: Writer, known: Known, asked: list[_Asked]) -> None:
    if not asked:
        return
    try:
        try:
            found = _together(line, writer, known, asked)
        except sa_exc.DBAPIError:
            # It may have died since it was last used. What fails here has recorded nothing.
            line.close()
            found = _together(line, writer, known, asked)
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


def _outcome(asked: _Asked, who: _Caller | Exception, decisions: list[Decision]) -> Any:
    if isinstance(who, Exception):
        return who
    try:
        return asked.job.inquiry.told(who.by, decisions)
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear of it
        return error


def _together(
    line: _Line, writer: Writer, known: Known, asked: list[_Asked]
) -> list[tuple[_Asked, _Caller | Exception, list[Decision]]]:
    """Find out who asks, answer and record: three statements at most for all."""
    connection = line.asking()
    callers = _callers(connection, known, asked)
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
        callers = [
            who if isinstance(who, Exception) else now
            for who, now in zip(callers, _callers(connection, known, asked), strict=True)
        ]
    found: list[tuple[_Asked, _Caller | Exception, list[Decision]]] = []
    rows: list[tuple[object, ...]] = []
    for one, who, mine in zip(asked, callers, given, strict=True):
        counted: list[Decision] = []
        found.append((one, who, counted))
        if isinstance(who, Exception):
            continue
        for question, decided in zip(one.questions, mine, strict=True):
            if counted and counted[-1].permit is one.stop_at:
                break
            decision = _as_known_to(who, decided)
            counted.append(decision)
            rows.append(_row(question, decision, who.by))
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
            else [_told(decision, next(ids), who) for decision in counted],
        )
        for one, who, counted in found
    ]


def _all_denied(asked: _Asked) -> list[Decision]:
    """What is told when nothing can be recorded."""
    denied = Decision(permit=False, reason="record_failed")
    return [denied] * (1 if asked.stop_at is False else len(asked.questions))


def _callers(
    connection: Connection, known: Known, asked: list[_Asked]
) -> list[_Caller | Exception]:
    """Who asks, job by job, as it is now; `Unauthenticated` or `Forbidden` for who may not."""
    callers = [one.job.by for one in asked]
    shown = list(dict.fromkeys(by for by in callers if isinstance(by, Credentials)))
    found: dict[Credentials, Principal | Exception] = {
        by: kept for by in shown if (kept := known.find(by)) is not None
    }
    if len(found) < len(shown):  # then of all: those found together are known together
        authenticated = integrations.authenticate_many(connection, shown, known)
        found = dict(zip(shown, authenticated, strict=True))
    return [_caller(found[by] if isinstance(by, Credentials) else by) for by in callers]


def _caller(by: Principal | Exception) -> _Caller | Exception:
    if isinstance(by, Exception):
        return by
    clients = permissions.scope(by, "decision:ask")
    if clients is not None and not clients:
        return errors.Forbidden("This takes the permission decision:ask, which you do not hold.")
    return _Caller(by, clients)


def _row(question: Question, decision: Decision, by: Principal) -> tuple[object, ...]:
    """What the access log keeps of a decision, in the order of its columns after the number."""
    return (
        decision.at or clock.utcnow(), AccessKind.DECISION.value, by.id, by.session,
        decision.subject_id, decision.client_id, decision.resource_id, question.action[:80],
        decision.permit, decision.reason, decision.as_of, decision.house_as_of,
        question.worked_at, None,
    )  # fmt: skip


def _told(decision: Decision, row_id: str, who: _Caller) -> Decision:
    """The decision as it leaves: what is hidden, without the facts that its row keeps."""
    if _is_hidden(who, decision):
        return Decision(permit=False, reason="resource_unknown", id=row_id)
    return Decision._make((*decision[:-1], row_id))


def _is_hidden(who: _Caller, decision: Decision) -> bool:
    return not permissions.knows(
        who.by, who.clients, client=decision.client_id, project=decision.project_id
    )


def _as_known_to(who: _Caller, decision: Decision) -> Decision:
    """The decision as it is told to who may ask about some clients (None: all) or projects alone.

    Another's project is no different from none, nor a person who is known to others only from one
    who is known to nobody.
    """
    if _is_hidden(who, decision):
        return decision._replace(permit=False, reason="resource_unknown", grant_id=None)
    if who.clients is not None and decision.reason == "subject_unknown":
        return decision._replace(reason="no_grant")
    return decision

"""Decisions that count: asked together, recorded by one write, and only then told.

Questions that arrive while others are being answered wait for those alone, and are then answered
together: by one snapshot taken after the last of them came in, so that none misses a pause that
was committed before it. One thread does that for the whole process, as one writer of the access
log: the more there is to ask, the more is asked and written at once.
"""

from __future__ import annotations

import queue
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

from govern import clock, errors, permissions
from govern.access.evaluation.facts import evaluate_many
from govern.access.evaluation.questions import Decision, Question
from govern.audit.decisions import AccessKind, Writer
from govern.identity import integrations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from govern.db import Database
    from govern.principal import Principal

# Questions answered together, at most: one snapshot must not make the first wait for long.
_TOGETHER = 1000


class Credentials(NamedTuple):
    """Who asks, still to be found out: an integration's id and secret."""

    id: str
    secret: str


class _Job(NamedTuple):
    """Questions that came together, of one caller, and where their answer goes."""

    questions: Sequence[Question]
    stop_at: bool | None
    by: Principal | Credentials
    answer: Future[tuple[Principal, list[Decision]]]


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
    return decide_for(database, questions, stop_at=stop_at, by=by)[1]


def decide_for(
    database: Database,
    questions: Sequence[Question],
    *,
    stop_at: bool | None = None,
    by: Principal | Credentials,
) -> tuple[Principal, list[Decision]]:
    """The same, with who asks: who shows an id and a secret is found out after they asked, too.

    Raises `Unauthenticated` for credentials that do not count.
    """
    answer: Future[tuple[Principal, list[Decision]]] = Future()
    _desk(database).put(_Job(questions, stop_at, by, answer))
    return answer.result()


_desks: weakref.WeakKeyDictionary[Database, queue.SimpleQueue[_Job | None]] = (
    weakref.WeakKeyDictionary()
)
_desks_lock = threading.Lock()


def _desk(database: Database) -> queue.SimpleQueue[_Job | None]:
    """Where questions to a database are handed in; its thread begins with the first."""
    found = _desks.get(database)
    if found is None:
        with _desks_lock:
            found = _desks.get(database)
            if found is None:
                found = _desks[database] = queue.SimpleQueue()
                threading.Thread(
                    target=_serve, args=(weakref.ref(database), found), daemon=True
                ).start()
                weakref.finalize(database, found.put, None)
    return found


def _serve(owner: weakref.ref[Database], desk: queue.SimpleQueue[_Job | None]) -> None:
    """Answer all that is waiting, again and again, until the database is let go."""
    writer: Writer | None = None
    while (job := desk.get()) is not None:
        jobs, size = [job], len(job.questions)
        while size < _TOGETHER:
            try:
                more = desk.get_nowait()
            except queue.Empty:
                break
            if more is None:
                desk.put(None)
                break
            jobs.append(more)
            size += len(more.questions)
        database = owner()
        if database is None:
            return
        writer = writer or Writer(database)
        _answer(database, writer, jobs)
        del database, jobs, job


def _answer(database: Database, writer: Writer, jobs: list[_Job]) -> None:
    try:
        answers = list(zip(jobs, _together(database, writer, jobs), strict=True))
    except Exception as error:  # noqa: BLE001 - whatever it is, each asker must hear of it
        if len(jobs) == 1:
            jobs[0].answer.set_exception(error)
            return
        # One of them may be at fault for all: each is asked by itself.
        for job in jobs:
            _answer(database, writer, [job])
        return
    for job, answer in answers:
        if isinstance(answer, Exception):
            job.answer.set_exception(answer)
        else:
            job.answer.set_result(answer)


def _together(
    database: Database, writer: Writer, jobs: list[_Job]
) -> list[tuple[Principal, list[Decision]] | Exception]:
    """Find out who asks, answer and record: three statements for all jobs."""
    with database.asking() as connection:
        callers = _callers(connection, jobs)
        questions = [
            question
            for job, by in zip(jobs, callers, strict=True)
            if not isinstance(by, Exception)
            for question in job.questions
        ]
        decisions = iter(evaluate_many(connection, questions))
        answers: list[tuple[Principal, list[Decision]] | Exception] = []
        rows: list[tuple[object, ...]] = []
        for job, by in zip(jobs, callers, strict=True):
            if isinstance(by, Exception):
                answers.append(by)
                continue
            told: list[Decision] = []
            clients = permissions.scope(by, "decision:ask")
            for question in job.questions:
                decision = _as_known_to(clients, by, next(decisions))
                if told and told[-1].permit is job.stop_at:
                    continue
                told.append(decision)
                rows.append(_row(question, decision, by))
            answers.append((by, told))
        try:
            ids = iter(writer.write(rows, connection))
        except errors.RecordFailed:
            return [
                answer if isinstance(answer, Exception) else (answer[0], _all_denied(job))
                for job, answer in zip(jobs, answers, strict=True)
            ]
    return [
        answer
        if isinstance(answer, Exception)
        else (answer[0], [_told(decision, next(ids), answer[0]) for decision in answer[1]])
        for answer in answers
    ]


def _all_denied(job: _Job) -> list[Decision]:
    """What is told when nothing can be recorded."""
    denied = Decision(permit=False, reason="record_failed")
    return [denied] * (1 if job.stop_at is False else len(job.questions))


def _callers(connection: Connection, jobs: list[_Job]) -> list[Principal | Exception]:
    """Who asks, job by job, as it is now; `Unauthenticated` or `Forbidden` for who may not."""
    shown = {job.by: None for job in jobs if isinstance(job.by, Credentials)}
    known: dict[Credentials, Principal | Exception] = dict(
        zip(
            shown,
            integrations.authenticate_many(connection, [(who.id, who.secret) for who in shown]),
            strict=True,
        )
    )
    callers: list[Principal | Exception] = []
    for job in jobs:
        by = known[job.by] if isinstance(job.by, Credentials) else job.by
        if not isinstance(by, Exception):
            clients = permissions.scope(by, "decision:ask")
            if clients is not None and not clients:
                by = errors.Forbidden(
                    "This takes the permission decision:ask, which you do not hold."
                )
        callers.append(by)
    return callers


def _row(question: Question, decision: Decision, by: Principal) -> tuple[object, ...]:
    """What the access log keeps of a decision, in the order of its columns after the number."""
    return (
        decision.at or clock.utcnow(), AccessKind.DECISION.value, by.id, by.session,
        decision.subject_id, decision.client_id, decision.resource_id, question.action[:80],
        decision.permit, decision.reason, decision.as_of, decision.house_as_of,
        question.worked_at, None,
    )  # fmt: skip


def _told(decision: Decision, row_id: str, by: Principal) -> Decision:
    """The decision as it leaves: what is hidden, without the facts that its row keeps."""
    if _is_hidden(permissions.scope(by, "decision:ask"), by, decision):
        return Decision(permit=False, reason="resource_unknown", id=row_id)
    return decision._replace(id=row_id)


def _is_hidden(clients: frozenset[str] | None, by: Principal, decision: Decision) -> bool:
    return not permissions.knows(
        by, clients, client=decision.client_id, project=decision.project_id
    )


def _as_known_to(clients: frozenset[str] | None, by: Principal, decision: Decision) -> Decision:
    """The decision as it is told to who may ask about some clients (None: all) or projects alone.

    Another's project is no different from none, nor a person who is known to others only from one
    who is known to nobody.
    """
    if _is_hidden(clients, by, decision):
        return decision._replace(permit=False, reason="resource_unknown", grant_id=None)
    if clients is not None and decision.reason == "subject_unknown":
        return decision._replace(reason="no_grant")
    return decision

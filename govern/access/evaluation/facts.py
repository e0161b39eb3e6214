"""Decisions from one snapshot: facts by one statement a shape of question, the rule walked over.

However many questions come together, those of one shape are answered by one statement, in which
each clause of the rule is a column. `evaluate` records nothing and asks for no permission.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import String, case, func, literal, select
from sqlalchemy.orm import aliased

from govern import clock
from govern.access import grants
from govern.access.clients import Client, Dataset, Project, is_type
from govern.access.evaluation.questions import Decision, Question
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect, effect_of
from govern.audit import log
from govern.audit.log import HOUSE
from govern.clock import Utc
from govern.identity.subjects import Subject
from govern.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Connection, FromClause, Select
    from sqlalchemy.orm import Session as OrmSession
    from sqlalchemy.types import TypeEngine

    Row = tuple[Any, ...]


class Shape(NamedTuple):
    """What a question's statement depends on; the rest of it are parameters.

    `brief` leaves the suspensions out, and says of each grant whether any overlies it.
    """

    effect: Effect
    by_mail: bool
    on_dataset: bool
    own_type: bool
    past: bool
    worked: bool
    brief: bool


class _Statement(NamedTuple):
    """How questions of a shape are answered: the clauses, in their columns' order, and the rest."""

    clauses: list[grants.Clause]
    prepared: Prepared


# What is asked after the suspensions: where any overlies a grant, it may be the reason.
_AFTER_HOLDS = frozenset(grants.ENROL.values())
# The columns that come before the clauses'.
FACTS = 12


def evaluate(session: OrmSession, question: Question) -> Decision:
    """Answer one question from one snapshot."""
    return evaluate_many(session.connection(), [question])[0]


def evaluate_many(connection: Connection, questions: Sequence[Question]) -> list[Decision]:
    """Answer questions, each from a snapshot taken after it came in.

    Suspensions are many clauses and few people's: of those asked about now, whoever is not under
    any is answered without a look at each, and the others by a statement that asks for all.
    """
    found: list[Decision | None] = [None] * len(questions)
    later = _answered(connection, questions, range(len(questions)), found, brief=True)
    if later:
        _answered(connection, questions, later, found, brief=False)
    return found  # type: ignore[return-value]  # what is left out of the first is in the second


def _answered(
    connection: Connection,
    questions: Sequence[Question],
    places: Iterable[int],
    found: list[Decision | None],
    *,
    brief: bool,
) -> list[int]:
    """Fill in some questions' decisions; returns the places of those that need all clauses."""
    left: list[int] = []
    groups: dict[Shape, tuple[list[int], list[Row]]] = {}
    for place in places:
        question = questions[place]
        shape, given = shaped(question, brief=brief)
        if shape is None:
            found[place] = Decision(permit=False, reason="resource_unknown")
        elif brief and (shape.past or shape.worked):
            left.append(place)
        else:
            members, rows = groups.setdefault(shape, ([], []))
            members.append(place)
            rows.append(given)
    for shape, (members, rows) in groups.items():
        clauses, prepared = _prepared(shape)
        if brief:
            ready(connection, shape)
        answers: dict[int, list[Row]] = {}
        for row in prepared.rows(connection, rows):
            answers.setdefault(row[0], []).append(row)
        for number, place in enumerate(members, 1):
            decision = _decision(questions[place], shape, clauses, answers[number])
            found[place] = decision
            if decision is None:
                left.append(place)
    return left


def ready(connection: Connection, shape: Shape) -> None:
    """See that nobody who asks on this connection waits while the first pause's is planned."""
    for brief in (True, False):
        _prepared(shape._replace(brief=brief)).prepared.ready(connection)


def shaped(question: Question, *, brief: bool) -> tuple[Shape | None, Row]:
    """The question's shape and its row of parameters; no shape for what can be no resource."""
    subject, action, kind, code, worked_at, at = question
    own_type = kind not in {"project", "dataset"}
    if own_type and not is_type(kind):
        return None, ()
    effect = effect_of(action)
    by_mail = "@" in subject
    worked = worked_at is not None and effect is Effect.HOURS
    shape = Shape(effect, by_mail, kind != "project", own_type, at is not None, worked, brief)
    subject = subject.strip()
    given: list[Any] = [subject.lower() if by_mail else subject, code, action]
    if own_type:
        given.append(kind)
    if worked:
        given.append(worked_at)
    if at is not None:
        given.append(at)
    return shape, tuple(given)


def _decision(
    question: Question, shape: Shape, clauses: list[grants.Clause], rows: list[Row]
) -> Decision | None:
    """Walk the clauses over each grant; the one that gets furthest says why not.

    None when only the suspensions are left to ask, and this statement did not ask for them.
    """
    (
        _, subject_id, _, resource_id, _, client_id, project_id, _, as_of, house_as_of, now, _,
    ) = rows[0][:FACTS]  # fmt: skip
    reason, grant_id = _reason(question, shape, clauses, rows)
    if reason is None:
        return None
    return Decision(
        reason == "permitted", reason,
        as_of, house_as_of, subject_id, client_id, project_id, resource_id, grant_id, now,
    )  # fmt: skip


def _reason(
    question: Question, shape: Shape, clauses: list[grants.Clause], rows: list[Row]
) -> tuple[str | None, str | None]:
    """The reason and the grant that it is about."""
    _, _, subject_known, _, resource_known, *_, now, _ = rows[0][:FACTS]
    if not subject_known:
        return "subject_unknown", None
    if not resource_known:
        return "resource_unknown", None
    if (
        question.worked_at is not None
        and shape.worked
        and question.worked_at > (question.at or now)
    ):
        return "work_in_future", None
    reason, furthest, grant_id = "no_grant", -1, None
    for row in rows:
        if row[7] is None:
            continue
        place, failing = _first_failing(clauses, row)
        if shape.brief and row[11] and (failing is None or failing in _AFTER_HOLDS):
            return None, None
        if failing is None:
            return "permitted", row[7]
        if place > furthest:
            reason, furthest, grant_id = failing, place, row[7]
    return reason, grant_id


def _first_failing(clauses: list[grants.Clause], row: Row) -> tuple[int, str | None]:
    for place, clause in enumerate(clauses):
        outcome = row[FACTS + place]
        if clause.holding is not None:
            if outcome is not None:
                return place, f"{clause.reason}_{outcome}"
        elif not outcome:
            return place, clause.reason
    return len(clauses), None


@cache
def _prepared(shape: Shape) -> _Statement:
    """The statement of a shape of question: built once, asked ever after."""
    columns: dict[str, TypeEngine[Any]] = dict.fromkeys(("subject", "code", "action"), String())
    if shape.own_type:
        columns["type"] = String()
    if shape.worked:
        columns["worked_at"] = Utc()
    if shape.past:
        columns["at"] = Utc()
    clauses: list[grants.Clause] = []

    def build(asked: FromClause) -> Select[Any]:
        statement, found = statement_of(shape, asked)
        clauses[:] = found
        return statement

    return _Statement(clauses, Prepared(columns, build))


def statement_of(shape: Shape, asked: FromClause) -> tuple[Select[Any], list[grants.Clause]]:
    """One row for each grant that could matter, or one without; each clause is a column."""
    moment = Moment(
        at=asked.c.at if shape.past else None,
        worked_at=asked.c.worked_at if shape.worked else None,
    )
    moment = moment if shape.past or shape.worked else grants.NOW
    dataset = Dataset.id if shape.on_dataset else None
    if shape.brief:
        clauses = [
            *grants.standing(moment),
            grants.entitled(asked.c.action, moment),
            *grants.met(moment),
        ]
        overlaid = grants.overlaid(dataset=dataset)
    else:
        clauses = grants.rule(asked.c.action, shape.effect, moment, dataset=dataset)
        overlaid = literal(1)
    name = Subject.email if shape.by_mail else Subject.external_id
    source: Any = asked.outerjoin(Subject, name == asked.c.subject)
    if shape.on_dataset:
        named = Dataset.code == asked.c.code
        if shape.own_type:
            named &= Dataset.type == asked.c.type
        source = source.outerjoin(Dataset, named)
        source = source.outerjoin(Project, Project.id == Dataset.project_id)
    else:
        source = source.outerjoin(Project, Project.code == asked.c.code)
    covering = grants.covering(project=Project.id, dataset=dataset, effect=shape.effect)
    # Asked of both together: of the person alone, PostgreSQL would read all that they hold, and
    # look for the project among that.
    theirs = Grant.subject_id == case((Project.id.is_not(None), Subject.id))
    source = source.outerjoin(Client, Client.id == Project.client_id).outerjoin(
        Grant, theirs & covering & moment.known(Grant)
    )
    resource = Dataset if shape.on_dataset else Project
    statement = select(
        asked.c.n,
        Subject.id,
        Subject.id.is_not(None) & moment.known(Subject),
        resource.id,
        resource.id.is_not(None) & moment.known(resource),
        Client.id,
        Project.id,
        Grant.id,
        _as_of(Client.id, moment),
        _as_of(literal(HOUSE), moment),
        clock.instant(),
        overlaid,
        *(_column(clause) for clause in clauses),
    ).select_from(source)
    return statement, clauses


def _column(clause: grants.Clause) -> ColumnElement[Any]:
    if clause.holding is None:
        return clause.test
    # The modes' names sort from strictest to mildest: paused, read_only, under_review.
    strictest = func.min(clause.holding.selected_columns[0])
    return clause.holding.with_only_columns(strictest).scalar_subquery()


def _as_of(log_id: Any, moment: Moment) -> Any:
    """How many entries of a log the snapshot saw, or had been written by then."""
    entry = aliased(log.Entry)
    query = select(func.coalesce(func.max(entry.seq) + 1, 0)).where(entry.log_id == log_id)
    if moment.at is not None:
        query = query.where(entry.at <= moment.at)
    return query.correlate_except(entry).scalar_subquery()

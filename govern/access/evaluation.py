"""The decision: whether this subject may do this on this resource, and why not.

The facts are gathered in one statement, so they are one snapshot, with the log position that it
saw (`as_of`). Then the rule's clauses are walked in order. `decide()` explains one case, `search()`
lists many; both read the clauses of `grants`, and a matrix drives them together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, bindparam, func, literal, select
from sqlalchemy.orm import aliased

from govern import clock, errors, permissions
from govern.access import grants
from govern.access.clients import Client, Dataset, Project, is_type
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect, effect_of
from govern.audit import decisions, log
from govern.audit.decisions import AccessKind
from govern.audit.log import HOUSE
from govern.clock import Utc
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database
    from govern.principal import Principal

REASONS: dict[str, str] = {
    "permitted": "A grant in force allows this.",
    "subject_unknown": "Nobody is known by that name.",
    "resource_unknown": "There is no such project or dataset.",
    "no_grant": "They hold no grant for this.",
    "subject_offboarded": "They have left.",
    "client_ended": "The client has ended.",
    "project_ended": "The project has ended.",
    "grant_revoked": "Their grant was revoked.",
    "grant_not_started": "Their grant has not started yet.",
    "grant_expired": "Their grant has expired.",
    "action_not_granted": "Their grant does not allow this action.",
    "second_factor_required": "Under review: a second factor within 12 hours is needed.",
    "work_in_future": "The work would lie in the future.",
    "record_failed": "The decision could not be recorded, so it is a denial.",
    **{
        f"{scope}_{mode}": f"The {scope} is {words}."
        for scope in ("client", "project", "dataset", "organisation")
        for mode, words in (("paused", "paused"), ("read_only", "read-only for now"))
    },
    "subject_paused": "Their own access is suspended.",
    "subject_read_only": "Their own access is read-only for now.",
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: a subject (external id or e-mail), an action, a project's or dataset's code.

    `kind` is `project`, `dataset`, or the type that a dataset has of its own. `worked_at` counts
    for hours alone; `at` asks about the past, None about now.
    """

    subject: str
    action: str
    kind: str
    code: str
    worked_at: datetime | None = None
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer. `as_of` is the client log's position that the snapshot saw (entries)."""

    permit: bool
    reason: str
    as_of: int | None = None
    house_as_of: int | None = None
    subject_id: str | None = None
    client_id: str | None = None
    project_id: str | None = None
    resource_id: str | None = None
    grant_id: str | None = None
    at: datetime | None = None
    id: str | None = None

    @property
    def sentence(self) -> str:
        """The reason in plain words."""
        return REASONS[self.reason]


def evaluate(session: OrmSession, question: Question) -> Decision:
    """Answer one question from one snapshot; records nothing and asks for no permission."""
    own_type = question.kind not in {"project", "dataset"}
    if own_type and not is_type(question.kind):
        return Decision(permit=False, reason="resource_unknown")
    effect = effect_of(question.action)
    worked_at = question.worked_at if effect is Effect.HOURS else None
    by_mail = "@" in question.subject
    shape = _Shape(
        effect=effect,
        by_mail=by_mail,
        on_dataset=question.kind != "project",
        own_type=own_type,
        past=question.at is not None,
        worked=worked_at is not None,
    )
    clauses, statement = _prepared(shape)
    subject = question.subject.strip()
    wanted: dict[str, Any] = {
        "subject": subject.lower() if by_mail else subject,
        "code": question.code,
        "action": question.action,
    }
    if own_type:
        wanted["type"] = question.kind
    instants = {"at": question.at, "worked_at": worked_at}
    wanted |= {name: when for name, when in instants.items() if when is not None}
    rows = session.execute(statement, wanted).all()
    first = rows[0]
    found = Decision(
        permit=False,
        reason="no_grant",
        as_of=first.as_of,
        house_as_of=first.house_as_of,
        subject_id=first.subject_id,
        client_id=first.client_id,
        project_id=first.project_id,
        at=first.now,
        resource_id=first.resource_id,
    )
    if first.subject_id is None or first.subject_not_yet:
        return _because(found, "subject_unknown")
    if first.resource_id is None or first.resource_not_yet:
        return _because(found, "resource_unknown")
    if worked_at is not None and worked_at > (question.at or first.now):
        return _because(found, "work_in_future")
    return _walk(found, rows, clauses)


def _walk(found: Decision, rows: Any, clauses: list[grants.Clause]) -> Decision:
    """Walk the clauses over each grant; the one that gets furthest says why not."""
    furthest = -1
    for row in rows:
        if row.grant_id is None:
            continue
        for place, clause in enumerate(clauses):
            outcome = row[place]
            if clause.holding is not None:
                if outcome is None:
                    continue
            elif outcome:
                continue
            if place > furthest:
                reason = clause.reason if clause.holding is None else f"{clause.reason}_{outcome}"
                furthest, found = place, _because(found, reason, grant=row.grant_id)
            break
        else:
            return _because(found, "permitted", grant=row.grant_id)
    return found


def _because(found: Decision, reason: str, grant: str | None = None) -> Decision:
    return replace(found, permit=reason == "permitted", reason=reason, grant_id=grant)


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """What a question's statement depends on; the rest of it are parameters."""

    effect: Effect
    by_mail: bool
    on_dataset: bool
    own_type: bool
    past: bool
    worked: bool


@cache
def _prepared(shape: _Shape) -> tuple[list[grants.Clause], Select[Any]]:
    """The clauses and the one statement of a shape of question: built once, asked ever after.

    One row for each grant that could matter, or one without; each clause is a column.
    """
    moment = Moment(
        at=bindparam("at", type_=Utc()) if shape.past else None,
        worked_at=bindparam("worked_at", type_=Utc()) if shape.worked else None,
    )
    action: ColumnElement[str] = bindparam("action", type_=String())
    dataset = Dataset.id if shape.on_dataset else None
    clauses = grants.rule(action, shape.effect, moment, dataset=dataset)
    columns = [
        (
            # The modes' names sort from strictest to mildest: paused, read_only, under_review.
            clause.holding.with_only_columns(
                func.min(clause.holding.selected_columns[0])
            ).scalar_subquery()
            if clause.holding is not None
            else clause.test
        ).label(f"clause_{place}")
        for place, clause in enumerate(clauses)
    ]
    name = Subject.email if shape.by_mail else Subject.external_id
    source: Any = select(literal(1).label("one")).subquery()
    source = source.outerjoin(Subject, name == bindparam("subject", type_=String()))
    code: ColumnElement[str] = bindparam("code", type_=String())
    if shape.on_dataset:
        named = Dataset.code == code
        if shape.own_type:
            named &= Dataset.type == bindparam("type", type_=String())
        source = source.outerjoin(Dataset, named)
        source = source.outerjoin(Project, Project.id == Dataset.project_id)
    else:
        source = source.outerjoin(Project, Project.code == code)
    covering = grants.covering(project=Project.id, dataset=dataset, effect=shape.effect)
    source = source.outerjoin(Client, Client.id == Project.client_id).outerjoin(
        Grant, (Grant.subject_id == Subject.id) & covering & moment.known(Grant)
    )
    resource = Dataset if shape.on_dataset else Project
    return clauses, select(
        *columns,
        Subject.id.label("subject_id"),
        (~moment.known(Subject)).label("subject_not_yet"),
        resource.id.label("resource_id"),
        (~moment.known(resource)).label("resource_not_yet"),
        Client.id.label("client_id"),
        Project.id.label("project_id"),
        Grant.id.label("grant_id"),
        _as_of(Client.id, moment).label("as_of"),
        _as_of(literal(HOUSE), moment).label("house_as_of"),
        clock.instant().label("now"),
    ).select_from(source)


def _as_of(log_id: Any, moment: Moment) -> Any:
    """How many entries of a log the snapshot saw, or had been written by then."""
    entry = aliased(log.Entry)
    query = select(func.coalesce(func.max(entry.seq) + 1, 0)).where(entry.log_id == log_id)
    if moment.at is not None:
        query = query.where(entry.at <= moment.at)
    return query.correlate(Client).scalar_subquery()


def decide(database: Database, question: Question, *, by: Principal) -> Decision:
    """Answer one question, durably recorded before it leaves; a denial when it cannot be.

    What the caller may not know exists is denied without a reason that tells: `resource_unknown`.
    """
    return decide_many(database, [question], by=by)[0]


def decide_many(
    database: Database,
    questions: list[Question],
    *,
    stop_at: bool | None = None,
    by: Principal,
) -> list[Decision]:
    """Answer several questions from one snapshot each, recorded together.

    `stop_at` ends the list with the first decision that says so; what comes after is not asked.
    """
    clients = permissions.scope(by, "decision:ask")
    if clients is not None and not clients:
        raise errors.Forbidden("This takes the permission decision:ask, which you do not hold.")
    found = []
    for question in questions:
        # A snapshot taken after the question came in: no pause committed before is missed.
        with database.reading() as session:
            found.append(_as_known_to(clients, by, evaluate(session, question)))
        if found[-1].permit is stop_at:
            break
    if not found:
        return []
    rows = [
        {
            "at": decision.at or clock.utcnow(),
            "kind": AccessKind.DECISION,
            "principal": by.id,
            "session_id": by.session,
            "subject_id": decision.subject_id,
            "client_id": decision.client_id,
            "resource_id": decision.resource_id,
            "action": question.action[:80],
            "permit": decision.permit,
            "reason": decision.reason,
            "as_of": decision.as_of,
            "house_as_of": decision.house_as_of,
            "worked_at": question.worked_at,
            "detail": None,
        }
        for question, decision in zip(questions, found, strict=False)
    ]
    try:
        ids = decisions.write(database, rows)
    except errors.RecordFailed:
        return [Decision(permit=False, reason="record_failed") for _ in questions]
    return [
        # What is hidden leaves without the facts that its row keeps.
        Decision(permit=False, reason="resource_unknown", id=row_id)
        if _is_hidden(clients, by, decision)
        else replace(decision, id=row_id)
        for decision, row_id in zip(found, ids, strict=True)
    ]


def _is_hidden(clients: frozenset[str] | None, by: Principal, decision: Decision) -> bool:
    if clients is not None and decision.client_id not in clients:
        return True
    return by.projects is not None and by.projects.isdisjoint(
        (decision.project_id, decision.client_id)
    )


def _as_known_to(clients: frozenset[str] | None, by: Principal, decision: Decision) -> Decision:
    """The decision as it is told to who may ask about some clients (None: all) or projects alone.

    Another's project is no different from none, nor a person who is known to others only from one
    who is known to nobody.
    """
    if _is_hidden(clients, by, decision):
        return replace(decision, permit=False, reason="resource_unknown", grant_id=None)
    if clients is not None and decision.reason == "subject_unknown":
        return replace(decision, reason="no_grant")
    return decision


@dataclass(frozen=True, kw_only=True)
class Reach:
    """One line of a list of who can: a grant in force and whose it is."""

    grant_id: str
    subject_id: str
    external_id: str
    email: str
    full_name: str
    project: str
    entitlement_id: str
    starts_at: datetime
    ends_at: datetime


def search(
    session: OrmSession,
    *,
    action: str,
    kind: str,
    code: str,
    at: datetime | None = None,
    after: str = "",
    limit: int = 1000,
    by: Principal,
) -> list[Reach]:
    """Whose grants permit an action on a client's projects, a project or a dataset; keyset by id.

    For a client it is every grant of its projects that permits the action there.
    """
    over: dict[str, str] = {}
    if kind == "client":
        row = _known(session, Client, code)
        client_id = row.id
    elif kind == "project":
        row = _known(session, Project, code)
        client_id = row.client_id
    elif kind == "dataset":
        row = _known(session, Dataset, code)
        client_id = session.get_one(Project, row.project_id).client_id
        over = {"project": row.project_id}
    else:
        raise errors.Invalid("Ask about client:, project: or dataset:.", field="resource")
    permissions.require(by, "grant:read", client=client_id)
    if at is not None and row.recorded_at > at:
        return []
    wanted = {"resource": row.id, "action": action, "after": after, "limit": limit, **over}
    if at is not None:
        wanted["at"] = at
    rows = session.execute(_listing(kind, effect_of(action), past=at is not None), wanted)
    names = list(Reach.__dataclass_fields__)
    return [Reach(**dict(zip(names, found, strict=True))) for found in rows]


@cache
def _listing(kind: str, effect: Effect, *, past: bool) -> Select[Any]:
    """The one statement of a kind of list: built once, asked ever after."""
    moment = Moment(at=bindparam("at", type_=Utc()) if past else None)
    action: ColumnElement[str] = bindparam("action", type_=String())
    resource: ColumnElement[str] = bindparam("resource", type_=String())
    dataset = resource if kind == "dataset" else None
    if kind == "client":
        over: ColumnElement[bool] = Grant.client_id == resource
    else:
        project = bindparam("project", type_=String()) if kind == "dataset" else resource
        over = grants.covering(project=project, dataset=dataset, effect=effect)
    return (
        grants.facts(
            Grant.id,
            Subject.id,
            Subject.external_id,
            Subject.email,
            Subject.full_name,
            Project.code,
            Grant.entitlement_id,
            Grant.starts_at,
            Grant.ends_at,
            moment=moment,
        )
        .where(
            over,
            Grant.id > bindparam("after", type_=String()),
            grants.all_of(grants.rule(action, effect, moment, dataset=dataset)),
        )
        .order_by(Grant.id)
        .limit(bindparam("limit", type_=Integer()))
    )


def _known(session: OrmSession, table: Any, code: str) -> Any:
    row = session.execute(select(table).where(table.code == code)).scalar_one_or_none()
    if row is None:
        raise errors.Unknown(f"There is no {table.__tablename__} “{code}”.", field="resource")
    return row

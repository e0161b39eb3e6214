"""Searches: who may do something there, where someone may do it, and what they may do there, now.

Each lists exactly what `evaluation.decide` would permit: the clauses are the same ones. A page is
found by place and never by counting. Its token belongs to the question that it was given for, and
each search is on record before its answer leaves. What the caller may not know exists is an empty
list, as is what nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, bindparam, func, null, or_, select

from govern import clock, permissions
from govern.access import evaluation, grants
from govern.access.clients import Dataset, Project, is_type
from govern.access.entitlements import EntitlementAction
from govern.access.evaluation import Question
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect, effect_of
from govern.access.paging import Found, Keys, Page
from govern.audit import decisions, leaf, log
from govern.audit.decisions import AccessKind
from govern.audit.log import HOUSE
from govern.clock import Utc
from govern.identity import subjects as people
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database
    from govern.principal import Principal

# People looked at together, at most, while a page fills: a statement's work stays bounded.
WINDOW = 8192


@dataclass(frozen=True, kw_only=True)
class _Resource:
    """A project, or one of its datasets, by opaque id."""

    client: str
    project: str
    dataset: str | None

    @property
    def id(self) -> str:
        return self.dataset or self.project


# --- who -----------------------------------------------------------------------------------------


def subjects(
    database: Database,
    *,
    action: str,
    kind: str,
    code: str,
    worked_at: datetime | None = None,
    page: Page,
    by: Principal,
) -> Found:
    """Who may do something on a project or dataset, by external id."""
    clients = permissions.require_some(by, "decision:ask")
    effect, worked_at = _effect(action, worked_at)
    keys = Keys(page, by, "subject", action, kind, code, _text(worked_at))
    with database.reading() as session:
        over = _resource(session, kind, code)
        rows: list[tuple[str, str]] = []
        if over is not None and _knows(clients, by, over) and _is_past(session, worked_at):
            rows = _who(session, over, action, effect, worked_at=worked_at, keys=keys)
        row = _row(session, "subject", action=action, over=over, worked_at=worked_at, by=by)
    return _recorded(database, row, keys.found(rows))


def _who(
    session: OrmSession,
    over: _Resource,
    action: str,
    effect: Effect,
    *,
    worked_at: datetime | None,
    keys: Keys,
) -> list[tuple[str, str]]:
    """Walk those who hold a grant there, a window of people at a time, until the page is full."""
    moment = _moment(worked=worked_at is not None)
    given = {
        "project": over.project, "dataset": over.dataset, "action": action, "worked_at": worked_at,
    }  # fmt: skip
    named = select(EntitlementAction.id).where(EntitlementAction.action == action).limit(1)
    if session.execute(named).first() is None:
        return []  # nobody can hold what no entitlement ever named: nobody need be looked at
    held = session.execute(
        grants.blanket(
            effect, moment, client=over.client, project=over.project, dataset=over.dataset
        ),
        given,
    ).scalar()
    last, able = _people(
        effect,
        on_dataset=over.dataset is not None,
        worked=worked_at is not None,
        held=held is not None,
    )
    after, window = keys.after, keys.limit + 1
    rows: list[tuple[str, str]] = []
    while len(rows) <= keys.limit:
        wanted = given | {"held": held, "after": after, "window": window}
        size, until = session.execute(last, wanted).one()
        if until is None:
            break
        rows += _pairs(session, able, wanted)
        if size < window:
            break
        after, window = until, min(2 * window, WINDOW)
    return rows


@cache
def _people(effect: Effect, *, on_dataset: bool, worked: bool, held: bool) -> tuple[Any, Any]:
    """The next people with an open grant there: how many and who is last; whom the rule permits.

    Two statements, built once and asked ever after. The window keeps the plan and the work of a
    page the same, however many hold grants. `held` when some suspension covers the whole: only
    who was released from it can be left.
    """
    moment = _moment(worked=worked)
    dataset = _given("dataset") if on_dataset else None
    covering = grants.covering(project=_given("project"), dataset=dataset, effect=effect)
    holders = (
        select(Grant.subject_id)
        .where(
            covering,
            grants.all_of([*grants.open_(moment), grants.entitled(_given("action"), moment)]),
        )
        .distinct()
        .order_by(Grant.subject_id)
        .limit(bindparam("window", type_=Integer()))
    )
    if held:
        out = grants.let_out(_given("held"), moment, after=_given("after"))
        holders = holders.where(Grant.subject_id.in_(out))
    else:
        holders = holders.where(Grant.subject_id > _given("after"))
    window = holders.subquery()
    able = (
        grants.facts(Subject.id, Subject.external_id, moment=moment)
        .where(
            covering,
            Grant.subject_id.in_(select(window.c.subject_id)),
            grants.all_of(grants.rule(_given("action"), effect, moment, dataset=dataset)),
        )
        .distinct()
        .order_by(Subject.id)
    )
    return select(func.count(), func.max(window.c.subject_id)).select_from(window), able


# --- where ---------------------------------------------------------------------------------------


def resources(
    database: Database,
    subject: str,
    *,
    action: str,
    kind: str,
    worked_at: datetime | None = None,
    page: Page,
    by: Principal,
) -> Found:
    """The codes of the projects, or of the datasets of a type, where someone may do something."""
    clients = permissions.require_some(by, "decision:ask")
    effect, worked_at = _effect(action, worked_at)
    keys = Keys(page, by, "resource", subject, action, kind, _text(worked_at))
    with database.reading() as session:
        person = people.lookup(session, subject)
        rows: list[tuple[str, str]] = []
        if person is not None and _is_kind(kind) and _is_past(session, worked_at):
            statement = _places(
                effect,
                kind=kind if kind in {"project", "dataset"} else None,
                worked=worked_at is not None,
                few_clients=clients is not None,
                few_projects=by.projects is not None,
            )
            wanted = {
                "subject": person.id, "action": action, "type": kind, "after": keys.after,
                "limit": keys.limit + 1, "worked_at": worked_at, "clients": sorted(clients or ()),
                "projects": sorted(by.projects or ()),
            }  # fmt: skip
            rows = _pairs(session, statement, wanted)
        row = _row(session, "resource", action=action, subject=person, worked_at=worked_at, by=by)
    return _recorded(database, row, keys.found(rows))


@cache
def _places(
    effect: Effect, *, kind: str | None, worked: bool, few_clients: bool, few_projects: bool
) -> Any:
    """Projects or datasets (`kind` None: those of one type) where a grant permits an action."""
    moment = _moment(worked=worked)
    place: type[Project | Dataset] = Project if kind == "project" else Dataset
    dataset = None if kind == "project" else Dataset.id
    query = grants.facts(place.code, place.code.label("name"), moment=moment)
    if dataset is not None:
        query = query.join(Dataset, Dataset.project_id == Grant.project_id)
    if kind is None:
        query = query.where(Dataset.type == _given("type"))
    if few_clients:
        query = query.where(Grant.client_id.in_(bindparam("clients", expanding=True)))
    if few_projects:
        known: ColumnElement[str] = bindparam("projects", type_=String(), expanding=True)
        query = query.where(or_(Grant.project_id.in_(known), Grant.client_id.in_(known)))
    return (
        query.where(
            Grant.subject_id == _given("subject"),
            grants.covering(project=Project.id, dataset=dataset, effect=effect),
            grants.all_of(grants.rule(_given("action"), effect, moment, dataset=dataset)),
            place.code > _given("after"),
        )
        .distinct()
        .order_by(place.code)
        .limit(bindparam("limit", type_=Integer()))
    )


# --- what ----------------------------------------------------------------------------------------


def actions(
    database: Database,
    subject: str,
    *,
    kind: str,
    code: str,
    worked_at: datetime | None = None,
    page: Page,
    by: Principal,
) -> Found:
    """What someone may do on a project or dataset."""
    clients = permissions.require_some(by, "decision:ask")
    keys = Keys(page, by, "action", subject, kind, code, _text(worked_at))
    with database.reading() as session:
        over, person = _resource(session, kind, code), people.lookup(session, subject)
        rows: list[tuple[str, str]] = []
        if over is not None and person is not None and _knows(clients, by, over):
            for action in _named(session, person, over, keys.after):
                question = Question(
                    subject=subject, action=action, kind=kind, code=code, worked_at=worked_at
                )
                if evaluation.evaluate(session, question).permit:
                    rows.append((action, action))
                if len(rows) > keys.limit:
                    break
        row = _row(session, "action", over=over, subject=person, worked_at=worked_at, by=by)
    return _recorded(database, row, keys.found(rows))


def _named(session: OrmSession, person: Subject, over: _Resource, after: str) -> Iterator[str]:
    """Actions that any grant of theirs in the project ever named: few, and each is then asked."""
    yield from session.execute(
        select(EntitlementAction.action)
        .join(Grant, Grant.entitlement_id == EntitlementAction.entitlement_id)
        .where(
            Grant.subject_id == person.id,
            Grant.project_id == over.project,
            EntitlementAction.action > after,
        )
        .distinct()
        .order_by(EntitlementAction.action)
    ).scalars()


# --- what they share -----------------------------------------------------------------------------


def _knows(clients: frozenset[str] | None, by: Principal, over: _Resource) -> bool:
    return permissions.knows(by, clients, client=over.client, project=over.project)


def _effect(action: str, worked_at: datetime | None) -> tuple[Effect, datetime | None]:
    """The effect, and the instant of work where it counts: for hours alone."""
    effect = effect_of(action)
    return effect, worked_at if effect is Effect.HOURS else None


def _is_past(session: OrmSession, worked_at: datetime | None) -> bool:
    return worked_at is None or worked_at <= clock.now(session)


def _is_kind(kind: str) -> bool:
    return kind in {"project", "dataset"} or is_type(kind)


def _resource(session: OrmSession, kind: str, code: str) -> _Resource | None:
    if not _is_kind(kind):
        return None
    if kind == "project":
        project = session.execute(select(Project).where(Project.code == code)).scalar_one_or_none()
        if project is None:
            return None
        return _Resource(client=project.client_id, project=project.id, dataset=None)
    query = select(Project.client_id, Project.id, Dataset.id).join(
        Dataset, Dataset.project_id == Project.id
    )
    query = query.where(Dataset.code == code)
    if kind != "dataset":
        query = query.where(Dataset.type == kind)
    row = session.execute(query).one_or_none()
    return None if row is None else _Resource(client=row[0], project=row[1], dataset=row[2])


def _given(name: str) -> ColumnElement[str]:
    return bindparam(name, type_=String())


def _moment(*, worked: bool) -> Moment:
    return Moment(worked_at=bindparam("worked_at", type_=Utc()) if worked else None)


def _pairs(session: OrmSession, statement: Any, wanted: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key, name) for key, name in session.execute(statement, wanted)]


def _text(when: datetime | None) -> str | None:
    return None if when is None else clock.text(when)


def _row(
    session: OrmSession,
    what: str,
    *,
    action: str | None = None,
    over: _Resource | None = None,
    subject: Subject | None = None,
    worked_at: datetime | None,
    by: Principal,
) -> dict[str, Any]:
    """The row of the access log, with the positions that this snapshot saw."""
    client = log.position(over.client) if over else null()
    seen = session.execute(
        select(
            client.label("as_of"),
            log.position(HOUSE).label("house_as_of"),
            clock.instant().label("now"),
        )
    ).one()
    return {
        "at": seen.now, "kind": AccessKind.SEARCH, "principal": by.id, "session_id": by.session,
        "subject_id": subject.id if subject else None,
        "client_id": over.client if over else None, "resource_id": over.id if over else None,
        "action": action[:80] if action else None, "permit": None, "reason": None,
        "as_of": seen.as_of, "house_as_of": seen.house_as_of,
        "worked_at": worked_at, "detail": what,
    }  # fmt: skip


def _recorded(database: Database, row: dict[str, Any], found: Found) -> Found:
    """The answer, once its row is durable; `RecordFailed` when it cannot be: nothing is told."""
    told = {"search": row["detail"], "count": len(found.names), "more": bool(found.next_token)}
    decisions.write(database, [row | {"detail": leaf.canonical(told).decode()}])
    return found

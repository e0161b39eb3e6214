"""The overview: every client with its projects and how they stand, and what happened last.

Numbers are counted afresh while they are few: grants in force or held, by one grouping over what
the caller may see. Where there are many, a page that counted them would keep its reader waiting.
Whoever is admitted to some clients alone sees these and nothing that tells of others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, func, literal, or_, select, text

from govern import permissions
from govern.access import demands, grants, needing, places, questions
from govern.access.clients import Client, Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.access.suspension_tables import Scope, SuspensionTarget
from govern.access.suspensions import reading
from govern.access.suspensions.reading import Standing
from govern.audit import EventType
from govern.audit.log import ACTS, Entry, Log
from govern.db import Inquiry, listed, planned_once, together, written
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.demands import Coming
    from govern.access.needing import Need
    from govern.access.questions import Line
    from govern.principal import Principal

SUSPENSIONS_SHOWN = 50
# The targets by which a client, project or dataset stands as it does.
OVER_PLACES = SuspensionTarget.kind.in_([Scope.CLIENT, Scope.PROJECT, Scope.DATASET])
CLIENTS_SHOWN = 200
QUESTIONS_SHOWN = 5
DEMANDS_SHOWN = 5
EVENTS_SHOWN = 12
# Grants that are grouped and counted for one look; of more, a project's own page tells.
GRANTS_COUNTED = 20_000
# Grants of one project that its own page counts.
PROJECT_COUNTED = 5_000
# People of a firm that are counted where firms are listed.
PEOPLE_COUNTED = 500
# Grants of one suspension whose people are counted for the list of the open ones.
HELD_COUNTED = 2_000
# How far back in a log the last acts are looked for: first a glance, then past a long pause's
# particulars.
_GLANCES = (100, 4000)
# What nobody has to hear of: people come and go, and the house seals and tells by itself.
_EVERYDAY = (
    EventType.SESSION_OPENED, EventType.SESSION_ENDED, EventType.NOTICE_ACKNOWLEDGED,
    EventType.ACCESS_SEALED, EventType.HOUSE_TOLD,
)  # fmt: skip


@dataclass(kw_only=True)
class DatasetLine:
    """A dataset and how it stands."""

    code: str
    sensitivity: str
    state: str


@dataclass(kw_only=True)
class ProjectLine:
    """A project, how it stands and since when, and how many hold something (None: not counted).

    `at_least`: there are more than were counted.
    """

    id: str
    code: str
    contact: str
    state: str
    since: datetime | None
    people: int | None = None
    grants: int | None = None
    at_least: bool = False
    datasets: list[DatasetLine] = field(default_factory=list)


@dataclass(kw_only=True)
class ClientLine:
    """A client with its projects."""

    id: str
    code: str
    name: str
    state: str
    since: datetime | None
    people: int | None = None
    grants: int | None = None
    projects: list[ProjectLine] = field(default_factory=list)


# --- clients and projects ----------------------------------------------------------------------


def tree(
    session: OrmSession, standings: list[Standing], *, query: str = "", by: Principal
) -> list[ClientLine]:
    """Clients with their projects, by code; `query` is part of a code or name of one of them.

    People and grants, in force or held, are counted afresh by grouping all that the caller may see,
    while that is at most `GRANTS_COUNTED` grants.
    """
    clients = permissions.require_some(by, "project:read")
    few = _few(clients)
    of_client, of_project = (
        _numbers(column, clients, few) for column in (Grant.client_id, Grant.project_id)
    )
    wanted = (
        select(
            Client, Project, of_client.c.grants, of_client.c.people,
            of_project.c.grants, of_project.c.people, few.label("few"),
        )
        .outerjoin(Project, Project.client_id == Client.id)
        .outerjoin(of_client, of_client.c.id == Client.id)
        .outerjoin(of_project, of_project.c.id == Project.id)
        .order_by(Client.code, Project.code)
    )  # fmt: skip
    if clients is not None:
        wanted = wanted.where(Client.id.in_(clients))
    if query:
        part = query.strip().lower()
        wanted = wanted.where(
            or_(
                *(
                    func.lower(column).contains(part, autoescape=True)
                    for column in (Client.code, Client.name, Project.code)
                ),
                Project.id.in_(
                    select(Dataset.project_id).where(
                        func.lower(Dataset.code).contains(part, autoescape=True)
                    )
                ),
            )
        )
    shown = select(Client.id).order_by(Client.code).limit(CLIENTS_SHOWN)
    if clients is None and not query:
        wanted = wanted.where(Client.id.in_(shown))
    found: dict[str, ClientLine] = {}
    for client, project, *numbers in session.execute(wanted):
        state, since = places.state_of(standings, client.ended_at, client.id)
        line = found.setdefault(
            client.id,
            ClientLine(id=client.id, code=client.code, name=client.name, state=state, since=since),
        )
        counted = numbers.pop()
        if counted:
            line.grants, line.people = numbers[0] or 0, numbers[1] or 0
        if project is not None:
            own = _project_line(standings, client, project)
            if counted:
                own.grants, own.people = numbers[2] or 0, numbers[3] or 0
            line.projects.append(own)
    return list(found.values())[:CLIENTS_SHOWN]


def _project_line(standings: list[Standing], client: Client, project: Project) -> ProjectLine:
    ended = project.ended_at or client.ended_at
    state, since = places.state_of(standings, ended, project.id, client.id)
    return ProjectLine(
        id=project.id, code=project.code, contact=project.contact, state=state, since=since
    )  # fmt: skip


def _numbers(column: Any, clients: frozenset[str] | None, few: ColumnElement[bool]) -> Any:
    """Grants and people, in force or held, for each client or project."""
    standing = grants.facts(column.label("id"), Grant.subject_id.label("subject_id")).where(
        grants.all_of(grants.standing())
    )
    if clients is not None:
        standing = standing.where(Grant.client_id.in_(clients))
    # By a limit, for SQLite would read them all and ask of each whether they are few.
    each = standing.limit(case((few, GRANTS_COUNTED), else_=0)).subquery()
    return (
        select(
            each.c.id,
            func.count().label("grants"),
            func.count(each.c.subject_id.distinct()).label("people"),
        )
        .group_by(each.c.id)
        .subquery()
    )


def _few(clients: frozenset[str] | None) -> ColumnElement[bool]:
    """Whether the caller may see at most `GRANTS_COUNTED` grants: looked at no further than that.

    A database asks this once, however often it is named, and groups nothing where it does not hold.
    """
    some = select(literal(1).label("one"))
    some = some.select_from(Grant) if clients is None else some.where(Grant.client_id.in_(clients))
    number = func.count().label("number")
    looked_at = select(number).select_from(some.limit(GRANTS_COUNTED + 1).subquery()).cte("seen")
    return select(looked_at.c.number).scalar_subquery() <= GRANTS_COUNTED


def add_datasets(session: OrmSession, lines: list[ClientLine], standings: list[Standing]) -> None:
    """Fill in the datasets of the projects in some lines."""
    projects = {project.id: project for client in lines for project in client.projects}
    among = listed(session, sorted(projects))
    rows = session.execute(
        select(Dataset).join(among, among.c.value == Dataset.project_id).order_by(Dataset.code)
    ).scalars()
    owners = {project.id: client.id for client in lines for project in client.projects}
    for row in rows:
        state, _ = places.state_of(
            standings, row.ended_at, row.id, row.project_id, owners[row.project_id]
        )  # fmt: skip
        projects[row.project_id].datasets.append(
            DatasetLine(code=row.code, sensitivity=row.sensitivity, state=state)
        )


def organisations(session: OrmSession, *, by: Principal) -> list[tuple[str, int]]:
    """Firms with how many people belong to each; none for who is admitted to some clients alone.

    No more people of each are counted than one over `PEOPLE_COUNTED`.
    """
    if permissions.scope(by, "suspension:open") is not None:
        return []
    theirs = (
        select(Membership.id)
        .where(
            # As a range it is read along its index: told that it is equal, PostgreSQL takes each
            # firm for a large one, and reads everybody to find the few of a small one.
            Membership.organisation_id.between(Organisation.id, Organisation.id),
            Membership.ended_at.is_(None),
        )
        .limit(PEOPLE_COUNTED + 1)
        .correlate(Organisation)
        .subquery()
    )
    number = select(func.count()).select_from(theirs).scalar_subquery()
    rows = session.execute(select(Organisation.name, number).order_by(Organisation.name))
    return [(name, number) for name, number in rows if number]


# --- one project -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ProjectPage:
    """A project, its client and entitlements to give, and the suspensions that cover it."""

    project: Project
    client: Client
    line: ProjectLine
    covering: list[Standing]
    entitlements: list[str]


def project_page(session: OrmSession, code: str, *, by: Principal) -> ProjectPage:
    """What the page of one project says above its list of grants."""
    project, client = places.find_project(session, code, by=by)
    own = select(Dataset.id).where(Dataset.project_id == project.id)
    covering = reading.open_ones(
        session,
        over=[
            SuspensionTarget.target_id.in_([client.id, project.id]),
            SuspensionTarget.target_id.in_(own),
        ],
        by=by,
    )
    line = _project_line(covering, client, project)
    owner = ClientLine(
        id=client.id, code=client.code, name=client.name, state="", since=None, projects=[line]
    )  # fmt: skip
    add_datasets(session, [owner], covering)
    standing = (
        grants.facts(Grant.subject_id.label("subject_id"))
        .where(Grant.project_id == project.id, grants.all_of(grants.standing()))
        .limit(written(session, PROJECT_COUNTED + 1))
        .subquery()
    )
    numbers = func.count(), func.count(standing.c.subject_id.distinct())
    found = session.execute(planned_once(select(*numbers).select_from(standing))).one()
    line.grants, line.people = (min(number, PROJECT_COUNTED) for number in found)
    line.at_least = found[0] > PROJECT_COUNTED
    names = session.execute(select(Entitlement.name).order_by(Entitlement.name)).scalars()
    return ProjectPage(
        project=project, client=client, line=line, covering=covering, entitlements=list(names)
    )  # fmt: skip


# --- what needs someone, and what happened last ------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class News:
    """What needs the caller now; questions, demands to come, and the last acts.

    `more_questions`: there are more than these.
    """

    needs: list[Need]
    questions: list[Line]
    more_questions: bool
    coming: list[Coming]
    recent: list[Recent]


def news(
    session: OrmSession, *, also: Mapping[needing.What, Select[Any]] | None = None, by: Principal
) -> News:
    """All of it in one statement, so that it costs the same however much there is.

    `also`: see `needing.needs`.
    """
    needs, (lines, after), coming, recent = together(
        session,
        needing.needs(also=also, by=by),
        questions.awaited(limit=QUESTIONS_SHOWN, by=by),
        demands.coming(limit=DEMANDS_SHOWN, by=by),
        _recent(by),
    )
    return News(
        needs=needs, questions=lines, more_questions=after is not None, coming=coming,
        recent=recent,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Recent:
    """One act, and whom or what it was about."""

    at: datetime
    type: EventType
    by: str
    subject: str | None
    project: str | None
    suspension_id: str | None


def _recent(by: Principal) -> Inquiry[list[Recent]]:
    """The last acts in the logs that the caller may read; particulars and the everyday left out.

    Only the logs that changed last are looked at, and of each only its end: the last few entries
    of all are among the last few of those.
    """
    return Inquiry(_newest(permissions.require_some(by, "log:read")), _latest, given={})


@lru_cache(maxsize=64)
def _newest(clients: frozenset[str] | None) -> Select[Any]:
    heads = select(Log.id, Log.size).where(Log.last_at.is_not(None))
    if clients is not None:
        heads = heads.where(Log.id.in_(clients))
    last = heads.order_by(Log.last_at.desc()).limit(EVENTS_SHOWN).subquery()

    def at_end(query: Select[Any], depth: Any) -> Select[Any]:
        end = and_(last.c.id == Entry.log_id, Entry.seq >= last.c.size - depth)
        return (
            query.select_from(Entry)
            .join(last, end)
            .where(text(f"log_entry.{ACTS}"), Entry.type.not_in(_EVERYDAY))
        )

    near, far = (literal(depth) for depth in _GLANCES)
    when: Any = select(Entry.at, Entry.type)
    seen = at_end(when, near).distinct().limit(EVENTS_SHOWN).subquery()
    enough = select(func.count()).select_from(seen).scalar_subquery() >= EVENTS_SHOWN
    actor = Subject.__table__.alias("actor")
    query: Any = select(
        Entry.at, Entry.type, func.coalesce(actor.c.full_name, Entry.actor),
        Subject.full_name, Project.code, Entry.suspension_id,
    )  # fmt: skip
    found: Select[Any] = (
        at_end(query, case((enough, near), else_=far))
        .outerjoin(actor, actor.c.id == Entry.actor)
        .outerjoin(Subject, Subject.id == Entry.subject_id)
        .outerjoin(Project, Project.id == Entry.project_id)
        .order_by(Entry.at.desc())
        .limit(EVENTS_SHOWN * 5)
    )
    return found


def _latest(rows: list[tuple[Any, ...]]) -> list[Recent]:
    found = {
        # An act over several logs has an entry in each, of one instant.
        (at, type_): Recent(
            at=at, type=EventType(type_), by=who, subject=subject, project=project,
            suspension_id=suspension_id,
        )
        for at, type_, who, subject, project, suspension_id in rows
    }  # fmt: skip
    return sorted(found.values(), key=lambda one: one.at, reverse=True)[:EVENTS_SHOWN]

"""Suspensions as people see them: what each covers by name, how it stands, how far its record is.

Every reading is a few statements whatever it shows. Whoever is admitted to some clients alone sees
of a suspension only what it does to those, and nothing of one that leaves them untouched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, literal, not_, or_, select, text, union_all
from sqlalchemy.orm import aliased

from govern import clock, errors, permissions
from govern.access import grants
from govern.access.clients import Client, Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant, Moment
from govern.access.modes import Mode
from govern.access.requests import Request, signature
from govern.access.suspension_tables import (
    Particulars,
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.access.suspensions import particulars
from govern.access.suspensions.opening import TAKE_BACK_WITHIN
from govern.access.suspensions.parts import Part, named, part_of
from govern.access.suspensions.previewing import digest_of
from govern.access.suspensions.targets import covered
from govern.audit import EventType
from govern.audit.log import ACTS, Entry
from govern.db import listed
from govern.identity.subjects import Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

TASKS_COUNTED = 100  # unfinished particulars whose remainder one page counts
EVENTS_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the entries of the latest act are written, of how many; `total` may still grow."""

    recorded: int = 0
    total: int = 0
    done: bool = True
    finished_at: datetime | None = None


@dataclass(kw_only=True)
class Standing:
    """One suspension: its row, its mode (the last one, once lifted), and the parts one may see.

    `people` are those whom it holds now; `digest` is that of the grants that the opening touched,
    once all of these are written.
    """

    suspension: Suspension
    mode: Mode
    mode_id: str
    parts: list[Part] = field(default_factory=list)
    progress: Progress = Progress()
    people: int = 0
    digest: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it still holds."""
        return self.suspension.ended_at is None

    @property
    def names(self) -> list[str]:
        """What it covers now, or covered at the end."""
        end = self.suspension.ended_at
        return [part.name for part in self.parts if part.ended_at is None or part.ended_at == end]


def may_see(by: Principal) -> frozenset[str] | None:
    """The clients whose suspensions the caller may see: None for all; `Forbidden` if none."""
    clients = permissions.scope(by, "suspension:read")
    if clients is not None and not clients:
        permissions.require(by, "suspension:read")
    return clients


def open_ones(
    session: OrmSession, *, by: Principal, over: Iterable[ColumnElement[bool]] = ()
) -> list[Standing]:
    """Every open suspension that the caller may see, the newest first.

    `over` narrows it to those with a target that one of the conditions names.
    """
    clients = may_see(by)
    mode = aliased(SuspensionMode)
    query = (
        named()
        .add_columns(Suspension, mode.mode.label("mode"), mode.id.label("mode_id"))
        .join(Suspension, Suspension.id == SuspensionTarget.suspension_id)
        .join(mode, and_(mode.suspension_id == Suspension.id, mode.ended_at.is_(None)))
        .where(SuspensionTarget.ended_at.is_(None))
        .order_by(Suspension.recorded_at.desc(), Suspension.id, SuspensionTarget.id)
    )
    conditions = list(over)
    if conditions:
        query = query.where(or_(*conditions))
    return _gathered(session, query, clients)


def _gathered(
    session: OrmSession, query: Select[Any], clients: frozenset[str] | None
) -> list[Standing]:
    """Parts with their suspension and its mode, gathered by suspension; others' parts left out."""
    found: dict[str, Standing] = {}
    for row in session.execute(query):
        part = part_of(row)
        if clients is not None and part.client not in clients:
            continue
        standing = found.setdefault(
            part.suspension_id,
            Standing(suspension=row.Suspension, mode=Mode(row.mode), mode_id=row.mode_id),
        )
        standing.parts.append(part)
    return list(found.values())


def page(
    session: OrmSession, *, state: str = "", after: str = "", limit: int = 25, by: Principal
) -> tuple[list[Standing], str | None]:
    """Suspensions by id, oldest first, with all their parts; `state` is open, lifted or any ("").

    Also where the next page begins; None when that is all.
    """
    clients = may_see(by)
    wanted = select(Suspension.id).where(Suspension.id > after)
    if state:
        is_open = Suspension.ended_at.is_(None)
        wanted = wanted.where(is_open if state == "open" else not_(is_open))
    if clients is not None:
        parts = named().subquery()
        wanted = wanted.where(
            Suspension.id.in_(select(parts.c.suspension_id).where(parts.c.client.in_(clients)))
        )
    among = wanted.order_by(Suspension.id).limit(limit + 1).subquery()
    mode = aliased(SuspensionMode)
    last = or_(mode.ended_at.is_(None), mode.ended_at == Suspension.ended_at)
    query = (
        named()
        .add_columns(Suspension, mode.mode.label("mode"), mode.id.label("mode_id"))
        .join(among, among.c.id == SuspensionTarget.suspension_id)
        .join(Suspension, Suspension.id == SuspensionTarget.suspension_id)
        .join(mode, and_(mode.suspension_id == Suspension.id, last))
        .order_by(Suspension.id, SuspensionTarget.id)
    )
    found = _gathered(session, query, clients)
    return found[:limit], found[limit - 1].suspension.id if len(found) > limit else None


def strictest(standings: Iterable[Standing], *ids: str) -> tuple[Mode, datetime] | None:
    """The strictest mode that lies directly over one of some clients, projects or datasets."""
    over = [
        (standing.mode, standing.suspension.recorded_at)
        for standing in standings
        if any(part.target_id in ids for part in standing.parts)
    ]
    order = list(Mode)
    return max(over, key=lambda item: order.index(item[0]), default=None)


def titles(session: OrmSession, ids: Iterable[str], *, by: Principal) -> dict[str, list[str]]:
    """What some suspensions cover or covered, by name, as far as the caller may see it."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    clients = may_see(by)
    among = listed(session, wanted)
    found: dict[str, list[str]] = {}
    query = named().join(among, among.c.value == SuspensionTarget.suspension_id)
    for row in session.execute(query.order_by(SuspensionTarget.id)):
        if clients is None or row.client in clients:
            found.setdefault(row.suspension_id, []).append(row.name)
    return found


# --- choosing what to suspend ------------------------------------------------------------------


def chosen(
    session: OrmSession, references: Iterable[str], *, by: Principal, field: str = "target"
) -> list[Part]:
    """Read many `TYPE:CODE`s in one statement; `Invalid` at `field` names the first unknown one.

    What belongs to clients that the caller may not suspend is told from nothing as little as what
    is not there.
    """
    clients = permissions.scope(by, "suspension:open")
    if clients is not None and not clients:
        permissions.require(by, "suspension:open")
    wanted = list(dict.fromkeys(reference.strip() for reference in references))
    codes: dict[Scope, list[str]] = {scope: [] for scope in Scope}
    for reference in wanted:
        kind, _, code = reference.partition(":")
        if kind not in codes or not code or not code.isprintable():
            raise errors.Invalid(f"“{reference}” is not TYPE:CODE.", field=field)
        codes[Scope(kind)].append(code)
    found: dict[str, Part] = {}
    for row in session.execute(_looked_up(session, codes)) if wanted else ():
        if clients is not None and row.client not in clients:
            continue
        part = Part(
            id="", suspension_id="", kind=Scope(row.kind), target_id=row.id, code=row.code,
            name=row.name, client=row.client, recorded_at=clock.utcnow(), ended_at=None,
        )  # fmt: skip
        found[f"{row.kind}:{row.typed}"] = part
    for reference in wanted:
        if reference not in found:
            kind, _, code = reference.partition(":")
            raise errors.Invalid(f"There is no {kind} “{code}”.", field=field)
    return [found[reference] for reference in wanted]


def _looked_up(session: OrmSession, codes: dict[Scope, list[str]]) -> Any:
    def among(kind: Scope, table: Any, column: Any, name: Any, client: Any) -> Select[Any]:
        given = listed(session, codes[kind])
        return select(
            literal(kind.value).label("kind"), table.id.label("id"), column.label("code"),
            name.label("name"), client.label("client"), given.c.value.label("typed"),
        ).join_from(table, given, column == given.c.value)  # fmt: skip

    nobody = literal(None, Client.id.type)
    by_mail = [code for code in codes[Scope.SUBJECT] if "@" in code]
    mails = listed(session, by_mail)
    return union_all(
        among(Scope.CLIENT, Client, Client.code, Client.name, Client.id),
        among(Scope.PROJECT, Project, Project.code, Project.code, Project.client_id),
        among(Scope.DATASET, Dataset, Dataset.code, Dataset.code, Project.client_id).join(
            Project, Project.id == Dataset.project_id
        ),
        among(Scope.SUBJECT, Subject, Subject.external_id, Subject.full_name, nobody),
        among(Scope.ORGANISATION, Organisation, Organisation.name, Organisation.name, nobody),
        select(
            literal(Scope.SUBJECT.value), Subject.id, Subject.external_id, Subject.full_name,
            nobody, mails.c.value,
        ).join_from(Subject, mails, Subject.email == func.lower(mails.c.value)),
    )  # fmt: skip


# --- how far the record is ---------------------------------------------------------------------


def measure(session: OrmSession, standings: list[Standing], *, by: Principal) -> None:
    """Fill in how many people each suspension holds now, and how far its latest act is recorded.

    Two statements for all. What is left of an unfinished record is counted, not guessed.
    """
    if not standings:
        return
    clients = may_see(by)
    tasks = _tasks(session, standings, clients)
    latest = {
        suspension: [task for task in group if task.as_at == group[0].as_at]
        for suspension, group in tasks.items()
    }
    unfinished = [
        task for group in latest.values() for task in group if task.finished_at is None
    ][:TASKS_COUNTED]  # fmt: skip
    questions = [_held_people(standing, clients) for standing in standings if standing.is_open]
    questions += [_remaining(task) for task in unfinished]
    counted = (
        {row[0]: row[1] for row in session.execute(union_all(*questions))} if questions else {}
    )
    for standing in standings:
        own = latest.get(standing.suspension.id, [])
        standing.digest = _digest(standing, tasks.get(standing.suspension.id, []))
        written = sum(task.written for task in own)
        done = all(task.finished_at is not None for task in own)
        ends = [task.finished_at for task in own if task.finished_at is not None]
        standing.people = counted.get(standing.suspension.id, 0)
        standing.progress = Progress(
            recorded=written,
            total=written + sum(counted.get(task.id, 0) for task in own),
            done=done,
            finished_at=max(ends) if done and ends else None,
        )


def _tasks(
    session: OrmSession, standings: list[Standing], clients: frozenset[str] | None
) -> dict[str, list[Particulars]]:
    among = listed(session, [standing.suspension.id for standing in standings])
    query = select(Particulars).join(among, among.c.value == Particulars.suspension_id)
    if clients is not None:
        query = query.where(Particulars.log_id.in_(clients))
    found: dict[str, list[Particulars]] = {}
    for task in session.execute(query.order_by(Particulars.as_at.desc())).scalars():
        found.setdefault(task.suspension_id, []).append(task)
    return found


def _digest(standing: Standing, tasks: list[Particulars]) -> str | None:
    opening = [task for task in tasks if task.as_at == standing.suspension.recorded_at]
    if any(task.finished_at is None for task in opening):
        return None
    return digest_of({task.log_id: task.digest for task in opening if task.written})


def _held_people(standing: Standing, clients: frozenset[str] | None) -> Select[Any]:
    released = select(SuspensionRelease.subject_id).where(
        SuspensionRelease.suspension_id == standing.suspension.id,
        SuspensionRelease.ended_at.is_(None),
    )
    parts = [part.target for part in standing.parts if part.ended_at is None]
    query = grants.facts(
        literal(standing.suspension.id), func.count(Grant.subject_id.distinct())
    ).where(
        covered(parts), grants.all_of(grants.standing()), Grant.subject_id.not_in(released)
    )  # fmt: skip
    return query if clients is None else query.where(Grant.client_id.in_(clients))


def _remaining(task: Particulars) -> Select[Any]:
    at, before = Moment.past(task.as_at), Moment.past(task.as_at - clock.TICK)
    return grants.facts(literal(task.id), func.count(Grant.id), moment=at).where(
        Grant.client_id == task.log_id,
        Grant.id > task.cursor,
        particulars.touched(task.event, task.suspension_id, at, before),
    )


# --- one suspension ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Held:
    """One grant that the opening touched; `seq` is its entry's place, None while unwritten."""

    grant_id: str
    subject_id: str
    external_id: str
    name: str
    project: str
    entitlement: str
    seq: int | None


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One act on a suspension."""

    at: datetime
    type: EventType
    by: str


@dataclass(frozen=True, kw_only=True)
class Released:
    """One person who was let out early."""

    subject_id: str
    name: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Found:
    """One suspension, its modes in order, its opener's name, and what awaits a second person.

    `whole` is whether the caller may see all that it covers.
    """

    standing: Standing
    whole: bool
    opened_by: str
    modes: list[SuspensionMode]
    waiting: list[Request]
    take_back_until: datetime | None

    def inner(self, value: str) -> str:
        """What is told of all clients at once, which may name another than the caller's."""
        return value if self.whole else ""


@dataclass(frozen=True, kw_only=True)
class Detail(Found):
    """All that the page of one suspension shows."""

    releases: list[Released]
    events: list[Happened]
    held: list[Held]
    next_after: str | None


def find(session: OrmSession, suspension_id: str, *, by: Principal) -> Found:
    """One suspension with the parts that the caller may see; `Unknown` where there are none."""
    clients = may_see(by)
    rows = session.execute(
        select(Suspension, SuspensionMode, Request, Subject.full_name)
        .join(SuspensionMode, SuspensionMode.suspension_id == Suspension.id)
        .outerjoin(
            Request, and_(Request.suspension_id == Suspension.id, Request.ended_at.is_(None))
        )
        .outerjoin(Subject, Subject.id == Suspension.opened_by)
        .where(Suspension.id == suspension_id)
        .order_by(SuspensionMode.recorded_at, SuspensionMode.id, Request.recorded_at)
    ).all()
    everything = [
        part_of(row)
        for row in session.execute(
            named()
            .where(SuspensionTarget.suspension_id == suspension_id)
            .order_by(SuspensionTarget.id)
        )
    ]
    parts = [part for part in everything if clients is None or part.client in clients]
    if not rows or not parts:
        raise errors.Unknown(f"There is no suspension {suspension_id}.")
    suspension, last, _, opener = rows[-1]
    standing = Standing(
        suspension=suspension, mode=Mode(last.mode), mode_id=last.id, parts=parts
    )  # fmt: skip
    return Found(
        standing=standing,
        whole=len(parts) == len(everything),
        opened_by=opener or suspension.opened_by,
        modes=list(dict.fromkeys(row[1] for row in rows)),
        waiting=_waiting([row[2] for row in rows], clients),
        take_back_until=_take_back_until(suspension, by=by),
    )


def _waiting(rows: list[Request | None], clients: frozenset[str] | None) -> list[Request]:
    return [
        row
        for row in dict.fromkeys(rows)
        if row is not None and (clients is None or row.client_id in clients)
    ]


def progress(session: OrmSession, suspension_id: str, *, by: Principal) -> Standing:
    """One suspension with how far its record is: what the page asks for again and again."""
    standing = find(session, suspension_id, by=by).standing
    measure(session, [standing], by=by)
    return standing


def detail(
    session: OrmSession, suspension_id: str, *, after: str = "", limit: int = 25, by: Principal
) -> Detail:
    """Everything about one suspension, with one page of the grants that its opening touched."""
    found = find(session, suspension_id, by=by)
    standing = found.standing
    measure(session, [standing], by=by)
    rows, next_after = held(session, standing, after=after, limit=limit, by=by)
    return Detail(
        **vars(found),
        releases=releases(session, suspension_id, by=by),
        events=_events(session, suspension_id, by=by),
        held=rows,
        next_after=next_after,
    )


def releases(session: OrmSession, suspension_id: str, *, by: Principal) -> list[Released]:
    """Who was let out early, the first first, as far as the caller may know of them."""
    clients = may_see(by)
    query = (
        select(SuspensionRelease, Subject.full_name)
        .join(Subject, Subject.id == SuspensionRelease.subject_id)
        .where(SuspensionRelease.suspension_id == suspension_id)
        .order_by(SuspensionRelease.recorded_at, SuspensionRelease.id)
        .limit(EVENTS_SHOWN)
    )
    if clients is not None:
        known = select(Grant.id).where(Grant.subject_id == Subject.id, Grant.client_id.in_(clients))
        query = query.where(known.exists())
    return [
        Released(subject_id=row.subject_id, name=name, at=row.recorded_at)
        for row, name in session.execute(query)
    ]


def _events(session: OrmSession, suspension_id: str, *, by: Principal) -> list[Happened]:
    """Acts on a suspension, each once though it has an entry in every log concerned."""
    clients = may_see(by)
    name = func.coalesce(Subject.full_name, Entry.actor)
    query = (
        select(Entry.at, Entry.type, name)
        .outerjoin(Subject, Subject.id == Entry.actor)
        .where(Entry.suspension_id == suspension_id, text(ACTS))
        .group_by(Entry.at, Entry.type, name)
        .order_by(Entry.at.desc())
        .limit(EVENTS_SHOWN)
    )
    if clients is not None:
        query = query.where(Entry.log_id.in_(clients))
    return [
        Happened(at=at, type=EventType(type_), by="" if who == "system" else who)
        for at, type_, who in session.execute(query)
    ]


def held(
    session: OrmSession, standing: Standing, *, after: str = "", limit: int = 25, by: Principal
) -> tuple[list[Held], str | None]:
    """One page of the grants that the opening touched, by id, and where the next begins."""
    opened_at = standing.suspension.recorded_at
    moment, clients = Moment.past(opened_at), may_see(by)
    parts = [part.target for part in standing.parts if part.recorded_at == opened_at]
    query = (
        grants.facts(
            Grant.id, Grant.subject_id, Subject.external_id, Subject.full_name, Project.code,
            Dataset.code, Entitlement.name, moment=moment,
        )
        .join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .where(covered(parts, moment), grants.all_of(grants.standing(moment)), Grant.id > after)
        .order_by(Grant.id)
        .limit(limit + 1)
    )  # fmt: skip
    if clients is not None:
        query = query.where(Grant.client_id.in_(clients))
    rows = session.execute(query).all()
    places = _places(session, standing, [row[1] for row in rows[:limit]])
    found = [
        Held(
            grant_id=row[0], subject_id=row[1], external_id=row[2], name=row[3],
            project=f"{row[4]} / {row[5]}" if row[5] else row[4], entitlement=row[6],
            seq=places.get(row[0]),
        )
        for row in rows[:limit]
    ]  # fmt: skip
    return found, found[-1].grant_id if len(rows) > limit else None


def _places(session: OrmSession, standing: Standing, people: list[str]) -> dict[str, int]:
    """Where in its log each grant's first entry for this suspension stands."""
    among = listed(session, sorted(set(people)))
    rows = session.execute(
        select(Entry.seq, Entry.leaf)
        .join(among, among.c.value == Entry.subject_id)
        .where(
            Entry.suspension_id == standing.suspension.id,
            Entry.type.in_([EventType.GRANT_SUSPENDED, EventType.GRANT_REVIEW_REQUIRED]),
        )
        .order_by(Entry.seq.desc())
    )
    return {json.loads(leaf)["refs"]["grant"]: seq for seq, leaf in rows}


def _take_back_until(opened: Suspension, *, by: Principal) -> datetime | None:
    until = opened.recorded_at + TAKE_BACK_WITHIN
    untouched = opened.ended_at is None and opened.opened_by == signature(by)
    return until if untouched and clock.utcnow() < until else None

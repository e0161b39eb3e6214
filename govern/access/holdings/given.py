"""Grants in lists: of a project, of a person, or those that end in a time, and how each stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, literal, not_, or_, select, tuple_

from govern import clock, errors, permissions
from govern.access import grants
from govern.access.clients import Client, Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.access.holdings.known import PAGE, Page, last_of, sought
from govern.access.modes import Effect
from govern.db import planned_once, written
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

LOOKED_AT = 1_000  # grants that a page goes through to find some
STATUSES = ("in_force", "held", "scheduled", "expired", "revoked", "ended")
SORTS = ("", "ends")  # oldest first unless told
# What a grant's failing clause is called in one word.
_WORD = {
    "subject_offboarded": "revoked",
    "client_ended": "ended",
    "project_ended": "ended",
    "grant_revoked": "revoked",
    "grant_not_started": "scheduled",
    "grant_expired": "expired",
}


@dataclass(frozen=True, kw_only=True)
class Holding:
    """One grant, whose it is and how it stands now."""

    id: str
    subject_id: str
    external_id: str
    name: str
    organisation: str
    client: str
    project: str
    dataset: str | None
    entitlement: str
    starts_at: datetime
    ends_at: datetime
    recorded_at: datetime
    ended_at: datetime | None
    status: str


@cache
def status_now() -> ColumnElement[str]:
    """How a grant stands now: the first clause of the rule that it fails, in one word."""
    # What read-only stops, pausing stops too.
    return case(*_over(), (grants.held(Effect.CHANGE), "held"), else_="in_force")


def stands(status: str) -> ColumnElement[bool]:
    """That a grant stands so; what holds it is looked for only where the word hangs on that."""
    if status in _WORD.values():
        return case(*_over(), else_="") == literal(status)
    if status == "in_force":  # so a database joins what holds instead of looking for each
        return grants.all_of([*grants.standing(), *grants.unheld(Effect.CHANGE)])
    return status_now() == literal(status)


def _over() -> list[Any]:
    return [(not_(clause.test), _WORD[clause.reason]) for clause in grants.standing()]


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which grants: of a project or a person (an id), of people found by `query`, or in a state."""

    project: Project | None = None
    subject: str | None = None
    query: str = ""
    status: str = ""
    entitlement: str = ""
    ends: tuple[datetime, datetime] | None = None

    @property
    def narrows(self) -> bool:
        """Whether each grant of a project has to be looked at to tell; of who is sought few."""
        sought = bool(self.query) or self.project is None
        return not sought and bool(self.status or self.entitlement)

    def conditions(
        self, session: OrmSession, *, along: bool, by: Principal
    ) -> list[ColumnElement[bool]]:
        """What to ask of each, that the caller may see it first; `Forbidden` who may see none.

        Not that it is of the project, where these are walked `along` by whoever asks.
        """
        if self.status and self.status not in STATUSES:
            raise errors.Invalid(f"“{self.status}” is no state of a grant.", field="status")
        clients = permissions.require_some(by, "grant:read")
        found: list[ColumnElement[bool]] = []
        project = self.project
        if clients is not None and (project is None or project.client_id not in clients):
            found.append(Grant.client_id.in_(clients))
        if project is not None and not along:
            found.append(Grant.project_id == project.id)
        if self.subject is not None:
            found.append(Grant.subject_id == self.subject)
        if self.query:
            found.append(sought(session, self.query)[0])
        if self.entitlement:
            found.append(Entitlement.name == self.entitlement)
        if self.status:
            found.append(stands(self.status))
        if self.ends:
            found.append(_ending(*self.ends))
        return found


def _ending(start: datetime, end: datetime) -> ColumnElement[bool]:
    """Those whose window ends between two instants, and that were not revoked before."""
    return and_(Grant.ends_at >= start, Grant.ends_at < end, Grant.ended_at.is_(None))


def search(
    session: OrmSession,
    *,
    project: Project | None = None,
    subject: str | None = None,
    query: str = "",
    status: str = "",
    entitlement: str = "",
    ends: tuple[datetime, datetime] | None = None,
    sort: str = "",
    after: str = "",
    limit: int = PAGE,
    looked_at: int | None = None,
    by: Principal,
) -> Page:
    """The grants that the caller may see, oldest first: of a project, of a person's id, or all.

    `query` finds people as `people` does; `status` and `entitlement` are words that a page shows.
    `ends` are those that end by their window from one instant until another, and were not revoked.
    No more than `looked_at` grants are looked at, where told: the page ends there, full or not.
    """
    where = Where(
        project=project, subject=subject, query=query, status=status, entitlement=entitlement,
        ends=ends,
    )  # fmt: skip
    order = (Grant.ends_at, Grant.id) if sort == "ends" else (Grant.id,)
    # Along the index of projects, which a database would pass over for the key's own where it does
    # not know how many grants a project has.
    along = None if query or ends or sort else project

    def ordered(wanted: Select[Any]) -> Select[Any]:
        ways = wanted.order_by(*order)
        return _behind(ways, after) if sort == "ends" else ways.where(Grant.id > after)

    def key(ends_at: datetime, id_: str) -> str:
        return f"{clock.text(ends_at)}~{id_}" if sort == "ends" else id_

    conditions = where.conditions(session, along=along is not None, by=by)
    wanted, further = _holdings(status).where(*conditions), False
    if looked_at is not None and project is not None and where.narrows:
        columns: tuple[Any, ...] = (Grant.id, Grant.ends_at)
        first = ordered(select(*columns).where(Grant.project_id == project.id))
        last, further = last_of(session, first, looked_at, *(one.key for one in order))
        if last is None:
            return Page(rows=[], after=None)
        wanted = wanted.where(Grant.id <= last.id if sort != "ends" else _before(last))
    wanted = _along(wanted, along, after) if along else ordered(wanted)
    wanted = wanted.limit(written(session, limit + 1))
    if subject or _walks(where, sort, bounded=looked_at is not None, by=by):
        wanted = planned_once(wanted)
    found = session.execute(wanted).all()
    rows = [_holding(row) for row in found[:limit]]
    if len(found) > limit:
        return Page(rows=rows, after=key(rows[-1].ends_at, rows[-1].id))
    return Page(rows=rows, after=key(last.ends_at, last.id) if further else None)


def _walks(where: Where, sort: str, *, bounded: bool, by: Principal) -> bool:
    """Whether the page is a short way along an index, whatever it is asked about."""
    if where.query or (where.narrows and not bounded):
        return False
    if where.project is None:  # of a client's alone there may be few among all that end
        bare = sort == "ends" and not (where.status or where.entitlement)
        return bare and permissions.scope(by, "grant:read") is None
    return not where.ends


def _before(last: Any) -> ColumnElement[bool]:
    """Those up to one in the order by end: as a pair, for very many may end at one instant."""
    there = tuple_(literal(last.ends_at, Grant.ends_at.type), last.id)
    return tuple_(Grant.ends_at, Grant.id) <= there


def _along(wanted: Select[Any], project: Project, after: str) -> Select[Any]:
    there = tuple_(literal(project.id), literal(after))
    walked = wanted.where(tuple_(Grant.project_id, Grant.id) > there)
    return walked.where(Grant.project_id <= project.id).order_by(Grant.project_id, Grant.id)


def _behind(wanted: Select[Any], after: str) -> Select[Any]:
    """Those behind a key of the order by end: the instant, then the id."""
    if not after:
        return wanted
    text, _, last = after.partition("~")
    instant = clock.parse(text, field="after")
    same = and_(Grant.ends_at == instant, Grant.id > last)
    return wanted.where(Grant.ends_at >= instant, or_(Grant.ends_at > instant, same))


def one(session: OrmSession, grant_id: str, *, by: Principal) -> Holding:
    """One grant and how it stands; `Unknown` where the caller may not know of it."""
    grant = grants.find(session, grant_id, by=by)
    return _holding(session.execute(_holdings().where(Grant.id == grant.id)).one())


def _holding(row: Any) -> Holding:
    return Holding(**dict(zip(Holding.__dataclass_fields__, row, strict=True)))


@cache
def _holdings(status: str = "") -> Select[Any]:
    """What a row tells; of those alone that stand so, where told: that is not looked for again."""
    stands_so = literal(status) if status else status_now()
    return (
        grants.facts(
            Grant.id, Grant.subject_id, Subject.external_id, Subject.full_name, Organisation.name,
            Client.code, Project.code, Dataset.code, Entitlement.name, Grant.starts_at,
            Grant.ends_at, Grant.recorded_at, Grant.ended_at, stands_so,
        )
        .join(Entitlement, Entitlement.id == Grant.entitlement_id)
        .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        .join(Membership, and_(Membership.subject_id == Subject.id, Membership.ended_at.is_(None)))
        .join(Organisation, Organisation.id == Membership.organisation_id)
    )  # fmt: skip

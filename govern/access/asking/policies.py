"""Policies: who approves access that is asked for, how many it takes, and how long it may wait.

That of a project goes before that of its client, and that before the house's; where none was set,
one admin or approver is enough. A change holds from its commit on for open requests too: what
counts is the policy in force when an approval lands. Only until when a request waits is that of
the policy under which it was asked. Whoever is named must hold a role that approves there as well:
a policy takes people out, and lets nobody in.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, literal, select
from sqlalchemy.orm import aliased

from govern import clock, errors, permissions
from govern.access import places
from govern.access.asking.tables import Kind, Openness, Pausing, RequestPolicy
from govern.access.clients import Client, Project
from govern.access.requests import Request, RequestKind
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import Inquiry, new_id, together
from govern.identity import subjects, typed
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal, RoleHeld

ROLES = ("admin", "approver")
MOST_NEEDED = 5
MOST_DAYS = 90
MOST_NAMED = 50
# Who sits at the machine may do all that an admin may.
_AS = {"operator": "admin", "system": "admin"}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is asked of requests for access; `id` is empty while nobody set one."""

    id: str = ""
    kind: Kind = Kind.HOUSE
    roles: tuple[str, ...] = ROLES
    people: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()
    needed: int = 1
    pausing: Pausing = Pausing.WAITS
    days: int = 14
    open_to: Openness = Openness.KNOWN
    since: datetime | None = None

    def names(self, who: str, held: Iterable[RoleHeld], client: str | None) -> bool:
        """Whether someone with these roles may approve access to a client's projects."""
        own = {
            _AS.get(role.role, role.role)
            for role in held
            if role.client in {None, client}
            and "request:approve" in permissions.ROLES.get(role.role, frozenset())
        }
        return bool(own) and (who in self.people or not own.isdisjoint(self.roles))


DEFAULT = Policy()


@dataclass(frozen=True, kw_only=True)
class Over:
    """What a policy stands over: the house, or a client's or project's id with its code."""

    kind: Kind
    id: str
    name: str
    client: str | None = None
    ended: bool = False

    @property
    def reference(self) -> str:
        """`client:ASTER`, as it is typed."""
        return f"{self.kind}:{self.name}" if self.client else str(self.kind)


def over(session: OrmSession, reference: str, *, by: Principal) -> Over:
    """What `house`, `client:CODE` or `project:CODE` stands for; `Unknown` beyond one's own."""
    kind, _, name = reference.strip().partition(":")
    if kind == Kind.CLIENT:
        client = places.find_client(session, name, by=by)
        return Over(
            kind=Kind.CLIENT, id=client.id, name=client.code, client=client.id,
            ended=client.ended_at is not None,
        )  # fmt: skip
    if kind == Kind.PROJECT:
        project, client = places.find_project(session, name, by=by)
        return Over(
            kind=Kind.PROJECT, id=project.id, name=project.code, client=client.id,
            ended=project.ended_at is not None or client.ended_at is not None,
        )  # fmt: skip
    if reference.strip() == Kind.HOUSE:
        permissions.require(by, "request:read")
        return Over(kind=Kind.HOUSE, id=HOUSE, name=HOUSE)
    raise errors.Invalid("Name house, client:CODE or project:CODE.", field="over")


# --- which counts --------------------------------------------------------------------------------


def of_place(session: OrmSession, project: str, client: str) -> Policy:
    """The policy in force over a project."""
    (found,) = together(session, of_places({project: client}))
    policy: Policy = found[project]
    return policy


def of_places(owners: dict[str, str]) -> Inquiry[dict[str, Policy]]:
    """The same for some projects, given with their clients."""
    targets = {HOUSE, *owners, *owners.values()}
    query = select(*_COLUMNS).where(
        RequestPolicy.ended_at.is_(None), RequestPolicy.target_id.in_(sorted(targets))
    )
    names = [column.key for column in _COLUMNS]

    def read(rows: list[tuple[Any, ...]]) -> dict[str, Policy]:
        each = [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in rows]
        found = {row.target_id: _policy(row) for row in each}
        house = found.get(HOUSE, DEFAULT)
        return {
            project: found.get(project) or found.get(client) or house
            for project, client in owners.items()
        }

    return Inquiry(query, read)


# Columns and no row of the session's: asked again under the locks, it must be what is there then.
_COLUMNS = (
    RequestPolicy.id, RequestPolicy.kind, RequestPolicy.target_id, RequestPolicy.roles,
    RequestPolicy.people, RequestPolicy.leads, RequestPolicy.needed, RequestPolicy.pausing,
    RequestPolicy.days, RequestPolicy.open_to, RequestPolicy.recorded_at,
)  # fmt: skip


def _policy(row: Any) -> Policy:
    return Policy(
        id=row.id, kind=Kind(row.kind), roles=tuple(row.roles), people=tuple(row.people),
        leads=tuple(row.leads), needed=row.needed, pausing=Pausing(row.pausing), days=row.days,
        open_to=Openness(row.open_to), since=row.recorded_at,
    )  # fmt: skip


# The policies over the project, the client and the house of a request.
OVER = {
    aliased(RequestPolicy, name="of_project"): Request.project_id,
    aliased(RequestPolicy, name="of_client"): Request.client_id,
    aliased(RequestPolicy, name="of_house"): literal(HOUSE),
}
NEAREST = [
    column.label(f"{name}_{place}")
    for place, each in enumerate(OVER)
    for name, column in (("id", each.id), ("roles", each.roles), ("people", each.people))
]


def nearest(query: Select[Any]) -> Select[Any]:
    """Join the policies of requests to a query over these."""
    for policy, target in OVER.items():
        query = query.outerjoin(policy, and_(policy.target_id == target, policy.ended_at.is_(None)))
    return query


def chosen(row: Any) -> Policy:
    """Who may approve a request, of a row that has `NEAREST`; no more of the policy is told."""
    for place in range(len(OVER)):
        found = getattr(row, f"id_{place}")
        if found is not None:
            return Policy(
                id=found, roles=tuple(getattr(row, f"roles_{place}")),
                people=tuple(getattr(row, f"people_{place}")),
            )  # fmt: skip
    return DEFAULT


def own(session: OrmSession, place: Over) -> Policy | None:
    """The policy that was set over just this, if any."""
    row = session.execute(
        select(*_COLUMNS).where(
            RequestPolicy.ended_at.is_(None), RequestPolicy.target_id == place.id
        )
    ).one_or_none()
    return None if row is None else _policy(row)


def inherited(session: OrmSession, place: Over) -> Policy:
    """What counts there while nothing is set over just this."""
    above = {Kind.PROJECT: place.client, Kind.CLIENT: HOUSE}.get(place.kind)
    return DEFAULT if above is None else of_place(session, above, HOUSE)


def listed(session: OrmSession, *, by: Principal) -> list[tuple[Over, Policy]]:
    """The policies in force that the caller may know of: the house's, then by code."""
    clients = permissions.require_some(by, "request:read")
    query = (
        select(*_COLUMNS, RequestPolicy.client_id, Project.code, Client.code.label("client"))
        .outerjoin(Project, Project.id == RequestPolicy.target_id)
        .outerjoin(Client, Client.id == RequestPolicy.client_id)
        .where(RequestPolicy.ended_at.is_(None))
        .order_by(func.coalesce(Client.code, ""), func.coalesce(Project.code, ""))
    )
    if clients is not None:
        query = query.where(RequestPolicy.client_id.in_(clients))
    return [
        (
            Over(
                kind=Kind(row.kind), id=row.target_id, name=row.code or row.client or HOUSE,
                client=row.client_id,
            ),
            _policy(row),
        )
        for row in session.execute(query.limit(500))
    ]  # fmt: skip


def waiting_under(session: OrmSession, place: Over) -> int:
    """How many open requests a policy over this would be asked for, or is."""
    query = select(func.count(Request.id)).where(
        Request.ended_at.is_(None), Request.kind == RequestKind.GRANT
    )
    own_one = RequestPolicy.ended_at.is_(None)
    if place.kind is Kind.PROJECT:
        query = query.where(Request.project_id == place.id)
    else:
        nearer = select(RequestPolicy.target_id).where(own_one, RequestPolicy.kind == Kind.PROJECT)
        query = query.where(Request.project_id.not_in(nearer))
    if place.kind is Kind.CLIENT:
        query = query.where(Request.client_id == place.id)
    elif place.kind is Kind.HOUSE:
        nearer = select(RequestPolicy.target_id).where(own_one, RequestPolicy.kind == Kind.CLIENT)
        query = query.where(Request.client_id.not_in(nearer))
    return int(session.execute(query).scalar_one())


# --- changing --------------------------------------------------------------------------------


def set_(
    session: Session,
    place: Over,
    *,
    roles: Iterable[str],
    people: Sequence[str] = (),
    leads: Sequence[str] = (),
    needed: int,
    pausing: Pausing,
    days: int,
    open_to: Openness = Openness.KNOWN,
    reason: str,
    seen: str | None = None,
    by: Principal,
) -> Policy:
    """Put a policy in force, in place of the one before it; it holds for open requests too.

    `people` and `leads` are named by external id or e-mail address. `seen` is the id of the policy
    over just this that the caller looked at (empty: none): any other is `Stale`.
    """
    permissions.require(by, "policy:set", client=place.client, now=clock.now(session))
    if place.ended:
        raise errors.AlreadyEnded(f"{place.name} has ended.", field="over")
    wanted = Policy(
        kind=place.kind, roles=tuple(sorted(set(roles))), needed=needed, pausing=pausing, days=days,
        open_to=open_to,
        people=_named(session, people, "people"), leads=_named(session, leads, "leads"),
    )  # fmt: skip
    _sound(place, wanted)
    before, unchanged = _before(session, place, seen)
    row = RequestPolicy(
        id=new_id("pol"), kind=place.kind, target_id=place.id, client_id=place.client,
        roles=list(wanted.roles), people=list(wanted.people), leads=list(wanted.leads),
        needed=needed, pausing=pausing, days=days, open_to=open_to,
    )  # fmt: skip
    if before is not None:
        _end(session, place, before, reason=reason, by=by, recheck=unchanged)
        # One may be open over a thing at a time: the old row must have ended before the new stands.
    session.add(row)
    record(
        session,
        EventType.REQUEST_POLICY_SET,
        logs=[place.client or HOUSE],
        by=by,
        refs=_refs(place, row.id),
        data={
            "over": place.kind, "roles": list(wanted.roles), "people": list(wanted.people),
            "leads": list(wanted.leads), "needed": needed, "pausing": pausing, "days": days,
            "open_to": open_to,
        },
        private={"reason": typed.text(reason, field="reason", length=500)},
        stamps=[(row, "recorded_at")],
        recheck=unchanged,
    )  # fmt: skip
    return _policy(row)


def end(
    session: Session, place: Over, *, reason: str, seen: str | None = None, by: Principal
) -> None:
    """Let what is over it count again; `seen` as for `set_`."""
    permissions.require(by, "policy:set", client=place.client, now=clock.now(session))
    before, unchanged = _before(session, place, seen)
    if before is None:
        raise errors.AlreadyEnded("Nothing is set over just this.", field="over")
    _end(session, place, before, reason=reason, by=by, recheck=unchanged)


def _end(
    session: Session,
    place: Over,
    row: RequestPolicy,
    *,
    reason: str,
    by: Principal,
    recheck: Callable[[OrmSession], None],
) -> None:
    record(
        session,
        EventType.REQUEST_POLICY_ENDED,
        logs=[place.client or HOUSE],
        by=by,
        refs=_refs(place, row.id),
        private={"reason": typed.text(reason, field="reason", length=500)},
        stamps=[(row, "ended_at")],
        recheck=recheck,
    )


def _refs(place: Over, policy: str) -> dict[str, str | None]:
    return {
        "policy": policy,
        "client": place.client,
        "project": place.id if place.kind is Kind.PROJECT else None,
    }


def _before(
    session: OrmSession, place: Over, seen: str | None
) -> tuple[RequestPolicy | None, Callable[[OrmSession], None]]:
    """The row in force over just this, and what refuses under the locks when it is another."""
    query = select(RequestPolicy).where(
        RequestPolicy.ended_at.is_(None), RequestPolicy.target_id == place.id
    )
    row = session.execute(query).scalar_one_or_none()
    present = row.id if row is not None else ""

    def unchanged(session: OrmSession) -> None:
        now = session.execute(query.with_only_columns(RequestPolicy.id)).scalar_one_or_none() or ""
        if now != (present if seen is None else seen):
            raise errors.Stale("Someone changed this policy meanwhile. Look at it again.")

    unchanged(session)
    return row, unchanged


def _named(session: OrmSession, names: Sequence[str], field: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in names:
        try:
            person = subjects.find(session, name)
        except errors.Unknown:
            person = None
        if person is None or person.ended_at is not None:
            raise errors.Invalid(f"“{name}” is nobody here.", field=field)
        found[person.id] = None
    if len(found) > MOST_NAMED:
        raise errors.Invalid(f"Name at most {MOST_NAMED} people.", field=field)
    return tuple(sorted(found))


def _sound(place: Over, wanted: Policy) -> None:
    if not set(wanted.roles) <= set(ROLES):
        raise errors.Invalid(f"Approvers are {' or '.join(ROLES)}.", field="roles")
    if not 1 <= wanted.needed <= MOST_NEEDED:
        raise errors.Invalid(f"It takes 1 to {MOST_NEEDED} approvals.", field="needed")
    if not wanted.roles and len(wanted.people) < wanted.needed:
        raise errors.Invalid(
            "Fewer people are named than it takes: name more, or let a role approve.",
            field="people",
        )
    if not 1 <= wanted.days <= MOST_DAYS:
        raise errors.Invalid(f"A request waits 1 to {MOST_DAYS} days.", field="days")
    if wanted.leads and place.kind is Kind.HOUSE:
        raise errors.Invalid("Leads are those of a client or a project.", field="leads")
    if wanted.open_to is not Openness.KNOWN and place.kind is Kind.HOUSE:
        raise errors.Invalid("A client or a project is opened, not the house.", field="open_to")


def names_of(session: OrmSession, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """External id and name of the people whom policies name."""
    rows = session.execute(
        select(Subject.id, Subject.external_id, Subject.full_name).where(
            Subject.id.in_(sorted(set(ids)))
        )
    )
    return {row.id: (row.external_id, row.full_name) for row in rows}

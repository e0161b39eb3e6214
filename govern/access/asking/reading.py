"""Reading requests for access: one's own with their outcomes, and what waits for the caller."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, bindparam, func, or_, select

from govern import clock, permissions
from govern.access import entitlements
from govern.access.asking import policies
from govern.access.asking.approving import needed, obstacle
from govern.access.asking.tables import RequestApproval
from govern.access.clients import Dataset, Project
from govern.access.grants import Grant
from govern.access.requests import Request, RequestKind, signature
from govern.db import Inquiry, together
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.asking.approving import Approval, Given
    from govern.access.asking.policies import Policy
    from govern.access.requests import Making
    from govern.principal import Principal

MOST = 50  # one's own that are shown
COUNTED = 100  # waiting ones that are looked at for a number
# For so long what became of a request is told at the head of one's page.
NEWS = timedelta(days=14)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request of one's own: for whom (None: oneself), for what, and how it stands.

    `said` is what whoever turned it down wrote, `cause` why it ended by itself.
    """

    id: str
    person: str | None
    place: str
    entitlement: str
    actions: tuple[str, ...]
    starts_at: datetime | None
    until: datetime
    reason: str
    asked_at: datetime
    expires_at: datetime | None
    approvals: int
    outcome: str
    ended_at: datetime | None
    said: str
    cause: str
    by_me: bool


def mine(session: OrmSession, *, by: Principal) -> list[Asked]:
    """What the caller asked for, and what was asked for them: the latest first."""
    given = (
        select(func.count(RequestApproval.id))
        .where(RequestApproval.request_id == Request.id)
        .scalar_subquery()
    )
    rows = session.execute(
        select(Request, Project.code, Dataset.code, Subject.external_id, given)
        .join(Project, Project.id == Request.project_id)
        .join(Subject, Subject.id == Request.subject_id)
        .outerjoin(Dataset, Dataset.id == Request.dataset_id)
        .where(
            Request.kind == RequestKind.GRANT,
            or_(Request.asked_by == signature(by), Request.subject_id == by.id),
        )
        .order_by(Request.id.desc())
        .limit(MOST)
    ).all()
    means = entitlements.meanings(session) if rows else {}
    return [
        _asked(
            row,
            f"{project} · {dataset}" if dataset else project,
            person,
            count,
            *means.get(row.details["entitlement"], ("", ())),
            me=signature(by),
        )
        for row, project, dataset, person, count in rows
    ]


def _asked(row: Request, place: str, person: str, given: int, *means: Any, me: str) -> Asked:
    told, (name, actions) = row.details, means
    starts = told.get("starts_at")
    return Asked(
        id=row.id,
        person=None if row.subject_id == me else person,
        place=place,
        entitlement=name,
        actions=actions,
        starts_at=clock.parse(starts, field="starts") if starts else None,
        until=clock.parse(told["until"], field="until"),
        reason=told.get("reason", ""),
        asked_at=row.recorded_at,
        expires_at=row.expires_at,
        approvals=given,
        outcome=row.outcome or "pending",
        ended_at=row.ended_at,
        said=told.get("said", ""),
        cause=told.get("cause", ""),
        by_me=row.asked_by == me,
    )


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Of a waiting request for access: its policy, who approved, and why the caller may not.

    `settled_by_me`: the caller approved, and it takes others yet.
    """

    policy: Policy
    given: tuple[Given, ...]
    needed: int
    settled_by_me: bool
    why_not: str


def wishes(
    rows: list[Request],
    over: dict[str, Policy],
    given: dict[str, list[Approval]],
    making: Making,
    *,
    by: Principal,
) -> dict[str, Wish]:
    """How requests for access stand, by their ids; a review is not looked at here.

    Under the policies `over` their projects, with the approvals `given` to them; `making` is that
    of whoever asked or approved.
    """
    me = signature(by)
    found = {}
    for row in rows:
        policy = over[str(row.project_id)]
        own = tuple(one.under(policy, row.client_id) for one in given.get(row.id, []))
        takes = needed(policy, row, reviewed=False)
        done = sum(one.counts for one in own) < takes and any(one.by == me for one in own)
        found[row.id] = Wish(
            policy=policy,
            given=own,
            needed=takes,
            settled_by_me=done,
            why_not="" if done else obstacle(row, policy, own, making, by=by),
        )
    return found


def held_there(session: OrmSession, row: Request) -> int:
    """How many grants whom it is for holds on that project now."""
    now = clock.instant()
    query = select(func.count(Grant.id)).where(
        Grant.subject_id == row.subject_id, Grant.project_id == row.project_id,
        Grant.ended_at.is_(None), Grant.starts_at <= now, Grant.ends_at > now,
    )  # fmt: skip
    return int(session.execute(query).scalar_one())


def calling(session: OrmSession, *, by: Principal) -> int:
    """How many requests of others wait for the caller, looked at no further than `COUNTED`."""
    clients = permissions.scope(by, "request:approve")
    if clients is not None and not clients:
        return 0
    (found,) = together(session, calls(by=by))
    return int(found)


def calls(*, by: Principal) -> Inquiry[int]:
    """The same of who may approve something, to be asked along with others.

    For the number beside the navigation: whether two accounts are of one making is asked where the
    request is shown.
    """
    clients = permissions.scope(by, "request:approve")
    query = _calls(limited=clients is not None)
    given = {"called": signature(by), "called_person": by.id}
    within = {} if clients is None else {"called_within": list(clients)}
    names = [str(column.key) for column in query.selected_columns]

    def read(rows: list[tuple[Any, ...]]) -> int:
        each = (SimpleNamespace(**dict(zip(names, row, strict=True))) for row in rows)
        return sum(
            row.project_id is None
            or policies.chosen(row).names(signature(by), by.roles, row.client_id)
            for row in each
        )

    return Inquiry(query, read, given | within)


@cache
def _calls(*, limited: bool) -> Select[Any]:
    """Open requests of others that the caller has not approved; built once: every page asks it."""
    me = bindparam("called", type_=String())
    mine = select(RequestApproval.id).where(
        RequestApproval.request_id == Request.id, RequestApproval.approved_by == me
    )
    asked: Any = select(Request.project_id, Request.client_id, *policies.NEAREST)
    query = policies.nearest(asked).where(
        Request.ended_at.is_(None),
        Request.asked_by != me,
        or_(Request.subject_id.is_(None), Request.subject_id != bindparam("called_person")),
        ~mine.exists(),
    )
    if limited:
        query = query.where(Request.client_id.in_(bindparam("called_within", expanding=True)))
    return query.order_by(Request.recorded_at).limit(COUNTED)

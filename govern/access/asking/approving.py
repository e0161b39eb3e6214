"""Approving access that was asked for: as many people as its policy says, and nobody twice.

An approval counts as long as its giver may still approve. What is counted is looked at again under
the log's lock: if anything moved meanwhile (another approval, the policy, a pause), all is done
anew, so two approvals at once make the grant once, and none lands in a pause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from govern import clock, errors
from govern.access import grants, requests
from govern.access.asking import policies
from govern.access.asking.tables import RequestApproval
from govern.access.clients import Dataset, Project
from govern.access.requests import Request, RequestKind, signature
from govern.audit import EventType
from govern.audit.record import record
from govern.db import Again, Inquiry, new_id, together
from govern.identity import roles
from govern.identity.subjects import Subject
from govern.principal import RoleHeld

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.access.asking.policies import Policy
    from govern.access.requests import Making
    from govern.db import Session
    from govern.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Given:
    """One approval; `counts` while its giver may still approve."""

    by: str
    at: datetime
    counts: bool


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How a request stands: how many approvals it takes, and who gave theirs."""

    policy: Policy
    reviewed: bool
    needed: int
    given: tuple[Given, ...]

    @property
    def counted(self) -> int:
        """How many of the approvals given count."""
        return sum(one.counts for one in self.given)

    @property
    def missing(self) -> int:
        """How many more it takes."""
        return max(0, self.needed - self.counted)

    @property
    def version(self) -> str:
        """What names this state in a form: any other is stale."""
        return f"{self.policy.id or 'none'}.{self.needed}.{self.counted}.{len(self.given)}"


def tally(session: OrmSession, row: Request) -> Tally:
    """How a request for access stands now."""
    reviewed = _reviewed(session, row)
    assert row.project_id is not None  # noqa: S101 - access that is asked for has one
    assert row.client_id is not None  # noqa: S101 - likewise
    over, given = together(
        session, policies.of_places({row.project_id: row.client_id}), approvals([row.id])
    )
    policy = over[row.project_id]
    return Tally(
        policy=policy,
        reviewed=reviewed,
        needed=needed(policy, row, reviewed=reviewed),
        given=tuple(one.under(policy, row.client_id) for one in given.get(row.id, [])),
    )


def needed(policy: Policy, row: Request, *, reviewed: bool) -> int:
    """How many approvals a request takes; under review one more than the policy says.

    An asker who could have given the access is the first of the two that a review demands.
    """
    alone = row.details.get("authority", "") is None
    return policy.needed + (1 if reviewed and alone else 0)


@dataclass(frozen=True, kw_only=True)
class Approval:
    """An approval as it was given: by whom (and their name), when, with which roles they hold."""

    by: str
    name: str
    at: datetime
    held: list[RoleHeld]

    def under(self, policy: Policy, client: str | None) -> Given:
        """Whether it counts under a policy."""
        return Given(by=self.by, at=self.at, counts=policy.names(self.by, self.held, client))


def approvals(ids: Iterable[str]) -> Inquiry[dict[str, list[Approval]]]:
    """The approvals of some requests, by the request, the first first."""
    held = roles.RoleAssignment
    query = (
        select(
            RequestApproval.request_id, RequestApproval.id, RequestApproval.approved_by,
            Subject.full_name, RequestApproval.recorded_at, held.role, held.client_id,
        )
        .outerjoin(Subject, Subject.id == RequestApproval.approved_by)
        .outerjoin(held, and_(held.subject_id == Subject.id, roles.counts()))
        .where(RequestApproval.request_id.in_(sorted(ids)))
    )  # fmt: skip
    return Inquiry(query, _approvals)


def _approvals(rows: list[tuple[Any, ...]]) -> dict[str, list[Approval]]:
    """A row for each role of who gave an approval, or one; sorted by when it was given."""
    found: dict[tuple[str, str], Approval] = {}
    for request, id_, who, name, at, role, client in sorted(rows, key=lambda row: (row[4], row[1])):
        # Who sat at the machine may do what an admin may.
        held = [] if who.startswith("sub_") else [RoleHeld("operator")]
        one = found.setdefault((request, id_), Approval(by=who, name=name or who, at=at, held=held))
        if role is not None:
            one.held.append(RoleHeld(role, client))
    by_request: dict[str, list[Approval]] = {}
    for (request, _), one in found.items():
        by_request.setdefault(request, []).append(one)
    return by_request


def _reviewed(session: OrmSession, row: Request) -> bool:
    """Whether what it asks for is under review; `Held` or `AlreadyEnded` where it is stopped."""
    subject, project, dataset = session.execute(
        select(Subject, Project, Dataset)
        .select_from(Subject)
        .join(Project, Project.id == row.project_id)
        .outerjoin(Dataset, Dataset.id == row.dataset_id)
        .where(Subject.id == row.subject_id)
    ).one()
    try:
        grants.refuse_held(session, subject, project, dataset, two=False)
    except errors.NeedsSecondPerson:
        return True
    return False


def shown(
    session: OrmSession, row: Request, policy: Policy, given: tuple[Given, ...]
) -> tuple[Tally, str]:
    """How a request stands, and in words what keeps it from being approved now, if anything.

    Under its policy, with the approvals given to it: see `reading.wishes`.
    """
    try:
        reviewed, why_not = _reviewed(session, row), ""
    except (errors.Held, errors.AlreadyEnded) as error:
        reviewed, why_not = False, str(error)
    takes = needed(policy, row, reviewed=reviewed)
    return Tally(policy=policy, reviewed=reviewed, needed=takes, given=given), why_not


def partners(row: Request, given: Iterable[Given], *, by: Principal) -> set[str]:
    """With whom the caller must be able to pair to be one of those who approve this."""
    # Two who approve are two; and so is an asker who counts as one of them.
    first = {one.by for one in given} - {signature(by)}
    if row.details.get("authority", "") is not None:
        first.add(row.asked_by)
    return first


def obstacle(
    row: Request, policy: Policy, given: Iterable[Given], making: Making, *, by: Principal
) -> str:
    """Why the caller cannot be one of those who approve this, in a sentence; empty if they can.

    `making` is that of the `partners`, among others.
    """
    me = signature(by)
    if row.asked_by == me:
        return "You asked for this yourself: someone else must approve it."
    if row.subject_id == by.id:
        return "This access would be yours: someone else must approve it."
    if not policy.names(me, by.roles, row.client_id):
        return "The policy for this project names others to approve access."
    with_each = (making.obstacle(one, by) for one in sorted(partners(row, given, by=by)))
    return next((sentence for sentence in with_each if sentence), "")


@requests.gathers(RequestKind.GRANT)
def _gather(session: Session, row: Request, seen: str | None, by: Principal) -> bool:
    """Add the caller's approval; whether it was the last that it takes."""
    if row.expires_at is not None and row.expires_at <= clock.now(session):
        raise errors.AlreadyEnded("Nobody answered in time: this request is over.")
    before = tally(session, row)
    if seen is not None and seen != before.version:
        raise errors.Stale("It stands otherwise than you saw it. Look at it again.")
    making = requests.making(session, partners(row, before.given, by=by), by=by)
    sentence = obstacle(row, before.policy, before.given, making, by=by)
    if sentence:
        raise errors.SamePerson(sentence)
    me = signature(by)
    mine = next((one for one in before.given if one.by == me), None)
    if mine is not None and before.missing:
        raise errors.AlreadyExists(
            f"You approved this already. It takes {before.missing} more, of other people."
        )

    def unmoved(session: OrmSession) -> None:
        ended = select(Request.ended_at).where(Request.id == row.id).with_for_update()
        if session.execute(ended).scalar_one() is not None or tally(session, row) != before:
            raise Again

    approval = RequestApproval(id=new_id("apv"), request_id=row.id, approved_by=me)
    if mine is None:
        session.add(approval)
    record(
        session,
        EventType.REQUEST_ENDORSED,
        logs=row.details["logs"],
        by=by,
        refs={
            "request": row.id, "approval": approval.id if mine is None else None,
            "subject": row.subject_id, "client": row.client_id, "project": row.project_id,
            "dataset": row.dataset_id, "policy": before.policy.id,
        },
        data={"needed": before.needed, "given": before.counted + (mine is None)},
        stamps=[(approval, "recorded_at")] if mine is None else [],
        recheck=unmoved,
    )  # fmt: skip
    return before.counted + (mine is None) >= before.needed

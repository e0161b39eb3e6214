"""What is done with grants: issue, revoke; also what others approved."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, or_, select

from govern import clock, errors, permissions
from govern.access import requests
from govern.access.clients import Client, Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.grants.table import Grant
from govern.access.modes import Mode
from govern.access.requests import RequestKind
from govern.access.suspension_tables import (
    Scope,
    SuspensionMode,
    SuspensionTarget,
    naming,
)
from govern.audit import EventType
from govern.audit.record import record
from govern.db import new_id
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal


def find(session: OrmSession, grant_id: str, *, by: Principal) -> Grant:
    """The grant; `Unknown` when there is none or the caller may not know of it."""
    clients = permissions.require_some(by, "grant:read")
    row = session.get(Grant, grant_id)
    if row is None or (clients is not None and row.client_id not in clients):
        raise errors.Unknown(f"There is no grant {grant_id}.")
    return row


def issue(
    session: Session,
    subject: Subject,
    project: Project,
    entitlement: Entitlement,
    *,
    dataset: Dataset | None = None,
    starts: datetime | None = None,
    until: datetime,
    reason: str,
    by: Principal,
) -> Grant:
    """Give access from `starts` (now) until an instant.

    `Held` while a pause or a read-only mode covers it; under review `NeedsSecondPerson`: it is to
    be asked for (`asking.ask`).
    """
    _may_issue(session, subject, project, dataset, starts=starts, until=until, by=by)
    return _issue(
        session,
        subject,
        project,
        entitlement,
        dataset=dataset,
        starts=starts,
        until=until,
        reason=reason,
        by=by,
    )


@requests.performs(RequestKind.GRANT)
def _approved(session: Session, request: requests.Request, by: Principal) -> None:
    wanted = request.details
    subject = session.get_one(Subject, request.subject_id)
    project = session.get_one(Project, wanted["project"])
    dataset = session.get_one(Dataset, wanted["dataset"]) if wanted["dataset"] else None
    starts = clock.parse(wanted["starts_at"], field="starts") if wanted["starts_at"] else None
    until = clock.parse(wanted["until"], field="until")
    with suppress(errors.NeedsSecondPerson):  # here they are
        _may_issue(
            session, subject, project, dataset, starts=starts, until=until,
            permission="request:approve", by=by,
        )  # fmt: skip
    _issue(
        session,
        subject,
        project,
        session.get_one(Entitlement, wanted["entitlement"]),
        dataset=dataset,
        starts=starts,
        until=until,
        reason=wanted["reason"],
        by=by,
        two=True,
    )


def _may_issue(
    session: OrmSession,
    subject: Subject,
    project: Project,
    dataset: Dataset | None,
    *,
    starts: datetime | None,
    until: datetime,
    permission: str = "grant:issue",
    by: Principal,
) -> None:
    now = clock.now(session)
    permissions.require(by, permission, client=project.client_id, now=now)
    if by.id == subject.id:
        raise errors.SamePerson("Nobody grants access to themselves.")
    if dataset is not None and dataset.project_id != project.id:
        raise errors.Invalid(f"{dataset.code} is not a dataset of {project.code}.", field="dataset")
    if until <= (starts or now):
        raise errors.WindowInvalid("The window ends before it starts.", field="until")
    if until <= now:
        raise errors.WindowInvalid("The window has ended already.", field="until")
    refuse_held(session, subject, project, dataset, two=False)


def _issue(
    session: Session,
    subject: Subject,
    project: Project,
    entitlement: Entitlement,
    *,
    dataset: Dataset | None,
    starts: datetime | None,
    until: datetime,
    reason: str,
    by: Principal,
    two: bool = False,
) -> Grant:
    def recheck(session: OrmSession) -> datetime:
        held_at = _hold_still(session, subject)
        refuse_held(session, subject, project, dataset, two=two)
        return held_at

    grant = Grant(
        id=new_id("grt"),
        subject_id=subject.id,
        entitlement_id=entitlement.id,
        client_id=project.client_id,
        project_id=project.id,
        dataset_id=dataset.id if dataset else None,
        starts_at=starts or clock.now(session),
        ends_at=until,
    )
    session.add(grant)
    record(
        session,
        EventType.GRANT_ISSUED,
        logs=[project.client_id],
        by=by,
        refs=refs_of(grant),
        data={
            "entitlement": entitlement.name,
            "starts_at": clock.text(grant.starts_at),
            "ends_at": clock.text(grant.ends_at),
        },
        private={"reason": reason},
        about=subject.id,
        stamps=[(grant, "recorded_at")],
        recheck=recheck,
    )
    return grant


def _hold_still(session: OrmSession, subject: Subject) -> datetime:
    """Lock a person and their firm against moves, offboarding and suspension until the commit.

    Only under the head's lock: whoever suspends or offboards takes the heads first too. Returns the
    instant at which they were had: a move that was waited for, and did not see this grant, is
    earlier on record too.
    """
    held = (
        select(Subject.id)
        .join(Membership, Membership.subject_id == Subject.id)
        .join(Organisation, Organisation.id == Membership.organisation_id)
        .where(Subject.id == subject.id, Membership.ended_at.is_(None))
        .with_for_update(read=True, of=[Subject, Organisation])
        .cte("held")
    )
    return session.execute(select(clock.passing()).select_from(held)).scalar_one()


def refuse_held(
    session: OrmSession, subject: Subject, project: Project, dataset: Dataset | None, *, two: bool
) -> None:
    """Refuse a new grant where something ended or is held; also asked under the heads' locks."""
    asked = {
        "subject": subject.id,
        "client": project.client_id,
        "project": project.id,
        "dataset": dataset.id if dataset else None,
    }
    left, ended = session.execute(_ends(), asked).one()
    if left is not None:
        raise errors.AlreadyEnded("Who has left is granted nothing.", field="subject")
    if ended is not None:
        raise errors.AlreadyEnded(f"{project.code} has ended.", field="project")
    if dataset is not None and dataset.ended_at is not None:
        raise errors.AlreadyEnded(f"{dataset.code} has ended.", field="dataset")
    holding = session.execute(_suspended(), asked).all()
    # In a list or alone, it is the person who is named.
    held = [
        (Scope.SUBJECT if row.kind == Scope.PEOPLE else Scope(row.kind), row.mode)
        for row in holding
    ]
    for kind, mode in held:
        if mode != Mode.UNDER_REVIEW:
            raise errors.Held(
                f"The {kind} is suspended ({mode}): no new grants until it is lifted.", field=kind
            )
    if held and not two:
        raise errors.NeedsSecondPerson(
            f"The {held[0][0]} is under review: a new grant takes a second approver.",
            field=held[0][0],
        )


# Built once: that takes longer than to ask, and each grant is asked about twice.
@cache
def _ends() -> Select[Any]:
    """When a person left, and when a project or its client ended."""
    there: Any = (
        select(func.coalesce(Project.ended_at, Client.ended_at))
        .join(Client, Client.id == Project.client_id)
        .where(Project.id == bindparam("project"))
        .scalar_subquery()
    )
    return select(Subject.ended_at, there).where(Subject.id == bindparam("subject"))


@cache
def _suspended() -> Select[str, str]:
    """The modes that lie over a person, their firm, a client, its project or a dataset of it."""
    firm = select(Membership.organisation_id).where(
        Membership.subject_id == bindparam("subject"), Membership.ended_at.is_(None)
    )
    over = or_(
        naming(SuspensionTarget, bindparam("subject")),
        *(
            and_(SuspensionTarget.kind == kind, SuspensionTarget.target_id == bindparam(kind))
            for kind in (Scope.CLIENT, Scope.PROJECT, Scope.DATASET)
        ),
        and_(SuspensionTarget.kind == Scope.ORGANISATION, SuspensionTarget.target_id.in_(firm)),
    )
    return (
        select(SuspensionMode.mode, SuspensionTarget.kind)
        .join(SuspensionTarget, SuspensionTarget.suspension_id == SuspensionMode.suspension_id)
        .where(over, SuspensionTarget.ended_at.is_(None), SuspensionMode.ended_at.is_(None))
    )


def revoke(session: Session, grant: Grant, *, reason: str, by: Principal) -> None:
    """End a grant for good."""
    permissions.require(by, "grant:revoke", client=grant.client_id, now=clock.now(session))

    def open_(session: OrmSession) -> None:
        ended = session.execute(select(Grant.ended_at).where(Grant.id == grant.id)).scalar_one()
        if ended is not None:
            raise errors.AlreadyEnded(f"This grant was revoked on {clock.text(ended)}.")

    open_(session)
    end(session, grant, reason=reason, by=by, recheck=open_)


def end(
    session: Session,
    grant: Grant,
    *,
    reason: str,
    by: Principal,
    recheck: Callable[[Session], None] | None = None,
) -> None:
    """Record one grant's end; for operations that have checked their own permission."""
    record(
        session,
        EventType.GRANT_REVOKED,
        logs=[grant.client_id],
        by=by,
        refs=refs_of(grant),
        private={"reason": reason},
        about=grant.subject_id,
        stamps=[(grant, "ended_at")],
        recheck=recheck,
    )


def refs_of(grant: Grant) -> dict[str, str | None]:
    """The opaque ids that an entry about a grant carries."""
    return {
        "grant": grant.id,
        "subject": grant.subject_id,
        "client": grant.client_id,
        "project": grant.project_id,
        "dataset": grant.dataset_id,
        "entitlement": grant.entitlement_id,
    }

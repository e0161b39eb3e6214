"""Asking for access: a person for themselves, a lead or an admin for others; nothing is given yet.

One may ask for what one may know of (see `knowing`); any other code is answered as if it were
nowhere. A lead, named by the policy, asks for people who hold or held something of the same client;
who may give access asks for anybody.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from govern import clock, errors, permissions
from govern.access import clients, grants, requests
from govern.access.asking import knowing, policies
from govern.access.asking.tables import Pausing
from govern.access.clients import Dataset, Project
from govern.access.grants import Grant
from govern.access.requests import Request, RequestKind, signature
from govern.access.suspensions import people as everyone
from govern.identity import typed
from govern.identity.subjects import Subject
from govern.principal import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.access.asking.policies import Policy
    from govern.access.entitlements import Entitlement
    from govern.db import Session
    from govern.principal import Principal

MOST_AT_ONCE = 50  # people that one act asks for
MOST_OPEN = 20  # requests of one person's own that wait
ISSUES = "grant:issue"


def ask(
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
) -> Request:
    """Ask for a grant for one person, oneself or another; see `ask_for`."""
    (row,) = ask_for(
        session, [subject], project, entitlement, dataset=dataset, starts=starts, until=until,
        reason=reason, by=by,
    )  # fmt: skip
    return row


def ask_for(
    session: Session,
    people: Sequence[Subject],
    project: Project,
    entitlement: Entitlement,
    *,
    dataset: Dataset | None = None,
    starts: datetime | None = None,
    until: datetime,
    reason: str,
    by: Principal,
) -> list[Request]:
    """Ask for the same grant for some people, a request each: all of them or none.

    `Unknown` where the caller may not know of the place, `Held` where the policy lets no request
    wait while it is paused, `AlreadyExists` where just that waits already.
    """
    policy = policies.of_place(session, project.id, project.client_id)
    may_issue = _may_ask(session, people, project, dataset, policy, by=by)
    reason = typed.text(reason, field="reason", length=500)
    now = clock.now(session)
    if not 1 <= len(people) <= MOST_AT_ONCE:
        raise errors.Invalid(f"Ask for 1 to {MOST_AT_ONCE} people at once.", field="people")
    if dataset is not None and dataset.project_id != project.id:
        raise errors.Invalid(f"{dataset.code} is not a dataset of {project.code}.", field="dataset")
    if until <= (starts or now):
        raise errors.WindowInvalid("The window ends before it starts.", field="until")
    if until <= now:
        raise errors.WindowInvalid("The window has ended already.", field="until")
    return [
        _put_down(
            session, person, project, entitlement, policy, dataset=dataset, starts=starts,
            until=until, reason=reason, may_issue=may_issue, by=by,
        )
        for person in people
    ]  # fmt: skip


def _put_down(
    session: Session,
    person: Subject,
    project: Project,
    entitlement: Entitlement,
    policy: Policy,
    *,
    dataset: Dataset | None,
    starts: datetime | None,
    until: datetime,
    reason: str,
    may_issue: bool,
    by: Principal,
) -> Request:
    def first(session: OrmSession) -> None:
        _refuse_twice(session, person, project, dataset, entitlement)
        _refuse_ended(session, person, project, dataset, policy)

    first(session)
    lasts = clock.now(session) + timedelta(days=policy.days)
    return requests.ask(
        session,
        RequestKind.GRANT,
        logs=[project.client_id],
        client=project.client_id,
        subject=person.id,
        project=project.id,
        dataset=dataset.id if dataset else None,
        expires=min(until, lasts),
        details={
            "project": project.id,
            "entitlement": entitlement.id,
            "dataset": dataset.id if dataset else None,
            "reason": reason,
            "starts_at": clock.text(starts) if starts else None,
            "until": clock.text(until),
            # Whoever could have given it themselves is one of the two that a review demands.
            "authority": ISSUES if may_issue else None,
        },
        reason=reason,
        recheck=first,
        by=by,
    )


def _may_ask(
    session: OrmSession,
    people: Sequence[Subject],
    project: Project,
    dataset: Dataset | None,
    policy: Policy,
    *,
    by: Principal,
) -> bool:
    """Refuse who may not ask this; whether the caller could give it themselves."""
    if permissions.covers(by, ISSUES, project.client_id):
        permissions.require(by, ISSUES, client=project.client_id, now=clock.now(session))
        return True
    if by.kind is not Kind.SUBJECT or by.suspended:
        permissions.require(by, ISSUES, client=project.client_id)
    if [person.id for person in people] == [by.id]:
        _known(session, by.id, project, dataset)
        _not_too_many(session, by)
        return False
    if by.id not in policy.leads:
        raise errors.Unknown(f"There is no project “{project.code}”.", field="project")
    there = (
        session.execute(
            select(Grant.subject_id)
            .where(
                Grant.client_id == project.client_id,
                Grant.subject_id.in_([person.id for person in people]),
            )
            .distinct()
        )
        .scalars()
        .all()
    )
    for person in people:
        if person.id not in there:  # in the words of a name that is nobody's
            raise errors.Unknown(f"Nobody is known as “{person.external_id}”.", field="people")
    return False


def _known(session: OrmSession, who: str, project: Project, dataset: Dataset | None) -> None:
    if not knowing.may_know(session, who, project):
        raise errors.Unknown(f"There is no project “{project.code}”.", field="project")
    if dataset is not None and not knowing.knows_part(session, who, project, dataset):
        raise errors.Unknown(f"There is no dataset “{dataset.code}”.", field="dataset")


def _not_too_many(session: OrmSession, by: Principal) -> None:
    waiting = select(func.count(Request.id)).where(
        Request.asked_by == signature(by), Request.ended_at.is_(None)
    )
    if session.execute(waiting).scalar_one() >= MOST_OPEN:
        raise errors.Held(
            f"{MOST_OPEN} requests of yours wait. Ask again once one of them is answered."
        )


def _refuse_twice(
    session: OrmSession,
    person: Subject,
    project: Project,
    dataset: Dataset | None,
    entitlement: Entitlement,
) -> None:
    alike = select(Request.details).where(
        Request.subject_id == person.id,
        Request.project_id == project.id,
        Request.dataset_id.is_(None) if dataset is None else Request.dataset_id == dataset.id,
        Request.kind == RequestKind.GRANT,
        Request.ended_at.is_(None),
    )
    for details in session.execute(alike).scalars():
        if details["entitlement"] == entitlement.id:
            raise errors.AlreadyExists(
                f"Just that was asked for already for {person.external_id}, and waits.",
                field="people",
            )


def _refuse_ended(
    session: OrmSession,
    person: Subject,
    project: Project,
    dataset: Dataset | None,
    policy: Policy,
) -> None:
    try:
        grants.refuse_held(session, person, project, dataset, two=True)
    except errors.Held:
        if policy.pausing is Pausing.DIES:
            raise


# --- one's own -----------------------------------------------------------------------------------


def own(session: OrmSession, request_id: str, *, by: Principal) -> Request:
    """Access that the caller asked for, or that was asked for them; `Unknown` of all else."""
    row = session.get(Request, request_id)
    if (
        row is None
        or row.kind != RequestKind.GRANT
        or by.kind is not Kind.SUBJECT
        or by.id not in {row.asked_by, row.subject_id}
    ):
        raise errors.Unknown(f"There is no request {request_id}.")
    return row


def take_back(session: Session, request_id: str, *, by: Principal) -> Request:
    """Withdraw what one asked for, or what was asked for oneself."""
    row = own(session, request_id, by=by)
    if row.ended_at is not None:
        raise errors.AlreadyEnded("This request was decided before.")
    requests.take_back(session, row, by=by)
    return row


# --- what was typed ------------------------------------------------------------------------------


def find_place(
    session: OrmSession, project: str, dataset: str = "", *, others: bool = False, by: Principal
) -> tuple[Project, Dataset | None]:
    """The project and dataset of these codes, if the caller may ask there (for `others`).

    In the same words, `Unknown` of what is nowhere and of what the caller may not know of.
    """
    row = clients.project(session, project)
    if not _may_ask_at(session, row, others=others, by=by):
        raise errors.Unknown(f"There is no project “{project}”.", field="project")
    if not dataset:
        return row, None
    part = clients.dataset(session, dataset)
    free = others or permissions.covers(by, ISSUES, row.client_id)
    if part.project_id != row.id or not (free or knowing.knows_part(session, by.id, row, part)):
        raise errors.Unknown(f"There is no dataset “{dataset}”.", field="dataset")
    return row, part


def find_people(
    session: OrmSession, names: str, project: Project, *, by: Principal
) -> list[Subject]:
    """The people of a pasted list of external ids or e-mail addresses; `UnknownPeople` of others.

    A lead may know of those alone who hold or held something of the same client.
    """
    given = everyone.read(names)
    if not 1 <= len(given) <= MOST_AT_ONCE:
        raise errors.Invalid(f"Name 1 to {MOST_AT_ONCE} people.", field="people")
    known = not permissions.covers(by, ISSUES, project.client_id)
    found: dict[str, None] = {}
    unknown = []
    for name in given:
        looked = everyone.look_up(session, [name]).people
        if not looked or (known and not _worked_for(session, looked[0][0], project.client_id)):
            unknown.append((name.line, name.given))
        else:
            found[looked[0][0]] = None
    if unknown:
        raise errors.UnknownPeople(unknown, of=len(given))
    return [session.get_one(Subject, each) for each in found]


def _may_ask_at(session: OrmSession, project: Project, *, others: bool, by: Principal) -> bool:
    if permissions.covers(by, ISSUES, project.client_id):
        return True
    if by.kind is not Kind.SUBJECT or by.suspended:
        return False
    if not others:
        return knowing.may_know(session, by.id, project)
    return by.id in policies.of_place(session, project.id, project.client_id).leads


def _worked_for(session: OrmSession, who: str, client: str) -> bool:
    there = select(Grant.id).where(Grant.subject_id == who, Grant.client_id == client)
    return session.execute(there.limit(1)).first() is not None

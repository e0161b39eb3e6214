"""Grants: who was given what, over which project or dataset, from when until when; and the one rule.

A grant is in force at an instant when its window holds it; its subject, project and client are
active; its entitlement holds the action; and no suspension that stops the action covers it. The
clauses below are the only spelling of this: the decision, the lists, the preview, the effects of a
pause and "who had access then" are all readings of them. Nothing is copied into a grant's row when
it is suspended, so nothing can drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Index, and_, exists, func, literal, not_, or_, select, true
from sqlalchemy.orm import Mapped, aliased, mapped_column

from govern import clock, errors, permissions
from govern.access import modes, requests
from govern.access.clients import Client, Dataset, Project
from govern.access.entitlements import Entitlement, EntitlementAction
from govern.access.modes import Effect, Mode
from govern.access.requests import RequestItem, RequestKind
from govern.access.suspension_tables import (
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.audit import EventType
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Id, new_id, references
from govern.identity.sessions import WebSession
from govern.identity.subjects import Membership, Subject

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

SECOND_FACTOR_WITHIN = timedelta(hours=12)


class Grant(Audited, Base):
    """Access given: subject × entitlement × project (or one dataset of it) × window.

    `recorded_at` and `ended_at` are the instants of the entries that issued and revoked it;
    `client_id` is the project's, which never changes.
    """

    __tablename__ = "access_grant"
    __table_args__ = (
        Index("ix_access_grant_subject", "subject_id", "project_id"),
        Index("ix_access_grant_project", "project_id", "id"),
        Index("ix_access_grant_client", "client_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    entitlement_id: Mapped[Id] = mapped_column(references("entitlement.id"))
    client_id: Mapped[Id] = mapped_column(references("client.id"))
    project_id: Mapped[Id] = mapped_column(references("project.id"))
    dataset_id: Mapped[Id | None] = mapped_column(references("dataset.id"))
    starts_at: Mapped[datetime] = mapped_column(Utc())
    ends_at: Mapped[datetime] = mapped_column(Utc())
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


# --- the rule ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The instant that a question is about.

    `at` None is now: facts count when they are visible and not ended, whatever their instants say,
    and only windows are compared with the clock. With `at` the log's order decides: a fact counts
    when its entry is at or before that instant and its end is after it. `worked_at` is for hours
    alone: the instant the work was done at, judged by what is known at `at`.
    """

    at: ColumnElement[datetime] | None = None
    worked_at: ColumnElement[datetime] | None = None

    @classmethod
    def past(cls, at: datetime | None) -> Moment:
        """The moment of an instant that is known, or now."""
        return NOW if at is None else cls(at=literal(at, Utc()))

    @property
    def instant(self) -> ColumnElement[datetime]:
        """What windows are compared with."""
        if self.worked_at is not None:
            return self.worked_at
        return clock.instant() if self.at is None else self.at

    def known(self, row: Any) -> ColumnElement[bool]:
        """Whether a fact had been recorded."""
        return true() if self.at is None else row.recorded_at <= self.at

    def unended(self, row: Any) -> ColumnElement[bool]:
        """Whether a fact had not ended."""
        if self.at is None and self.worked_at is None:
            return row.ended_at.is_(None)  # type: ignore[no-any-return]
        return or_(row.ended_at.is_(None), row.ended_at > self.instant)

    def stands(self, row: Any) -> ColumnElement[bool]:
        """Whether a fact counts."""
        return and_(self.known(row), self.unended(row))

    def begun(self, row: Any) -> ColumnElement[bool]:
        """For hours: whether a fact had begun when the work was done."""
        return true() if self.worked_at is None else row.recorded_at <= self.worked_at


NOW = Moment()


@dataclass(frozen=True, kw_only=True)
class Supposing:
    """An act on a suspension that has not happened yet: what would the rule say after it?

    Without more it is the lift; `mode` supposes a weaker mode; `released` and `narrowed` suppose
    that the people, or targets, that a request names are taken out; `moved` that a person leaves
    their organisation.
    """

    suspension: str | None = None
    mode: Mode | None = None
    released: str | None = None
    narrowed: str | None = None
    moved: str | None = None

    def still(self, target: Any, stopping: list[Mode]) -> ColumnElement[bool]:
        """Whether a target would still be held by its suspension."""
        if self.moved is not None:
            return or_(target.kind != Scope.ORGANISATION, Grant.subject_id != self.moved)
        other = target.suspension_id != self.suspension
        if self.mode is not None:
            return or_(other, true() if self.mode in stopping else not_(true()))
        if self.released is not None:
            return or_(other, Grant.subject_id.not_in(_items(self.released)))
        if self.narrowed is not None:
            return or_(other, target.id.not_in(_items(self.narrowed)))
        return other


def _items(request_id: str) -> Select[tuple[str]]:
    return select(RequestItem.item_id).where(RequestItem.request_id == request_id)


@dataclass(frozen=True)
class Clause:
    """One condition of the rule: the reason given when it fails, and the test.

    For a suspension `holding` selects the modes that hold; the strictest is part of the reason.
    """

    reason: str
    test: ColumnElement[bool]
    holding: Select[tuple[str]] | None = None


def standing(moment: Moment = NOW) -> list[Clause]:
    """The rule without actions and suspensions: what would be in force if nothing were held."""
    return [
        Clause("subject_offboarded", moment.unended(Subject)),
        Clause("client_ended", moment.unended(Client)),
        Clause("project_ended", moment.unended(Project)),
        Clause("grant_revoked", moment.unended(Grant)),
        Clause("grant_not_started", Grant.starts_at <= moment.instant),
        Clause("grant_expired", Grant.ends_at > moment.instant),
    ]


def entitled(action: str | ColumnElement[str], moment: Moment = NOW) -> Clause:
    """That the grant's entitlement holds the action."""
    holds = exists().where(
        EntitlementAction.entitlement_id == Grant.entitlement_id,
        EntitlementAction.action == action,
        moment.stands(EntitlementAction),
    )
    return Clause("action_not_granted", holds.correlate(Grant))


def unheld(
    effect: Effect,
    moment: Moment = NOW,
    *,
    dataset: ColumnElement[str] | None = None,
    supposing: Supposing | None = None,
) -> list[Clause]:
    """That no suspension which stops `effect` covers the grant: one clause for each kind of scope.

    `dataset` is the dataset asked about, when the question is about one.
    """
    found = []
    for scope in Scope:
        holding = _holding(scope, modes.stopping(effect), moment, dataset, supposing)
        found.append(Clause(scope, not_(holding.exists()), holding))
    return found


def reviewed(moment: Moment = NOW, *, dataset: ColumnElement[str] | None = None) -> Clause:
    """That whoever works under review has shown a second factor within twelve hours."""
    under_review = [
        _holding(scope, [Mode.UNDER_REVIEW], moment, dataset, None).exists() for scope in Scope
    ]
    since = clock.before(moment.instant, SECOND_FACTOR_WITHIN)
    shown = (
        exists()
        .where(
            WebSession.subject_id == Grant.subject_id,
            WebSession.factor_at > since,
            WebSession.factor_at <= moment.instant,
        )
        .correlate(Grant)
    )
    return Clause("second_factor_required", or_(not_(or_(*under_review)), shown))


def rule(
    action: str | ColumnElement[str],
    effect: Effect,
    moment: Moment = NOW,
    *,
    dataset: ColumnElement[str] | None = None,
) -> list[Clause]:
    """The whole rule for an action of some effect, in the order in which clauses are explained."""
    clauses = [
        *standing(moment),
        entitled(action, moment),
        *unheld(effect, moment, dataset=dataset),
    ]
    if effect is not Effect.HOURS:
        clauses.append(reviewed(moment, dataset=dataset))
    return clauses


def all_of(clauses: list[Clause]) -> ColumnElement[bool]:
    """The clauses as one condition."""
    return and_(*(clause.test for clause in clauses))


def held(
    effect: Effect, moment: Moment = NOW, *, supposing: Supposing | None = None
) -> ColumnElement[bool]:
    """That some suspension which stops `effect` covers the grant."""
    return not_(all_of(unheld(effect, moment, supposing=supposing)))


def facts(*columns: Any, moment: Moment = NOW) -> Select[Any]:
    """A query over grants with what the rule's clauses name, as far as recorded at `moment`."""
    return (
        select(*columns)
        .select_from(Grant)
        .join(Subject, Subject.id == Grant.subject_id)
        .join(Project, Project.id == Grant.project_id)
        .join(Client, Client.id == Grant.client_id)
        .where(moment.known(Grant))
    )


def covering(
    *, project: ColumnElement[str] | str, dataset: ColumnElement[str] | str | None, effect: Effect
) -> ColumnElement[bool]:
    """Which grants could permit an action on a project, or on one of its datasets.

    A project grant covers the project's datasets; a dataset grant permits that dataset, and
    logging hours on its project.
    """
    whole = Grant.dataset_id.is_(None)
    if dataset is not None:
        whole = or_(whole, Grant.dataset_id == dataset)
    elif effect is Effect.HOURS:
        whole = true()
    return and_(Grant.project_id == project, whole)


def _holding(
    scope: Scope,
    stopping: list[Mode],
    moment: Moment,
    dataset: ColumnElement[str] | None,
    supposing: Supposing | None,
) -> Select[tuple[str]]:
    """The modes of the suspensions over one kind of scope that stop something for a grant."""
    target, mode = aliased(SuspensionTarget), aliased(SuspensionMode)
    query = (
        select(mode.mode)
        .select_from(target)
        .join(mode, mode.suspension_id == target.suspension_id)
        .where(
            target.kind == scope,
            mode.mode.in_(stopping),
            moment.stands(target),
            moment.stands(mode),
            not_(_released(target, moment)),
        )
    )
    if moment.worked_at is not None:
        # Hours count until the cut-off, or until the mode began that stops them.
        query = query.join(Suspension, Suspension.id == mode.suspension_id).where(
            func.coalesce(Suspension.hours_until, mode.recorded_at) <= moment.worked_at
        )
    if supposing is not None:
        query = query.where(supposing.still(target, stopping))
    if scope is Scope.ORGANISATION:
        query = query.join(Membership, Membership.organisation_id == target.target_id).where(
            Membership.subject_id == Grant.subject_id, moment.stands(Membership)
        )
    else:
        column = {
            Scope.CLIENT: Grant.client_id,
            Scope.PROJECT: Grant.project_id,
            Scope.DATASET: Grant.dataset_id if dataset is None else dataset,
            Scope.SUBJECT: Grant.subject_id,
        }[scope]
        query = query.where(target.target_id == column)
    return query.correlate(Grant, Dataset)


def _released(target: Any, moment: Moment) -> ColumnElement[bool]:
    return (
        exists()
        .where(
            SuspensionRelease.suspension_id == target.suspension_id,
            SuspensionRelease.subject_id == Grant.subject_id,
            moment.stands(SuspensionRelease),
            moment.begun(SuspensionRelease),
        )
        .correlate(Grant, target)
    )


# --- operations --------------------------------------------------------------------------------


def find(session: OrmSession, grant_id: str, *, by: Principal) -> Grant:
    """The grant; `Unknown` when there is none or the caller may not know of it."""
    row = session.get(Grant, grant_id)
    if row is None:
        raise errors.Unknown(f"There is no grant {grant_id}.")
    permissions.require(by, "grant:read", client=row.client_id)
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

    `Held` while a pause or a read-only mode covers it, `NeedsSecondPerson` under review: see `ask`.
    """
    _may_issue(session, subject, project, dataset, starts=starts, until=until, by=by)
    return _issue(session, subject, project, entitlement, dataset=dataset, starts=starts,
                  until=until, reason=reason, by=by)  # fmt: skip


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
) -> requests.Request:
    """Ask for a grant that a second person must approve, as it must under review."""
    try:
        _may_issue(session, subject, project, dataset, starts=starts, until=until, by=by)
    except errors.NeedsSecondPerson:
        pass
    details = {
        "project": project.id, "entitlement": entitlement.id,
        "dataset": dataset.id if dataset else None, "reason": reason,
        "starts_at": clock.text(starts) if starts else None, "until": clock.text(until),
    }  # fmt: skip
    return requests.ask(
        session, RequestKind.GRANT, logs=[project.client_id], client=project.client_id,
        subject=subject.id, details=details, reason=reason, by=by,
    )  # fmt: skip


@requests.performs(RequestKind.GRANT)
def _approved(session: Session, request: requests.Request, by: Principal) -> None:
    wanted = request.details
    subject = session.get_one(Subject, request.subject_id)
    project = session.get_one(Project, wanted["project"])
    dataset = session.get_one(Dataset, wanted["dataset"]) if wanted["dataset"] else None
    starts = clock.parse(wanted["starts_at"], field="starts") if wanted["starts_at"] else None
    until = clock.parse(wanted["until"], field="until")
    try:
        _may_issue(session, subject, project, dataset, starts=starts, until=until, by=by)
    except errors.NeedsSecondPerson:
        pass  # here they are
    _issue(session, subject, project, session.get_one(Entitlement, wanted["entitlement"]),
           dataset=dataset, starts=starts, until=until, reason=wanted["reason"], by=by,
           two=True)  # fmt: skip


def _may_issue(
    session: OrmSession,
    subject: Subject,
    project: Project,
    dataset: Dataset | None,
    *,
    starts: datetime | None,
    until: datetime,
    by: Principal,
) -> None:
    now = clock.now(session)
    permissions.require(by, "grant:issue", client=project.client_id, now=now)
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
    grant = Grant(
        id=new_id("grt"), subject_id=subject.id, entitlement_id=entitlement.id,
        client_id=project.client_id, project_id=project.id,
        dataset_id=dataset.id if dataset else None,
        starts_at=starts or clock.now(session), ends_at=until,
    )  # fmt: skip
    session.add(grant)
    record(
        session,
        EventType.GRANT_ISSUED,
        logs=[project.client_id],
        by=by,
        refs=refs_of(grant),
        data={"entitlement": entitlement.name, "starts_at": clock.text(grant.starts_at),
              "ends_at": clock.text(grant.ends_at)},
        private={"reason": reason},
        about=subject.id,
        stamps=[(grant, "recorded_at")],
        recheck=lambda session: refuse_held(session, subject, project, dataset, two=two),
    )  # fmt: skip
    return grant


def refuse_held(
    session: OrmSession, subject: Subject, project: Project, dataset: Dataset | None, *, two: bool
) -> None:
    """Refuse a new grant where something ended or is held; also asked under the heads' locks.

    The subject's row is locked against offboarding until the commit.
    """
    here = session.execute(
        select(Subject.ended_at).where(Subject.id == subject.id).with_for_update(read=True)
    ).scalar_one()
    if here is not None:
        raise errors.AlreadyEnded("Who has left is granted nothing.", field="subject")
    ended = session.execute(
        select(func.coalesce(Project.ended_at, Client.ended_at))
        .join(Client, Client.id == Project.client_id)
        .where(Project.id == project.id)
    ).scalar_one()
    if ended is not None:
        raise errors.AlreadyEnded(f"{project.code} has ended.", field="project")
    targets = {
        Scope.CLIENT: project.client_id, Scope.PROJECT: project.id, Scope.SUBJECT: subject.id,
        Scope.DATASET: dataset.id if dataset else None,
    }  # fmt: skip
    organisation = select(Membership.organisation_id).where(
        Membership.subject_id == subject.id, Membership.ended_at.is_(None)
    )
    over = or_(
        *(
            and_(SuspensionTarget.kind == kind, SuspensionTarget.target_id == target)
            for kind, target in targets.items()
            if target is not None
        ),
        and_(
            SuspensionTarget.kind == Scope.ORGANISATION,
            SuspensionTarget.target_id.in_(organisation),
        ),
    )
    holding = session.execute(
        select(SuspensionMode.mode, SuspensionTarget.kind)
        .join(SuspensionTarget, SuspensionTarget.suspension_id == SuspensionMode.suspension_id)
        .where(over, SuspensionTarget.ended_at.is_(None), SuspensionMode.ended_at.is_(None))
    ).all()
    stopped = [row for row in holding if row.mode != Mode.UNDER_REVIEW]
    if stopped:
        raise errors.Held(
            f"The {stopped[0].kind} is suspended ({stopped[0].mode}): no new grants until it is "
            "lifted.", field=stopped[0].kind,
        )  # fmt: skip
    if holding and not two:
        raise errors.NeedsSecondPerson(
            f"The {holding[0].kind} is under review: a new grant takes a second approver.",
            field=holding[0].kind,
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
        "grant": grant.id, "subject": grant.subject_id, "client": grant.client_id,
        "project": grant.project_id, "dataset": grant.dataset_id,
        "entitlement": grant.entitlement_id,
    }  # fmt: skip

"""Opening a suspension: enforce first, with one act, then write the particulars.

From the commit of `open()` every decision that starts afterwards denies, whatever the number of
grants: the rule looks at the suspension's own few rows. `preview()` runs the query that the act's
particulars run, so what is announced is what is written.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, distinct, exists, false, func, not_, null, or_, select
from sqlalchemy.orm import aliased

from govern import clock, errors, permissions
from govern.access import clients, grants, modes
from govern.access.clients import Client, Dataset, Project
from govern.access.grants import Grant, Moment
from govern.access.modes import Mode
from govern.access.requests import signature
from govern.access.suspension_tables import (
    Particulars,
    Reason,
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionTarget,
)
from govern.audit import EventType, log
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import Again, listed, new_id
from govern.identity import subjects
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

REVIEW_AFTER = timedelta(hours=72)
LOSING_SHOWN = 10
TAKE_BACK_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True)
class Target:
    """One thing to suspend: its kind, opaque id, readable code, and whose it is (client ids)."""

    kind: Scope
    id: str
    code: str
    client: str | None


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a suspension would touch of one part.

    `names` are of a project its code, its client's code and name, and its contact; else the kind.
    """

    names: tuple[str, ...]
    grants: int
    people: int
    already_held: int


@dataclass(frozen=True)
class Losing:
    """One person for whom nothing in force would be left."""

    subject_id: str
    external_id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a suspension over some targets would touch; `digest` names the set of grants.

    `as_of` is the client log's position that was seen, when all of it is one client's.
    """

    grants: int
    people: int
    datasets: int
    already_held: int
    losing_last_project: int
    by_client: dict[str, int] = field(default_factory=dict)
    by_project: dict[str, int] = field(default_factory=dict)
    by_kind: dict[str, int] = field(default_factory=dict)
    projects: list[Share] = field(default_factory=list)
    kinds: list[Share] = field(default_factory=list)
    losing: list[Losing] = field(default_factory=list)
    as_of: int | None = None
    digest: str = ""


def target(session: OrmSession, reference: str) -> Target:
    """Read `TYPE:CODE`, such as `client:ASTER`; `Invalid` or `Unknown` names what is wrong."""
    kind, _, code = reference.partition(":")
    try:
        scope = Scope(kind.strip())
    except ValueError:
        raise errors.Invalid(
            f"“{reference}” is not TYPE:CODE with a type of {', '.join(Scope)}.", field="scope"
        ) from None
    code = code.strip()
    if scope is Scope.CLIENT:
        return target_of(session, scope, clients.client(session, code).id)
    if scope is Scope.PROJECT:
        return target_of(session, scope, clients.project(session, code).id)
    if scope is Scope.DATASET:
        return target_of(session, scope, clients.dataset(session, code).id)
    if scope is Scope.SUBJECT:
        return target_of(session, scope, subjects.find(session, code).id)
    return target_of(session, scope, subjects.organisation_named(session, code).id)


def target_of(session: OrmSession, kind: Scope, target_id: str) -> Target:
    """A target by its kind and opaque id."""
    if kind is Scope.CLIENT:
        return Target(kind, target_id, session.get_one(Client, target_id).code, target_id)
    if kind is Scope.PROJECT:
        project = session.get_one(Project, target_id)
        return Target(kind, target_id, project.code, project.client_id)
    if kind is Scope.DATASET:
        dataset = session.get_one(Dataset, target_id)
        owner = session.get_one(Project, dataset.project_id).client_id
        return Target(kind, target_id, dataset.code, owner)
    if kind is Scope.SUBJECT:
        return Target(kind, target_id, session.get_one(Subject, target_id).external_id, None)
    return Target(kind, target_id, session.get_one(Organisation, target_id).name, None)


def covered(targets: Iterable[Target], moment: Moment = grants.NOW) -> ColumnElement[bool]:
    """Which grants some targets cover; a firm covers those who belong to it at the moment."""
    tests: list[ColumnElement[bool]] = []
    for item in targets:
        if item.kind is Scope.ORGANISATION:
            tests.append(
                exists()
                .where(
                    Membership.organisation_id == item.id,
                    Membership.subject_id == Grant.subject_id,
                    moment.stands(Membership),
                )
                .correlate(Grant)
            )
        else:
            column = {
                Scope.CLIENT: Grant.client_id,
                Scope.PROJECT: Grant.project_id,
                Scope.DATASET: Grant.dataset_id,
                Scope.SUBJECT: Grant.subject_id,
            }[item.kind]
            tests.append(column == item.id)
    return or_(false(), *tests)


def affected(
    suspension_id: str, moment: Moment, *, only: Select[str] | None = None
) -> ColumnElement[bool]:
    """Which grants a suspension covers at a moment, by its targets (`only` some).

    Whom it was released for, it covers no longer.
    """
    target = aliased(SuspensionTarget)
    same = [
        and_(target.kind == kind, target.target_id == column)
        for kind, column in (
            (Scope.CLIENT, Grant.client_id),
            (Scope.PROJECT, Grant.project_id),
            (Scope.DATASET, Grant.dataset_id),
            (Scope.SUBJECT, Grant.subject_id),
        )
    ]
    member = (
        exists()
        .where(
            target.kind == Scope.ORGANISATION,
            Membership.organisation_id == target.target_id,
            Membership.subject_id == Grant.subject_id,
            moment.stands(Membership),
        )
        .correlate(Grant, target)
    )
    found = exists().where(
        target.suspension_id == suspension_id,
        moment.stands(target),
        not_(grants.released(target, moment)),
        or_(*same, member),
    )
    if only is not None:
        found = found.where(target.id.in_(only))
    return found.correlate(Grant)


def preview(session: OrmSession, targets: list[Target], *, by: Principal) -> Preview:
    """Count what suspending some targets would touch, by the query that the act's entries use."""
    _allowed(by, targets, permission="suspension:read")
    would_stand = and_(grants.all_of(grants.standing()), covered(targets))
    already = grants.held(modes.Effect.OBSERVE)
    owners = {item.client for item in targets}
    owner = owners.pop() if len(owners) == 1 else None
    datasets = select(func.count(Dataset.id)).where(
        Dataset.project_id.in_(grants.facts(Grant.project_id).where(would_stand))
    )
    totals = session.execute(
        grants.facts(
            func.count(Grant.id),
            func.count(distinct(Grant.subject_id)),
            func.count(Grant.id).filter(already),
            datasets.scalar_subquery(),
            log.position(owner) if owner is not None else null(),
        ).where(would_stand)
    ).one()

    def split(*columns: Any) -> list[Share]:
        rows = session.execute(
            grants.facts(
                *columns,
                func.count(Grant.id),
                func.count(distinct(Grant.subject_id)),
                func.count(Grant.id).filter(already),
            )
            .where(would_stand)
            .group_by(*columns)
            .order_by(func.count(Grant.id).desc(), *columns)
        )
        return [
            Share(names=tuple(row[:-3]), grants=row[-3], people=row[-2], already_held=row[-1])
            for row in rows
        ]

    projects = split(Project.code, Client.code, Client.name, Project.contact)
    kinds = split(Subject.kind)
    by_client: dict[str, int] = {}
    for share in projects:
        code = share.names[1]
        by_client[code] = by_client.get(code, 0) + share.grants
    losing, losing_count = _losing_last(session, would_stand)
    return Preview(
        grants=totals[0],
        people=totals[1],
        already_held=totals[2],
        datasets=totals[3],
        as_of=totals[4],
        losing_last_project=losing_count,
        losing=losing,
        by_client=dict(sorted(by_client.items(), key=lambda item: (-item[1], item[0]))),
        by_project={share.names[0]: share.grants for share in projects},
        by_kind={share.names[0]: share.grants for share in kinds},
        projects=projects,
        kinds=kinds,
        digest=_digest(session, would_stand),
    )


def _losing_last(session: OrmSession, would_stand: ColumnElement[bool]) -> tuple[list[Losing], int]:
    """People for whom nothing in force would be left: the first few by id, and how many."""
    in_force = and_(grants.all_of(grants.standing()), ~grants.held(modes.Effect.OBSERVE))
    people = grants.facts(Grant.subject_id).where(in_force, would_stand).distinct()
    keeping = grants.facts(Grant.subject_id).where(in_force, ~would_stand)
    losing = people.except_(keeping).subquery()
    rows = session.execute(
        select(Subject.id, Subject.external_id, Subject.full_name, func.count().over())
        .join(losing, losing.c.subject_id == Subject.id)
        .order_by(Subject.external_id)
        .limit(LOSING_SHOWN)
    ).all()
    return [Losing(*row[:3]) for row in rows], rows[0][3] if rows else 0


def _digest(session: OrmSession, would_stand: ColumnElement[bool]) -> str:
    """The digest that the particulars of the same set will end with: a chain for each log."""
    chains: dict[str, str] = {}
    rows = session.execute(
        grants.facts(Grant.client_id, Grant.id)
        .where(would_stand)
        .order_by(Grant.client_id, Grant.id)
        .execution_options(yield_per=5000)
    )
    for client_id, grant_id in rows:
        chains[client_id] = chain(chains.get(client_id, ""), grant_id)
    return digest_of(chains)


def chain(digest: str, grant_id: str) -> str:
    """One step of a set's digest: it can be taken up again where a crash left it."""
    return hashlib.sha256(f"{digest}{grant_id}".encode()).hexdigest()


def digest_of(chains: dict[str, str]) -> str:
    """One digest for a set over several logs."""
    lines = "".join(f"{log_id} {digest}\n" for log_id, digest in sorted(chains.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def open(  # noqa: A001 - the verb of the domain
    session: Session,
    targets: list[Target],
    *,
    mode: Mode,
    reason: Reason,
    note: str = "",
    internal_reason: str = "",
    ordered_by: str = "",
    incident: str = "",
    hours_until: datetime | None = None,
    review_by: datetime | None = None,
    preview_digest: str | None = None,
    ordered_at: datetime | None = None,
    by: Principal,
) -> Suspension:
    """Lay a suspension over some targets; in force from the commit on.

    One entry in each log concerned: the clients' own, and for people and organisations the house's
    and those of every client where they hold a grant. Only scope, mode and reason are required.
    """
    now = clock.now(session)
    if not targets:
        raise errors.Invalid("Say what to suspend.", field="scope")
    _allowed(by, targets, permission="suspension:open", now=now)
    if review_by is not None and review_by <= now:
        raise errors.WindowInvalid("The review date has passed already.", field="review_by")
    row = Suspension(
        id=new_id("sus"),
        reason=reason,
        note=prose(note, "note"),
        internal_reason=prose(internal_reason, "internal_reason"),
        ordered_by=prose(ordered_by, "ordered_by"),
        incident=prose(incident, "incident"),
        hours_until=hours_until,
        review_by=review_by or now + REVIEW_AFTER,
        opened_by=signature(by),
        preview_digest=preview_digest,
        ordered_at=ordered_at or now,
    )
    rows = [
        SuspensionTarget(id=new_id("tgt"), suspension_id=row.id, kind=item.kind, target_id=item.id)
        for item in dict.fromkeys(targets)
    ]
    first = SuspensionMode(id=new_id("mod"), suspension_id=row.id, mode=mode)
    touched = logs_of(session, targets)
    pending = [
        pending_particulars(row, log_id, opening_event(mode), mode)
        for log_id in touched
        if log_id != HOUSE
    ]
    session.add(row)
    session.add_all([*rows, first, *pending])
    record(
        session,
        EventType.SUSPENSION_OPENED,
        logs=touched,
        by=by,
        refs={"suspension": row.id},
        data={
            "mode": mode,
            "reason": reason,
            "targets": [{"kind": item.kind, "id": item.id} for item in targets],
            "hours_until": clock.text(hours_until) if hours_until else None,
            "review_by": clock.text(row.review_by),
        },
        private={
            "note": row.note,
            "internal_reason": row.internal_reason,
            "ordered_by": row.ordered_by,
            "incident": row.incident,
        },
        stamps=[
            (row, "recorded_at"),
            (first, "recorded_at"),
            *((item, "recorded_at") for item in rows),
            *((item, "as_at") for item in pending),
        ],
        recheck=lambda session: settled(session, targets, touched),
    )
    return row


def settled(session: OrmSession, targets: list[Target], touched: list[str]) -> None:
    """Under the heads' locks: the logs concerned are still these, or `Again`.

    People and firms are locked until the commit against a first grant in some other client's log
    (`grants.issue` and imports lock them shared).
    """
    for table, kind in ((Subject, Scope.SUBJECT), (Organisation, Scope.ORGANISATION)):
        ids = [item.id for item in targets if item.kind is kind]
        if ids:
            among = select(listed(session, ids).c.value)
            query = select(table.id).where(table.id.in_(among)).order_by(table.id)
            session.execute(query.with_for_update(key_share=True)).all()
    if logs_of(session, targets) != touched:
        raise Again


def opening_event(mode: Mode) -> EventType:
    """The particulars that an opening, or a change to this mode, leaves for each grant."""
    if mode is Mode.UNDER_REVIEW:
        return EventType.GRANT_REVIEW_REQUIRED
    return EventType.GRANT_SUSPENDED


def pending_particulars(
    suspension: Suspension, log_id: str, event: EventType, mode: Mode | None
) -> Particulars:
    """The task of writing one act's entries into one client's log."""
    return Particulars(
        id=new_id("par"),
        suspension_id=suspension.id,
        log_id=log_id,
        event=event,
        mode=mode,
        cursor="",
        written=0,
        digest="",
    )


def logs_of(session: OrmSession, targets: Iterable[Target]) -> list[str]:
    """The logs that an act over some targets concerns.

    Clients' targets: the client's. People and organisations: the house's, and those of the
    clients where they hold a grant that has not ended.
    """
    targets = list(targets)
    found = {item.client for item in targets if item.client is not None}
    people = [item for item in targets if item.client is None]
    if people:
        found.add(HOUSE)
        held = select(distinct(Grant.client_id)).where(Grant.ended_at.is_(None), covered(people))
        found.update(session.execute(held).scalars())
    return sorted(found)


def _allowed(
    by: Principal, targets: list[Target], *, permission: str, now: datetime | None = None
) -> None:
    for item in targets:
        permissions.require(by, permission, client=item.client, now=now)


def prose(value: str, field: str) -> str:
    """Free text of an admin: several lines are welcome, other control characters are not."""
    value = value.replace("\r\n", "\n").strip()
    if any(ord(char) < 32 and char not in "\n\t" for char in value):  # noqa: PLR2004 - space
        raise errors.Invalid(f"{field} holds a control character.", field=field)
    if len(value) > 4000:  # noqa: PLR2004 - fits a leaf many times over
        raise errors.Invalid(f"{field} is longer than 4,000 characters.", field=field)
    return value

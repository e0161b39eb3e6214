"""What a suspension covers: its targets by type and code, and the grants under them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, false, func, or_, select, union_all
from sqlalchemy.orm import aliased

from govern import errors, permissions
from govern.access import clients, grants
from govern.access.clients import Client, Dataset, Project
from govern.access.grants import Grant, Moment
from govern.access.suspension_tables import (
    PeopleList,
    PeopleListItem,
    Scope,
    SuspensionTarget,
    listed_in,
)
from govern.audit.log import HOUSE
from govern.db import listed
from govern.identity import subjects
from govern.identity.subjects import Membership, Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.grants import SomeId
    from govern.principal import Principal

_FEW = 20_000  # people whose grants are looked for by them: some 50 ms


@dataclass(frozen=True)
class Target:
    """One thing to suspend: its kind, opaque id, readable code, and whose it is (client ids)."""

    kind: Scope
    id: str
    code: str
    client: str | None


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
        client = clients.client(session, code)
        return Target(scope, client.id, client.code, client.id)
    if scope is Scope.PROJECT:
        project = clients.project(session, code)
        return Target(scope, project.id, project.code, project.client_id)
    if scope is Scope.DATASET:
        return target_of(session, scope, clients.dataset(session, code).id)
    if scope is Scope.SUBJECT:
        return target_of(session, scope, subjects.find(session, code).id)
    if scope is Scope.PEOPLE:
        if session.get(PeopleList, code) is None:
            raise errors.Unknown(f"There is no list of people {code}.", field="scope")
        return target_of(session, scope, code)
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
    if kind is Scope.PEOPLE:
        return Target(kind, target_id, target_id, None)
    return Target(kind, target_id, session.get_one(Organisation, target_id).name, None)


# By which column of a grant it lies under a target; a firm's and a list's are those of its people.
_COLUMNS: dict[Scope, Any] = {
    Scope.CLIENT: Grant.client_id,
    Scope.PROJECT: Grant.project_id,
    Scope.DATASET: Grant.dataset_id,
    Scope.SUBJECT: Grant.subject_id,
    Scope.ORGANISATION: Grant.subject_id,
    Scope.PEOPLE: Grant.subject_id,
}


def under(kind: Scope) -> Any:
    """The column of a grant by which it lies under a target of a kind; see `covered`."""
    return _COLUMNS[kind]


def covered(targets: Iterable[Target], moment: Moment = grants.NOW) -> ColumnElement[bool]:
    """Which grants some targets cover; a firm covers those who belong to it at the moment."""
    tests: list[ColumnElement[bool]] = []
    alike: dict[Scope, list[str]] = {}
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
        elif item.kind is Scope.PEOPLE:
            tests.append(listed_in(item.id, Grant.subject_id))
        else:
            alike.setdefault(item.kind, []).append(item.id)
    # One alone by itself: its grants then come in the order of an index.
    tests += [
        _COLUMNS[kind].in_(ids) if len(ids) > 1 else _COLUMNS[kind] == ids[0]
        for kind, ids in alike.items()
    ]
    return or_(false(), *tests)


def within(
    suspension_id: SomeId,
    kinds: Iterable[Scope] = Scope,
    moment: Moment = grants.NOW,
    *,
    only: Select[str] | None = None,
) -> ColumnElement[bool]:
    """Which grants lie under a suspension's targets (`only` some), of the kinds that these are.

    What `covered` says of targets that are listed, for however many; and like it, whether they
    were released or not. Each kind is a set of its own, made once for a statement: so fewer kinds
    are faster, and one alone can be joined.
    """
    tests: list[ColumnElement[bool]] = []
    for kind in kinds:
        target = aliased(SuspensionTarget)
        query = select(target.target_id).where(
            target.suspension_id == suspension_id, target.kind == kind, moment.stands(target)
        )
        if only is not None:
            query = query.where(target.id.in_(only))
        if kind is Scope.ORGANISATION:
            query = query.where(
                Membership.organisation_id == target.target_id, moment.stands(Membership)
            ).with_only_columns(Membership.subject_id)
        elif kind is Scope.PEOPLE:
            query = query.where(PeopleListItem.list_id == target.target_id).with_only_columns(
                PeopleListItem.subject_id
            )
        among = _COLUMNS[kind].in_(query)
        # Of a grant without a dataset it is false, not unknown: it may be asked the other way.
        tests.append(and_(Grant.dataset_id.is_not(None), among) if kind is Scope.DATASET else among)
    return or_(false(), *tests)


def affected(
    suspension_id: SomeId,
    moment: Moment,
    kinds: Iterable[Scope] = Scope,
    *,
    only: Select[str] | None = None,
    released: Iterable[Scope] = Scope,
) -> ColumnElement[bool]:
    """Which grants a suspension covers at a moment, by its targets (`only` some).

    Whom it was released for, it covers no longer; `released` are the kinds that any of them can be.
    """
    return and_(
        within(suspension_id, kinds, moment, only=only),
        grants.unreleased(suspension_id, moment, kinds=released),
    )


def logs_of(session: OrmSession, targets: Iterable[Target]) -> list[str]:
    """The logs that an act over some targets concerns.

    Clients' targets: the client's. People, lists of them and organisations: the house's, and those
    of the clients where they hold a grant that has not ended.
    """
    targets = list(targets)
    found = {item.client for item in targets if item.client is not None}
    people = [item for item in targets if item.client is None]
    if people:
        found.add(HOUSE)
        held = select(Grant.client_id).where(Grant.ended_at.is_(None), _theirs(session, people))
        found.update(session.execute(held.distinct()).scalars())
    return sorted(found)


def _theirs(session: OrmSession, targets: list[Target]) -> ColumnElement[bool]:
    """Which grants some people have, looked for by them if they are few, else by the grants.

    SQLite cannot tell how many they are: of a firm of seven it would look at everybody's grants.
    """
    queries = [
        select(Membership.subject_id).where(
            Membership.organisation_id == item.id, grants.NOW.stands(Membership)
        )
        if item.kind is Scope.ORGANISATION
        else select(PeopleListItem.subject_id).where(PeopleListItem.list_id == item.id)
        for item in targets
        if item.kind is not Scope.SUBJECT
    ]
    if not queries:
        return covered(targets)
    named = [item.id for item in targets if item.kind is Scope.SUBJECT]
    theirs = union_all(*queries, select(listed(session, named).c.value))
    some = select(func.count()).select_from(theirs.limit(_FEW + 1).subquery())
    if session.execute(some).scalar_one() > _FEW:
        return covered(targets)
    return Grant.subject_id.in_(select(theirs.subquery()))


def allowed(
    by: Principal, targets: list[Target], *, permission: str, now: datetime | None = None
) -> None:
    """Ask for a permission over every target."""
    for item in targets:
        permissions.require(by, permission, client=item.client, now=now)

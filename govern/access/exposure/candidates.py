"""The candidates: which grants of a place meet the range, and which of them are alike."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, exists, func, literal, or_, select, true, union_all
from sqlalchemy.orm import aliased

from govern import clock, prepared
from govern.access import grants
from govern.access.clients import Dataset, Project
from govern.access.demand_table import Factor, FactorDemand
from govern.access.demand_table import Kind as DemandOf
from govern.access.entitlements import EntitlementAction
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect, Mode, effect_of
from govern.access.suspension_tables import (
    PeopleListItem,
    Scope,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.db import Inquiry
from govern.identity.sessions import WebSession
from govern.identity.subjects import Membership, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.exposure.places import Place

FIRST, CHUNK = 500, 20_000  # grants looked at together, at first and at most


class Candidates:
    """The grants of a place whose own window meets a range, of one snapshot, and their likeness."""

    def __init__(
        self, session: OrmSession, place: Place, action: str, begin: datetime, end: datetime
    ) -> None:
        self.session, self.place, self.action = session, place, action
        self.effect = effect_of(action)
        self.begin, self.end = begin, end

    @cached_property
    def statement(self) -> Select[Any]:
        """The grants whose own window meets the range, each with what it is alike others by."""
        return self._listing()

    @cached_property
    def _present(self) -> Any:
        """Whether the range has demands of grants, reviews, and suspensions of organisations."""
        return self.session.execute(
            select(
                exists()
                .where(FactorDemand.kind != DemandOf.ROLE, self.meets(FactorDemand))
                .label("demands"),
                exists()
                .where(SuspensionMode.mode == Mode.UNDER_REVIEW, self.meets(SuspensionMode))
                .label("reviews"),
                exists()
                .where(SuspensionTarget.kind == Scope.ORGANISATION, self.meets(SuspensionTarget))
                .label("organisations"),
            )
        ).one()

    def windowed(self, after: str, limit: int, *, until: str | None = None) -> Sequence[Any]:
        """The grants whose own window meets the range, behind a cursor, each with its likeness."""
        wanted = self.statement.where(Grant.id > after)
        if until is not None:
            wanted = wanted.where(Grant.id <= until)
        return self.session.execute(wanted.order_by(Grant.id).limit(limit)).all()

    def last_of(self, after: str, most: int) -> str | None:
        """The last of so many grants of the place behind a cursor; None where fewer follow."""
        return self.session.execute(grants.last_of(self._over(), after, most)).scalar()

    def walk(self) -> Iterator[list[Any]]:
        """All of them in one walk, a chunk at a time, as `windowed` gives them."""
        connection = self.session.connection()
        statement = self.statement.order_by(Grant.id)
        window, read = _Instants(), clock.from_micros
        for rows in prepared.stream(connection, statement, size=CHUNK, first=FIRST):
            if connection.dialect.name == "postgresql":
                yield rows
                continue
            yield [
                (
                    *row[:8], window[row[8]], window[row[9]], read(row[10]),
                    None if row[11] is None else read(row[11]), *row[12:],
                )
                for row in rows
            ]  # fmt: skip

    def behind(self, after: str, most: int) -> Inquiry[int]:
        """How many more there are behind a cursor, of so many at most."""
        rest = self.chosen(select(Grant.id)).where(Grant.id > after).limit(most).subquery()
        number: Any = func.count().label("number")
        return Inquiry(select(number).select_from(rest), lambda rows: int(rows[0][0]))

    def _listing(self) -> Select[Any]:
        columns: list[Any] = [
            Grant.id,
            Subject.id,
            Subject.external_id,
            Subject.email,
            Subject.full_name,
            Project.code,
            Dataset.code,
            Grant.entitlement_id,
            Grant.starts_at,
            Grant.ends_at,
            Grant.recorded_at,
            Grant.ended_at,
            Grant.project_id,
            self._likeness(),
            Grant.subject_id.in_(union_all(*self._named(true()))),
            Grant.subject_id.in_(self._released()),
            *self._met_at_first(),
        ]
        return self.chosen(
            select(*columns)
            .select_from(Grant)
            .join(Subject, Subject.id == Grant.subject_id)
            .join(Project, Project.id == Grant.project_id)
            .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        )

    def chosen(self, query: Select[Any]) -> Select[Any]:
        """Narrow a query to the grants whose own window meets the range."""
        holds = select(EntitlementAction.entitlement_id).where(
            EntitlementAction.action == self.action, self.meets(EntitlementAction)
        )
        return query.where(
            self._over(),
            self.meets(Grant),
            Grant.starts_at < self.end,
            Grant.ends_at > self.begin,
            Grant.entitlement_id.in_(holds),
        )

    def _over(self) -> ColumnElement[bool]:
        place = self.place
        if place.person is not None:
            theirs = Grant.subject_id == place.person
            return theirs if place.clients is None else theirs & Grant.client_id.in_(place.clients)
        if place.project is None:
            return Grant.client_id == place.client
        return grants.covering(project=place.project, dataset=place.dataset, effect=self.effect)

    def meets(self, fact: Any) -> ColumnElement[bool]:
        """That a fact counted at some moment of the range."""
        return and_(
            fact.recorded_at < self.end,
            or_(fact.ended_at.is_(None), fact.ended_at > self.begin),
        )

    def _inside(self, instant: Any) -> ColumnElement[bool]:
        return and_(instant > self.begin, instant < self.end)

    def _likeness(self) -> ColumnElement[str]:
        """The person's id where something concerns them alone, else what they share with others.

        That is the organisation which they belong to all through the range, where one is held.
        """
        cases = [(Subject.ended_at < self.end, Subject.id)]
        if alone := self._alone():
            cases.append((Grant.subject_id.in_(union_all(*alone)), Subject.id))
        return case(*cases, else_=self._organisation())

    def concerned(self) -> list[Select[str]]:
        """The people whom something of the range concerns and not whoever has the like grants."""
        held = select(SuspensionTarget.target_id).where(
            SuspensionTarget.kind == Scope.ORGANISATION, self.meets(SuspensionTarget)
        )
        left = aliased(Subject)  # an asking statement may have its own
        return [
            select(left.id).where(left.ended_at < self.end),
            select(Membership.subject_id).where(
                Membership.organisation_id.in_(held), self.meets(Membership)
            ),
            *self._named(true()),
            self._released(),
            *self._alone(),
        ]

    def _released(self) -> Select[str]:
        return select(SuspensionRelease.target_id).where(
            SuspensionRelease.kind == Scope.SUBJECT, self.meets(SuspensionRelease)
        )

    def _alone(self) -> list[Select[str]]:
        """The people whose factors differ from those of others in the range, where these count."""
        alone: list[Select[str]] = []
        if self._present.demands:
            alone += [
                select(table.subject_id).where(
                    or_(self._inside(table.recorded_at), self._inside(table.ended_at))
                )
                for table in _tables()
            ]
        if self.effect is not Effect.HOURS and self._present.reviews:
            alone += [
                select(WebSession.subject_id).where(
                    WebSession.factor_at > self.begin - grants.SECOND_FACTOR_WITHIN,
                    WebSession.factor_at < self.end,
                ),
                *self._named(
                    SuspensionTarget.suspension_id.in_(
                        select(SuspensionMode.suspension_id).where(
                            SuspensionMode.mode == Mode.UNDER_REVIEW, self.meets(SuspensionMode)
                        )
                    )
                ),
            ]
        return alone

    def _named(self, which: ColumnElement[bool]) -> list[Select[str]]:
        """The people whom suspensions of the range name, alone or in a list."""
        over = and_(self.meets(SuspensionTarget), which)
        return [
            select(SuspensionTarget.target_id).where(SuspensionTarget.kind == Scope.SUBJECT, over),
            select(PeopleListItem.subject_id)
            .join(SuspensionTarget, SuspensionTarget.target_id == PeopleListItem.list_id)
            .where(SuspensionTarget.kind == Scope.PEOPLE, over),
        ]

    def _organisation(self) -> ColumnElement[str]:
        if not self._present.organisations:
            return literal("")
        throughout = and_(
            Membership.recorded_at <= self.begin,
            or_(Membership.ended_at.is_(None), Membership.ended_at >= self.end),
        )
        return (
            select(
                case(
                    (
                        and_(func.count() == 1, func.min(case((throughout, 1), else_=0)) == 1),
                        func.min(Membership.organisation_id),
                    ),
                    else_=func.coalesce(func.min(Membership.subject_id), ""),
                )
            )
            .where(Membership.subject_id == Grant.subject_id, self.meets(Membership))
            .correlate(Grant)
            .scalar_subquery()
        )

    def _met_at_first(self) -> list[ColumnElement[bool]]:
        """Whether the person has each factor at the beginning, where any is demanded."""
        if not self._present.demands:
            return []
        moment = Moment.past(self.begin)
        return [Grant.subject_id.in_(grants.having(factor, moment)) for factor in Factor]


class _Instants(dict[int, "datetime"]):
    """Instants by how SQLite keeps them: most windows begin and end with those of many others."""

    def __missing__(self, kept: int) -> datetime:
        found = clock.from_micros(kept)
        if len(self) < CHUNK:
            self[kept] = found
        return found


def _tables() -> list[Any]:
    return sorted({table for tables in grants.MEETING.values() for table in tables}, key=str)

"""The asking: which grants of a place meet the range, which are alike, and the rule put to each.

Grants whose facts are the same but for their own window have the same answer: the rule is asked
about one of them, and each clips it to its window. Those whose person is suspended, alone or in a
list, are asked for these clauses apart: all clauses must hold, so the times of the one part are cut
by the times of the other. Those whose person was released from a suspension have the answer of the
others but for the time of the release, in which they are asked themselves.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import aliased

from govern.access import grants
from govern.access.clients import Dataset, Project
from govern.access.demand_table import Factor, FactorDemand
from govern.access.demand_table import Kind as DemandOf
from govern.access.entitlements import EntitlementAction
from govern.access.exposure.parts import NAMED, SHARED, permits, turning
from govern.access.exposure.places import Exposure
from govern.access.exposure.stretches import clipped, joined, parted
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect, Mode, effect_of
from govern.access.suspension_tables import (
    PeopleListItem,
    Scope,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.clock import TICK
from govern.db import Inquiry, listed
from govern.identity.sessions import WebSession
from govern.identity.subjects import Membership, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.exposure.places import Interval, Place

    Times = dict[str, list[Interval]]

CHUNK = 20_000  # grants looked at together at most


class Asked:
    """One question, put to one snapshot a chunk of grants at a time."""

    def __init__(
        self, session: OrmSession, place: Place, action: str, begin: datetime, end: datetime
    ) -> None:
        self.session, self.place, self._action = session, place, action
        self._effect = effect_of(action)
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

    def at(self, instant: datetime) -> Asked:
        """The same question of an instant alone."""
        return Asked(self.session, self.place, self._action, instant, instant + TICK)

    # --- which grants, and which of them are alike

    def windowed(self, after: str, limit: int) -> Sequence[Any]:
        """The grants whose own window meets the range, behind a cursor, each with its likeness."""
        return self.session.execute(
            self.statement.where(Grant.id > after).order_by(Grant.id).limit(limit)
        ).all()

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
            EntitlementAction.action == self._action, self.meets(EntitlementAction)
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
        return grants.covering(project=place.project, dataset=place.dataset, effect=self._effect)

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
        if self._effect is not Effect.HOURS and self._present.reviews:
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

    # --- the rule, asked of one of each kind

    def answered(self, rows: Sequence[Any], *, held: bool = False) -> list[Exposure]:
        """The grants among these that permitted it at some moment, and when; `held` ones too."""
        times = self.times(rows)
        return [
            Exposure(
                grant_id=row[0], subject_id=row[1], external_id=row[2], email=row[3],
                full_name=row[4], project=row[5], dataset=row[6], entitlement_id=row[7],
                starts_at=row[8], ends_at=row[9], intervals=tuple(times[row[0]]),
            )
            for row in rows if held or times[row[0]]
        ]  # fmt: skip

    def times(self, rows: Sequence[Any]) -> dict[str, list[Interval]]:
        """When each of these grants permitted it, none for those that never did."""
        keys = {row[0]: (row[6], row[7], row[12], row[13], *row[16:]) for row in rows}
        alike: dict[Any, str] = {}
        for row in rows:
            if not row[15]:
                alike.setdefault(keys[row[0]], row[0])
        releases = self._releases(
            {row[0]: row[1] for row in rows if row[15] and keys[row[0]] in alike}
        )
        lone = [row[0] for row in rows if row[15] and row[0] not in releases]
        shared, named = self._within(
            self._throughout([*alike.values(), *lone]) | releases,
            self._throughout([row[0] for row in rows if row[14]]),
        )
        found = {}
        for row in rows:
            grant_id = row[0]
            starts, ends, recorded, ended = row[8:12]
            own = shared[grant_id if row[15] else alike[keys[grant_id]]]
            if grant_id in releases:
                others = parted(shared[alike[keys[grant_id]]], releases[grant_id])
                own = joined([*others, *own])
            own = clipped(own, max(starts, recorded), ends if ended is None else min(ends, ended))
            if row[14]:
                own = [both for a, b in named[grant_id] for both in clipped(own, a, b)]
            found[grant_id] = own
        return found

    def permitted(self, grant_ids: Sequence[str]) -> dict[str, list[Interval]]:
        """When the rule permitted by each, its own window and suspensions of people apart."""
        return self._within(self._throughout(grant_ids), {})[0]

    def _throughout(self, grant_ids: Sequence[str]) -> Times:
        return {grant_id: [(self.begin, self.end)] for grant_id in grant_ids}

    def _releases(self, people: dict[str, str]) -> dict[str, list[Interval]]:
        """By grant, the times in which its person was released from some suspension."""
        if not people:
            return {}
        among = listed(self.session, sorted(set(people.values())))
        times = defaultdict(list)
        for subject_id, recorded, ended in self.session.execute(
            select(
                SuspensionRelease.target_id, SuspensionRelease.recorded_at,
                SuspensionRelease.ended_at,
            )
            .join(among, among.c.value == SuspensionRelease.target_id)
            .where(SuspensionRelease.kind == Scope.SUBJECT, self.meets(SuspensionRelease))
        ):  # fmt: skip
            times[subject_id].append((max(recorded, self.begin), min(ended or self.end, self.end)))
        return {grant_id: joined(times[person]) for grant_id, person in people.items()}

    def _within(self, shared: Times, named: Times) -> tuple[Times, Times]:
        """When in these times the rule permitted by each grant, their own windows apart.

        It is asked in two parts: `named` is what the suspensions of people say, `shared` the rest.
        """
        times = {
            (part, grant_id): stretches
            for part, own in enumerate((shared, named))
            for grant_id, stretches in own.items()
        }
        if not times:
            return {}, {}
        connection = self.session.connection()
        on_dataset = self.place.dataset is not None
        only = None if shared and named else SHARED if shared else NAMED
        instants: dict[tuple[int, str], set[datetime]] = {key: set() for key in times}
        tail = (self._action, self.place.dataset)
        for part, grant_id, *found in turning(self._effect, on_dataset=on_dataset, only=only).rows(
            connection, [(grant_id, *tail, part) for part, grant_id in times]
        ):
            instants[part, grant_id].update(t for t in found if t)
        pieces = [
            (key, a, b)
            for key, stretches in times.items()
            for first, last in stretches
            for a, b in pairwise(
                [first, *sorted(t for t in instants[key] if first < t < last), last]
            )
        ]
        permitted = permits(self._effect, on_dataset=on_dataset, only=only).rows(
            connection, [(grant_id, *tail, part, a) for (part, grant_id), a, _ in pieces]
        )
        answers: tuple[Times, Times] = ({key: [] for key in shared}, {key: [] for key in named})
        for number, yes in sorted(permitted):
            if yes:
                (part, grant_id), a, b = pieces[number - 1]
                answers[part][grant_id].append((a, b))
        of_shared, of_named = (
            {grant_id: joined(several) for grant_id, several in own.items()} for own in answers
        )
        return of_shared, of_named


def _tables() -> list[Any]:
    return sorted({table for tables in grants.MEETING.values() for table in tables}, key=str)

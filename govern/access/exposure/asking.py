"""The asking: which grants of a place meet the range, which are alike, and the rule put to each.

Grants whose facts are the same but for their own window have the same answer: the rule is asked
about one of them, and each clips it to its window. Those whose person is suspended, alone or in a
list, are asked for these clauses apart: all clauses must hold, so the times of the one part are cut
by the times of the other.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    String,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from govern.access import grants
from govern.access.clients import Client, Dataset, Project
from govern.access.demand_table import Factor, FactorDemand
from govern.access.demand_table import Kind as DemandOf
from govern.access.entitlements import EntitlementAction
from govern.access.exposure.places import Exposure
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect, Mode, effect_of
from govern.access.suspension_tables import (
    PeopleListItem,
    Scope,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.clock import Utc
from govern.identity.sessions import WebSession
from govern.identity.subjects import Membership, Subject
from govern.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.exposure.places import Interval, Place

CHUNK = 20_000  # grants looked at together at most


class Asked:
    """One question, put to one snapshot a chunk of grants at a time."""

    def __init__(
        self, session: OrmSession, place: Place, action: str, begin: datetime, end: datetime
    ) -> None:
        self._session, self._place, self._action = session, place, action
        self._effect = effect_of(action)
        self._begin, self._end = begin, end

    @cached_property
    def _statement(self) -> Select[Any]:
        return self._listing()

    @cached_property
    def _present(self) -> Any:
        """Whether the range has demands of grants, reviews, and suspensions of organisations."""
        return self._session.execute(
            select(
                exists()
                .where(FactorDemand.kind != DemandOf.ROLE, self._meets(FactorDemand))
                .label("demands"),
                exists()
                .where(SuspensionMode.mode == Mode.UNDER_REVIEW, self._meets(SuspensionMode))
                .label("reviews"),
                exists()
                .where(SuspensionTarget.kind == Scope.ORGANISATION, self._meets(SuspensionTarget))
                .label("organisations"),
            )
        ).one()

    # --- which grants, and which of them are alike

    def windowed(self, after: str, limit: int) -> Sequence[Any]:
        """The grants whose own window meets the range, behind a cursor, each with its likeness."""
        return self._session.execute(
            self._statement.where(Grant.id > after).order_by(Grant.id).limit(limit)
        ).all()

    def behind(self, after: str, most: int) -> int:
        """How many more there are behind a cursor, of so many at most."""
        rest = self._chosen(select(Grant.id)).where(Grant.id > after).limit(most).subquery()
        return self._session.execute(select(func.count()).select_from(rest)).scalar_one()

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
            *self._met_at_first(),
        ]
        return self._chosen(
            select(*columns)
            .select_from(Grant)
            .join(Subject, Subject.id == Grant.subject_id)
            .join(Project, Project.id == Grant.project_id)
            .outerjoin(Dataset, Dataset.id == Grant.dataset_id)
        )

    def _chosen(self, query: Select[Any]) -> Select[Any]:
        """Narrow a query to the grants whose own window meets the range."""
        holds = select(EntitlementAction.entitlement_id).where(
            EntitlementAction.action == self._action, self._meets(EntitlementAction)
        )
        return query.where(
            self._over(),
            self._meets(Grant),
            Grant.starts_at < self._end,
            Grant.ends_at > self._begin,
            Grant.entitlement_id.in_(holds),
        )

    def _over(self) -> ColumnElement[bool]:
        place = self._place
        if place.person is not None:
            theirs = Grant.subject_id == place.person
            return theirs if place.clients is None else theirs & Grant.client_id.in_(place.clients)
        if place.project is None:
            return Grant.client_id == place.client
        return grants.covering(project=place.project, dataset=place.dataset, effect=self._effect)

    def _meets(self, fact: Any) -> ColumnElement[bool]:
        """That a fact counted at some moment of the range."""
        return and_(
            fact.recorded_at < self._end,
            or_(fact.ended_at.is_(None), fact.ended_at > self._begin),
        )

    def _inside(self, instant: Any) -> ColumnElement[bool]:
        return and_(instant > self._begin, instant < self._end)

    def _likeness(self) -> ColumnElement[str]:
        """The person's id where something concerns them alone, else what they share with others.

        That is the organisation which they belong to all through the range, where one is held.
        """
        alone = [
            select(SuspensionRelease.target_id).where(
                SuspensionRelease.kind == Scope.SUBJECT, self._meets(SuspensionRelease)
            ),
        ]
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
                    WebSession.factor_at > self._begin - grants.SECOND_FACTOR_WITHIN,
                    WebSession.factor_at < self._end,
                ),
                *self._named(
                    SuspensionTarget.suspension_id.in_(
                        select(SuspensionMode.suspension_id).where(
                            SuspensionMode.mode == Mode.UNDER_REVIEW, self._meets(SuspensionMode)
                        )
                    )
                ),
            ]
        return case(
            (Subject.ended_at < self._end, Subject.id),
            (Grant.subject_id.in_(union_all(*alone)), Subject.id),
            else_=self._organisation(),
        )

    def _named(self, which: ColumnElement[bool]) -> list[Select[str]]:
        """The people whom suspensions of the range name, alone or in a list."""
        over = and_(self._meets(SuspensionTarget), which)
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
            Membership.recorded_at <= self._begin,
            or_(Membership.ended_at.is_(None), Membership.ended_at >= self._end),
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
            .where(Membership.subject_id == Grant.subject_id, self._meets(Membership))
            .correlate(Grant)
            .scalar_subquery()
        )

    def _met_at_first(self) -> list[ColumnElement[bool]]:
        """Whether the person has each factor at the beginning, where any is demanded."""
        if not self._present.demands:
            return []
        moment = Moment.past(self._begin)
        return [
            Grant.subject_id.in_(
                union_all(
                    *(
                        select(table.subject_id).where(moment.stands(table))
                        for table in grants.MEETING[factor]
                    )
                )
            )
            for factor in Factor
        ]

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
        alike: dict[Any, str] = {}
        keys = [(row[6], row[7], row[12], row[13], row[15:]) for row in rows]
        for row, key in zip(rows, keys, strict=True):
            alike.setdefault(key, row[0])
        times = self._times(list(alike.values()), named=False)
        named = self._times([row[0] for row in rows if row[14]], named=True)
        found = {}
        for row, key in zip(rows, keys, strict=True):
            starts, ends, recorded, ended = row[8:12]
            last = ends if ended is None else min(ends, ended)
            own = _clipped(times[alike[key]], max(starts, recorded), last)
            if row[14]:
                own = [both for a, b in named[row[0]] for both in _clipped(own, a, b)]
            found[row[0]] = own
        return found

    def counted(self) -> int:
        """How many grants permitted it at some moment: those alike are one row of the answer."""
        given = list(self._statement.subquery().c)
        starts, ends, recorded, ended = given[8:12]
        begun = case((starts > recorded, starts), else_=recorded)
        over = case((ended < ends, ended), else_=ends)
        clipped = select(
            *given[:8],
            case((begun > self._begin, begun), else_=literal(self._begin, Utc())).label("begun"),
            case((over < self._end, over), else_=literal(self._end, Utc())).label("over"),
            case((given[14], given[0]), else_="").label("alone"),
            *given[12:],
        ).subquery()
        of = list(clipped.c)
        alike = [*of[6:10], *of[10:]]
        rows = self._session.execute(
            select(
                func.min(of[0]), func.count(), *[literal("")] * 4, *of[6:8],
                of[8], of[9], of[8].label("recorded"), cast(null(), Utc()), *of[11:],
            ).group_by(*alike)
        ).all()  # fmt: skip
        times = self.times(rows)
        return sum(row[1] for row in rows if times[row[0]])

    def _times(self, grant_ids: Sequence[str], *, named: bool) -> dict[str, list[Interval]]:
        """When the rule permitted by each of these grants, their own windows apart.

        It is asked in two parts: `named` is what the suspensions of people say, the other the rest.
        """
        if not grant_ids:
            return {}
        connection = self._session.connection()
        on_dataset = self._place.dataset is not None
        instants = {grant_id: {self._begin} for grant_id in grant_ids}
        tail = (self._action, self._place.dataset)
        for grant_id, *found in _turning(self._effect, on_dataset=on_dataset, named=named).rows(
            connection, [(grant_id, *tail) for grant_id in grant_ids]
        ):
            instants[grant_id].update(t for t in found if t and self._begin < t < self._end)
        asked = [(g, *tail, t) for g, several in instants.items() for t in sorted(several)]
        permits = {
            number
            for number, permitted in _permitted(
                self._effect, on_dataset=on_dataset, named=named
            ).rows(connection, asked)
            if permitted
        }
        times: dict[str, list[Interval]] = {grant_id: [] for grant_id in grant_ids}
        for number, (grant_id, *_, begin) in enumerate(asked, 1):
            if number not in permits:
                continue
            last = number == len(asked) or asked[number][0] != grant_id
            end = self._end if last else asked[number][-1]
            own = times[grant_id]
            if own and own[-1][1] == begin:
                own[-1] = (own[-1][0], end)
            else:
                own.append((begin, end))
        return times


def _clipped(times: Sequence[Interval], first: datetime, last: datetime) -> list[Interval]:
    """The parts of these times that lie within two instants."""
    meeting = ((max(a, first), min(b, last)) for a, b in times)
    return [(a, b) for a, b in meeting if a < b]


def _tables() -> list[Any]:
    return sorted({table for tables in grants.MEETING.values() for table in tables}, key=str)


_NAMING = (Scope.SUBJECT, Scope.PEOPLE)
_COLUMNS: dict[str, Any] = {"grant_id": String(), "action": String(), "dataset": String()}


@cache
def _turning(effect: Effect, *, on_dataset: bool, named: bool) -> Prepared:
    def build(asked: FromClause) -> Any:
        dataset = asked.c.dataset if on_dataset else None
        scopes = _NAMING if named else None
        return grants.turning(
            asked.c.grant_id, asked.c.action, effect, dataset=dataset, scopes=scopes
        )

    return Prepared(_COLUMNS, build)


@cache
def _permitted(effect: Effect, *, on_dataset: bool, named: bool) -> Prepared:
    """The rule without what the grant's own row says."""

    def build(asked: FromClause) -> Select[Any]:
        moment = Moment(at=asked.c.at)
        dataset = asked.c.dataset if on_dataset else None
        clauses = grants.rule(asked.c.action, effect, moment, dataset=dataset)
        people = [each for each in clauses if each.reason == Scope.SUBJECT]
        own = {clause.reason for clause in grants.open_(moment)}
        rest = [each for each in clauses if each.reason not in {Scope.SUBJECT, *own}]
        clauses = people if named else rest
        return (
            select(asked.c.n, grants.all_of(clauses))
            .select_from(asked)
            .join(Grant, Grant.id == asked.c.grant_id)
            .join(Subject, Subject.id == Grant.subject_id)
            .join(Project, Project.id == Grant.project_id)
            .join(Client, Client.id == Grant.client_id)
        )

    return Prepared(_COLUMNS | {"at": Utc()}, build)

"""What a client or project demands of whoever holds a grant there: a factor that they have in use.

A demand asks what can be shown, and not whether it was: a person meets it by an authenticator that
was enrolled and not taken out of use. So what was demanded and met at any instant can be told from
the same intervals as everything else. Nobody is exempt, a service neither: it can enrol nothing, so
a demand shuts it out, and the list of who does not meet one names it before it bites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, not_, or_, select, union_all
from sqlalchemy.orm import aliased

from govern.access.demand_table import Factor, FactorDemand
from govern.access.grants.moment import NOW, Clause, Moment
from govern.access.grants.table import Grant
from govern.identity.authenticators import Totp
from govern.identity.passkeys import Passkey

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, CompoundSelect, SQLColumnExpression

# The authenticators that meet each: tables of intervals, of a `subject_id`. A passkey meets a
# demand for one if the device that made it recognised its owner.
MEETING: dict[Factor, tuple[Any, ...]] = {
    Factor.SECOND_FACTOR: (Totp, Passkey),
    Factor.PHISHING_RESISTANT: (Passkey,),
}
# What is to be enrolled, as the reason for a denial.
ENROL: dict[Factor, str] = {
    Factor.SECOND_FACTOR: "second_factor_enrolment_required",
    Factor.PHISHING_RESISTANT: "passkey_required",
}


def met(moment: Moment = NOW) -> list[Clause]:
    """That the person has in use what the grant's client and project demand: a clause a factor."""
    return [
        Clause(
            ENROL[factor],
            or_(
                not_(
                    or_(
                        *(
                            _demanded(factor, place, moment)
                            for place in (Grant.client_id, Grant.project_id)
                        )
                    )
                ),
                has(factor, Grant.subject_id, moment),
            ),
        )
        for factor in Factor
    ]


def has(
    factor: Factor, subject_id: SQLColumnExpression[str], moment: Moment = NOW
) -> ColumnElement[bool]:
    """That a person has an authenticator in use which meets a demand for `factor`."""
    found = []
    for table in MEETING[factor]:
        own = aliased(table)
        in_use = exists().where(own.subject_id == subject_id, *_in_use(own, factor, moment))
        found.append(in_use.correlate_except(own))
    return or_(*found)


def having(factor: Factor, moment: Moment = NOW) -> CompoundSelect[str]:
    """All people who have one, by id; `has` asks it of one of them."""
    return union_all(
        *(
            select(table.subject_id).where(*_in_use(table, factor, moment))
            for table in MEETING[factor]
        )
    )


def _in_use(own: Any, factor: Factor, moment: Moment) -> list[ColumnElement[bool]]:
    known = [moment.stands(own), moment.begun(own)]
    return [*known, own.recognised] if factor is Factor.PHISHING_RESISTANT else known


def in_force(demand: Any, moment: Moment = NOW) -> ColumnElement[bool]:
    """That a demand counts at the moment."""
    return and_(
        moment.stands(demand),
        moment.begun(demand),
        or_(demand.starts_at.is_(None), demand.starts_at <= moment.instant),
    )


def _demanded(
    factor: Factor, place: SQLColumnExpression[str], moment: Moment
) -> ColumnElement[bool]:
    demand = aliased(FactorDemand)
    found = exists().where(
        demand.target_id == place, demand.factor == factor, in_force(demand, moment)
    )
    return found.correlate_except(demand)


@dataclass(frozen=True, kw_only=True)
class _JustBefore(Moment):
    """The moment that ended with what was recorded at `at`."""

    def known(self, row: Any) -> ColumnElement[bool]:
        """Whether a fact had been recorded before."""
        return row.recorded_at < self.at  # type: ignore[no-any-return]  # of any such table

    def unended(self, row: Any) -> ColumnElement[bool]:
        """Whether a fact ended then at the earliest."""
        return or_(row.ended_at.is_(None), row.ended_at >= self.at)


def unmet_since(
    *, since: SQLColumnExpression[datetime], house_since: SQLColumnExpression[datetime]
) -> ColumnElement[bool]:
    """That the person did not meet a demand at some moment after a position of the logs.

    They do not now; or, where they do, they did not until an authenticator was enrolled or a
    demand ended: the rule is asked just before each of these that was recorded since.
    """
    unmet = [not_(_all(NOW))]
    for table in {table for tables in MEETING.values() for table in tables}:
        enrolled = aliased(table)
        found = exists().where(
            enrolled.subject_id == Grant.subject_id,
            enrolled.recorded_at > house_since,
            not_(_all(_JustBefore(at=enrolled.recorded_at))),
        )
        unmet.append(found.correlate_except(enrolled))
    for place in (Grant.client_id, Grant.project_id):
        ended: Any = aliased(FactorDemand)
        found = exists().where(
            ended.target_id == place,
            ended.ended_at > since,
            not_(_all(_JustBefore(at=ended.ended_at))),
        )
        unmet.append(found.correlate_except(ended))
    return or_(*unmet)


def _all(moment: Moment) -> ColumnElement[bool]:
    return and_(*(clause.test for clause in met(moment)))

"""The counting: how many grants permitted it at some moment of the range, most by a few witnesses.

A grant that the rule permitted at one instant is counted, whatever befell it at others. So a few
instants are taken at which most was open, and the rule is asked of one grant of each kind. At such
an instant every other grant of the kind is permitted too if its own window holds the instant and
nothing concerns its person just then. Only the grants that no instant bears witness to are looked
at one by one.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, cast, false, func, literal, not_, null, or_, select, union_all

from govern.access import grants
from govern.access.clients import Project
from govern.access.demand_table import Factor, FactorDemand
from govern.access.demand_table import Kind as DemandOf
from govern.access.grants import Grant, Moment
from govern.clock import Utc
from govern.db import listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from govern.access.exposure.asking import Asked
    from govern.access.exposure.places import Interval

_SAMPLED = 100  # grants of each project by which its kinds are known
_WITNESSES = 8  # instants
_TRIED = 20  # turning instants in the part of the range that each stands for
# What is given over what: alike but for the window and the person.
_KIND = Grant.project_id + func.coalesce(Grant.dataset_id, "") + Grant.entitlement_id


def counted(asked: Asked) -> int:
    """How many grants permitted it at some moment."""
    unseen = case((not_(_witnessed(asked)), Grant.id))
    # Both in one walk over what may be a million grants.
    both: list[Any] = [func.count(), func.aggregate_strings(unseen, ",")]
    row = asked.session.execute(asked.chosen(select(*both).select_from(Grant))).one()
    number, told = int(row[0]), row[1]
    if not told:
        return number
    among = listed(asked.session, told.split(","))
    rows = _together(asked, Grant.id.in_(select(among.c.value)))
    times = asked.times(rows)
    return number - sum(
        int(row.number) for row, own in zip(rows, times, strict=True) if not own
    )  # fmt: skip


def _witnessed(asked: Asked) -> ColumnElement[bool]:
    """That some instant bears witness to the grant."""
    times = _kinds(asked)
    instants = _instants(list(times.values()), asked.begin, asked.end)
    return or_(
        false(),
        *(
            _at(asked.at(instant), [kind for kind, own in times.items() if _open(own, instant)])
            for instant in instants
        ),
    )


def _at(asked: Asked, kinds: list[str]) -> ColumnElement[bool]:
    """That a grant is of one of these kinds, stands, and that nothing concerns its person."""
    moment = Moment.past(asked.begin)
    demanded = asked.session.execute(
        select(FactorDemand.factor)
        .where(FactorDemand.kind != DemandOf.ROLE, asked.meets(FactorDemand))
        .distinct()
    ).scalars()
    return and_(
        *(clause.test for clause in grants.open_(moment)),
        moment.known(Grant),
        _KIND.in_(kinds),
        Grant.subject_id.not_in(union_all(*asked.concerned())),
        *(Grant.subject_id.in_(grants.having(Factor(factor), moment)) for factor in demanded),
    )


def _kinds(asked: Asked) -> dict[str, tuple[Interval, ...]]:
    """When the rule permitted by the grants of each kind, asked of one whom nothing concerns.

    Of the kinds among each project's first grants: one that is rarer has no witness.
    """
    place = asked.place
    if place.person is not None:
        return {}
    projects = [place.project]
    if place.project is None:
        owned = select(Project.id).where(Project.client_id == place.client)
        projects = list(asked.session.execute(owned).scalars())
    found: dict[str, str] = {}
    for project in projects:
        rows = asked.session.execute(
            asked.statement.add_columns(_KIND.label("kind"))
            .where(Grant.project_id == project)
            .order_by(Grant.id)
            .limit(_SAMPLED)
        ).all()
        # Whoever has every factor shows best when the place was open.
        for row in sorted(rows, key=lambda row: -sum(row[16:-1])):
            if row[13] != row[1] and not row[15]:
                found.setdefault(row.kind, row[0])
    times = asked.permitted(list(found.values()))
    return {kind: times[grant_id] for kind, grant_id in found.items()}


def _instants(
    times: Sequence[Sequence[Interval]], begin: datetime, end: datetime
) -> list[datetime]:
    """In each part of the range the instant, if any, at which most of these are open."""
    edges = [begin + (end - begin) * part / _WITNESSES for part in range(_WITNESSES)]
    found = []
    for first, last in pairwise([*edges, end]):
        begun = sorted({a for own in times for a, _ in own if first < a < last})
        how_many = {
            instant: sum(_open(own, instant) for own in times)
            for instant in [first, *begun[:_TRIED]]
        }
        best = max(how_many, key=how_many.__getitem__)
        if how_many[best]:
            found.append(best)
    return found


def _open(times: Sequence[Interval], instant: datetime) -> bool:
    place = bisect_right(times, instant, key=lambda each: each[0])
    return place > 0 and instant < times[place - 1][1]


def _together(asked: Asked, which: ColumnElement[bool]) -> Sequence[Any]:
    """Rows as the asking lists them, those alike as one, and how many each stands for."""
    given = list(asked.statement.where(which).subquery().c)
    starts, ends, recorded, ended = given[8:12]
    begun = case((starts > recorded, starts), else_=recorded)
    over = case((ended < ends, ended), else_=ends)
    clipped = select(
        *given[:8],
        case((begun > asked.begin, begun), else_=literal(asked.begin, Utc())).label("begun"),
        case((over < asked.end, over), else_=literal(asked.end, Utc())).label("over"),
        # A person of whom something is asked apart stands for nobody else.
        case((or_(given[14], given[15]), given[1]), else_="").label("alone"),
        *given[12:],
    ).subquery()
    of = list(clipped.c)
    rows = select(
        func.min(of[0]), of[10], func.count().label("number"), *[literal("")] * 3, *of[6:10],
        of[8].label("recorded"), cast(null(), Utc()), *of[11:],
    ).group_by(*of[6:])  # fmt: skip
    return asked.session.execute(rows).all()

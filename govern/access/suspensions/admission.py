"""Whom an act would let back in: asked when it is proposed, and again under the locks."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, distinct, func, not_, or_

from govern import clock, errors
from govern.access import grants
from govern.access.grants import Grant, Moment, Supposing
from govern.access.modes import Effect
from govern.access.suspension_tables import Suspension
from govern.access.suspensions.previewing import chain
from govern.audit.log import HOUSE, positions
from govern.clock import Utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession


_LOOKED_AT = (Effect.OBSERVE, Effect.CHANGE)  # change, take and hours are stopped together
# To make a statement of the rule costs more than to ask it, under the locks too: so these are made
# once for each kind of act, and bound to the act's own ids and instant when they are run.
_SHOWN_AT = bindparam("shown_at", type_=Utc())


def admitted(supposing: Supposing, moment: Moment = grants.NOW) -> ColumnElement[bool]:
    """Which grants an act would let do something that they are held from now."""
    return and_(
        grants.all_of(grants.standing(moment)),
        or_(
            *(
                and_(
                    grants.held(effect, moment),
                    not_(grants.held(effect, moment, supposing=supposing)),
                )
                for effect in _LOOKED_AT
            )
        ),
    )


def returning(session: OrmSession, supposing: Supposing) -> int:
    """How many grants would come back."""
    outlined, values = supposing.outline()
    return int(session.execute(_returning(outlined), values).scalar_one())


@lru_cache(maxsize=32)
def _returning(supposing: Supposing) -> Select[int]:
    return grants.facts(func.count(Grant.id)).where(admitted(supposing))


def unmoved(
    session: OrmSession, logs: Iterable[str], check: Callable[[OrmSession], None]
) -> Callable[[OrmSession], None]:
    """Run `check` now, and make what runs it again under the heads' locks if anything moved.

    It looks at every grant of a scope: too long to hold a log's head for, and without need when
    nothing was recorded since. Whatever can change its outcome is recorded in the logs of the
    scope or in the house's.
    """
    among = {*logs, HOUSE}
    seen = positions(session, among)
    check(session)

    def again(session: OrmSession) -> None:
        if positions(session, among) != seen:
            check(session)

    return again


def returning_people(session: OrmSession, supposing: Supposing, moment: Moment = grants.NOW) -> int:
    """How many people would get something back."""
    query = grants.facts(func.count(distinct(Grant.subject_id)), moment=moment)
    return int(session.execute(query.where(admitted(supposing, moment))).scalar_one())


def returning_digest(session: OrmSession, suspension: Suspension) -> str:
    """The digest of the grants that a lift would bring back now: it names the list shown."""
    query = grants.facts(Grant.id).where(admitted(Supposing(suspension=suspension.id)))
    digest = ""
    for grant_id in session.execute(
        query.order_by(Grant.id).execution_options(yield_per=5000)
    ).scalars():
        digest = chain(digest, grant_id)
    return digest


def refuse_unlisted(session: OrmSession, supposing: Supposing, shown_at: datetime) -> None:
    """Raise `ReturnsUnlisted` when someone would come back who was not on the list shown."""
    outlined, values = supposing.outline()
    extra = session.execute(_unlisted(outlined), {**values, _SHOWN_AT.key: shown_at}).first()
    if extra is not None:
        raise errors.ReturnsUnlisted(
            "Since the list was shown, others would come back too. Nothing was lifted: ask again "
            "with the list as it is now."
        )


@lru_cache(maxsize=32)
def _unlisted(supposing: Supposing) -> Select[str]:
    listed = and_(Grant.recorded_at <= _SHOWN_AT, admitted(supposing, Moment(at=_SHOWN_AT)))
    return grants.facts(Grant.id).where(admitted(supposing), not_(listed)).limit(1)


def refuse_more_than_before(session: OrmSession, suspension: Suspension) -> None:
    """Raise `NeedsSecondPerson` when undoing a suspension admits whom another held before it.

    Else one could lay a second pause over a first, have the first lifted with an empty list, and
    take the second back alone.
    """
    before = Moment.past(suspension.recorded_at - clock.TICK)
    gone = Supposing(suspension=suspension.id)
    ways = [
        and_(
            grants.held(effect),
            not_(grants.held(effect, supposing=gone)),
            grants.held(effect, before),
        )
        for effect in _LOOKED_AT
    ]
    query = grants.facts(Grant.id).where(grants.all_of(grants.standing()), or_(*ways)).limit(1)
    if session.execute(query).first() is not None:
        raise errors.NeedsSecondPerson(
            "Another suspension that held the same people has ended since: to let them in takes "
            "two. Ask for a lift."
        )

"""Whom an act would let back in: asked when it is proposed, and again under the locks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    and_,
    bindparam,
    distinct,
    except_,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.orm import aliased

from govern import clock, errors
from govern.access import grants, modes
from govern.access.clients import Dataset
from govern.access.grants import Grant, Moment, Supposing
from govern.access.modes import Effect, Mode
from govern.access.requests import RequestItem
from govern.access.suspension_tables import Scope, Suspension, SuspensionMode, SuspensionTarget
from govern.access.suspensions.previewing import chain
from govern.access.suspensions.targets import covered, within
from govern.audit import EventType
from govern.audit.log import HOUSE, Entry, positions, sizes
from govern.clock import Utc
from govern.db import Again, Beforehand, Inquiry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import ColumnElement, Result, Select, SQLColumnExpression
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.suspensions.targets import Target
    from govern.db import Session


_LOOKED_AT = (Effect.OBSERVE, Effect.CHANGE)  # change, take and hours are stopped together
# To make a statement of the rule costs more than to ask it, under the locks too: so these are made
# once for each kind of act, and bound to the act's own ids and instant when they are run.
_SHOWN_AT = bindparam("shown_at", type_=Utc())
_SHOWN = Moment(at=_SHOWN_AT)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How an act lets in: the effect that it frees, from its suspension, over these `kinds`.

    Whoever may change something once a pause ends may look by then too, for all that forbids to
    look forbids to change: so one effect tells who comes back. `None` if the act frees nothing.
    `others` are the kinds of scope over which anything else may hold: the rest need no asking.
    `parts` when it lets go of datasets, which whole grants of their projects cover too.
    """

    effect: Effect | None = None
    kinds: tuple[Scope, ...] = ()
    others: tuple[Scope, ...] = ()
    parts: bool = False


def way(session: OrmSession, supposing: Supposing, moment: Moment = grants.NOW) -> Way:
    """Look up how an act on a suspension lets in at a moment."""
    own = SuspensionMode.suspension_id == supposing.suspension
    parts = (
        select(RequestItem.item_id)
        .join(Dataset, Dataset.id == RequestItem.item_id)
        .where(RequestItem.request_id == supposing.released)
        .exists()
    )
    standing = session.execute(
        select(SuspensionMode.mode, SuspensionTarget.kind, own.label("own"), parts.label("parts"))
        .join(SuspensionTarget, SuspensionTarget.suspension_id == SuspensionMode.suspension_id)
        .where(moment.stands(SuspensionMode), moment.stands(SuspensionTarget))
        .distinct()
    ).all()
    found = [row for row in standing if row.own]
    if supposing.moved is not None or not found:
        return Way()
    still = modes.STOPS[supposing.mode] if supposing.mode else frozenset()
    freed = modes.STOPS[Mode(found[0].mode)] - still
    effect = next((each for each in _LOOKED_AT if each in freed), None)
    if effect is None:
        return Way()
    stopping = set(modes.stopping(effect))
    # What is let out of a suspension, or taken out of it, may be held by another part of its own.
    with_own = supposing.released is not None or supposing.narrowed is not None
    others = {row.kind for row in standing if row.mode in stopping and (with_own or not row.own)}
    return Way(
        effect=effect,
        kinds=tuple(sorted({Scope(row.kind) for row in found})),
        others=tuple(sorted(map(Scope, others))),
        parts=supposing.released is not None and bool(found[0].parts),
    )


def back(supposing: Supposing, by: Way) -> Select[str, str]:
    """The grants that an act would let do something that they are held from, and whose they are.

    A statement of `id` and `subject_id`; to run it bind the values of `supposing.outline()`.
    """
    return _back(supposing.outline()[0], by, shown=False)


@lru_cache(maxsize=64)
def _back(supposing: Supposing, by: Way, *, shown: bool) -> Select[str, str]:
    moment = _SHOWN if shown else grants.NOW
    query: Select[str, str] = grants.facts(Grant.id, Grant.subject_id, moment=moment).where(
        grants.all_of(grants.standing(moment))
    )
    if supposing.moved is not None:
        return query.where(Grant.subject_id == supposing.moved, _freed(supposing, moment))
    if by.effect is None:
        return query.where(false())
    # Each condition stands by itself, so that a database may join what holds instead of looking
    # for it grant by grant.
    whole = [*_own(supposing, by, moment), *_unfreed(supposing, by, moment)]
    if supposing.released is not None:
        whole.append(supposing.lets_go())
    if by.parts:
        return query.where(or_(and_(*whole), _in_part(supposing, by, moment)))
    return query.where(*whole)


def _own(
    supposing: Supposing,
    by: Way,
    moment: Moment,
    dataset: SQLColumnExpression[str] | None = None,
) -> list[ColumnElement[bool]]:
    """That the act's own suspension holds a grant, or what it covers of a dataset."""
    assert supposing.suspension is not None  # noqa: S101 - only such acts have a way
    return [
        within(supposing.suspension, by.kinds, moment),
        grants.unreleased(supposing.suspension, moment, dataset=dataset),
    ]


def _in_part(supposing: Supposing, by: Way, moment: Moment) -> ColumnElement[bool]:
    """That a grant of a whole project gets back a dataset of it, though the rest stays held."""
    part = aliased(Dataset)
    freed = exists().where(
        Grant.dataset_id.is_(None),
        part.project_id == Grant.project_id,
        part.id.in_(
            select(RequestItem.item_id).where(RequestItem.request_id == supposing.released)
        ),
        *_own(supposing, by, moment, part.id),
        *_unfreed(supposing, by, moment, part.id),
    )
    return freed.correlate_except(part)


def goes(supposing: Supposing, by: Way) -> ColumnElement[bool]:
    """That nothing holds a grant after the act, or a part of it no longer."""
    whole = and_(true(), *_unfreed(supposing, by, grants.NOW))
    return or_(whole, _in_part(supposing, by, grants.NOW)) if by.parts else whole


def _unfreed(
    supposing: Supposing,
    by: Way,
    moment: Moment,
    dataset: SQLColumnExpression[str] | None = None,
) -> list[ColumnElement[bool]]:
    """That nothing else holds a grant after the act: a condition for each kind of scope."""
    if by.effect is None:
        return [grants.all_of(grants.unheld(Effect.CHANGE, moment, supposing=supposing))]
    clauses = grants.unheld(by.effect, moment, dataset=dataset, supposing=supposing)
    # A list of people holds by the same word as a person named alone.
    asked = {Scope.SUBJECT if kind is Scope.PEOPLE else kind for kind in by.others}
    return [clause.test for clause in clauses if clause.reason in asked]


def _freed(supposing: Supposing, moment: Moment) -> ColumnElement[bool]:
    """Which grants an act frees from all that stops them, whichever suspensions these are."""
    return or_(
        *(
            and_(
                grants.held(effect, moment),
                not_(grants.held(effect, moment, supposing=supposing)),
            )
            for effect in _LOOKED_AT
        )
    )


def returning(session: OrmSession, supposing: Supposing) -> int:
    """How many grants would come back."""
    query = back(supposing, way(session, supposing)).subquery()
    return int(_run(session, select(func.count()).select_from(query), supposing).scalar_one())


def returning_people(session: OrmSession, supposing: Supposing) -> int:
    """How many people would get something back."""
    query = back(supposing, way(session, supposing)).subquery()
    return int(
        _run(session, select(func.count(distinct(query.c.subject_id))), supposing).scalar_one()
    )


def chained_digest(
    session: OrmSession, suspension: Suspension, over: Iterable[Target], how: Way
) -> str:
    """The chain over all grants that a lift would bring back now, asked one by one.

    `over` are its targets, by name: else SQLite would walk every grant there is in its order.
    """
    supposing = Supposing(suspension=suspension.id)
    query = back(supposing, how).with_only_columns(Grant.id).where(covered(over))
    ordered = query.order_by(Grant.id).execution_options(yield_per=5000)
    digest = ""
    for grant_id in _run(session, ordered, supposing).scalars():
        digest = chain(digest, grant_id)
    return digest


def _run(session: OrmSession, query: Any, supposing: Supposing) -> Result[Any]:
    return session.execute(query, supposing.outline()[1])


def refuse_unlisted(session: OrmSession, supposing: Supposing, shown_at: datetime) -> None:
    """Raise `ReturnsUnlisted` when someone would come back who was not on the list shown."""
    outlined, values = supposing.outline()
    then = way(session, supposing, Moment.past(shown_at))
    query = _unlisted(outlined, way(session, supposing), then)
    if session.execute(query, {**values, _SHOWN_AT.key: shown_at}).first() is not None:
        raise errors.ReturnsUnlisted(
            "Since the list was shown, others would come back too. Nothing was lifted: ask again "
            "with the list as it is now."
        )


@lru_cache(maxsize=64)
def _unlisted(supposing: Supposing, now: Way, then: Way) -> Select[str]:
    returns = _back(supposing, now, shown=False).with_only_columns(Grant.id)
    listed = _back(supposing, then, shown=True).with_only_columns(Grant.id)
    return select(except_(returns, listed).subquery().c.id).limit(1)


# --- under the locks ---------------------------------------------------------------------------

# What can change nobody's return, however often it is recorded.
INDIFFERENT = frozenset(
    {
        *(kind for kind in EventType if kind.partition(".")[0] in {
            "integration", "key", "role", "activation", "password", "totp", "passkey",
            "authenticator", "recovery_codes", "recovery_code",
            "sign_in", "session", "request", "notice", "roster", "resume", "access", "entitlement",
        }),
        EventType.CLIENT_CREATED, EventType.PROJECT_CREATED, EventType.DATASET_CREATED,
        EventType.SUBJECT_REGISTERED, EventType.SUBJECT_CHANGED,
        EventType.GRANT_SUSPENDED, EventType.GRANT_REVIEW_REQUIRED, EventType.GRANT_RESUMED,
        EventType.SUSPENSION_RECORDED, EventType.SUSPENSION_AMENDED,
    }
)  # fmt: skip
# What can, of the one person that its entry names.
_OF_ONE = frozenset(
    {
        EventType.GRANT_ISSUED, EventType.GRANT_REVOKED,
        EventType.SUBJECT_MOVED, EventType.SUBJECT_OFFBOARDED,
    }
)  # fmt: skip


def unmoved(
    session: Session,
    suspension: Suspension,
    logs: Iterable[str],
    check: Callable[[OrmSession], None],
    *,
    key: object,
) -> Inquiry[None]:
    """Run `check` beforehand; make what asks, under the heads' locks, if it might fail since.

    It looks at every grant of a scope: too long to keep other writers waiting. Whatever can change
    its outcome is recorded in the logs of the scope or in the house's, or is a window that opens:
    if any of it came in between, all is done again from the beginning. `key` names the check.
    """
    among = {*logs, HOUSE}
    over = within(suspension.id, _kinds(session, suspension))

    def look(session: Session) -> tuple[dict[str, int], datetime | None]:
        seen = positions(session, among)
        opens = select(func.min(Grant.starts_at)).where(
            over, Grant.ended_at.is_(None), Grant.starts_at > clock.instant()
        )
        found: tuple[dict[str, int], datetime | None] = (seen, session.scalar(opens))
        check(session)
        return found

    if key not in session.looked:
        raise Beforehand(key, look)
    seen, opens = session.looked[key]
    if seen.keys() != among:
        raise Again

    present = sizes(among)

    def still(rows: list[tuple[Any, ...]]) -> None:
        if opens is not None and opens <= clock.now(session):
            raise Again
        for log_id, size in present.read(rows).items():
            if size != seen[log_id] and _stirred(session, log_id, seen[log_id], over):
                raise Again

    return Inquiry(present.query, still, present.given)


def _kinds(session: OrmSession, suspension: Suspension) -> list[Scope]:
    """The kinds of all that a suspension covers, or covered once."""
    found = select(SuspensionTarget.kind).where(SuspensionTarget.suspension_id == suspension.id)
    return [Scope(kind) for kind in session.execute(found.distinct()).scalars()]


def _stirred(session: OrmSession, log_id: str, since: int, over: ColumnElement[bool]) -> bool:
    """Whether a log holds, from a position on, what may change which grants `over` come back."""
    newer = and_(Entry.log_id == log_id, Entry.seq >= since)
    kinds = set(session.execute(select(Entry.type).where(newer).distinct()).scalars())
    if not kinds <= INDIFFERENT | _OF_ONE:
        return True
    named = select(Entry.subject_id).where(newer, Entry.type.in_(sorted(_OF_ONE)))
    theirs = select(Grant.id).where(Grant.subject_id.in_(named), over).limit(1)
    return session.execute(theirs).first() is not None


def refuse_more_than_before(session: OrmSession, suspension: Suspension) -> None:
    """Raise `NeedsSecondPerson` when undoing a suspension admits whom another held before it.

    Else one could lay a second pause over a first, have the first lifted with an empty list, and
    take the second back alone.
    """
    gone, values = Supposing(suspension=suspension.id).outline()
    before = {_SHOWN_AT.key: suspension.recorded_at - clock.TICK}
    if session.execute(_more_than_before(gone), values | before).first() is not None:
        raise errors.NeedsSecondPerson(
            "Another suspension that held the same people has ended since: to let them in takes "
            "two. Ask for a lift."
        )


@lru_cache(maxsize=1)
def _more_than_before(gone: Supposing) -> Select[str]:
    ways = [
        and_(
            grants.held(effect),
            not_(grants.held(effect, supposing=gone)),
            grants.held(effect, _SHOWN),
        )
        for effect in _LOOKED_AT
    ]
    query: Select[str] = grants.facts(Grant.id)
    return query.where(grants.all_of(grants.standing()), or_(*ways)).limit(1)

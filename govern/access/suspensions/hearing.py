"""Who heard of a suspension: for each integration that could ask, when it last did, and the answer.

What counts is what an answer had seen of the log, not its clock. `confirmed`: it was told no for
the suspension's sake. `failed`: it was told yes where the mode then in force says no. `unknown`: it
has not asked since; this is never taken for anything better. Hours are no access and never fail.
Status lists are public, so who read one is on no record: whoever checks tokens offline is unknown
here, and refuses once its copy of the list is too old. An answer that could not be recorded was a
denial and left no row, so nothing is told by it either.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    String,
    and_,
    case,
    column,
    func,
    literal,
    select,
    union_all,
    values,
)

from govern import permissions
from govern.access.evaluation.questions import REASONS
from govern.access.modes import EFFECTS, STOPS, Effect, Mode
from govern.access.suspension_tables import Scope
from govern.access.suspensions import covering
from govern.access.suspensions.covering import BEFORE, Covered
from govern.access.suspensions.reading import Found, may_see
from govern.access.tokens.state import State
from govern.audit.decisions import Access, AccessKind
from govern.db import listed
from govern.identity import integrations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import CTE, ColumnElement, CompoundSelect, FromClause, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

# So long a decision may be under way: its instant and its snapshot lie that far apart at most.
_UNDER_WAY = timedelta(seconds=5)
# Rows of the access log that one page goes through, whatever is covered: half by the things, half
# by who asks. Of what was told before it fewer are enough: the newest of each alone is shown.
_MOST_ROWS = 20_000
_BEFORE = 3  # times fewer
# How many of the things covered, and of those who ask, are looked up one by one: SQLite takes
# statements of 500 parts.
_MOST_WAYS = 50
# Things covered that are named in the statement itself, which takes less for each row.
_MOST_CASES = 10
_ASKING = frozenset({"decision", "introspect"})
# Refusals for the sake of a suspension; a token's says no more than that it is good no longer.
_REFUSED = frozenset(
    {reason for reason in REASONS if reason.endswith(("_paused", "_read_only"))}
    | {"second_factor_required", State.SUSPENDED, State.INVALID}
)
# What goes on in a mode that stops anything; hours are no access.
_FREE = {
    mode.value: {
        name
        for name, effect in EFFECTS.items()
        if effect not in STOPS[mode] or effect is Effect.HOURS
    }
    for mode in Mode
    if STOPS[mode]
}


class _Told(NamedTuple):
    """Answers in one mode, or before it was held; of what was released whom they were about."""

    mode: str
    permit: bool
    reason: str | None
    action: str | None
    first: datetime
    last: datetime
    about: tuple[str, ...]

    @property
    def is_false(self) -> bool:
        """Whether it is a permit of what the mode stops.

        A token's actions are one text, and one of several counts.
        """
        stopped = self.action is not None and self.action not in _FREE.get(self.mode, {self.action})
        return self.permit and stopped


class Heard(StrEnum):
    """What is known of an integration and a suspension."""

    CONFIRMED = "confirmed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an integration was told last, of anything covered."""

    at: datetime
    permit: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Asker:
    """One integration; `since` is its first refusal for the suspension's sake, or false permit."""

    id: str
    name: str
    heard: Heard
    before: Answer | None = None
    after: Answer | None = None
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """All integrations that could ask. Not `whole`: only the nearest rows were looked at."""

    askers: tuple[Asker, ...] = ()
    whole: bool = True

    def count(self, heard: Heard) -> int:
        """How many of them stand so."""
        return sum(asker.heard is heard for asker in self.askers)


def hearing(session: Session, found: Found, *, by: Principal) -> Hearing:
    """What the access log tells of each integration whose limits reach what is covered.

    Four statements at most, whatever there is. Whoever reads some clients alone is told the names
    of these clients' own integrations; of others their id, and only if they asked.
    """
    covered = covering.find(session, found)
    known = _reaching(session, found, covered, by=by)
    if not known and may_see(by) is None:  # there is nobody of whom an answer would be told
        return Hearing(whole=covered.whole)
    seen, full = _seen(session, found, covered, known)
    if may_see(by) is not None:
        known |= {one: one for one in seen if one not in known}
    askers = [_asker(one, name, seen.get(one, []), covered) for one, name in known.items()]
    order = [Heard.FAILED, Heard.UNKNOWN, Heard.CONFIRMED]
    askers.sort(key=lambda asker: (order.index(asker.heard), asker.name))
    return Hearing(askers=tuple(askers), whole=covered.whole and not full)


def _reaching(session: Session, found: Found, covered: Covered, *, by: Principal) -> dict[str, str]:
    """Name by id of each integration that was there while it held, and may ask about any of it."""
    if permissions.scope(by, "integration:read") == frozenset():
        return {}
    row, parts = found.standing.suspension, found.standing.parts
    whole = [part.target_id for part in parts if part.kind is Scope.CLIENT]
    if any(part.client is None for part in parts):
        whole += covered.logs  # those where the people whom it covers hold grants
    rows = integrations.reaching(
        session,
        clients=whole,
        owners=[part.client for part in parts if part.client],
        projects=covered.projects,
        begin=row.recorded_at,
        end=row.ended_at,
        by=by,
    )
    return {one.id: one.name for one in rows if _ASKING.intersection(one.scopes)}


def _seen(
    session: Session, found: Found, covered: Covered, known: dict[str, str]
) -> tuple[dict[str, list[_Told]], bool]:
    """Answers in groups, by integration; and whether there were more rows than were looked at."""
    things = covered.ways if len(covered.ways) <= _MOST_WAYS else []
    askers = [Access.principal == one for one in list(known)[:_MOST_WAYS]]
    looks = [
        (look, max(_MOST_ROWS // (6 * len(ways) * fewer), 1))
        for ways in (things, askers)
        for way in ways
        for look, fewer in _looks(found, way)
    ]
    if not covered.rows or not looks:
        return {}, False
    with session.database.access_reading() as access:
        rows = access.execute(_grouped(access, looks, covered)).all()
    groups: dict[str, list[_Told]] = defaultdict(list)
    numbers: dict[int, int] = defaultdict(int)
    for row in rows:
        numbers[row.look] += row.number
        if row.principal.startswith("int_"):
            groups[row.principal] += _told(row, len(covered.columns))
    full = any(numbers[look] >= most for look, (_, most) in enumerate(looks))
    return groups, full or len(askers) < len(known)


def _told(row: Any, columns: int) -> Iterator[_Told]:
    """A line for each mode in which its answers saw anything covered."""
    _, _, permit, reason, action, *named, first, last, _ = row
    about = tuple(one for one in named[columns:] if one is not None)
    for mode in {*named[:columns]} - {None}:
        yield _Told(mode, bool(permit), reason, action, first, last, about)


def _looks(found: Found, way: ColumnElement[bool]) -> Iterator[tuple[Any, int]]:
    """Along one index: the rows after the opening, from both ends, and those before it.

    With how many times fewer of them are looked at.
    """
    row = found.standing.suspension
    asking = Access.kind.in_([AccessKind.DECISION, AccessKind.INTROSPECTION])
    said = Access.principal, Access.permit, Access.reason, Access.action, Access.at
    query = select(*said).where(way, asking)
    after = query.where(Access.at >= row.recorded_at - _UNDER_WAY)
    if row.ended_at is not None:
        after = after.where(Access.at <= row.ended_at + _UNDER_WAY)
    yield after.order_by(Access.at), 1
    yield after.order_by(Access.at.desc()), 1
    # What was under way at the opening came after it, and is among those.
    before = query.where(Access.at <= row.recorded_at)
    yield before.order_by(Access.at.desc()), _BEFORE


def _grouped(
    access: OrmSession, looks: Sequence[tuple[Select[Any], int]], covered: Covered
) -> CompoundSelect[Any]:
    """One line for each integration, what it asked and was told, and the modes then in force.

    Of permits about what was released also who and what. Of each look by itself, with the number of
    its rows: those of which nothing is covered are in a line without a mode. The rows are gone
    through once.
    """
    things = _things(covered.rows) if len(covered.rows) > _MOST_CASES else None
    free = select(listed(access, sorted(covered.released)).c.value) if covered.released else None
    lines = []
    for number, (query, most) in enumerate(looks):
        if things is None:
            asked = _with(query, Access, _cases(covered), free).limit(most)
        else:
            asked = _joined(query.limit(most), covered, things, free)
        rows = asked.subquery()
        keys = [column for column in rows.c if column is not rows.c.at]
        lines.append(
            select(
                literal(number).label("look"), *keys, func.min(rows.c.at).label("first"),
                func.max(rows.c.at).label("last"), func.count().label("number"),
            ).group_by(*keys)
        )  # fmt: skip
    return union_all(*lines)


def _with(
    query: Select[Any], row: Any, modes: Iterable[ColumnElement[Any]], free: Select[Any] | None
) -> Select[Any]:
    """The modes of a row by the columns that may name what is covered, and what was released."""
    about = [] if free is None else [row.subject_id, row.resource_id]
    return query.add_columns(
        *(mode.label(f"mode_{place}") for place, mode in enumerate(modes)),
        *(
            case((and_(row.permit, one.in_(free)), one)).label(f"about_{place}")
            for place, one in enumerate(about)
        ),
    )


def _cases(covered: Covered) -> Iterator[ColumnElement[Any]]:
    for name in sorted(covered.columns):
        named = getattr(Access, name)
        cases = []
        for thing, house, since, until, mode in covered.rows:
            cited = Access.house_as_of if house else Access.as_of
            cases.append((and_(named == thing, cited > since, cited <= until), mode))
        yield case(*cases)


def _joined(
    query: Select[Any], covered: Covered, things: CTE, free: Select[Any] | None
) -> Select[Any]:
    """The same with a table of many things."""
    rows = query.add_columns(
        Access.client_id, Access.resource_id, Access.subject_id, Access.as_of, Access.house_as_of
    ).subquery()
    source: FromClause = rows
    modes = []
    for name in sorted(covered.columns):
        there = things.alias()
        cited = case((there.c.house, rows.c.house_as_of), else_=rows.c.as_of)
        held = and_(there.c.thing == rows.c[name], cited > there.c.since, cited <= there.c.until)
        source = source.outerjoin(there, held)
        modes.append(there.c.mode)
    said = [rows.c[str(column.key)] for column in query.selected_columns]
    return _with(select(*said).select_from(source), rows.c, modes, free)


def _things(rows: list[tuple[str, bool, int, int, str]]) -> CTE:
    """What is covered, as a table.

    A few as a select each: SQLAlchemy writes a statement with VALUES anew each time.
    """
    columns: dict[str, Any] = {
        "thing": String(), "house": Boolean(), "since": BigInteger(), "until": BigInteger(),
        "mode": String(),
    }  # fmt: skip
    if len(rows) > _MOST_WAYS:
        named = (column(name, kind) for name, kind in columns.items())
        return values(*named, name="things").data(rows).cte("things")
    each = [
        [
            literal(value, columns[name]).label(name)
            for name, value in zip(columns, row, strict=True)
        ]
        for row in rows
    ]
    return union_all(*(select(*row) for row in each)).cte("things")


def _asker(id_: str, name: str, groups: list[_Told], covered: Covered) -> Asker:
    false = [row for row in groups if row.is_false and _still_held(row, covered)]
    refused = [
        row
        for row in groups
        if row.mode != BEFORE
        and (row.mode == Mode.UNDER_REVIEW or (not row.permit and row.reason in _REFUSED))
    ]
    decisive = false or refused
    heard = Heard.UNKNOWN
    if decisive:
        heard = Heard.FAILED if false else Heard.CONFIRMED
    return Asker(
        id=id_,
        name=name,
        heard=heard,
        before=_latest([row for row in groups if row.mode == BEFORE]),
        after=_latest([row for row in groups if row.mode != BEFORE]),
        since=min((row.first for row in decisive), default=None),
    )


def _still_held(told: _Told, covered: Covered) -> bool:
    """Whether a permit was about someone, and something, that was not released by then."""
    free = [covered.released[one] for one in told.about]
    return not free or told.first < min(free) - _UNDER_WAY


def _latest(groups: list[_Told]) -> Answer | None:
    last = max(groups, key=lambda row: row.last, default=None)
    if last is None:
        return None
    return Answer(at=last.last, permit=bool(last.permit), reason=last.reason or "")

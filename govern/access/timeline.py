"""Timelines: each grant's time as a bar, what paused it as bands, whom that let out as gaps.

A bar says when the one rule permitted it; bands and gaps say which suspension stood over it and
whom it had released, so that a reader sees why. All is of one range and one snapshot, half-open,
and a page at a time. Who may see one client alone is not told which suspension of a person or of a
firm it was: the bar says that it did not permit.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from govern import permissions
from govern.access import exposure
from govern.access.exposure import Exposure
from govern.access.grants import Grant
from govern.access.modes import Mode
from govern.access.suspension_tables import (
    PeopleListItem,
    Scope,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.db import listed
from govern.identity.subjects import Membership

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.exposure import Interval
    from govern.principal import Principal

PAGE = 25
# Pieces of pauses that one page holds at most; beyond it the page says that there are more.
MOST_BANDS = 2000
MOST_COUNTED = 1000


@dataclass(frozen=True, kw_only=True)
class Band:
    """A time in which a suspension in one mode stood over a grant; a `gap` if it had let it out."""

    suspension_id: str
    mode: Mode
    begin: datetime
    end: datetime
    gap: bool = False


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One grant in the range: `begin` to `end` it was given, and in its intervals it permitted."""

    grant: Exposure
    begin: datetime
    end: datetime
    bands: tuple[Band, ...]


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Some bars of a range, by the grants' ids, and where the next ones are (None: that is all).

    `more` counts the grants behind these, up to `MOST_COUNTED`; `whole` is False where there were
    more bands than a page holds.
    """

    begin: datetime
    end: datetime
    bars: tuple[Bar, ...]
    after: str | None
    more: int = 0
    whole: bool = True


def of(
    session: OrmSession,
    kind: str,
    code: str,
    *,
    begin: datetime,
    end: datetime,
    action: str = "read",
    after: str = "",
    limit: int = PAGE,
    by: Principal,
) -> Timeline:
    """What stood when of a client, project, dataset or person (`subject`, by id) in a range."""
    begin, end = exposure.within(session, begin, end)
    found = exposure.reach(
        session, kind, code, begin=begin, end=end, action=action, after=after, limit=limit + 1,
        held=True, by=by,
    )  # fmt: skip
    shown = found[:limit]
    rows = _grants(session, shown)
    bands, whole = _bands(session, list(rows.values()), begin, end, by=by)
    bars = []
    for each in shown:
        first, last = _window(rows[each.grant_id], begin, end)
        if first < last:  # else it was recorded when it was over, and stood at no moment
            own = tuple(bands[each.grant_id])
            bars.append(Bar(grant=each, begin=first, end=last, bands=own))
    following = shown[-1].grant_id if len(found) > limit else None
    more = 0
    if following is not None:
        more = exposure.behind(
            session, kind, code, begin=begin, end=end, action=action, after=following,
            most=MOST_COUNTED, by=by,
        )  # fmt: skip
    return Timeline(begin=begin, end=end, bars=tuple(bars), whole=whole, after=following, more=more)


def _grants(session: OrmSession, shown: Sequence[Exposure]) -> dict[str, Grant]:
    among = listed(session, [each.grant_id for each in shown])
    rows = session.execute(select(Grant).join(among, among.c.value == Grant.id)).scalars()
    return {row.id: row for row in rows}


def _window(grant: Grant, begin: datetime, end: datetime) -> Interval:
    """The part of the range in which a grant's own row stands."""
    last = grant.ends_at if grant.ended_at is None else min(grant.ends_at, grant.ended_at)
    first = max(grant.starts_at, grant.recorded_at, begin)
    return first, max(min(last, end), first)


def _bands(
    session: OrmSession, rows: Sequence[Grant], begin: datetime, end: datetime, *, by: Principal
) -> tuple[dict[str, list[Band]], bool]:
    """The suspensions over some grants, by grant, in order; and whether these are all."""
    found: dict[str, list[Band]] = defaultdict(list)
    if not rows:
        return found, True
    covers = _covers(session, rows, begin, end, by=by)
    laid = _laid(session, {key for ways in covers.values() for _, key, *_ in ways}, begin, end)
    whole, number = True, 0
    for row in rows:
        window = _window(row, begin, end)
        for kind, key, *belonging in covers[row.id]:
            for target, modes, releases in laid.get((kind, key), ()):
                within = _cut(window, (target.recorded_at, target.ended_at), *belonging)
                out = [
                    (each.recorded_at, each.ended_at)
                    for each in releases if each.target_id in _names(row)
                ]  # fmt: skip
                for mode in modes:
                    span = within and _cut(within, (mode.recorded_at, mode.ended_at))
                    if span is None:
                        continue
                    pieces = _parted(span, out)
                    number += len(pieces)
                    if number > MOST_BANDS:
                        whole = False
                        break
                    found[row.id] += [
                        Band(
                            suspension_id=target.suspension_id, mode=Mode(mode.mode),
                            begin=a, end=b, gap=gap,
                        )
                        for a, b, gap in pieces
                    ]  # fmt: skip
        found[row.id].sort(key=lambda band: (band.begin, band.suspension_id))
    return found, whole


def _names(row: Grant) -> set[str]:
    """What a release may name to let this grant out: its person, project or own dataset."""
    return {row.subject_id, row.project_id, row.dataset_id or ""}


Way = tuple[Any, ...]  # kind, id, and the time in which the grant belonged to it, if it may change


def _covers(
    session: OrmSession, rows: Sequence[Grant], begin: datetime, end: datetime, *, by: Principal
) -> dict[str, list[Way]]:
    """All that a suspension can name to cover each of some grants."""
    ways: dict[str, list[Way]] = {
        row.id: [(Scope.CLIENT, row.client_id), (Scope.PROJECT, row.project_id)] for row in rows
    }
    for row in rows:
        if row.dataset_id is not None:
            ways[row.id].append((Scope.DATASET, row.dataset_id))
    if permissions.scope(by, "suspension:read") is not None:
        return ways
    people = listed(session, sorted({row.subject_id for row in rows}))
    of_people: dict[str, list[Way]] = defaultdict(list)
    for member in session.execute(
        select(Membership)
        .join(people, people.c.value == Membership.subject_id)
        .where(_meets(Membership, begin, end))
    ).scalars():
        of_people[member.subject_id].append(
            (Scope.ORGANISATION, member.organisation_id, (member.recorded_at, member.ended_at))
        )
    for subject_id, list_id in session.execute(
        select(PeopleListItem.subject_id, PeopleListItem.list_id).join(
            people, people.c.value == PeopleListItem.subject_id
        )
    ):
        of_people[subject_id].append((Scope.PEOPLE, list_id))
    for row in rows:
        ways[row.id] += [(Scope.SUBJECT, row.subject_id), *of_people[row.subject_id]]
    return ways


def _laid(
    session: OrmSession, keys: Iterable[str], begin: datetime, end: datetime
) -> dict[tuple[str, str], list[tuple[Any, list[Any], list[Any]]]]:
    """The suspensions over some things in the range: each target, its modes and its releases."""
    among = listed(session, sorted(set(keys)))
    targets = list(
        session.execute(
            select(SuspensionTarget)
            .join(among, among.c.value == SuspensionTarget.target_id)
            .where(_meets(SuspensionTarget, begin, end))
            .order_by(SuspensionTarget.recorded_at, SuspensionTarget.id)
        ).scalars()
    )
    ids = listed(session, sorted({row.suspension_id for row in targets}))
    modes: dict[str, list[Any]] = defaultdict(list)
    releases: dict[str, list[Any]] = defaultdict(list)
    both: list[tuple[Any, dict[str, list[Any]]]] = [
        (SuspensionMode, modes), (SuspensionRelease, releases),
    ]  # fmt: skip
    for table, kept in both:
        query = select(table).join(ids, ids.c.value == table.suspension_id)
        for row in session.execute(query.where(_meets(table, begin, end))).scalars():
            kept[row.suspension_id].append(row)
    found: dict[tuple[str, str], list[tuple[Any, list[Any], list[Any]]]] = defaultdict(list)
    for row in targets:
        found[row.kind, row.target_id].append(
            (row, modes[row.suspension_id], releases[row.suspension_id])
        )
    return found


def _meets(fact: Any, begin: datetime, end: datetime) -> ColumnElement[bool]:
    return and_(fact.recorded_at < end, or_(fact.ended_at.is_(None), fact.ended_at > begin))


def _cut(window: Interval, *others: tuple[datetime, datetime | None]) -> Interval | None:
    """What several times have in common; None when that is nothing."""
    first = max([window[0], *(begin for begin, _ in others)])
    last = min([window[1], *(end for _, end in others if end is not None)])
    return (first, last) if first < last else None


def _parted(
    span: Interval, out: Sequence[tuple[datetime, datetime | None]]
) -> list[tuple[datetime, datetime, bool]]:
    """A time in order, cut where releases begin and end; True for what one of them let out."""
    inside = sorted(piece for each in out if (piece := _cut(span, each)))
    found, place = [], span[0]
    for begin, end in inside:
        if begin > place:
            found.append((place, begin, False))
        if end > place:
            found.append((max(begin, place), end, True))
            place = end
    if place < span[1]:
        found.append((place, span[1], False))
    return found

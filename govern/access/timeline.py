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
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import String, and_, literal, or_, select, union_all

from govern import permissions
from govern.access import exposure
from govern.access.exposure import Exposure, Place
from govern.access.grants import Grant
from govern.access.modes import Mode
from govern.access.suspension_tables import (
    PeopleListItem,
    Scope,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.clock import Utc
from govern.db import Inquiry, listed, together
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

    `place` is what was asked about; `more` counts the grants behind these, up to `MOST_COUNTED`;
    `whole` is False where there were more bands than a page holds.
    """

    place: Place
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
    place = exposure.placed(session, kind, code, by=by)
    begin, end = exposure.within(session, begin, end, now=place.now)
    asked = exposure.Asked(session, place, action, begin, end)
    found = asked.windowed(after, limit + 1)
    shown = asked.answered(found[:limit], held=True)
    following = shown[-1].grant_id if len(found) > limit else None
    behind = None if following is None else asked.behind(following, MOST_COUNTED)
    rows, people, more = _given(session, shown, begin, end, behind, by=by)
    bands, whole = _bands(session, list(rows.values()), people, begin, end)
    bars = []
    for each in shown:
        first, last = _window(rows[each.grant_id], begin, end)
        if first < last:  # else it was recorded when it was over, and stood at no moment
            own = tuple(bands[each.grant_id])
            bars.append(Bar(grant=each, begin=first, end=last, bands=own))
    return Timeline(
        place=place, begin=begin, end=end, bars=tuple(bars), whole=whole, after=following, more=more
    )


class _Given(NamedTuple):
    """A grant, or what else a suspension can name of its person: see `_given`."""

    what: str
    id: str
    subject_id: str
    client_id: str
    project_id: str
    dataset_id: str | None
    starts_at: datetime
    ends_at: datetime
    recorded_at: datetime
    ended_at: datetime | None


Way = tuple[Any, ...]  # kind, id, and the time in which the grant belonged to it, if it may change


def _given(
    session: OrmSession,
    shown: Sequence[Exposure],
    begin: datetime,
    end: datetime,
    behind: Inquiry[int] | None,
    *,
    by: Principal,
) -> tuple[dict[str, Any], dict[str, list[Way]], int]:
    """The rows of some grants, by id; and by person what of theirs a suspension can name.

    And how many grants are `behind` these. Of people nothing is told to whoever sees the
    suspensions of some clients alone.
    """
    among = listed(session, [each.grant_id for each in shown])
    people = listed(session, sorted({each.subject_id for each in shown}))
    no_id, no_time = literal(None, String()), literal(None, Utc())
    questions: list[Any] = [
        select(
            literal("grant").label("what"), Grant.id, Grant.subject_id, Grant.client_id,
            Grant.project_id, Grant.dataset_id, Grant.starts_at, Grant.ends_at, Grant.recorded_at,
            Grant.ended_at,
        ).join(among, among.c.value == Grant.id)
    ]  # fmt: skip
    of_people: dict[str, list[Way]] = defaultdict(list)
    if permissions.scope(by, "suspension:read") is None:
        questions += [
            select(
                literal(Scope.ORGANISATION.value), Membership.organisation_id,
                Membership.subject_id, no_id, no_id, no_id, no_time, no_time,
                Membership.recorded_at, Membership.ended_at,
            )
            .join(people, people.c.value == Membership.subject_id)
            .where(_meets(Membership, begin, end)),
            select(
                literal(Scope.PEOPLE.value), PeopleListItem.list_id, PeopleListItem.subject_id,
                no_id, no_id, no_id, no_time, no_time, no_time, no_time,
            ).join(people, people.c.value == PeopleListItem.subject_id),
        ]  # fmt: skip
        for each in shown:
            of_people[each.subject_id] = [(Scope.SUBJECT, each.subject_id)]
    given, *more = together(
        session, Inquiry(union_all(*questions), list), *([] if behind is None else [behind])
    )
    rows = {}
    for row in map(_Given._make, given):
        if row.what == "grant":
            rows[row.id] = row
        elif row.what == Scope.PEOPLE:
            of_people[row.subject_id].append((Scope.PEOPLE, row.id))
        else:
            belonged = (row.recorded_at, row.ended_at)
            of_people[row.subject_id].append((Scope.ORGANISATION, row.id, belonged))
    return rows, of_people, sum(more)


def _window(grant: Any, begin: datetime, end: datetime) -> Interval:
    """The part of the range in which a grant's own row stands."""
    last = grant.ends_at if grant.ended_at is None else min(grant.ends_at, grant.ended_at)
    first = max(grant.starts_at, grant.recorded_at, begin)
    return first, max(min(last, end), first)


def _bands(
    session: OrmSession,
    rows: Sequence[Any],
    people: dict[str, list[Way]],
    begin: datetime,
    end: datetime,
) -> tuple[dict[str, list[Band]], bool]:
    """The suspensions over some grants, by grant, in order; and whether these are all."""
    found: dict[str, list[Band]] = defaultdict(list)
    if not rows:
        return found, True
    covers = _covers(rows, people)
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
                            suspension_id=target.suspension_id, mode=Mode(mode.kind),
                            begin=a, end=b, gap=gap,
                        )
                        for a, b, gap in pieces
                    ]  # fmt: skip
        found[row.id].sort(key=lambda band: (band.begin, band.suspension_id))
    return found, whole


def _names(row: Any) -> set[str]:
    """What a release may name to let this grant out: its person, project or own dataset."""
    return {row.subject_id, row.project_id, row.dataset_id or ""}


def _covers(rows: Sequence[Any], people: dict[str, list[Way]]) -> dict[str, list[Way]]:
    """All that a suspension can name to cover each of some grants."""
    ways: dict[str, list[Way]] = {}
    for row in rows:
        ways[row.id] = [(Scope.CLIENT, row.client_id), (Scope.PROJECT, row.project_id)]
        if row.dataset_id is not None:
            ways[row.id].append((Scope.DATASET, row.dataset_id))
        ways[row.id] += people.get(row.subject_id, [])
    return ways


def _laid(
    session: OrmSession, keys: Iterable[str], begin: datetime, end: datetime
) -> dict[tuple[str, str], list[tuple[Any, list[Any], list[Any]]]]:
    """The suspensions over some things in the range: each target, its modes and its releases."""
    among = listed(session, sorted(set(keys)))
    target = SuspensionTarget
    over = (
        select(target)
        .join(among, among.c.value == target.target_id)
        .where(_meets(target, begin, end))
    )
    theirs = over.with_only_columns(target.suspension_id)
    targets: list[Any] = []
    modes: dict[str, list[Any]] = defaultdict(list)
    releases: dict[str, list[Any]] = defaultdict(list)
    facts = [
        select(
            literal(what).label("what"), table.id, table.suspension_id, kind.label("kind"),
            target_id.label("target_id"), table.recorded_at, table.ended_at,
        ).where(*tests)
        for what, table, kind, target_id, tests in (
            ("target", target, target.kind, target.target_id,
             [target.id.in_(over.with_only_columns(target.id))]),
            ("mode", SuspensionMode, SuspensionMode.mode, literal("", String()),
             [SuspensionMode.suspension_id.in_(theirs), _meets(SuspensionMode, begin, end)]),
            ("release", SuspensionRelease, SuspensionRelease.kind, SuspensionRelease.target_id,
             [SuspensionRelease.suspension_id.in_(theirs), _meets(SuspensionRelease, begin, end)]),
        )
    ]  # fmt: skip
    for row in session.execute(union_all(*facts)):
        if row.what == "target":
            targets.append(row)
        else:
            (modes if row.what == "mode" else releases)[row.suspension_id].append(row)
    targets.sort(key=lambda row: (row.recorded_at, row.id))
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

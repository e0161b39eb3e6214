"""The asking: the rule put to grants that meet the range, once to all that are alike.

Grants whose facts are the same but for their own window have the same answer: the rule is asked
about one of them, and each clips it to its window. Those whose person is suspended, alone or in a
list, are asked for these clauses apart: all clauses must hold, so the times of the one part are cut
by the times of the other. Those whose person was released from a suspension have the answer of the
others but for the time of the release, in which they are asked themselves.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from govern.access.exposure.candidates import Candidates
from govern.access.exposure.parts import NAMED, SHARED, permits, turning
from govern.access.exposure.places import Exposure
from govern.access.exposure.stretches import clipped, joined, parted
from govern.access.suspension_tables import Scope, SuspensionRelease
from govern.clock import TICK
from govern.db import listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.access.exposure.places import Interval, Place

    Times = dict[str, tuple[Interval, ...]]


class Asked(Candidates):
    """One question, put to one snapshot a chunk of grants at a time."""

    def __init__(
        self, session: OrmSession, place: Place, action: str, begin: datetime, end: datetime
    ) -> None:
        super().__init__(session, place, action, begin, end)
        self._of_kind: dict[Any, tuple[Interval, ...]] = {}

    def at(self, instant: datetime) -> Asked:
        """The same question of an instant alone."""
        return Asked(self.session, self.place, self.action, instant, instant + TICK)

    def answered(self, rows: Sequence[Any], *, held: bool = False) -> list[Exposure]:
        """The grants among these that permitted it at some moment, and when; `held` ones too."""
        return [
            Exposure._make((*row[:10], own))
            for row, own in zip(rows, self.times(rows), strict=True)
            if held or own
        ]

    def times(self, rows: Sequence[Any]) -> list[tuple[Interval, ...]]:
        """When each of these grants permitted it, in their order; empty for those that never did.

        Those that are alike and cut short by nothing of their own share one tuple.
        """
        keys = [(row[6], row[7], row[12], row[13], *row[16:]) for row in rows]
        known = self._of_kind
        alike: dict[Any, str] = {}
        several = set()  # what is said of many grants, of the chunks to come as well
        for row, key in zip(rows, keys, strict=True):
            if not row[15] and key not in known:
                alike.setdefault(key, row[0])
                if row[13] != row[1]:
                    several.add(key)
        releases = self._releases(
            {
                row[0]: row[1]
                for row, key in zip(rows, keys, strict=True)
                if row[15] and (key in alike or key in known)
            }
        )
        lone = [row[0] for row in rows if row[15] and row[0] not in releases]
        shared, named = self._within(
            self._throughout([*alike.values(), *lone]) | releases,
            self._throughout([row[0] for row in rows if row[14]]),
        )
        known |= {key: shared[alike[key]] for key in several}
        of_kind = known | {key: shared[grant_id] for key, grant_id in alike.items()}
        found = []
        for row, key in zip(rows, keys, strict=True):
            own = shared[row[0]] if row[15] else of_kind[key]
            if row[0] in releases:
                own = joined([*parted(of_kind[key], releases[row[0]]), *own])
            starts, ends, recorded, ended = row[8:12]
            own = clipped(
                own,
                max(recorded, starts),
                ends if ended is None or ends < ended else ended,
            )
            if row[14]:
                own = tuple(both for a, b in named[row[0]] for both in clipped(own, a, b))
            found.append(own)
        return found

    def permitted(self, grant_ids: Sequence[str]) -> Times:
        """When the rule permitted by each, its own window and suspensions of people apart."""
        return self._within(self._throughout(grant_ids), {})[0]

    def _throughout(self, grant_ids: Sequence[str]) -> Times:
        return dict.fromkeys(grant_ids, ((self.begin, self.end),))

    def _releases(self, people: dict[str, str]) -> Times:
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
        tail = (self.action, self.place.dataset)
        for part, grant_id, *found in turning(self.effect, on_dataset=on_dataset, only=only).rows(
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
        permitted = permits(self.effect, on_dataset=on_dataset, only=only).rows(
            connection, [(grant_id, *tail, part, a) for (part, grant_id), a, _ in pieces]
        )
        answers: tuple[dict[str, list[Interval]], ...] = (
            {key: [] for key in shared}, {key: [] for key in named},
        )  # fmt: skip
        for number, yes in sorted(permitted):
            if yes:
                (part, grant_id), a, b = pieces[number - 1]
                answers[part][grant_id].append((a, b))
        of_shared, of_named = (
            {grant_id: joined(several) for grant_id, several in own.items()} for own in answers
        )
        return of_shared, of_named

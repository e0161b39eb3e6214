"""What a suspension covers, as answers in the access log name it.

Each thing stands there with the places of its log between which it was held, and the mode in force;
and with those before the suspension began.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, String, literal, select, text, union_all

from govern.access.clients import Dataset
from govern.access.suspension_tables import PeopleListItem, Scope, SuspensionRelease
from govern.audit.decisions import Access
from govern.audit.log import ACTS, HOUSE, Entry
from govern.clock import Utc
from govern.db import listed
from govern.identity.subjects import Membership

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from govern.access.suspensions.reading import Found
    from govern.db import Session

# Things covered that rows are compared with.
_MOST_THINGS = 2_000
_FOR_EVER = 2**62
# In place of a mode, where a thing was not held yet.
BEFORE = "before"


@dataclass(kw_only=True)
class Covered:
    """What is covered, and who and what was released, since when.

    `rows` are a thing, whether the house's log places it, behind which place and until which, and
    the mode there; `columns` are those of the access log in which any of it can stand.
    """

    rows: list[tuple[str, bool, int, int, str]]
    ways: list[ColumnElement[bool]]
    columns: set[str]
    released: dict[str, datetime]
    logs: list[str]
    projects: list[str]
    whole: bool


_KINDS: dict[Scope, Any] = {
    Scope.CLIENT: Access.client_id,
    Scope.PROJECT: Access.resource_id,
    Scope.DATASET: Access.resource_id,
    Scope.SUBJECT: Access.subject_id,
    Scope.ORGANISATION: Access.subject_id,
    Scope.PEOPLE: Access.subject_id,
}
_GROUPS = {Scope.ORGANISATION, Scope.PEOPLE}


def find(session: Session, found: Found) -> Covered:
    """All that an answer about it may name. One statement."""
    standing = found.standing
    parts = standing.parts
    places: dict[str, dict[datetime, int]] = defaultdict(dict)
    inside: dict[str, list[str]] = defaultdict(list)
    released: dict[str, datetime] = {}
    projects = [part.target_id for part in parts if part.kind is Scope.PROJECT]
    for kind, owner, thing, seq, at in session.execute(_facts(session, found)):
        if kind == "entry":
            places[owner][at] = seq
        elif kind == "release":
            released[thing] = min(at, released.get(thing, at))
        elif kind == "owner":
            projects.append(owner)
        else:
            inside[owner].append(thing)
    held: dict[tuple[str, bool, int, str], int] = {}
    ways: dict[tuple[str, str], ColumnElement[bool]] = {}
    for part in parts:
        house = part.client is None
        acts = places[part.client or HOUSE]
        opened = acts.get(part.recorded_at, -1)
        narrowed = acts.get(part.ended_at, _FOR_EVER) if part.ended_at else _FOR_EVER
        column_ = _KINDS[part.kind]
        own = [] if part.kind in _GROUPS else [part.target_id]
        for thing in (*own, *inside[part.target_id]):
            # Several parts may cover it: it was not held before the first of them.
            before = thing, house, -1, BEFORE
            held[before] = min(opened, held.get(before, opened))
            for mode in found.modes:
                since = max(opened, acts.get(mode.recorded_at, _FOR_EVER))
                until = acts.get(mode.ended_at, _FOR_EVER) if mode.ended_at else _FOR_EVER
                if since < min(until, narrowed):
                    there = thing, house, since, mode.mode
                    held[there] = max(min(until, narrowed), held.get(there, -1))
            ways[column_.key, thing] = column_ == thing
    rows = [
        (thing, house, since, until, mode) for (thing, house, since, mode), until in held.items()
    ]
    full = len(inside) and max(map(len, inside.values())) > _MOST_THINGS
    whole = not full and len(rows) <= _MOST_THINGS
    return Covered(
        rows=rows[:_MOST_THINGS], ways=list(ways.values()),
        columns={_KINDS[part.kind].key for part in parts}, released=released,
        projects=projects, whole=whole,
        logs=[log_id for log_id in places if log_id != HOUSE],
    )  # fmt: skip


def _facts(session: Session, found: Found) -> Any:
    """Its acts' places, the datasets within, people of firms and lists, those released, at once."""
    no_place, no_time = literal(None, BigInteger()), literal(None, Utc())
    own = SuspensionRelease.suspension_id == found.standing.suspension.id

    def told(kind: str, owner: Any, thing: Any, place: Any = no_place, at: Any = no_time) -> Any:
        return select(
            literal(kind).label("kind"), owner.label("owner"), thing.label("thing"),
            place.label("place"), at.label("time"),
        )  # fmt: skip

    nobody = literal("", String())
    asked = [
        told("entry", Entry.log_id, nobody, Entry.seq, Entry.at).where(
            Entry.suspension_id == found.standing.suspension.id,
            text(f"log_entry.{ACTS}"),  # so that its index is taken
        ),
        told(
            "release", nobody, SuspensionRelease.target_id, at=SuspensionRelease.recorded_at
        ).where(own),
        told("release", nobody, Dataset.id, at=SuspensionRelease.recorded_at)
        .join(SuspensionRelease, SuspensionRelease.target_id == Dataset.project_id)
        .where(own),
    ]
    # Of what there is none it is not asked: a database would go through a table to find that out.
    within: dict[Scope, tuple[Any, Any, list[Any]]] = {
        Scope.PROJECT: (Dataset.project_id, Dataset.id, []),
        Scope.ORGANISATION: (
            Membership.organisation_id, Membership.subject_id, [Membership.ended_at.is_(None)]
        ),
        Scope.PEOPLE: (PeopleListItem.list_id, PeopleListItem.subject_id, []),
    }  # fmt: skip
    given: dict[Scope, list[str]] = defaultdict(list)
    for part in found.standing.parts:
        given[part.kind].append(part.target_id)
    for kind, (group, member, tests) in within.items():
        if given[kind]:
            among = select(listed(session, given[kind]).c.value)
            some = told("inside", group, member).where(group.in_(among), *tests)
            asked.append(select(some.limit(_MOST_THINGS + 1).subquery()))
    if given[Scope.DATASET]:
        among = select(listed(session, given[Scope.DATASET]).c.value)
        asked.append(told("owner", Dataset.project_id, Dataset.id).where(Dataset.id.in_(among)))
    return union_all(*asked)

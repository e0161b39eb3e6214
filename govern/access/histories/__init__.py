"""Histories: one person's, one actor's, one suspension's, and all that changed since some place."""

from govern.access.histories.asking import (
    MOST_COUNTED,
    MOST_DECISIONS,
    Acts,
    Changes,
    Decided,
    Part,
    Person,
    Record,
    decided,
    note,
    of_actor,
    of_person,
    of_suspension,
    since,
)
from govern.access.histories.telling import acts, changes, entries, grants, person, record

__all__ = [
    "MOST_COUNTED",
    "MOST_DECISIONS",
    "Acts",
    "Changes",
    "Decided",
    "Part",
    "Person",
    "Record",
    "acts",
    "changes",
    "decided",
    "entries",
    "grants",
    "note",
    "of_actor",
    "of_person",
    "of_suspension",
    "person",
    "record",
    "since",
]

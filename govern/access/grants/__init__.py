"""Grants: who was given what, and the one rule that says when a grant is in force."""

from govern.access.grants.clauses import (
    NOW,
    SECOND_FACTOR_WITHIN,
    Clause,
    Moment,
    Supposing,
    all_of,
    covering,
    entitled,
    facts,
    held,
    overlying,
    released,
    reviewed,
    rule,
    standing,
    unheld,
)
from govern.access.grants.operations import ask, end, find, issue, refs_of, refuse_held, revoke
from govern.access.grants.table import Grant

__all__ = [
    "NOW",
    "SECOND_FACTOR_WITHIN",
    "Clause",
    "Grant",
    "Moment",
    "Supposing",
    "all_of",
    "ask",
    "covering",
    "end",
    "entitled",
    "facts",
    "find",
    "held",
    "issue",
    "overlying",
    "refs_of",
    "refuse_held",
    "released",
    "reviewed",
    "revoke",
    "rule",
    "standing",
    "unheld",
]

"""Grants: who was given what, and the one rule that says when a grant is in force."""

from govern.access.grants.clauses import (
    SECOND_FACTOR_WITHIN,
    all_of,
    blanket,
    covering,
    entitled,
    facts,
    held,
    let_out,
    open_,
    overlaid,
    overlying,
    reviewed,
    rule,
    standing,
    unheld,
    unreleased,
)
from govern.access.grants.demanded import ENROL, MEETING, has, having, in_force, met
from govern.access.grants.moment import NOW, Clause, Moment
from govern.access.grants.operations import end, find, issue, refs_of, refuse_held, revoke
from govern.access.grants.since import holding_since, taken, unsuspended
from govern.access.grants.supposing import SomeId, Supposing
from govern.access.grants.table import Grant, last_of
from govern.access.grants.turning import turning

__all__ = [
    "ENROL",
    "MEETING",
    "NOW",
    "SECOND_FACTOR_WITHIN",
    "Clause",
    "Grant",
    "Moment",
    "SomeId",
    "Supposing",
    "all_of",
    "blanket",
    "covering",
    "end",
    "entitled",
    "facts",
    "find",
    "has",
    "having",
    "held",
    "holding_since",
    "in_force",
    "issue",
    "last_of",
    "let_out",
    "met",
    "open_",
    "overlaid",
    "overlying",
    "refs_of",
    "refuse_held",
    "reviewed",
    "revoke",
    "rule",
    "standing",
    "taken",
    "turning",
    "unheld",
    "unreleased",
    "unsuspended",
]

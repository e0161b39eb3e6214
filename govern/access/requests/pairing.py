"""Who can be the second person: nobody who is the first, or whose account is of one making with it.

Whoever asks cannot approve, nor can an account that the asker created, recovered or promoted, nor
the other way round, nor two accounts that one person made: else one person could be two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, cast, func, null, select, true, union_all

from govern import errors
from govern.db import listed
from govern.identity import activation, federation, recovery, roles
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, CompoundSelect
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


def signature(by: Principal) -> str:
    """Who someone is across sessions: `sub_…`, `int_…` or `operator:root`."""
    return by.name or by.id


@dataclass(frozen=True)
class Making:
    """Who made, promoted, recovered or linked some accounts, and the accounts of those in turn."""

    makers: dict[str, set[str]]

    def obstacle(self, first: str, by: Principal) -> str:
        """Why the caller cannot be the second person for one of these; empty if they can."""
        second = signature(by)
        if first == second:
            return "You asked for this yourself: someone else must approve it."
        mine, theirs = self._lineage(second), self._lineage(first)
        # A person's account; who sits at the machine made the first ones, and has the database.
        one_made_both = any(who.startswith("sub_") for who in mine & theirs)
        if second in theirs or first in mine or one_made_both:
            return (
                "One of you created, recovered or promoted the other's account, or one person "
                "did so for both: a third person must approve it."
            )
        return ""

    def of(self, who: str) -> set[str]:
        """Who made an account themselves."""
        return self.makers.get(who, set())

    def _lineage(self, who: str) -> set[str]:
        """Someone with all who made their account, and the makers of those."""
        found, new = {who}, {who}
        while new:
            new = set().union(*(self.of(each) for each in new)) - found
            found |= new
        return found


def making(session: OrmSession, people: Iterable[str], *, by: Principal) -> Making:
    """How the accounts of some people and the caller's were made: in one statement."""
    json_list, elements = func.json_group_array, func.json_each
    if session.get_bind().dialect.name == "postgresql":
        json_list, elements = func.jsonb_agg, func.jsonb_array_elements_text
    among = listed(session, sorted({*people, signature(by)}))
    lineage = select(
        cast(among.c.value, String()).label("who"), cast(null(), String()).label("made")
    ).cte("lineage", recursive=True)
    # Those of each account as a list, so that every table is asked for that account by its index.
    own = _makers(lineage.c.who).subquery()
    together = select(json_list(own.c.maker)).correlate(lineage).scalar_subquery()
    maker = elements(together).table_valued("value")
    lineage = lineage.union(
        select(cast(maker.c.value, String()), lineage.c.who)
        .select_from(lineage)
        .join(maker, true())
        .where(maker.c.value.is_not(None))
    )
    found: dict[str, set[str]] = {}
    for who, made in session.execute(select(lineage).where(lineage.c.made.is_not(None))):
        if who != made:
            found.setdefault(made, set()).add(who)
    return Making(found)


def obstacles(session: OrmSession, askers: Iterable[str], *, by: Principal) -> dict[str, str]:
    """Why the caller cannot be the second person for those who asked, by who did.

    Whoever is not a key of what is returned can be paired with.
    """
    askers = set(askers)
    known = making(session, askers, by=by)
    found = {asked_by: known.obstacle(asked_by, by) for asked_by in askers}
    return {asked_by: sentence for asked_by, sentence in found.items() if sentence}


def pair(session: OrmSession, asked_by: str, by: Principal) -> None:
    """Refuse two people who are one, or of whom one made the other."""
    for sentence in obstacles(session, [asked_by], by=by).values():
        raise errors.SamePerson(sentence)


def _makers(account: ColumnElement[str]) -> CompoundSelect[Any]:
    """Who created, invited, promoted, linked or recovered an account."""
    recovered = recovery.Recovery.outcome == recovery.USED
    return union_all(
        *(
            select(maker.label("maker")).where(whose == account, counts).correlate(account.table)
            for whose, maker, counts in (
                (Subject.id, Subject.created_by, true()),
                (roles.RoleAssignment.subject_id, roles.RoleAssignment.assigned_by, true()),
                (activation.Activation.subject_id, activation.Activation.issued_by, true()),
                (federation.IdentityLink.subject_id, federation.IdentityLink.linked_by, true()),
                (recovery.Recovery.subject_id, recovery.Recovery.asked_by, recovered),
                (recovery.Recovery.subject_id, recovery.Recovery.approved_by, recovered),
            )
        )
    )

"""Who can be the second person: nobody who is the first, or whose account is of one making with it.

Whoever asks cannot approve, nor can an account that the asker created, recovered or promoted, nor
the other way round, nor two accounts that one person made: else one person could be two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, true, union

from govern import errors
from govern.db import listed
from govern.identity import activation, federation, recovery, roles
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


def signature(by: Principal) -> str:
    """Who someone is across sessions: `sub_…`, `int_…` or `operator:root`."""
    return by.name or by.id


def obstacles(session: OrmSession, askers: Iterable[str], *, by: Principal) -> dict[str, str]:
    """Why the caller cannot be the second person for those who asked: a statement a generation.

    Whoever is not a key of what is returned can be paired with.
    """
    second = signature(by)
    others = set(askers)
    makers = _makers(session, others | {second})
    mine = _lineage(makers, second)
    found = {}
    for asked_by in others:
        theirs = _lineage(makers, asked_by)
        # A person's account; who sits at the machine made the first ones, and has the database.
        one_made_both = any(who.startswith("sub_") for who in mine & theirs)
        if asked_by == second:
            found[asked_by] = "You asked for this yourself: someone else must approve it."
        elif second in theirs or asked_by in mine or one_made_both:
            found[asked_by] = (
                "One of you created, recovered or promoted the other's account, or one person "
                "did so for both: a third person must approve it."
            )
    return found


def makers(session: OrmSession, subject_id: str) -> set[str]:
    """Who created, invited, promoted or recovered an account."""
    return _made_by(session, {subject_id}).get(subject_id, set())


def pair(session: OrmSession, asked_by: str, by: Principal) -> None:
    """Refuse two people who are one, or of whom one made the other."""
    for sentence in obstacles(session, [asked_by], by=by).values():
        raise errors.SamePerson(sentence)


def _lineage(makers: dict[str, set[str]], who: str) -> set[str]:
    """Someone with all who made their account, and the makers of those."""
    found, new = {who}, {who}
    while new:
        new = set().union(*(makers.get(each, set()) for each in new)) - found
        found |= new
    return found


def _makers(session: OrmSession, people: set[str]) -> dict[str, set[str]]:
    """Who made, promoted, recovered or linked the accounts of some people, and of those in turn."""
    found: dict[str, set[str]] = {}
    asked: set[str] = set()
    while people - asked:
        new = _made_by(session, people - asked)
        asked |= people
        found |= new
        # Only accounts have makers; `system` and who sits at the machine are none.
        people = {who for who in set().union(*new.values()) if who.startswith("sub_")}
    return found


def _made_by(session: OrmSession, people: set[str]) -> dict[str, set[str]]:
    among = listed(session, sorted(people))
    recovered = recovery.Recovery.outcome == recovery.USED
    made = union(
        *(
            select(whose, maker).join(among, among.c.value == whose).where(counts)
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
    found: dict[str, set[str]] = {}
    for who, maker in session.execute(made):
        if who != maker:
            found.setdefault(who, set()).add(maker)
    return found

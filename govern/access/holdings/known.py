"""Whom a caller may know of, how people are found by what is typed, and pages of what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, false, func, or_, select, union_all
from sqlalchemy.orm import aliased

from govern.access.grants import Grant
from govern.db import among_few
from govern.identity.roles import RoleAssignment
from govern.identity.subjects import Membership, Organisation, Subject
from govern.identity.words import SubjectWord, words

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement, CompoundSelect, Select
    from sqlalchemy.orm import Session as OrmSession


PAGE = 25
PEOPLE_LOOKED_AT = 5_000  # people whom a page goes through to find some
_FEW = 5000
_MOST_WORDS = 16  # of a name that anybody types: each is looked for by itself
_FURTHEST = "\U0010ffff"  # sorts after every text with the same beginning


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some rows of a list, and the key after which the next ones are; None when that is all."""

    rows: list[Any]
    after: str | None


def known_to(clients: frozenset[str]) -> ColumnElement[bool]:
    """Whoever holds or held a grant of some clients, or a role over one of them.

    The first one of each is looked up: of EXISTS PostgreSQL would read all that the clients have.
    """
    return or_(
        *(
            select(table.id)
            .where(table.subject_id == Subject.id, table.client_id.in_(clients))
            .correlate(Subject)
            .limit(1)
            .scalar_subquery()
            .is_not(None)
            for table in (Grant, RoleAssignment)
        )
    )


def few_known(session: OrmSession, clients: frozenset[str]) -> bool:
    """Whether some clients have so few grants that these are walked, and not all people."""
    return few(session, select(Grant.id).where(Grant.client_id.in_(clients)))


def few(session: OrmSession, found: Select[Any] | CompoundSelect[Any]) -> bool:
    """Whether so few rows are found that a page reads them all rather than walk."""
    some = found.limit(_FEW + 1).subquery()
    number: int = session.execute(select(func.count()).select_from(some)).scalar_one()
    return number <= _FEW


def last_of(
    session: OrmSession, window: Select[Any], most: int, *order: str, backwards: bool = False
) -> tuple[Any, bool]:
    """The last row of some in an order of their columns; whether there are as many as looked for.

    A page is bounded by it as by a range: PostgreSQL would join rows that are named with all.
    """
    rows = window.limit(most).subquery()
    number = select(func.count()).select_from(rows).scalar_subquery()
    behind = select(rows, (number >= most).label("further"))
    ends = (rows.c[name].asc() if backwards else rows.c[name].desc() for name in order)
    last = session.execute(behind.order_by(*ends).limit(1)).first()
    return last, bool(last is not None and last.further)


def known_ids(clients: frozenset[str], *, most: int | None = None) -> CompoundSelect[str]:
    """The ids of whom `known_to` tells, for few; or of the `most` of each who came last."""
    return union_all(
        *(
            select(newest.c.subject_id)
            for table in (Grant, RoleAssignment)
            for newest in [
                select(table.subject_id)
                .where(table.client_id.in_(clients))
                .order_by(*([] if most is None else [table.id.desc()]))
                .limit(most)
                .subquery()
            ]
        )
    )


def matching(typed: str) -> ColumnElement[bool]:
    """Id or address begin with what was typed, or each of its words begins a word of the name.

    Letters of any case, and of names with or without accents. All whom it finds are looked up by
    indexes.
    """
    return _sought(typed, None)[0]


def sought(session: OrmSession, typed: str) -> tuple[ColumnElement[bool], bool]:
    """The same for a page, and whether these are few, whom an index finds.

    Of very many a page is sooner full by looking at each from its first row on.
    """
    return _sought(typed, session)


def employed(session: OrmSession | None, name: str) -> tuple[ColumnElement[bool], bool]:
    """Whether someone belongs to a firm, by name; and for a page (`session`) whether these are few.

    Of rows that are joined with `Organisation`.
    """
    theirs = (
        select(Membership.subject_id)
        # As a range it is read along its index: see `overview.organisations`.
        .join(Organisation, Membership.organisation_id.between(Organisation.id, Organisation.id))
        .where(Organisation.name == name, Membership.ended_at.is_(None))
        .correlate(None)
    )
    if session is not None and few(session, theirs):
        return among_few(session, Subject.id, theirs), True
    return Organisation.name == name, False


def _sought(typed: str, paged: OrmSession | None) -> tuple[ColumnElement[bool], bool]:
    typed = typed.strip()
    ids, parts = _beginning(typed), sorted(words(typed), key=len, reverse=True)
    named = 0 < len(parts) <= _MOST_WORDS
    found = [select(Subject.id).where(each) for each in ids]
    if named:
        first, *others = parts if paged is None else _rarest_first(paged, parts)
        several = (_called(word, SubjectWord.subject_id) for word in others)
        found.append(_holders(first).where(*several))
    if paged is None:
        return Subject.id.in_(union_all(*found)), False
    if few(paged, union_all(*found)):
        return among_few(paged, Subject.id, union_all(*found)), True
    called = and_(*(_called(word, Subject.id) for word in parts)) if named else false()
    return or_(*ids, called), False


def _beginning(typed: str) -> list[ColumnElement[bool]]:
    """Whose id or address begins so; apart, since each has an index of its own."""
    found = [begins(Subject.external_id, typed), begins(Subject.email, typed.lower())]
    if typed.upper() != typed:
        found.append(begins(Subject.external_id, typed.upper()))
    return found


def _holders(word: str) -> Select[str]:
    """The ids of those with a word in their name that begins so; of some twice."""
    return select(SubjectWord.subject_id).where(begins(SubjectWord.word, word))


def _rarest_first(session: OrmSession, sought: list[str]) -> list[str]:
    if len(sought) == 1:
        return sought
    numbers = (
        select(func.count()).select_from(_holders(word).limit(_FEW + 1).subquery())
        for word in sought
    )
    counted = session.execute(select(*(number.scalar_subquery() for number in numbers))).one()
    return [word for _, word in sorted(zip(counted, sought, strict=True))]


def _called(word: str, subject_id: Any) -> ColumnElement[bool]:
    """Whether a word of somebody's name begins so."""
    other = aliased(SubjectWord)
    return (
        exists()
        .where(other.subject_id == subject_id, begins(other.word, word))
        .correlate_except(other)
    )


def begins(column: Any, value: str) -> ColumnElement[bool]:
    """A range rather than LIKE: both databases find it by the index."""
    return and_(column >= value, column < value + _FURTHEST)

"""The list of organisations; who sees some clients alone sees those whose people are known there.

Neither a firm's people nor a client's grants soon tell that nobody is of both. So a page takes so
many steps: of a firm from one of its people to the next who holds or held something there, and from
there to the next of its people; then to the next firm by name. It ends where it took them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import String, and_, case, cast, func, literal, or_, select, tuple_
from sqlalchemy.orm import aliased

from govern import errors
from govern.access.clients import Project
from govern.access.grants import Grant
from govern.access.lists.engine import List
from govern.access.lists.places import STATES, equals, holds, state_of
from govern.identity.subjects import Membership, Organisation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import CTE, ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.lists.engine import Place, Walk

# What a step is about to do: look whether one of the firm's people is known there, leap from them
# to the next who is, or go on to the next of the firm's people. A firm is done with once found.
_TRY, _LEAP, _GO_ON, _FOUND = range(4)

_STATE = state_of([], Organisation.id)


def _firms(columns: Sequence[Any]) -> Select[Any]:
    return select(*columns).select_from(Organisation)


def _employing(clients: frozenset[str]) -> ColumnElement[bool]:
    """Firms whose people hold or held something there."""
    people = select(Grant.subject_id).where(Grant.client_id.in_(clients))
    return Organisation.id.in_(
        select(Membership.organisation_id).where(
            Membership.ended_at.is_(None), Membership.subject_id.in_(people)
        )
    )


def _walk(session: OrmSession, walk: Walk) -> tuple[list[str], Place | None]:
    """The firms of `_employing` among those wanted; three steps or more always lead further.

    The place where it ended is one among a firm's people, and the firm: empty, behind all of them.
    It names nobody whom the reader may not know of, and of a firm its id alone.
    """
    steps = _steps(walk, _first(session, walk))
    rows = session.execute(select(steps).order_by(steps.c.number)).all()
    found = [row.firm for row in rows if row.turn == _FOUND]
    if len(rows) < walk.most:
        return found, None
    end = next(row for row in reversed(rows) if row.at is None or row.turn in (_GO_ON, _FOUND))
    return found, ((end.at or "") if end.turn == _GO_ON else "", end.firm)


def _first(session: OrmSession, walk: Walk) -> Select[Any]:
    """The first step."""
    at, firm = walk.after or ("", "")
    name = session.scalar(select(Organisation.name).where(Organisation.id == firm))
    if walk.after and name is None:
        raise errors.Invalid("That page is of another list.", field="after")
    firms = select(Organisation.id).correlate(None)
    firms = firms.where(Organisation.id == firm) if at else _next(walk, firms, name)
    # Of any length, as PostgreSQL takes the least of several ids to be.
    one = cast(_one_of(Organisation, literal(at)), String)
    columns: list[Any] = [
        Organisation.name.label("name"), Organisation.id.label("firm"), one.label("at"),
        literal(_TRY).label("turn"), literal(1).label("number"),
    ]  # fmt: skip
    return select(*columns).where(Organisation.id == firms.scalar_subquery())


def _steps(walk: Walk, first: Select[Any]) -> CTE:
    """So many steps, from the first one on."""
    steps = first.cte("steps", recursive=True)
    step, firm = steps.c, aliased(Organisation)
    done = or_(step.at.is_(None), step.turn == _FOUND)
    further = _next(walk, select(Organisation.name), step.name).correlate(steps)
    anew = or_(done, step.turn == _GO_ON)
    at = case(
        # From a column, which `at` alone is, SQLite would not look up the pair.
        (anew, _one_of(firm, case((done, ""), else_=step.at), steps)),
        (step.turn == _LEAP, _next_known(walk, steps)),
        else_=step.at,
    )
    turn = case(
        (anew, _TRY),
        (step.turn == _LEAP, _GO_ON),
        (_known(walk, steps, firm), _FOUND),
        else_=_LEAP,
    )
    return steps.union_all(
        select(firm.name, firm.id, at, turn, step.number + 1)
        .select_from(steps)
        .join(firm, firm.name == case((done, further.scalar_subquery()), else_=step.name))
        .where(step.number < walk.most)
    )


def _next(walk: Walk, firms: Select[Any], name: Any) -> Select[Any]:
    """The one behind a name; the first, where there is none."""
    order = Organisation.name
    if name is not None:
        firms = firms.where(order < name if walk.backwards else order > name)
    return firms.where(*walk.wanted).order_by(order.desc() if walk.backwards else order).limit(1)


def _one_of(firm: Any, first: Any, *outer: Any) -> Any:
    """Who of a firm's people comes first from an id on; those who left it count here.

    As a pair, for told that the firm is equal PostgreSQL takes it for a large one, and goes through
    everybody to find somebody of a small one.
    """
    pair = Membership.organisation_id, Membership.subject_id
    return (
        select(Membership.subject_id)
        .where(tuple_(*pair) >= tuple_(firm.id, first), Membership.organisation_id <= firm.id)
        .order_by(*pair)
        .limit(1)
        .correlate(firm, *outer)
        .scalar_subquery()
    )


def _next_known(walk: Walk, steps: CTE) -> Any:
    """Who comes next behind a step's person of those who hold or held something there."""
    of_project = (
        select(Grant.subject_id)
        .where(Grant.project_id == Project.id, Grant.subject_id > steps.c.at)
        .order_by(Grant.subject_id)
        .limit(1)
        .correlate(Project, steps)
    )
    first = func.min(of_project.scalar_subquery())
    return (
        select(first).where(Project.client_id.in_(walk.clients)).correlate(steps).scalar_subquery()
    )


def _known(walk: Walk, steps: CTE, firm: Any) -> ColumnElement[bool]:
    """Whether a step's person is of the firm now, and holds or held something there.

    The first row of each is looked up: of EXISTS PostgreSQL would read all that the clients have.
    """
    who = steps.c.at
    of_firm = select(Membership.id).where(
        Membership.organisation_id == firm.id, Membership.subject_id == who,
        Membership.ended_at.is_(None),
    )  # fmt: skip
    there = select(Grant.id).where(Grant.subject_id == who, Grant.client_id.in_(walk.clients))
    return and_(
        *(
            found.limit(1).correlate(steps, firm).scalar_subquery().is_not(None)
            for found in (of_firm, there)
        )
    )


ORGANISATIONS = List(
    name="organisations",
    permission="subject:read",
    key=Organisation.id,
    columns={"organisation": Organisation.name, "state": _STATE},
    query=_firms,
    sorts={"organisation": Organisation.name},
    filters={"q": holds(Organisation.name), "state": equals(_STATE)},
    choices={"state": STATES[:-1]},
    visible=_employing,
    walk=_walk,
)

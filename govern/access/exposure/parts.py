"""The statements that put the rule to grants, in two parts: what names people, and the rest.

One finds the instants at which a clause can turn, the other whether the rule permitted it at an
instant. Either part is asked alone, or both in one statement.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, literal, select, union_all

from govern.access import grants
from govern.access.clients import Client, Project
from govern.access.grants import Grant, Moment
from govern.access.suspension_tables import Scope
from govern.clock import Utc
from govern.identity.subjects import Subject
from govern.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import FromClause

    from govern.access.modes import Effect

SHARED, NAMED = range(2)  # the parts
_NAMING = (Scope.SUBJECT, Scope.PEOPLE)
_COLUMNS: dict[str, Any] = {
    "grant_id": String(), "action": String(), "dataset": String(), "part": Integer(),
}  # fmt: skip


@cache
def turning(effect: Effect, *, on_dataset: bool, only: int | None) -> Prepared:
    """Rows of a part, a grant's id and five instants (or nulls): see `grants.turning`."""

    def ask(asked: FromClause, part: int) -> Any:
        found = grants.turning(
            asked.c.grant_id, asked.c.action, effect,
            dataset=asked.c.dataset if on_dataset else None,
            scopes=_NAMING if part == NAMED else None,
        ).subquery()  # fmt: skip
        return select(literal(part).label("part"), *found.c)

    return Prepared(_COLUMNS, lambda asked: _each(asked, only, ask), once=True)


@cache
def permits(effect: Effect, *, on_dataset: bool, only: int | None) -> Prepared:
    """The number of each row asked and whether it was permitted, its grant's own window apart."""

    def ask(asked: FromClause, part: int) -> Any:
        moment = Moment(at=asked.c.at)
        dataset = asked.c.dataset if on_dataset else None
        clauses = grants.rule(asked.c.action, effect, moment, dataset=dataset)
        people = [each for each in clauses if each.reason == Scope.SUBJECT]
        own = {clause.reason for clause in grants.open_(moment)}
        rest = [each for each in clauses if each.reason not in {Scope.SUBJECT, *own}]
        return (
            select(asked.c.n, grants.all_of(people if part == NAMED else rest))
            .select_from(asked)
            .join(Grant, Grant.id == asked.c.grant_id)
            .join(Subject, Subject.id == Grant.subject_id)
            .join(Project, Project.id == Grant.project_id)
            .join(Client, Client.id == Grant.client_id)
        )

    columns = _COLUMNS | {"at": Utc()}
    return Prepared(columns, lambda asked: _each(asked, only, ask), once=True)


def _each(asked: FromClause, only: int | None, ask: Callable[[FromClause, int], Any]) -> Any:
    """Ask the one part, or both, each about its own rows."""
    if only is not None:
        return ask(asked, only)
    own = [
        select(asked).where(asked.c.part == part).subquery(f"part_{part}")
        for part in (SHARED, NAMED)
    ]
    return union_all(*(ask(rows, part) for part, rows in enumerate(own)))

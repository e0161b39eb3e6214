"""Plain permits on PostgreSQL: found and recorded by one statement, which is half the work of two.

Most questions are permitted, by a grant that no suspension overlies. For that no reason has to be
found, so the statement that reads it knows what will be told, and records it. Of whatever else is
asked, or is refused, nothing is recorded here: `deciding` finds out why.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, String, func, insert, literal, not_, null, or_, select
from sqlalchemy.dialects.postgresql import distinct_on

from govern.access.evaluation.callers import ACTION_KEPT
from govern.access.evaluation.facts import FACTS, ready, shaped, statement_of
from govern.access.evaluation.questions import Decision
from govern.access.grants import all_of
from govern.audit.decisions import Access, AccessKind
from govern.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, FromClause, Select

    from govern.access.evaluation.facts import Shape
    from govern.access.evaluation.questions import Question
    from govern.audit.decisions import Writer
    from govern.principal import Principal


def permit(
    connection: Connection,
    writer: Writer,
    asked: Sequence[tuple[Question, Principal, frozenset[str] | None, int | None]],
) -> dict[int, Decision]:
    """Those of the questions, by their places, that are plainly permitted, durably recorded.

    Each comes with who asks, the clients that they may ask about (None: all), and how long the
    house's log was when that was found out (None: at any length): where it is longer by now,
    nothing is permitted. A `DBAPIError` leaves open what of it was recorded.
    """
    groups: dict[Shape, tuple[list[int], list[tuple[object, ...]]]] = {}
    for place, (question, by, clients, house) in enumerate(asked):
        shape, given = shaped(question, brief=True)
        if shape is None or shape.past or shape.worked or len(question.action) > ACTION_KEPT:
            continue
        places, rows = groups.setdefault(shape, ([], []))
        places.append(place)
        rows.append((*given, by.id, by.session, _listed(clients), _listed(by.projects), house))
    found: dict[int, Decision] = {}
    for shape, (places, rows) in groups.items():
        ready(connection, shape)
        for row_id, row in writer.recorded(partial(_record, connection, shape, rows)):
            found[places[row[1] - 1]] = Decision._make((True, "permitted", *row[2:], row_id))
    return found


def _record(
    connection: Connection, shape: Shape, asked: list[tuple[object, ...]], writer: str, first: int
) -> list[tuple[Any, ...]]:
    """Find and record those of one shape that are permitted, by the numbers of their rows."""
    return sorted(_prepared(shape).rows(connection, [(*row, writer, first) for row in asked]))


def _listed(ids: frozenset[str] | None) -> str | None:
    return None if ids is None else ",".join(sorted(ids))


@cache
def _prepared(shape: Shape) -> Prepared:
    columns: dict[str, Any] = dict.fromkeys(("subject", "code", "action"), String())
    if shape.own_type:
        columns["type"] = String()
    columns |= dict.fromkeys(("principal", "session", "clients", "projects"), String())
    columns |= {"house": BigInteger(), "writer": String(), "first": BigInteger()}
    return Prepared(columns, lambda asked: _recording(shape, asked))


def _recording(shape: Shape, asked: FromClause) -> Select[Any]:
    """A row for each permit: its own number, its question's, and what a decision tells.

    Who may know of it is `permissions.knows`, put to the database.
    """
    facts, clauses = statement_of(shape, asked)
    (
        n, subject, is_subject, resource, is_resource, client, project, grant, as_of, house, now,
        overlaid,
    ) = list(facts.selected_columns)[:FACTS]  # fmt: skip
    permits = (
        facts.with_only_columns(
            n.label("n"), as_of.label("as_of"), house.label("house_as_of"),
            subject.label("subject_id"), client.label("client_id"), project.label("project_id"),
            resource.label("resource_id"), grant.label("grant_id"), now.label("at"),
            *(asked.c[name] for name in ("action", "principal", "session", "writer", "first")),
        )
        .where(
            grant.is_not(None), is_subject, is_resource, all_of(clauses), not_(overlaid),
            or_(asked.c.house.is_(None), house == asked.c.house),
            or_(asked.c.clients.is_(None), _among(asked.c.clients, client)),
            or_(
                asked.c.projects.is_(None),
                _among(asked.c.projects, project),
                _among(asked.c.projects, client),
            ),
        )
        .ext(distinct_on(n))
        .order_by(n, grant)
        .cte("permits")
    )  # fmt: skip
    number = permits.c.first + func.row_number().over(order_by=permits.c.n) - 1
    made = select(permits, number.label("number")).cte("made")
    told = made.c
    row = {
        "writer": told.writer, "number": told.number, "at": told.at,
        "kind": literal(AccessKind.DECISION.value), "principal": told.principal,
        "session_id": told.session, "subject_id": told.subject_id, "client_id": told.client_id,
        "resource_id": told.resource_id, "action": told.action, "permit": literal(True),  # noqa: FBT003 - a value
        "reason": literal("permitted"), "as_of": told.as_of, "house_as_of": told.house_as_of,
        "worked_at": null(), "detail": null(),
    }  # fmt: skip
    recorded = insert(Access).from_select(list(row), select(*row.values())).returning(Access.number)
    return select(
        told.number, told.n, told.as_of, told.house_as_of, told.subject_id, told.client_id,
        told.project_id, told.resource_id, told.grant_id, told.at,
    ).add_cte(recorded.cte("recorded"))  # fmt: skip


def _among(ids: ColumnElement[str], one: ColumnElement[str]) -> ColumnElement[bool]:
    return one == func.any(func.string_to_array(ids, ","))

"""Lists of people and of grants taken out whole: each leaves its row in the access log first.

The row says which list and which filters were set, and never what was typed to find somebody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern import clock, permissions
from govern.access.holdings import given
from govern.access.holdings import people as known
from govern.audit import decisions, leaf
from govern.audit.decisions import AccessKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from govern.access.clients import Project
    from govern.access.holdings.given import Holding
    from govern.access.holdings.known import Page
    from govern.access.holdings.people import Person
    from govern.db import Database
    from govern.principal import Principal

_AT_ONCE = 1000


def export_people(
    database: Database, filters: dict[str, Any], *, by: Principal
) -> Iterator[Person]:
    """Everybody whom `people` lists under these filters (its own arguments), by external id."""
    permissions.require_some(by, "subject:read")
    permissions.require_fresh(by, now=clock.utcnow())
    _note(database, "people", filters, by=by)
    with database.reading() as session:
        yield from _all(
            lambda after: known.people(session, **filters, after=after, limit=_AT_ONCE, by=by)
        )


def export_grants(
    database: Database, project: Project, filters: dict[str, Any], *, by: Principal
) -> Iterator[Holding]:
    """Every grant on a project that `search` lists under these filters, in its order."""
    permissions.require_some(by, "grant:read")
    permissions.require_fresh(by, now=clock.utcnow())
    _note(database, "grants", filters, project=project, by=by)
    with database.reading() as session:
        yield from _all(
            lambda after: given.search(
                session, project=project, **filters, after=after, limit=_AT_ONCE, by=by
            )
        )  # fmt: skip


def _all(page: Callable[[str], Page]) -> Iterator[Any]:
    after: str | None = ""
    while after is not None:
        found = page(after)
        yield from found.rows
        after = found.after


def _note(
    database: Database, what: str, filters: dict[str, Any], *, project: Project | None = None,
    by: Principal,
) -> None:  # fmt: skip
    """`RecordFailed` when the row cannot be written: then nothing is given out."""
    set_ = {name: value for name, value in filters.items() if value and name != "query"}
    detail = {"form": "csv", "list": what, "filter": set_, "searched": bool(filters.get("query"))}
    decisions.write(database, [{
        "at": clock.utcnow(), "kind": AccessKind.EXPORT, "principal": by.id,
        "session_id": by.session, "subject_id": None,
        "client_id": project.client_id if project else None,
        "resource_id": project.id if project else None,
        "detail": leaf.canonical(detail).decode(),
    }])  # fmt: skip

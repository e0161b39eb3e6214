"""AuthZEN's searches (§8): who may do this there, where may they do it, what may they do there.

Who or what is unknown, or of an unknown type, gives an empty list and no error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from govern.access import paging, searching
from govern.access.modes import Effect, effect_of
from govern.access.paging import Page
from govern.web.authzen.shapes import (
    ActionSearch,
    Paging,
    ResourceSearch,
    SubjectSearch,
    person,
    read,
    worked_at,
)

if TYPE_CHECKING:
    from datetime import datetime

    from govern.access.paging import Found
    from govern.db import Database
    from govern.principal import Principal

    Answer = dict[str, Any]


def subjects(database: Database, body: bytes, *, by: Principal) -> Answer:
    """Who may do this there (§8.4), by external id."""
    asked = read(SubjectSearch, body)
    found = searching.subjects(
        database,
        # Nobody of another type can be found anywhere: ask about no resource at all.
        kind=asked.resource["type"] if asked.subject.type == "user" else "",
        code=asked.resource["id"],
        action=asked.action["name"],
        worked_at=_hours(asked.action["name"], asked.context),
        page=_page(asked.page),
        by=by,
    )
    return _told(found, [{"type": "user", "id": name} for name in found.names])


def resources(database: Database, body: bytes, *, by: Principal) -> Answer:
    """Where they may do this (§8.5): projects, or datasets under the type that was asked for."""
    asked = read(ResourceSearch, body)
    found = searching.resources(
        database,
        person(asked.subject),
        action=asked.action["name"],
        kind=asked.resource.type,
        worked_at=_hours(asked.action["name"], asked.context),
        page=_page(asked.page),
        by=by,
    )
    return _told(found, [{"type": asked.resource.type, "id": name} for name in found.names])


def actions(database: Database, body: bytes, *, by: Principal) -> Answer:
    """What they may do there (§8.6); `context.time` counts for `log_hours` alone."""
    asked = read(ActionSearch, body)
    found = searching.actions(
        database,
        person(asked.subject),
        kind=asked.resource["type"],
        code=asked.resource["id"],
        worked_at=worked_at(asked.context),
        page=_page(asked.page),
        by=by,
    )
    return _told(found, [{"name": name} for name in found.names])


def _hours(action: str, context: dict[str, Any]) -> datetime | None:
    return worked_at(context) if effect_of(action) is Effect.HOURS else None


def _page(asked: Paging) -> Page:
    limit = paging.USUAL if asked.limit is None else asked.limit
    return Page(token=asked.token, limit=limit)


def _told(found: Found, results: list[dict[str, str]]) -> Answer:
    return {"page": {"next_token": found.next_token, "count": len(results)}, "results": results}

"""Colleagues at their desks: signed in, with forms filled from the pages that they see."""

from __future__ import annotations

import re
from contextlib import contextmanager
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event

from govern.access import suspensions
from govern.audit import decisions
from govern.prepared import Prepared
from tests.factory import OPERATOR
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from govern.access.clients import Client, Project
    from tests.factory import World


def desk(
    app: Flask, world: World, role: str | None = "admin", *, client: Client | None = None
) -> Visitor:
    """A browser in which someone of a role is signed in (None: a contractor)."""
    person = world.subject() if role is None else world.staff(role, client=client)
    world.activate(person)
    return Visitor.of(app).seated(world, person)


def hidden(page: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, f"no field {name}"
    return unescape(found[1])


def told(page: str) -> str:
    """A page's words, without its marks."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def stopped(world: World, project: Project) -> bool:
    """Whether a suspension lies over a project itself."""
    with world.store.reading() as session:
        found = suspensions.reading.open_ones(session, by=OPERATOR)
    return suspensions.reading.strictest(found, project.id) is not None


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that any database was sent within the block, but for the rows that say so.

    Those too that are sent by the driver, past SQLAlchemy's events.
    """
    sent: list[str] = []

    def prepared(self: Prepared, *given: Any, rows: Any = Prepared.rows) -> Any:
        if self is not decisions._INSERT:
            sent.append("(prepared)")
        return rows(self, *given)

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "INSERT INTO access_row")):
            sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Prepared, "rows", prepared)
            yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)

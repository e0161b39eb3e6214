"""Decisions on a connection of their own: what the first pause needs is there before it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from govern.access.evaluation import Question
from govern.access.evaluation.facts import evaluate_many

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tests.factory import World


def _planned(connection: Connection) -> set[str]:
    """The statements that PostgreSQL has a plan of on this connection."""
    query = text("SELECT name FROM pg_prepared_statements WHERE generic_plans > 0")
    return {name for name in connection.execute(query).scalars() if name.startswith("govern_")}


def test_no_one_waits_at_the_first_pause_for_its_statement_to_be_planned(world: World) -> None:
    """It was planned then, which took a tenth of a second, for all who asked in the meantime."""
    person, project = world.subject(), world.project()
    world.grant(person, project)
    asked = [Question(person.external_id, "read", "project", project.code)]
    with world.store.asking() as connection:
        assert evaluate_many(connection, asked)[0].permit
        before = _planned(connection) if world.store.is_postgresql else set()
        world.suspend(f"project:{project.code}")
        assert evaluate_many(connection, asked)[0].reason == "project_paused"
        after = _planned(connection) if world.store.is_postgresql else set()
        assert after == before, "it was planned when the first was asked"

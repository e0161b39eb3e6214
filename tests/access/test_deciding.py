"""Decisions on connections of their own: the first pause's, and what is found and kept at once."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text

from govern import errors
from govern.access import offboarding
from govern.access.evaluation import Question, decide, evaluate
from govern.access.evaluation.callers import row_of
from govern.access.evaluation.facts import evaluate_many
from govern.access.evaluation.granting import permit
from govern.access.modes import Mode
from govern.audit import decisions
from govern.audit.decisions import Access, Writer
from govern.db import Database
from tests.factory import OPERATOR

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


def test_a_plain_permit_is_what_the_rule_says_and_is_recorded_so(world: World) -> None:
    """By one statement where that can be: on SQLite the access log is apart."""
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    here, there = (
        world.project(code, client=client) for code, client in (("Heron", aster), ("Ibis", boreal))
    )
    paused, read_only = world.project("Kite", client=aster), world.project("Lark", client=aster)
    ada, bob, gone = (world.subject(name) for name in ("ada", "bob", "gone"))
    for project in (here, there, paused, read_only):
        world.grant(ada, project)
        world.grant(gone, project)
    world.dataset(here, "heron-audio")
    world.do(lambda session: offboarding.offboard(session, gone, reason="left", by=OPERATOR))
    world.suspend("project:Kite")
    world.suspend("project:Lark", mode=Mode.READ_ONLY)
    asked = [
        Question(who.external_id, action, kind, code)
        for who in (ada, bob, gone)
        for action in ("read", "annotate", "fly")
        for kind, code in (
            ("project", "Heron"), ("project", "Ibis"), ("project", "Kite"), ("project", "Lark"),
            ("project", "nowhere"), ("dataset", "heron-audio"),
        )
    ]  # fmt: skip
    with world.store.reading() as session:
        said = [evaluate(session, question) for question in asked]
    free = {at for at, one in enumerate(said) if one.permit and asked[at].code != "Lark"}
    assert len(free) >= 4
    here_alone = {at for at in free if said[at].client_id == aster.id}
    assert here_alone < free
    as_of = said[0].house_as_of
    assert as_of is not None
    within = replace(OPERATOR, projects=frozenset({here.id}))
    whole = replace(OPERATOR, projects=frozenset({boreal.id}))
    for by, known in ((OPERATOR, {here, there, read_only}), (within, {here}), (whole, {there})):
        ids = {project.id for project in known}
        for question, ruled in zip(asked, said, strict=True):
            told = decide(world.store, question, by=by)
            assert told.permit is (ruled.permit and ruled.project_id in ids)
    if not world.store.is_postgresql:
        return
    world.ask(ada, here)
    assert _one_statement_did_both(world)
    seen: set[str] = set()
    _kept(world, seen)
    for by, clients, house, expected in (
        (OPERATOR, None, None, free),
        (OPERATOR, None, as_of, free),
        (OPERATOR, None, as_of - 1, set()),
        (OPERATOR, frozenset({aster.id}), as_of, here_alone),
        (OPERATOR, frozenset(), as_of, set()),
        (within, None, as_of, here_alone),
        (whole, None, as_of, free - here_alone),
    ):
        given = [(one, by, clients, house) for one in asked]
        with world.store.asking() as connection:
            found = permit(connection, Writer(world.store), given)
        assert set(found) == expected
        for at, decision in found.items():
            assert decision[:-2] == said[at][:-2]
        kept = _kept(world, seen)
        assert [row.number for row in kept] == list(range(len(expected)))
        assert [_columns(row) for row in kept] == [
            row_of(asked[at], found[at], by) for at in sorted(found)
        ]


def _kept(world: World, seen: set[str]) -> list[Access]:
    """The rows of a writer that was not seen before."""
    with world.store.access_reading() as session:
        new = select(Access).where(Access.writer.not_in(seen)).order_by(Access.number)
        rows = list(session.execute(new).scalars())
    seen |= {row.writer for row in rows}
    return rows


def _columns(row: Access) -> tuple[object, ...]:
    """As `row_of` has them: all that come after the number."""
    return tuple(getattr(row, column.name) for column in Access.__table__.columns)[2:]


def _one_statement_did_both(world: World) -> bool:
    """Whether that is what some connection did last."""
    query = text("SELECT query FROM pg_stat_activity WHERE datname = current_database()")
    with world.store.asking() as connection:
        return any("WITH permits AS" in last for last in connection.execute(query).scalars())


def test_who_asks_while_the_key_cannot_be_read_is_told_and_the_next_is_answered(
    world: World,
) -> None:
    person, project = world.subject(), world.project()
    world.grant(person, project)
    key = world.store.settings.keys_dir / "web.key"
    decisions._key.cache_clear()
    key.chmod(0o640)
    try:
        with pytest.raises(errors.Unavailable):
            world.ask(person, project)
    finally:
        key.chmod(0o600)
    assert world.ask(person, project).permit


def test_a_database_that_was_asked_is_let_go_with_whoever_used_it(world: World) -> None:
    person, project = world.subject(), world.project()
    world.grant(person, project)
    database = Database(world.store.settings)
    question = Question(
        subject=person.external_id, action="read", kind="project", code=project.code
    )  # fmt: skip
    assert decide(database, question, by=OPERATOR).permit
    gone = threading.Event()
    weakref.finalize(database, gone.set)
    database.dispose()
    del database
    assert any(gone.wait(0.05) or gc.collect() < 0 for _ in range(200))

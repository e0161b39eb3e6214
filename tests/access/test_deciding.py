"""Decisions on connections of their own: the first pause's, and what is found and kept at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select, text

from govern.access import offboarding
from govern.access.evaluation import Question, evaluate
from govern.access.evaluation.facts import evaluate_many
from govern.access.evaluation.granting import permit
from govern.access.modes import Mode
from govern.audit.decisions import Access, Writer
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
    """On SQLite, where the access log is apart, no statement could do both."""
    if not world.store.is_postgresql:
        return
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
    seen: set[str] = set()
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
        assert sorted((row.subject_id, row.resource_id, row.action) for row in kept) == sorted(
            (said[at].subject_id, said[at].resource_id, asked[at].action) for at in expected
        )
        assert {(row.permit, row.reason) for row in kept} <= {(True, "permitted")}


def _kept(world: World, seen: set[str]) -> list[Access]:
    """The rows of a writer that was not seen before."""
    with world.store.access_reading() as session:
        new = select(Access).where(Access.writer.not_in(seen)).order_by(Access.number)
        rows = list(session.execute(new).scalars())
    seen |= {row.writer for row in rows}
    return rows

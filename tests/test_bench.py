"""The benches' worlds: they write rows by place, which a new column would put one out of step.

And of a bench that takes minutes, that it runs to its end, made small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import pages
from bench import world as benched
from govern.access import evaluation
from govern.access.evaluation import Question
from tests.factory import OPERATOR

if TYPE_CHECKING:
    from govern.db import Database
    from tests.factory import World


def test_who_was_written_as_barely_as_can_be_is_let_in(world: World) -> None:
    project = world.project()
    world.entitlement()
    (code,) = benched.grow(world.store, people=1, grants_each=1)
    asked = Question(subject=code, action="annotate", kind="project", code=project.code)
    assert evaluation.decide(world.store, asked, by=OPERATOR).permit


def test_pages_are_measured_by_waiting_and_by_work_the_slowest_first(
    store: Database, database: str
) -> None:
    found = pages.filled(store, 120, decisions=20)
    known = pages.pages(store, found.things)
    paths = dict(known)
    assert {"/people", "/log"} <= paths.keys()
    assert len(set(paths["/people/<subject_id>"])) > 1
    asked = [(name, paths[name]) for name in ("/people", "/pause/preview?subject={person}")]
    found.people.pop("auditor")
    figures = list(pages.measured(database, store, found, asked))
    told = {figure.name: figure for figure in figures}
    of_people = [told[f"admin: /people, {each}"] for each in ("p95", "p50", "processor")]
    assert all(one.value > 0 and one.n >= pages.ASKED and one.floor for one in of_people)
    waits = [figure.value for figure in figures if figure.name.endswith(", p95") and figure.floor]
    assert waits == sorted(waits, reverse=True)
    assert told["pages over 150 ms, p95"].n == len(waits)
    assert "contractor: /people, p95" not in told
    (most,) = (figure for figure in figures if figure.name.startswith("most statements, "))
    assert (0 < most.value <= 12, most.n) == (True, len(waits))
    named = [name for name in told if name.startswith("over 150 ms, p95: ")]
    assert len(named) == told["pages over 150 ms, p95"].value

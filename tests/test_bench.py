"""The benches' worlds: they write rows by place, which a new column would put one out of step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import world as benched
from govern.access import evaluation
from govern.access.evaluation import Question
from tests.factory import OPERATOR

if TYPE_CHECKING:
    from tests.factory import World


def test_who_was_written_as_barely_as_can_be_is_let_in(world: World) -> None:
    project = world.project()
    world.entitlement()
    (code,) = benched.grow(world.store, people=1, grants_each=1)
    asked = Question(subject=code, action="annotate", kind="project", code=project.code)
    assert evaluation.decide(world.store, asked, by=OPERATOR).permit

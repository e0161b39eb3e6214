"""Suspensions: one act, in force at its commit, lifted by two, restored exactly."""

from __future__ import annotations

from govern.access import evaluation
from govern.access.evaluation import Question
from tests.factory import OPERATOR, World


def ask(world: World, subject, project, action: str = "read") -> evaluation.Decision:
    return evaluation.decide(
        world.store,
        Question(subject=subject.external_id, action=action, kind="project", code=project.code),
        by=OPERATOR,
    )


def test_a_pause_denies_the_next_decision(world: World) -> None:
    project = world.project()
    subject = world.subject()
    world.grant(subject, project)
    assert ask(world, subject, project).permit
    world.suspend(f"project:{project.code}")
    denied = ask(world, subject, project)
    assert (denied.permit, denied.reason) == (False, "project_paused")

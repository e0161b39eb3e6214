"""A resume at a set time: two agree, someone confirms, and else nobody is let in by the clock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from govern import clock, errors
from govern.access import requests, suspensions
from govern.access.grants import Supposing
from tests.factory import OPERATOR, SECOND, T0, World, person, together

if TYPE_CHECKING:
    from datetime import datetime

    from govern.access.clients import Project
    from govern.access.requests import Request
    from govern.access.suspensions import Suspension
    from govern.db import Session
    from govern.identity.subjects import Subject
    from govern.principal import Principal

HOUR = timedelta(hours=1)
DUE = T0 + 48 * HOUR


class Scene:
    """A paused project with one person on it, and a resume that two set for `DUE`."""

    def __init__(self, world: World, code: str = "Kingfisher") -> None:
        self.world = world
        with clock.at(T0):
            self.project: Project = world.project(code)
            self.subject: Subject = world.subject()
            world.grant(self.subject, self.project)
            self.late = world.grant(world.subject(), self.project, starts=DUE - 2 * HOUR)
            self.pause: Suspension = world.suspend(f"project:{code}")
            self.request: Request = world.do(self.ask)
            world.approve(self.request, by=SECOND)

    def schedule(self) -> str:
        """The order in which what is due at one instant is done."""
        with self.world.store.reading() as session:
            found = suspensions.latest(session, self.pause.id)
        assert found is not None
        return found.id

    def row(self, session: Session) -> Suspension:
        return session.get_one(type(self.pause), self.pause.id)

    def count(self, session: Session) -> int:
        return suspensions.returning(session, Supposing(suspension=self.pause.id))

    def ask(self, session: Session) -> Request:
        return suspensions.ask_lift(
            session, self.row(session), number=self.count(session), at=DUE, by=OPERATOR
        )

    def confirm(self, *, by: Principal = OPERATOR) -> Any:
        return self.world.do(
            lambda s: suspensions.confirm(s, self.row(s), number=self.count(s), by=by)
        )

    def resume(self, at: datetime) -> Suspension:
        """What the worker does at an instant."""
        with clock.at(at):
            suspensions.resume_due(self.world.store)
        with self.world.store.reading() as session:
            return self.row(session)

    def told(self, *types: str) -> list[dict[str, Any]]:
        return self.world.entries(self.project.client_id, *types)


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


def test_it_happens_at_its_time_and_once_if_confirmed_and_the_log_names_all_three(
    scene: Scene,
) -> None:
    world, admin = scene.world, scene.world.staff()
    world.revoke(scene.late)
    with clock.at(T0 + HOUR):
        assert not world.permits(scene.subject, scene.project)
        with pytest.raises(errors.Invalid):  # too early to be anyone's word about the day after
            scene.confirm()
    with clock.at(DUE - HOUR):
        scene.confirm(by=person(admin))
    assert scene.resume(DUE - clock.TICK).ended_at is None
    assert scene.resume(DUE).ended_at is not None
    scene.resume(DUE + HOUR)
    (lifted,) = scene.told("suspension.lifted")
    assert lifted["actor"] == "system"
    assert set(lifted["commit"]) >= {"asked_by", "approved_by", "confirmed_by"}
    acts = ["request.opened", "resume.scheduled", "request.approved", "resume.confirmed"]
    assert [entry["type"] for entry in scene.told(*acts, "resume.missed")] == acts
    with clock.at(DUE + HOUR):
        assert world.permits(scene.subject, scene.project)


def test_without_a_confirmation_nobody_is_let_in_and_the_review_is_due(scene: Scene) -> None:
    row = scene.resume(DUE)
    assert row.ended_at is None
    assert row.review_by == DUE
    (missed,) = scene.told("resume.missed")
    assert missed["data"]["outcome"] == "unconfirmed"
    with clock.at(DUE + HOUR):
        assert not scene.world.permits(scene.subject, scene.project)
        with pytest.raises(errors.Unknown):
            scene.confirm()


@pytest.mark.parametrize("when", ["between asking and confirming", "after confirming", "too late"])
def test_nobody_returns_who_was_not_shown_to_those_who_asked_and_to_who_confirmed(
    scene: Scene, when: str
) -> None:
    if when == "between asking and confirming":
        with clock.at(DUE - HOUR), pytest.raises(errors.ReturnsUnlisted):
            scene.confirm()
        return
    if when == "too late":
        scene.world.revoke(scene.late)
    with clock.at(DUE - 3 * HOUR):
        scene.confirm()
    row = scene.resume(DUE + (2 * HOUR if when == "too late" else timedelta()))
    assert row.ended_at is None
    (missed,) = scene.told("resume.missed")
    assert missed["data"]["outcome"] == {"after confirming": "unlisted"}.get(when, "late")


def test_a_lift_by_hand_or_a_word_calls_it_off_and_at_once_only_one_of_both_lifts(
    scene: Scene,
) -> None:
    world = scene.world
    world.revoke(scene.late)
    with clock.at(DUE - HOUR):
        world.do(lambda s: suspensions.cancel(s, scene.row(s), by=OPERATOR))
        world.approve(world.do(scene.ask), by=SECOND)
        with pytest.raises(errors.AlreadyExists):
            world.do(scene.ask)
        scene.confirm()
        by_hand = world.ask_lift(scene.pause, by=OPERATOR)
    with clock.at(DUE):
        from govern.access.suspensions.scheduling import _due

        with world.store.reading() as session:
            waiting = suspensions.latest(session, scene.pause.id)
        assert waiting is not None
        results = together(
            world.store,
            lambda s: requests.approve(s, by_hand.id, number=by_hand.number, by=SECOND),
            lambda s: _due(s, waiting.id),
        )
        suspensions.resume_due(world.store)
    errs = [one for one in results if isinstance(one, Exception)]
    assert all(isinstance(one, errors.GovernError) for one in errs), errs
    assert len(scene.told("suspension.lifted")) == 1
    with world.store.reading() as session:
        row = suspensions.latest(session, scene.pause.id)
    assert row is not None
    assert row.outcome in {"lifted", "resumed"}
    assert world.write_particulars() == 2


def test_a_resume_that_fails_keeps_no_other_from_coming_in_time(scene: Scene) -> None:
    other = Scene(scene.world, "Osprey")
    first, second = sorted((scene, other), key=lambda one: one.schedule())
    with clock.at(DUE - HOUR):
        for one in (first, second):
            scene.world.revoke(one.late)
            one.confirm()
    with scene.world.store.writer.begin() as connection:  # the log that it needs is not there
        connection.execute(
            text("UPDATE log SET id = 'gone' WHERE id = :id"), {"id": first.project.client_id}
        )
    with clock.at(DUE), pytest.raises(errors.Unknown):
        suspensions.resume_due(scene.world.store)
    with scene.world.store.reading() as session:
        assert first.row(session).ended_at is None
        assert second.row(session).ended_at is not None

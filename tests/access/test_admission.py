"""The check of who comes back is done before anything is locked, and still nobody slips past it."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from govern import clock, errors
from govern.access import requests
from govern.db import Beforehand
from tests.factory import OPERATOR, SECOND, T0, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.access.requests import Request
    from govern.db import Session


def approve_while(world: World, asked: Request, happens: Callable[[], None]) -> int:
    """Approve; once the check is done, and before the act, something happens. Tells the runs."""
    runs: list[None] = []

    def work(session: Session) -> None:
        runs.append(None)
        try:
            requests.approve(session, asked.id, number=asked.number, by=SECOND)
        except Beforehand as first:
            checked = first.look

            def look(snapshot: Session) -> object:
                found = checked(snapshot)
                if len(runs) == 1:
                    happens()
                return found

            raise Beforehand(first.key, look) from None

    world.do(work)
    return len(runs)


def test_an_approval_starts_anew_only_for_what_could_bring_someone_else_back(world: World) -> None:
    client = world.client()
    project, other = (world.project(code, client=client) for code in ("Kingfisher", "Heron"))
    subject = world.subject()
    ended = world.grant(subject, project)
    world.grant(world.subject(), project)
    asked = world.ask_lift(world.suspend("project:Kingfisher"), by=OPERATOR)

    def elsewhere() -> None:
        world.grant(world.subject(), other)
        world.staff()

    assert approve_while(world, asked, elsewhere) == 2
    again = world.ask_lift(world.suspend("project:Kingfisher"), by=OPERATOR)
    assert approve_while(world, again, lambda: world.revoke(ended)) == 4
    assert not world.permits(subject, project)


@pytest.mark.parametrize("what", ["another lift", "a window"])
def test_who_comes_within_reach_between_the_check_and_the_act_is_not_let_in(
    world: World, what: str
) -> None:
    with ExitStack() as later:
        later.enter_context(clock.at(T0))
        project, subject = world.project("Kingfisher"), world.subject()
        minute = timedelta(minutes=1)
        world.grant(subject, project, starts=T0 + minute if what == "a window" else None)
        held = world.suspend(f"subject:{subject.external_id}")
        asked = world.ask_lift(world.suspend("project:Kingfisher"), by=OPERATOR)
        if what == "a window":
            world.lift(held)

        def happens() -> None:
            if what == "a window":
                later.enter_context(clock.at(T0 + 2 * minute))
            else:
                world.lift(held)

        with pytest.raises(errors.ReturnsUnlisted):
            approve_while(world, asked, happens)
        assert not world.permits(subject, project)

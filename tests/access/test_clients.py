"""Clients, projects, datasets: codes are free text, and unique."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from govern import errors
from govern.access import clients
from govern.audit.signer import Signer
from tests.factory import OPERATOR, World


@pytest.mark.parametrize("code", ["A B", "A+B", "Ünïcode", "a?b#c%2F"])
def test_any_code_gives_a_log_that_can_be_signed(world: World, code: str) -> None:
    # A space or a plus in the log's name once stopped the signing of every log after it.
    world.client(code)
    Signer(world.store.settings).sign(world.store)


@pytest.mark.parametrize("code", ["a/b", "/", ".", ".."])
def test_a_code_that_no_address_can_hold_is_refused(world: World, code: str) -> None:
    # Its pages could not be reached, nor its log.
    owner = world.client("ASTER")
    for take in (lambda: world.client(code), lambda: world.project(code, client=owner)):
        with pytest.raises(errors.Invalid, match="part of an address"):
            take()


def test_no_code_holds_what_nobody_sees_nor_is_the_house_s_own(world: World) -> None:
    project = world.project("Kingfisher", client=world.client("ASTER"))
    for take in (
        lambda: world.client("house"),
        lambda: world.client("\u200b"),
        lambda: world.project("\u202eabc"),
        lambda: world.do(lambda s: clients.create_dataset(s, project, "a\u2060b", by=OPERATOR)),
    ):
        with pytest.raises(errors.Invalid) as refusal:
            take()
        assert refusal.value.field == "code"


def test_a_code_is_taken_once(world: World) -> None:
    world.client("ASTER")
    with pytest.raises(errors.AlreadyExists):
        world.client("ASTER")


def test_of_many_who_take_a_code_at_once_one_has_it_and_the_others_are_told(world: World) -> None:
    # Two clients' projects share no log's head: the second once ended in the database's own error.
    owners = [world.client(f"C{number}") for number in range(6)]
    projects = [world.project(f"P{owner.code}", client=owner) for owner in owners]
    for take in (
        lambda _place: world.client("SAME"),
        lambda place: world.project("Same", client=owners[place]),
        lambda place: world.dataset(projects[place], "same"),
    ):
        with ThreadPoolExecutor(len(owners)) as pool:
            asked = [pool.submit(take, place) for place in range(len(owners))]
        ends = [one.exception() for one in asked]
        assert ends.count(None) == 1
        assert {type(end) for end in ends if end} == {errors.AlreadyExists}


def test_a_project_needs_a_known_client(world: World) -> None:
    with pytest.raises(errors.Unknown):
        world.do(lambda session: clients.client(session, "NONE"))

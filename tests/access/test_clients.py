"""Clients, projects, datasets: codes are free text, and unique."""

from __future__ import annotations

import pytest

from govern import errors
from govern.access import clients
from govern.audit.signer import Signer
from tests.factory import World


@pytest.mark.parametrize("code", ["A B", "A+B", "Ünïcode", "a/b"])
def test_any_code_gives_a_log_that_can_be_signed(world: World, code: str) -> None:
    # A space or a plus in the log's name once stopped the signing of every log after it.
    world.client(code)
    Signer(world.store.settings).sign(world.store)


def test_a_code_is_taken_once(world: World) -> None:
    world.client("ASTER")
    with pytest.raises(errors.AlreadyExists):
        world.client("ASTER")


def test_a_project_needs_a_known_client(world: World) -> None:
    with pytest.raises(errors.Unknown):
        world.do(lambda session: clients.client(session, "NONE"))

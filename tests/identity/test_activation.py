"""Activation: a one-time link, a password and a second factor, all or nothing."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from govern import clock, errors
from govern.identity import activation, authenticators, passwords, sessions
from govern.identity.activation import Activation
from govern.identity.authenticators import Totp
from tests.factory import OPERATOR, PASSWORD, T0, World, person, together

if TYPE_CHECKING:
    from govern.identity.subjects import Subject

START = T0 + timedelta(days=400)


def issue(world: World, subject: Subject) -> str:
    token: str = world.do(lambda s: activation.issue(s, subject, by=OPERATOR))
    return token


def complete(world: World, token: str, *, seed: str, code: str) -> Any:
    hashed = activation.hash_password(PASSWORD)
    return world.do(
        lambda s: activation.complete(s, token, password_hash=hashed, seed=seed, code=code)
    )


@pytest.fixture
def ready(world: World) -> tuple[Subject, str]:
    """Someone, and the seed that their app holds."""
    subject = world.subject()
    seed = world.seeds[subject.id] = authenticators.new_seed()
    return subject, seed


@pytest.mark.asvs("6.4.1")
def test_a_link_works_once(world: World, ready: tuple[Subject, str]) -> None:
    subject, seed = ready
    token = issue(world, subject)
    _, codes = complete(world, token, seed=seed, code=world.code(subject))
    assert all(re.fullmatch(r"(\w{4}-){4}\w{4}", code) for code in codes)
    with pytest.raises(errors.Unknown):
        complete(world, token, seed=seed, code=world.code(subject))
    assert sessions.begin(world.store, subject.email, PASSWORD)


def test_of_two_uses_of_a_link_at_once_exactly_one_wins(
    world: World, ready: tuple[Subject, str]
) -> None:
    subject, seed = ready
    token, code = issue(world, subject), world.code(subject)
    hashed = activation.hash_password(PASSWORD)
    results = together(
        world.store,
        *[lambda s: activation.complete(s, token, password_hash=hashed, seed=seed, code=code)] * 2,
    )
    assert sum(isinstance(result, tuple) for result in results) == 1
    assert sum(isinstance(result, errors.AlreadyEnded | errors.Unknown) for result in results) == 1
    with world.store.reading() as session:
        assert len(session.execute(select(Totp)).all()) == 1


def test_a_wrong_first_code_leaves_the_link_as_it_was(
    world: World, ready: tuple[Subject, str]
) -> None:
    subject, seed = ready
    token = issue(world, subject)
    with pytest.raises(errors.Invalid) as refusal:
        complete(world, token, seed=seed, code="000000")
    assert refusal.value.field == "first_code"
    complete(world, token, seed=seed, code=world.code(subject))


def test_the_code_that_enrolled_the_app_signs_nobody_in(
    world: World, ready: tuple[Subject, str]
) -> None:
    subject, seed = ready
    with clock.at(START):
        complete(world, issue(world, subject), seed=seed, code=world.code(subject))
        half = sessions.begin(world.store, subject.email, PASSWORD)
        with pytest.raises(errors.SignInFailed):
            world.do(lambda s: sessions.show_factor(s, half, world.code(subject)))


@pytest.mark.asvs("6.4.1")
def test_a_new_link_ends_the_one_before_and_each_ends_after_three_days(
    world: World, ready: tuple[Subject, str]
) -> None:
    subject, _ = ready
    with clock.at(START):
        first, second = issue(world, subject), issue(world, subject)
        with world.store.reading() as session:
            assert activation.find(session, second)[1].id == subject.id
            for wrong in (first, second + "x", ""):
                with pytest.raises(errors.Unknown):
                    activation.find(session, wrong)
    with clock.at(START + activation.LIFE), world.store.reading() as session:
        with pytest.raises(errors.Unknown):
            activation.find(session, second)
        assert second not in str(session.execute(select(Activation.token_hash)).all())


def test_a_roster_is_invited_but_for_who_is_active_or_has_left(world: World) -> None:
    people = [world.subject() for _ in range(3)]
    world.activate(people[1])
    ids = [subject.external_id for subject in people]
    with world.store.reading() as session:
        found = activation.not_yet_active(session, ids)
        assert [subject.id for subject in found] == [people[0].id, people[2].id]
        with pytest.raises(errors.Unknown):
            activation.not_yet_active(session, [*ids, "nobody"])


def test_an_auditor_invites_nobody(world: World, ready: tuple[Subject, str]) -> None:
    auditor = person(world.staff("auditor"), "auditor")
    with pytest.raises(errors.Forbidden):
        world.do(lambda s: activation.issue(s, ready[0], by=auditor))


@pytest.mark.parametrize("password", ["short", "x" * 11, "x" * 257, ""])
def test_a_password_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        activation.hash_password(password)
    assert refusal.value.field == "password"


@pytest.mark.asvs("6.2.8")
def test_a_password_is_the_same_however_its_letters_are_composed() -> None:
    stored = passwords.hashed("Ångström is enough")
    assert passwords.matches(stored, "A\u030angstro\u0308m is enough")
    assert not passwords.matches(stored, "angstrom is enough")
    assert not passwords.matches(stored, " Ångström is enough")
    assert not passwords.matches(None, "nobody has this password")

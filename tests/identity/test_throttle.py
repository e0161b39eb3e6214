"""Guessing: slowed down, ended at a hundred in a row, and no way to lock an owner out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from govern import clock, errors
from govern.access import offboarding
from govern.identity import account, activation, authenticators, resets, sessions, throttle
from govern.identity.resets import PasswordReset
from govern.identity.subjects import Subject
from tests.factory import OPERATOR, PASSWORD, T0, World, person

START = T0 + timedelta(days=400)  # after whatever the machine's clock says
WRONG = "wrong horse battery staple"
ANOTHER = "another four words here"


def someone(world: World) -> Subject:
    subject = world.subject()
    with clock.at(START - timedelta(minutes=1)):
        world.activate(subject)
    return subject


def browser_of(world: World, subject: Subject) -> str:
    found: str = world.do(lambda s: throttle.know(s, subject.id))
    return found


def guess(world: World, email: str, password: str = WRONG, browser: str = "") -> str:
    """How a try to sign in ends."""
    try:
        sessions.begin(world.store, email, password, browser=browser)
    except errors.SignInFailed as refusal:
        return refusal.message
    except errors.TooManyAttempts:
        return "wait"
    return "in"


def one_before_the_last(world: World, counted: throttle.Counter) -> None:
    """All but the last of a hundred wrong guesses in a row."""
    row = throttle.Throttle(key=counted.key, failures=throttle.MOST - 1, blocked_until=None)
    world.do(lambda s: s.merge(row))


def password_of(subject: Subject) -> throttle.Counter:
    return throttle.counter("password", subject.id, subject_id=subject.id)


@pytest.mark.asvs("6.3.1", "63B-3.2.2")
def test_whatever_strangers_do_the_owner_goes_on_in_a_browser_that_signed_in_before(
    world: World,
) -> None:
    """Whoever typed wrong passwords for an address kept its owner out, with the right one."""
    subject = someone(world)
    with clock.at(START):
        known = browser_of(world, subject)
        for _ in range(throttle.FREE_TRIES):
            guess(world, subject.email)
        assert guess(world, subject.email, PASSWORD) == "wait"
        assert guess(world, subject.email, PASSWORD, known) == "in"
        one_before_the_last(world, password_of(subject))
        guess(world, subject.email)
    with clock.at(START + timedelta(hours=1)):
        assert guess(world, subject.email, PASSWORD) not in {"in", "wait"}
        assert guess(world, subject.email, PASSWORD, known) == "in"
    (entry,) = world.entries("house", "authenticator.disabled")
    assert entry["data"] == {"factor": "password"}
    assert entry["refs"]["subject"] == subject.id


def test_the_cookie_of_a_browser_is_good_for_its_owner_alone_and_for_half_a_year(
    world: World,
) -> None:
    mine, theirs = someone(world), someone(world)
    with clock.at(START):
        known, other = browser_of(world, mine), browser_of(world, theirs)
        name, until, mark = other.split(".")
        for cookie in (
            known,
            f"{name}x.{until}.{mark}",
            f"{name}.{until}0.{mark}",
            f"{name}.{until}.\udcff",
            "..",
        ):
            guess(world, theirs.email, browser=cookie)
        assert guess(world, theirs.email, PASSWORD) == "wait"
        assert guess(world, theirs.email, PASSWORD, known) == "wait"
        assert guess(world, theirs.email, PASSWORD, other) == "in"
    with clock.at(START + throttle.BROWSER_KNOWN_FOR):
        for _ in range(throttle.FREE_TRIES):
            guess(world, theirs.email)
        assert guess(world, theirs.email, PASSWORD, other) == "wait"


def test_a_browser_that_fails_ten_times_in_a_row_counts_with_the_strangers(world: World) -> None:
    subject = someone(world)
    when = START
    with clock.at(when):
        known = browser_of(world, subject)
    for _ in range(throttle.MOST_OF_A_BROWSER + 1):
        with clock.at(when):
            guess(world, subject.email, browser=known)
        when += throttle.LONGEST_WAIT
    failed = world.entries("house", "sign_in.failed")
    assert [entry["data"]["in_a_row"] for entry in failed] == [*range(1, 11), 1]


def test_a_new_password_counts_again_and_forgets_every_browser(world: World) -> None:
    subject = someone(world)
    with clock.at(START):
        known = browser_of(world, subject)
        one_before_the_last(world, password_of(subject))
        guess(world, subject.email)
        world.do(lambda s: resets.ask(s, subject.email))
        token = world.do(
            lambda s: resets.token_of(s, s.execute(select(PasswordReset)).scalar_one())
        )
        fresh, code = activation.hash_password(ANOTHER), world.code(subject)
        world.do(lambda s: resets.complete(s, token, password_hash=fresh, code=code))
        assert guess(world, subject.email, ANOTHER) == "in"
        for _ in range(throttle.FREE_TRIES):
            guess(world, subject.email)
        assert guess(world, subject.email, ANOTHER, known) == "wait"


@pytest.mark.parametrize("factor", ["totp", "recovery"])
@pytest.mark.asvs("63B-3.2.2", "63B-3.1.4")
def test_at_a_hundred_in_a_row_a_factor_is_disabled_and_the_other_goes_on(
    world: World, factor: str
) -> None:
    subject = world.subject()
    with clock.at(START - timedelta(minutes=1)):
        codes = world.activate(subject)
    wrong = {"totp": "000000", "recovery": "0" * 20}[factor]
    with clock.at(START):
        half = sessions.begin(world.store, subject.email, PASSWORD)
        counted = authenticators.counter(subject, wrong)
        one_before_the_last(world, counted)
        with pytest.raises(errors.SignInFailed):
            world.do(lambda s: sessions.show_factor(s, half, wrong))
    with clock.at(START + throttle.LONGEST_WAIT):
        half = sessions.begin(world.store, subject.email, PASSWORD)
        right = {"totp": world.code(subject), "recovery": codes[0]}
        with pytest.raises(errors.SignInFailed):
            world.do(lambda s: sessions.show_factor(s, half, right.pop(factor)))
        (other,) = right.values()
        assert world.do(lambda s: sessions.show_factor(s, half, other))
    (entry,) = world.entries("house", "authenticator.disabled")
    assert entry["data"] == {"factor": factor}


def test_another_app_begins_no_new_count_and_takes_the_place_of_disabled_ones(
    world: World,
) -> None:
    """Wrong codes counted against the newest app, so each new one gave a hundred tries more."""
    subject = someone(world)
    counted = authenticators.counter(subject, "000000")

    def add(at: timedelta) -> None:
        with clock.at(START + at):
            seed = world.seeds[subject.id] = authenticators.new_seed()
            by, code = person(subject), world.code(subject)
            world.do(lambda s: account.add_totp(s, seed=seed, code=code, name="New", by=by))

    def count() -> tuple[int, int]:
        with world.store.reading() as session:
            row = session.get(throttle.Throttle, counted.key)
            return (row.failures if row else 0), len(authenticators.enrolled(session, subject.id))

    with clock.at(START):
        half = sessions.begin(world.store, subject.email, PASSWORD)
    for _ in range(3):
        with clock.at(START), pytest.raises(errors.SignInFailed):
            world.do(lambda s: sessions.show_factor(s, half, "000000"))
    add(timedelta(minutes=1))
    assert count() == (3, 2)
    with clock.at(START + timedelta(minutes=2)):
        one_before_the_last(world, counted)
        half = sessions.begin(world.store, subject.email, PASSWORD)
        with pytest.raises(errors.SignInFailed):
            world.do(lambda s: sessions.show_factor(s, half, "000000"))
    assert count() == (100, 2)
    add(timedelta(hours=1))
    assert count() == (0, 1)


def test_who_is_let_back_in_by_two_people_is_no_longer_kept_out_by_guesses(world: World) -> None:
    """After a recovery a password that was disabled before it still counted for nothing."""
    subject = someone(world)
    with clock.at(START):
        for counted in (password_of(subject), authenticators.counter(subject, "000000")):
            one_before_the_last(world, counted)
            world.do(lambda s, counted=counted: throttle.failed(s, counted))
        seed = world.seeds[subject.id] = authenticators.new_seed()
        fresh, code = activation.hash_password(ANOTHER), world.code(subject)
        world.do(
            lambda s: activation.equip(
                s, s.merge(subject), password_hash=fresh, seed=seed, code=code, by=person(subject)
            )
        )
    with clock.at(START + timedelta(minutes=1)):
        half = sessions.begin(world.store, subject.email, ANOTHER)
        code = world.code(subject)
        assert world.do(lambda s: sessions.show_factor(s, half, code))


@pytest.mark.asvs("6.3.8")
def test_unknown_wrong_offboarded_and_disabled_are_told_alike_however_often(world: World) -> None:
    wrong, gone, disabled = someone(world), someone(world), someone(world)
    world.do(
        lambda s: offboarding.offboard(s, s.get_one(Subject, gone.id), reason="left", by=OPERATOR)
    )
    with clock.at(START):
        one_before_the_last(world, password_of(disabled))
        guess(world, disabled.email)
    with clock.at(START + timedelta(hours=1)):
        told = {guess(world, disabled.email, PASSWORD)}
        assert guess(world, disabled.email, PASSWORD) == "wait"
        for email, password in (
            ("nobody@people.example", PASSWORD), (wrong.email, WRONG), (gone.email, PASSWORD),
        ):  # fmt: skip
            row = [guess(world, email, password) for _ in range(throttle.FREE_TRIES + 1)]
            assert row[-1] == "wait"
            told.update(row[:-1])
    assert len(told) == 1


@pytest.mark.asvs("6.3.8")
def test_after_a_quiet_month_waits_begin_anew_for_known_and_unknown_alike(world: World) -> None:
    """Counts of addresses that nobody has were kept for good; forgetting them must not show."""
    subject = someone(world)
    emails = (subject.email, "nobody@people.example")

    def tries(email: str) -> list[bool]:
        return [guess(world, email) == "wait" for _ in range(throttle.FREE_TRIES + 1)]

    def counts() -> list[int]:
        with world.store.reading() as session:
            return sorted(session.execute(select(throttle.Throttle.failures)).scalars())

    with clock.at(START):
        assert tries(emails[0]) == tries(emails[1]) == [*[False] * throttle.FREE_TRIES, True]
        world.do(throttle.forget_quiet)
        assert counts() == [5, 5]
    with clock.at(START + throttle.QUIET):
        assert [guess(world, email) == "wait" for email in emails] == [False, False]
        assert [guess(world, email) == "wait" for email in emails] == [True, True]
    quiet = START + 2 * throttle.QUIET + timedelta(seconds=1)
    with clock.at(quiet):
        assert tries(emails[0]) == tries(emails[1]) == [*[False] * throttle.FREE_TRIES, True]
        assert counts() == [11, 11]
    with clock.at(quiet + throttle.QUIET + timedelta(seconds=1)):
        world.do(throttle.forget_quiet)
        assert counts() == [11], "what is someone's is counted on, to a hundred in a row"
        assert tries(emails[0]) == tries(emails[1])
        assert guess(world, subject.email, PASSWORD) == "wait"


def test_every_spelling_of_an_address_counts_as_one(world: World) -> None:
    subject = someone(world)
    with clock.at(START):
        for at in range(throttle.FREE_TRIES):
            guess(world, subject.email[:at].upper() + subject.email[at:])
        assert guess(world, subject.email, PASSWORD) == "wait"

"""What a stolen table of passwords costs whoever guesses at them, and what nobody may choose."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import argon2
import pytest

from govern import errors
from govern.identity import passwords, sessions
from govern.identity.passwords import Password

if TYPE_CHECKING:
    from tests.factory import World

SHIPPED = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from govern.identity import passwords
print(passwords.hashed("correct horse battery"))
print(passwords.hash_random("0123456789abcdef"))
passwords.hash_apart()  # as `serve` does
words = "zwölf Boxkämpfer"
print(passwords.matches(passwords.hashed(words), words), passwords.matches(None, words))
process = passwords._process._begun._process
print(os.getpriority(os.PRIO_PROCESS, process.pid), os.getpriority(os.PRIO_PROCESS, 0))
process.kill()
print(passwords.matches(passwords.hashed(words), words))
with ThreadPoolExecutor(passwords.WAITING) as askers:
    stored = list(askers.map(passwords.hashed, map("correct horse {:04}".format, range(8))))
    pairs = [(each, "correct horse {:04}".format(n)) for each in stored for n in range(8)]
    told = list(askers.map(lambda pair: passwords.matches(*pair), pairs))
print(told == [n % 9 == 0 for n in range(64)], flush=True)
os.kill(os.getpid(), 9)
"""
WHOSE = ("Zoë Ångström", "zoe.angstrom@people.example")


@pytest.mark.asvs("63B-3.1.1.2")
def test_hashes_are_argon2id_at_the_cost_that_the_field_asks_and_give_way_to_the_rest() -> None:
    """OWASP's password storage page: 19 MiB with two passes and one lane, at least."""
    # A process of its own, since the tests' own hashes are made cheap. It is killed in the end, and
    # what it began has its standard error: there is no answer here before that has ended too.
    told = subprocess.run(
        [sys.executable, "-c", SHIPPED], check=False, capture_output=True, text=True, timeout=60
    ).stdout.splitlines()
    password, random = map(argon2.extract_parameters, told[:2])
    assert password.type is random.type is argon2.Type.ID
    assert (password.memory_cost, password.time_cost, password.parallelism) == (19 * 1024, 2, 1)
    assert password.salt_len >= 16
    assert random.memory_cost >= 8 * 1024  # of 80 random bits: never guessable
    assert told[2] == "True False"
    apart, here = map(int, told[3].split())
    assert apart > here or sys.platform == "win32"
    assert told[4] == "True", "another takes the place of one that died"
    assert told[5] == "True", "each of those that ask together gets their own answer"


@pytest.mark.parametrize(
    "password",
    [
        "123456789987654321",
        "1qaz2wsx3edc",
        "Password2026!",
        "!!iloveyou1985??",
        "sunshinesunshine",
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "GovernGovern2026",
        "zoe.angstrom-1985",
        "Ångström12345678",
        "angstrom@govern",
    ],
)
@pytest.mark.asvs("6.2.4", "6.2.12")
def test_what_is_tried_first_is_refused(password: str) -> None:
    with pytest.raises(errors.Invalid, match="stranger") as refusal:
        passwords.hashed(password, about=WHOSE)
    assert refusal.value.field == "password"


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "twelve signs",
        "48151623421087",  # digits alone, as a machine made them
        "kvnzpqwtrmxd",
        "the angstrom is a unit of length",
        "       .       7 a b",
        "密码的十二个字很难猜到呢",
        "äöüß" * 60 + "x",
    ],
)
@pytest.mark.asvs("6.2.5", "6.2.8")
def test_nothing_else_is_asked_of_a_password_and_it_is_verified_exactly(password: str) -> None:
    stored = passwords.hashed(password, about=WHOSE)
    assert passwords.matches(stored, password)
    for other in (password[:-1], password + " ", password.upper(), password.strip()):
        assert other == password or not passwords.matches(stored, other)


@pytest.mark.parametrize("length", [64, 128, passwords.MAX_LENGTH])
@pytest.mark.asvs("6.2.9", "6.2.8")
def test_every_sign_of_a_long_password_counts(length: int) -> None:
    password = "".join(chr(0x4E00 + place) for place in range(length))
    stored = passwords.hashed(password)
    assert passwords.matches(stored, password)
    assert not passwords.matches(stored, password[:-1] + "x")


@pytest.mark.parametrize("length", [passwords.MIN_LENGTH - 1, passwords.MAX_LENGTH + 1])
@pytest.mark.asvs("6.2.1")
def test_too_short_and_too_long_are_refused(length: int) -> None:
    with pytest.raises(errors.Invalid, match="12 to 256"):
        passwords.hashed("".join(chr(0x4E00 + place) for place in range(length)))


def test_a_hash_of_another_cost_is_made_anew_at_the_next_sign_in(world: World) -> None:
    subject = world.subject()
    world.activate(subject)
    words = "correct horse battery staple"
    older = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(words)

    def kept() -> Password:
        with world.store.reading() as session:
            return session.get_one(Password, subject.id)

    first = kept()
    world.do(lambda s: passwords.keep_renewed(s, subject.id, first.hash, older))
    with pytest.raises(errors.SignInFailed):
        sessions.begin(world.store, subject.email, "wrong horse battery staple")
    assert kept().hash == older
    sessions.begin(world.store, subject.email, words)
    fresh = kept()
    assert not passwords._hasher.check_needs_rehash(fresh.hash)
    assert fresh.recorded_at == first.recorded_at
    sessions.begin(world.store, subject.email, words)
    assert kept().hash == fresh.hash


def test_when_too_many_wait_for_a_hash_the_next_is_refused_at_once() -> None:
    for _ in range(passwords.WAITING):
        assert passwords._room.acquire(blocking=False)
    try:
        with pytest.raises(errors.Unavailable):
            passwords.matches(None, "whoever comes now")
    finally:
        passwords._room.release(passwords.WAITING)
    assert not passwords.matches(None, "whoever comes now")

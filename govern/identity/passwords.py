"""Passwords: argon2id, verified exactly as typed, and refused when chosen from what is tried first.

Where others are answered, hashes are computed by a few processes that give way to all others, so
that a crowd that signs in keeps no decision waiting; when too many wait, the next is refused at
once. A wrong password and an unknown address cost the same time and get the same answer. Wrong
tries are counted in `throttle`.
"""

from __future__ import annotations

import gzip
import threading
import unicodedata
from dataclasses import asdict
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import argon2
from sqlalchemy import update
from sqlalchemy.orm import Mapped, mapped_column

from govern import errors, hashing
from govern.audit.record import RECORDED
from govern.clock import Utc
from govern.db import PERSONAL, Audited, Base, Id, references, text_column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from govern.db import Session

MIN_LENGTH = 12
MAX_LENGTH = 256
# OWASP's password storage page. One lane, since a hash is one core's work: who signs in at the
# same time has the other cores.
PARAMETERS = argon2.Parameters(
    type=argon2.Type.ID,
    version=argon2.low_level.ARGON2_VERSION,
    salt_len=16,
    hash_len=32,
    time_cost=2,
    memory_cost=19 * 1024,  # KiB
    parallelism=1,
)
_FEWEST_CHARACTERS = 5  # that differ
_LEAST_WORD = 3  # letters of a name that make it one to look for
_COMMON = Path(__file__).with_name("common-passwords.txt.gz")
_PRODUCT = ("govern",)

_hasher = argon2.PasswordHasher.from_parameters(PARAMETERS)
# For secrets of 80 random bits: salted and memory-hard as SP 800-63B asks, but never guessable,
# so ten of them need not cost a second.
_light = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)
# Written as a hash of that cost is, but of no password: to make a real one would hold up whatever
# imports this.
_DUMMY = "$argon2id$v={version}$m={memory_cost},t={time_cost},p={parallelism}${0}${1}".format(
    "A" * 22, "A" * 43, **asdict(PARAMETERS)
)


class Password(Audited, Base):
    """The password of a subject, hashed."""

    __tablename__ = "password"

    subject_id: Mapped[Id] = mapped_column(references("subject.id"), primary_key=True)
    hash: Mapped[str] = mapped_column(text_column(200), info=PERSONAL)
    recorded_at: Mapped[datetime] = mapped_column(Utc())


def hashed(password: str, *, about: Iterable[str] = ()) -> str:
    """Hash a new password; `Invalid` when it is too short or long, or among the first to be tried.

    `about` names whose it is: their name and address are what a guesser begins with.
    """
    password = unicodedata.normalize("NFC", password)
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise errors.Invalid(
            "A password has %(least)d to %(most)d characters.",
            field="password",
            least=MIN_LENGTH,
            most=MAX_LENGTH,
        )
    if _is_expected(password.casefold(), about):
        raise errors.Invalid(
            "This password is among the first that a stranger would try. Choose another: a few "
            "words that have nothing to do with one another are good.",
            field="password",
        )
    fresh: str = _computed(password, None)
    return fresh


def hash_random(value: str) -> str:
    """Hash a secret of at least 64 random bits, such as a recovery code."""
    return _light.hash(value)


def matches(stored: str | None, value: str) -> bool:
    """Whether `value` is what was hashed; without a hash, the same time is spent on a dummy."""
    value = unicodedata.normalize("NFC", value)
    return _computed(value, stored or _DUMMY) and stored is not None


def renewed(stored: str, password: str) -> str | None:
    """The hash of a password just verified, if the one stored was made at another cost."""
    if not _hasher.check_needs_rehash(stored):
        return None
    fresh: str = _computed(unicodedata.normalize("NFC", password), None)
    return fresh


def keep_renewed(session: Session, subject_id: str, stored: str, fresh: str) -> None:
    """Put the costlier hash of the same password in place of the stored one: no act of anyone."""
    session.execute(
        update(Password)
        .where(Password.subject_id == subject_id, Password.hash == stored)
        .values(hash=fresh),
        execution_options=RECORDED | {"synchronize_session": False},
    )


def cost() -> str:
    """What a hash costs, for people."""
    return (
        f"argon2id, {PARAMETERS.memory_cost // 1024} MiB, {PARAMETERS.time_cost} passes, "
        f"{PARAMETERS.parallelism} lane"
    )


# --- what is tried first -----------------------------------------------------------------------


def _is_expected(password: str, about: Iterable[str]) -> bool:
    """Whether the whole of it is a word that is tried first, repeated or between digits and marks.

    The whole is compared, as SP 800-63B-4 §3.1.1.2 asks: what merely holds such a word is good.
    """
    if len(set(password)) < _FEWEST_CHARACTERS:
        return True
    bare = _bare(password)
    shortest = bare[: (bare + bare).find(bare, 1)] if bare else ""  # "abcabc" is "abc", repeated
    common = _common()
    if password in common or shortest in common:
        return True
    names = sorted({*_PRODUCT, *_names(about)}, key=len, reverse=True)
    left = password
    for name in names:
        left = left.replace(name, "")
    return left != password and (not _bare(left) or _bare(left) in common)


def _bare(password: str) -> str:
    """Without the digits and marks around it."""
    letters = [place for place, sign in enumerate(password) if sign.isalpha()]
    return password[letters[0] : letters[-1] + 1] if letters else ""


def _names(about: Iterable[str]) -> Iterable[str]:
    for told in about:
        parts = "".join(sign if sign.isalnum() else " " for sign in told.casefold()).split()
        yield from (part for part in parts if len(part) >= _LEAST_WORD)


@cache
def _common() -> frozenset[str]:
    return frozenset(gzip.decompress(_COMMON.read_bytes()).decode().split("\n"))


# --- who computes ------------------------------------------------------------------------------

# Half of the threads that answer: the others go on answering whatever comes to the door.
WAITING = 8
_room = threading.BoundedSemaphore(WAITING)
_process: hashing.Process | None = None


def hash_apart() -> None:
    """From now on have a process of its own hash, which gives way: for who answers others."""
    global _process  # noqa: PLW0603 - of this process, for as long as it lasts
    _process = hashing.Process()


def _computed(password: str, stored: str | None) -> Any:
    """What hashing says of it; `Unavailable` when too many wait for that already."""
    asked = hashing.Question(
        password=password.encode().hex(),
        stored=stored,
        time_cost=_hasher.time_cost,
        memory_cost=_hasher.memory_cost,
        parallelism=_hasher.parallelism,
    )
    if not _room.acquire(blocking=False):
        raise errors.Unavailable("Too many people sign in just now. Try again in a moment.")
    try:
        return hashing.answer(asked) if _process is None else _process.answer(asked)
    finally:
        _room.release()

"""Passwords: argon2id, verified exactly as typed, and a throttle that is data in our database.

At most two hashes are computed at once in a process, since each takes 64 MiB. A wrong password and
an unknown address cost the same time and get the same answer.
"""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import argon2
from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors
from govern.clock import Utc
from govern.db import Audited, Base, Id, insert_if_absent, references, text_column

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

MIN_LENGTH = 12
MAX_LENGTH = 256
FREE_TRIES = 5
_LONGEST_WAIT = timedelta(minutes=15)

_hasher = argon2.PasswordHasher()
# For secrets of 80 random bits: salted and memory-hard as SP 800-63B asks, but never guessable,
# so ten of them need not cost a second.
_light = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)
_at_once = threading.BoundedSemaphore(2)
_DUMMY = _hasher.hash("nobody has this password")


class Password(Audited, Base):
    """The password of a subject, hashed."""

    __tablename__ = "password"

    subject_id: Mapped[Id] = mapped_column(references("subject.id"), primary_key=True)
    hash: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[datetime] = mapped_column(Utc())


class Throttle(Base):
    """How often a thing was guessed wrong in a row, and until when no guess is looked at."""

    __tablename__ = "throttle"

    key: Mapped[str] = mapped_column(text_column(100), primary_key=True)
    failures: Mapped[int] = mapped_column(default=0)
    blocked_until: Mapped[datetime | None] = mapped_column(Utc())


def hashed(password: str) -> str:
    """Hash a new password; `Invalid` when it is too short or too long."""
    password = unicodedata.normalize("NFC", password)
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise errors.Invalid(
            f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.", field="password"
        )
    with _at_once:
        return _hasher.hash(password)


def hash_random(value: str) -> str:
    """Hash a secret of at least 64 random bits, such as a recovery code."""
    return _light.hash(value)


def matches(stored: str | None, value: str) -> bool:
    """Whether `value` is what was hashed; without a hash, the same time is spent on a dummy."""
    value = unicodedata.normalize("NFC", value)
    with _at_once:
        try:
            _hasher.verify(stored or _DUMMY, value)
        except argon2.exceptions.VerificationError:
            return False
    return stored is not None


def throttle_key(kind: str, who: str) -> str:
    """Name a counter without holding the address that was typed."""
    return f"{kind}:{hashlib.sha256(who.lower().encode()).hexdigest()[:40]}"


def allow(session: OrmSession, key: str, *, lock: bool = True) -> None:
    """Raise `TooManyAttempts` while `key` is blocked.

    It locks the counter, so that guesses take turns; where only a look is meant, nothing is.
    """
    query = select(Throttle).where(Throttle.key == key)
    row = session.execute(query.with_for_update() if lock else query).scalar_one_or_none()
    now = clock.now(session)
    if row is not None and row.blocked_until is not None and now < row.blocked_until:
        wait = int((row.blocked_until - now).total_seconds()) + 1
        raise errors.TooManyAttempts(
            f"Too many wrong tries. Please wait {wait} seconds.", retry_after=wait
        )


def failed(session: OrmSession, key: str) -> int:
    """Count a wrong guess; after five in a row each further one doubles the wait."""
    # The first guesses may come at once: one makes the row, and all of them count in it.
    insert_if_absent(session, Throttle, key=key, failures=0)
    row = session.get_one(Throttle, key, with_for_update=True, populate_existing=True)
    row.failures += 1
    if row.failures >= FREE_TRIES:
        wait = min(timedelta(seconds=2 ** (row.failures - FREE_TRIES)), _LONGEST_WAIT)
        row.blocked_until = clock.now(session) + wait
    session.flush()
    return row.failures


def succeeded(session: OrmSession, key: str) -> None:
    """Forget the wrong guesses before a right one."""
    row = session.get(Throttle, key)
    if row is not None:
        row.failures, row.blocked_until = 0, None

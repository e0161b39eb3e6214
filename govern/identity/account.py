"""One's own account: how one signs in, and what one may change about it.

Whoever changes how they sign in shows a fresh second factor first, and the change ends every other
session: someone who had crept in is out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock, errors, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.identity import authenticators, passwords, signed_in, throttle
from govern.identity.authenticators import STEP
from govern.identity.passwords import Password
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.identity.throttle import Counter
    from govern.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A way of proving who one is: `password` or `totp`."""

    kind: str
    added_at: datetime
    last_used_at: datetime | None = None


def factors(session: OrmSession, *, by: Principal) -> list[Factor]:
    """The caller's own factors; a code's use is known to its half minute."""
    found = []
    password = session.get(Password, by.id)
    if password is not None:
        found.append(Factor(kind="password", added_at=password.recorded_at))
    totp = authenticators.enrolled(session, by.id)
    if totp is not None:
        used = clock.from_micros(totp.last_step * STEP * 1_000_000) if totp.last_step else None
        found.append(Factor(kind="totp", added_at=totp.recorded_at, last_used_at=used))
    return found


def renew_recovery_codes(session: Session, *, by: Principal) -> list[str]:
    """Make ten new recovery codes, shown this once; the old ones and other sessions end."""
    permissions.require_fresh(by, now=clock.now(session))
    signed_in.end_others(session, by=by)
    return authenticators.issue_recovery_codes(session, session.get_one(Subject, by.id), by=by)


def prove_password(database: Database, typed: str, *, by: Principal) -> str | None:
    """The stored hash that `typed` fits, or None; computed outside any transaction."""
    with database.reading() as session:
        throttle.allow(session, _counter(by), lock=False)
        stored = session.execute(
            select(Password.hash).where(Password.subject_id == by.id)
        ).scalar_one_or_none()
    return stored if passwords.matches(stored, typed) else None


def change_password(
    session: Session, *, proved: str | None, chosen_hash: str, by: Principal
) -> None:
    """Put a new password (hashed beforehand) in place of the `proved` one, and end other sessions.

    `Invalid` at `current` when the present one was wrong, which is counted like a sign-in.
    """
    permissions.require_fresh(by, now=clock.now(session))
    counts = throttle.allow(session, _counter(by))
    password = session.get(Password, by.id)
    if not counts or password is None or proved is None or password.hash != proved:
        raise _wrong(by)
    throttle.succeeded(session, _counter(by))
    throttle.replaced(session, "password", by.id)
    password.hash = chosen_hash

    def unchanged(session: OrmSession) -> None:
        present = select(Password.hash).where(Password.subject_id == by.id)
        if session.execute(present).scalar_one() != proved:
            raise errors.Stale("The password was changed elsewhere just now.")

    signed_in.end_others(session, by=by)
    record(
        session,
        EventType.PASSWORD_SET,
        logs=[HOUSE],
        by=by,
        refs={"subject": by.id},
        stamps=[(password, "recorded_at")],
        recheck=unchanged,
    )


def _counter(by: Principal) -> Counter:
    return throttle.counter("present_password", by.id, subject_id=by.id)


def _wrong(by: Principal) -> errors.Invalid:
    """A refusal that counts and records itself after the roll-back."""
    refusal = errors.Invalid("That is not your present password.", field="current")
    return throttle.counting(refusal, _counter(by))

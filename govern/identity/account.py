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
from govern.identity import authenticators, passkeys, passwords, signed_in, throttle
from govern.identity.authenticators import STEP, Totp
from govern.identity.passkeys import Passkey
from govern.identity.passwords import Password
from govern.identity.subjects import Subject

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.identity.throttle import Counter
    from govern.principal import Principal


MOST = 20  # apps and passkeys of one person
LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A way of proving who one is: `password`, `totp` or `passkey`; its `name` may be empty.

    `only` marks the last that is strong, which stays until there is another; `weak` an app that is
    disabled, or a passkey of before its device had to recognise its owner.
    """

    kind: str
    added_at: datetime
    last_used_at: datetime | None = None
    id: str = ""
    name: str = ""
    only: bool = False
    weak: bool = False
    backed_up: bool = False


def factors(session: OrmSession, *, by: Principal) -> list[Factor]:
    """The caller's own factors; a code's use is known to its half minute."""
    found = []
    password = select(Password.recorded_at).where(Password.subject_id == by.id).scalar_subquery()
    added_at, disabled = session.execute(select(password, authenticators.are_disabled(by.id))).one()
    if added_at is not None:
        found.append(Factor(kind="password", added_at=added_at))
    held = authenticators.held(session, by.id)
    strong = {each.id for each in authenticators.strong_ones(held, disabled=disabled)}
    for each in held:
        app = isinstance(each, Totp)
        found.append(
            Factor(
                kind="totp" if app else "passkey",
                added_at=each.recorded_at,
                last_used_at=_last_used(each),
                id=each.id,
                name=each.name,
                only=not strong - {each.id},
                weak=each.id not in strong,
                backed_up=isinstance(each, Passkey) and each.backed_up,
            )
        )
    return found


def _last_used(each: Totp | Passkey) -> datetime | None:
    if isinstance(each, Passkey):
        return each.used_at
    return clock.from_micros(each.last_step * STEP * 1_000_000) if each.last_step else None


def ask_for_passkey(session: OrmSession, *, browser: str, by: Principal) -> passkeys.Asked:
    """What the caller's browser is asked so that it makes a passkey; only adding it is an act."""
    return passkeys.ask_for_new(session, session.get_one(Subject, by.id), browser=browser)


def add_passkey(session: Session, answer: passkeys.Answer, *, name: str, by: Principal) -> None:
    """Take a passkey that the caller's browser made; their other sessions end."""
    permissions.require_fresh(by, now=clock.now(session))
    name = _named(name)
    _room(session, by)
    passkey = passkeys.made(session, session.get_one(Subject, by.id), answer, name=name)
    session.add(passkey)
    signed_in.end_others(session, by=by)
    record(
        session,
        EventType.PASSKEY_ENROLLED,
        logs=[HOUSE],
        by=by,
        refs={"subject": by.id, "authenticator": passkey.id},
        data={"recognised": passkey.recognised},
        private={"name": name},
        about=by.id,
        stamps=[(passkey, "recorded_at")],
    )


def add_totp(session: Session, *, seed: str, code: str, name: str, by: Principal) -> None:
    """Take another authenticator app, proved by its first code; the other sessions end."""
    permissions.require_fresh(by, now=clock.now(session))
    name = _named(name)
    _room(session, by)
    subject = session.get_one(Subject, by.id)
    authenticators.enrol(session, subject, seed=seed, code=code, name=name, by=by)
    signed_in.end_others(session, by=by)


def rename(
    session: Session, authenticator_id: str, *, name: str, seen: str | None = None, by: Principal
) -> None:
    """Call an app or a passkey of the caller's something else.

    `seen` is the name that the caller looked at: any other is `Stale`.
    """
    found = _own(session, authenticator_id, by=by)
    name = _named(name)
    if seen is not None and seen != found.name:
        raise errors.Stale(
            "It was given another name meanwhile: “%(name)s”.", field="name", name=found.name
        )
    if found.name == name:
        return
    found.name = name
    record(
        session,
        EventType.AUTHENTICATOR_RENAMED,
        logs=[HOUSE],
        by=by,
        refs={"subject": by.id, "authenticator": found.id},
        private={"name": name},
        about=by.id,
        covers=[found],
    )


def remove(session: Session, authenticator_id: str, *, by: Principal) -> None:
    """End an app or a passkey of the caller's, and their other sessions.

    The last strong one stays (`Conflict`): one that is disabled is none to sign in with.
    """
    permissions.require_fresh(by, now=clock.now(session))
    found = _own(session, authenticator_id, by=by)

    def another(session: OrmSession) -> None:
        if found.id not in {each.id for each in authenticators.held(session, by.id)}:
            raise errors.AlreadyEnded("It was removed just now.")
        if not {each.id for each in authenticators.strong(session, by.id)} - {found.id}:
            raise errors.Conflict("It is the last you can sign in with: add another one first.")

    another(session)
    signed_in.end_others(session, by=by)
    authenticators.end(session, found, recheck=another, by=by)


def _own(session: OrmSession, authenticator_id: str, *, by: Principal) -> Totp | Passkey:
    for each in authenticators.held(session, by.id):
        if each.id == authenticator_id:
            return each
    raise errors.Unknown("There is no such authenticator.")


def _named(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise errors.Invalid(
            "Give it a name of at most %(most)d characters, such as “Blue key”.",
            field="name",
            most=LONGEST_NAME,
        )
    return name


def _room(session: OrmSession, by: Principal) -> None:
    if len(authenticators.held(session, by.id)) >= MOST:
        raise errors.Conflict(
            "%(most)d are the most one person has: remove one that you no longer use.", most=MOST
        )


def renew_recovery_codes(session: Session, *, by: Principal) -> list[str]:
    """Make ten new recovery codes, shown this once; the old ones and other sessions end."""
    permissions.require_fresh(by, now=clock.now(session))
    signed_in.end_others(session, by=by)
    return authenticators.issue_recovery_codes(session, session.get_one(Subject, by.id), by=by)


def remove_recovery_codes(session: Session, *, by: Principal) -> None:
    """End the caller's recovery codes, where the paper may have been seen; other sessions end."""
    permissions.require_fresh(by, now=clock.now(session))
    left = authenticators.recovery_codes(session, by.id)
    if not left:
        return
    signed_in.end_others(session, by=by)
    record(
        session,
        EventType.RECOVERY_CODES_REMOVED,
        logs=[HOUSE],
        by=by,
        refs={"subject": by.id},
        data={"count": len(left)},
        stamps=[(row, "ended_at") for row in left],
    )


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
    turn = throttle.allow(session, _counter(by))
    password = session.get(Password, by.id)
    if not turn.counts or password is None or proved is None or password.hash != proved:
        raise _wrong(by)
    throttle.succeeded(turn)
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

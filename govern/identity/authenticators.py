"""Second factors: one-time codes of an authenticator app (RFC 6238), and recovery codes.

A code works once: accepting it moves the authenticator's last step forward in one conditional
UPDATE, so of two parallel submissions exactly one wins. Seeds lie sealed, bound to their row.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyotp
from sqlalchemy import Index, LargeBinary, select, update
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import RECORDED, record
from govern.clock import Utc
from govern.db import PERSONAL, Audited, Base, Id, new_id, references, text_column
from govern.identity import passkeys, passwords, throttle
from govern.identity.passkeys import Passkey
from govern.sealing import SEALED, seal_row, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.identity.subjects import Subject
    from govern.identity.throttle import Counter
    from govern.principal import Principal

STEP = 30
CODES = 10
# Crockford's base32 without look-alikes: 4 characters find the row, 16 are the secret (80 bits).
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Totp(Audited, Base):
    """An authenticator app, proved by its first code."""

    __tablename__ = "totp"
    __table_args__ = (Index("ix_totp_subject", "subject_id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    name: Mapped[str] = mapped_column(text_column(80), default="", info=PERSONAL)
    seed: Mapped[bytes] = mapped_column(LargeBinary, info=SEALED | PERSONAL)
    last_step: Mapped[int] = mapped_column(default=0)
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class RecoveryCode(Audited, Base):
    """One of ten codes on paper; found by its handle, checked by its hash, spent once."""

    __tablename__ = "recovery_code"
    __table_args__ = (Index("ix_recovery_code_subject", "subject_id", "handle"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    handle: Mapped[str] = mapped_column(text_column(4))
    hash: Mapped[str] = mapped_column(text_column(200), info=PERSONAL)
    recorded_at: Mapped[datetime | None] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


@dataclass(frozen=True)
class Shown:
    """That a second factor was shown, and which: `otp` (RFC 8176), or `rec` for a recovery code."""

    amr: tuple[str, ...]


def enrolled(session: OrmSession, subject_id: str) -> list[Totp]:
    """The authenticator apps in use, oldest first."""
    return list(
        session.execute(
            select(Totp)
            .where(Totp.subject_id == subject_id, Totp.ended_at.is_(None))
            .order_by(Totp.recorded_at)
        ).scalars()
    )


def held(session: OrmSession, subject_id: str) -> list[Totp | Passkey]:
    """A person's apps and passkeys, oldest first; also those that are not strong."""
    apps, keys = enrolled(session, subject_id), passkeys.in_use(session, subject_id)
    found: list[Totp | Passkey] = [*apps, *keys]
    return sorted(found, key=lambda each: each.recorded_at)


def strong(session: OrmSession, subject_id: str) -> list[Totp | Passkey]:
    """Those of them that a person can rely on: apps that are not disabled, passkeys that know them.

    A passkey made before its device had to recognise its owner may be anyone's who finds it.
    """
    disabled = throttle.disabled(session, _of_apps(subject_id))
    return strong_ones(held(session, subject_id), disabled=disabled)


def strong_ones(among: list[Totp | Passkey], *, disabled: bool) -> list[Totp | Passkey]:
    """The same of all that a person has, where the caller knows whether their apps are disabled."""
    return [
        each for each in among if (each.recognised if isinstance(each, Passkey) else not disabled)
    ]


def are_disabled(subject_id: str) -> ColumnElement[bool]:
    """Whether a person's apps are disabled, as a part of a statement."""
    return throttle.is_disabled(_of_apps(subject_id))


def new_seed() -> str:
    """160 random bits, base32."""
    return pyotp.random_base32()


def provisioning_uri(seed: str, subject: Subject) -> str:
    """The `otpauth://` address that an authenticator app reads."""
    return pyotp.TOTP(seed).provisioning_uri(name=subject.email, issuer_name="govern")


def enrol(
    session: Session,
    subject: Subject,
    *,
    seed: str,
    code: str,
    name: str = "",
    instead_of: Iterable[Totp | Passkey] = (),
    by: Principal,
) -> None:
    """Take a new authenticator app into use, proved by its code; `Invalid` at `first_code`.

    It takes the place of apps that are disabled, and of what it is `instead_of`: these end. Beside
    apps that count it begins no new count of wrong codes: else each new one would give whoever
    guesses a hundred tries more.
    """
    now = clock.now(session)
    step = _step_of(seed, code, now)
    if step is None:
        raise errors.Invalid("That code is not the one your app shows now.", field="first_code")
    counted = _of_apps(subject.id)
    others = enrolled(session, subject.id)
    disabled = others if throttle.disabled(session, counted) else []
    ended = {each.id: each for each in (*instead_of, *disabled)}
    if all(each.id in ended for each in others):
        throttle.replaced(session, counted.factor, subject.id)
    totp_id = new_id("otp")
    totp = Totp(
        id=totp_id,
        subject_id=subject.id,
        name=name,
        last_step=step,
        seed=seal_row(session, seed.encode(), place=f"totp.seed:{totp_id}"),
    )
    session.add(totp)
    record(
        session,
        EventType.TOTP_ENROLLED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id, "authenticator": totp.id},
        stamps=[(totp, "recorded_at")],
    )
    for each in ended.values():
        end(session, each, by=by)


def end(
    session: Session,
    each: Totp | Passkey,
    *,
    recheck: Callable[[Session], None] | None = None,
    by: Principal,
) -> None:
    """End an app or a passkey, by an entry of its own: so the log alone tells who has which.

    The caller's operation has checked that it may be; for `recheck` see `record`.
    """
    record(
        session,
        EventType.AUTHENTICATOR_REMOVED,
        logs=[HOUSE],
        by=by,
        refs={"subject": each.subject_id, "authenticator": each.id},
        data={"kind": "totp" if isinstance(each, Totp) else "passkey"},
        stamps=[(each, "ended_at")],
        recheck=recheck,
    )


def issue_recovery_codes(session: Session, subject: Subject, *, by: Principal) -> list[str]:
    """Make ten new recovery codes, shown this once; older ones stop working."""
    old = recovery_codes(session, subject.id)
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(20)) for _ in range(CODES)]
    rows = [
        RecoveryCode(
            id=new_id("rec"),
            subject_id=subject.id,
            handle=code[:4],
            hash=passwords.hash_random(code[4:]),
        )
        for code in codes
    ]
    session.add_all(rows)
    throttle.replaced(session, "recovery", subject.id)
    record(
        session,
        EventType.RECOVERY_CODES_ISSUED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id},
        data={"count": CODES},
        stamps=[*((row, "recorded_at") for row in rows), *((row, "ended_at") for row in old)],
    )
    return ["-".join(code[i : i + 4] for i in range(0, 20, 4)) for code in codes]


def recovery_codes(session: OrmSession, subject_id: str) -> list[RecoveryCode]:
    """The recovery codes that can still be spent."""
    return list(
        session.execute(
            select(RecoveryCode).where(
                RecoveryCode.subject_id == subject_id, RecoveryCode.ended_at.is_(None)
            )
        ).scalars()
    )


def recovery_codes_left(session: OrmSession, subject_id: str) -> int:
    """How many recovery codes can still be spent."""
    return len(recovery_codes(session, subject_id))


def counter(subject: Subject, code: str) -> Counter:
    """Against what a wrong code counts: the apps together, or the recovery codes together.

    A wrong code does not say for which app it was meant, and is compared with those of all.
    """
    if len(_plain(code)) == 20:  # noqa: PLR2004 - see _ALPHABET
        return throttle.counter("recovery", subject.id, subject_id=subject.id)
    return _of_apps(subject.id)


def _of_apps(subject_id: str) -> Counter:
    return throttle.counter("totp", subject_id, subject_id=subject_id)


def show(session: Session, subject: Subject, code: str) -> Shown | None:
    """Accept a one-time code or a recovery code, once; None when it is wrong or spent.

    The caller records what the code was shown for, in the same transaction.
    """
    plain = _plain(code)
    if plain.isdigit() and len(plain) == 6:  # noqa: PLR2004 - RFC 6238 as every app speaks it
        return _show_totp(session, subject, plain)
    if len(plain) == 20:  # noqa: PLR2004 - see _ALPHABET
        return _show_recovery(session, subject, plain)
    return None


def _plain(code: str) -> str:
    return code.replace(" ", "").replace("-", "").upper()


def _show_totp(session: Session, subject: Subject, code: str) -> Shown | None:
    for totp in enrolled(session, subject.id):
        place = f"totp.seed:{totp.id}"
        seed = unseal(session.database.settings, totp.seed, place=place).decode()
        step = _step_of(seed, code, clock.now(session))
        if step is None:
            continue
        won = session.execute(
            update(Totp).where(Totp.id == totp.id, Totp.last_step < step).values(last_step=step),
            execution_options=RECORDED | {"synchronize_session": False},
        )
        return Shown(("otp",)) if won.rowcount == 1 else None  # type: ignore[attr-defined]  # a DML result has it
    return None


def _show_recovery(session: Session, subject: Subject, code: str) -> Shown | None:
    rows = session.execute(
        select(RecoveryCode).where(
            RecoveryCode.subject_id == subject.id,
            RecoveryCode.handle == code[:4],
            RecoveryCode.ended_at.is_(None),
        )
    ).scalars()
    for row in rows:
        if not passwords.matches(row.hash, code[4:]):
            continue
        won = session.execute(
            update(RecoveryCode)
            .where(RecoveryCode.id == row.id, RecoveryCode.ended_at.is_(None))
            .values(ended_at=clock.now(session)),
            execution_options=RECORDED | {"synchronize_session": False},
        )
        if won.rowcount == 1:  # type: ignore[attr-defined]  # a DML result has it
            return Shown(("rec",))
    return None


def _step_of(seed: str, code: str, now: datetime) -> int | None:
    """The time step whose code this is: the present one, or the one before (clock skew)."""
    totp = pyotp.TOTP(seed, interval=STEP)
    present = int(now.timestamp()) // STEP
    for step in (present, present - 1):
        if secrets.compare_digest(totp.at(step * STEP), code.strip()):
            return step
    return None

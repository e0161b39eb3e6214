"""Throttle: how often each authenticator was guessed at in a row, as rows of our database.

After a few free tries each wrong one doubles the wait for the next; at `MOST` in a row the
authenticator is disabled (SP 800-63B-4 §3.2.2) until it is replaced. A password is guessed at by
strangers, who need nothing but an address: so a browser in which its owner signed in before has a
count of its own, and whatever strangers do, the owner goes on there (docs/sign-in.md).

After a quiet month the waits begin anew, and a count that is of no account is forgotten: from
outside the two look the same, so that nobody learns who is known here.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Index, String, bindparam, delete, exists, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, config, errors
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Base, insert_if_absent, text_column
from govern.identity.passwords import Password
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session

R = TypeVar("R", bound=errors.GovernError)

FREE_TRIES = 5
LONGEST_WAIT = timedelta(minutes=15)
QUIET = timedelta(days=30)
_TOGETHER = 5_000  # forgotten in one go
MOST = 100
# A browser that fails so often is treated like a stranger's, until it has signed in again.
MOST_OF_A_BROWSER = 10
BROWSER_KNOWN_FOR = timedelta(days=180)
# What a refusal says, whatever was wrong.
WRONG = "That did not work. Check what you typed and try again."
# Who gets as far as to guess at these knows the password: their owner hears of it.
_SECOND = frozenset({"totp", "recovery"})


class Throttle(Base):
    """How often a thing was guessed wrong in a row, and until when no guess is looked at.

    `forgiven` of these failures lengthen no wait: they lie before a quiet time. `of_nobody` is what
    was typed as an address or a client id, and is of no account.
    """

    __tablename__ = "throttle"
    __table_args__ = (Index("ix_throttle_of_nobody", "of_nobody", "failed_at"),)

    key: Mapped[str] = mapped_column(text_column(100), primary_key=True)
    failures: Mapped[int] = mapped_column(default=0)
    forgiven: Mapped[int] = mapped_column(default=0)
    failed_at: Mapped[datetime | None] = mapped_column(Utc())
    blocked_until: Mapped[datetime | None] = mapped_column(Utc())
    of_nobody: Mapped[bool] = mapped_column(default=False)


@dataclass(frozen=True, kw_only=True)
class Counter:
    """What a guess counts against: the row's key, and whose authenticator it is, if anyone's."""

    key: str
    subject_id: str | None
    factor: str
    most: int = MOST


@dataclass(frozen=True)
class Turn:
    """Whose turn to guess it is: its counter's row if there is one, and whether a right one counts.

    None does once the authenticator is disabled.
    """

    row: Throttle | None
    counts: bool


def counter(factor: str, name: str, *, subject_id: str | None) -> Counter:
    """The counter of an authenticator, or of an address that nobody has, by its name.

    What was typed is not kept: it is hashed.
    """
    told = hashlib.sha256(name.lower().encode("utf-8", "surrogatepass")).hexdigest()[:40]
    return Counter(key=f"{factor}:{told}", subject_id=subject_id, factor=factor)


def allow(session: OrmSession, counted: Counter, *, lock: bool = True) -> Turn:
    """The turn for a guess; `TooManyAttempts` while guesses are blocked.

    It locks the counter, so that guesses take turns; where only a look is meant, nothing is.
    """
    found = session.execute(_look(lock=lock), {"key": counted.key}).one_or_none()
    if found is None:
        return Turn(None, counts=True)
    row, now = found
    if row.blocked_until is not None and now < row.blocked_until:
        wait = int((row.blocked_until - now).total_seconds()) + 1
        raise errors.TooManyAttempts(
            "Too many wrong tries. Please wait %(wait)d seconds.", retry_after=wait, wait=wait
        )
    return Turn(row, counts=row.failures < counted.most)


@cache
def _look(*, lock: bool) -> Select[Throttle, datetime]:
    # Now comes with it: a statement more would tell by its time that there is a counter.
    query = select(Throttle, clock.instant()).where(
        Throttle.key == bindparam("key", type_=String())
    )
    return query.with_for_update() if lock else query


def failed(session: Session, counted: Counter) -> int:
    """Count a wrong guess and record it; after a few in a row each further one doubles the wait."""
    row, now = _locked(session, counted), clock.now(session)
    if row.failed_at is not None and now - row.failed_at > QUIET:
        row.forgiven = row.failures
    row.failures += 1
    row.failed_at = now
    lately = row.failures - row.forgiven
    if lately >= FREE_TRIES:
        doubled = min(lately - FREE_TRIES, 20)  # 12 days: longer than the longest
        row.blocked_until = now + min(timedelta(seconds=2**doubled), LONGEST_WAIT)
    session.flush()
    refs = {"subject": counted.subject_id}
    data = {"factor": counted.factor, "in_a_row": row.failures}
    record(session, EventType.SIGN_IN_FAILED, logs=[HOUSE], by=SYSTEM, refs=refs, data=data)
    told = None
    if row.failures == MOST:
        told = EventType.AUTHENTICATOR_DISABLED
    elif lately == FREE_TRIES and counted.factor in _SECOND:
        told = EventType.FACTOR_GUESSED_AT
    if told is not None and counted.subject_id is not None:
        data = {"factor": counted.factor}
        record(session, told, logs=[HOUSE], by=SYSTEM, refs=refs, data=data)
    return row.failures


def _locked(session: OrmSession, counted: Counter) -> Throttle:
    """The counter's row, made where there is none: all of several first guesses count in it."""
    row = None
    while row is None:  # again, where `forget_quiet` dropped it just now
        insert_if_absent(
            session, Throttle, key=counted.key, failures=0, forgiven=0,
            of_nobody=counted.subject_id is None,
        )  # fmt: skip
        row = session.get(Throttle, counted.key, with_for_update=True, populate_existing=True)
    return row


def forget_quiet(session: OrmSession) -> None:
    """Drop counters of no account at which nobody guessed for long, a bounded number of them.

    Else whoever tries addresses that nobody has would fill the table for good.
    """
    quiet = (
        select(Throttle.key)
        .where(Throttle.of_nobody, Throttle.failed_at < clock.before(clock.instant(), QUIET))
        .limit(_TOGETHER)
    )
    session.execute(
        delete(Throttle).where(Throttle.key.in_(quiet)),
        execution_options={"synchronize_session": False},
    )


def disabled(session: OrmSession, counted: Counter) -> bool:
    """Whether no guess counts any more, the right one included."""
    row = session.get(Throttle, counted.key)
    return row is not None and row.failures >= counted.most


def is_disabled(counted: Counter) -> ColumnElement[bool]:
    """The same as a part of a statement."""
    return exists().where(Throttle.key == counted.key, Throttle.failures >= counted.most)


def counting(refusal: R, counted: Counter) -> R:
    """The refusal of a wrong guess, which counts and records itself after the roll-back."""

    def aftermath(session: Session) -> None:
        failed(session, counted)

    refusal.aftermath = aftermath
    return refusal


def succeeded(turn: Turn) -> None:
    """Forget the wrong guesses before the right one of this turn."""
    if turn.row is not None:
        turn.row.failures, turn.row.forgiven, turn.row.blocked_until = 0, 0, None


def replaced(session: OrmSession, factor: str, name: str) -> None:
    """Forget the guesses at an authenticator in whose place there is another, or a new secret."""
    key = counter(factor, name, subject_id=None).key
    of_browsers = Throttle.key.startswith(f"{key}:", autoescape=True)
    session.execute(delete(Throttle).where(or_(Throttle.key == key, of_browsers)))


# --- browsers in which someone signed in before ------------------------------------------------


def know(session: Session, subject_id: str) -> str:
    """A cookie for a browser in which someone has just signed in with all that it takes.

    It proves nothing and opens nothing: it says by which counter wrong tries count, and that a
    sign-in here is no news. It is good until they have another password, and names nobody.
    """
    until = str(int((clock.now(session) + BROWSER_KNOWN_FOR).timestamp()))
    name = secrets.token_urlsafe(12)
    return f"{name}.{until}.{_mark(session, subject_id, name, until)}"


def of_password(
    session: Session, password: Password | None, *, typed: str, subject_id: str | None, cookie: str
) -> Counter:
    """By which counter a try at a password counts: that of a known browser, or everybody's."""
    counted = counter("password", subject_id or typed, subject_id=subject_id)
    if password is None or not knows(session, password.subject_id, cookie):
        return counted
    name = cookie.partition(".")[0]
    own = Counter(
        key=f"{counted.key}:{name}",
        subject_id=subject_id,
        factor="password",
        most=MOST_OF_A_BROWSER,
    )
    row = session.get(Throttle, own.key)
    return own if row is None or row.failures < own.most else counted


def knows(session: OrmSession, subject_id: str, cookie: str) -> bool:
    """Whether a browser's cookie is one that `know` gave for this person, and still good."""
    name, _, rest = cookie.partition(".")
    until, _, mark = rest.partition(".")
    expected = _mark(session, subject_id, name, until)
    if not hmac.compare_digest(expected.encode(), mark.encode("utf-8", "surrogatepass")):
        return False
    return clock.now(session).timestamp() < int(until)


def _mark(session: OrmSession, subject_id: str, name: str, until: str) -> str:
    password = session.get(Password, subject_id)
    chosen = clock.micros(password.recorded_at) if password is not None else 0
    key = config.secret(session.database.settings.keys_dir / "web.key")  # type: ignore[attr-defined]  # ours has it
    told = f"browser\0{subject_id}\0{chosen}\0{name}\0{until}"
    return hmac.new(key, told.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

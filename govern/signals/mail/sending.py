"""Sending: each person's mail is handed to the server, and what became of it is kept.

A few mails at a time are taken in hand for some minutes, and each is ended by a commit of its own
right after the server took it. So a crash costs nobody their mail, and doubles at most those just
under way, one a connection, which bear the same Message-ID both times: more SMTP does not offer
(RFC 5321, section 6.1). A refusal for now is tried again ever later, for some days; one for good is
the end. When the server itself is down nobody's attempt is counted.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from govern import clock, errors
from govern.signals.mail import smtp
from govern.signals.mail.following import TOO_LATE
from govern.signals.mail.tables import MailAct, MailDelivery, MailServer, State
from govern.signals.mail.words import compose

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from email.message import EmailMessage

    from sqlalchemy import Select

    from govern.db import Database, Session

SERVER = "smtp"
# Why a mail was given up that nobody misses.
NO_NEWS = "no news"
RETRY_AFTER = tuple(
    timedelta(minutes=each) for each in (1, 5, 20, 60, 4 * 60, 12 * 60, 24 * 60, 24 * 60)
)
_IN_HAND = timedelta(minutes=5)
_AT_ONCE = 20
# As many as the great providers let one sender have.
_CONNECTIONS = 3
# Seconds after which no further mail is begun of those in hand: the last may take a while.
_LONGEST = 120


def send(database: Database, *, progress: Callable[[int], None] | None = None) -> int:
    """Send all that is due; returns how many mails the server took.

    `Unavailable` when the server takes none; `progress` is called between mails, and may raise to
    stop: whatever is in hand then is let go. Many mails go by several connections at once, and
    `progress` is called by their threads.
    """
    with database.reading() as session:
        due = _due(clock.now(session)).with_only_columns(MailDelivery.act_id)
        waiting = len(session.execute(due.limit(_AT_ONCE + 1)).all())
    if waiting <= _AT_ONCE:
        return _send(database, progress) if waiting else 0  # the common case takes no lock
    with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="mail") as pool:
        ways = [pool.submit(_send, database, progress) for _ in range(_CONNECTIONS)]
    return sum(way.result() for way in ways)


def _send(database: Database, progress: Callable[[int], None] | None) -> int:
    """Send by one connection until nothing is due that is not in hand."""
    connection: smtp.Connection | None = None
    sent = 0
    try:
        while True:
            act, people = database.transaction(_take)
            if act is None:
                return sent
            batch = _Batch(database, act, people)
            try:
                if connection is None:
                    connection = smtp.Connection(database.settings)
                    _note_server(database, "")
                sent += batch.send(connection, progress)
            except smtp.Down as error:
                _note_server(database, str(error))
                raise errors.Unavailable(f"The mail server takes no mail: {error}") from None
            finally:
                batch.let_go()
    finally:
        if connection is not None:
            connection.close()


def _due(now: datetime) -> Select[MailDelivery]:
    return select(MailDelivery).where(MailDelivery.next_try_at <= now)


def _take(session: Session) -> tuple[MailAct | None, list[str]]:
    """Take some mails about one act in hand: nobody else sends them for a while."""
    now = clock.now(session)
    first = session.execute(
        _due(now)
        .order_by(MailDelivery.next_try_at, MailDelivery.act_id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).scalar_one_or_none()
    if first is None:
        return None, []
    rows = session.execute(
        _due(now)
        .where(MailDelivery.act_id == first.act_id)
        .order_by(MailDelivery.next_try_at, MailDelivery.subject_id)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).scalars()
    people = []
    for row in rows:
        row.next_try_at = now + _IN_HAND
        row.attempts += 1
        people.append(row.subject_id)
    session.flush()
    return session.get_one(MailAct, first.act_id), people


class _Batch:
    """Some mails in hand."""

    def __init__(self, database: Database, act: MailAct, people: list[str]) -> None:
        self._database = database
        self._act = act
        self._left = people

    def send(self, connection: smtp.Connection, progress: Callable[[int], None] | None) -> int:
        """Send them one by one; returns how many the server took."""
        with self._database.reading() as session:
            late = clock.now(session) - self._act.at > TOO_LATE
            messages = (
                {} if late else compose(session, self._database.settings, self._act, self._left)
            )
        begun, sent = time.monotonic(), 0
        while self._left and time.monotonic() - begun < _LONGEST:
            person = self._left[0]
            message = messages.get(person)
            if message is None:
                unreachable = "no usable address" if person in messages else NO_NEWS
                self._end(State.GIVEN_UP, "too late" if late else unreachable)
                continue
            sent += self._send(connection, message)
            if progress is not None:
                progress(1)
        return sent

    def _send(self, connection: smtp.Connection, message: EmailMessage) -> int:
        try:
            connection.send(message)
        except smtp.Refused as error:
            self._fail(str(error), for_good=error.for_good)
            return 0
        except smtp.Down as error:
            # It may be this very mail that breaks the connection: it must not stay the first.
            self._fail(str(error), for_good=False)
            raise
        self._end(State.SENT, "")
        return 1

    def _fail(self, words: str, *, for_good: bool) -> None:
        if for_good:
            self._end(State.GIVEN_UP, words)
            return
        person = self._left.pop(0)
        self._database.transaction(partial(_failed, self._act, person, words))

    def _end(self, state: State, words: str) -> None:
        person = self._left.pop(0)
        self._database.transaction(partial(_ended, self._act, person, state, words))

    def let_go(self) -> None:
        """Give back what was not begun, as if it had never been in hand."""
        if not self._left:
            return
        people, self._left = self._left, []
        self._database.transaction(partial(_let_go, self._act, people))


def _failed(act: MailAct, person: str, words: str, session: Session) -> None:
    row = session.get_one(MailDelivery, (act.id, person), with_for_update=True)
    if row.attempts > len(RETRY_AFTER):
        _ended(act, person, State.GIVEN_UP, words, session)
        return
    row.state, row.error = State.FAILED, words
    row.next_try_at = clock.now(session) + RETRY_AFTER[row.attempts - 1]
    session.flush()


def _ended(act: MailAct, person: str, state: State, words: str, session: Session) -> None:
    now = clock.now(session)
    session.execute(
        update(MailDelivery)
        .where(MailDelivery.act_id == act.id, MailDelivery.subject_id == person)
        .values(state=state, next_try_at=None, ended_at=now, error=words),
        execution_options={"synchronize_session": False},
    )


def _let_go(act: MailAct, people: list[str], session: Session) -> None:
    now = clock.now(session)
    for person in people:
        row = session.get_one(MailDelivery, (act.id, person), with_for_update=True)
        row.next_try_at, row.attempts = now, row.attempts - 1
    session.flush()


def _note_server(database: Database, words: str) -> None:
    """Keep since when the server takes no mail, and how it says so; nothing is written twice."""
    with database.reading() as session:
        known = session.get_one(MailServer, SERVER)
        if (known.failing_since is not None) is bool(words) and known.error == words:
            return

    def work(session: Session) -> None:
        row = session.get_one(MailServer, SERVER, with_for_update=True)
        if not words:
            row.failing_since = None
        elif row.failing_since is None:
            row.failing_since = clock.now(session)
        row.error = words
        session.flush()

    database.transaction(work)

"""The unit of work, and the one place that commits it.

A unit of work queues what must happen last (`at_commit`): there the logs' heads are locked, the
declared preconditions are checked again in new statements, and the record is written.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Engine, event, func, select, text
from sqlalchemy import exc as sa_exc
from sqlalchemy.orm import Session as OrmSession

from govern import errors
from govern.db import engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from govern.config import Settings

T = TypeVar("T")

_ATTEMPTS = 8


class Session(OrmSession):
    """A unit of work: nothing is flushed before the heads are locked, unless asked for."""

    def __init__(self, bind: Engine, database: Database) -> None:
        super().__init__(bind, autoflush=False, expire_on_commit=False)
        self.database = database
        self.looked: dict[object, Any] = {}

    def at_commit(self, step: Callable[[Session], None]) -> None:
        """Run `step` once, last, just before the commit."""
        steps = self.info.setdefault("at_commit", [])
        if step not in steps:
            steps.append(step)


class Again(Exception):
    """The world moved between reading and locking; run the unit of work again."""


class Beforehand(Exception):
    """What takes too long for a writer: `look` is run in a snapshot of its own, then all anew.

    When the unit of work is run again, what it found is the session's `looked[key]`; it is
    forgotten when that run says `Again`.
    """

    def __init__(self, key: object, look: Callable[[Session], Any]) -> None:
        super().__init__(str(key))
        self.key = key
        self.look = look


class Database:
    """The engines of one installation, and the only way to a session."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._main = engines.main_engine(settings.url)
        self._access = (
            self._main
            if settings.access_url == settings.url
            else engines.main_engine(settings.access_url)
        )
        self.is_postgresql = self._main.dialect.name == "postgresql"
        self.writer = self._main.execution_options(govern_begin="BEGIN IMMEDIATE")
        self.noter = self.writer.execution_options(govern_wait=0)
        snapshot: dict[str, Any] = {"govern_begin": "BEGIN"}
        if self.is_postgresql:
            snapshot |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self.reader = self._main.execution_options(**snapshot)
        self._asker = engines.asking_engine(settings.url)
        self._access_asker = (
            self._asker
            if self._access is self._main
            else engines.asking_engine(settings.access_url)
        )
        # Only `replica` reads from it, and only what no decision and no write depends on.
        self.copy = engines.copying_engine(settings.replica_url) if settings.replica_url else None
        self.access_writer = self._access.execution_options(govern_begin="BEGIN IMMEDIATE")
        self.access_reader = self._access.execution_options(**snapshot)
        self._at_dispose: list[Callable[[], None]] = []

    def transaction(self, work: Callable[[Session], T]) -> T:
        """Run `work` in one transaction and commit it: the one commit of govern.

        Deadlocks, lock time-outs, `Again` and `Beforehand` roll back and run it anew, so `work`
        must do nothing outside the database.
        """
        return self._commit(self.writer, work)

    def access_transaction(self, work: Callable[[Session], T]) -> T:
        """The same for the access log's database."""
        return self._commit(self.access_writer, work)

    def _commit(self, engine: Engine, work: Callable[[Session], T]) -> T:
        looked: dict[object, Any] = {}
        attempt = 0
        while attempt < _ATTEMPTS:
            with Session(engine, self) as session:
                session.looked = looked
                try:
                    result = work(session)
                    for step in session.info.pop("at_commit", ()):
                        step(session)
                    session.commit()
                except Beforehand as first:
                    session.rollback()
                    with self.reading() as snapshot:
                        looked[first.key] = first.look(snapshot)
                    continue
                except Again:
                    session.rollback()
                    looked = {}
                except errors.GovernError as refusal:
                    session.rollback()
                    if refusal.aftermath is not None:
                        self._commit(engine, refusal.aftermath)
                    raise
                except sa_exc.DBAPIError as error:
                    session.rollback()
                    if not engines.is_transient(error):
                        raise
                else:
                    return result
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter, no secret
            attempt += 1
        raise errors.RecordFailed(engines.BUSY)

    def note(self, work: Callable[[Session], object]) -> bool:
        """Run `work` if the database can be had at once; else, or when it fails, let it go.

        For what no answer hangs on and nobody may wait for; returns whether it was written.
        """
        with Session(self.noter, self) as session:
            try:
                if self.is_postgresql:
                    session.execute(text("SET LOCAL lock_timeout = '50ms'"))
                work(session)
                session.commit()
            except (sa_exc.SQLAlchemyError, errors.RecordFailed):
                session.rollback()
                return False
        return True

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One consistent snapshot of the main database; nothing can be written through it."""
        with Session(self.reader, self) as session:
            yield session

    @contextmanager
    def glancing(self) -> Iterator[Session]:
        """A session each of whose statements has its own snapshot: for what is asked anew later.

        PostgreSQL is spared the beginning and the end of a transaction, each a message of its own.
        """
        with Session(self._asker, self) as session:
            yield session

    @contextmanager
    def asking(self) -> Iterator[Connection]:
        """A connection on which each statement has its own snapshot, taken when it is sent."""
        with self._asker.connect() as connection:
            yield connection

    @contextmanager
    def access_asking(self) -> Iterator[Connection]:
        """The same of the access log."""
        with self._access_asker.connect() as connection:
            yield connection

    @contextmanager
    def access_reading(self) -> Iterator[Session]:
        """One snapshot of the access log."""
        with Session(self.access_reader, self) as session:
            yield session

    def at_connect(self, look: Callable[[DBAPIConnection], None]) -> None:
        """Show each new connection to the main database to `look`, which refuses it by raising."""

        def shown(connection: DBAPIConnection, _: Any) -> None:
            look(connection)
            connection.rollback()

        for engine in (self._main, self._asker):
            event.listen(engine, "connect", shown)

    def at_dispose(self, give_back: Callable[[], None]) -> None:
        """Run this before connections are closed: whoever keeps one has to give it back first."""
        self._at_dispose.append(give_back)

    def dispose(self) -> None:
        """Close every connection."""
        for give_back in self._at_dispose:
            give_back()
        self._main.dispose()
        self._access.dispose()
        self._asker.dispose()
        self._access_asker.dispose()
        if self.copy is not None:
            self.copy.dispose()


def hold(session: Session, name: str, *, wait: bool = True) -> bool:
    """Let nobody else hold `name` until this transaction ends; False when told not to wait.

    On SQLite there is one writer at a time, which holds every name.
    """
    if not session.database.is_postgresql:
        return True
    take = func.pg_advisory_xact_lock if wait else func.pg_try_advisory_xact_lock
    taken = session.execute(select(take(func.hashtextextended(name, 0)))).scalar_one()
    return wait or bool(taken)

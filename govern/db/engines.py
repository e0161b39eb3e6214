"""How each kind of connection to either database behaves."""

from __future__ import annotations

import select as waiting
import sqlite3
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg.generators import execute
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, create_engine, event, literal
from sqlalchemy import exc as sa_exc
from sqlalchemy.sql.base import Executable

from govern import errors
from govern.prepared import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.orm import Session

BUSY = "The database is too busy; nothing was changed. Try again."
Statement = TypeVar("Statement", bound=Executable)

_ONCE = "govern_planned_once"
_SQLITE_WAIT = 30  # seconds for the one writer to finish


def is_transient(error: sa_exc.DBAPIError) -> bool:
    """Whether the same work may succeed when run anew: a deadlock, or a lock not had in time.

    Or one that PostgreSQL took away, since its holder stood still (`audit.heads.bounded`).
    """
    state = getattr(error.orig, "sqlstate", None)
    return state in {"40001", "40P01", "55P03", "25P03"} or "database is locked" in str(error.orig)


def main_engine(url: str) -> Engine:
    """For units of work on either database; what each begins with, its execution options say."""
    if url.startswith("postgresql"):
        # The connection used last has plans already.
        made = create_engine(url, pool_size=20, max_overflow=20, pool_use_lifo=True)
        return _keeping(_postgresql(made))
    engine = _sqlite(url)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def asking_engine(url: str) -> Engine:
    """For statements that are prepared once and sent thousands of times a second.

    Each is a transaction of its own, so that a connection can be kept from one to the next.

    Left to itself PostgreSQL would plan each anew: it takes a longer list of questions to be
    dearer, and forgets that planning costs more than all the rest. Nothing that is asked waits for
    a lock, but for one on the log of the answers.
    """
    if not url.startswith("postgresql"):
        return _sqlite(url)
    return _postgresql(
        # The one used last has its statements planned already.
        create_engine(url, isolation_level="AUTOCOMMIT", pool_size=20, pool_use_lifo=True),
        plan_cache_mode="force_generic_plan",
        lock_timeout="2s",
        statement_timeout="10s",
    )


def copying_engine(url: str) -> Engine:
    """For a replica, which may be gone: nobody waits long to learn that."""
    made = create_engine(url, pool_size=10, connect_args={"connect_timeout": 2})
    return _keeping(_postgresql(made)).execution_options(
        govern_begin="BEGIN", isolation_level="REPEATABLE READ", postgresql_readonly=True
    )


def _postgresql(engine: Engine, **settings: str) -> Engine:
    """Set up each connection; statements this short are never worth compiling to machine code.

    In another zone than UTC the driver could not read the calendar's last day.
    """
    settings = {"jit": "off", "timezone": "UTC"} | settings
    each = "".join(f"SET {name} = '{value}';" for name, value in settings.items())

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _: Any) -> None:
        with connection.cursor() as cursor:  # type: ignore[attr-defined]  # psycopg's
            cursor.execute(each, prepare=False)  # several at once cannot be
        connection.commit()

    event.listen(engine, "checkout", _still_there)
    return engine


def _keeping(engine: Engine) -> Engine:
    """Plan once what is `planned_once`, and all else for what it asks about."""

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.prepare_threshold = sys.maxsize  # none but those

    @event.listens_for(engine, "do_execute")
    def prepared(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        if _ONCE not in context.execution_options:
            return False
        walk(cursor, statement, parameters)
        return True

    engine.dialect.do_rollback = _rolled_back  # type: ignore[assignment]  # of this engine alone
    return engine


def _rolled_back(connection: Any) -> None:
    """Roll back and keep all plans, which the driver would drop."""
    open_ = {TransactionStatus.INTRANS, TransactionStatus.INERROR}
    if connection.pgconn.transaction_status in open_:
        connection.pgconn.send_query(b"ROLLBACK")
        connection.wait(execute(connection.pgconn))
    else:
        connection.rollback()


def planned_once(statement: Statement) -> Statement:
    """Let PostgreSQL plan a statement once for each connection, whatever it is asked about.

    For long ones that find a few rows by index: to plan them takes ten times what they take. They
    join row by row. Not where the best way hangs on how much there is of what is asked for. Their
    limits are `written`: of any number PostgreSQL expects a tenth of all rows.
    """
    return statement.execution_options(**{_ONCE: True})


def written(session: Session, number: int) -> ColumnElement[int]:
    """A limit that stands in the statement itself on PostgreSQL, and beside it on SQLite.

    SQLite would go through a whole table for a few rows, where it knows that a few are enough.
    """
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    return literal(number, literal_execute=on_postgresql)


def _still_there(connection: Any, *_: Any) -> None:
    """Refuse a connection that the server ended, and all that are as old, so that new are made.

    Nobody asked anything, so whatever there is to read is the end, or the word before it. To look
    costs nothing; to ask the server would cost each answer a round trip.
    """
    watched = waiting.poll()
    watched.register(connection.pgconn.socket, waiting.POLLIN)
    if watched.poll(0):
        raise sa_exc.InvalidatePoolError("the server ended the connection")


def _sqlite(url: str) -> Engine:
    wait = {"timeout": _SQLITE_WAIT}
    engine = create_engine(url, pool_size=20, max_overflow=20, connect_args=wait)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _: Any) -> None:
    # Python's own transaction handling would commit behind our back: we say BEGIN ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        # Without it, INSERT OR REPLACE deletes rows and the DELETE triggers never hear of it.
        "recursive_triggers = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    begin = options.get("govern_begin", "BEGIN")
    driver = connection.connection.driver_connection
    if driver is None or begin == "BEGIN":
        connection.exec_driver_sql(begin)
        return
    _begin_writing(driver, begin, options.get("govern_wait", _SQLITE_WAIT))


def _begin_writing(driver: Any, begin: str, wait: float) -> None:
    # SQLite's own wait looks ever more seldom, up to every 0.1 s, and misses the moment between
    # two chunks of an import: a pause would wait for the last one.
    driver.execute("PRAGMA busy_timeout = 0")
    deadline = time.monotonic() + wait
    try:
        while True:
            try:
                driver.execute(begin)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise sa_exc.OperationalError(begin, None, error) from error
                if time.monotonic() > deadline:
                    raise errors.RecordFailed(BUSY) from error
                time.sleep(0.001)
            else:
                return
    finally:
        driver.execute(f"PRAGMA busy_timeout = {1000 * _SQLITE_WAIT}")


@contextmanager
def written_at_once(connection: Connection) -> Iterator[None]:
    """One transaction of an asking connection on SQLite, without what SQLAlchemy does for each."""
    driver: Any = connection.connection.driver_connection
    _begin_writing(driver, "BEGIN IMMEDIATE", _SQLITE_WAIT)
    try:
        yield
        driver.commit()
    except sqlite3.Error as error:
        driver.rollback()
        raise sa_exc.DBAPIError.instance(None, None, error, sqlite3.Error) from error
    except BaseException:
        driver.rollback()
        raise

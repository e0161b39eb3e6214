"""The database: types, engines, and `transaction()`, the one place that commits.

Two databases share one code: SQLite (WAL, one writer, `BEGIN IMMEDIATE`) and PostgreSQL (READ
COMMITTED; the heads of the logs serialise what must be serial). The access log is a database of
its own on SQLite, so that decisions never make a pause wait; on PostgreSQL it is the same one.

A unit of work queues what must happen last (`at_commit`): there the logs' heads are locked, the
declared preconditions are checked again in new statements, and the record is written.
"""

from __future__ import annotations

import json
import random
import re
import secrets
import select as waiting
import sqlite3
import time
from base64 import b32hexencode
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from psycopg.types.string import BytesBinaryDumper
from sqlalchemy import (
    Engine,
    ForeignKey,
    MetaData,
    String,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    literal,
    null,
    select,
    text,
    union_all,
)
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.orm import Session as OrmSession

from govern import errors
from govern.clock import Utc, micros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection, FromClause, SelectBase, Table
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from govern.config import Settings

T = TypeVar("T")

_BUSY = "The database is too busy; nothing was changed. Try again."
_ATTEMPTS = 8
_SQLITE_WAIT = 30  # seconds for the one writer to finish
_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def text_column(length: int) -> String:
    """Text compared byte by byte on both databases, so that keyset pages agree."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def references(column: str) -> ForeignKey:
    """A foreign key checked at the commit, so that rows may be written in any order."""
    return ForeignKey(column, deferrable=True, initially="DEFERRED")


Id = Annotated[str, mapped_column(text_column(32))]
Code = Annotated[str, mapped_column(text_column(80))]
Instant = Annotated["datetime", mapped_column(Utc())]


class Base(DeclarativeBase):
    """Tables of the main database."""

    metadata = MetaData(naming_convention=_NAMING)


class AccessBase(DeclarativeBase):
    """Tables of the access log's database."""

    metadata = MetaData(naming_convention=_NAMING)


class Audited:
    """Mark of a table whose every change must be recorded in the transaction that makes it."""


# What a column is marked with that tells of the person of its row's `subject_id`: it is emptied
# when they are erased (`access.erasing`).
PERSONAL = {"personal": True}


def new_id(prefix: str) -> str:
    """An opaque id such as `grt_0ch3…`: 48 bits of time, 72 of chance.

    Ids sort roughly by age, which keeps B-trees dense; they tell nothing of how many there are.
    """
    return _id(prefix, time.time_ns() // 1_000_000, secrets.token_bytes(9))


def id_at(prefix: str, when: datetime) -> str:
    """The least id that `new_id` could give at an instant."""
    return _id(prefix, micros(when) // 1000, bytes(9))


def _id(prefix: str, milliseconds: int, rest: bytes) -> str:
    number = milliseconds.to_bytes(6, "big") + rest
    return f"{prefix}_{b32hexencode(number).decode().lower()}"


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
        self._main = _engine(settings.url)
        self._access = (
            self._main if settings.access_url == settings.url else _engine(settings.access_url)
        )
        self.is_postgresql = self._main.dialect.name == "postgresql"
        self.writer = self._main.execution_options(govern_begin="BEGIN IMMEDIATE")
        self.noter = self.writer.execution_options(govern_wait=0)
        snapshot: dict[str, Any] = {"govern_begin": "BEGIN"}
        if self.is_postgresql:
            snapshot |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self.reader = self._main.execution_options(**snapshot)
        self._asker = _asking_engine(settings.url) if self.is_postgresql else self.reader
        # Only `replica` reads from it, and only what no decision and no write depends on.
        self.copy = _copying_engine(settings.replica_url) if settings.replica_url else None
        self.access_writer = self._access.execution_options(govern_begin="BEGIN IMMEDIATE")
        self.access_reader = self._access.execution_options(**snapshot)

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
                    if not is_transient(error):
                        raise
                else:
                    return result
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter, no secret
            attempt += 1
        raise errors.RecordFailed(_BUSY)

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
    def asking(self) -> Iterator[Connection]:
        """A connection on which each statement has its own snapshot, taken when it is sent."""
        with self._asker.connect() as connection:
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

        for engine in (self._main, self._asker) if self.is_postgresql else (self._main,):
            event.listen(engine, "connect", shown)

    def dispose(self) -> None:
        """Close every connection."""
        self._main.dispose()
        self._access.dispose()
        self._asker.dispose()
        if self.copy is not None:
            self.copy.dispose()


def is_transient(error: sa_exc.DBAPIError) -> bool:
    """Whether the same work may succeed when run anew: a deadlock, or a lock not had in time."""
    state = getattr(error.orig, "sqlstate", None)
    return state in {"40001", "40P01", "55P03"} or "database is locked" in str(error.orig)


def _engine(url: str) -> Engine:
    if url.startswith("postgresql"):
        return _postgresql(create_engine(url, pool_size=20, max_overflow=20, pool_use_lifo=True))
    wait = {"timeout": _SQLITE_WAIT}
    engine = create_engine(url, pool_size=20, max_overflow=20, connect_args=wait)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _asking_engine(url: str) -> Engine:
    """For statements that are prepared once and sent thousands of times a second.

    Left to itself PostgreSQL would plan each anew: it takes a longer list of questions to be
    dearer, and forgets that planning costs more than all the rest. Nothing that is asked waits for
    a lock, but for one on the log of the answers.
    """
    return _postgresql(
        create_engine(url, isolation_level="AUTOCOMMIT", pool_size=20),
        plan_cache_mode="force_generic_plan",
        lock_timeout="2s",
        statement_timeout="10s",
    )


def _copying_engine(url: str) -> Engine:
    """For a replica, which may be gone: nobody waits long to learn that."""
    made = create_engine(url, pool_size=10, connect_args={"connect_timeout": 2})
    return _postgresql(made).execution_options(
        govern_begin="BEGIN", isolation_level="REPEATABLE READ", postgresql_readonly=True
    )


def _postgresql(engine: Engine, **settings: str) -> Engine:
    """Set up each connection; statements this short are never worth compiling to machine code."""
    each = "".join(f"SET {name} = '{value}';" for name, value in {"jit": "off", **settings}.items())

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _: Any) -> None:
        with connection.cursor() as cursor:  # type: ignore[attr-defined]  # psycopg's
            cursor.execute(each)
        connection.commit()

    event.listen(engine, "checkout", _still_there)
    return engine


def _still_there(connection: Any, *_: Any) -> None:
    """Refuse a connection that the server ended, and all that are as old, so that new are made.

    Nobody asked anything, so whatever there is to read is the end, or the word before it. To look
    costs nothing; to ask the server would cost each answer a round trip.
    """
    watched = waiting.poll()
    watched.register(connection.pgconn.socket, waiting.POLLIN)
    if watched.poll(0):
        raise sa_exc.InvalidatePoolError("the server ended the connection")


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
    # SQLite's own wait looks ever more seldom, up to every 0.1 s, and misses the moment between
    # two chunks of an import: a pause would wait for the last one.
    driver.execute("PRAGMA busy_timeout = 0")
    deadline = time.monotonic() + options.get("govern_wait", _SQLITE_WAIT)
    try:
        while True:
            try:
                driver.execute(begin)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise sa_exc.OperationalError(begin, None, error) from error
                if time.monotonic() > deadline:
                    raise errors.RecordFailed(_BUSY) from error
                time.sleep(0.001)
            else:
                return
    finally:
        driver.execute(f"PRAGMA busy_timeout = {1000 * _SQLITE_WAIT}")


def insert_if_absent(session: OrmSession, table: type[DeclarativeBase], **values: Any) -> bool:
    """Insert a row unless its key is there; of several at once, the others wait and find it.

    Returns whether it was inserted.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    done = session.execute(
        dialect.insert(table).values(**values).on_conflict_do_nothing(),
        execution_options={"preserve_rowcount": True},
    )
    return bool(done.rowcount == 1)  # type: ignore[attr-defined]  # a DML result has it


def insert_many(session: OrmSession, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows given in the order of the table's columns: COPY on PostgreSQL.

    Values are as the drivers take them, except instants, which are aware datetimes on both.
    PostgreSQL stores rows while the next are made, if they come from an iterator.
    """
    if isinstance(rows, list) and not rows:
        return
    insert_rows(session.connection(), table, rows)


def insert_rows(connection: Connection, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """The same without a session, for what is written at every turn."""
    driver_error = connection.dialect.loaded_dbapi.Error
    insert_all = _copy if connection.dialect.name == "postgresql" else _insert_all
    try:
        insert_all(connection.connection.driver_connection, table, rows)
    except driver_error as error:
        # Named as everywhere else, so that a deadlock here too is run anew.
        raise sa_exc.DBAPIError.instance(None, None, error, driver_error) from error


def _copy(driver: Any, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    statement, kinds = _copying(table)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        # Left to itself it would take one that looks for DB-API's Binary, at three times the cost.
        cursor.adapters.register_dumper(None, BytesBinaryDumper)
        copy.set_types(kinds)
        for row in rows:
            copy.write_row(row)


@lru_cache
def _copying(table: Table) -> tuple[str, list[str]]:
    """How to copy rows into a table, and its columns' types without their lengths."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    kinds = [column.type.compile(dialect).lower() for column in table.columns]
    names = ", ".join(column.name for column in table.columns)
    return (
        f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)",
        [re.split(r"\(| collate", kind)[0] for kind in kinds],
    )


def _insert_all(driver: Any, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    instants = [i for i, column in enumerate(table.columns) if isinstance(column.type, Utc)]
    names = ", ".join(column.name for column in table.columns)
    marks = ", ".join("?" * len(table.columns))

    def adapted() -> Iterator[list[Any]]:
        for row in rows:
            values = list(row)
            for i in instants:
                if values[i] is not None:
                    values[i] = micros(values[i])
            yield values

    driver.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", adapted())  # noqa: S608 - our own names


def listed(session: OrmSession, values: Sequence[str]) -> FromClause:
    """Many values as a table with one column `value`, bound as a single JSON parameter."""
    given = bindparam(None, json.dumps(values), type_=String())
    if session.get_bind().dialect.name == "postgresql":
        return func.jsonb_array_elements_text(cast(given, JSONB)).table_valued("value")
    return func.json_each(given).table_valued("value")


@dataclass(frozen=True)
class Inquiry(Generic[T]):
    """Something to ask along with others: what to select, and what its rows tell.

    The rows are tuples of plain columns, and come in no order.
    """

    query: SelectBase
    read: Callable[[list[tuple[Any, ...]]], T]


def together(session: OrmSession, *inquiries: Inquiry[Any]) -> list[Any]:
    """What some inquiries find, asked in one statement."""
    parts = [each.query.subquery() for each in inquiries]
    arms = []
    for place, part in enumerate(parts):
        # Each has columns of its own, which are empty in the rows of the others.
        columns = [
            column if other is part else cast(null(), _plain(column.type))
            for other in parts
            for column in other.c
        ]
        named = (column.label(f"c{number}") for number, column in enumerate(columns))
        arms.append(select(literal(place).label("place"), *named).select_from(part))
    found: list[list[tuple[Any, ...]]] = [[] for _ in parts]
    widths = [len(part.c) for part in parts]
    for place, *values in session.execute(union_all(*arms)):
        begin = sum(widths[:place])
        found[place].append(tuple(values[begin : begin + widths[place]]))
    return [each.read(rows) for each, rows in zip(inquiries, found, strict=True)]


def _plain(kind: Any) -> Any:
    return String() if isinstance(kind, String) else kind


def hold(session: Session, name: str, *, wait: bool = True) -> bool:
    """Let nobody else hold `name` until this transaction ends; False when told not to wait.

    On SQLite there is one writer at a time, which holds every name.
    """
    if not session.database.is_postgresql:
        return True
    take = func.pg_advisory_xact_lock if wait else func.pg_try_advisory_xact_lock
    taken = session.execute(select(take(func.hashtextextended(name, 0)))).scalar_one()
    return wait or bool(taken)

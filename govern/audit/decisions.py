"""The access log: each decision, search, read, export and refusal is durable before its answer.

Each writer (a process) numbers its own rows without a gap, so a missing row shows. If a row
cannot be written, `RecordFailed` is raised and the surface answers with a denial. A row's id, as
anyone outside is told it, is sealed: from two numbers one would know how much others asked between.
"""

from __future__ import annotations

import hmac
import threading
import weakref
from contextlib import ExitStack
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import BigInteger, Index, func, insert, select
from sqlalchemy import exc as sa_exc
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, config, errors
from govern.clock import Utc
from govern.db import AccessBase, Code, Id, insert_rows, new_id, written_at_once
from govern.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Table

    from govern.config import Settings
    from govern.db import Database

# So long a process writes under one id: whoever seals need not look at older ones for ever.
LIVES = timedelta(hours=1)


class AccessKind(StrEnum):
    """What a row of the access log tells of."""

    DECISION = "decision"
    SEARCH = "search"
    READ = "read"
    EXPORT = "export"
    REFUSAL = "refusal"
    INTROSPECTION = "introspection"
    TOKEN = "token"  # noqa: S105 - one was issued or taken back


class Access(AccessBase):
    """One row: who asked what about whom, and what they were told.

    `as_of` is the client log's position that the answer's snapshot saw, `house_as_of` the house's.
    """

    __tablename__ = "access_row"
    __table_args__ = (
        # Every decision pays for each of these; together they lead to whatever is searched for.
        Index("ix_access_row_subject", "subject_id", "at"),
        Index("ix_access_row_resource", "resource_id", "at"),
        Index("ix_access_row_client", "client_id", "at"),
        Index("ix_access_row_principal", "principal", "at"),
        Index("ix_access_row_at", "at"),
        {"sqlite_with_rowid": False},
    )

    writer: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(Utc())
    kind: Mapped[Code]
    principal: Mapped[Id]
    session_id: Mapped[Id | None]
    subject_id: Mapped[Id | None]
    client_id: Mapped[Id | None]
    resource_id: Mapped[Id | None]
    action: Mapped[Code | None]
    permit: Mapped[bool | None]
    reason: Mapped[Code | None]
    as_of: Mapped[int | None] = mapped_column(BigInteger)
    house_as_of: Mapped[int | None] = mapped_column(BigInteger)
    worked_at: Mapped[datetime | None] = mapped_column(Utc())
    detail: Mapped[str | None]


class Writer:
    """One run of rows: a number is taken only when its row is on disk.

    Each thread that answers has its own; what others write goes through `write`.
    """

    def __init__(self, database: Database) -> None:
        # Whoever writes holds the database; a thread that waits for work does not.
        self._database = weakref.ref(database)
        self._key = _key(database.settings.keys_dir)
        self._lock = threading.Lock()
        self._id: str | None = None

    @property
    def _there(self) -> Database:
        return cast("Database", self._database())

    def _begin(self) -> str:
        """Take an id behind all, since what is sealed for good is told by their order.

        The clock does not tell: another's may have run ahead, or this one have been set back.
        """
        with self._there.access_asking() as connection:
            newest = connection.execute(_NEWEST).scalar()
        self._id = new_id("wri", after=newest)
        self._next, self._until = 0, clock.utcnow() + LIVES
        return self._id

    def write(
        self, rows: Sequence[tuple[Any, ...]], kept: Callable[[], Connection] | None = None
    ) -> list[str]:
        """Make rows durable, given as the table's columns after the number; returns their ids.

        `kept` gives a connection of `Database.access_asking` that is there already.
        `RecordFailed` when they cannot be written.
        """
        if not rows:
            return []

        def insert_all(writer: str, first: int) -> Sequence[tuple[Any, ...]]:
            self._insert([(writer, first + place, *row) for place, row in enumerate(rows)], kept)
            return rows

        try:
            return [row_id for row_id, _ in self.recorded(insert_all)]
        except (sa_exc.SQLAlchemyError, errors.RecordFailed) as error:
            raise errors.RecordFailed("The access log cannot be written.") from error

    def recorded(
        self, insert: Callable[[str, int], Sequence[tuple[Any, ...]]]
    ) -> list[tuple[str, tuple[Any, ...]]]:
        """Have rows written under this writer's id and numbers from one on; each with its own id.

        `insert` makes them durable, and returns something for each in the order of their numbers.
        """
        with self._lock:
            writer = self._id
            if writer is None or clock.utcnow() > self._until:
                writer = self._begin()
            first = self._next
            try:
                made = insert(writer, first)
            except Exception:
                # Whether the rows arrived is unknown: their numbers are not used again.
                self._id = None
                raise
            self._next += len(made)
        numbers = range(first, first + len(made))
        return list(zip(_row_ids(self._key, writer, numbers), made, strict=True))

    def _insert(self, rows: list[tuple[Any, ...]], kept: Callable[[], Connection] | None) -> None:
        with ExitStack() as own:
            connection = kept() if kept else own.enter_context(self._there.access_asking())
            if self._there.is_postgresql:
                _INSERT.rows(connection, rows)
            else:
                own.enter_context(written_at_once(connection))
                insert_rows(connection, _TABLE, rows)


def row_id(settings: Settings, writer: str, number: int) -> str:
    """A row's id as all who ask or read are told it: always the same, and none tells of others."""
    return _row_ids(_key(settings.keys_dir), writer, [number])[0]


def _row_ids(key: bytes, writer: str, numbers: Sequence[int]) -> list[str]:
    """Keyed BLAKE2 (RFC 7693 §2.9), which takes a fifth of what an HMAC and other letters would."""
    return [
        f"acc_{blake2b(f'{writer}-{number}'.encode(), key=key, digest_size=12).hexdigest()}"
        for number in numbers
    ]


def cursor_key(settings: Settings) -> bytes:
    """What seals the places in the access log that readers go on from (64 bytes)."""
    return hmac.digest(_key(settings.keys_dir), b"cursors", "sha512")


@lru_cache(maxsize=8)
def _key(folder: Path) -> bytes:
    """The key of ids and cursors, which all nodes share; reading its file is not for each row."""
    return hmac.digest(config.secret(folder / "web.key"), b"rows of the access log", "sha256")


_TABLE = cast("Table", Access.__table__)
_INSERT = Prepared(
    {column.name: column.type for column in _TABLE.columns},
    lambda asked: insert(_TABLE).from_select(
        [column.name for column in _TABLE.columns],
        select(*(asked.c[column.name] for column in _TABLE.columns)),
    ),
)
_COLUMNS = [column.name for column in _TABLE.columns][2:]
_NEWEST = select(func.max(Access.writer))
_writers: weakref.WeakKeyDictionary[Database, Writer] = weakref.WeakKeyDictionary()
_writers_lock = threading.Lock()


def write(database: Database, rows: list[dict[str, Any]]) -> list[str]:
    """Make rows durable; returns their ids (see `row_id`), in order.

    Raises `RecordFailed` when they cannot be written: then nothing may be answered but a denial.
    """
    with _writers_lock:
        writer = _writers.setdefault(database, Writer(database))
    return writer.write([tuple(row.get(name) for name in _COLUMNS) for row in rows])

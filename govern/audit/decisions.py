"""The access log: each decision, search, read, export and refusal is durable before its answer.

Each writer (a process) numbers its own rows without a gap, so a missing row shows. If a row
cannot be written, `RecordFailed` is raised and the surface answers with a denial.
"""

from __future__ import annotations

import threading
import weakref
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Index, insert
from sqlalchemy import exc as sa_exc
from sqlalchemy.orm import Mapped, mapped_column

from govern import errors
from govern.clock import Utc
from govern.db import AccessBase, Code, Id, new_id

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from govern.db import Database


class AccessKind(StrEnum):
    """What a row of the access log tells of."""

    DECISION = "decision"
    SEARCH = "search"
    READ = "read"
    EXPORT = "export"
    REFUSAL = "refusal"


class Access(AccessBase):
    """One row: who asked what about whom, and what they were told.

    `as_of` is the client log's position that the answer's snapshot saw, `house_as_of` the house's.
    """

    __tablename__ = "access_row"
    __table_args__ = (
        Index("ix_access_row_subject", "subject_id", "at"),
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


class _Writer:
    """One process's run of rows: the number is taken only when its row is on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._id = new_id("wri")
        self._next = 0

    def write(self, rows: list[dict[str, Any]]) -> list[str]:
        with self._lock:
            numbered = [
                row | {"writer": self._id, "number": self._next + i} for i, row in enumerate(rows)
            ]

            def work(session: Session) -> None:
                session.execute(insert(Access), numbered)

            try:
                self._database.access_transaction(work)
            except sa_exc.SQLAlchemyError as error:
                # Whether the row arrived is unknown: its number is not used again.
                self._id, self._next = new_id("wri"), 0
                raise errors.RecordFailed("The access log cannot be written.") from error
            self._next += len(rows)
        return [f"{row['writer']}-{row['number']}" for row in numbered]


_writers: weakref.WeakKeyDictionary[Database, _Writer] = weakref.WeakKeyDictionary()
_writers_lock = threading.Lock()


def write(database: Database, rows: list[dict[str, Any]]) -> list[str]:
    """Make rows durable; returns their ids (`writer-number`), in order.

    Raises `RecordFailed` when they cannot be written: then nothing may be answered but a denial.
    """
    with _writers_lock:
        writer = _writers.setdefault(database, _Writer(database))
    return writer.write(rows)

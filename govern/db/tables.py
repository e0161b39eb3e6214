"""What tables are made of: their bases, the types of their columns, and ids."""

from __future__ import annotations

import secrets
import time
from base64 import b32hexdecode, b32hexencode
from datetime import datetime
from typing import Annotated

from sqlalchemy import ForeignKey, MetaData, String
from sqlalchemy.orm import DeclarativeBase, mapped_column

from govern.clock import Utc, micros

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


def new_id(prefix: str, *, after: str | None = None) -> str:
    """An opaque id such as `grt_0ch3…`: 48 bits of time, 72 of chance.

    Ids sort roughly by age, which keeps B-trees dense; they tell nothing of how many there are.
    This one sorts behind `after` whatever the clocks say.
    """
    milliseconds = time.time_ns() // 1_000_000
    if after is not None:
        then = b32hexdecode(after.removeprefix(f"{prefix}_").upper())[:6]
        milliseconds = max(milliseconds, int.from_bytes(then, "big") + 1)
    return _id(prefix, milliseconds, secrets.token_bytes(9))


def id_at(prefix: str, when: datetime) -> str:
    """The least id that `new_id` could give at an instant."""
    return _id(prefix, micros(when) // 1000, bytes(9))


def _id(prefix: str, milliseconds: int, rest: bytes) -> str:
    number = milliseconds.to_bytes(6, "big") + rest
    return f"{prefix}_{b32hexencode(number).decode().lower()}"

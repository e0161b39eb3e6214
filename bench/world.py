"""Worlds to measure in: the example roster, or one made as large as asked."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, text

from govern.access import catalogue, roster
from govern.db import insert_many
from govern.principal import operator

if TYPE_CHECKING:
    from govern.db import Database, Session

BY = operator("bench")
DATA = Path(roster.__file__).parents[2] / "example" / "data"
_TABLE = Table(
    "scratch",
    MetaData(),
    Column("n", BigInteger),
    Column("a", String),
    Column("b", String),
    Column("leaf", LargeBinary),
    Column("hash", LargeBinary),
)
_SCRATCH = "CREATE TABLE scratch (n BIGINT PRIMARY KEY, a TEXT, b TEXT, leaf {blob}, hash {blob})"


def load_catalogue(database: Database) -> None:
    """The example's clients and projects."""
    catalogue.load(database, json.loads((DATA / "catalogue.json").read_text()), by=BY)


def load_roster(database: Database) -> roster.Outcome:
    """The example's 5,000 people and 7,640 grants."""
    with (DATA / "roster.csv").open("rb") as file:
        return roster.load(database, file, by=BY)


def large_roster(rows: int, *, client: str = "BOREAL", project: str = "Cinnabar") -> io.BytesIO:
    """A roster of as many people, one grant each."""
    lines = [",".join(roster.COLUMNS)]
    lines += [
        f"L{n:07},l{n:07}@people.example,Person {n},annotator,direct,KE,,{client},{project},,"
        "annotator,2026-01-01T00:00:00Z,2036-01-01T00:00:00Z"
        for n in range(rows)
    ]
    return io.BytesIO(("\n".join(lines) + "\n").encode())


def bare_append(database: Database, rows: int) -> None:
    """The floor of a log: one statement, a row of text and its SHA-256 for each entry."""
    blob = "BYTEA" if database.is_postgresql else "BLOB"
    body = "x" * 420

    def work(session: Session) -> None:
        session.execute(text("DROP TABLE IF EXISTS scratch"))
        session.execute(text(_SCRATCH.format(blob=blob)))
        insert_many(session, _TABLE, [_bare(n, body) for n in range(rows)])

    database.transaction(work)


def _bare(n: int, body: str) -> tuple[Any, ...]:
    leaf = f"{n}{body}".encode()
    return n, "grant.suspended", "cli_00000000000000000000", leaf, hashlib.sha256(leaf).digest()

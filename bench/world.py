"""Worlds to measure in: the example roster, or one made as large as asked."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
    select,
    text,
)

from govern.access import catalogue, clients, roster
from govern.access.clients import Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.audit.log import Entry
from govern.db import insert_many
from govern.identity import subjects, words
from govern.identity.subjects import Membership, Subject
from govern.identity.words import SubjectWord
from govern.principal import operator

if TYPE_CHECKING:
    from collections.abc import Iterable

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
_NO_LOG = "bench"
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


def bare_entries(database: Database, client: str, rows: int) -> None:
    """The floor of particulars: as many rows of the same table, each with its SHA-256, at once.

    On PostgreSQL one COPY, on SQLite one statement; they are no log's.
    """
    entry = cast("Table", Entry.__table__)
    body = "x" * 420

    def work(session: Session) -> None:
        begun = datetime(2026, 1, 1, tzinfo=UTC)
        after = session.execute(
            select(func.coalesce(func.max(Entry.seq) + 1, 0)).where(Entry.log_id == _NO_LOG)
        ).scalar_one()
        made = (
            (_NO_LOG, n, begun, "grant.suspended", "system", f"sub_{n % 20_000:024}", client,
             client, leaf, hashlib.sha256(leaf).digest())
            for n in range(after, after + rows)
            for leaf in (f"{n}{body}".encode(),)
        )  # fmt: skip
        insert_many(session, entry, made)

    database.transaction(work)


def grow(database: Database, *, people: int, grants_each: int) -> list[str]:
    """Fill an installation that has its catalogue: people and grants, written as barely as can be.

    Returns the external ids. Grants go round the projects; no entries are written, since decisions
    read only the last key of a log.
    """

    def work(session: Session) -> None:
        projects = session.execute(select(Project.id, Project.client_id).order_by(Project.id)).all()
        _people(session, people)
        _grants(
            session,
            (
                (n * grants_each + k, n, *projects[(n + k) % len(projects)])
                for n in range(people)
                for k in range(grants_each)
            ),
        )

    database.transaction(work)
    analyze(database)
    return [f"L{n:07}" for n in range(people)]


def grow_clients(database: Database, sizes: dict[str, int]) -> list[str]:
    """The same with so many grants of each client, by its code; five at most for each person."""
    people = max(sizes.values()) // 5

    def work(session: Session) -> None:
        _people(session, people)
        first = 0
        for code, size in sizes.items():
            owner = clients.client(session, code)
            own = session.execute(
                select(Project.id, Project.client_id)
                .where(Project.client_id == owner.id)
                .order_by(Project.id)
            ).all()
            _grants(
                session,
                ((first + n, n % people, *own[n // people % len(own)]) for n in range(size)),
            )
            first += size

    database.transaction(work)
    analyze(database)
    return [f"L{n:07}" for n in range(people)]


def grow_projects(database: Database, sizes: dict[str, int]) -> None:
    """The same with so many grants on each project, by its code; each person has one there."""

    def work(session: Session) -> None:
        _people(session, max(sizes.values()))
        first = 0
        for code, size in sizes.items():
            own = clients.project(session, code)
            _grants(session, ((first + n, n, own.id, own.client_id) for n in range(size)))
            first += size

    database.transaction(work)


_BEGUN, _UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)


def _people(session: Session, count: int) -> None:
    if session.database.is_postgresql:
        # To look for each row's parents would take longer than to write them.
        session.execute(text("SET LOCAL session_replication_role = replica"))
    firm = subjects.ensure_organisation(session, "Many Hands").id
    session.flush()
    insert_many(
        session,
        cast("Table", Subject.__table__),
        (
            (f"sub_{n:024}", f"L{n:07}", f"l{n:07}@people.example", f"Person {n}", "annotator",
             "KE", "", "operator:bench", _BEGUN, None, None, None)
            for n in range(count)
        ),
    )  # fmt: skip
    insert_many(
        session,
        cast("Table", Membership.__table__),
        ((f"mem_{n:024}", f"sub_{n:024}", firm, _BEGUN, None) for n in range(count)),
    )
    insert_many(
        session,
        cast("Table", SubjectWord.__table__),
        ((f"sub_{n:024}", word) for n in range(count) for word in words.beginnings(f"Person {n}")),
    )


def _grants(session: Session, given: Iterable[tuple[int, int, str, str]]) -> None:
    """Grants by number, person, project and client."""
    entitlement = session.execute(
        select(Entitlement.id).where(Entitlement.name == "annotator")
    ).scalar_one()
    insert_many(
        session,
        cast("Table", Grant.__table__),
        (
            (f"grt_{number:024}", f"sub_{person:024}", entitlement, client, project, None,
             _BEGUN, _UNTIL, _BEGUN, None)
            for number, person, project, client in given
        ),
    )  # fmt: skip


def analyze(database: Database) -> None:
    if database.is_postgresql:
        with database.writer.connect().execution_options(isolation_level="AUTOCOMMIT") as raw:
            raw.execute(text("VACUUM ANALYZE"))
            # What was filled in is on the disk before anything is timed.
            raw.execute(text("CHECKPOINT"))
    else:
        database.transaction(lambda session: session.execute(text("ANALYZE")))

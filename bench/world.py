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
    ColumnElement,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
    insert,
    literal,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy import cast as sql_cast

from govern.access import catalogue, clients, roster
from govern.access.clients import Project
from govern.access.entitlements import Entitlement
from govern.access.grants import Grant
from govern.audit.log import Entry
from govern.db import Planning, insert_many
from govern.identity import subjects
from govern.identity.subjects import Membership, Subject
from govern.identity.words import SubjectWord
from govern.principal import operator

if TYPE_CHECKING:
    from sqlalchemy import FromClause
    from sqlalchemy.orm import DeclarativeBase

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
        _people(session, people)
        number = session.scalars(select(func.count()).select_from(Project)).one()
        _grants(
            session,
            people * grants_each,
            person=_N // grants_each,
            place=(_N // grants_each + _N % grants_each) % number,
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
            own = Project.client_id == clients.client(session, code).id
            number = session.scalars(select(func.count()).where(own)).one()
            person, place = _N % people, _N // people % number
            _grants(session, size, person=person, place=place, first=first, which=own)
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
            _grants(session, size, person=_N, place=_N * 0, first=first, which=Project.code == code)
            first += size

    database.transaction(work)


_BEGUN, _UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
_N: ColumnElement[int] = literal_column("n", BigInteger())


def _people(session: Session, count: int) -> None:
    quickly(session)
    firm = subjects.ensure_organisation(session, "Many Hands").id
    session.flush()
    name = literal("Person ") + sql_cast(_N, String)
    fill(session, Subject, count, {
        "id": _id("sub", _N), "external_id": "L" + _digits(_N, 7),
        "email": "l" + _digits(_N, 7) + "@people.example", "full_name": name, "kind": "annotator",
        "country": "KE", "expertise": "", "created_by": "operator:bench", "recorded_at": _BEGUN,
    })  # fmt: skip
    fill(session, Membership, count, {
        "id": _id("mem", _N), "subject_id": _id("sub", _N), "organisation_id": firm,
        "recorded_at": _BEGUN,
    })  # fmt: skip
    for word in ("person", sql_cast(_N, String)):
        fill(session, SubjectWord, count, {"subject_id": _id("sub", _N), "word": word})


def _grants(
    session: Session,
    count: int,
    *,
    person: ColumnElement[int],
    place: ColumnElement[int],
    first: int = 0,
    which: ColumnElement[bool] | None = None,
) -> None:
    """So many grants by the number of their person and by their project's place among some."""
    entitlement = session.execute(
        select(Entitlement.id).where(Entitlement.name == "annotator")
    ).scalar_one()
    numbered = func.row_number().over(order_by=Project.id) - 1
    among = (
        select(Project.id, Project.client_id, numbered.label("place"))
        .where(true() if which is None else which)
        .subquery("among")
    )
    fill(session, Grant, count, {
        "id": _id("grt", _N + first), "subject_id": _id("sub", person),
        "entitlement_id": entitlement, "client_id": among.c.client_id, "project_id": among.c.id,
        "starts_at": _BEGUN, "ends_at": _UNTIL, "recorded_at": _BEGUN,
    }, (among, among.c.place == place))  # fmt: skip


def quickly(session: Session) -> None:
    """Let the transaction write many rows without what would take longer than these."""
    if session.database.is_postgresql:
        # To look for each row's parents.
        session.execute(text("SET LOCAL session_replication_role = replica"))
    else:
        # To write each page of an index again and again.
        session.execute(text("PRAGMA cache_size = -1000000"))


def fill(
    session: Session,
    table: type[DeclarativeBase],
    count: int,
    values: dict[str, Any],
    joined: tuple[FromClause, ColumnElement[bool]] | None = None,
) -> None:
    """Insert so many rows, made by the database of their numbers `n` from 0."""
    counting = select(literal(0, BigInteger()).label("n")).cte("counting", recursive=True)
    numbers = counting.union_all(select(counting.c.n + 1).where(counting.c.n < count - 1))
    known = table.__table__.c
    columns = [
        (value if isinstance(value, ColumnElement) else literal(value, known[name].type)).label(
            name
        )
        for name, value in values.items()
    ]
    rows = select(*columns).select_from(numbers if joined is None else numbers.join(*joined))
    # Past the session, which takes no change that no operation records.
    session.connection().execute(insert(table.__table__).from_select(list(values), rows))


def _id(prefix: str, number: ColumnElement[int]) -> ColumnElement[str]:
    return literal(f"{prefix}_") + _digits(number, 24)


def _digits(number: ColumnElement[int], width: int) -> Any:
    """A number with zeros before it, as both databases can write it."""
    zeros = literal("0" * width)
    return func.substr(zeros + sql_cast(number, String), func.length(sql_cast(number, String)) + 1)


def analyze(database: Database) -> None:
    if database.is_postgresql:
        with database.writer.connect().execution_options(isolation_level="AUTOCOMMIT") as raw:
            raw.execute(text("VACUUM ANALYZE"))
            # What was filled in is on the disk before anything is timed.
            raw.execute(text("CHECKPOINT"))
    else:
        Planning(database).follow()  # as a server's followers do

"""The database refuses to change what is in a log, whoever asks."""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from govern.audit import decisions, expiry, log, triggers  # noqa: F401 - their tables
from govern.db import AccessBase, Base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Templates

TABLES = {
    "log_entry": (
        "log_id, seq, at, type, actor, leaf, hash",
        "'house', 0, {at}, 'client.created', 'system', {blob}, {blob}",
        "UPDATE log_entry SET actor = 'else'",
    ),
    "log_checkpoint": (
        "log_id, size, signed_at, note",
        "'house', 1, {at}, 'note'",
        "UPDATE log_checkpoint SET note = 'else'",
    ),
    "log_tile": (
        "log_id, level, number, hashes",
        "'house', 0, 0, {blob}",
        "UPDATE log_tile SET number = 1",
    ),
    "log_value": (
        "log_id, seq, name, about, salt, value",
        "'house', 0, 'note', 'sub_1', 'salt', 'words'",
        "UPDATE log_value SET salt = NULL, value = 'else'",
    ),
    "access_row": (
        "writer, number, at, kind, principal",
        "'wri_1', 0, {at}, 'decision', 'int_1'",
        "UPDATE access_row SET permit = {true}",
    ),
    "access_expiry": ("before", "{early}", "UPDATE access_expiry SET before = {at}"),
}
WORDS = {
    "sqlite": {"at": "1", "early": "0", "blob": "x'00'", "true": "1"},
    "postgresql": {
        "at": "now()",
        "early": "to_timestamp(0)",
        "blob": "'\\x00'::bytea",
        "true": "true",
    },
}


def fill(kind: str, url: str) -> None:
    engine = create_engine(url)
    for base in (Base, AccessBase):
        base.metadata.create_all(engine)
    with Session(engine) as session:
        for part in ("main", "access"):
            for statement in triggers.ddl(kind, part):
                session.execute(text(statement))
        session.execute(text("INSERT INTO log (id, origin, size) VALUES ('house', 'o', 1)"))
        for table, (columns, values, _) in TABLES.items():
            row = values.format(**WORDS[kind])
            session.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({row})"))
        session.commit()
    engine.dispose()


@pytest.fixture(scope="module")
def guarded(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Of each kind a database with every trigger and a row in each table; gives its address."""

    @cache
    def made(kind: str) -> str:
        file = tmp_path_factory.mktemp("guarded") / "guarded.db"
        url = f"sqlite:///{file}" if kind == "sqlite" else templates.server.create_database()
        fill(kind, url)
        return url

    return made


@pytest.fixture
def session(
    database: str, guarded: Callable[[str], str], templates: Templates, tmp_path: Path
) -> Iterator[Session]:
    """A copy of it for each test."""
    if database == "sqlite":
        shutil.copy(guarded(database).removeprefix("sqlite:///"), tmp_path / "own.db")
        url = f"sqlite:///{tmp_path / 'own.db'}"
    else:
        url = templates.lending.lend(guarded(database))
    engine = create_engine(url)
    with Session(engine) as session:
        yield session
    engine.dispose()
    if database == "postgresql":
        templates.lending.take_back(url)


def refused(session: Session, statement: str) -> None:
    with pytest.raises(IntegrityError, match="append-only"):
        session.execute(text(statement))
    session.rollback()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.asvs("16.4.2")
def test_a_row_is_neither_changed_nor_removed(session: Session, database: str, table: str) -> None:
    refused(session, TABLES[table][2].format(**WORDS[database]))
    refused(session, f"DELETE FROM {table}")
    if database == "postgresql":
        refused(session, f"TRUNCATE {table}")


def test_the_head_of_a_log_moves_and_is_never_removed(session: Session, database: str) -> None:
    session.execute(text("UPDATE log SET size = 2"))
    session.commit()
    refused(session, "DELETE FROM log")
    if database == "postgresql":
        refused(session, "TRUNCATE log CASCADE")


@pytest.mark.parametrize("table", TABLES)
def test_no_insert_replaces_a_row(session: Session, database: str, table: str) -> None:
    columns, values, update = TABLES[table]
    row = values.format(**WORDS[database])
    if database == "sqlite":
        # As a stranger would: a connection without our pragmas.
        session.execute(text("PRAGMA recursive_triggers = OFF"))
        refused(session, f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({row})")
        refused(session, f"REPLACE INTO {table} ({columns}) VALUES ({row})")
        refused(session, update.format(**WORDS[database]).replace("UPDATE", "UPDATE OR REPLACE"))
    else:
        key = {"log_entry": "log_id, seq", "log_checkpoint": "log_id, size",
               "log_tile": "log_id, level, number", "log_value": "log_id, seq, name",
               "access_row": "writer, number", "access_expiry": "before"}[table]  # fmt: skip
        change = update.partition(" SET ")[2].format(**WORDS[database])
        refused(
            session,
            f"INSERT INTO {table} ({columns}) VALUES ({row}) ON CONFLICT ({key}) "
            f"DO UPDATE SET {change}",
        )


def test_of_the_access_log_goes_what_is_older_than_the_horizon_alone(
    session: Session, database: str
) -> None:
    at = {"sqlite": "{}", "postgresql": "to_timestamp({})"}[database]
    for number, when in ((1, 10), (2, 19), (3, 20), (4, 30)):
        session.execute(
            text(
                "INSERT INTO access_row (writer, number, at, kind, principal) "
                f"VALUES ('wri_2', {number}, {at.format(when)}, 'decision', 'int_1')"
            )
        )
    session.execute(text(f"INSERT INTO access_expiry (before) VALUES ({at.format(20)})"))
    session.commit()
    for number in (3, 4):
        refused(session, f"DELETE FROM access_row WHERE writer = 'wri_2' AND number = {number}")
    refused(session, "UPDATE access_row SET principal = 'x' WHERE number = 1")
    session.execute(text("DELETE FROM access_row WHERE writer = 'wri_2' AND number < 3"))
    left = session.execute(text("SELECT number FROM access_row WHERE writer = 'wri_2'")).scalars()
    assert sorted(left) == [3, 4]


def test_a_replica_is_refused_too(session: Session, database: str) -> None:
    if database == "postgresql":
        session.execute(text("SET session_replication_role = replica"))
    refused(session, "DELETE FROM log_entry")


def test_a_personal_value_can_only_be_emptied(session: Session) -> None:
    for change in (
        "salt = NULL",
        "value = NULL",
        "salt = NULL, value = NULL, seq = 3",
        "salt = NULL, value = NULL, about = 'sub_2'",
    ):
        refused(session, f"UPDATE log_value SET {change}")
    session.execute(text("UPDATE log_value SET salt = NULL, value = NULL"))
    session.commit()
    assert session.execute(text("SELECT about, value FROM log_value")).one() == ("sub_1", None)
    refused(session, "UPDATE log_value SET value = 'again'")


def test_what_is_not_in_place_is_named(session: Session, database: str) -> None:
    def missing() -> list[str]:
        return [name for part in ("main", "access") for name in triggers.missing(session, part)]

    assert missing() == []
    if database == "sqlite":
        session.execute(text("DROP TRIGGER log_entry_no_delete"))
        session.execute(text("DROP TRIGGER access_row_no_insert"))
        session.execute(
            text(
                "CREATE TRIGGER access_row_no_insert BEFORE INSERT ON access_row "
                "BEGIN SELECT 1; END"
            )
        )
        assert missing() == ["log_entry_no_delete", "access_row_no_insert"]
    else:
        session.execute(text("DROP TRIGGER log_entry_no_truncate ON log_entry"))
        session.execute(text("ALTER TABLE log_tile DISABLE TRIGGER log_tile_no_change"))
        session.execute(text("ALTER TABLE log_checkpoint ENABLE TRIGGER log_checkpoint_no_change"))
        session.execute(
            text(
                "CREATE OR REPLACE FUNCTION access_append_only() RETURNS trigger "
                "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
            )
        )
        assert missing() == [
            "log_entry_no_truncate",
            "log_checkpoint_no_change",
            "log_tile_no_change",
            "access_expiry_no_change",
            "access_expiry_no_truncate",
        ]


def test_the_triggers_go_as_they_came(session: Session, database: str) -> None:
    for part in ("access", "main"):
        for statement in triggers.undo(database, part):
            session.execute(text(statement))
    session.execute(text("DELETE FROM log_entry"))
    for part in ("access", "main"):
        for statement in triggers.ddl(database, part):
            session.execute(text(statement))
    assert triggers.missing(session, "main") == []

"""Migrations: one head for each history, up from nothing, models = schema, down one and up."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, select, text

from govern import config, errors, permissions, schema, sealing
from govern.audit import triggers
from govern.config import Settings
from govern.db import Database
from govern.identity import integrations
from govern.identity.words import SubjectWord
from govern.principal import RoleHeld
from tests.factory import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def empty(empty_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "new", database_url=empty_url)


def missing(settings: Settings) -> list[str]:
    store = Database(settings)
    try:
        with store.reading() as main, store.access_reading() as access:
            return [*triggers.missing(main, "main"), *triggers.missing(access, "access")]
    finally:
        store.dispose()


def test_each_history_has_one_head_and_names_its_files_by_it(empty: Settings) -> None:
    for part in schema.PARTS:
        scripts = ScriptDirectory.from_config(schema.alembic_config(empty, part))
        assert scripts.get_heads() == [schema.head(part)]
        for each in scripts.walk_revisions():
            assert each.path.rpartition("/")[2].startswith(f"{each.revision}_")


def test_up_from_nothing_gives_what_the_models_say_with_triggers_and_keys(
    empty: Settings,
) -> None:
    schema.upgrade(empty)
    schema.check(empty)
    assert missing(empty) == []
    for name in ("sealing-1.key", "web.key"):
        assert len(config.secret(empty.keys_dir / name)) == 32
    assert empty.data_dir.stat().st_mode & 0o777 == 0o700
    store = Database(empty)
    schema.require_schema(store)
    World(store).project()
    store.dispose()


def test_down_one_and_up_again_on_each_history(empty: Settings) -> None:
    schema.upgrade(empty)
    for part in schema.PARTS:
        setup = schema.alembic_config(empty, part)
        command.downgrade(setup, "-1")
        command.upgrade(setup, "head")
    schema.check(empty)
    assert missing(empty) == []


def test_integrations_of_the_first_tables_keep_their_secret_and_limit(empty: Settings) -> None:
    empty.data_dir.mkdir()
    setup = schema.alembic_config(empty, "main")
    command.upgrade(setup, "0001")
    engine = create_engine(empty.url)
    digest = hashlib.sha256(b"secret").hexdigest()
    with engine.begin() as connection:
        for name, client in (("wide", "NULL"), ("narrow", "'cli_1'")):
            now = "now()" if engine.dialect.name == "postgresql" else "1700000000000000"
            connection.execute(
                text(
                    "INSERT INTO integration (id, name, scope, client_id, secret_hash, recorded_at)"
                    f" VALUES ('int_{name}', '{name}', 'decision', {client}, "
                    f"'{digest if client != 'NULL' else name}', {now})"
                )
            )
    engine.dispose()
    schema.upgrade(empty)
    store = Database(empty)
    with store.reading() as session:
        by = integrations.authenticate(session, "int_narrow", "secret")
        wide = integrations.find_active(session, "int_wide")
        assert wide is not None
        assert permissions.scope(by, "decision:ask") == {"cli_1"}
        assert integrations.principal_of(session, wide).roles == (RoleHeld("decision"),)
        assert (wide.redirect_uris, wide.resources, wide.public_keys) == ([], [], None)
    store.dispose()


def test_words_are_taken_from_the_names_of_who_is_here(empty: Settings) -> None:
    schema.upgrade(empty)
    store = Database(empty)
    world = World(store)
    people = [world.subject(full_name=f"Ada King {number}") for number in range(3)]
    setup = schema.alembic_config(empty, "main")
    command.downgrade(setup, "0041")
    command.upgrade(setup, "head")
    with store.reading() as session:
        kept = set(session.execute(select(SubjectWord.subject_id, SubjectWord.word)))
    assert kept == {
        (person.id, word) for n, person in enumerate(people) for word in ("ada", "king", str(n))
    }
    store.dispose()


def test_down_to_nothing_leaves_nothing(empty: Settings) -> None:
    schema.upgrade(empty)
    for part in schema.PARTS:
        command.downgrade(schema.alembic_config(empty, part), "base")
    for url in {empty.url, empty.access_url}:
        engine = create_engine(url)
        left = set(inspect(engine).get_table_names()) - {"schema_main", "schema_access"}
        engine.dispose()
        assert left == set()


def test_upgrading_again_changes_nothing(settings: Settings) -> None:
    before = (settings.keys_dir / "sealing-1.key").read_bytes()
    schema.upgrade(settings)
    schema.check(settings)
    assert (settings.keys_dir / "sealing-1.key").read_bytes() == before


def test_a_schema_that_is_not_what_the_models_say_is_told(
    settings: Settings, store: Database
) -> None:
    store.transaction(lambda s: s.execute(text("ALTER TABLE subject ADD COLUMN extra INTEGER")))
    with pytest.raises(errors.Unavailable, match="extra"):
        schema.check(settings)


def test_a_database_that_is_not_there_or_not_migrated_is_not_served(empty: Settings) -> None:
    store = Database(empty)
    with pytest.raises(errors.Unavailable, match="db upgrade"):
        schema.require_schema(store)
    store.dispose()
    schema.upgrade(empty)
    command.downgrade(schema.alembic_config(empty, "access"), "-1")
    store = Database(empty)
    with pytest.raises(errors.Unavailable, match="db upgrade"):
        schema.require_schema(store)
    store.dispose()


@pytest.mark.asvs("13.3.1")
def test_the_keys_are_no_part_of_the_database(world: World, settings: Settings) -> None:
    subject = world.subject()
    world.activate(subject)
    shutil.rmtree(settings.keys_dir)
    with pytest.raises(errors.Unavailable):
        sealing.seal(settings, b"x", place="p")

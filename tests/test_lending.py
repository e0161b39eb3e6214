"""PostgreSQL databases that go from test to test: whoever borrows one finds it as new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from tests.support.lending import Lending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Templates


@pytest.fixture
def lending(templates: Templates) -> Iterator[tuple[Lending, str]]:
    """Who lends, and the address of what the lent databases are copies of."""
    template = templates.server.create_database()
    with psycopg.connect(template.replace("+psycopg", "")) as connection:
        connection.execute("""
            CREATE TABLE kept AS SELECT 7 AS number;
            CREATE TABLE bare (number int);
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN RETURN NULL; END $$;
            CREATE TRIGGER guard BEFORE DELETE ON kept FOR EACH ROW EXECUTE FUNCTION refuse();
            ALTER TABLE kept ENABLE ALWAYS TRIGGER guard
        """)
    made = Lending(templates.server)
    yield made, template
    made.close()
    templates.server.drop_database(template)


def told(url: str, *statements: str) -> Any:
    """What the last of these statements gives, on a connection of its own."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for each in statements:
            done = connection.execute(each)
        return done.fetchall() if done.description else None


def test_a_lent_database_is_as_its_template_for_the_next_as_well(
    lending: tuple[Lending, str],
) -> None:
    lender, template = lending
    lent = lender.lend(template)
    for _ in range(2):
        told(lent, "INSERT INTO kept VALUES (8)", "UPDATE kept SET number = 9",
             "INSERT INTO bare VALUES (1)")  # fmt: skip
        lender.take_back(lent)
        assert lender.lend(template) == lent
        assert told(lent, "TABLE kept", "DELETE FROM kept", "TABLE kept") == [(7,)]
        assert told(lent, "TABLE bare") == []
    other = lender.lend(template)
    assert other != lent, "nobody gets what another has"
    lender.take_back(other)
    lender.take_back(lent)


@pytest.mark.parametrize("act", [
    "ALTER TABLE bare ADD more int", "DROP TABLE bare", "ALTER TABLE kept DISABLE TRIGGER guard",
    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN END $$",
    "CREATE INDEX own ON bare (number)", "TRUNCATE kept", "ANALYZE kept",
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = on', current_database()); END $$",
])  # fmt: skip
def test_a_lent_database_of_which_more_than_rows_was_touched_is_thrown_away(
    lending: tuple[Lending, str], act: str
) -> None:
    lender, template = lending
    lent = lender.lend(template)
    told(lent, act)
    lender.take_back(lent)
    assert lender.lend(template) != lent
    with pytest.raises(psycopg.OperationalError):
        told(lent, "SELECT 1")


def test_the_connections_of_a_lent_database_go_to_the_next_engine_as_if_they_were_new(
    lending: tuple[Lending, str],
) -> None:
    lender, template = lending
    lent = lender.lend(template)

    def asked(*statements: str) -> Any:
        engine = create_engine(lent)
        lender.serve(engine)
        with engine.connect() as connection:
            for each in statements:
                found = connection.execute(text(each)).all()
            connection.commit()
        engine.dispose()
        return found

    about = "SELECT pg_backend_pid(), current_setting('lock_timeout')"
    locked = "SELECT pg_advisory_lock(7), set_config('lock_timeout', '7s', false)"
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7"
    first = asked(locked, about)
    assert first[0][1] == "7s"
    lender.take_back(lent)
    assert lender.lend(template) == lent
    assert asked(about) == [(first[0][0], "0")]
    assert asked(held) == [(0,)]
    lender.take_back(lent)


def test_a_lent_database_in_which_somebody_stays_is_thrown_away(
    lending: tuple[Lending, str],
) -> None:
    lender, template = lending
    lent = lender.lend(template)
    stranger = psycopg.connect(lent.replace("+psycopg", ""), autocommit=True)
    lender.take_back(lent)
    assert lender.lend(template) != lent
    with pytest.raises(psycopg.OperationalError):
        stranger.execute("SELECT 1")

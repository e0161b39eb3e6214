"""What is promised of accounts and their secrets that no single operation could show."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from govern import clock
from govern.db import Base
from govern.identity import authenticators, passwords, sessions, throttle
from govern.identity.authenticators import RecoveryCode
from govern.identity.sessions import WebSession
from govern.principal import Kind, Principal
from tests.factory import PASSWORD

if TYPE_CHECKING:
    from tests.factory import World


@pytest.mark.asvs("6.3.2")
def test_a_new_installation_knows_nobody_and_no_secret(world: World) -> None:
    with world.store.reading() as session:
        for name in ("subject", "password", "totp", "recovery_code", "role_assignment",
                     "integration", "activation", "web_session"):  # fmt: skip
            table = Base.metadata.tables[name]
            assert session.execute(select(func.count()).select_from(table)).scalar_one() == 0, name


@pytest.mark.asvs("6.2.10")
def test_a_password_is_good_until_somebody_changes_it(world: World) -> None:
    person = world.subject()
    world.activate(person)
    with clock.at(clock.utcnow() + timedelta(days=3650)):
        assert sessions.begin(world.store, person.email or "", PASSWORD)


@pytest.mark.asvs("6.4.2")
def test_nothing_is_kept_that_could_be_a_hint() -> None:
    hints = re.compile("hint|question|maiden|secret_answer")
    asked = {"question", "question_message"}  # people's own words to who answers for a project
    assert asked <= Base.metadata.tables.keys()
    tables = [table for name, table in Base.metadata.tables.items() if name not in asked]
    columns = [f"{table}.{column.name}" for table in tables for column in table.c]
    assert len(columns) > 400
    assert [name for name in columns if hints.search(name)] == []


@pytest.mark.asvs("6.5.3")
def test_seeds_are_160_random_bits() -> None:
    seeds = {authenticators.new_seed() for _ in range(1000)}
    assert len(seeds) == 1000
    decoded = [base64.b32decode(seed) for seed in seeds]
    assert {len(seed) for seed in decoded} == {20}
    ones = sum(byte.bit_count() for seed in decoded for byte in seed)
    assert abs(ones - 80_000) < 1_000  # five standard deviations


@pytest.mark.asvs("6.5.2", "6.5.4", "63B-4.2.1.1")
def test_recovery_codes_hold_80_bits_are_kept_as_salted_hashes_and_replaced_as_a_set(
    world: World,
) -> None:
    person = world.subject()
    codes = world.activate(person)
    assert len(set(codes)) == 10
    for code in codes:
        signs = code.replace("-", "")
        assert re.fullmatch("[0-9A-Z]+", signs)
        assert len(signs) * 4 >= 80  # were it of hexadecimal signs alone
    with world.store.reading() as session:
        kept = session.execute(select(RecoveryCode.hash)).scalars().all()
    assert len(set(kept)) == 10
    assert all(found.startswith("$argon2id$") for found in kept)
    assert len({found.split("$")[4] for found in kept}) == 10, "each has a salt of its own"
    by = Principal(kind=Kind.SUBJECT, id=person.id, factor_at=clock.utcnow())
    again = world.do(lambda s: authenticators.issue_recovery_codes(s, person, by=by))
    assert not set(again) & set(codes)
    with world.store.reading() as session:
        assert authenticators.recovery_codes_left(session, person.id) == 10


@pytest.mark.asvs("6.1.1")
def test_the_limits_on_guessing_are_written_down_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sign-in.md").read_text()
    told = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE))
    assert told["free tries in a row"] == str(throttle.FREE_TRIES)
    assert told["longest wait"] == f"{throttle.LONGEST_WAIT.total_seconds() / 60:.0f} min"
    assert told["in a row until the authenticator is disabled (SP 800-63B-4 §3.2.2)"] == str(
        throttle.MOST
    )
    assert told["in a row until a known browser counts with the strangers"] == str(
        throttle.MOST_OF_A_BROWSER
    )
    assert told["a browser is known for"].startswith(f"{throttle.BROWSER_KNOWN_FOR.days} days")
    assert f"{passwords.MIN_LENGTH} to {passwords.MAX_LENGTH} characters" in page
    assert "keep its owner out" in page, "how malice cannot use them"


@pytest.mark.asvs("6.3.6")
def test_a_link_that_came_by_mail_signs_nobody_in(world: World) -> None:
    person = world.subject()
    world.activate(person)
    with world.store.reading() as session:
        assert session.execute(select(func.count()).select_from(WebSession)).scalar_one() == 0
    half = sessions.begin(world.store, person.email or "", PASSWORD)
    with world.store.reading() as session:
        found = sessions.resume(session, half)
    assert found is not None
    assert found.half_way

"""The clock: the database's, in UTC, set by tests alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from govern import clock, errors
from tests.factory import T0

if TYPE_CHECKING:
    from govern.db import Database

INSTANTS = st.datetimes(
    min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30),  # noqa: DTZ001 - bounds
    timezones=st.just(UTC),
)  # fmt: skip


def test_now_is_the_databases_and_goes_on(store: Database) -> None:
    with store.reading() as session:
        first = clock.now(session)
    with store.reading() as session:
        second = clock.now(session)
    assert first.tzinfo is UTC
    assert timedelta(0) <= second - first < timedelta(minutes=1)
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_test_holds_it_where_it_wants_and_it_goes_on_afterwards(store: Database) -> None:
    with store.reading() as session:
        with clock.at(T0), clock.at(T0 + clock.TICK):
            assert clock.now(session) == clock.utcnow() == T0 + clock.TICK
            earlier = clock.before(clock.instant(), timedelta(hours=12))
            assert session.execute(select(earlier)).scalar_one() == (
                T0 + clock.TICK - timedelta(hours=12)
            )
        assert clock.now(session) != T0


@given(INSTANTS)
def test_texts_and_microseconds_name_one_instant_each(when: datetime) -> None:
    assert clock.from_micros(clock.micros(when)) == when
    assert clock.parse(clock.text(when), field="x") == when
    assert len(clock.text(when)) == 27


@given(INSTANTS, INSTANTS)
def test_texts_sort_as_instants_do(one: datetime, other: datetime) -> None:
    assert (clock.text(one) < clock.text(other)) == (one < other)


def test_an_instant_of_another_zone_is_written_in_utc() -> None:
    when = datetime(2026, 11, 21, 12, tzinfo=timezone(timedelta(hours=3)))
    assert clock.text(when) == "2026-11-21T09:00:00.000000Z"


@pytest.mark.parametrize(
    "value",
    ["2026-11-21T09:00:00Z", " 2026-11-21T12:00:00+03:00 ", "2026-11-21t09:00:00.000000z",
     "2026-11-21 09:00:00Z"],
)  # fmt: skip
def test_an_instant_with_its_offset_is_read(value: str) -> None:
    assert clock.parse(value, field="until") == datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    ["", "now", "2026-11-21", "2026-11-21T09:00:00", "01/10/2026", "2026-13-01T00:00:00Z",
     "2026-11-21T25:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00",
     # Somebody's own day is a day before or after that of UTC.
     "0001-01-01T12:00:00Z", "9999-12-31T12:00:00Z"],
)  # fmt: skip
def test_anything_else_is_refused_by_the_name_of_its_field(value: str) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        clock.parse(value, field="until")
    assert refusal.value.field == "until"
    assert refusal.value.message == (
        f"“{value}” is not an instant with its offset, such as 2026-11-21T09:00:00Z."
        if value
        else "until is missing."
    )

"""What people change about their own account: each change fresh, recorded, and alone in force."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from govern import clock, errors
from govern.audit.log import Entry
from govern.identity import account, activation, authenticators, sessions
from tests.factory import PASSWORD, person

if TYPE_CHECKING:
    from govern.identity.subjects import Subject
    from govern.principal import Principal
    from tests.factory import World

CHOSEN = "another long enough phrase"


@pytest.fixture
def me(world: World) -> Subject:
    subject = world.subject()
    world.activate(subject)
    return subject


def _me(subject: Subject) -> Principal:
    return replace(person(subject), roles=())


def _change(world: World, by: Principal, present: str) -> None:
    proved = account.prove_password(world.store, present, by=by)
    chosen = activation.hash_password(CHOSEN)
    world.do(lambda s: account.change_password(s, proved=proved, chosen_hash=chosen, by=by))


def _types(world: World) -> list[str]:
    with world.store.reading() as session:
        return list(session.execute(select(Entry.type).order_by(Entry.at)).scalars())


def test_a_new_password_takes_the_place_of_the_old_one(world: World, me: Subject) -> None:
    half_way = sessions.begin(world.store, me.email, PASSWORD)
    _change(world, _me(me), PASSWORD)
    assert _types(world)[-1] == "password.set"
    with world.store.reading() as session:
        assert sessions.resume(session, half_way) is None
    sessions.begin(world.store, me.email, CHOSEN)
    with pytest.raises(errors.SignInFailed):
        sessions.begin(world.store, me.email, PASSWORD)


def test_a_wrong_present_password_changes_nothing_and_is_recorded(
    world: World, me: Subject
) -> None:
    with pytest.raises(errors.Invalid) as refused:
        _change(world, _me(me), "wrong")
    assert refused.value.field == "current"
    assert _types(world)[-1] == "sign_in.failed"
    sessions.begin(world.store, me.email, PASSWORD)


def test_a_password_proved_against_an_older_one_proves_nothing(world: World, me: Subject) -> None:
    by = _me(me)
    proved = account.prove_password(world.store, PASSWORD, by=by)
    _change(world, by, PASSWORD)
    chosen = activation.hash_password("the thief's own phrase")
    with pytest.raises(errors.Invalid):
        world.do(lambda s: account.change_password(s, proved=proved, chosen_hash=chosen, by=by))


def test_nothing_changes_without_a_fresh_factor(world: World, me: Subject) -> None:
    by = _me(me)
    with clock.at(clock.utcnow() + timedelta(minutes=6)):
        with pytest.raises(errors.FreshFactorRequired):
            _change(world, by, PASSWORD)
        with pytest.raises(errors.FreshFactorRequired):
            world.do(lambda s: account.renew_recovery_codes(s, by=by))


def test_ones_factors_say_since_when_and_when_last(world: World, me: Subject) -> None:
    with world.store.reading() as session:
        password, totp = account.factors(session, by=_me(me))
        assert authenticators.recovery_codes_left(session, me.id) == 10
    assert (password.kind, totp.kind) == ("password", "totp")
    assert totp.last_used_at is not None
    assert abs(clock.utcnow() - totp.last_used_at) < timedelta(minutes=2)


@pytest.mark.asvs("7.4.3")
def test_a_change_of_how_one_signs_in_ends_every_session_but_the_one_it_is_made_in(
    world: World, me: Subject
) -> None:
    """New recovery codes left others signed in."""

    def signed_in(later: int) -> sessions.Caller:
        with clock.at(clock.utcnow() + timedelta(seconds=30 * later)):
            half = sessions.begin(world.store, me.email, PASSWORD)
            code = world.code(me)
            token = world.do(lambda s: sessions.show_factor(s, half, code))
            with world.store.reading() as session:
                found = sessions.resume(session, token)
        assert found is not None
        return found

    def living() -> list[str | None]:
        with world.store.reading() as session:
            return [row.id for row in sessions.living(session, me.id)]

    with clock.at(clock.utcnow() + timedelta(minutes=5)):
        _, present = signed_in(1), signed_in(2)
        world.do(lambda s: account.renew_recovery_codes(s, by=present.principal))
        assert living() == [present.principal.session]
        _, present = signed_in(3), signed_in(4)
        _change(world, present.principal, PASSWORD)
        assert living() == [present.principal.session]

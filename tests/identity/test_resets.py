"""A forgotten password: any address gets one answer, and the link asks for a second factor."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from govern import clock, errors
from govern.identity import activation, resets, sessions
from govern.identity.resets import PasswordReset
from tests.factory import PASSWORD, T0
from tests.web.desks import counted

if TYPE_CHECKING:
    from govern.db import Session
    from govern.identity.subjects import Subject
    from tests.factory import World

START = T0 + timedelta(days=400)
CHOSEN = "another long enough phrase"


def asked(world: World, subject: Subject) -> str:
    """The token that the mail to someone carries."""
    world.do(lambda s: resets.ask(s, subject.email.upper()))

    def look(session: Session) -> str:
        query = (
            select(PasswordReset)
            .where(PasswordReset.subject_id == subject.id)
            .order_by(PasswordReset.recorded_at.desc())
        )
        row = session.execute(query).scalars().first()
        assert row is not None
        found = resets.token_of(session, row)
        assert found is not None
        return found

    token: str = world.do(look)
    return token


def sealed(world: World) -> int:
    """How many links the database could still tell."""
    with world.store.reading() as session:
        query = select(func.count()).where(PasswordReset.token.is_not(None))
        return session.execute(query).scalar_one()


def use(world: World, token: str, code: str) -> None:
    hashed = activation.hash_password(CHOSEN)
    world.do(lambda s: resets.complete(s, token, password_hash=hashed, code=code))


@pytest.mark.asvs("6.4.3", "6.4.1")
def test_the_link_sets_a_password_once_and_for_who_shows_a_second_factor(world: World) -> None:
    subject = world.subject()
    with clock.at(START - timedelta(minutes=1)):
        codes = world.activate(subject)
    with clock.at(START):
        half = sessions.begin(world.store, subject.email, PASSWORD)
        before = world.do(lambda s: sessions.show_factor(s, half, codes[0]))
        token, other = asked(world, subject), asked(world, subject)
        for wrong in ("000000", "", "no code at all", codes[0]):
            with pytest.raises(errors.SignInFailed):
                use(world, token, wrong)
        sessions.begin(world.store, subject.email, PASSWORD)
        assert len(world.entries("house", "sign_in.failed")) == 4
    with clock.at(START + resets.LIFE - clock.TICK):
        use(world, token, world.code(subject))
        with world.store.reading() as session:
            assert sessions.resume(session, before) is None
        for spent in (token, other):
            with pytest.raises(errors.Unknown):
                use(world, spent, codes[1])
        with pytest.raises(errors.SignInFailed):
            sessions.begin(world.store, subject.email, PASSWORD)
        sessions.begin(world.store, subject.email, CHOSEN)
        late = asked(world, subject)
        world.do(resets.forget_lapsed)
        assert sealed(world) == 1
    with clock.at(START + 2 * resets.LIFE):
        with pytest.raises(errors.Unknown):
            use(world, late, codes[2])
        world.do(resets.forget_lapsed)
        assert sealed(world) == 0
    assert [entry["data"]["amr"] for entry in world.entries("house", "password_reset.completed")]


def test_the_same_is_done_for_any_address_and_no_more_than_three_times_an_hour(
    world: World,
) -> None:
    subject, new = world.subject(), world.subject()
    world.activate(subject)
    done = []
    for typed in (subject.email, new.email, "nobody@people.example", "no address", ""):
        with counted() as statements:
            world.do(lambda s, typed=typed: resets.ask(s, typed))
        done.append([" ".join(each.split()[:3]) for each in statements])
    assert all(each == done[0] for each in done), done
    with world.store.reading() as session:
        whose = session.execute(select(PasswordReset.subject_id)).scalars().all()
    assert sorted(whose, key=str) == sorted([subject.id, None, None, None, None], key=str)
    for _ in range(5):
        world.do(lambda s: resets.ask(s, subject.email))
        world.do(lambda s: resets.ask(s, "nobody@people.example"))
    assert len(world.entries("house", "password_reset.asked")) == 3 + 3 + 3

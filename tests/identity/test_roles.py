"""Roles: given by someone else, over everything or one client, until an instant."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from govern import clock, errors
from govern.identity import roles
from govern.identity.roles import RoleAssignment
from govern.principal import RoleHeld
from tests.factory import OPERATOR, T0, World, person, together

START = T0 + timedelta(days=400)
DAY = timedelta(days=1)


def assign(world: World, subject: Any, role: str = "auditor", **more: Any) -> RoleAssignment:
    more.setdefault("by", OPERATOR)
    row: RoleAssignment = world.do(
        lambda s: roles.assign(s, subject, role, reason="needed", **more)
    )
    return row


def held(world: World, subject: Any) -> tuple[RoleHeld, ...]:
    with world.store.reading() as session:
        return roles.held(session, subject.id)


def test_a_role_over_one_client_until_an_instant_is_held_until_just_before(world: World) -> None:
    client, subject = world.client(), world.subject(kind="staff")
    with clock.at(START):
        assign(world, subject, client=client.id, until=START + DAY)
    with clock.at(START + DAY - clock.TICK):
        assert held(world, subject) == (RoleHeld("auditor", client.id),)
    with clock.at(START + DAY):
        assert held(world, subject) == ()
    assert len(world.entries(client.id, "role.assigned")) == 1


def test_a_role_is_withdrawn_once(world: World) -> None:
    subject = world.subject(kind="staff")
    row = assign(world, subject)

    def withdraw(session: Any) -> None:
        roles.withdraw(session, session.get_one(RoleAssignment, row.id), reason="x", by=OPERATOR)

    results = together(world.store, withdraw, withdraw)
    assert sorted(type(result).__name__ for result in results) == ["AlreadyEnded", "NoneType"]
    assert held(world, subject) == ()


def test_nobody_gives_a_role_to_themselves_or_takes_their_own(world: World) -> None:
    admin = world.staff()
    with pytest.raises(errors.SamePerson):
        assign(world, admin, by=person(admin))
    row = assign(world, admin)
    with pytest.raises(errors.SamePerson):
        world.do(lambda s: roles.withdraw(
            s, s.get_one(RoleAssignment, row.id), reason="x", by=person(admin)
        ))  # fmt: skip


def test_what_makes_no_sense_is_refused_by_the_name_of_its_field(world: World) -> None:
    subject = world.subject()
    for role in ("operator", "system", "decision", "wizard", ""):
        with pytest.raises(errors.Invalid) as refusal:
            assign(world, subject, role)
        assert refusal.value.field == "role"
    with clock.at(START), pytest.raises(errors.WindowInvalid):
        assign(world, subject, until=START)


def test_an_admin_of_one_client_gives_no_roles(world: World) -> None:
    client = world.client()
    limited = person(world.staff(client=client), client=client.id)
    for over in (None, client.id):
        with pytest.raises(errors.Forbidden):
            assign(world, world.subject(), client=over, by=limited)

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


def test_an_admin_of_one_client_gives_roles_over_it_that_do_no_more_than_their_own(
    world: World,
) -> None:
    client, other = world.client(), world.client("BOREAL")
    limited = person(world.staff(client=client), client=client.id)
    subject = world.subject()
    with pytest.raises(errors.Forbidden):
        assign(world, subject, "approver", by=limited)
    with pytest.raises(errors.Unknown):
        assign(world, subject, "approver", client=other.id, by=limited)
    # Auditors export the log, which admins may not.
    with pytest.raises(errors.Forbidden):
        assign(world, subject, "auditor", client=client.id, by=limited)
    row = assign(world, subject, "approver", client=client.id, by=limited)
    assert held(world, subject) == (RoleHeld("approver", client.id),)
    of_house = assign(world, subject, "auditor")
    for role, error in ((of_house, errors.Forbidden), (row, None)):

        def withdraw(session: Any, role: RoleAssignment = role) -> None:
            found = session.get_one(RoleAssignment, role.id)
            roles.withdraw(session, found, reason="x", by=limited)

        if error:
            with pytest.raises(error):
                world.do(withdraw)
        else:
            world.do(withdraw)
    assert held(world, subject) == (RoleHeld("auditor", None),)


def test_no_role_given_outlasts_the_givers_own(world: World) -> None:
    client, giver, subject = world.client(), world.subject(kind="staff"), world.subject()
    with clock.at(START):
        assign(world, giver, "admin", client=client.id, until=START + DAY)
        limited = person(giver, client=client.id)
        for until in (None, START + DAY + clock.TICK):
            with pytest.raises(errors.WindowInvalid):
                assign(world, subject, "approver", client=client.id, until=until, by=limited)
        assign(world, subject, "approver", client=client.id, until=START + DAY, by=limited)


def test_a_role_is_given_for_a_reason_and_not_twice_as_long(world: World) -> None:
    subject = world.subject()
    with pytest.raises(errors.Invalid, match="reason"):
        world.do(lambda s: roles.assign(s, subject, "auditor", reason=" ", by=OPERATOR))
    assign(world, subject, until=START + DAY)
    with pytest.raises(errors.AlreadyExists):
        assign(world, subject, until=START + DAY)
    assign(world, subject)
    assert held(world, subject) == (RoleHeld("auditor", None),) * 2


def test_an_approver_gives_no_roles(world: World) -> None:
    approver = person(world.staff("approver"), "approver")
    with pytest.raises(errors.Forbidden):
        assign(world, world.subject(), by=approver)

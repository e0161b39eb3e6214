"""Integrations: a name, a secret shown once, and no more than their scope."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from govern import errors, permissions
from govern.identity import integrations
from govern.identity.integrations import Integration
from govern.principal import Kind
from tests.factory import OPERATOR, World, person


def create(world: World, name: str = "tool", **more: Any) -> tuple[Integration, str]:
    more = {"scopes": ("decision",), "by": OPERATOR} | more
    made: tuple[Integration, str] = world.do(lambda s: integrations.create(s, name, **more))
    return made


def test_the_secret_is_shown_once_and_opens_what_the_scope_says(world: World) -> None:
    client = world.client()
    row, secret = create(world, client=client.id)
    with world.store.reading() as session:
        by = integrations.authenticate(session, row.id, secret)
        assert secret not in str(session.execute(select(Integration.secret_hash)).all())
    assert (by.kind, by.id) == (Kind.INTEGRATION, row.id)
    assert permissions.scope(by, "decision:ask") == {client.id}
    assert permissions.scope(by, "suspension:open") == frozenset()
    assert len(world.entries(client.id, "integration.created")) == 1


def test_wrong_unknown_and_empty_credentials_are_told_alike(world: World) -> None:
    row, secret = create(world)
    said = set()
    with world.store.reading() as session:
        for client_id, given in (
            (row.id, secret + "x"), (row.id, ""), ("int_none", secret), ("", ""), ("int_none", ""),
        ):  # fmt: skip
            with pytest.raises(errors.Unauthenticated) as refusal:
                integrations.authenticate(session, client_id, given)
            said.add(refusal.value.message)
    assert len(said) == 1


def test_what_makes_no_sense_is_refused_by_the_name_of_its_field(world: World) -> None:
    create(world)
    with pytest.raises(errors.AlreadyExists) as taken:
        create(world)
    assert taken.value.field == "name"
    for scopes in ((), ("everything",), ("decision", "admin")):
        with pytest.raises(errors.Invalid) as refusal:
            create(world, "other", scopes=scopes)
        assert refusal.value.field == "scope"


def test_an_admin_of_one_client_creates_none(world: World) -> None:
    client = world.client()
    limited = person(world.staff(client=client), client=client.id)
    with pytest.raises(errors.Forbidden):
        create(world, by=limited)

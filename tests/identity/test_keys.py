"""Signing keys: one signs, older ones stay known for a while, and nobody else's counts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from sqlalchemy import func, select

from govern import clock, errors
from govern.identity import keys
from govern.identity.keys import SigningKey
from tests.factory import OPERATOR, World, person, together

if TYPE_CHECKING:
    from flask import Flask


def rotate(world: World) -> str:
    fresh = keys.generate()
    made: SigningKey = world.do(lambda s: keys.rotate(s, fresh, by=OPERATOR))
    return made.id


def kids(world: World) -> list[str]:
    with world.store.reading() as session:
        return [key["kid"] for key in keys.published(session)["keys"]]


def read(world: World, token: str, type_: str = "at+jwt") -> dict[str, Any] | None:
    with world.store.reading() as session:
        return keys.verified(session, token, type=type_)


def test_a_rotated_key_signs_no_more_and_is_known_until_nothing_of_it_lives(
    world: World, app: Flask
) -> None:
    old = keys.sign(world.store, {"sub": "ada"}, type="at+jwt")
    (first,) = kids(world)
    second = rotate(world)
    assert kids(world) == [second, first]
    assert read(world, old) == {"sub": "ada"}
    assert read(world, keys.sign(world.store, {"n": 1}, type="at+jwt")) == {"n": 1}
    answer = app.test_client().get("/oauth/jwks")
    assert [key["kid"] for key in answer.json["keys"]] == [second, first]
    assert {name for key in answer.json["keys"] for name in key} == {
        "alg", "e", "kid", "kty", "n", "use",
    }  # fmt: skip
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    with clock.at(clock.utcnow() + timedelta(minutes=16)):
        assert kids(world) == [second]
    assert [entry["data"] for entry in world.entries("house", "key.rotated")] == [
        {"kid": first}, {"kid": second, "was": first},
    ]  # fmt: skip


def test_of_nodes_that_begin_at_once_one_makes_the_key_and_of_rotations_each_does(
    world: World,
) -> None:
    fresh = [keys.generate() for _ in range(3)]

    def first(key: RSAKey) -> Any:
        return lambda s: keys.rotate(s, key, by=OPERATOR) if keys._active(s) is None else None

    assert [type(result) for result in together(world.store, *map(first, fresh[:2]))] in (
        [SigningKey, type(None)], [type(None), SigningKey],
    )  # fmt: skip
    again = [lambda s, key=key: keys.rotate(s, key, by=OPERATOR) for key in fresh[2:]]
    together(world.store, *again, lambda s: keys.rotate(s, keys.generate(), by=OPERATOR))
    with world.store.reading() as session:
        active = select(func.count()).where(SigningKey.ended_at.is_(None))
        assert session.execute(active).scalar_one() == 1
        assert session.execute(select(func.count()).select_from(SigningKey)).scalar_one() == 3


@pytest.mark.asvs("9.1.1")
def test_a_token_damaged_in_any_one_way_is_nobodys(world: World) -> None:
    good = keys.sign(world.store, {"sub": "ada"}, type="at+jwt")
    head, body, seal = good.split(".")
    (kid,) = kids(world)
    stranger = keys.generate()
    with world.store.reading() as session:
        public = session.get_one(SigningKey, kid).public
    bad = [
        "", ".", "a.b.c", "..", good[:-2], good + "A", f"{head}.{body}.", f"{head}.{body}",
        f"{head}.{body[:-2]}AA.{seal}", f"{head}.{body}.{seal[:-4]}AAAA", good + "\n", "é" + good,
        "\x00", "A" * 9000,
        jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": kid}, {"sub": "ada"}, stranger),
        jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": "x\x00"}, {"sub": "ada"}, stranger),
        jwt.encode({"alg": "RS256", "typ": "at+jwt"}, {"sub": "ada"}, stranger),
        # The public key as an HMAC secret: the classic confusion.
        jwt.encode(
            {"alg": "HS256", "typ": "at+jwt", "kid": kid}, {"sub": "ada"},
            OctKey.import_key(public), algorithms=["HS256"],
        ),
        jwt.encode(
            {"alg": "RS256", "typ": "at+jwt", "kid": kid, "jwk": stranger.as_dict(private=False)},
            {"sub": "ada"}, stranger,
        ),
        f"eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{body}.",
    ]  # fmt: skip
    assert read(world, good) == {"sub": "ada"}
    assert [token for token in bad if read(world, token) is not None] == []
    assert read(world, good, "statuslist+jwt") is None


def test_the_private_half_lies_sealed_and_only_the_machine_rotates(world: World) -> None:
    keys.ensure(world.store)
    with world.store.reading() as session:
        row = session.execute(select(SigningKey)).scalar_one()
    with pytest.raises(ValueError, match="key"):
        RSAKey.import_key(row.sealed)
    fresh = keys.generate()
    for role in ("admin", "auditor"):
        with pytest.raises(errors.Forbidden):
            world.do(lambda s, role=role: keys.rotate(s, fresh, by=person(world.staff(role), role)))

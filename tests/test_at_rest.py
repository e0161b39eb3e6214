"""A dump of the database, and every file beside it, reveals no secret that anybody could use."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from joserfc.jwk import RSAKey
from sqlalchemy import MetaData, select

from govern import clock, config, errors
from govern.audit.signer import Signer
from govern.identity import activation, integrations, keys, sealing_keys, sessions
from govern.identity.integrations import Integration
from govern.identity.keys import SigningKey
from govern.principal import SYSTEM
from tests.access.tooling import VERIFIER
from tests.factory import OPERATOR, PASSWORD, World
from tests.web.oauth.flow import Flow
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from govern.db import Database


def dump(store: Database) -> bytes:
    """Every value of every table of both databases, and every file that holds no key."""
    found: list[bytes] = []
    for reading in (store.reading, store.access_reading):
        with reading() as session:
            tables = MetaData()
            tables.reflect(session.connection())
            for table in tables.sorted_tables:
                found += [
                    as_bytes(value) for row in session.execute(select(table)) for value in row
                ]
    settings = store.settings
    for path in settings.data_dir.rglob("*"):
        if path.is_file() and not path.is_relative_to(settings.keys_dir):
            if path.is_relative_to(settings.signer_dir):
                continue
            found.append(path.read_bytes())
    return b"\n".join(found)


def as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value, default=str)).encode()


def forms(secret: bytes) -> Iterator[bytes]:
    """A secret as it is, in hex, and in base64, wherever in longer base64 it may begin."""
    yield secret
    yield from (secret.hex().encode(), secret.hex().upper().encode())
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret)
        inner = whole[4 if before else 0 : len(whole) // 4 * 4 - 4]  # what its neighbours leave
        yield from (inner, inner.translate(bytes.maketrans(b"+/", b"-_")))


def secrets_of(app: Flask, world: World) -> dict[str, str | bytes]:
    """One of each kind of secret that there is, each made and used as people and tools do."""
    found: dict[str, str | bytes] = {}
    flow = Flow.of(app, world)
    tool = flow.tool
    found |= {"password": PASSWORD, "seed": world.seeds[flow.ada.id], "integration": tool.secret}
    found["session"] = flow.browser.client.get_cookie("session").value  # type: ignore[union-attr]  # it signed in
    known = flow.browser.client.get_cookie("browser")
    assert known is not None
    found["known browser"] = unquote(known.value).rpartition(".")[2]
    found["form token"] = flow.browser.csrf
    found["code"] = flow.answer()["code"]
    found["verifier"] = VERIFIER
    answer = flow.redeem(found["code"])
    assert answer.status_code == 200
    found["access token"] = answer.json["access_token"]
    assert flow.active(answer.json["access_token"])
    found["signature"] = answer.json["access_token"].rpartition(".")[2]
    found["own token"] = flow.own().json["access_token"]
    found["unused code"] = flow.answer()["code"]
    found["rotated secret"] = world.do(
        lambda s: integrations.rotate(s, s.get_one(Integration, tool.row.id), by=OPERATOR)
    )
    person = world.subject()
    for place, code in enumerate(world.activate(person)):
        found[f"recovery code {place}"] = code.replace("-", "")
        found[f"recovery code {place}, as shown"] = code
    half = sessions.begin(world.store, person.email, PASSWORD)
    found["half-way session"] = half
    spent = found["recovery code 3, as shown"]
    found["session by recovery"] = world.do(lambda s: sessions.show_factor(s, half, str(spent)))
    found["activation link"] = world.do(lambda s: activation.issue(s, world.subject(), by=SYSTEM))
    found["seed, taken apart"] = base64.b32decode(str(found["seed"]))

    # What people type into the wrong field.
    found["typed as an address"] = "my secret phrase for everything"
    visitor = Visitor.of(app)
    visitor.get("/sign-in")
    visitor.post("/sign-in", {"email": found["typed as an address"], "password": "whatever it is"})
    found["typed wrong"] = "a password of another house"
    with pytest.raises(errors.SignInFailed):
        sessions.begin(world.store, person.email, found["typed wrong"])
    app.test_client().post("/oauth/token", auth=(tool.row.id, "guess" * 9))
    found["guessed"] = "guess" * 9
    return found


def keys_of(store: Database) -> dict[str, bytes]:
    """Private keys that sign, and all that lies in the folder of keys."""
    found = {
        f"sealing key {n}": key.value for n, key in config.sealing_keys(store.settings).items()
    }
    found["key of forms"] = config.secret(store.settings.keys_dir / "web.key")
    found["key of the log"] = config.secret(store.settings.signer_dir / "log.key")
    with store.reading() as session:
        for number, row in enumerate(session.execute(select(SigningKey)).scalars()):
            key = keys._private(store.settings, row.id, row.sealed)
            assert isinstance(key, RSAKey)
            found[f"signing key {number}"] = key.as_der(private=True)
            for part in ("d", "p", "q"):
                told = key.as_dict(private=True)[part]
                found[f"signing key {number}, {part}"] = base64.urlsafe_b64decode(told + "==")
    return found


@pytest.mark.asvs("13.3.1", "6.5.2")
def test_a_dump_reveals_no_usable_secret(
    app: Flask, world: World, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with clock.at(clock.utcnow() - timedelta(minutes=5)):
        keys.ensure(world.store)
    Signer(world.store.settings).sign(world.store)
    found = secrets_of(app, world)
    before = keys_of(world.store)
    sealing_keys.rotate(world.store, by=OPERATOR)
    found |= before | keys_of(world.store)
    assert len(found) > 40
    printed = capfd.readouterr()
    told = dump(world.store) + f"{caplog.text}{printed.out}{printed.err}".encode()
    assert b"ada@people.example" in told, "it does find what is there"
    assert b"sub_" in told
    revealed = [
        name
        for name, secret in found.items()
        for form in forms(secret if isinstance(secret, bytes) else secret.encode())
        if form in told or form.lower() in told
    ]
    assert revealed == []

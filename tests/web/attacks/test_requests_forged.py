"""Forged requests: no address that anybody gives us makes this server ask it anything."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.web.attacks import scene
from tests.web.test_surface import guard_of, rules
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from tests.factory import World


@pytest.fixture
def beginning() -> Any:
    return scene.full


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A server of this very machine that nobody may be made to call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.asvs("9.1.3")
@pytest.mark.web_alone
def test_no_address_that_is_given_is_called(
    app: Flask, world: World, begun: scene.Scene, listening: socket.socket
) -> None:
    world.seeds.update(begun.seeds)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/x"
    visitor = Visitor.of(app).seated(world, begun.people["admin"])
    key = ECKey.generate_key(auto_kid=True)
    jwk = key.as_dict(private=False) | {"x5u": url, "jku": url}
    registered = visitor.post(
        f"/integrations/{begun.things['integration_id']}/registration",
        {"redirect_uris": url, "resources": url, "public_keys": json.dumps({"keys": [jwk]})},
    )
    assert registered.status_code == 303
    now = int(time.time())
    claims = {
        "iss": begun.things["integration_id"], "sub": begun.things["integration_id"],
        "aud": "http://127.0.0.1:8000", "iat": now, "exp": now + 60, "jti": "1",
    }  # fmt: skip
    stranger = ECKey.generate_key(auto_kid=True)
    for header in ({"jku": url}, {"x5u": url}, {"jwk": stranger.as_dict(private=False)}):
        assertion = jwt.encode({"alg": "ES256", "kid": stranger.kid, **header}, claims, stranger)
        answer = app.test_client().post("/oauth/token", data={
            "grant_type": "client_credentials", "client_assertion": assertion,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        })  # fmt: skip
        assert answer.status_code == 401
    names = ("url", "uri", "next", "redirect_uri", "issuer", "iss", "request_uri", "sector", "q")
    for rule in rules(app):
        if "GET" in (rule.methods or ()) and guard_of(app, rule) != "credentials":
            visitor.get(begun.path(rule), query_string=dict.fromkeys(names, url))
    question = {
        "subject": {"type": "user", "id": url, "properties": {"url": url}},
        "action": {"name": url}, "resource": {"type": "project", "id": url},
        "context": {"url": url, "callback": url},
    }  # fmt: skip
    credentials = begun.things["integration_id"], begun.things["secret"]
    answer = app.test_client().post("/access/v1/evaluation", json=question, auth=credentials)
    assert answer.json["decision"] is False
    with pytest.raises(BlockingIOError):
        listening.accept()

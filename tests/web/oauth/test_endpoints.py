"""The endpoints that programs call: each error by its own name, and no answer where none is due."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import select

from govern import clock, errors
from govern.audit.decisions import Access, AccessKind
from govern.identity import integrations
from govern.identity.integrations import Registration
from tests.access.tooling import BACK, RESOURCE, VERIFIER, Tool, claims
from tests.factory import OPERATOR
from tests.web.oauth.flow import ISSUER, Flow, details

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.factory import World

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture
def flow(app: Flask, world: World) -> Flow:
    return Flow.of(app, world)


def error(answer: TestResponse, status: int = 400) -> str:
    """The error's name; every such answer is kept by nobody."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)
    return str(answer.json["error"])


@pytest.mark.asvs("8.3.2")
def test_a_token_dies_with_a_pause_and_only_a_new_one_lives_after_the_lift(flow: Flow) -> None:
    answer = flow.redeem(flow.answer(authorization_details=details("Kingfisher", "read"))["code"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 300)
    token = answer.json["access_token"]
    said = flow.post("introspect", token=token).json
    assert said == {"active": True, "token_type": "Bearer", **claims(token)}
    assert said["iss"] == ISSUER
    assert said["authorization_details"] == answer.json["authorization_details"]
    paused = flow.world.suspend("project:Kingfisher")
    assert not flow.active(token)
    flow.world.lift(paused)
    assert not flow.active(token)
    again = flow.token()
    assert flow.active(again)
    assert flow.post("revoke", token=again).status_code == 200
    assert not flow.active(again)
    assert flow.post("revoke", token="unknown").status_code == 200
    with flow.world.store.access_reading() as session:
        rows = session.execute(select(Access.kind, Access.reason).order_by(Access.number)).all()
    told = [row.reason for row in rows if row.kind in {AccessKind.TOKEN, AccessKind.INTROSPECTION}]
    assert told == [
        "code_issued", "token_issued", "valid", "suspended", "invalid",
        "code_issued", "token_issued", "valid", "token_revoked", "invalid",
    ]  # fmt: skip


@pytest.mark.asvs("10.4.2", "10.4.4", "10.4.10", "10.4.6")
def test_each_fault_of_a_request_has_its_own_name(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = flow.answer()["code"]
    anonymous = flow.app.test_client()
    assert error(anonymous.post("/oauth/token", data={"grant_type": "client_credentials"}), 401)
    for path in ("token", "introspect", "revoke"):
        wrong = flow.post(path, auth=(flow.tool.row.id, "x"), token="x",
                          grant_type="client_credentials")  # fmt: skip
        assert error(wrong, 401) == "invalid_client"
        assert error(flow.post(path)) == "invalid_request"
        assert error(flow.post(path, token=["x", "y"])) == "invalid_request"
        assert error(flow.post(path, token="x" * 70_000), 413) == "invalid_request"
        assert flow.app.test_client().get(f"/oauth/{path}").status_code == 405
    for form, told in (
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"scope": "api"}, "invalid_scope"),
        ({"scope": '"\\'}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"resource": [RESOURCE, ISSUER]}, "invalid_target"),
        ({"authorization_details": details()}, "invalid_authorization_details"),
    ):
        asked: dict[str, Any] = {"grant_type": "client_credentials"} | form
        assert error(flow.post("token", **asked)) == told, form
    for changes, told in (
        ({"code": "x"}, "invalid_grant"),
        ({"redirect_uri": BACK + "/"}, "invalid_grant"),
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"resource": ISSUER}, "invalid_target"),
        ({"authorization_details": details()}, "invalid_authorization_details"),
    ):
        assert error(flow.redeem(**({"code": code} | changes))) == told, changes
    other = Tool.of(flow.world, "other")
    theirs = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK,
              "code_verifier": VERIFIER}  # fmt: skip
    elsewhere = (other.row.id, other.secret)
    assert error(flow.post("token", auth=elsewhere, **theirs)) == "invalid_grant"
    token = flow.redeem(code).json["access_token"]
    assert error(flow.post("revoke", auth=elsewhere, token=token)) == "invalid_grant"
    assert error(flow.redeem(code)) == "invalid_grant"
    assert not flow.active(token)  # a code used twice takes its token with it
    deaf = Tool.of(flow.world, "deaf", scopes=("decision",), registration=None)
    mine = (deaf.row.id, deaf.secret)
    assert error(flow.post("introspect", auth=mine, token=token), 403) == "insufficient_scope"
    assert error(flow.post("token", auth=mine, **theirs)) == "unauthorized_client"

    def full(*_: Any) -> None:
        raise errors.RecordFailed("no space left")

    monkeypatch.setattr("govern.audit.decisions.write", full)
    assert error(flow.own(), 503) == "temporarily_unavailable"


@pytest.mark.asvs("10.3.1", "10.3.2", "10.4.11")
def test_an_integration_acts_by_a_token_of_its_own_with_no_more_than_its_scopes(
    flow: Flow,
) -> None:
    question = {
        "subject": {"type": "user", "id": "ada"},
        "action": {"name": "read"},
        "resource": {"type": "project", "id": "Kingfisher"},
    }

    def asks(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        client = flow.app.test_client()
        answer = client.post("/access/v1/evaluation", json=question, headers=headers)
        assert answer.json.get("decision", True) is True
        return answer.status_code

    token = flow.own().json["access_token"]
    assert flow.own().json["scope"] == "decision introspect"
    narrow = flow.own(scope="introspect").json["access_token"]
    elsewhere = flow.own(resource=RESOURCE).json["access_token"]
    assert [asks(each) for each in (token, narrow, elsewhere, flow.token())] == [200, 403, 401, 401]
    assert flow.active(elsewhere)

    def act(what: Any) -> None:
        flow.world.do(lambda s: what(s, s.get_one(type(flow.tool.row), flow.tool.row.id),
                                     by=OPERATOR))  # fmt: skip

    act(integrations.suspend)
    assert asks(token) == 401
    assert error(flow.own(), 401) == "invalid_client"
    act(integrations.resume)
    assert asks(token) == 401
    token = flow.own().json["access_token"]
    assert asks(token) == 200
    act(integrations.revoke)
    assert asks(token) == 401


@pytest.mark.parametrize("kind", ["RS256", "ES256"])
@pytest.mark.asvs("10.4.16", "9.1.1", "9.2.1", "9.2.3")
def test_a_client_signs_who_it_is_once_with_each_assertion(
    app: Flask, world: World, kind: str
) -> None:
    make = {"RS256": RSAKey.generate_key, "ES256": ECKey.generate_key}[kind]
    key, other = (make(auto_kid=True) for _ in range(2))
    jwks = {"keys": [key.as_dict(private=False)]}
    tool = Tool.of(world, registration=Registration(public_keys=jwks))
    numbers = iter(range(100))

    def sign(signed_by: Any = key, **changes: Any) -> str:
        now = int(time.time())
        said = {"iss": tool.row.id, "sub": tool.row.id, "aud": ISSUER, "iat": now,
                "exp": now + 60, "jti": str(next(numbers))} | changes  # fmt: skip
        told = {name: value for name, value in said.items() if value is not None}
        return jwt.encode({"alg": kind, "kid": signed_by.kid}, told, signed_by)

    def get(assertion: str, *, basic: Any = None, **more: str) -> TestResponse:
        return app.test_client().post("/oauth/token", auth=basic, data={
            "grant_type": "client_credentials", "client_assertion_type": ASSERTION,
            "client_assertion": assertion, **more,
        })  # fmt: skip

    good = sign()
    assert get(good).status_code == 200
    assert error(get(good), 401) == "invalid_client"
    assert get(sign(aud=f"{ISSUER}/oauth/token")).status_code == 200
    now = int(time.time())
    for bad in (
        sign(other), sign(aud="https://elsewhere.example"), sign(exp=now - 120),
        sign(exp=now + 4000), sign(exp=1e300), sign(exp="soon"), sign(exp=None), sign(jti=None),
        sign(jti=["x"]), sign(iss="int_other"), sign(sub="int_other"), sign(sub=None), sign(sub=7),
        good[:-4], "x", "a.b.c", sign() + "x",
    ):  # fmt: skip
        assert error(get(bad), 401) == "invalid_client", bad
    with world.store.access_reading() as session:
        refused = select(Access.reason).where(Access.kind == AccessKind.REFUSAL)
        assert session.execute(refused).scalars().all() == ["sign_in_failed"] * 18
    assert good not in str(claims(good))
    assert get(sign(), client_id=tool.row.id).status_code == 200
    assert error(get(sign(), client_id="int_other"), 401) == "invalid_client"
    basic = (tool.row.id, tool.secret)
    assert error(get(sign(), basic=basic), 400) == "invalid_request"


def test_the_documents_lead_a_stranger_to_what_is_there(flow: Flow) -> None:
    client = flow.app.test_client()
    answer = client.get("/.well-known/oauth-authorization-server")
    AuthorizationServerMetadata(answer.json).validate()
    assert answer.json["issuer"] == ISSUER
    adapter = flow.app.url_map.bind("localhost")
    for name, url in answer.json.items():
        if name.endswith(("_endpoint", "_uri")):
            path = url.removeprefix(ISSUER)
            assert any(
                adapter.test(path, method=method) for method in ("GET", "POST")
            ), name  # fmt: skip
    lists = client.get(answer.json["status_list_aggregation_endpoint"].removeprefix(ISSUER)).json
    token = claims(flow.token())
    assert token["status"]["status_list"]["uri"] in lists["status_lists"]
    assert client.get("/status-lists/9999").status_code == 404
    assert client.get("/status-lists/0?time=1").status_code == 501
    assert clock.utcnow().timestamp() < token["exp"]


@pytest.mark.asvs("6.3.1")
def test_wrong_secrets_are_counted_for_each_client_id_and_never_slow_a_right_one(
    flow: Flow, world: World
) -> None:
    mine, wrong = flow.tool.row.id, "not the secret"
    beyond = clock.utcnow()
    with clock.at(beyond):
        for client_id in (mine, "int_00000000000000000000"):
            tried = [flow.post("introspect", auth=(client_id, wrong), token="x") for _ in range(7)]
            assert [each.status_code for each in tried] == [401] * 5 + [429] * 2
            assert tried[-1].headers["Retry-After"] == "2"
            assert len({each.text for each in tried[:5]}) == 1
        # The same count on every way, and the right secret passes on each.
        assert flow.own(scope="introspect").status_code == 200
        assert not flow.active("x")
        client = flow.app.test_client()
        asked = {"resource": {"type": "project", "id": "Kingfisher"}, "action": {"name": "read"},
                 "subject": {"type": "user", "id": "ada"}}  # fmt: skip
        for secret, expected in ((wrong, 429), (flow.tool.secret, 200)):
            answer = client.post("/access/v1/evaluation", json=asked, auth=(mine, secret))
            assert answer.status_code == expected, answer.text
        for shown in (f"{mine}:{wrong}", f"{mine}:", ":"):
            answer = client.get("/forward-auth", headers={"X-Govern-Proxy": shown})
            assert answer.status_code == 401
    failures = world.entries("house", "sign_in.failed")
    assert [each["data"]["in_a_row"] for each in failures] == [*range(1, 6)] * 2
    assert {each["data"]["factor"] for each in failures} == {"client_secret"}

    with clock.at(beyond + timedelta(seconds=2)):
        again = [flow.post("introspect", auth=(mine, wrong), token="x") for _ in range(2)]
        assert [each.status_code for each in again] == [401, 429]
        # Who shows a right secret has guessed nothing, suspended or not; a new one counts anew.
        world.do(lambda s: integrations.suspend(s, integrations.find(s, mine), by=OPERATOR))
        before = len(world.entries("house", "sign_in.failed"))
        assert flow.post("introspect", token="x").status_code == 401
        assert len(world.entries("house", "sign_in.failed")) == before
        world.do(lambda s: integrations.resume(s, integrations.find(s, mine), by=OPERATOR))
        world.do(lambda s: integrations.rotate(s, integrations.find(s, mine), by=OPERATOR))
        assert flow.post("introspect", auth=(mine, wrong), token="x").status_code == 401

"""Escalation: nobody gets more by sending more, whichever fields and routes they send to."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from govern.db import Base
from tests.web.attacks import scene
from tests.web.test_surface import UNSAFE, everything, guard_of, rules
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World

# Where nobody is refused for who they are, but for what they do not prove: a passkey's answer, a
# provider's logout token.
UNPROVED = {"auth.sign_in_with_passkey": {401}, "single_sign_on.log_out": {400}}
# What an attacker hopes that somebody copies from a request into a row.
HOPED_FOR: dict[str, Any] = {
    "id": "sub_1", "role": "admin", "roles": "admin", "is_admin": "1", "admin": "true",
    "client_id": "cli_1", "subject_id": "sub_1", "kind": "staff", "amr": "pwd otp mfa",
    "factor_at": "2030-01-01T00:00:00Z", "suspended": "0", "ended_at": "", "by": "operator",
    "scopes": "api", "decision": "approve", "permit": "true", "token": "x", "state": "running",
}  # fmt: skip


def rights(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """What says who may do what: all but one's own sign-in, and what is written of refusals."""
    apart = {"notice_acknowledgement"}
    for mapper in Base.registry.mappers:
        room = mapper.class_.__module__.removeprefix("govern.")
        if not room.startswith(("access", "identity.roles", "identity.subjects", "identity.integ")):
            apart.add(str(mapper.local_table.name))
    return {name: found for name, found in rows.items() if name not in apart}


@pytest.fixture
def beginning() -> Any:
    return scene.full


@pytest.mark.web_alone  # what a role may see is asked on both by tests/web/test_matrix.py
@pytest.mark.asvs("8.2.3", "8.3.1")
def test_a_contractor_changes_nothing_by_any_form_with_any_field(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    world.seeds.update(begun.seeds)
    visitor = Visitor.of(app).seated(world, begun.people["contractor"])
    sent = dict.fromkeys(scene.fields(), "1") | HOPED_FOR
    before = rights(everything(world))
    assert {"role_assignment", "subject", "project_grant"} & set(before)
    tried = 0
    for rule in rules(app):
        # Signing in and out is for anyone; a provider's word has answers that are not a page's.
        own = rule.endpoint in {
            "auth.sign_out", "auth.sign_in_done", "auth.sign_in_with_passkey",
            "single_sign_on.log_out",
        }  # fmt: skip
        if own or guard_of(app, rule) == "credentials":
            continue
        for method in (rule.methods or set()) & UNSAFE:
            answer = visitor.post(begun.path(rule), sent, headers={"X-User-ID": "sub_1"})
            refused = UNPROVED.get(rule.endpoint, {403, 404, 409, 422})
            assert answer.status_code in {200, 303, *refused}, (rule, answer.status)
            tried += method == "POST"
    assert tried > 35
    after = rights(everything(world))
    assert {name for name in after if after[name] != before[name]} == set()


@pytest.mark.asvs("8.2.3")
@pytest.mark.web_alone
def test_the_api_refuses_every_member_that_it_does_not_describe(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    described = app.test_client().get("/api/openapi.json").json
    credentials = begun.things["integration_id"], begun.things["secret"]
    before = everything(world)
    tried = 0
    for rule in rules(app):
        if rule.endpoint.startswith("api.") and (rule.methods or set()) & UNSAFE:
            (method,) = (rule.methods or set()) & UNSAFE
            operation = next(
                found
                for path in described["paths"].values()
                for found in path.values()
                if f"api.{found['operationId']}" == rule.endpoint
            )
            if "requestBody" not in operation:
                continue
            for name, value in HOPED_FOR.items():
                sent: dict[str, Any] = {"json": {name: value if tried % 2 else [value]}}
                if "multipart/form-data" in operation["requestBody"]["content"]:
                    file = (io.BytesIO(b"x"), "x")
                    sent = {"data": {"file": file, "key": "x", name: str(value)}}
                answer = app.test_client().open(
                    begun.path(rule), method=method, auth=credentials, **sent
                )
                assert answer.status_code == 422, (rule, name, answer.text)
                tried += 1
    assert tried > 200
    after = everything(world)
    assert {name for name in after if after[name] != before[name]} == set()


@pytest.mark.web_alone
def test_who_may_only_ask_changes_nothing_by_any_route(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    row, secret = world.integration("asks", scopes=("decision",))
    before = everything(world)
    for rule in rules(app):
        if guard_of(app, rule) != "credentials" or not rule.endpoint.startswith("api."):
            continue
        for method in (rule.methods or set()) & UNSAFE:
            answer = app.test_client().open(
                begun.path(rule), method=method, json={"number": 1, "reason": "x"},
                auth=(row.id, secret), headers={"X-Forwarded-User": "admin", "X-User-ID": "admin"},
            )  # fmt: skip
            assert answer.status_code in {403, 404, 415, 422}, rule
    after = everything(world)
    assert {name for name in after if after[name] != before[name]} == set()

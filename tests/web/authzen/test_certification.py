"""AuthZEN's certification scenario (levels Basic, Batch, Search, Discovery), as far as it is ours.

Its fixture is two people and two records. Rules 1–4 and searches S1–S3 speak of identifiers alone,
and hold here as they stand. Rules 5–8 and S4–S6 ask that a decision follow `properties` sent along
with the question (a record's status, a person's role, whether a deletion is soft). govern decides
by what is on record and takes no word of an enforcement point for it, so these are not claimed:
what they ask for is refused where a permit would hang on the caller's word alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.factory import World
from tests.web.authzen.asking import ACTIONS, MANY, ONE, RESOURCES, SUBJECTS, Tool, tool_of

if TYPE_CHECKING:
    from flask import Flask


@pytest.fixture
def tool(world: World, app: Flask) -> Tool:
    """Load the scenario: alice reads and writes, bob reads, and record-2 is archived, so read."""
    project = world.project("Records")
    first = world.dataset(project, "record-1", type="record")
    second = world.dataset(project, "record-2", type="record")
    reader = world.entitlement("reader", "read")
    editor = world.entitlement("editor", "read", "write")
    alice, bob = world.subject("alice"), world.subject("bob")
    world.grant(alice, project, entitlement=editor, dataset=first)
    world.grant(alice, project, entitlement=reader, dataset=second)
    world.grant(bob, project, entitlement=reader)
    world.grant(bob, project, entitlement=editor, dataset=second)  # rule 6: he is an admin
    return tool_of(world, app)


def asked(
    who: str, action: str, record: str = "record-1", *, soft: bool | None = None, **status: str
) -> dict[str, Any]:
    return {
        "subject": {"type": "user", "id": who},
        "action": {"name": action} | ({} if soft is None else {"properties": {"soft": soft}}),
        "resource": {"type": "record", "id": record, "properties": status},
    }


RULES = [
    (asked("alice", "read"), True),
    (asked("alice", "write"), True),
    (asked("bob", "read"), True),
    (asked("bob", "write"), False),
    # Rules 5 and 6: what is archived is so on record here, whatever status is sent.
    (asked("alice", "write", "record-2", status="archived"), False),
    (asked("alice", "write", "record-2", status="active"), False),
    (asked("bob", "write", "record-2", status="archived"), True),
    # Rule 8; rule 7 (a soft deletion is permitted) would rest on the question's own word.
    (asked("alice", "delete", soft=False), False),
]


@pytest.mark.asvs("8.3.3")
def test_the_decisions_of_the_fixture(tool: Tool) -> None:
    for question, expected in RULES:
        for context in ({}, {"context": {"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}}):
            answer = tool.send(ONE, question | context | {"futureField": {"nested": True}})
            assert answer.status_code == 200
            assert answer.json["decision"] is expected, question
    batch = tool.send(MANY, {"evaluations": [question for question, _ in RULES]})
    assert [item["decision"] for item in batch.json["evaluations"]] == [want for _, want in RULES]


def test_a_batch_with_defaults_and_an_item_at_fault(tool: Tool) -> None:
    body = {
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "read"},
        "evaluations": [{"resource": {"type": "record", "id": "record-1"}}, {}],
    }
    answer = tool.send(MANY, body)
    assert answer.status_code == 200
    assert [item["decision"] for item in answer.json["evaluations"]] == [True, False]


def test_the_searches_of_the_fixture(tool: Tool) -> None:
    user, read = {"type": "user"}, {"name": "read"}
    record = {"type": "record", "id": "record-1"}
    alice, bob = {"type": "user", "id": "alice"}, {"type": "user", "id": "bob"}

    def found(path: str, **body: Any) -> list[dict[str, str]]:
        answer = tool.send(path, body)
        assert answer.status_code == 200
        results: list[dict[str, str]] = answer.json["results"]
        return results

    assert found(SUBJECTS, subject=user, action=read, resource=record) == [alice, bob]  # S1
    one = {"limit": 1}
    assert found(SUBJECTS, subject=user, action=read, resource=record, page=one) == [alice]
    assert record in found(RESOURCES, subject=alice, action=read, resource={"type": "record"})  # S2
    assert found(ACTIONS, subject=alice, resource=record) == [  # S3
        {"name": "read"}, {"name": "write"},
    ]  # fmt: skip
    # S4–S6 hold because it is on record who writes to what is archived, not for what was sent.
    archived = {"type": "record", "id": "record-2", "properties": {"status": "archived"}}
    admin = bob | {"properties": {"role": "admin"}}
    write = {"name": "write"}
    assert found(SUBJECTS, subject=user, action=write, resource=archived) == [bob]
    assert found(RESOURCES, subject=admin, action=write, resource={"type": "record"}) == [
        {"type": "record", "id": "record-2"}
    ]
    assert {"name": "write"} in found(ACTIONS, subject=admin, resource=archived)


def test_discovery_names_every_endpoint_that_answers(tool: Tool) -> None:
    document = tool.app.test_client().get("/.well-known/authzen-configuration").json
    base = document.pop("policy_decision_point")
    assert set(document.values()) == {base + path for path in (
        ONE, MANY, SUBJECTS, RESOURCES, ACTIONS,
    )}  # fmt: skip
    for address in document.values():
        assert tool.send(address.removeprefix(base), {}).status_code == 400

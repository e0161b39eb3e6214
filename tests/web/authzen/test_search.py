"""AuthZEN's searches: who can still reach it, what can someone reach, what may they do there."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from govern import clock
from govern.access import clients, suspensions
from govern.access.modes import Mode
from govern.audit.decisions import AccessKind
from tests.factory import OPERATOR, SECOND, World
from tests.web.authzen.asking import (
    ACTIONS,
    MANY,
    ONE,
    RESOURCES,
    SUBJECTS,
    Tool,
    credentials_of,
    rows,
    tool_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from werkzeug.test import TestResponse

    from govern.access.clients import Client


def fill(world: World) -> tuple[str, str]:
    """Kingfisher with two datasets and Osprey; people named p0 to p4 work on Kingfisher.

    p0 has a second grant there, of one dataset; p1 works on Osprey too.
    """
    client = world.client("ASTER")
    kingfisher = world.project("Kingfisher", client=client)
    osprey = world.project("Osprey", client=client)
    audio = world.dataset(kingfisher, "kf-audio", type="bucket")
    world.dataset(kingfisher, "kf-queue", type="queue")
    people = [world.subject(f"p{number}") for number in range(5)]
    for person in people:
        world.grant(person, kingfisher)
    reviewer = world.entitlement("reviewer", "read", "review")
    world.grant(people[0], kingfisher, entitlement=reviewer, dataset=audio)
    world.grant(people[1], osprey)
    return credentials_of(world)


@pytest.fixture
def beginning() -> Callable[[World], tuple[str, str]]:
    return fill


@pytest.fixture
def client(world: World) -> Client:
    with world.store.reading() as session:
        return clients.client(session, "ASTER")


@pytest.fixture
def tool(app: Flask, begun: tuple[str, str]) -> Tool:
    return Tool(app, begun)


def who(
    action: str = "read", type: str = "project", id: str = "Kingfisher", **more: Any
) -> dict[str, Any]:
    asked = {"subject": {"type": "user"}, "action": {"name": action}}
    return asked | {"resource": {"type": type, "id": id}} | more


def where(person: str = "p1", action: str = "read", type: str = "project", **more: Any) -> Any:
    asked = {"subject": {"type": "user", "id": person}, "action": {"name": action}}
    return asked | {"resource": {"type": type}} | more


def what(person: str = "p0", type: str = "project", id: str = "Kingfisher", **more: Any) -> Any:
    asked = {"subject": {"type": "user", "id": person}, "resource": {"type": type, "id": id}}
    return asked | more


def names(answer: TestResponse) -> list[str]:
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/json"
    assert answer.json["page"]["count"] == len(answer.json["results"])
    return [item.get("id") or item["name"] for item in answer.json["results"]]


EVERYBODY = [f"p{number}" for number in range(5)]


def test_who_can_reach_a_project_is_a_list_of_users_and_after_a_pause_of_nobody(
    tool: Tool, world: World
) -> None:
    answer = tool.send(SUBJECTS, who())
    assert answer.json == {
        "page": {"next_token": "", "count": 5},
        "results": [{"type": "user", "id": name} for name in EVERYBODY],
    }
    assert names(tool.send(SUBJECTS, who(type="dataset", id="kf-audio"))) == EVERYBODY
    assert names(tool.send(SUBJECTS, who("review", "dataset", "kf-audio"))) == ["p0"]
    assert names(tool.send(SUBJECTS, who("export"))) == []
    pause = world.suspend("project:Kingfisher")
    for asked in (who(), who(type="dataset", id="kf-audio"), who("log_hours")):
        assert names(tool.send(SUBJECTS, asked)) == []
    assert names(tool.send(SUBJECTS, who(id="Osprey"))) == ["p1"]
    # Who is let out of the pause is in again, and nobody else.
    world.approve(
        world.do(
            lambda s: suspensions.ask_release(
                s,
                s.get_one(suspensions.Suspension, pause.id),
                [world_subject(world, name) for name in ("p2", "p3")],
                by=OPERATOR,
            )
        ),
        by=SECOND,
    )
    assert names(tool.send(SUBJECTS, who())) == ["p2", "p3"]
    first = tool.send(SUBJECTS, who(page={"limit": 1}))
    token = first.json["page"]["next_token"]
    assert names(first) == ["p2"]
    assert names(tool.send(SUBJECTS, who(page={"token": token}))) == ["p3"]


def world_subject(world: World, name: str) -> Any:
    from govern.identity import subjects

    with world.store.reading() as session:
        return subjects.find(session, name)


def test_read_only_stops_the_searches_for_what_it_stops_and_no_other(
    tool: Tool, world: World
) -> None:
    world.suspend("client:ASTER", mode=Mode.READ_ONLY)
    assert names(tool.send(SUBJECTS, who("annotate"))) == []
    assert names(tool.send(SUBJECTS, who("read"))) == EVERYBODY
    assert names(tool.send(ACTIONS, what())) == ["read"]
    world.suspend("subject:p3")
    assert names(tool.send(SUBJECTS, who("read"))) == ["p0", "p1", "p2", "p4"]


def test_where_someone_may_act_lists_projects_and_datasets_by_code(tool: Tool) -> None:
    answer = tool.send(RESOURCES, where())
    assert answer.json["results"] == [
        {"type": "project", "id": "Kingfisher"},
        {"type": "project", "id": "Osprey"},
    ]
    assert names(tool.send(RESOURCES, where("p0"))) == ["Kingfisher"]
    assert names(tool.send(RESOURCES, where("p0@people.example"))) == ["Kingfisher"]
    # A project's grant covers its datasets, and a dataset is found under its own type too.
    assert names(tool.send(RESOURCES, where("p1", type="dataset"))) == ["kf-audio", "kf-queue"]
    assert tool.send(RESOURCES, where("p1", type="queue")).json["results"] == [
        {"type": "queue", "id": "kf-queue"}
    ]
    assert names(tool.send(RESOURCES, where("p0", "review", "dataset"))) == ["kf-audio"]
    assert names(tool.send(RESOURCES, where("p0", "review"))) == []


def test_what_someone_may_do_there_now(tool: Tool, world: World) -> None:
    answer = tool.send(ACTIONS, what())
    assert answer.json["results"] == [{"name": name} for name in ("annotate", "log_hours", "read")]
    expected = ["annotate", "log_hours", "read", "review"]
    assert names(tool.send(ACTIONS, what(type="bucket", id="kf-audio"))) == expected
    assert names(tool.send(ACTIONS, what() | {"action": {"name": "passed over"}})) == expected[:3]
    assert names(tool.send(ACTIONS, what("p2", id="Osprey"))) == []
    # During a pause the hours before its cut-off count, and nothing else goes on.
    now = clock.utcnow()
    world.suspend("project:Kingfisher", hours_until=now + timedelta(hours=1))
    with clock.at(now + timedelta(hours=2)):
        early = {"context": {"time": clock.text(now + timedelta(minutes=30))}}
        late = {"context": {"time": clock.text(now + timedelta(minutes=90))}}
        assert names(tool.send(ACTIONS, what(**early))) == ["log_hours"]
        assert names(tool.send(ACTIONS, what(**late))) == []
        assert names(tool.send(SUBJECTS, who("log_hours", **early))) == EVERYBODY
        assert names(tool.send(SUBJECTS, who("log_hours", **late))) == []
        assert names(tool.send(RESOURCES, where("p0", "log_hours", **early))) == ["Kingfisher"]
        assert names(tool.send(RESOURCES, where("p0", "log_hours", **late))) == []
        # Work that still lies ahead counts for nobody.
        ahead = {"context": {"time": clock.text(now + timedelta(hours=3))}}
        assert names(tool.send(SUBJECTS, who("log_hours", id="Osprey", **ahead))) == []
        assert names(tool.send(RESOURCES, where("p1", "log_hours", **ahead))) == []


def test_whoever_is_not_known_or_of_another_type_gives_an_empty_list(tool: Tool) -> None:
    for path, asked in (
        (SUBJECTS, who(id="Nowhere")),
        (SUBJECTS, who(type="spaceship")),
        (SUBJECTS, who(type="Spaceship №1")),
        (SUBJECTS, who(type="queue", id="kf-audio")),
        (SUBJECTS, who() | {"subject": {"type": "spaceship"}}),
        (SUBJECTS, who("no-such-action")),
        (RESOURCES, where("nobody")),
        (RESOURCES, where() | {"subject": {"type": "service", "id": "p1"}}),
        (RESOURCES, where(type="spaceship")),
        (RESOURCES, where(type="")),
        (ACTIONS, what("nobody")),
        (ACTIONS, what(id="Nowhere")),
        (ACTIONS, what(type="spaceship")),
    ):
        answer = tool.send(path, asked)
        assert answer.json == {"page": {"next_token": "", "count": 0}, "results": []}, asked


def pages(tool: Tool, path: str, asked: dict[str, Any], limit: int) -> list[list[str]]:
    found, token = [], ""
    while True:
        answer = tool.send(path, asked | {"page": {"token": token, "limit": limit}})
        found.append(names(answer))
        token = answer.json["page"]["next_token"]
        if not token:
            return found


def test_pages_hold_everyone_once_in_order_and_end_with_an_empty_token(
    tool: Tool, world: World
) -> None:
    assert pages(tool, SUBJECTS, who(), 2) == [["p0", "p1"], ["p2", "p3"], ["p4"]]
    assert pages(tool, SUBJECTS, who(), 5) == [EVERYBODY]
    assert pages(tool, RESOURCES, where(), 1) == [["Kingfisher"], ["Osprey"]]
    assert pages(tool, ACTIONS, what(), 1) == [["annotate"], ["log_hours"], ["read"]]
    # People who may not are passed over without a page being cut short.
    world.suspend("subject:p0", "subject:p1", "subject:p2")
    assert pages(tool, SUBJECTS, who(), 1) == [["p3"], ["p4"]]
    assert names(tool.send(SUBJECTS, who(page={"limit": 10**9}))) == ["p3", "p4"]


def test_a_token_belongs_to_its_question_and_to_who_asked(
    tool: Tool, world: World, app: Flask, client: Client
) -> None:
    token = tool.send(SUBJECTS, who(page={"limit": 2})).json["page"]["next_token"]
    page = {"page": {"token": token, "limit": 3}}  # how long a page is may change
    assert names(tool.send(SUBJECTS, who(**page))) == ["p2", "p3", "p4"]
    for path, changed in (
        (SUBJECTS, who("annotate")),
        (SUBJECTS, who(id="Osprey")),
        (SUBJECTS, who(type="dataset", id="kf-audio")),
        (RESOURCES, where("p0")),
        (ACTIONS, what()),
    ):
        answer = tool.send(path, changed | page)
        assert answer.status_code == 400, changed
        assert "page.token" in answer.json["error"]
    other = tool_of(world, app, client=client)
    assert other.send(SUBJECTS, who(**page)).status_code == 400
    for damaged in ("x", "A" * 24, token[:-1], token + "A", token[4:], "ä", "\ud800", token * 40):
        body = json.dumps(who(page={"token": damaged})).encode()
        assert tool.raw(SUBJECTS, body).status_code == 400, damaged


def test_an_integration_limited_to_a_client_finds_nothing_of_anothers(
    tool: Tool, world: World, app: Flask
) -> None:
    rival = world.client("RIVAL")
    world.grant(world_subject(world, "p0"), world.project("Puffin", client=rival))
    limited = tool_of(world, app, client=rival)
    nothing = limited.send(SUBJECTS, who(id="Nowhere"))
    assert limited.send(SUBJECTS, who()).data == nothing.data
    assert names(limited.send(ACTIONS, what())) == []
    assert names(limited.send(RESOURCES, where("p1"))) == []
    assert names(limited.send(RESOURCES, where("p0"))) == ["Puffin"]
    assert names(limited.send(SUBJECTS, who(id="Puffin"))) == ["p0"]
    assert names(tool.send(RESOURCES, where("p0"))) == ["Kingfisher", "Puffin"]


def test_an_integration_limited_to_a_project_finds_nothing_of_the_others(
    tool: Tool, world: World, app: Flask
) -> None:
    with world.store.reading() as session:
        osprey = clients.project(session, "Osprey")
    row, secret = world.integration("osprey's", projects={osprey.id: osprey.client_id})
    limited = Tool(app, (row.id, secret))
    assert names(limited.send(SUBJECTS, who(id="Osprey"))) == ["p1"]
    assert names(limited.send(SUBJECTS, who())) == []
    assert names(limited.send(SUBJECTS, who(type="bucket", id="kf-audio"))) == []
    assert names(limited.send(RESOURCES, where("p1"))) == ["Osprey"]
    assert names(limited.send(RESOURCES, where("p1", type="dataset"))) == []
    assert names(limited.send(ACTIONS, what("p1"))) == []
    assert names(limited.send(ACTIONS, what("p1", id="Osprey"))) == names(
        tool.send(ACTIONS, what("p1", id="Osprey"))
    )


def test_each_search_is_on_record_with_the_position_that_it_saw(
    tool: Tool, world: World, client: Client
) -> None:
    tool.send(SUBJECTS, who(page={"limit": 2}))
    tool.send(RESOURCES, where())
    tool.send(ACTIONS, what())
    first, second, third = rows(world, AccessKind.SEARCH)
    position = len(world.entries(client.id))
    assert (first.principal, first.action) == (tool.credentials[0], "read")
    assert (first.client_id, first.as_of, first.permit) == (client.id, position, None)
    assert json.loads(first.detail or "") == {"search": "subject", "count": 2, "more": True}
    assert second.subject_id == world_subject(world, "p1").id
    assert json.loads(second.detail or "") == {"search": "resource", "count": 2, "more": False}
    assert (third.resource_id, third.action) == (first.resource_id, None)


def test_what_cannot_be_recorded_is_not_told(tool: Tool, world: World) -> None:
    world.store.access_transaction(lambda s: s.execute(text("DROP TABLE access_row")))
    for path, asked in ((SUBJECTS, who()), (RESOURCES, where()), (ACTIONS, what())):
        answer = tool.send(path, asked)
        assert answer.status_code == 503
        assert set(answer.json) == {"error"}


def test_a_dataset_is_asked_for_under_its_own_type_and_under_no_other(tool: Tool) -> None:
    asked = {"subject": {"type": "user", "id": "p1"}, "action": {"name": "read"}}
    items = [
        {"resource": {"type": kind, "id": "kf-audio"}}
        for kind in ("bucket", "dataset", "queue", "project", "Bucket", "")
    ]
    answer = tool.send(MANY, asked | {"evaluations": items}).json["evaluations"]
    assert [item["decision"] for item in answer] == [True, True, False, False, False, False]
    assert {item["context"]["code"] for item in answer[2:]} == {"resource_unknown"}
    typed = tool.send(ONE, asked | {"resource": {"type": "queue", "id": "kf-queue"}})
    assert typed.json["decision"] is True

"""AuthZEN 1.0 as a stranger's enforcement point meets it: shapes, batches, errors, silence."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text, update

from govern import clock
from govern.access import evaluation
from govern.audit.decisions import AccessKind, row_id
from govern.audit.record import RECORDED
from govern.identity.integrations import Integration
from tests.factory import World
from tests.web.authzen.asking import MANY, ONE, Tool, credentials_of, question, rows, said, tool_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask


def fill(world: World) -> tuple[str, str]:
    """Ada may work on Kingfisher, and not on Osprey; a tool may ask about everything."""
    client = world.client("ASTER")
    kingfisher = world.project("Kingfisher", client=client)
    world.dataset(kingfisher, "kingfisher-audio")
    world.project("Osprey", client=client)
    world.grant(world.subject("ada"), kingfisher)
    return credentials_of(world)


@pytest.fixture
def beginning() -> Callable[[World], tuple[str, str]]:
    return fill


@pytest.fixture
def tool(app: Flask, begun: tuple[str, str]) -> Tool:
    return Tool(app, begun)


# --- one question ------------------------------------------------------------------------------


def test_a_permit_says_at_which_position_and_under_which_id_it_is_recorded(
    tool: Tool, world: World
) -> None:
    answer = tool.send(ONE, question())
    (row,) = rows(world)
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.json == {
        "decision": True,
        "context": {
            "as_of": row.as_of,
            "decision_id": row_id(world.store.settings, row.writer, row.number),
        },
    }
    assert (row.permit, row.principal) == (True, tool.credentials[0])


def test_a_denial_is_200_with_its_reason_for_users_and_for_admins(tool: Tool, world: World) -> None:
    world.suspend("project:Kingfisher")
    answer = tool.send(ONE, question())
    (row,) = rows(world)
    assert answer.status_code == 200
    assert answer.json["decision"] is False
    context = answer.json["context"]
    assert context["code"] == "project_paused"
    assert context["state"] == "suspended"
    assert context["reason_user"] == {"en": "The project is paused."}
    assert context["reason_admin"]["en"].startswith("project_paused (grt_")
    assert context["as_of"] == row.as_of
    assert context["decision_id"] == row_id(world.store.settings, row.writer, row.number)


@pytest.mark.asvs("8.3.2")
def test_the_next_question_after_a_pause_is_denied(tool: Tool, world: World) -> None:
    assert tool.send(ONE, question()).json["decision"] is True
    world.suspend("client:ASTER")
    assert tool.send(ONE, question()).json["decision"] is False


def test_a_subject_of_another_type_is_known_to_nobody(tool: Tool) -> None:
    asked = question() | {"subject": {"type": "service", "id": "ada"}}
    answer = tool.send(ONE, asked)
    assert (answer.status_code, answer.json["decision"]) == (200, False)
    assert answer.json["context"]["code"] == "subject_unknown"


@pytest.mark.web_alone
def test_unknown_members_are_ignored_at_every_level(tool: Tool) -> None:
    asked = question() | {"foo": "bar", "futureField": {"nested": True}}
    asked["subject"]["properties"] = {"department": "Sales"}
    asked["action"]["colour"] = "red"
    asked["context"] = {"ip": "192.0.2.7", "nested": [1, {"a": None}]}
    assert tool.send(ONE, asked).json["decision"] is True


def test_the_instant_of_work_is_read_for_hours(tool: Tool, world: World) -> None:
    now = clock.utcnow()
    world.suspend("project:Kingfisher", hours_until=now + timedelta(hours=1))
    with clock.at(now + timedelta(hours=2)):
        early = question(action="log_hours", time=clock.text(now + timedelta(minutes=30)))
        late = question(action="log_hours", time=clock.text(now + timedelta(minutes=90)))
        assert tool.send(ONE, early).json["decision"] is True
        assert tool.send(ONE, late).json["context"]["code"] == "project_paused"
        future = question(action="log_hours", time=clock.text(now + timedelta(hours=3)))
        assert tool.send(ONE, future).json["context"]["code"] == "work_in_future"


TIMES = [
    "yesterday", "2026-11-21", "2026-11-21T09:00:00", "", 5, None, ["2026-11-21T09:00:00Z"],
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
]  # fmt: skip


@pytest.mark.web_alone
def test_an_unreadable_instant_of_work_is_a_bad_request_for_hours_alone(tool: Tool) -> None:
    for time in TIMES:
        answer = tool.send(ONE, question(action="log_hours", time=time))
        assert answer.status_code == 400, time
        assert "context.time" in answer.json["error"]
        assert tool.send(ONE, question(time=time)).json["decision"] is True, time


# --- many questions ----------------------------------------------------------------------------


def test_a_batch_answers_in_order_and_is_recorded_by_one_write(tool: Tool, world: World) -> None:
    items = [
        {"resource": {"type": "project", "id": "Osprey"}},
        {},
        {"resource": {"type": "dataset", "id": "kingfisher-audio"}, "action": {"name": "annotate"}},
    ]
    answer = tool.send(MANY, question() | {"evaluations": items})
    assert said(answer) == [False, True, True]
    written = rows(world)
    assert [row.permit for row in written] == [False, True, True]
    assert len({row.writer for row in written}) == 1
    ids = [item["context"]["decision_id"] for item in answer.json["evaluations"]]
    assert ids == [row_id(world.store.settings, row.writer, row.number) for row in written]


@pytest.mark.web_alone
def test_a_batch_without_defaults(tool: Tool) -> None:
    answer = tool.send(MANY, {"evaluations": [question(), question("Osprey")]})
    assert said(answer) == [True, False]


@pytest.mark.parametrize("evaluations", [{}, {"evaluations": []}])
@pytest.mark.web_alone
def test_without_items_a_batch_is_one_question(tool: Tool, evaluations: dict[str, Any]) -> None:
    answer = tool.send(MANY, question() | evaluations)
    assert answer.status_code == 200
    assert answer.json["decision"] is True
    assert "evaluations" not in answer.json
    broken = {name: value for name, value in question().items() if name != "resource"}
    assert tool.send(MANY, broken | evaluations).status_code == 400


@pytest.mark.web_alone
def test_a_member_of_an_item_replaces_the_whole_default(tool: Tool) -> None:
    items = [{"resource": {"id": "Osprey"}}, {"resource": {"type": "project", "id": "Kingfisher"}}]
    answer = tool.send(MANY, question() | {"evaluations": items})
    assert said(answer) == [False, True]
    error = answer.json["evaluations"][0]["context"]["error"]
    assert error == {"status": 400, "message": "resource.type is missing."}


@pytest.mark.web_alone
def test_the_default_context_holds_for_items_that_bring_none(tool: Tool, world: World) -> None:
    now = clock.utcnow()
    world.suspend("project:Kingfisher")
    with clock.at(now + timedelta(hours=1)):
        body = question(action="log_hours", time=clock.text(now - timedelta(days=1)))
        # The grant begins today in this world: what counts is which instant was looked at.
        answer = tool.send(MANY, body | {"evaluations": [{}, {"context": {}}]})
    codes = [item["context"]["code"] for item in answer.json["evaluations"]]
    assert codes == ["grant_not_started", "project_paused"]


def test_an_item_that_makes_no_sense_is_its_own_answer(tool: Tool, world: World) -> None:
    asked = question()
    del asked["resource"]
    right, wrong = ({"type": "project", "id": code} for code in ("Kingfisher", "a\u0000"))
    items = [{"resource": right}, {}, 5, None, {"resource": None}, {"resource": wrong}]
    answer = tool.send(MANY, asked | {"evaluations": items})
    assert said(answer) == [True, False, False, False, False, False]
    for item in answer.json["evaluations"][1:]:
        assert item["context"]["error"]["status"] == 400
    assert len(rows(world)) == 1


SEMANTICS = [
    # Kingfisher is permitted, Osprey denied, and None makes no sense.
    ("execute_all", ["Kingfisher", "Osprey", None, "Kingfisher"], [True, False, False, True], 3),
    ("deny_on_first_deny", ["Kingfisher", "Osprey", "Kingfisher"], [True, False], 2),
    ("deny_on_first_deny", ["Kingfisher", None, "Osprey", "Kingfisher"], [True, False], 1),
    ("deny_on_first_deny", ["Kingfisher", "Kingfisher"], [True, True], 2),
    ("permit_on_first_permit", ["Osprey", "Kingfisher", "Kingfisher"], [False, True], 2),
    ("permit_on_first_permit", ["Osprey", None, "Kingfisher", "Osprey"], [False, False, True], 2),
    ("permit_on_first_permit", [None, "Osprey", None], [False, False, False], 1),
]


def test_a_batch_ends_after_the_item_that_settles_it(tool: Tool, world: World) -> None:
    for semantic, projects, expected, asked in SEMANTICS:
        before = len(rows(world))
        items = [{"resource": {"type": "project", "id": code} if code else 0} for code in projects]
        options = {"evaluations_semantic": semantic}
        answer = tool.send(MANY, question() | {"evaluations": items, "options": options})
        assert said(answer) == expected, (semantic, projects)
        # What was not asked is not on record.
        assert len(rows(world)) - before == asked, (semantic, projects)


def test_a_batch_of_a_thousand_is_served_and_one_more_is_too_large(tool: Tool) -> None:
    full = question("Nowhere") | {"evaluations": [{}] * 1000}
    assert said(tool.send(MANY, full)) == [False] * 1000
    answer = tool.send(MANY, question() | {"evaluations": [{}] * 1001})
    assert answer.status_code == 413
    assert "1,000" in answer.json["error"]


# --- requests that make no sense ---------------------------------------------------------------

SHAPES: list[Any] = [
    [], [question()], "text", 5, None, {},
    *({name: value for name, value in question().items() if name != gone}
      for gone in ("subject", "action", "resource")),
    question() | {"subject": {"id": "ada"}},
    question() | {"subject": {"type": "user"}},
    question() | {"subject": "ada"},
    question() | {"subject": {"type": "user", "id": 5}},
    question() | {"subject": {"type": "user", "id": None}},
    question() | {"subject": {"type": "user", "id": "ada", "properties": "none"}},
    question() | {"action": {}},
    question() | {"action": {"name": 123}},
    question() | {"action": "read"},
    question() | {"resource": {"id": "Kingfisher"}},
    question() | {"resource": {"type": "project"}},
    question() | {"resource": ["project", "Kingfisher"]},
    question() | {"context": []},
    question() | {"subject": {"type": "user", "id": "a\u0000b"}},
    question() | {"action": {"name": "read\n"}},
]  # fmt: skip


@pytest.mark.parametrize("path", [ONE, MANY])
@pytest.mark.web_alone
def test_a_malformed_question_is_a_bad_request(tool: Tool, path: str) -> None:
    for body in SHAPES:
        answer = tool.raw(path, json.dumps(body).encode())
        assert answer.status_code == 400, body
        assert isinstance(answer.json["error"], str)


BATCHES: list[dict[str, Any]] = [
    {"evaluations": {}}, {"evaluations": None}, {"evaluations": "all"}, {"options": []},
    {"options": {"evaluations_semantic": "first_come"}}, {"options": {"evaluations_semantic": 1}},
    {"subject": "ada", "evaluations": [question()]},
]  # fmt: skip


@pytest.mark.web_alone
def test_a_malformed_batch_is_a_bad_request(tool: Tool) -> None:
    for wrong in BATCHES:
        answer = tool.send(MANY, question() | {"evaluations": [{}]} | wrong)
        assert answer.status_code == 400, wrong


# --- who asks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ONE, MANY])
def test_without_right_credentials_nobody_is_answered(tool: Tool, world: World, path: str) -> None:
    client_id, secret = tool.credentials
    for credentials in (None, (client_id, "wrong"), ("int_00000000000000000000", secret),
                        ("", ""), ("a\u0000", "b"), (client_id, ""), ("ñ", "é")):  # fmt: skip
        answer = tool.send(path, question(), auth=credentials)
        assert answer.status_code == 401, credentials
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert isinstance(answer.json["error"], str)
    for scheme in ("Bearer abc", "Basic %%%", "Basic", "Digest username=x"):
        answer = tool.send(path, question(), auth=None, headers={"Authorization": scheme})
        assert answer.status_code == 401, scheme
    assert rows(world) == []


@pytest.mark.asvs("16.2.5", "16.3.1")
def test_wrong_credentials_are_on_record_without_their_secret(tool: Tool, world: World) -> None:
    client_id, _ = tool.credentials
    tool.send(ONE, question(), auth=(client_id, "guessed-secret"))
    tool.send(ONE, question(), auth=("a password typed in the wrong field", "x"))
    tool.send(ONE, question(), auth=None)  # to be asked for credentials is no refusal
    first, second = rows(world, AccessKind.REFUSAL)
    assert (first.principal, first.reason) == ("anonymous", "unauthenticated")
    assert first.action == f"POST {ONE}"
    assert json.loads(first.detail or "") == {"claimed": client_id}
    assert second.detail is None


@pytest.mark.asvs("8.3.2")
def test_an_ended_integration_is_unknown_at_once(tool: Tool, world: World) -> None:
    world.do(
        lambda s: s.execute(
            update(Integration).values(ended_at=clock.now(s)), execution_options=RECORDED
        )
    )
    assert tool.send(ONE, question()).status_code == 401


def test_without_the_scope_an_integration_is_refused_and_that_is_on_record(
    tool: Tool, world: World
) -> None:
    world.do(
        lambda s: s.execute(update(Integration).values(scope="another"), execution_options=RECORDED)
    )
    for path in (ONE, MANY):
        answer = tool.send(path, question() | {"evaluations": [{}]})
        assert answer.status_code == 403
        assert isinstance(answer.json["error"], str)
    assert [(row.principal, row.reason) for row in rows(world, AccessKind.REFUSAL)] == [
        (tool.credentials[0], "forbidden")
    ] * 2
    assert rows(world) == []


def test_what_an_integration_may_not_know_of_is_denied_without_a_word(
    tool: Tool, world: World
) -> None:
    rival = world.client("BOREAL")
    project = world.project("Puffin", client=rival)
    world.grant(world.subject("ben"), project)
    limited = tool_of(world, tool.app, client=rival)

    others = limited.send(ONE, question())
    nothing = limited.send(ONE, question("Nowhere"))
    assert others.json == nothing.json == {"decision": False}
    assert others.data == nothing.data
    # A person who works for others only is no different from one who does not exist.
    stranger = limited.send(ONE, question("Puffin", who="ada")).json
    nobody = limited.send(ONE, question("Puffin", who="nobody")).json
    assert stranger["context"].pop("decision_id") != nobody["context"].pop("decision_id")
    assert stranger == nobody
    assert stranger["context"]["code"] == "no_grant"
    # What is theirs is told.
    assert limited.send(ONE, question("Puffin", who="ben")).json["decision"] is True
    items = [{"resource": {"type": "project", "id": code}} for code in ("Puffin", "Kingfisher")]
    batch = limited.send(MANY, question(who="ben") | {"evaluations": items}).json["evaluations"]
    assert batch[0]["decision"] is True
    assert batch[1] == {"decision": False}
    # The record keeps what was asked about, for those who may read it.
    hidden = [row for row in rows(world) if row.reason == "resource_unknown"]
    assert len({row.client_id for row in hidden}) == 2


@pytest.mark.asvs("16.5.3")
def test_when_the_record_cannot_be_written_everything_is_denied(tool: Tool, world: World) -> None:
    world.store.access_transaction(lambda s: s.execute(text("DROP TABLE access_row")))
    answer = tool.send(ONE, question())
    assert (answer.status_code, answer.json["decision"]) == (200, False)
    assert answer.json["context"]["code"] == "record_failed"
    for semantic, length in (("execute_all", 2), ("deny_on_first_deny", 1),
                             ("permit_on_first_permit", 2)):  # fmt: skip
        body = question() | {
            "evaluations": [{}, {}],
            "options": {"evaluations_semantic": semantic},
        }
        assert said(tool.send(MANY, body)) == [False] * length


def test_when_the_database_is_gone_nothing_is_permitted(tool: Tool, world: World) -> None:
    world.do(lambda s: s.execute(text("ALTER TABLE access_grant RENAME TO gone")))
    answer = tool.send(ONE, question())
    assert answer.status_code in {500, 503}
    assert set(answer.json) == {"error"}
    assert "access_grant" not in answer.text


# --- around it ---------------------------------------------------------------------------------


@pytest.mark.web_alone
def test_the_metadata_names_what_is_served_and_nothing_else(tool: Tool) -> None:
    answer = tool.app.test_client().get("/.well-known/authzen-configuration")
    base = "http://127.0.0.1:8000"
    assert answer.json == {
        "policy_decision_point": base,
        "access_evaluation_endpoint": f"{base}{ONE}",
        "access_evaluations_endpoint": f"{base}{MANY}",
        "search_subject_endpoint": f"{base}/access/v1/search/subject",
        "search_resource_endpoint": f"{base}/access/v1/search/resource",
        "search_action_endpoint": f"{base}/access/v1/search/action",
    }


def test_every_reason_has_a_sentence_and_a_suspension_its_state() -> None:
    from govern.web import authzen

    assert set(authzen.STATE) <= set(evaluation.REASONS)
    assert authzen.STATE["organisation_read_only"] == "suspended"
    assert "permitted" not in authzen.STATE

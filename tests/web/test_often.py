"""What other systems ask all day takes few statements, and none that is long to plan."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event

from govern.access import forwarding
from govern.identity import integrations
from tests.access.tooling import Tool
from tests.factory import OPERATOR, World
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

HOST = "data.example"
RULE = {
    "host": HOST, "methods": ["GET"], "path": "/**", "action": "read",
    "resource": "project:Kingfisher",
}  # fmt: skip
# To plan a statement of the rule takes PostgreSQL ten times as long as to answer it.
LONG = 1_500
MOST = 12


@pytest.fixture
def ways(world: World, app: Flask) -> dict[str, Callable[[], bool]]:
    """Each way to ask whether ada may read Kingfisher, as it is answered."""
    project = world.project("Kingfisher", client=world.client("ASTER"))
    ada = world.subject("ada")
    world.grant(ada, project)
    world.activate(ada)
    found = Visitor.of(app).sign_in(world, ada).client.get_cookie("session")
    assert found
    cookie = f"session={found.value}"
    tool = Tool.of(world)
    token = tool.token(ada, project)
    document = json.dumps({"mode": "bound", "rules": [RULE]})
    world.do(lambda s: forwarding.set_rules(
        s, integrations.find(s, tool.row.id), document, by=OPERATOR
    ))  # fmt: skip
    asker = app.test_client(use_cookies=False)
    basic: Any = (tool.row.id, tool.secret)
    question = {
        "subject": {"type": "user", "id": "ada"}, "action": {"name": "read"},
        "resource": {"type": "project", "id": "Kingfisher"},
    }  # fmt: skip
    proxy = f"{tool.row.id}:{tool.secret} GET {HOST} /file"

    def evaluation() -> bool:
        told = asker.post("/access/v1/evaluation", json=question, auth=basic)
        return bool(told.get_json()["decision"])

    def introspection() -> bool:
        told = asker.post("/oauth/introspect", data={"token": token}, auth=basic)
        return bool(told.get_json()["active"])

    def forward_auth() -> bool:
        headers = {"X-Govern-Proxy": proxy, "Cookie": cookie}
        return asker.get("/forward-auth", headers=headers).status_code == 200

    return {"AuthZEN": evaluation, "introspection": introspection, "forward-auth": forward_auth}


@pytest.mark.parametrize("way", ["AuthZEN", "introspection", "forward-auth"])
def test_it_takes_few_statements_and_none_is_planned_each_time(
    world: World, ways: dict[str, Callable[[], bool]], way: str
) -> None:
    """A token's were, and what binds whoever is signed in: `bench race` tells what each takes."""
    for paused in (False, True):
        if paused:
            world.suspend("project:Kingfisher")
        assert ways[way]() is not paused
        with _sent() as sent:
            assert ways[way]() is not paused
        assert len(sent) <= MOST, "\n".join(statement for statement, _ in sent)
        assert [one for one, planned_once in sent if len(one) > LONG and not planned_once] == []


@contextmanager
def _sent() -> Iterator[list[tuple[str, bool]]]:
    """Each statement that goes through SQLAlchemy, and whether each connection plans it once."""
    sent: list[tuple[str, bool]] = []

    def see(_: Any, __: Any, statement: str, ___: Any, context: Any, ____: bool) -> None:
        sent.append((statement, "govern_planned_once" in context.execution_options))

    event.listen(Engine, "before_cursor_execute", see)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", see)

"""A tool that asks as a stranger's enforcement point would, and short ways to say what it asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from govern.audit.decisions import Access, AccessKind
from tests.factory import World

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from govern.access.clients import Client

ONE = "/access/v1/evaluation"
MANY = "/access/v1/evaluations"
SUBJECTS = "/access/v1/search/subject"
RESOURCES = "/access/v1/search/resource"
ACTIONS = "/access/v1/search/action"


@dataclass
class Tool:
    """A labelling tool: it asks with its own credentials."""

    app: Flask
    credentials: tuple[str, str]

    def send(self, path: str, body: Any, **more: Any) -> TestResponse:
        options = {"auth": self.credentials, "json": body} | more
        return self.app.test_client().post(
            path, **{name: value for name, value in options.items() if value is not None}
        )

    def raw(self, path: str, body: bytes, content_type: str = "application/json") -> TestResponse:
        return self.send(path, None, data=body, content_type=content_type)


def credentials_of(world: World, *, client: Client | None = None) -> tuple[str, str]:
    name = f"tool of {client.code}" if client else "tool"
    row, secret = world.integration(name, clients=[client.id] if client else [])
    return row.id, secret


def tool_of(world: World, app: Flask, *, client: Client | None = None) -> Tool:
    return Tool(app, credentials_of(world, client=client))


def question(
    project: str = "Kingfisher", action: str = "read", who: str = "ada", **context: Any
) -> dict[str, Any]:
    asked = {
        "subject": {"type": "user", "id": who},
        "action": {"name": action},
        "resource": {"type": "project", "id": project},
    }
    return asked | ({"context": context} if context else {})


def rows(world: World, kind: AccessKind = AccessKind.DECISION) -> list[Access]:
    with world.store.access_reading() as session:
        found = select(Access).where(Access.kind == kind).order_by(Access.at, Access.number)
        return list(session.execute(found).scalars())


def said(answer: TestResponse) -> list[bool]:
    assert answer.status_code == 200, answer.text
    assert set(answer.json) == {"evaluations"}
    return [item["decision"] for item in answer.json["evaluations"]]

"""A tool and a person at the two ends of the authorization code flow, over HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.access.tooling import BACK, CHALLENGE, VERIFIER, Tool
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from govern.access.clients import Project
    from govern.identity.subjects import Subject
    from tests.factory import World

ISSUER = "http://127.0.0.1:8000"


def details(project: str = "Kingfisher", *actions: str, **more: Any) -> str:
    """What a tool asks for (RFC 9396)."""
    asked = {"type": "project_access", "identifier": project, "actions": actions or ("read",)}
    return json.dumps([asked | more])


@dataclass
class Flow:
    """Ada works on Kingfisher and is signed in; the tool's server calls with its secret."""

    app: Flask
    world: World
    tool: Tool
    project: Project
    ada: Subject
    browser: Visitor

    @classmethod
    def of(cls, app: Flask, world: World) -> Flow:
        project = world.project("Kingfisher", client=world.client("ASTER"))
        ada = world.subject("ada")
        world.grant(ada, project)
        world.activate(ada)
        browser = Visitor.of(app).sign_in(world, ada)
        return cls(app, world, Tool.of(world), project, ada, browser)

    def address(self, **changes: str | None) -> str:
        """Where the tool sends the person; a change of None leaves a parameter out."""
        asked = {
            "response_type": "code", "client_id": self.tool.row.id, "redirect_uri": BACK,
            "state": "a state", "code_challenge": CHALLENGE.decode(),
            "code_challenge_method": "S256", "authorization_details": details(),
        } | changes  # fmt: skip
        known = {name: value for name, value in asked.items() if value is not None}
        return f"/oauth/authorize?{urlencode(known)}"

    def answer(self, answer: str = "allow", **changes: str | None) -> dict[str, str]:
        """The parameters with which the person is sent back."""
        gone = self.browser.post(self.address(**changes), {"answer": answer})
        return sent_back(gone)

    def post(self, path: str, *, auth: tuple[str, str] | None = None, **form: Any) -> TestResponse:
        """A call of the tool's server, with its secret unless told."""
        mine = (self.tool.row.id, self.tool.secret)
        return self.app.test_client().post(f"/oauth/{path}", data=form, auth=auth or mine)

    def redeem(self, code: str, **changes: str) -> TestResponse:
        """The tool fetches its token."""
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": BACK,
            "code_verifier": VERIFIER,
        } | changes  # fmt: skip
        return self.post("token", **form)

    def token(self) -> str:
        """A token that Ada gave the tool."""
        answer = self.redeem(self.answer()["code"])
        assert answer.status_code == 200, answer.text
        return str(answer.json["access_token"])

    def own(self, **form: str) -> TestResponse:
        """The tool gets a token for itself."""
        return self.post("token", grant_type="client_credentials", **form)

    def active(self, token: str) -> bool:
        """What an introspection says; of a token that is not good, it says nothing else."""
        answer = self.post("introspect", token=token)
        assert answer.status_code == 200, answer.text
        assert answer.json["active"] or answer.json == {"active": False}
        return bool(answer.json["active"])


def sent_back(answer: TestResponse) -> dict[str, str]:
    """The parameters of a redirect to the tool, which always names its sender and the state."""
    assert answer.status_code == 303, answer.text
    place = urlsplit(answer.location)
    assert f"{place.scheme}://{place.netloc}{place.path}" == BACK
    found = dict(parse_qsl(place.query))
    assert (found.pop("iss"), found.pop("state")) == (ISSUER, "a state")
    return found

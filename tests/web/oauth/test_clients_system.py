"""Clients that strangers wrote, against a real server: what one promises, the others find."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from joserfc.jwk import ECKey

from govern import clock
from govern.client import Tokens
from govern.identity import integrations, sessions
from govern.identity.integrations import Registration
from tests.access.tooling import BACK, RESOURCE
from tests.factory import OPERATOR, PASSWORD, World
from tests.support import nodejs, processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from govern.config import Settings
    from govern.identity.subjects import Subject

HERE = Path(__file__).parent
LOCKED = HERE.parents[2] / "requirements" / "oauth-clients"
VALID, INVALID, SUSPENDED = 0, 1, 2
DETAILS = {"type": "project_access", "identifier": "Kingfisher", "actions": ["read"]}


class Tool:
    """The tool's server, in Node."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _ask(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **given}) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def do(self, command: str, **given: Any) -> Any:
        """What the clients found; they found no fault."""
        answer = self._ask(command, given)
        assert "told" in answer, (command, answer)
        return answer["told"]

    def fails(self, command: str, **given: Any) -> str:
        """The fault that they found."""
        return str(self._ask(command, given)["error"])


@contextmanager
def node(folder: Path) -> Iterator[Tool]:
    nodejs.install(LOCKED, folder)
    shutil.copy(HERE / "tool.mjs", folder)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [nodejs.NODE, "tool.mjs"], cwd=folder, stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield Tool(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


def browser_of(world: World, who: Subject) -> requests.Session:
    """A browser in which someone is signed in with both factors."""
    token = sessions.begin(world.store, who.email, PASSWORD)
    later = clock.utcnow() + timedelta(seconds=30)
    with clock.at(later):
        code = world.code(who, at=later)
        token = world.do(lambda s: sessions.show_factor(s, token, code))
    browser = requests.Session()
    browser.cookies.set("session", token)
    return browser


def consent(browser: requests.Session, address: str) -> str:
    """Say yes on the page at an address; gives the address that the browser is sent to."""
    page = browser.get(address, timeout=30)
    assert page.status_code == 200, page.text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found
    form = {"csrf_token": html.unescape(found[1]), "answer": "allow"}
    answer = browser.post(address, data=form, timeout=30, allow_redirects=False)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


@pytest.mark.system
def test_what_others_wrote_gets_tokens_checks_them_and_sees_a_pause_take_them_away(
    settings: Settings, world: World, tmp_path: Path
) -> None:
    project = world.project("Kingfisher", client=world.client("ASTER"))
    ada = world.subject("ada")
    world.grant(ada, project)
    world.activate(ada)
    key = ECKey.generate_key("P-256", auto_kid=True)
    row, secret = world.do(
        lambda s: integrations.create(
            s, "labels", scopes=("decision", "introspect"), by=OPERATOR,
            registration=Registration(
                redirect_uris=(BACK,), resources=(RESOURCE,),
                public_keys={"keys": [key.as_dict(private=False)]},
            ),
        )
    )  # fmt: skip
    port = processes.free_port()
    issuer = f"http://127.0.0.1:{port}"
    with processes.govern(settings, port), node(tmp_path / "node") as tool:
        metadata = tool.do("discover", issuer=issuer, client_id=row.id, secret=secret,
                           callback=BACK, resource=RESOURCE)  # fmt: skip
        assert metadata["issuer"] == issuer
        browser = browser_of(world, ada)

        def given() -> str:
            address = consent(browser, tool.do("ask", details=DETAILS))
            return str(tool.do("finish", address=address)["access_token"])

        def stands(token: str) -> int:
            """Its value in the status list, with which introspection and our client agree."""
            found = tool.do("status", token=token)
            value = found.pop("value")
            assert found == {"type": "application/statuslist+jwt", "ttl": 30, "lives": 300,
                             "known": True}  # fmt: skip
            active = tool.do("introspect", token=token)
            assert active == {"active": False} or active["active"]
            assert active["active"] is (value == VALID)
            checked = Tokens(issuer, RESOURCE).check(token)
            reasons = {VALID: "valid", INVALID: "invalid", SUSPENDED: "suspended"}
            assert checked.reason == reasons[value]
            return int(value)

        token = given()
        said = tool.do("validate", token=token)
        assert (said["sub"], said["aud"]) == ("ada", RESOURCE)
        assert said["authorization_details"] == [DETAILS | {"locations": [RESOURCE]}]
        assert stands(token) == VALID
        paused = world.suspend("project:Kingfisher")
        assert stands(token) == SUSPENDED
        world.lift(paused)
        assert stands(token) == INVALID
        token = given()
        assert stands(token) == VALID
        assert tool.do("revoke", token=token) == "revoked"
        assert stands(token) == INVALID
        bad = DETAILS | {"actions": ["fly"]}
        address = browser.get(
            tool.do("ask", details=bad), timeout=30, allow_redirects=False
        ).headers["Location"]  # fmt: skip
        assert tool.fails("finish", address=address) == "invalid_authorization_details"
        for shown in ({}, {"key": key.as_dict(private=True)}):
            own = tool.do("own", resource=RESOURCE, scope="decision", **shown)
            said = tool.do("validate", token=own["access_token"])
            assert (said["sub"], said["scope"]) == (row.id, "decision")
            assert stands(own["access_token"]) == VALID
        assert tool.fails("own", scope="api") == "invalid_scope"
        other = ECKey.generate_key("P-256", auto_kid=True).as_dict(private=True)
        assert tool.fails("own", key=other) == "401"

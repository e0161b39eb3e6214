"""An integration limited to one client neither sees nor changes anything of another, on any route.

Driven by the description of the API: a route, parameter or member that this file has no value for
fails it, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from govern.access.clients import Client
from govern.audit.log import HOUSE, Log
from tests.web.api.caller import PREFIX, Caller, filled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.factory import World

Things = dict[str, str]

# Parts of a request that name something of a client, and which of its things they name.
NAMES = {
    "client": "client", "project": "project", "dataset": "dataset", "subject": "subject",
    "grant": "grant", "suspension": "suspension", "request": "request",
    "integration": "integration", "drill": "drill", "log": "name", "targets": "target", "q": "name",
    "code": "project", "people_list": "people_list", "export": "export",
    "bulk_act": "bulk_act", "over": "over",
}  # fmt: skip
# Parts that name nothing of a client, and what to send.
PLAIN: dict[str, Any] = {
    "reason": "other", "mode": "read_only", "note": "words", "number": 1, "name": "New",
    "ends_at": "2036-01-01T00:00:00Z", "entitlement": "annotator", "type": "project",
    "full_name": "New One", "kind": "annotator", "country": "KE", "email": "new@people.example",
    "external_id": "NEW", "organisation": "direct", "subjects": ["ASTER-person"],
    "review_by": "2036-01-01T00:00:00Z", "known": "words",
    "list": "grants", "act": "revoke", "filters": {"status": "held"}, "roles": ["admin"],
    "people": [], "leads": [], "needed": 1, "pausing": "waits", "open_to": "known",
    "size": 0, "names": ["ASTER-person"], "leave_out_unknown": True,
    "days": 0, "seq": 0,
}  # fmt: skip
# A part that one route takes otherwise.
ITS_OWN: dict[tuple[str, str], Any] = {
    ("exports_ask", "type"): "grant.issued", ("acts_order", "digest"): "0" * 64,
}  # fmt: skip
# Parts that may be left out, and are.
LEFT_OUT = {
    "limit", "after", "at", "action", "since", "until", "format", "state", "status", "starts_at",
    "outcome", "group", "digest", "mode_version", "version", "internal_reason", "ordered_by",
    "wait", "from", "to", "actor", "checkpoint", "file",
    "key",
    "ordered_at", "incident", "hours_until", "preview_digest", "expertise", "contact",
    "not_known", "next_update_by", "submit_by", "seen",
}  # fmt: skip
# Where a part of such a name is another thing: the code of something new; a person, who belongs to
# no client and is looked up among all as in the browser.
OTHERWISE = {
    ("clients_create", "code"), ("projects_create", "code"), ("datasets_create", "code"),
    ("grants_issue", "subject"), ("requests_ask", "subject"),
}  # fmt: skip


@dataclass
class Route:
    """One operation of the description."""

    name: str
    method: str
    path: str
    parts: list[str]

    @property
    def ids(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def names(self) -> list[str]:
        """Every part of a request that can name something of a client."""
        parts = [part for part in self.parts if part in NAMES]
        return [*self.ids, *(part for part in parts if (self.name, part) not in OTHERWISE)]

    def ask(self, caller: Caller, things: Things, changed: str = "") -> TestResponse:
        """Send a request about some things; an address names what is `changed` alone."""
        path = re.sub(r"{(\w+)}", lambda found: things[found[1]], self.path)
        given = {part: PLAIN[part] for part in self.parts if part in PLAIN}
        given |= {part: value for (name, part), value in ITS_OWN.items() if name == self.name}
        for part in set(self.parts) & NAMES.keys():
            given[part] = [things["target"]] if part == "targets" else things[NAMES[part]]
        if self.method != "get":
            return caller.send(self.method.upper(), path, given)
        wanted = {changed, "size"} | ({"code", "type"} if "code" in self.parts else set())
        wanted |= {"log", "seq"} if "seq" in self.parts else set()
        return caller.get(path, query_string={name: given[name] for name in wanted & given.keys()})


def routes(described: dict[str, Any]) -> Iterator[Route]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
            for content in operation.get("requestBody", {"content": {}})["content"].values():
                shape = content["schema"]["$ref"].rpartition("/")[2]
                parts += described["components"]["schemas"][shape]["properties"]
            unknown = set(parts) - NAMES.keys() - PLAIN.keys() - LEFT_OUT
            assert not unknown, f"{method} {path}: could {unknown} name something of a client?"
            yield Route(operation["operationId"], method, path.removeprefix(PREFIX), parts)


@pytest.mark.asvs("8.4.1", "8.2.2")
def test_what_belongs_to_another_client_is_answered_as_if_it_were_not_there(
    world: World, app: Flask
) -> None:
    own, foreign = (
        filled(world, code) | {"name": code, "target": f"project:{code}-project"}
        for code in ("ASTER", "BOREAL")
    )
    missing = {name: f"nothing-{name}" for name in foreign} | {"target": "project:nothing"}
    missing["over"] = "project:nothing"
    caller = limited(world, app, own["client"])
    before = sizes(world, foreign["client"])
    tried = 0
    for route in routes(app.test_client().get("/api/openapi.json").json):
        for part in route.names:
            thing = NAMES[part]
            there, nowhere = (
                route.ask(caller, own | {thing: things[thing]}, part)
                for things in (foreign, missing)
            )
            told = plain(there, foreign[thing])
            assert told == plain(nowhere, missing[thing]), (route, part)
            if part == "q":
                assert there.json["items"] == []
            else:
                assert there.status_code == (422 if part == "targets" else 404), (route, told)
            tried += 1
        if route.method == "get" and not route.ids:
            answer = route.ask(caller, own)
            assert answer.status_code == 200, answer.text
            assert not [thing for thing in foreign.values() if thing in answer.text], route
    assert tried > 40
    assert sizes(world, foreign["client"]) == before


def limited(world: World, app: Flask, client_id: str) -> Caller:
    with world.store.reading() as session:
        client = session.get_one(Client, client_id)
    return Caller.of(world, app, "api", "audit.read", client=client)


def sizes(world: World, *logs: str) -> list[int]:
    """How much the logs hold that nothing may be added to."""
    with world.store.reading() as session:
        return [session.get_one(Log, log).size for log in (*logs, HOUSE)]


def plain(answer: TestResponse, sent: str) -> tuple[int, str]:
    """An answer without what was sent, and what is new each time."""
    text = answer.text.replace(sent.removeprefix("project:"), "…")
    return answer.status_code, re.sub(r'"request_id": "[^"]*"', "", text)


def test_nobody_is_told_of_people_elsewhere_by_asking_for_their_release(
    world: World, app: Flask
) -> None:
    """An address could be tried there: of whoever was known, a request was made."""
    own, _foreign = (filled(world, code) for code in ("ASTER", "BOREAL"))
    caller = limited(world, app, own["client"])
    held = world.suspend("project:ASTER-spare").id
    before = sizes(world, own["client"])
    for name in ("BOREAL-person", "boreal-person@people.example", "nobody@people.example"):
        answer = caller.post(f"/suspensions/{held}/release", {"subjects": [name], "reason": "x"})
        assert (answer.status_code, answer.json["field"]) == (422, "subjects")
        assert answer.json["detail"] == f"There is no subject “{name}”."
    assert sizes(world, own["client"]) == before
    answer = caller.post(
        f"/suspensions/{held}/release", {"subjects": ["ASTER-person"], "reason": "x"}
    )
    assert answer.status_code == 202

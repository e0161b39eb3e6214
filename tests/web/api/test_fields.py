"""What is wrong is named as the caller sent it: a member, a parameter, a part of the address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.web.api.caller import Caller, filled
from tests.web.api.test_isolation import Route, routes

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.factory import World

PAST, FUTURE = "2001-01-01T00:00:00Z", "2036-01-01T00:00:00Z"
# Of the type that is wanted, if of any, and senseless all the same.
SENSELESS: tuple[Any, ...] = (
    {}, "", "nothing", "project:nothing", "\u200b", PAST, FUTURE, -1, 10**9, 10**40, [],
    ["nothing"], ["project:nothing"], {"status": "nothing"}, {"ends_to": "no"}, {"nothing": "x"},
)  # fmt: skip

GIVING = {
    "subject": "ASTER-person", "project": "ASTER-spare", "entitlement": "annotator",
    "ends_at": FUTURE, "reason": "work",
}  # fmt: skip
POLICY = {"roles": ["approver"], "reason": "two"}
# Sound but for one part, in which the words of a room are others than the API's.
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("/grants", GIVING | {"ends_at": PAST}, "ends_at"),
    ("/grants", GIVING | {"starts_at": "2039-01-01T00:00:00Z"}, "ends_at"),
    ("/grants", GIVING | {"ends_at": "9999-12-31T23:59:59Z"}, "ends_at"),
    ("/grants", GIVING | {"subject": "nobody"}, "subject"),
    ("/grants", GIVING | {"project": "ASTER-project"}, "project"),  # suspended
    ("/grants", GIVING | {"dataset": "ASTER-data"}, "dataset"),
    ("/grants", GIVING | {"entitlement": "nothing"}, "entitlement"),
    ("/requests", GIVING | {"ends_at": PAST}, "ends_at"),
    ("/requests", GIVING | {"dataset": "ASTER-data"}, "dataset"),
    ("/people-lists", {"names": ["nobody"]}, "names"),
    ("/people-lists", {"names": ["  "]}, "names"),
    ("/people-lists", {"names": ["nobody"], "leave_out_unknown": True}, "names"),
    ("/people-lists", {"filters": {"nothing": "x"}}, "filters"),
    ("/people-lists", {"filters": {"state": "nothing"}}, "filters"),
    ("/acts/preview", {"list": "grants", "act": "revoke", "filters": {"status": "no"}}, "filters"),
    ("/acts/preview", {"list": "grants", "act": "revoke", "filters": {"ends_to": "x"}}, "filters"),
    ("/acts/preview", {"list": "grants", "act": "offboard"}, "act"),
    ("/suspensions/preview", {"targets": ["nothing"]}, "targets"),
    ("/suspensions/preview", {"targets": ["project:nothing"]}, "targets"),
    ("/suspensions/{suspension}/release", {"reason": "x"}, "subjects"),
    ("/suspensions/{suspension}/release", {"subjects": ["nobody"], "reason": "x"}, "subjects"),
    ("/suspensions/{suspension}/release",
     {"targets": ["project:nothing"], "reason": "x"}, "targets"),
    ("/suspensions/{suspension}/release",
     {"targets": ["project:ASTER-project"], "reason": "x"}, "targets"),
    ("/suspensions/{suspension}/release",
     {"subjects": ["ASTER-person"], "targets": ["project:ASTER-spare"], "reason": "x"}, "targets"),
    ("/suspensions/{suspension}/release",
     {"targets": ["client:ASTER"], "reason": "x"}, "targets"),
    ("/suspensions/{suspension}/narrow",
     {"targets": ["project:ASTER-spare"], "reason": "x"}, "targets"),
    ("/suspensions/{suspension}/narrow",
     {"targets": ["project:ASTER-project"], "reason": "x"}, "targets"),
    ("/request-policies/project:ASTER-spare", POLICY | {"people": ["nobody"]}, "people"),
    ("/request-policies/project:ASTER-spare", POLICY | {"leads": ["nobody"]}, "leads"),
    ("/request-policies/project:ASTER-spare", POLICY | {"needed": 0}, "needed"),
    ("/request-policies/project:nothing", POLICY, "over"),
    ("/request-policies/nothing", POLICY, "over"),
]  # fmt: skip
WRONG_TO_READ = [
    ("/log/changes?log=ASTER&size=100000", "size"),
    ("/log/changes?size=1", "log"),
    (f"/log/changes?log=ASTER&size=1&since={PAST}", "since"),
    ("/log/changes?log=ASTER&size=1&checkpoint=x", "checkpoint"),
    ("/who?type=project&code=nothing", "code"),
    ("/who?type=client&code=nothing", "code"),
    ("/who?type=dataset&code=nothing", "code"),
    (f"/who?type=client&code=ASTER&from={FUTURE}", "from"),
    (f"/who?type=client&code=ASTER&to={PAST}", "to"),
    ("/grants?project=nothing", "project"),
    ("/grants?subject=nothing", "subject"),
    ("/log/access?integration=nothing", "integration"),
    ("/log?since=nothing", "since"),
]


def scene(world: World, app: Flask) -> tuple[Caller, dict[str, str]]:
    things = filled(world, "ASTER") | {"name": "ASTER", "target": "project:ASTER-spare"}
    return Caller.of(world, app, "api", "audit.read"), things


def named(answer: TestResponse) -> str | None:
    field: str | None = answer.json.get("field")
    return field and field.partition(".")[0]


def test_a_value_that_will_not_do_is_named_as_it_was_sent(world: World, app: Flask) -> None:
    """A client that marks the form's field looked for `until` in a body that has `ends_at`."""
    caller, things = scene(world, app)
    wrong = [
        (path, body, field, answer.json)
        for path, body, field in WRONG
        for answer in [caller.post(path.format(**things), body)]
        if answer.status_code not in {404, 409, 422} or named(answer) != field
    ]
    wrong += [
        (path, None, field, answer.json)
        for path, field in WRONG_TO_READ
        for answer in [caller.get(path)]
        if answer.status_code not in {404, 422} or named(answer) != field
    ]
    assert wrong == []


def test_each_member_is_named_when_it_is_of_another_type(world: World, app: Flask) -> None:
    caller, things = scene(world, app)
    tried = 0
    for route in described(app):
        for part in route.parts:
            answer = sent(caller, route, things, part, {} if part != "filters" else [])
            assert (answer.status_code, named(answer)) == (422, part), (route, answer.text)
            tried += 1
    assert tried > 80


def test_no_member_is_named_that_a_route_does_not_take(world: World, app: Flask) -> None:
    caller, things = scene(world, app)
    for route in described(app):
        known = {None, *route.parts, *route.ids}
        for part in route.parts:
            for value in SENSELESS:
                answer = sent(caller, route, things, part, value)
                if answer.status_code in {404, 409, 422}:
                    assert named(answer) in known, (route, part, value, answer.text)
    for path in (
        "/grants/nothing",
        "/suspensions/nothing",
        "/subjects/nothing",
        "/clients/nothing",
    ):
        assert named(caller.get(path)) in {None, path.split("/")[1][:-1]}


def described(app: Flask) -> list[Route]:
    """Every route that takes JSON."""
    found = routes(app.test_client().get("/api/openapi.json").json)
    return [route for route in found if route.method != "get" and route.name != "proving_verify"]


def sent(
    caller: Caller, route: Route, things: dict[str, str], part: str, value: Any
) -> TestResponse:
    """A request that is sound in its form but for one part."""

    class Instead(Caller):
        def send(self, method: str, path: str, body: Any = None, **more: Any) -> TestResponse:
            return super().send(method, path, {**body, part: value}, **more)

    return route.ask(Instead(caller.app, caller.credentials), things)

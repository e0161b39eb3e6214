"""A program does something to all of a list: to what it was told in numbers, once, on record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from govern.access import bulk
from govern.access.lists import LISTS, Asked
from tests.factory import OPERATOR
from tests.web.api.caller import Caller
from tests.web.api.test_rooms import UNTIL, made, told

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


def test_a_program_acts_on_a_whole_list_as_it_was_previewed_and_is_answered_alike_when_it_repeats(
    world: World, app: Flask
) -> None:
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    kingfisher = world.project("Kingfisher", client=aster)
    cinnabar = world.project("Cinnabar", client=boreal)
    people = [world.subject(f"K{number}") for number in range(3)]
    for person in people:
        world.grant(person, kingfisher)
    other = world.grant(people[0], cinnabar)
    caller, limited = Caller.of(world, app), Caller.of(world, app, client=aster)

    wanted: dict[str, Any] = {
        "list": "grants", "act": "revoke", "filters": {"project": "Kingfisher"},
    }  # fmt: skip
    seen = told(caller.post("/acts/preview", wanted))
    assert (seen["number"], seen["people"], seen["grants"]) == (3, 3, 3)
    assert seen["projects"] == [
        {"client": "ASTER", "project": "Kingfisher", "grants": 3, "people": 3}
    ]
    # A filter that is unknown, or empty, would widen the act: it is refused and not passed over.
    for wrong in ({"projekt": "Kingfisher"}, {"project": " "}, {"status": "gone"}):
        refused = caller.post("/acts/preview", wanted | {"filters": wrong})
        assert refused.status_code == 422, wrong
    order = wanted | {"digest": seen["digest"], "number": 3, "reason": "over"}
    for change, status in (
        ({"number": 2}, 409), ({"digest": "0" * 64}, 409), ({"until": UNTIL}, 422),
        ({"act": "offboard"}, 422), ({"project": "Heron"}, 404),
    ):  # fmt: skip
        assert caller.post("/acts", order | change).status_code == status, change
    key = {"Idempotency-Key": "ticket-7"}
    act = made(caller.post("/acts", order, headers=key))
    assert (act["state"], act["number"], act["done"]) == ("ordered", 3, 0)
    bulk.write(world.store)
    # The list holds nothing now, and the same request is answered as what it was.
    again = made(caller.post("/acts", order, headers=key))
    assert (again["id"], again["state"], again["done"]) == (act["id"], "done", 3)
    assert told(caller.get(f"/acts/{act['id']}")) == again
    assert limited.get(f"/acts/{act['id']}").status_code == 404
    assert caller.post("/acts", order).status_code == 409

    # Limited to a client it acts on that client's grants alone, however the list is narrowed.
    found = told(limited.post("/acts/preview", wanted | {"filters": {}}))
    assert (found["number"], found["projects"]) == (0, [])
    leaving = {"list": "people", "act": "offboard", "filters": {}}
    assert limited.post("/acts/preview", leaving).status_code == 403
    assert world.permits(people[0], cinnabar), other.id


def test_an_act_over_a_client_or_project_that_is_not_there_is_refused_and_not_of_nobody(
    world: World, app: Flask
) -> None:
    """A slip in a code was answered with number 0, as if there were nothing left to do."""
    aster = world.client("ASTER")
    world.grant(world.subject(), world.project("Kingfisher", client=aster))
    world.project("Cinnabar", client=world.client("BOREAL"))
    caller, limited = Caller.of(world, app), Caller.of(world, app, client=aster)
    act = {"list": "grants", "act": "revoke"}
    order = {"digest": "0" * 64, "number": 0, "reason": "over"}

    def refused(by: Caller, filters: dict[str, str]) -> str:
        for path, body in (("/acts/preview", {}), ("/acts", order)):
            answer = by.post(path, {**act, **body, "filters": filters})
            assert (answer.status_code, answer.json["field"]) == (422, "filters"), answer.text
        return str(answer.json["detail"])

    assert refused(caller, {"project": "Kingfischer"}) == "There is no project “Kingfischer”."
    assert refused(caller, {"client": "ESTER"}) == "There is no client “ESTER”."
    # What is another client's is told from nothing as little as ever.
    assert refused(limited, {"project": "Cinnabar"}) == "There is no project “Cinnabar”."
    assert refused(limited, {"client": "BOREAL"}) == "There is no client “BOREAL”."
    preview = told(caller.post("/acts/preview", act | {"filters": {"project": "Cinnabar"}}))
    assert preview["number"] == 0
    answer = caller.post("/people-lists", {"filters": {"project": "Kingfischer"}})
    assert (answer.status_code, answer.json["field"]) == (422, "filters")


def test_whoever_a_list_of_people_holds_is_suspended_as_one(world: World, app: Flask) -> None:
    project = world.project("Kingfisher", client=world.client("ASTER"))
    people = [world.subject(f"K{number}") for number in range(3)]
    for person in people:
        world.grant(person, project)
    bystander = world.subject("Z1")
    world.grant(bystander, world.project("Osprey"))
    caller = Caller.of(world, app)
    wanted = {"list": "people", "act": "suspend", "filters": {"project": "Kingfisher"}}
    seen = told(caller.post("/acts/preview", wanted))
    assert seen["number"] == 3
    order = wanted | {"digest": seen["digest"], "number": 3, "reason": "over"}
    assert caller.post("/acts", order).status_code == 422, "it is suspended, and lifted, elsewhere"
    kept = made(caller.post("/people-lists", {"filters": {"project": "Kingfisher"}}))
    assert (kept["people"], kept["digest"]) == (3, seen["digest"])
    for body in ({}, {"names": ["K1"], "filters": {}}, {"filters": {"project": "Heron"}}):
        assert caller.post("/people-lists", body).status_code == 422, body
    opened = made(caller.post(
        "/suspensions", {"targets": [kept["target"]], "mode": "under_review", "reason": "other"}
    ))  # fmt: skip
    assert opened["targets"][0]["type"] == "people"
    with world.store.reading() as session:
        asked = Asked.exactly(LISTS["people"], {"suspension": opened["id"]})
        held = {found_id for found_id, _ in bulk.suspended_as(session, asked, by=OPERATOR).people}
    assert held == {person.id for person in people}

"""Acts over a whole list: seen in numbers, done to those who were shown, each once, on record."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from govern import clock, errors
from govern.access import bulk
from govern.access.bulk import ACTS, BulkAct, BulkItem
from govern.access.grants import Grant
from govern.access.lists import Asked
from govern.audit.log import HOUSE
from govern.identity.subjects import Subject
from tests.factory import OPERATOR
from tests.web.desks import desk, hidden, told

if TYPE_CHECKING:
    from flask import Flask

    from govern.access.clients import Project
    from tests.factory import World


def crowd(world: World, project: Project, size: int) -> list[Subject]:
    people = [world.subject(f"{project.code[0]}{number:03}") for number in range(size)]
    for person in people:
        world.grant(person, project)
    return people


def seen(world: World, act: str, **filters: str) -> bulk.Preview:
    with world.store.reading() as session:
        return bulk.preview(session, ACTS[act], Asked(filters=filters), by=OPERATOR)


def ordered(world: World, act: str, digest: str, number: int, **more: Any) -> BulkAct:
    filters = more.pop("filters", {})
    taken = bulk.take_down(
        world.store, ACTS[act], Asked(filters=filters), digest=digest, by=OPERATOR
    )
    return world.do(
        lambda s: bulk.order(
            s, taken, number=number, details=more, reason="the contract is over", by=OPERATOR
        )
    )


def open_grants(world: World) -> int:
    with world.store.reading() as session:
        query = select(func.count()).select_from(Grant).where(Grant.ended_at.is_(None))
        return int(session.execute(query).scalar_one())


def row(world: World, act: BulkAct) -> BulkAct:
    with world.store.reading() as session:
        return session.get_one(BulkAct, act.id)


def test_what_was_shown_is_done_once_to_each_and_what_changed_meanwhile_is_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk.working, "REVOKED_AT_ONCE", 2)
    kingfisher, osprey = world.project("Kingfisher"), world.project("Osprey")
    people = crowd(world, kingfisher, 5)
    other = world.grant(people[0], osprey)
    found = seen(world, "revoke", project="Kingfisher")
    assert (found.number, found.people, found.grants) == (5, 5, 5)
    assert found.places == [(found.places[0][0], "Kingfisher", 5, 5)]
    assert found.kinds == [("annotator", 5)]
    with pytest.raises(errors.Brake, match="5"):
        ordered(world, "revoke", found.digest, 4, filters={"project": "Kingfisher"})
    late = world.grant(world.subject(), kingfisher)
    with pytest.raises(errors.Conflict, match="changed"):
        ordered(world, "revoke", found.digest, 5, filters={"project": "Kingfisher"})
    assert open_grants(world) == 7
    world.revoke(late)
    act = ordered(world, "revoke", found.digest, 5, filters={"project": "Kingfisher"})
    with world.store.reading() as session:
        first = session.execute(select(Grant).where(Grant.subject_id == people[2].id)).scalar_one()
    world.revoke(first)
    assert bulk.write(world.store) == 5
    assert bulk.write(world.store) == 0
    done = row(world, act)
    assert (done.done, done.passed, done.number) == (4, 1, 5)
    assert open_grants(world) == 1
    assert world.permits(people[0], osprey)
    assert not world.permits(people[1], kingfisher)
    client = kingfisher.client_id
    entries = [one for one in world.entries(client, "grant.revoked") if "data" in one]
    assert len(entries) == 4
    assert {one["data"]["bulk"] for one in entries} == {act.id}
    (told_house,) = world.entries(HOUSE, "bulk.ordered")
    assert told_house["data"]["digest"] == found.digest
    (told_client,) = world.entries(client, "bulk.ordered")
    assert told_client["data"] == {"act": "revoke", "bulk": act.id, "count": 5}
    (closing,) = world.entries(HOUSE, "bulk.recorded")
    assert (closing["data"]["done"], closing["data"]["passed"]) == (4, 1)
    assert other.id


def test_people_leave_are_signed_out_and_are_granted_by_the_list(world: World) -> None:
    kingfisher, osprey = world.project("Kingfisher"), world.project("Osprey")
    people = crowd(world, kingfisher, 12)
    held = world.subject("K900")
    world.suspend("subject:K900")
    world.grant(people[0], osprey, until=clock.utcnow() + timedelta(days=400))
    until = clock.text(clock.utcnow().replace(microsecond=0) + timedelta(days=30))
    asked = {"q": "K"}
    found = seen(world, "grant", **asked)
    assert found.number == 13
    act = ordered(
        world, "grant", found.digest, 13, filters=asked, project="Osprey", entitlement="annotator",
        until=until,
    )  # fmt: skip
    bulk.write(world.store)
    assert (row(world, act).done, row(world, act).passed) == (11, 2)  # held; and held it already
    assert world.permits(people[3], osprey)
    assert not world.permits(held, osprey)
    other = clock.text(clock.utcnow().replace(microsecond=0) + timedelta(days=3))
    found = seen(world, "change_end", project="Osprey")
    act = ordered(world, "change_end", found.digest, 12, filters={"project": "Osprey"}, until=other)
    bulk.write(world.store)
    assert row(world, act).done == 12
    with clock.at(clock.utcnow() + timedelta(days=4)):
        assert not world.permits(people[3], osprey)
    world.activate(people[1])
    found = seen(world, "offboard", project="Kingfisher")
    assert (found.number, found.grants) == (12, 24)
    act = ordered(world, "offboard", found.digest, 12, filters={"project": "Kingfisher"})
    bulk.write(world.store)
    assert row(world, act).done == 12
    with world.store.reading() as session:
        gone = session.get_one(Subject, people[1].id)
        assert gone.ended_at is not None
        assert session.get_one(Subject, held.id).ended_at is None
    assert open_grants(world) == 0


def test_a_grant_that_runs_out_meanwhile_does_not_come_back_with_another_end(world: World) -> None:
    kingfisher = world.project("Kingfisher")
    short, long = (world.subject(name) for name in ("K1", "K2"))
    soon = clock.utcnow() + timedelta(hours=1)
    world.grant(short, kingfisher, until=soon)
    world.grant(long, kingfisher)
    found = seen(world, "change_end")
    until = clock.text(clock.utcnow().replace(microsecond=0) + timedelta(days=9))
    act = ordered(world, "change_end", found.digest, 2, until=until)
    with clock.at(soon + timedelta(minutes=1)):
        bulk.write(world.store)
        assert (row(world, act).done, row(world, act).passed) == (1, 1)
        assert not world.permits(short, kingfisher)
        assert world.permits(long, kingfisher)


def test_a_list_of_people_goes_on_from_its_page_to_be_paused_as_one(
    world: World, app: Flask
) -> None:
    kingfisher = world.project("Kingfisher", client=world.client("ASTER"))
    crowd(world, kingfisher, 51)
    ada = desk(app, world)
    page = ada.get("/lists/people/act?act=suspend&project=Kingfisher")
    assert "51 people go on as one thing to pause" in told(page.text)
    on = ada.post("/lists/people/act", {"act": "suspend", "project": "Kingfisher"})
    assert on.status_code == 303
    assert on.location.startswith("/pause/preview?target=people%3Appl_")
    assert "51" in told(ada.get(on.location).text)
    few = ada.post("/lists/people/act", {"act": "suspend", "q": "K001"})
    assert few.location == "/pause/preview?subject=K001"
    nobody = ada.post("/lists/people/act", {"act": "suspend", "q": "nobody at all"})
    assert nobody.status_code == 422


def test_an_act_is_ordered_from_the_list_s_page_and_only_as_far_as_one_may(
    world: World, app: Flask
) -> None:
    client = world.client("ASTER")
    kingfisher = world.project("Kingfisher", client=client)
    cinnabar = world.project("Cinnabar", client=world.client("BOREAL"))
    crowd(world, kingfisher, 3)
    crowd(world, cinnabar, 2)
    ada, scoped = desk(app, world), desk(app, world, client=client)
    assert 'value="revoke"' in ada.get("/lists/grants?project=Kingfisher").text
    page = ada.get("/lists/grants/act?act=revoke&project=Kingfisher")
    assert "3 grants end for good" in told(page.text)
    form = {
        "act": "revoke", "project": "Kingfisher", "digest": hidden(page.text, "digest"),
        "number": "3", "reason": "over",
    }  # fmt: skip
    wrong = ada.post("/lists/grants/act", {**form, "number": "2"})
    assert wrong.status_code == 409
    assert "Type how many" in told(wrong.text)
    moved = ada.post("/lists/grants/act", {**form, "digest": "0" * 64})
    assert moved.status_code == 409
    assert open_grants(world) == 5
    done = ada.post("/lists/grants/act", form)
    assert done.status_code == 303
    bulk.write(world.store)
    assert "Done 3" in told(ada.get(done.location).text)
    assert scoped.get(done.location).status_code == 404
    assert open_grants(world) == 2
    assert scoped.get("/lists/people/act?act=offboard").status_code == 403
    page = scoped.get("/lists/grants/act?act=revoke")
    assert "Cinnabar" not in page.text
    assert desk(app, world, "auditor").get("/lists/grants/act?act=revoke").status_code == 403
    assert ada.get("/lists/grants/act?act=offboard").status_code == 422
    with world.store.reading() as session:
        kept = select(func.count()).select_from(BulkItem)
        assert session.execute(kept).scalar_one() == 6  # of the one, and of the brake's

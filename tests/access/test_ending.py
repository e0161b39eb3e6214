"""What ends for good ends at once, each of its grants once, and never comes back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from govern import clock, errors
from govern.access import ending, entitlements, grants, suspensions
from govern.access.ending import Ending
from govern.access.grants import Grant
from govern.audit.log import HOUSE
from tests.access.tooling import Tool
from tests.factory import OPERATOR, World, person, row, together
from tests.test_cli import Ran, environment, run
from tests.web.api.caller import Caller
from tests.web.desks import desk, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from govern.access.clients import Client, Project

__all__ = ["environment", "run"]


def end(world: World, place: Client | Project, number: int, **more: Any) -> int:
    found: int = world.do(
        lambda s: ending.end(
            s, s.get_one(type(place), place.id), number=number,
            **{"reason": "over", "by": OPERATOR} | more,
        )
    )  # fmt: skip
    return found


def test_an_ended_project_is_shut_at_once_and_each_open_grant_is_revoked_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "CHUNK", 2)
    client = world.client()
    project, other = (world.project(code, client=client) for code in ("Kingfisher", "Osprey"))
    people = [world.subject() for _ in range(5)]
    held = [world.grant(who, project) for who in people]
    world.grant(people[0], other)
    world.revoke(held[4])
    soon = clock.utcnow() + timedelta(days=1)
    expired = world.grant(people[4], project, until=soon)
    token = Tool.of(world).token(people[0], project)
    assert token
    with clock.at(soon):
        for wrong in (3, 5, 6):
            with pytest.raises(errors.Brake, match="4"):
                end(world, project, wrong)
        assert end(world, project, 4) == 4
        # In force from the commit, before a single grant is revoked.
        assert world.ask(people[0], project).reason == "project_ended"
        assert world.permits(people[0], other)
        with world.store.reading() as session:
            task = session.execute(select(Ending.id)).scalar_one()
        # And here the writer was killed.
        assert world.do(lambda session: ending._chunk(session, task)) == 2
        assert ending.write(world.store) == 2
        assert ending.write(world.store) == 0
        with pytest.raises(errors.AlreadyEnded):
            end(world, project, 0)
    entries = world.entries(client.id, "grant.revoked")
    ended = [entry["refs"]["grant"] for entry in entries if "data" in entry]
    assert sorted(ended) == [grant.id for grant in held[:4]]
    with world.store.reading() as session:
        rows = {one.id: one for one in session.execute(select(Grant)).scalars()}
        tasks = session.execute(select(Ending)).scalars().all()
    assert rows[expired.id].ended_at is None
    # Each fact ends at its entry's own instant.
    assert [clock.text(rows[entry["refs"]["grant"]].ended_at) for entry in entries] == [
        entry["time"] for entry in entries
    ]
    (closing,) = world.entries(client.id, "ending.recorded")
    (opening,) = world.entries(client.id, "project.ended")
    assert (closing["data"]["position"], closing["data"]["count"]) == (opening["seq"], 4)
    assert opening["data"] == {"grants": 4}
    assert [task.finished_at is not None for task in tasks] == [True]
    chain = ""
    for grant in held[:4]:
        chain = suspensions.chain(chain, grant.id)
    assert closing["data"]["digest"] == suspensions.digest_of({client.id: chain})


def test_nothing_brings_back_what_ended_neither_import_nor_grant_nor_lift(world: World) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    ann = world.subject("ann")
    world.grant(ann, project)
    pause = world.suspend("client:ASTER")
    assert end(world, client, 1) == 1
    assert len(world.entries(HOUSE, "client.ended")) == 1
    ending.write(world.store)
    world.lift(pause)
    assert not world.permits(ann, project)
    outcome = world.load(row("ann", name="Person ann"), skip_rejected=True)
    assert [fault.column for fault in outcome.rejected] == ["project"]
    with pytest.raises(errors.AlreadyEnded):
        world.grant(ann, project)
    with pytest.raises(errors.AlreadyEnded):
        end(world, project, 0)
    assert world.ask(ann, project).reason == "client_ended"


def test_who_may_end_it_is_an_admin_of_it_with_a_fresh_factor(world: World) -> None:
    client, rival = world.client("ASTER"), world.client("BOREAL")
    project = world.project("Kingfisher", client=client)
    with pytest.raises(errors.Forbidden):
        end(world, project, 0, by=person(world.staff("auditor"), "auditor"))
    with pytest.raises(errors.Unknown):
        end(world, project, 0, by=person(world.staff(), client=rival.id))
    admin = person(world.staff(), client=client.id)
    with clock.at(clock.utcnow() + timedelta(minutes=6)), pytest.raises(errors.FreshFactorRequired):
        end(world, project, 0, by=admin)
    assert end(world, project, 0, by=admin) == 0


def test_a_grant_and_an_end_at_once_leave_no_grant_open_behind_the_end(world: World) -> None:
    client = world.client()
    entitlement = world.entitlement()
    until = clock.utcnow() + timedelta(days=9)
    for n in range(4):
        project, subject = world.project(f"P{n}", client=client), world.subject()
        results = together(
            world.store,
            lambda s, p=project, w=subject: grants.issue(
                s, w, p, entitlements.named(s, entitlement.name), until=until, reason="x",
                by=OPERATOR,
            ),
            lambda s, p=project: ending.end(
                s, s.get_one(type(p), p.id), number=0, reason="over", by=OPERATOR
            ),
        )  # fmt: skip
        refused = [one for one in results if isinstance(one, Exception)]
        # Either the grant came too late, or the number typed was not the number any more.
        assert len(refused) == 1
        assert isinstance(refused[0], errors.AlreadyEnded | errors.Brake), refused


def test_command_page_and_api_end_it_with_the_number_typed(
    world: World, app: Flask, run: Callable[..., Ran]
) -> None:
    client = world.client("ASTER")
    one, two, three = (world.project(code, client=client) for code in ("One", "Two", "Three"))
    ann = world.subject()
    for project in (one, two, three):
        world.grant(ann, project)
    assert run("project", "end", "One", "--reason", "over").status == 2  # nobody there to type
    assert run("project", "end", "One", "--reason", "over", "--number", "7").status == 1
    done = run("project", "end", "One", "--reason", "over", "--number", "1", "--json")
    assert (done.json["state"], done.json["grants"]) == ("ended", 1)
    assert len(world.entries(client.id, "grant.revoked")) == 1

    ada = desk(app, world)
    page = ada.get("/projects/Two/end")
    assert "1 grant is revoked" in told(page.text)
    wrong = ada.post("/projects/Two/end", {"reason": "over", "number": "2"})
    assert (wrong.status_code, "number of grants that end: 1" in told(wrong.text)) == (409, True)
    assert ada.post("/projects/Two/end", {"reason": "over", "number": "1"}).status_code == 303
    assert "It has ended already" in told(ada.get("/projects/Two/end").text)
    assert "End this project for good" not in ada.get("/projects/Two").text

    caller = Caller.of(world, app)
    answer = caller.post("/clients/ASTER/end", {"number": 1, "reason": "over"})
    assert answer.status_code == 409  # that of the project before is not written yet
    answer = caller.post("/clients/ASTER/end", {"number": 2, "reason": "over"})
    assert (answer.status_code, answer.json["state"]) == (200, "ended")
    assert caller.get("/projects/Three").json["state"] == "ended"
    assert ending.write(world.store) == 2
    assert run("client", "end", "ASTER", "--reason", "over").status == 1

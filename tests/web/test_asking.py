"""The pages of asking: from one's own page to whoever approves, and the outcome back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern.access.grants import Grant
from govern.access.requests import Request
from tests.web.desks import desk, hidden, told
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


def test_access_is_asked_for_approved_by_two_and_its_outcome_read_where_it_was_asked(
    world: World, app: Flask
) -> None:
    aster = world.client("ASTER")
    project = world.project("Kingfisher", client=aster)
    person, hidden_one = world.subject(), world.project("Heron", client=aster)
    world.grant(person, project)
    world.entitlement("reviewer", "read", "review")
    world.activate(person)
    mine = Visitor.of(app).seated(world, person)
    page = mine.get("/requests/mine")
    assert "Kingfisher" in page.text
    assert hidden_one.code not in page.text
    wanted = {"place": "Kingfisher", "entitlement": "reviewer", "until": "2036-01-01T00:00"}

    for change, field in (
        ({"reason": ""}, "Reason"), ({"until": "soon"}, "Until"), ({"place": "Heron"}, "Project"),
        ({"entitlement": "none"}, "What you would do"), ({"until": "2020-01-01T00:00"}, "Until"),
    ):  # fmt: skip
        answer = mine.post("/requests/mine", wanted | {"reason": "<b>my batch"} | change)
        assert answer.status_code == 422, (change, answer.status_code)
        assert re.search(rf'href="#f-\w+">{field}', answer.text), (change, told(answer.text))
        assert "reason" in change or 'value="&lt;b&gt;my batch"' in answer.text
    assert mine.post("/requests/mine", wanted | {"reason": "a batch"}).status_code == 303
    again = mine.post("/requests/mine", wanted | {"reason": "a batch"})
    assert again.status_code == 409
    with world.store.reading() as session:
        row = session.execute(select(Request)).scalar_one()
    where = f"/requests/{row.id}"
    assert mine.get(where).status_code == 403

    ann, bob = desk(app, world), desk(app, world)
    policy = ann.get("/request-policies?over=project:Kingfisher")
    assert "Nothing was set" in policy.text
    form = {
        "over": "project:Kingfisher", "seen": hidden(policy.text, "seen"), "roles": "admin",
        "needed": "2", "pausing": "waits", "days": "9", "open_to": "known", "reason": "contract",
    }  # fmt: skip
    for change, status in (
        ({"needed": "many"}, 422), ({"people": "nobody"}, 422), ({"seen": "pol_old"}, 409),
        ({}, 303),
    ):  # fmt: skip
        assert ann.post("/request-policies", form | change).status_code == status, change
    assert "1 request waits under it" in ann.get("/request-policies?over=project:Kingfisher").text

    _opened(mine, ann, form, desk(app, world, None))
    for each in (ann, bob):
        assert re.search(r"Requests\s+1 wait for you", told(each.get("/requests").text))
    first = ann.get(where)
    for words in ("review", "0 of 2", "a batch", "1 grant"):
        assert words in told(first.text)
    late = hidden(bob.get(where).text, "seen")
    approve = {"decision": "approve", "seen": hidden(first.text, "seen")}
    assert ann.post(where, approve).status_code == 303
    assert "You approved this" in ann.get(where).text
    assert not re.search(r"Requests\s+1 wait", told(ann.get("/requests").text))
    stale = bob.post(where, approve | {"seen": late})
    assert stale.status_code == 409
    assert "It stands otherwise than you saw it" in stale.text
    approve["seen"] = hidden(stale.text, "seen")
    assert bob.post(where, approve).status_code == 303
    assert "The access was given." in told(mine.get("/requests/mine").text)
    with world.store.reading() as session:
        assert len(session.execute(select(Grant.id)).all()) == 2
    _refused(world, mine, ann, wanted)


def test_who_approves_access_to_a_dataset_reads_so_before_they_open_it(
    world: World, app: Flask
) -> None:
    """The list of what waits named the project alone, as if all of it had been asked for."""
    project = world.project("Kingfisher")
    world.dataset(project, "kingfisher-audio")
    person = world.subject()
    world.grant(person, project)
    world.entitlement("reviewer", "read", "review")
    world.activate(person)
    mine = Visitor.of(app).seated(world, person)
    place = re.search(r'value="([^"]*kingfisher-audio)"', mine.get("/requests/mine").text)
    assert place
    sent = mine.post(
        "/requests/mine",
        {"place": place[1], "entitlement": "reviewer", "until": "2036-01-01T00:00", "reason": "x"},
    )
    assert sent.status_code == 303, told(sent.text)
    waiting = told(desk(app, world).get("/requests").text)
    assert "reviewer on Kingfisher · kingfisher-audio" in waiting


def _opened(mine: Visitor, ann: Visitor, form: dict[str, str], stranger: Visitor) -> None:
    """A project that is new to somebody is shown to them while its policy opens it."""
    here = "/request-policies?over=project:Heron"
    opened = {"over": "project:Heron", "seen": "", "open_to": "client"}
    wrong = ann.post("/request-policies", form | opened | {"open_to": "all of them"})
    assert wrong.status_code == 422
    assert ann.post("/request-policies", form | opened).status_code == 303
    assert "open to the client’s people" in told(ann.get("/request-policies").text)
    assert "Heron (new to you)" in mine.get("/requests/mine").text
    assert "Heron" not in stranger.get("/requests/mine").text
    closed = opened | {"seen": hidden(ann.get(here).text, "seen"), "open_to": "known"}
    assert ann.post("/request-policies", form | closed).status_code == 303
    assert "Heron" not in mine.get("/requests/mine").text


def _refused(world: World, mine: Visitor, ann: Visitor, wanted: dict[str, str]) -> None:
    assert mine.post("/requests/mine", wanted | {"reason": "more"}).status_code == 303
    with world.store.reading() as session:
        second = session.execute(select(Request.id).where(Request.ended_at.is_(None))).scalar_one()
    where = f"/requests/{second}"
    assert ann.post(where, {"decision": "withdraw"}).status_code == 422
    said = {"decision": "withdraw", "reason": "not <i>now"}
    assert ann.post(where, said).status_code == 303
    assert "not &lt;i&gt;now" in mine.get("/requests/mine").text


def test_an_admin_pastes_a_list_and_all_are_asked_for_or_none(world: World, app: Flask) -> None:
    project = world.project("Kingfisher")
    people = [world.subject() for _ in range(3)]
    world.grant(people[0], project)
    admin = desk(app, world)
    form = {
        "project": "Kingfisher", "entitlement": "annotator", "until": "2036-01-01T00:00",
        "reason": "new batch",
    }  # fmt: skip
    assert 'value="Kingfisher"' in admin.get("/requests/new?project=Kingfisher").text
    names = [each.external_id for each in people]
    answer = admin.post("/requests/new", form | {"people": "\n".join([*names, "stranger"])})
    assert answer.status_code == 422
    assert "line 4 “stranger”" in answer.text
    assert f"{names[0]}\n{names[1]}" in answer.text, "what was typed is kept"
    pasted = ", ".join([names[0], people[1].email or "", names[2], names[0]])
    assert admin.post("/requests/new", form | {"people": pasted}).status_code == 303
    with world.store.reading() as session:
        rows = session.execute(select(Request.subject_id)).scalars().all()
    assert sorted(rows) == sorted(each.id for each in people)
    page = told(admin.get("/requests").text)
    assert "Waits for others" in page
    assert names[0] in admin.get("/requests/mine").text

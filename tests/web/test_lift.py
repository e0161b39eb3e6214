"""Lifting by two over HTTP: the difference, the brake, and that one person never suffices."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from govern import clock
from govern.access import suspensions
from govern.access.modes import Mode
from tests.web.desks import desk, hidden, stopped, told

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.factory import World
    from tests.web.visitor import Visitor


@pytest.fixture
def ada(app: Flask, world: World) -> Visitor:
    return desk(app, world)


@pytest.fixture
def ben(app: Flask, world: World) -> Visitor:
    return desk(app, world)


def ask_lift(visitor: Visitor, where: str, number: int, **more: str) -> TestResponse:
    digest = hidden(visitor.get(f"{where}/lift").text, "digest")
    form = {"digest": digest, "number": str(number), "reason": "all clear", **more}
    return visitor.post(f"{where}/lift", form)


def test_two_admins_lift_and_exactly_what_is_still_right_comes_back(
    world: World, ada: Visitor, ben: Visitor
) -> None:
    project = world.project()
    back, revoked, other = (world.subject() for _ in range(3))
    world.grant(back, project)
    ended = world.grant(revoked, project)
    world.grant(other, project)
    where = f"/suspensions/{world.suspend('project:Kingfisher').id}"
    world.revoke(ended)
    world.suspend(f"subject:{other.external_id}")

    page = told(ada.get(f"{where}/lift").text)
    assert "Type it: 1." in page
    assert "Revoked 1" in page
    held = told(ada.get(f"{where}/lift?group=held_elsewhere").text)
    assert f"held by Person {other.external_id}" in held
    asked = ask_lift(ada, where, 1)
    assert asked.status_code == 303, told(asked.text)
    request = asked.headers["Location"]
    assert not world.permits(back, project)

    again = ada.get(request)
    assert "You asked for this yourself" in told(again.text)
    assert "all clear" in told(again.text)
    first = ada.post(request, {"decision": "approve", "number": "1"})
    assert first.status_code == 403
    assert "You asked for this yourself" in told(first.text)
    wrong = ben.post(request, {"decision": "approve", "number": "2"})
    assert wrong.status_code == 409
    assert 'href="#f-number"' in wrong.text
    assert ben.post(request, {"decision": "approve", "number": "many"}).status_code == 422
    assert not world.permits(back, project)
    assert ben.post(request, {"decision": "approve", "number": "1"}).status_code == 303

    after = told(ada.get(where).text)
    assert "0 people" not in after  # whom it holds no more are not whom it concerned
    assert world.permits(back, project)
    assert world.ask(revoked, project).reason == "grant_revoked"
    assert world.ask(other, project).reason == "subject_paused"
    twice = ben.post(request, {"decision": "approve", "number": "1"})
    assert twice.status_code == 409
    assert "was approved before" in told(twice.text)
    assert "lifted already" in told(ada.get(f"{where}/lift").text)
    lifted_twice = ada.post(f"{where}/lift", {"number": "0", "reason": "x"})
    assert lifted_twice.status_code == 409


def test_the_number_must_be_the_one_shown_and_a_list_that_moved_makes_the_form_stale(
    world: World, ada: Visitor
) -> None:
    project = world.project()
    grant = world.grant(world.subject(), project)
    world.grant(world.subject(), project)
    where = f"/suspensions/{world.suspend('project:Kingfisher').id}"
    brake = ask_lift(ada, where, 3)
    assert brake.status_code == 409
    assert "Type the number of grants that come back: 2." in told(brake.text)
    assert 'value="all clear"' in brake.text
    assert ask_lift(ada, where, 2, reason="").status_code == 422
    digest = hidden(ada.get(f"{where}/lift").text, "digest")
    world.revoke(grant)
    stale = ada.post(f"{where}/lift", {"digest": digest, "number": "1", "reason": "all clear"})
    assert stale.status_code == 409
    assert "changed since you saw it" in told(stale.text)


def test_asking_twice_is_refused_and_a_withdrawn_request_lifts_nothing(
    world: World, ada: Visitor, ben: Visitor
) -> None:
    project = world.project()
    where = f"/suspensions/{world.suspend('project:Kingfisher').id}"
    digest = hidden(ada.get(f"{where}/lift").text, "digest")
    form = {"digest": digest, "number": "0", "reason": "x"}
    request = ada.post(f"{where}/lift", form).headers["Location"]
    assert ada.post(f"{where}/lift", form).status_code == 409
    assert ada.post(request, {"decision": "withdraw"}).status_code == 303
    assert stopped(world, project)
    assert ben.post(request, {"decision": "approve"}).status_code == 409
    other = ask_lift(ada, where, 0).headers["Location"]
    assert "Turned down" in told(
        ben.post(other, {"decision": "withdraw"}, follow_redirects=True).text
    )
    assert ben.post(other, {"decision": "perhaps"}).status_code == 422
    assert stopped(world, project)


@pytest.mark.asvs("2.3.5")
def test_one_person_alone_can_never_widen_access_through_any_page(
    world: World, ada: Visitor, ben: Visitor
) -> None:
    project = world.project()
    dataset = world.dataset(project)
    inside = world.subject(organisation="Firm")
    alone = world.subject()
    world.subject(organisation="Elsewhere")
    for person in (inside, alone):
        world.grant(person, project)
    held = world.suspend("project:Kingfisher", f"dataset:{dataset.code}")
    firm = world.suspend("organisation:Firm")
    where = f"/suspensions/{held.id}"

    def refused_to_the_first(answer: TestResponse) -> str:
        assert answer.status_code == 303, told(answer.text)
        request = answer.headers["Location"]
        assert request.startswith("/requests/")
        assert ada.post(request, {"decision": "approve", "number": "2"}).status_code == 403
        return request

    release = refused_to_the_first(
        ada.post(f"{where}/release", {"subject": alone.external_id, "reason": "needed"})
    )
    refused_to_the_first(ada.post(f"{where}/mode", {"mode": "read_only"}))
    refused_to_the_first(
        ada.post(f"{where}/narrow", {"target": f"dataset:{dataset.code}", "reason": "not it"})
    )
    refused_to_the_first(ask_lift(ada, where, 1))
    move = refused_to_the_first(
        ada.post(
            f"/people/{inside.id}/organisation", {"organisation": "Elsewhere", "reason": "moved"}
        )
    )
    refused_to_the_first(ask_lift(ada, f"/suspensions/{firm.id}", 0))
    give = ada.post(
        "/projects/Kingfisher/grants",
        {"subject": alone.external_id, "entitlement": "annotator",
         "until": "2099-01-01T00:00", "reason": "more"},
    )  # fmt: skip
    assert give.status_code == 409
    assert not world.permits(alone, project)
    assert not world.permits(inside, project)

    assert "Person" in told(ben.get(release).text)
    assert ben.post(release, {"decision": "approve"}).status_code == 303
    assert world.permits(alone, project)
    assert ben.post(move, {"decision": "approve"}).status_code == 303
    assert world.ask(inside, project).reason == "project_paused"
    assert "Elsewhere" in told(ben.get(f"/people/{inside.id}").text)


def test_what_forensics_cleared_is_let_out_of_a_pause_by_two_with_all_who_reach_it_shown(
    world: World, ada: Visitor, ben: Visitor
) -> None:
    client = world.client()
    project = world.project("Kingfisher", client=client)
    audio, maps = (world.dataset(project, code) for code in ("k-audio", "k-maps"))
    world.dataset(world.project("Elsewhere"), "e-audio")
    whole, own, other = (world.subject() for _ in range(3))
    world.grant(whole, project)
    world.grant(own, project, dataset=audio)
    world.grant(other, project, dataset=maps)
    where = f"/suspensions/{world.suspend('client:ASTER').id}"

    def ask(named: str) -> TestResponse:
        return ada.post(f"{where}/release", {"subject": named, "reason": "cleared"})

    for named, why in (
        ("dataset:e-audio", "not part of what is suspended"),
        ("client:ASTER", "is not let out"),
        ("dataset:none", "There is no dataset"),
        (f"{own.external_id}\nnobody", "There is no subject “nobody”"),
    ):
        refused = ask(named)
        assert refused.status_code == 422
        assert why in told(refused.text)
    asked = ask(f"dataset:k-audio\n{other.external_id}")
    assert asked.status_code == 303, told(asked.text)
    request = asked.headers["Location"]
    assert not world.permits(whole, audio)
    page = told(ben.get(request).text)
    assert "k-audio" in page
    assert "to 3 people" in page
    assert ben.post(request, {"decision": "approve"}).status_code == 303
    assert [world.permits(*each) for each in ((whole, audio), (own, audio), (other, maps))] == [
        True, True, True,
    ]  # fmt: skip
    assert world.ask(whole, maps).reason == "client_paused"
    assert world.ask(whole, project).reason == "client_paused"
    shown = told(ada.get(where).text)
    assert "k-audio" in shown
    assert world.write_particulars() == 5  # three held; of the two wholly let out one each


def test_hundreds_of_people_are_let_out_by_one_pasted_list(
    world: World, ada: Visitor, ben: Visitor
) -> None:
    client = world.client()
    project = world.project("Kingfisher", client=client)
    world.crowd(project, client, 400)
    with world.store.reading() as session:
        from sqlalchemy import select

        from govern.identity.subjects import Subject

        codes = session.execute(
            select(Subject.external_id).where(Subject.external_id.like("C%-%"))
        ).scalars().all()  # fmt: skip
    where = f"/suspensions/{world.suspend('client:ASTER').id}"
    asked = ada.post(f"{where}/release", {"subject": "\r\n".join(codes[:300]), "reason": "cleared"})
    assert asked.status_code == 303, told(asked.text)
    assert "to 300 people" in told(ben.get(asked.headers["Location"]).text)
    assert ben.post(asked.headers["Location"], {"decision": "approve"}).status_code == 303
    assert "100 people" in told(ada.get(where).text)


def test_a_lift_at_a_time_is_asked_for_approved_and_confirmed_on_pages_and_its_miss_is_shown(
    world: World, ada: Visitor, ben: Visitor
) -> None:
    project = world.project()
    person = world.subject()
    world.grant(person, project)
    where = f"/suspensions/{world.suspend('project:Kingfisher').id}"
    due = (clock.utcnow() + timedelta(hours=2)).replace(second=0, microsecond=0)
    at = {"at": due.strftime("%Y-%m-%dT%H:%M")}
    assert ask_lift(ada, where, 1, at="2020-01-01T00:00").status_code == 422
    request = ask_lift(ada, where, 1, **at).headers["Location"]
    assert "Lift at a set time" in told(ben.get(request).text)
    assert ben.post(request, {"decision": "approve", "number": "1"}).status_code == 303
    assert not world.permits(person, project)
    assert "without it, it does not end" in told(ada.get(where).text)
    confirming = f"{where}/resume"
    digest = hidden(ada.get(confirming).text, "digest")
    assert ada.post(confirming, {"digest": digest, "number": "2"}).status_code == 409
    assert ada.post(confirming, {"digest": digest, "number": "1"}).status_code == 303
    assert "Confirmed by" in told(ada.get(where).text)
    assert ben.post(confirming, {"decision": "cancel"}).status_code == 303
    assert "No time is set" in told(ada.get(confirming).text)
    again = ask_lift(ada, where, 1, **at).headers["Location"]
    assert ben.post(again, {"decision": "approve", "number": "1"}).status_code == 303
    with clock.at(due):
        suspensions.resume_due(world.store)
    page = told(ada.get(where).text)
    assert "It did not end at its time" in page
    assert "nobody had confirmed it" in page
    assert not world.permits(person, project)


@pytest.mark.asvs("2.3.5")
def test_whoever_made_the_askers_account_cannot_be_the_second_person(
    world: World, app: Flask, ada: Visitor
) -> None:
    project = world.project()
    world.grant(world.subject(), project)
    where = f"/suspensions/{world.suspend('project:Kingfisher').id}"
    made = world.staff()
    link = ada.post(f"/people/{made.id}/activation-link")
    assert re.search(r"/activate/[\w-]{20,}", link.text)
    assert not re.search(r"/activate/[\w-]{20,}", ada.get(f"/people/{made.id}").text)
    world.activate(made)
    puppet = desk(app, world)
    request = ask_lift(ada, where, 1).headers["Location"]
    from tests.web.visitor import Visitor

    creature = Visitor.of(app).sign_in(world, made)
    assert "created, recovered or promoted" in told(creature.get(request).text)
    refused = creature.post(request, {"decision": "approve", "number": "1"})
    assert refused.status_code == 403
    assert stopped(world, project)
    assert puppet.post(request, {"decision": "approve", "number": "1"}).status_code == 303


def test_a_weaker_mode_takes_two_and_reading_returns(
    world: World, ada: Visitor, ben: Visitor
) -> None:
    project = world.project()
    person = world.subject()
    world.grant(person, project)
    held = world.suspend("project:Kingfisher", mode=Mode.PAUSED)
    asked = ada.post(f"/suspensions/{held.id}/mode", {"mode": "read_only"})
    request = asked.headers["Location"]
    page = told(ben.get(request).text)
    assert "read-only" in page
    assert "to 1 person" in page
    assert ben.post(request, {"decision": "approve"}).status_code == 303
    assert world.permits(person, project, "read")
    assert not world.permits(person, project, "annotate")


def test_who_returns_only_now_is_not_let_in_by_a_list_that_did_not_show_them(
    world: World, ada: Visitor, ben: Visitor
) -> None:
    project = world.project()
    late, early = world.subject(), world.subject()
    world.grant(early, project)
    world.grant(late, project, starts=clock.utcnow() + timedelta(minutes=2))
    where = f"/suspensions/{world.suspend('project:Kingfisher').id}"
    request = ask_lift(ada, where, 1).headers["Location"]
    with clock.at(clock.utcnow() + timedelta(minutes=3)):
        page = ben.get(request)
        assert "The list has moved since" in told(page.text)
        answer = ben.post(request, {"decision": "approve", "number": "1"})
        assert answer.status_code == 409
        assert "others would come back too" in told(answer.text)
        assert stopped(world, project)


def test_a_scoped_admin_meets_404_at_requests_of_others(world: World, app: Flask) -> None:
    own = world.client("ASTER")
    world.project("Cinnabar")
    ada = desk(app, world)
    foreign = ask_lift(ada, f"/suspensions/{world.suspend('project:Cinnabar').id}", 0)
    someone = world.subject(organisation="Firm")
    world.suspend("organisation:Firm")
    moved = ada.post(
        f"/people/{someone.id}/organisation", {"organisation": "direct", "reason": "x"}
    )
    scoped = desk(app, world, client=own)
    for answer in (foreign, moved):
        where = answer.headers["Location"]
        assert scoped.get(where).status_code == 404
        assert scoped.post(where, {"decision": "approve", "number": "0"}).status_code == 404
        assert scoped.post(where, {"decision": "withdraw"}).status_code == 404
    assert "Cinnabar" not in told(scoped.get("/").text)

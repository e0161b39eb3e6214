"""A contractor's own pages: what each project means now, and one's account."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from govern import clock
from govern.access import grants, offboarding, standing, suspensions
from govern.access.suspensions import notices
from govern.audit.log import Entry
from govern.identity import sessions
from tests.factory import OPERATOR, PASSWORD, SECOND, T0
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from govern.identity.subjects import Subject
    from tests.factory import World

START = T0 + timedelta(days=400)  # after whatever the machine's clock says


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor.of(app)


def _words(page: str) -> str:
    """What a reader of the page sees, tags and extra space taken out."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).replace("’", "'").split())


def _status(world: World, visitor: Visitor, person: Subject) -> str:
    if not visitor.client.get_cookie("session"):
        world.activate(person)
        visitor.seated(world, person)
    answer = visitor.get("/status")
    assert answer.status_code == 200
    return _words(answer.text)


# --- the page ----------------------------------------------------------------------------------


def test_a_pause_is_told_in_words_a_contractor_can_use(world: World, visitor: Visitor) -> None:
    person, project = world.subject(), world.project("Kingfisher")
    world.grant(person, project)
    assert "Everything is open to you" in _status(world, visitor, person)
    world.suspend(
        "project:Kingfisher", note="Back on Tuesday.", internal_reason="a leak is suspected",
        ordered_by="Dana at Aster", incident="INC-77",
        hours_until=clock.utcnow() + timedelta(hours=3),
    )  # fmt: skip
    page = _status(world, visitor, person)
    assert "Paused" in page
    assert "This is not about you." in page
    assert "The client asked for it." in page
    assert "Back on Tuesday." in page
    assert re.search(r"You may log hours You may not look at the data annotate", page)
    assert "Your hours count. Until" in page
    assert "Looked at again by" in page
    assert "ops@aster.example" in page
    for secret in ("leak", "Dana", "INC-77", "Labs", "operator"):
        assert secret not in page


@pytest.mark.asvs("8.2.2", "8.4.1")
def test_no_codename_shows_that_one_never_held(world: World, visitor: Visitor) -> None:
    person, neighbour = world.subject(), world.subject()
    aster, rival = world.client("ASTER"), world.client("BOREAL")
    mine = world.project("Kingfisher", client=aster)
    hidden = [world.project("Heron", client=aster), world.project("Cinnabar", client=rival)]
    world.grant(person, mine)
    for project in hidden:
        world.grant(neighbour, project)
    world.suspend("client:ASTER", "client:BOREAL", note="Hold on.")
    page = _status(world, visitor, person)
    assert "Kingfisher" in page
    for secret in ("Heron", "Cinnabar", "BOREAL", "ASTER", neighbour.full_name):
        assert secret not in page


def test_a_suspended_person_sees_their_own_page_and_nothing_else(world: World, app: Flask) -> None:
    person = world.staff("auditor")
    world.activate(person)
    world.grant(person, world.project("Kingfisher"))
    visitor = Visitor.of(app).seated(world, person)
    assert visitor.get("/").headers["Location"] == "/log"
    world.suspend(
        f"subject:{person.external_id}", reason="conduct", note="Please call us.",
        internal_reason="shared a screen",
    )  # fmt: skip
    assert visitor.get("/status").headers["Location"] == "/sign-in?next=/status", "it ended"
    with clock.at(clock.utcnow() + timedelta(seconds=60)):
        visitor.seated(world, person)
    assert visitor.get("/").headers["Location"] == "/status"
    page = visitor.get("/status").text
    assert "Your own access is suspended on every project." in page
    assert "Please call us." in page
    assert "conduct" not in page.lower()
    assert "screen" not in page
    assert "/account" not in page
    open_to_them = {
        "/", "/status", "/notices", "/notices.ics", "/notices/<notice_id>/acknowledge",
        "/questions/mine", "/questions/<question_id>",
        "/questions/<question_id>/messages", "/requests/mine",
        "/requests/mine/<request_id>/withdraw",
    }  # fmt: skip
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if getattr(view, "govern_guard", "signed_in") != "signed_in" or rule.endpoint == "static":
            continue
        path = re.sub(r"<[^>]+>", person.id, rule.rule)
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            sent = {"data": {"csrf_token": visitor.csrf}} if method == "POST" else {}
            answer = visitor.client.open(path, method=method, **sent)
            refused = answer.status_code == 403
            assert refused is (rule.rule not in open_to_them), (method, path, answer.status)


def test_who_has_left_is_out_at_once_and_stays_out(world: World, app: Flask) -> None:
    person = world.subject()
    world.activate(person)
    visitor = Visitor.of(app).seated(world, person)
    world.do(lambda s: offboarding.offboard(s, s.merge(person), reason="left", by=OPERATOR))
    assert visitor.get("/status").status_code == 303
    visitor.get("/sign-in")
    answer = visitor.post("/sign-in", {"email": person.email, "password": PASSWORD})
    assert answer.status_code == 401


def test_notices_are_told_version_by_version_and_a_late_update_is_owned_up_to(
    world: World, visitor: Visitor
) -> None:
    person, aster = world.subject(), world.client("ASTER")
    for code in ("Heron", "Kingfisher"):
        world.grant(person, world.project(code, client=aster))
    row = world.suspend("client:ASTER", note="A leak is looked into.")
    now = clock.utcnow()
    words = notices.Words(
        known="One dataset was seen outside.", not_known="By whom.",
        contact="Dana Ng <dana@aster.example>", next_update_by=now + timedelta(minutes=3),
        submit_by=now + timedelta(days=2),
    )  # fmt: skip
    world.do(lambda s: notices.post(s, s.merge(row), words, by=OPERATOR))
    page = _status(world, visitor, person)
    assert re.search(
        r"What we know as of .* One dataset was seen outside\. Not known yet By whom\. "
        r"Next update by .* Hand in your hours by .* Whom to ask about it Dana Ng, "
        r"dana@aster\.example I have read this One earlier version .* A leak is looked into\.",
        page,
    )
    assert page.count("One dataset was seen outside.") == 1
    assert "What we know is the same as for Heron" in page
    assert "is late" not in page
    with clock.at(now + timedelta(minutes=4)):
        assert "An update was due and is late. We owe you an answer." in _status(
            world, visitor, person
        )


def test_what_was_said_can_still_be_read_when_it_is_over_by_whom_it_concerned(
    world: World, app: Flask
) -> None:
    aster = world.client("ASTER")
    held, released, late = world.subject(), world.subject(), world.subject()
    kingfisher = world.project("Kingfisher", client=aster)
    heron = world.project("Heron", client=aster)
    for who in (held, released):
        world.grant(who, kingfisher)
    row = world.suspend("client:ASTER", note="A leak is looked into.")
    seats = {}
    for who in (held, released, late):
        world.activate(who)
        seats[who.id] = Visitor.of(app).seated(world, who)

    def page(who: Subject) -> str:
        return _words(seats[who.id].get("/status").text)

    assert "What was said" not in page(held)
    request = world.do(lambda s: suspensions.ask_release(s, s.merge(row), [released], by=OPERATOR))
    world.approve(request, by=SECOND)
    assert "Paused" in page(held)
    assert re.search(r"Over Kingfisher suspended from .* A leak is looked into\.", page(released))
    world.lift(row)
    world.grant(late, kingfisher)
    world.grant(held, heron)
    assert re.search(r"Over Kingfisher suspended from .* A leak is looked into\.", page(held))
    assert "A leak" not in page(late)
    with clock.at(clock.utcnow() + timedelta(days=31)), world.store.reading() as session:
        assert standing.whole(session, held.id).over == []


def test_one_says_once_to_have_read_a_notice_even_when_suspended_oneself(
    world: World, app: Flask
) -> None:
    person, stranger, project = world.subject(), world.subject(), world.project("Kingfisher")
    world.grant(person, project)
    row = world.suspend(f"subject:{person.external_id}", "project:Kingfisher", note="Call us.")
    visitor, other = Visitor.of(app), Visitor.of(app)
    for who, seat in ((person, visitor), (stranger, other)):
        world.activate(who)
        seat.seated(world, who)
    (where,) = set(re.findall(r"/notices/not_\w+/acknowledge", visitor.get("/status").text))
    assert other.post(where).status_code == 404
    for _ in range(2):
        assert visitor.post(where).status_code == 303
    assert "You said that you have read this" in _words(visitor.get("/status").text)
    entries = world.entries(project.client_id, "notice.acknowledged")
    assert [entry["refs"]["subject"] for entry in entries] == [person.id]
    assert len(world.entries("house", "notice.acknowledged")) == 1
    with world.store.reading() as session:
        (told,) = notices.versions(session, [row.id], counted=True)[row.id]
        assert told.readers == 1
    world.lift(row)
    assert visitor.post(where).status_code == 303


def test_what_is_over_is_told_apart_from_what_is_held(world: World, visitor: Visitor) -> None:
    person, aster = world.subject(), world.client("ASTER")
    now = clock.utcnow()
    revoked = world.grant(person, world.project("Heron", client=aster))
    world.do(lambda s: grants.revoke(s, s.merge(revoked), reason="no more work", by=OPERATOR))
    world.grant(
        person, world.project("Osprey", client=aster), starts=now + timedelta(days=1),
        until=now + timedelta(days=2),
    )  # fmt: skip
    page = _status(world, visitor, person)
    assert re.search(r"Before Heron your access was ended", page)
    assert re.search(r"Osprey Not yet Your access begins on", page)
    assert "no more work" not in page


def test_a_note_or_a_name_is_text_and_never_markup(world: World, visitor: Visitor) -> None:
    person, project = world.subject(), world.project("Kingfisher")
    world.grant(person, project)
    world.suspend("project:Kingfisher", note="<script>alert(1)</script>")
    world.activate(person)
    visitor.seated(world, person)
    text = visitor.get("/status").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


# --- the account -------------------------------------------------------------------------------


@pytest.fixture
def signed_in(world: World, app: Flask) -> tuple[Subject, Visitor]:
    person = world.subject()
    world.activate(person)
    return person, Visitor.of(app).seated(world, person)


@pytest.mark.asvs("7.5.2")
def test_one_sees_and_ends_ones_own_sessions_alone(
    world: World, app: Flask, signed_in: tuple[Subject, Visitor]
) -> None:
    person, visitor = signed_in
    with clock.at(clock.utcnow() + timedelta(seconds=30)):
        second = Visitor.of(app)
        second.get("/sign-in")
        second.post("/sign-in", {"email": person.email, "password": PASSWORD})
    with clock.at(clock.utcnow() + timedelta(seconds=60)):
        second.post("/sign-in/code", {"code": world.code(person)})
        page = visitor.get("/account").text
        (other,) = re.findall(r"/account/sessions/(ses_\w+)/end", page)
        stranger = world.subject()
        world.activate(stranger)
    with clock.at(clock.utcnow() + timedelta(seconds=60)):
        thief = Visitor.of(app).seated(world, stranger)
    assert thief.post(f"/account/sessions/{other}/end").status_code == 404
    with clock.at(clock.utcnow() + timedelta(seconds=60)):
        assert second.get("/account").status_code == 200
        assert visitor.post(f"/account/sessions/{other}/end").status_code == 303
        assert second.get("/account").status_code == 303
        assert visitor.get("/account").status_code == 200


@pytest.mark.asvs("7.5.2")
def test_all_other_sessions_end_and_this_one_stays(
    world: World, app: Flask, signed_in: tuple[Subject, Visitor]
) -> None:
    person, visitor = signed_in
    later = clock.utcnow() + timedelta(seconds=60)
    with clock.at(later):
        second = Visitor.of(app).seated(world, person)
        assert visitor.post("/account/sessions/end-others").status_code == 303
        assert second.get("/account").status_code == 303
        assert visitor.get("/account").status_code == 200


def test_a_stale_factor_is_asked_for_again_and_nothing_is_typed_twice(
    world: World, signed_in: tuple[Subject, Visitor]
) -> None:
    person, visitor = signed_in
    later = clock.utcnow() + timedelta(minutes=10)
    with clock.at(later):
        token = visitor.client.get_cookie("session").value
        chosen = "another long enough phrase"
        form = {"current": PASSWORD, "password": chosen, "password_again": chosen}
        visitor.get("/account")
        answer = visitor.post("/account/password", form)
        assert answer.status_code == 403
        assert "A fresh code, please" in answer.text
        carried = dict(
            re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', answer.text)
        )
        assert form.items() <= carried.items()
        assert "code" not in carried

        answer = visitor.post("/account/password", {**carried, "code": "000000"})
        assert answer.status_code == 401
        assert "A fresh code, please" in answer.text
        answer = visitor.post("/account/password", {**carried, "code": world.code(person)})
        assert answer.status_code == 303
        assert visitor.client.get_cookie("session").value != token
        with world.store.reading() as session:
            assert sessions.resume(session, token) is None
        assert visitor.get("/account").status_code == 200
        visitor.post("/sign-out")
        visitor.get("/sign-in")
        answer = visitor.post("/sign-in", {"email": person.email, "password": chosen})
        assert answer.status_code == 303


def test_a_new_password_takes_the_present_one_and_wrong_ones_are_counted(
    world: World, signed_in: tuple[Subject, Visitor]
) -> None:
    _, visitor = signed_in
    chosen = "another long enough phrase"
    form = {"current": "wrong", "password": chosen, "password_again": chosen}
    for _i in range(5):
        answer = visitor.post("/account/password", form)
        assert answer.status_code == 422
        assert "not your present password" in answer.text
    answer = visitor.post("/account/password", form | {"current": PASSWORD})
    assert answer.status_code == 429
    with world.store.reading() as session:
        types = session.execute(select(Entry.type)).scalars().all()
    assert types.count("sign_in.failed") == 5
    short = visitor.post(
        "/account/password", {"current": PASSWORD, "password": "x", "password_again": "x"}
    )
    assert short.status_code == 422


def test_new_recovery_codes_are_shown_once_and_the_old_ones_are_worthless(
    world: World, app: Flask
) -> None:
    person = world.subject()
    old = world.activate(person)[0]
    visitor = Visitor.of(app).seated(world, person)
    answer = visitor.post("/account/recovery-codes")
    codes = re.findall(r"<li>([0-9A-Z-]{24})</li>", answer.text)
    assert len(codes) == 10
    assert old not in codes
    assert codes[0] not in visitor.get("/account").text
    for code, status in [(old, 401), (codes[0], 303)]:
        other = Visitor.of(app)
        other.get("/sign-in")
        other.post("/sign-in", {"email": person.email, "password": PASSWORD})
        assert other.post("/sign-in/code", {"recovery_code": code}).status_code == status

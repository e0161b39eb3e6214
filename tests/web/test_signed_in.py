"""Where people are signed in, on the pages: their own, and a person's for an admin."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from govern import clock
from govern.access import suspensions
from govern.access.modes import Mode
from tests.factory import OPERATOR, PASSWORD
from tests.web.desks import desk, told
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from govern.identity.subjects import Subject
    from tests.factory import World

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)


def _sign_in(app: Flask, world: World, subject: Subject, agent: str, *, later: int) -> Visitor:
    visitor = Visitor.of(app)
    visitor.client.environ_base["HTTP_USER_AGENT"] = agent
    with clock.at(clock.utcnow() + timedelta(seconds=30 * later)):
        visitor.get("/sign-in")
        visitor.post("/sign-in", {"email": subject.email, "password": PASSWORD})
        answer = visitor.post("/sign-in/code", {"code": world.code(subject)})
    assert answer.status_code == 303
    return visitor


@pytest.mark.asvs("7.4.4", "7.4.5", "7.5.2")
def test_a_person_and_an_admin_see_the_sessions_and_end_them(app: Flask, world: World) -> None:
    subject = world.subject()
    world.activate(subject)
    laptop = _sign_in(app, world, subject, FIREFOX, later=1)
    phone = _sign_in(app, world, subject, IPHONE, later=2)
    page = laptop.get("/account").text
    for said in (
        "Firefox on Linux", "Safari on iPhone", "with: authenticator app",
        "one more sign-in ends the oldest",
    ):  # fmt: skip
        assert said in told(page), said
    assert "Gecko" not in page
    for path in ("/account", "/status", "/people/x"):
        assert '<form method="post" action="/sign-out">' in laptop.get(path).text, path
    other = re.search(r"/account/sessions/(ses_\w+)/end", page)
    assert other is not None
    assert laptop.post(f"/account/sessions/{other[1]}/end").status_code == 303
    assert phone.get("/account").headers["Location"] == "/sign-in?next=/account"

    admin, auditor = desk(app, world), desk(app, world, "auditor")
    page = admin.get(f"/people/{subject.id}").text
    assert "Firefox on Linux" in told(page)
    assert "Safari on iPhone" not in told(page)
    assert "Firefox on Linux" not in auditor.get(f"/people/{subject.id}").text
    one = re.search(r"/people/\w+/sessions/ses_\w+/end", page)
    assert one is not None
    for path in (one[0], f"/people/{subject.id}/sessions/end"):
        assert auditor.post(path).status_code == 403
    assert laptop.get("/account").status_code == 200
    assert admin.post(one[0]).status_code == 303
    assert laptop.get("/account").status_code == 303
    phone = _sign_in(app, world, subject, IPHONE, later=3)
    assert admin.post(f"/people/{subject.id}/sessions/end").status_code == 303
    assert phone.get("/account").status_code == 303


def test_a_persons_own_suspension_ends_their_sessions_and_lifting_it_revives_none(
    app: Flask, world: World
) -> None:
    """They stayed signed in, and were as before once the suspension was lifted."""
    subject, project = world.subject(), world.project("Kingfisher")
    world.activate(subject)
    world.grant(subject, project)
    before = _sign_in(app, world, subject, FIREFOX, later=1)
    half = Visitor.of(app)
    half.get("/sign-in")
    half.post("/sign-in", {"email": subject.email, "password": PASSWORD})
    world.suspend("project:Kingfisher")
    assert before.get("/account").status_code == 200, "that of a project ends no sign-in"
    suspension = world.suspend(f"subject:{subject.external_id}", mode=Mode.UNDER_REVIEW)
    assert before.get("/account").status_code == 200, "nor does one that stops nothing"
    world.do(lambda s: suspensions.change_mode(s, s.merge(suspension), Mode.PAUSED, by=OPERATOR))
    assert before.get("/status").status_code == 303
    assert half.get("/sign-in/code").status_code == 303
    admin = desk(app, world)
    assert "Firefox on Linux" not in told(admin.get(f"/people/{subject.id}").text)
    during = _sign_in(app, world, subject, IPHONE, later=2)
    assert during.get("/status").status_code == 200
    assert during.get("/account").status_code == 403
    world.lift(suspension)
    assert before.get("/status").status_code == 303, "it comes back never"
    assert during.get("/account").status_code == 200
    assert re.findall(r"(?:Firefox|Safari) on \w+", told(during.get("/account").text)) == [
        "Safari on iPhone"
    ]

"""The pages of questions: asked from one's own page, answered from the admin's, told by mail."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from govern import clock
from govern.audit.decisions import Access
from govern.signals import mail
from tests.support.mailbox import Mailbox, mailbox
from tests.web.desks import desk, hidden, told
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from govern.config import Settings
    from tests.factory import World


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as found:
        yield found


@pytest.fixture
def settings(settings: Settings, box: Mailbox) -> Settings:
    return replace(
        settings, smtp_url=f"smtp://127.0.0.1:{box.port}", mail_from="access@govern.example"
    )


def test_a_question_goes_from_a_pause_to_an_admin_and_its_answer_comes_back(
    world: World, app: Flask, box: Mailbox
) -> None:
    person, project = world.subject(), world.project("Kingfisher")
    world.grant(person, project)
    world.activate(person)
    pause = world.suspend("project:Kingfisher")
    mine = Visitor.of(app).seated(world, person)
    link = re.search(r'href="(/questions/mine\?project=Kingfisher[^"]*)"', mine.get("/status").text)
    assert link
    form = mine.get(link[1].replace("&amp;", "&")).text
    assert hidden(form, "suspension") == pause.id
    asked = {"project": "Kingfisher", "suspension": pause.id}

    answer = mine.post("/questions/mine", asked | {"text": "<b>" + "x" * 2000})
    assert answer.status_code == 422
    assert "Your question</a>: At most 2,000 characters, please." in answer.text
    assert "&lt;b&gt;" + "x" * 2000 in answer.text, "what was typed is kept"
    assert '<option value="Kingfisher" selected>' in answer.text
    answer = mine.post("/questions/mine", asked | {"text": "May I log Friday?"})
    assert answer.status_code == 303
    where = answer.headers["Location"]

    admin = desk(app, world)
    page = admin.get("/").text
    assert "Questions that wait for an answer" in page
    assert f'href="{where}"' in page
    thread = admin.get(where)
    assert "May I log Friday?" in thread.text
    assert f"/suspensions/{pause.id}" in thread.text
    reply = {"seen": hidden(thread.text, "seen"), "text": "Until noon."}
    assert (
        mine.post(f"{where}/messages", {"seen": "1", "text": "Also Saturday?"}).status_code == 303
    )
    answer = admin.post(f"{where}/messages", reply)
    assert answer.status_code == 409
    assert "Somebody wrote meanwhile" in answer.text
    assert "Also Saturday?" in answer.text
    assert "Until noon.</textarea>" in answer.text
    for seen, status in (("", 422), ("two", 422), (hidden(answer.text, "seen"), 303)):
        assert admin.post(f"{where}/messages", reply | {"seen": seen}).status_code == status
    assert where not in admin.get("/questions").text
    page = told(mine.get(where).text)
    assert re.search(
        r"You .* May I log Friday\? You .* Also Saturday\? Answer .* Until noon\.", page
    )

    with clock.at(clock.utcnow() + timedelta(minutes=4)):
        assert mail.work(world.store) >= 1
    (message,) = [each for each in box.to(person.email) if "answer" in each["Subject"]]
    body = str(message.get_content())
    assert "  Kingfisher" in body.splitlines()
    assert "noon" not in body, "the answer is on the page alone"
    with world.store.access_reading() as session:
        reads = select(Access.subject_id).where(Access.action == "question")
        assert set(session.execute(reads).scalars()) == {person.id}

    stranger = desk(app, world, None)
    assert stranger.get(where).status_code == 404
    assert stranger.get("/questions").status_code == 403
    assert stranger.post(f"{where}/messages", reply).status_code == 404


def test_who_is_suspended_themselves_can_still_ask_why(world: World, app: Flask) -> None:
    person = world.subject()
    world.activate(person)
    world.suspend(f"subject:{person.external_id}", reason="conduct", note="Please ask.")
    with clock.at(clock.utcnow() + timedelta(seconds=60)):
        mine = Visitor.of(app).seated(world, person)
        assert "Ask about your own access here" in mine.get("/status").text
        answer = mine.post("/questions/mine", {"project": "own:", "text": "What did I do?"})
        assert answer.status_code == 303
        assert "What did I do?" in mine.get(answer.headers["Location"]).text
        empty = mine.post("/questions/mine", {"text": "Why?"})
        assert empty.status_code == 422
        assert "About</a>: What is it about?" in empty.text
        assert mine.post("/questions/mine", {"project": "Heron", "text": "Hm?"}).status_code == 404

"""Pausing in three steps over HTTP, and what a bad or stale form meets."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest

from govern import clock, create_app, errors
from govern.access import suspensions
from govern.access.modes import Mode
from govern.signals import mail
from tests.support.processes import free_port
from tests.web.desks import desk, hidden, stopped, told
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from govern.config import Settings
    from govern.db import Database
    from tests.factory import World


@pytest.fixture
def ada(app: Flask, world: World) -> Visitor:
    return desk(app, world)


def stop(ada: Visitor, *targets: str, **more: str) -> str:
    """Pause some targets by the form; returns the suspension's id."""
    answer = ada.post(
        "/suspensions",
        {"target": list(targets), "mode": "paused", "reason_code": "client_request", **more},
    )
    assert answer.status_code == 303, told(answer.text)
    found = re.fullmatch(r"/suspensions/(sus_\w+)\?opened=1", answer.headers["Location"])
    assert found
    return found[1]


def test_who_works_through_no_firm_is_not_listed_as_a_firm_called_direct(
    world: World, ada: Visitor
) -> None:
    world.subject()
    world.subject(organisation="Apt")
    page = ada.get("/pause").text
    assert "direct: through no firm" in told(page)
    assert 'value="organisation:direct"' in page


def test_three_steps_lead_to_a_pause_in_force_and_a_page_that_shows_its_progress(
    world: World, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    people = [world.subject() for _ in range(3)]
    for person in people:
        world.grant(person, project)

    scope = ada.get("/pause?target=client:ASTER")
    assert "3 people" in told(scope.text)
    preview = ada.get("/pause/preview?target=client:ASTER")
    assert preview.status_code == 200
    assert "3 people are affected." in told(preview.text)
    answer = ada.post(
        "/suspensions",
        {
            "target": "client:ASTER", "digest": hidden(preview.text, "digest"), "mode": "paused",
            "reason_code": "client_request", "note": "We are checking something.",
            "ordered_by": "ops@aster.example", "ordered_how": "phone", "incident": "INC-7",
        },
    )  # fmt: skip
    assert answer.status_code == 303
    assert not world.permits(people[0], project)

    live = ada.get(answer.headers["Location"])
    assert "every decision already refuses" in told(live.text)
    assert "0 of 3" in told(live.text)
    assert "ops@aster.example, phone" in told(live.text)
    assert "hx-get" in live.text
    where = answer.headers["Location"].partition("?")[0]
    assert "HX-Refresh" not in ada.get(f"{where}/progress").headers
    assert "3 left." in told(ada.get(f"{where}/progress").text)
    monkeypatch.setattr(suspensions.particulars, "CHUNK", 1)
    with pytest.raises(ZeroDivisionError):  # as when it is stopped in the middle
        suspensions.particulars.write(world.store, progress=lambda _: 1 // 0)
    with world.store.reading() as session:
        began = session.get_one(suspensions.Suspension, where.rpartition("/")[2]).recorded_at
    with clock.at(began + timedelta(milliseconds=100)):
        moving = told(ada.get(f"{where}/progress").text)
    assert "2 left, at 10 a second: about 1 s more." in moving
    suspensions.particulars.write(world.store)
    assert ada.get(f"{where}/progress").headers["HX-Refresh"] == "true"
    done = ada.get(where)
    assert "3 of 3" in told(done.text)
    assert "hx-get" not in done.text
    assert "The set had moved" not in told(done.text)


def test_the_same_form_sent_again_leads_to_the_pause_that_it_opened(
    world: World, ada: Visitor
) -> None:
    project = world.project()
    world.grant(world.subject(), project)
    digest = hidden(ada.get("/pause/preview?target=project:Kingfisher").text, "digest")
    first = stop(ada, "project:Kingfisher", digest=digest)
    assert stop(ada, "project:Kingfisher", digest=digest) == first
    # What asks for more, or for it once more, is another.
    assert stop(ada, "project:Kingfisher", digest=digest, mode="read_only") != first
    assert stop(ada, "project:Kingfisher") != first
    for more in (
        {"incident": "INC-8"}, {"note": "Nothing leaked."}, {"hours_until": "2030-01-01T09:00"},
        {"review_at": "2030-01-02T09:00"},
    ):  # fmt: skip
        assert stop(ada, "project:Kingfisher", digest=digest, **more) != first
    with world.store.reading() as session:
        world.lift(session.get_one(suspensions.Suspension, first))
    assert stop(ada, "project:Kingfisher", digest=digest) != first


def test_a_set_that_moved_since_the_preview_is_told_of_and_delays_nothing(
    world: World, ada: Visitor
) -> None:
    project = world.project()
    world.grant(world.subject(), project)
    digest = hidden(ada.get("/pause/preview?target=project:Kingfisher").text, "digest")
    world.grant(world.subject(), project)
    where = stop(ada, "project:Kingfisher", digest=digest)
    suspensions.particulars.write(world.store)
    assert "The set had moved since the preview" in told(ada.get(f"/suspensions/{where}").text)


def test_a_malformed_pause_is_refused_at_its_field_with_what_was_typed_kept_and_nothing_done(
    world: World, ada: Visitor
) -> None:
    project = world.project()
    person = world.subject()
    world.grant(person, project)
    right = {"target": "project:Kingfisher", "mode": "paused", "reason_code": "legal",
             "internal_reason": "kept words"}  # fmt: skip
    for wrong, field in [
        ({"mode": "asleep"}, "f-mode"),
        ({"reason_code": "whim"}, "f-reason_code"),
        ({"review_at": "2001-01-01T00:00"}, "f-review_at"),
        ({"review_at": "soon"}, "f-review_at"),
        ({"hours_until": "2026-99-99T00:00"}, "f-hours_until"),
        ({"note": "a\x1bb"}, "f-note"),
        ({"incident": "x" * 4001}, "f-incident"),
    ]:
        answer = ada.post("/suspensions", right | wrong)
        assert answer.status_code == 422, wrong
        assert f'href="#{field}"' in answer.text, wrong
        assert "kept words" in answer.text, wrong
        assert world.permits(person, project), wrong


def test_an_unknown_scope_is_refused_in_the_page_where_it_is_chosen(
    world: World, ada: Visitor
) -> None:
    for query in ("", "target=client:NOPE", "target=planet:ASTER", "target=client",
                  "subject=P%07", "subject=?"):  # fmt: skip
        answer = ada.get(f"/pause/preview?{query}")
        assert answer.status_code == 422, query
        assert "One thing needs correcting" in told(answer.text), query
    assert ada.post("/suspensions", {"target": "client:NOPE"}).status_code == 422


@pytest.mark.asvs("7.5.3")
def test_a_stale_factor_is_asked_for_and_loses_nothing_that_was_typed(
    world: World, app: Flask
) -> None:
    project = world.project()
    admin = world.staff()
    world.activate(admin)
    ada = Visitor.of(app).sign_in(world, admin)
    later = clock.utcnow() + timedelta(minutes=7)
    form = {"target": ["project:Kingfisher"], "subject": [], "mode": "read_only",
            "reason_code": "legal", "note": "carried along"}  # fmt: skip
    with clock.at(later):
        asked = ada.post("/suspensions", form)
        assert asked.status_code == 403
        assert "carried along" in asked.text
        assert not stopped(world, project)
        answer = ada.post(
            "/suspensions", {**form, "code": world.code(admin, at=later), "step_up": "1"}
        )
        assert answer.status_code == 303, told(answer.text)
        assert stopped(world, project)


def test_tightening_is_at_once_and_a_mode_that_moved_meanwhile_makes_the_form_stale(
    world: World, ada: Visitor
) -> None:
    project = world.project()
    person = world.subject()
    world.grant(person, project)
    held = world.suspend("project:Kingfisher", mode=Mode.READ_ONLY)
    where = f"/suspensions/{held.id}"
    seen = re.search(r'name="seen" value="(mod_\w+)"', ada.get(where).text)
    assert seen
    assert world.permits(person, project, "read")
    answer = ada.post(f"{where}/mode", {"mode": "paused", "seen": seen[1]})
    assert answer.headers["Location"] == where
    assert not world.permits(person, project, "read")
    stale = ada.post(f"{where}/mode", {"mode": "under_review", "seen": seen[1]})
    assert stale.status_code == 409
    assert "Someone changed the mode meanwhile" in told(stale.text)
    assert ada.post(f"{where}/mode", {"mode": "paused"}).status_code == 422
    assert ada.post(f"{where}/mode", {"mode": "sideways"}).status_code == 422


def test_notice_and_review_date_change_on_the_record_and_never_over_a_colleagues_words(
    world: World, ada: Visitor
) -> None:
    client = world.client()
    world.grant(world.subject(), world.project(client=client))
    held = world.suspend("client:ASTER")
    where = f"/suspensions/{held.id}"
    page = ada.get(where).text
    assert "Contractors have no notice yet" in page
    first = {"known": "Back on Monday.", "not_known": "Why.", "seen": "0", "contact": "Dana",
             "next_update_by": "2099-01-01T00:00"}  # fmt: skip
    assert ada.post(f"{where}/notice", first).status_code == 303
    page = told(ada.get(where).text)
    for words in ("Back on Monday.", "Why.", "Dana", "2099-01-01 00:00", "0 people, 1 not yet"):
        assert words in page
    stale = ada.post(f"{where}/notice", {**first, "known": "Another."})
    assert stale.status_code == 409
    assert "Another." in stale.text
    empty = ada.post(f"{where}/notice", {"seen": "1"})
    assert 'href="#f-known"' in empty.text
    past = ada.post(f"{where}/notice", {**first, "seen": "1", "submit_by": "2001-01-01T00:00"})
    assert (past.status_code, 'href="#f-submit_by"' in past.text) == (422, True)
    assert len(world.entries(client.id, "suspension.notice_posted")) == 1

    seen = re.search(r'name="seen" value="([0-9a-f]{64})"', ada.get(where).text)
    assert seen
    later = {"review_at": "2099-01-01T00:00", "seen": seen[1]}
    assert ada.post(f"{where}/review", later).status_code == 303
    assert ada.post(f"{where}/review", later).status_code == 409
    for wrong in ("2001-01-01T00:00", ""):
        late = ada.post(f"{where}/review", {"review_at": wrong})
        assert (late.status_code, 'href="#f-review_at"' in late.text) == (422, True)
    assert len(world.entries(client.id, "suspension.amended")) == 1


def test_an_update_that_was_promised_and_is_late_needs_an_admin_now(
    world: World, app: Flask
) -> None:
    start = clock.utcnow() + timedelta(seconds=1)
    with clock.at(start):
        world.grant(world.subject(), world.project())
        held = world.suspend("project:Kingfisher", note="We are looking.")
        ada = desk(app, world)
        words = {
            "known": "Still looking.",
            "next_update_by": f"{start + timedelta(minutes=4):%FT%R}",
        }
        assert ada.post(f"/suspensions/{held.id}/notice", words).status_code == 303
        assert "overdue" not in told(ada.get("/").text)
    with clock.at(start + timedelta(minutes=5)):
        assert "The update promised to contractors is overdue" in told(ada.get("/").text)
        page = told(ada.get(f"/suspensions/{held.id}").text)
        assert "The update promised to contractors is overdue" in page
        assert "One earlier version" in page


def test_who_could_not_be_told_by_mail_is_shown_and_the_server_stays_ready(
    settings: Settings, store: Database, world: World
) -> None:
    dead = replace(settings, smtp_url=f"smtp://127.0.0.1:{free_port()}", mail_from="a@b.example")
    silent = create_app(dead)
    world.grant(world.subject(), world.project())
    with clock.at(clock.utcnow() + timedelta(minutes=10)):
        held = world.suspend("project:Kingfisher")
        ada = desk(silent, world)
        assert silent.test_client().get("/readyz").json["warnings"] == []
        with pytest.raises(errors.Unavailable):
            mail.work(silent.extensions["govern"])
        assert re.search(
            r"Nobody can be told by mail .* refused\.? \d mails wait", told(ada.get("/").text)
        )
        assert "0 mails sent, 1 on the way" in told(ada.get(f"/suspensions/{held.id}").text)
        answer = silent.test_client().get("/readyz")
        assert (answer.status_code, answer.json["warnings"]) == (200, ["mail"])
    silent.extensions["govern"].dispose()


def test_who_opened_by_mistake_takes_back_alone_within_ten_minutes_and_nobody_else(
    world: World, app: Flask, ada: Visitor
) -> None:
    project = world.project()
    where = f"/suspensions/{stop(ada, 'project:Kingfisher')}"
    assert "take it back" in ada.get(where).text
    ben = desk(app, world)
    assert "take it back" not in ben.get(where).text
    assert ben.post(f"{where}/take-back").status_code == 409
    assert stopped(world, project)
    assert ada.post(f"{where}/take-back").status_code == 303
    assert not stopped(world, project)
    assert ada.post(f"{where}/take-back").status_code == 409


def test_contractors_and_auditors_cannot_pause_and_learn_of_no_codename(
    world: World, app: Flask
) -> None:
    world.project()
    for role in (None, "auditor"):
        other = desk(app, world, role)
        for code in ("Kingfisher", "Nothing"):
            assert other.get(f"/pause/preview?target=project:{code}").status_code == 403
            answer = other.post(
                "/suspensions",
                {"target": f"project:{code}", "mode": "paused", "reason_code": "legal"},
            )
            assert answer.status_code == 403
        assert other.get("/pause").status_code == 403
    contractor = desk(app, world, None)
    for code in ("Kingfisher", "Nothing"):
        assert contractor.get(f"/projects/{code}").status_code == 403


def test_an_admin_of_one_client_pauses_that_and_meets_404_or_unknown_beyond_it(
    world: World, app: Flask
) -> None:
    own, other = world.client("ASTER"), world.client("BOREAL")
    world.project("Kingfisher", client=own)
    world.project("Cinnabar", client=other)
    foreign = world.suspend("client:BOREAL", note="Boreal's own")
    both = world.suspend("client:ASTER", "client:BOREAL", internal_reason="about Boreal")
    person = world.suspend(f"subject:{world.subject().external_id}")
    scoped = desk(app, world, client=own)
    page = told(scoped.get("/pause").text)
    assert "Kingfisher" in page
    assert "Cinnabar" not in page
    assert scoped.get("/pause/preview?target=project:Cinnabar").status_code == 422
    hidden_words = told(scoped.get("/pause/preview?target=project:Cinnabar").text)
    absent_words = told(scoped.get("/pause/preview?target=project:Absent").text)
    assert hidden_words.replace("Cinnabar", "X") == absent_words.replace("Absent", "X")
    for gone in (foreign, person):
        for path in ("", "/progress", "/lift"):
            assert scoped.get(f"/suspensions/{gone.id}{path}").status_code == 404
        assert scoped.post(f"/suspensions/{gone.id}/mode", {"mode": "read_only"}).status_code == 404
    shared = told(scoped.get(f"/suspensions/{both.id}").text)
    assert "Aster Labs" in shared
    assert "Boreal" not in shared
    assert scoped.post(f"/suspensions/{both.id}/mode", {"mode": "read_only"}).status_code == 404
    assert stop(scoped, "project:Kingfisher")


def test_a_long_list_is_taken_once_and_goes_on_as_one_target(world: World, ada: Visitor) -> None:
    project = world.project("Kingfisher")
    crowd = [world.subject() for _ in range(suspensions.people.ALONE + 1)]
    world.grant(crowd[0], project)
    world.grant(world.subject(), project)
    lines = "\n".join(["external_id,email", *(f"{who.external_id},x" for who in crowd), "P0,y"])
    sent = {"target": "project:Kingfisher", "list": (io.BytesIO(lines.encode()), "people.csv")}
    refused = ada.post("/pause", sent, content_type="multipart/form-data")
    assert refused.status_code == 422
    assert f"1 of {len(crowd) + 1} name is nobody's: line {len(crowd) + 2} “P0”" in told(
        refused.text
    )
    # The file comes back as text, to be corrected or sent again as it is.
    sent = {"target": "project:Kingfisher", "subject": lines, "leave_out": "1"}
    taken = ada.post("/pause", sent)
    assert taken.status_code == 303, told(taken.text)
    preview = ada.get(taken.headers["Location"])
    assert "A list of 51 people" in told(preview.text)
    assert crowd[7].external_id not in preview.text
    chosen = hidden(preview.text[preview.text.index('value="project:Kingfisher"') + 1 :], "target")
    back = ada.get(f"/pause?target={chosen}")
    assert f'value="{chosen}" checked' in back.text
    suspension = stop(ada, chosen)
    assert not world.permits(crowd[0], project)
    live = ada.get(f"/suspensions/{suspension}")
    assert "51 people" in told(live.text)
    assert crowd[7].external_id not in live.text


def test_a_few_names_go_on_by_themselves_and_both_a_file_and_a_text_are_refused(
    world: World, ada: Visitor
) -> None:
    ann = world.subject("ann")
    answer = ada.post("/pause", {"subject": "ann, ANN@people.example\n\n"})
    assert answer.headers["Location"] == "/pause/preview?subject=ann"
    file = (io.BytesIO(b"ann"), "people.txt")
    assert ada.post("/pause", {"subject": ann.email, "list": file}).status_code == 422
    assert ada.post("/pause", {"list": (io.BytesIO(b"\xff"), "x")}).status_code == 422
    assert ada.post("/pause").headers["Location"] == "/pause/preview"
    assert ada.get("/pause/preview").status_code == 422


def test_100_000_pasted_lines_pass_and_what_is_longer_is_refused_in_words(
    world: World, ada: Visitor
) -> None:
    world.subject("ann")
    lines = "\n".join(f"{n:06}@people.example" for n in range(100_000))
    answer = ada.post("/pause", {"subject": lines}, content_type="multipart/form-data")
    assert answer.status_code == 422
    assert "100,000 of 100,000 names are nobody's" in told(answer.text[:40_000])
    long = ada.post("/pause", {"subject": "x" * 17_000_000}, content_type="multipart/form-data")
    assert long.status_code == 413
    assert "a list of people holds up to 200,000 names and 16 MB" in told(long.text)


def test_a_datasets_whole_project_is_one_click_away(world: World, ada: Visitor) -> None:
    world.dataset(world.project("Kingfisher"), "audio")
    page = ada.get("/pause/preview?target=dataset:audio").text
    url = unescape(re.search(r'href="([^"]+)">Stop the whole project Kingfisher', page)[1])
    assert url == "/pause/preview?target=project%3AKingfisher"

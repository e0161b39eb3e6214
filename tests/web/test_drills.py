"""Rehearsing a pause from its preview, by a program, and what the preview then promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.web.api.caller import Caller
from tests.web.desks import desk, told

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


def test_the_previews_second_button_rehearses_and_the_next_preview_says_how_fast(
    app: Flask, world: World
) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    ann = world.subject()
    world.grant(ann, project)
    admin = desk(app, world)
    where = "/pause/preview?target=client:ASTER"
    page = admin.get(where)
    assert 'formaction="/drills" formnovalidate' in page.text
    assert "We can pause it in" not in told(page.text)
    answer = admin.post("/drills", {"target": ["client:ASTER"], "mode": "paused", "digest": "x"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/drills")
    assert world.permits(ann, project)
    (entry,) = world.entries(client.id, "drill.held")
    words = told(admin.get("/drills").text)
    assert "Rehearsed and rolled back: in force in" in words
    assert f"{entry['data']['microseconds'] / 1000:.1f} ms" in words
    assert "1 person" in words
    assert "We can pause it in" in told(admin.get(where).text)
    asked = {"target": ["client:ASTER"], "mode": "paused"}
    for wrong in ({"mode": ""}, {"target": []}, {"target": "x"}):
        assert admin.post("/drills", asked | wrong).status_code == 422
    contractor = desk(app, world, None)
    assert contractor.get("/drills").status_code == 403
    reader = desk(app, world, "auditor")
    assert reader.get("/drills").status_code == 200
    assert reader.post("/drills", asked).status_code == 403
    assert len(world.entries(client.id, "drill.held")) == 1


def test_a_program_rehearses_and_reads_what_it_showed(app: Flask, world: World) -> None:
    world.project("Kingfisher", client=world.client("ASTER"))
    caller = Caller.of(world, app, "api")
    made = caller.post("/drills", {"targets": ["project:Kingfisher"], "mode": "read_only"})
    assert made.status_code == 201, made.text
    assert made.headers["Location"] == f"/api/v1/drills/{made.json['id']}"
    assert (made.json["grants"], made.json["rate"], made.json["log"]) == (0, None, "ASTER")
    assert caller.get("/drills").json["items"] == [made.json]
    refused = caller.post("/drills", {"targets": ["project:Nothing"], "mode": "paused"})
    assert refused.status_code == 422

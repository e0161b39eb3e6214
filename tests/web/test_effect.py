"""The page of how fast a suspension took effect: one look at it, in a picture, a table and JSON."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from govern.audit import log, verify
from govern.audit.signer import Signer
from tests.audit.test_sealing import write
from tests.web.desks import counted, desk, told

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


def test_the_page_says_who_is_confirmed_failed_or_unknown_in_a_picture_and_in_words(
    app: Flask, world: World
) -> None:
    project = world.project("Kingfisher")
    ann = world.subject("P-ann")
    world.grant(ann, project)
    named = {name: world.integration(name)[0] for name in ("quick", "wrong", "<silent>")}
    about = {"resource_id": project.id, "client_id": project.client_id, "subject_id": ann.id}
    write(world.store, 1, principal=named["quick"].id, as_of=1, **about)
    row = world.suspend("project:Kingfisher")
    world.write_particulars()
    late = row.recorded_at + timedelta(milliseconds=40)
    no = {"permit": False, "reason": "project_paused"}
    write(world.store, 1, at=late, principal=named["quick"].id, as_of=99, **about | no)
    write(world.store, 1, at=late, principal=named["wrong"].id, as_of=99, **about)
    admin = desk(app, world)
    with counted() as statements:
        page = admin.get(f"/suspensions/{row.id}/effect")
    assert page.status_code == 200
    assert len(statements) <= 14, statements
    words = told(page.text)
    assert re.search(r"wrong failed .*<silent> unknown .*quick confirmed 40\.0 ms after", words)
    assert "The project is paused." in words
    (drawn,) = re.findall(r"<svg class=\"pic\".*?\n</svg>", page.text, re.DOTALL)
    picture = ET.fromstring(drawn)
    texts = [(each.text or "").strip() for each in picture.iter("text")]
    assert {"wrong", "failed", "<silent>", "unknown", "quick", "confirmed"} <= set(texts)
    assert "style=" not in page.text
    places = [float(each.get("x", "0%").rstrip("%")) for each in picture.iter("svg")][1:]
    assert all(0 <= place <= 100 for place in places)
    found = admin.get(f"/suspensions/{row.id}/effect.json").json
    assert {one["name"]: one["state"] for one in found["integrations"]} == {
        "quick": "confirmed",
        "wrong": "failed",
        "<silent>": "unknown",
    }
    assert found["counts"] == {"confirmed": 1, "failed": 1, "unknown": 1}
    assert found["grants_recorded"] == 1
    assert f'href="/suspensions/{row.id}/effect"' in admin.get(f"/suspensions/{row.id}").text


def test_whoever_may_not_know_of_a_suspension_is_told_nothing_of_its_effect(
    app: Flask, world: World
) -> None:
    world.project("Kingfisher", client=world.client("ASTER"))
    other = world.client("BOREAL")
    row = world.suspend("project:Kingfisher")
    auditor = desk(app, world, "auditor", client=other)
    assert auditor.get(f"/suspensions/{row.id}/effect").status_code == 404
    assert desk(app, world, None).get(f"/suspensions/{row.id}/effect").status_code in {403, 404}


def test_a_receipt_is_a_page_of_its_own_that_proves_itself_as_it_was_sent(
    app: Flask, world: World
) -> None:
    client = world.client("ASTER")
    world.grant(world.subject(), world.project("Kingfisher", client=client))
    row = world.suspend("client:ASTER")
    world.write_particulars()
    admin = desk(app, world)
    assert "Receipt for Aster Labs" in told(admin.get(f"/suspensions/{row.id}/effect").text)
    Signer(world.store.settings).sign(world.store)
    answer = admin.get(f"/suspensions/{row.id}/receipt?client=ASTER&save=1")
    assert answer.status_code == 200
    assert row.id in answer.headers["Content-Disposition"]
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; style-src 'sha256-" in policy
    assert "unsafe" not in policy
    keys = [Signer(world.store.settings).key]
    assert verify.check_receipt(answer.data, keys=keys).ok
    assert admin.get(f"/suspensions/{row.id}/receipt?client=BOREAL").status_code == 404
    other = desk(app, world, "auditor", client=world.client("BOREAL"))
    assert other.get(f"/suspensions/{row.id}/receipt").status_code == 404


def test_a_receipt_signs_what_it_is_of_where_nobody_did_yet_and_nothing_else(
    app: Flask, world: World
) -> None:
    client, other = world.client("ASTER"), world.client("BOREAL")
    row = world.suspend("client:ASTER")
    admin = desk(app, world)
    assert admin.get(f"/suspensions/{row.id}/receipt").status_code == 200
    heads = _signed(world)
    assert heads[client.id] > 0
    world.project("Malachite", client=other)
    assert admin.get(f"/suspensions/{row.id}/receipt").status_code == 200
    assert _signed(world) == heads, "what grew meanwhile is for the followers to sign"


def _signed(world: World) -> dict[str, int]:
    with world.store.reading() as session:
        return {log_id: signed for log_id, (*_, signed) in log.signed_sizes(session).items()}

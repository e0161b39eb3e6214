"""Histories as page, API and command: one operation, one answer, each reading on record."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import select, text

from govern import cli, clock
from govern.access import suspensions
from govern.audit.decisions import Access, AccessKind
from govern.audit.log import latest_checkpoint
from govern.audit.signer import Signer
from tests.factory import OPERATOR
from tests.web.api.caller import Caller
from tests.web.desks import counted, desk, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask

    from govern.config import Settings
    from tests.factory import World


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Run a command; what it printed as JSON, or its words where it was refused."""
    monkeypatch.setenv("GOVERN_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("GOVERN_DATABASE_URL", settings.database_url)

    def run(*words: str) -> Any:
        capfd.readouterr()
        status = cli.main([*words, "--json"])
        found = capfd.readouterr()
        return json.loads(found.out) if not status else {"status": status, "err": found.err}

    return run


def _last_read(world: World) -> str | None:
    with world.store.access_reading() as session:
        return session.execute(
            select(Access.action)
            .where(Access.kind == AccessKind.READ)
            .order_by(Access.at.desc())
            .limit(1)
        ).scalar_one()


def test_a_persons_history_and_a_suspensions_record_are_the_same_by_every_way(
    world: World, app: Flask, run: Callable[..., Any]
) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    world.dataset(project)
    ann = world.subject("P-ann")
    world.grant(ann, project)
    assert world.permits(ann, project)
    row = world.suspend("project:Kingfisher")
    assert not world.permits(ann, project)
    words = suspensions.notices.Words(known="We look into it.\nCall us.", not_known="How long.")
    world.do(
        lambda s: suspensions.notices.post(s, s.get_one(type(row), row.id), words, by=OPERATOR)
    )
    world.write_particulars()
    world.lift(row)
    world.write_particulars()
    reads = Caller.of(world, app, "audit.read")
    auditor = desk(app, world, "auditor")

    asked = {"until": clock.text(clock.utcnow())}
    by_command = run("history", "P-ann", "--to", asked["until"])
    assert _last_read(world) == "history"
    by_api = reads.get("/subjects/P-ann/history", query_string=asked).json
    assert by_api == by_command
    assert by_api["decisions"]["permitted"] == by_api["decisions"]["refused"] == 1
    (grant,) = by_api["grants"]
    assert [pause["suspension"] for pause in grant["pauses"]] == [row.id]
    assert len(grant["intervals"]) == 2
    types = [entry["type"] for entry in by_api["entries"]]
    assert types[-1] == "subject.registered"
    assert {"grant.issued", "grant.suspended", "grant.resumed"} <= set(types)
    page = told(auditor.get(f"/people/{ann.id}/history").text)
    assert "Decisions that permitted 1" in page
    assert all(kind in page for kind in types)

    record = run("suspension", row.id)
    assert "err" not in record, record
    assert _last_read(world) == "suspension.record"
    again = reads.get(f"/suspensions/{row.id}/record").json
    for other in (again, auditor.get(f"/suspensions/{row.id}/record.json").json):
        seen = {"effect": record["effect"]}
        assert other | seen == record
        assert {**other["effect"], "seen_at": ""} == {**record["effect"], "seen_at": ""}
    assert record["state"] == "lifted"
    assert record["notices"][0]["known"] == "We look into it.\nCall us."
    assert {entry["type"] for entry in record["entries"]} >= {
        "suspension.opened", "suspension.lifted", "suspension.notice_posted", "suspension.recorded",
    }  # fmt: skip
    with counted() as sent:
        whole = auditor.get(f"/suspensions/{row.id}/record")
    assert len(sent) <= 23, sent
    words_of = told(whole.text)
    # Lines stay lines: nowhere but in a quote are they kept.
    assert re.search(r'<blockquote class="quote[^>]*>We look into it\.\nCall us\.<', whole.text)
    for said in ("We look into it.", "Kingfisher", "Receipt for Aster Labs", "suspension.lifted"):
        assert said in words_of, said
    assert auditor.get(record["receipts"][0]["path"]).status_code == 200


def test_what_one_admin_did_is_told_by_their_name_or_id(
    world: World, run: Callable[..., Any]
) -> None:
    world.suspend(f"project:{world.project().code}")
    acts = run("acts", "operator", "--limit", "200")
    assert _last_read(world) == "acts"
    assert {entry["values"]["actor"] for entry in acts["entries"]} == {"operator:tester"}
    assert "suspension.opened" in {entry["type"] for entry in acts["entries"]}
    assert run("acts", "nobody")["entries"] == []


def test_the_timeline_is_drawn_without_script_or_style_and_told_in_a_table(
    world: World, app: Flask
) -> None:
    project = world.project("Kingfisher")
    world.grant(world.subject("P-ann"), project)
    world.lift(world.suspend("project:Kingfisher"))
    auditor = desk(app, world, "auditor")
    drawn = auditor.get("/timeline?target=person:P-ann")
    assert drawn.status_code == 200
    assert _last_read(world) == "timeline"
    (found,) = re.findall(r"<svg class=\"pic\".*?\n</svg>", drawn.text, re.DOTALL)
    picture = ET.fromstring(found)
    looks = [each.get("class") for each in picture.iter("rect")]
    assert looks == ["bar-window", "bar-could", "bar-could", "bar-paused"]
    places = [
        (float(each.get("x", "").rstrip("%")), float(each.get("width", "").rstrip("%")))
        for each in picture.iter("rect")
    ]
    assert all(x >= 0 and width > 0 and x + width <= 100.001 for x, width in places)
    assert picture.find("title") is not None
    assert picture.find("desc") is not None
    assert "style=" not in drawn.text
    for instant in re.findall(r"<time[^>]*>([^<]+)", drawn.text):
        assert "UTC" in instant
    assert "Person P-ann" in told(auditor.get("/timeline?target=project:Kingfisher").text)
    for wrong in ("person:nobody", "project:Nothing", "planet:Mars"):
        assert auditor.get(f"/timeline?target={wrong}").status_code == 422, wrong
    late = (clock.utcnow() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    assert auditor.get(f"/timeline?target=Kingfisher&from={late}").status_code == 422
    assert desk(app, world, None).get("/timeline").status_code == 403


def test_changes_since_a_kept_checkpoint_are_told_and_a_rewritten_log_is_refused(
    world: World, app: Flask, run: Callable[..., Any], settings: Settings, tmp_path: Path
) -> None:
    client = world.client("ASTER")
    world.project("Kingfisher", client=client)
    Signer(settings).sign(world.store)
    with world.store.reading() as session:
        kept = latest_checkpoint(session, client.id)
        noon = clock.text(clock.now(session))
    assert kept is not None
    file = tmp_path / "kept"
    file.write_text(kept.note, encoding="utf-8")
    world.suspend("project:Kingfisher")
    by_file = run("log", "changes", "--since", str(file))
    assert _last_read(world) == "changes"
    assert by_file["logs"] == [{"log": "ASTER", "begin": kept.size, "size": kept.size + 1}]
    assert by_file["continues"] == kept.size
    assert by_file["types"] == {"suspension.opened": 1}
    by_size = run("log", "changes", "--since", str(kept.size), "--client", "ASTER")
    assert by_size == by_file | {"continues": None}
    by_time = run("log", "changes", "--since", noon, "--client", "ASTER")
    assert by_time == by_size
    assert run("log", "changes", "--since", noon)["number"] == 1
    reads = Caller.of(world, app, "audit.read")
    by_api = reads.get("/log/changes", query_string={"checkpoint": kept.note})
    assert by_api.json == by_file
    auditor = desk(app, world, "auditor")
    page = auditor.get("/log/changes", query_string={"checkpoint": kept.note})
    assert "The log continues your checkpoint" in told(page.text)
    assert "1 entry since" in told(page.text)

    # Who reads another client is not told whose checkpoint it was.
    other = world.client("BOREAL")
    rival = desk(app, world, "auditor", client=other)
    hidden = rival.get("/log/changes", query_string={"checkpoint": kept.note})
    assert hidden.status_code == 422
    assert "ASTER" not in re.sub(r"<textarea.*?</textarea>", "", hidden.text, flags=re.DOTALL)
    for wrong in (
        {"size": "1"}, {"size": "x"}, {"size": "99", "log": "ASTER"}, {"from": "yesterday"},
        {"checkpoint": kept.note.replace(str(kept.size), "1", 1)}, {"size": "1", "from": noon},
        {"log": "NOTHING", "size": "1"},
    ):  # fmt: skip
        assert auditor.get("/log/changes", query_string=wrong).status_code == 422, wrong
    assert run("log", "changes", "--since", "then")["status"] == 2
    assert reads.get("/log/changes").status_code == 422

    # An entry that a database superuser changed is no beginning of what was signed.
    def rewrite(session: Any) -> None:
        if world.store.is_postgresql:
            session.execute(text("ALTER TABLE log_entry DISABLE TRIGGER ALL"))
        else:
            session.execute(text("DROP TRIGGER log_entry_no_update"))
        session.connection().exec_driver_sql(
            f"UPDATE log_entry SET leaf = hash WHERE log_id = '{client.id}' AND seq = 0"
        )

    world.do(rewrite)
    page = auditor.get("/log/changes", query_string={"checkpoint": kept.note})
    assert page.status_code == 422
    assert "does not continue the checkpoint" in told(page.text)
    assert run("log", "changes", "--since", str(file))["status"] == 1

"""Auditors' pages: what each may read, that reading is recorded, and what a file proves."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from govern import clock, errors
from govern.access import suspensions
from govern.audit import decisions, sealing, verify
from govern.audit.decisions import Access, AccessKind
from govern.audit.signer import Signer
from govern.web import verifying
from tests.web.desks import counted, desk, told
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


@pytest.fixture
def two_clients(world: World) -> dict[str, Any]:
    """Two rival clients, each with a project and someone on it."""
    found: dict[str, Any] = {}
    for code, project in [("ASTER", "Kingfisher"), ("BOREAL", "Cinnabar")]:
        client = world.client(code)
        row = world.project(project, client=client)
        person = world.subject()
        world.grant(person, row)
        found |= {code: client, project: row, f"{code}-person": person}
    return found


def _reads(world: World) -> list[Access]:
    with world.store.access_reading() as session:
        return list(
            session.execute(
                select(Access).where(Access.kind == AccessKind.READ).order_by(Access.at)
            ).scalars()
        )


def test_the_log_tells_what_happened_newest_first_with_its_exact_bytes(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    world.suspend("client:ASTER", internal_reason="they called")
    auditor = desk(app, world, "auditor")
    page = auditor.get("/log?log=ASTER")
    assert page.status_code == 200
    words = told(page.text)
    shown = re.findall(r'<span class="code">([a-z_.]+)</span>', page.text)
    assert shown[-1] == "client.created"
    assert shown.index("suspension.opened") < shown.index("grant.issued")
    assert "internal_reason: they called" in words
    assert "targets: client ASTER" in words
    assert two_clients["ASTER-person"].full_name in words
    assert "Kingfisher" in words
    assert "by operator:tester" in words
    leaves = re.findall(r'<pre class="verbatim">(.*?)</pre>', page.text)
    leaf = json.loads(unescape(leaves[0]))
    assert leaf["log"] == two_clients["ASTER"].id
    assert "This reading is on record." in words


def test_filters_narrow_and_pages_go_on_where_the_last_one_ended(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    project = two_clients["Kingfisher"]
    for _ in range(60):
        world.grant(two_clients["ASTER-person"], project)
    auditor = desk(app, world, "auditor")
    seen: list[tuple[str, str]] = []
    path: str | None = "/log?type=grant.issued"
    pages = 0
    while path:
        text = auditor.get(path).text
        pages += 1
        seen += re.findall(r'<span class="count">(\w+) #([\d,]+)</span>', text)
        found = re.search(r'href="([^"]+)" rel="next"', text)
        path = found[1].replace("&amp;", "&") if found else None
    assert pages == 2
    assert len(seen) == len(set(seen)) == 62

    words = told(auditor.get("/log?project=Cinnabar").text)
    assert "Cinnabar" in words
    assert "Kingfisher" not in words
    email = two_clients["BOREAL-person"].email
    assert "BOREAL #" in told(auditor.get("/log", query_string={"person": email}).text)
    late = (clock.utcnow() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    assert "No entry fits the filter." in told(auditor.get(f"/log?from={late}").text)


def test_a_filter_that_means_nothing_names_its_field(world: World, app: Flask) -> None:
    auditor = desk(app, world, "auditor")
    for query, field in [
        ("type=no.such", "Type"),
        ("person=nobody@x.example", "Person"),
        ("project=Nothing", "Project"),
        ("from=yesterday", "From"),
        ("to=2026-13-01T00:00", "To"),
    ]:
        answer = auditor.get(f"/log?{query}")
        assert answer.status_code == 422, query
        assert f"{field} :" in told(answer.text), query
        assert query.partition("=")[2].split("@")[0].split(":")[0] in answer.text, query


def test_an_instant_beyond_the_calendar_names_its_field_too(world: World, app: Flask) -> None:
    project = world.project("Kingfisher")
    auditor = desk(app, world, "auditor")
    for beyond in ("0001-01-01T00:00", "0001-01-01T00:00%2B14:00", "9999-12-31T23:59-01:00"):
        for page in ("/log?", f"/timeline?target=project:{project.code}&"):
            answer = auditor.get(f"{page}from={beyond}")
            assert "is not a date and time such as" in told(answer.text), (page, beyond)
    early = told(auditor.get(f"/who?target=project:{project.code}&from=0800-12-25T00:00").text)
    assert " 800-12-25" not in early


def test_a_cursor_that_was_made_up_is_refused(world: World, app: Flask) -> None:
    auditor = desk(app, world, "auditor")
    for after in ("x", "house.x", "house.99999999999999999999", "house.-1"):
        assert auditor.get(f"/log?after={after}").status_code == 422, after


@pytest.mark.asvs("8.4.1")
def test_a_clients_auditor_learns_nothing_of_its_rival(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    auditor = desk(app, world, "auditor", client=two_clients["ASTER"])
    rival = two_clients["BOREAL-person"]
    words = told(auditor.get("/log").text)
    assert "ASTER #" in words
    assert "What the house and other clients recorded is not shown." in words
    for secret in ("BOREAL", "Cinnabar", rival.full_name, "house #"):
        assert secret not in words, secret

    for path in (
        "/log?log=BOREAL",
        "/log?log=house",
        "/log?log=NOTHING",
        f"/people/{rival.id}/history",
        "/people/sub_nobody/history",
    ):
        assert auditor.get(path).status_code == 404, path
    hidden = auditor.get("/log?project=Cinnabar")
    unknown = auditor.get("/log?project=Cinnabax")
    assert (hidden.status_code, unknown.status_code) == (422, 422)
    assert told(hidden.text).replace("Cinnabar", "Cinnabax") == told(unknown.text)
    hidden = auditor.get("/log", query_string={"person": rival.email})
    unknown = auditor.get("/log", query_string={"person": "nobody@people.example"})
    swapped = told(hidden.text).replace(rival.email, "nobody@people.example")
    assert swapped == told(unknown.text)
    for target in ("project:Cinnabar", "project:Nothing", "client:BOREAL"):
        answer = auditor.get("/who", query_string={"target": target})
        assert answer.status_code == 422
        assert "nothing of that name, or you may not know of it" in told(answer.text)
    page = auditor.get("/log/export").text
    assert "BOREAL" not in page
    assert auditor.post("/log/export", {"format": "jsonl", "log": "BOREAL"}).status_code == 404

    own = auditor.get(f"/people/{two_clients['ASTER-person'].id}/history")
    assert "grant.issued" in own.text


def test_the_access_log_is_searched_by_a_plain_form_and_read_in_pages(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    ann, bob = two_clients["ASTER-person"], two_clients["BOREAL-person"]
    kingfisher, cinnabar = two_clients["Kingfisher"], two_clients["Cinnabar"]
    for _ in range(51):
        world.ask(ann, kingfisher)
    world.ask(bob, kingfisher, "annotate")
    world.ask(bob, cinnabar)
    auditor = desk(app, world, "auditor")
    first = auditor.get("/log/access?project=Kingfisher")
    assert 'method="get" action="/log/access"' in first.text
    assert 'name="project" type="text" value="Kingfisher"' in first.text
    words = told(first.text)
    assert words.count("Permitted Refused") == 1  # the choices of the form
    assert f"{bob.full_name} · Kingfisher · They hold no grant for this." in words
    following = re.search(r'href="([^"]+)" rel="next"', first.text)
    assert following
    rest = told(auditor.get(unescape(following[1])).text)
    for page, count in ((words, 49), (rest, 2)):
        assert page.count(f"{ann.full_name} · Kingfisher by operator") == count
        assert "Cinnabar" not in page
    query = {"person": bob.email, "outcome": "permit", "kind": "decision"}
    words = told(auditor.get("/log/access", query_string=query).text)
    assert f"{bob.full_name} · Cinnabar" in words
    assert "Kingfisher" not in words
    assert "This reading is on record." in words
    own = auditor.get("/log/access?mine=yes").text
    assert "What is recorded of you" in own
    assert len(re.findall(r"<span>Look</span>", own)) == own.count('<details class="more">') >= 3
    for wrong, field in [
        ("person=nobody@x.example", "Person"), ("project=Nothing", "Project"),
        ("integration=none", "Asked by"), ("from=yesterday", "From"), ("to=x", "To"),
        ("outcome=maybe", "Outcome"), ("kind=x", "Kind"),
    ]:  # fmt: skip
        answer = auditor.get(f"/log/access?{wrong}")
        assert answer.status_code == 422, wrong
        assert f"{field} :" in told(answer.text), wrong
    assert auditor.get("/log/access?after=x").status_code == 422


def test_seals_are_shown_to_who_asks_for_them(world: World, app: Flask) -> None:
    auditor = desk(app, world, "auditor")
    auditor.get("/log")
    assert sealing.seal(world.store)
    assert "Rows of the access log were sealed" not in told(auditor.get("/log").text)
    assert "Rows of the access log were sealed" in told(auditor.get("/log?type=access.sealed").text)


def test_a_clients_auditor_finds_that_clients_uses_alone(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    ann, bob = two_clients["ASTER-person"], two_clients["BOREAL-person"]
    for who, what in ((ann, "Kingfisher"), (bob, "Kingfisher"), (bob, "Cinnabar")):
        world.ask(who, two_clients[what])
    auditor = desk(app, world, "auditor", client=two_clients["ASTER"])
    words = told(auditor.get("/log/access").text)
    assert "You read what concerns ASTER alone." in words
    assert f"{ann.full_name} · Kingfisher" in words
    assert f"{bob.id} · Kingfisher" in words
    for secret in ("BOREAL", "Cinnabar", bob.full_name):
        assert secret not in words, secret
    hidden = auditor.get("/log/access?project=Cinnabar")
    unknown = auditor.get("/log/access?project=Cinnabax")
    assert (hidden.status_code, unknown.status_code) == (422, 422)
    assert told(hidden.text).replace("Cinnabar", "Cinnabax") == told(unknown.text)


def test_contractors_may_not_read_the_record(world: World, app: Flask) -> None:
    contractor = desk(app, world, None)
    for path in ("/log", "/log/access", "/who", "/log/export", "/log/verify"):
        assert contractor.get(path).status_code == 403, path


def test_each_opening_leaves_one_row_in_the_access_log(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    auditor = desk(app, world, "auditor")
    person = two_clients["ASTER-person"]
    for path, action in [
        ("/log?log=ASTER", "log"),
        ("/who?target=project:Kingfisher", "who"),
        ("/log/access?outcome=deny", "access"),
    ]:
        before = len(_reads(world))
        assert auditor.get(path).status_code == 200
        rows = _reads(world)
        assert len(rows) == before + 1
        assert rows[-1].action == action
        assert rows[-1].session_id
    assert rows[-3].client_id == two_clients["ASTER"].id
    assert person.email not in "".join(row.detail or "" for row in rows)


def test_reading_of_several_clients_leaves_a_row_for_each_which_names_no_other(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    """So each client's evidence has who read of it, and nothing of what was read of others."""
    auditor = desk(app, world, "auditor")
    person = two_clients["ASTER-person"]
    world.grant(person, two_clients["Cinnabar"])
    stop = world.suspend("project:Kingfisher", "project:Cinnabar")
    clients = {two_clients[code].id for code in ("ASTER", "BOREAL")}
    for path, action, of in [
        ("/log", "log", {None, *clients}),
        (f"/people/{person.id}/history", "history", {None, *clients}),
        (f"/suspensions/{stop.id}", "suspension", clients),
        (f"/suspensions/{stop.id}/effect", "suspension.effect", clients),
        (f"/suspensions/{stop.id}/effect.json", "suspension.effect", clients),
        (f"/suspensions/{stop.id}/record", "suspension.record", clients),
        (f"/suspensions/{stop.id}/record.json", "suspension.record", clients),
        ("/log/changes?from=2020-01-01T00:00", "changes", {None, *clients}),
    ]:
        before = len(_reads(world))
        assert auditor.get(path).status_code == 200
        rows = _reads(world)[before:]
        assert {row.client_id for row in rows} == of, path
        assert (len(rows), {row.action for row in rows}) == (len(of), {action}), path
        for row in rows:
            (own,) = {row.client_id} & clients or {""}
            assert not [other for other in clients - {own} if other in str(row.detail)], path


def test_nothing_is_shown_when_the_reading_cannot_be_recorded(
    world: World, app: Flask, two_clients: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor = desk(app, world, "auditor")

    def full(*_: object) -> None:
        raise errors.RecordFailed("The access log cannot be written.")

    person = two_clients["ASTER-person"]
    world.ask(person, two_clients["Kingfisher"])
    monkeypatch.setattr(decisions, "write", full)
    who = "/who?target=project:Kingfisher"
    for path in ("/log", "/log/access", f"/people/{person.id}/history", who):
        answer = auditor.get(path)
        assert answer.status_code == 503
        assert person.full_name not in answer.text


def test_who_could_is_answered_as_it_was_then(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    auditor = desk(app, world, "auditor")
    before = clock.utcnow().strftime("%Y-%m-%dT%H:%M:%S.%f")
    with clock.at(clock.utcnow() + timedelta(seconds=1)):
        world.suspend("project:Kingfisher")
    person = two_clients["ASTER-person"]
    with clock.at(clock.utcnow() + timedelta(seconds=2)):
        now = told(auditor.get("/who?target=project:Kingfisher").text)
    then = told(auditor.get(f"/who?target=project:Kingfisher&at={before}").text)
    assert "Nobody could" in now
    assert person.full_name in then
    assert "annotator annotate, log_hours, read" in then
    assert auditor.get("/who?target=planet:Mars").status_code == 422
    # Over a range: until the pause; and the same as a file, a row an interval.
    asked = {"target": "project:Kingfisher", "from": before}
    with clock.at(clock.utcnow() + timedelta(seconds=2)):
        page = auditor.get("/who", query_string=asked)
        file = auditor.get("/who", query_string=asked | {"format": "csv"})
        assert person.full_name in told(page.text)
        rows = list(csv.DictReader(io.StringIO(file.text)))
        assert [(row["name"], row["project"]) for row in rows] == [(person.full_name, "Kingfisher")]
        with world.store.reading() as session:
            (paused,) = session.execute(select(suspensions.Suspension)).scalars()
        assert rows[0]["to"] == clock.text(paused.recorded_at)
        after = asked | {"from": (clock.utcnow()).strftime("%Y-%m-%dT%H:%M:%S")}
        assert "Nobody could" in told(auditor.get("/who", query_string=after | {"to": ""}).text)
    for wrong in ({"to": before}, {"at": before, "from": before}, {"from": "2090-01-01T00:00"}):
        answer = auditor.get("/who", query_string={"target": "project:Kingfisher"} | wrong)
        assert answer.status_code == 422


def test_pages_cost_a_few_statements_however_much_there_is(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    for _ in range(30):
        world.grant(two_clients["ASTER-person"], two_clients["Kingfisher"])
    auditor = desk(app, world, "auditor")
    person = two_clients["ASTER-person"]
    person_page = f"/people/{person.id}/history"
    for path in ("/log", "/log/access", person_page, "/who?target=client:ASTER", "/log/export"):
        with counted() as sent:
            assert auditor.get(path).status_code == 200
        assert len(sent) <= 16, (path, sent)
        assert not [one for one in sent if "count(" in one.lower()], path


# --- export and verify -------------------------------------------------------------------------


def _exported(auditor: Visitor, **form: str) -> bytes:
    auditor.get("/log/export")
    answer = auditor.post("/log/export", {"format": "jsonl", **form})
    assert answer.status_code == 200, answer.text
    assert "attachment" in answer.headers["Content-Disposition"]
    return answer.data


def test_an_export_proves_itself_with_the_key_that_the_page_shows(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    auditor = desk(app, world, "auditor")
    key = Signer(world.store.settings).key
    for form in ({}, {"format": "csv"}, {"log": "ASTER"}, {"type": "grant.issued"}):
        data = _exported(auditor, **form)
        report = verify.check(io.BytesIO(data), keys=[key])
        assert report.ok, report.damage
    page = auditor.get("/log/export").text
    assert key.replace("+", "&#43;") in page or key in page
    assert "ASTER" in page
    with world.store.access_reading() as session:
        kinds = session.execute(select(Access.kind)).scalars().all()
    assert kinds.count(AccessKind.EXPORT) == 3 * 3 + 1  # a row for each log that went out


@pytest.mark.asvs("7.5.3")
def test_an_export_asks_for_a_fresh_code_and_keeps_the_form(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    auditor = desk(app, world, "auditor")
    with clock.at(clock.utcnow() + timedelta(minutes=9)):
        auditor.get("/log/export")
        answer = auditor.post("/log/export", {"format": "csv", "log": "ASTER"})
    assert answer.status_code == 403
    assert "A fresh code, please" in answer.text
    assert 'name="format" value="csv"' in answer.text
    assert 'name="log" value="ASTER"' in answer.text


def test_a_clients_auditor_exports_that_client_alone(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    auditor = desk(app, world, "auditor", client=two_clients["ASTER"])
    data = _exported(auditor)
    assert two_clients["ASTER"].id.encode() in data
    assert two_clients["BOREAL"].id.encode() not in data
    assert b'"log":"house"' not in data


def test_the_page_verifies_a_file_and_names_the_damaged_entry(
    world: World, app: Flask, two_clients: dict[str, Any]
) -> None:
    auditor = desk(app, world, "auditor")
    data = _exported(auditor, log="ASTER")
    key = Signer(world.store.settings).key

    def check(body: bytes, **more: Any) -> tuple[int, str]:
        auditor.get("/log/verify")
        form = {"file": (io.BytesIO(body), "aster.jsonl"), "key": key} | more
        answer = auditor.post("/log/verify", form, content_type="multipart/form-data")
        return answer.status_code, told(answer.text)

    status, words = check(data)
    assert status == 200
    assert "Whole and untouched" in words
    status, words = check(data.replace(b"annotator", b"annotatox", 1))
    assert status == 200
    assert "Damaged in" in words
    assert re.search(r"#\d+ \d+ ", words)
    for form in ("parquet", "ocsf"):
        status, words = check(_exported(auditor, log="ASTER", format=form))
        assert (status, "Whole and untouched" in words) == (200, True), words
    assert check(_exported(auditor, log="ASTER", format="parquet")[:-90])[0] == 422
    assert check(data, key="not a key")[0] == 422
    assert check(b"", key=key)[0] == 200
    auditor.get("/log/verify")
    assert auditor.post("/log/verify", {"key": key}).status_code == 422


def test_a_pack_of_a_client_and_a_period_is_two_clicks_and_the_page_verifies_it(
    world: World, app: Flask, two_clients: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor = desk(app, world, "auditor", client=two_clients["ASTER"])
    begin = (clock.utcnow() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    data = _exported(auditor, format="pack", log="ASTER", **{"from": begin})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert {"log.jsonl", "reach.jsonl", "report.html", "verify.py"} < parts.keys()
    assert not [name for name, part in parts.items() if b"BOREAL" in part or b"Cinnabar" in part]
    # Whoever took it sees that this is on record.
    assert "export" in told(auditor.get("/log/access?mine=yes").text)

    key = Signer(world.store.settings).key

    def check(body: bytes) -> str:
        auditor.get("/log/verify")
        form = {"file": (io.BytesIO(body), "aster.zip"), "key": key}
        answer = auditor.post("/log/verify", form, content_type="multipart/form-data")
        assert answer.status_code == 200
        return told(answer.text)

    whole = check(data)
    assert "Whole and untouched" in whole
    assert "files of the pack is the one that the key signed" in whole
    assert "What this does not prove" in whole
    broken = io.BytesIO()
    with zipfile.ZipFile(broken, "w") as archive:
        for name, part in (parts | {"reach.jsonl": b"{}\n"}).items():
            archive.writestr(name, part)
    assert "reach.jsonl is not the file that was signed" in check(broken.getvalue())
    # A small file that would become a large one is not unpacked.
    monkeypatch.setattr(verifying, "MOST_UNPACKED", 1000)
    assert "it unpacks to more than is checked here" in check(data)

    for wrong, words in (
        ({"log": ""}, "an evidence pack is of one"),
        ({"log": "ASTER", "type": "grant.issued"}, "leave all other filters empty"),
    ):
        auditor.get("/log/export")
        refused = auditor.post("/log/export", {"format": "pack"} | wrong)
        assert refused.status_code == 422
        assert words in told(refused.text)

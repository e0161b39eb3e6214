"""The API's rooms: what the pages do, done by a program, and read again."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from govern import clock, errors
from govern.audit import holding, verify
from govern.audit.decisions import AccessKind
from govern.audit.signer import Signer
from govern.identity import integrations
from tests.factory import OPERATOR, SECOND
from tests.web.api.caller import Caller

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.factory import World

UNTIL = "2036-10-01T00:00:00Z"


@pytest.fixture
def caller(world: World, app: Flask) -> Caller:
    """May read and change all, with a client, a project and an entitlement there."""
    world.project("Kingfisher", client=world.client("ASTER"))
    world.entitlement()
    return Caller.of(world, app, "api", "audit.read")


def made(answer: TestResponse, status: int = 201) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.headers["Location"].endswith(answer.json["id"])
    found: dict[str, Any] = answer.json
    return found


def told(answer: TestResponse) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json


def grant(caller: Caller, subject: str = "P1", **more: Any) -> dict[str, Any]:
    asked = {"subject": subject, "project": "Kingfisher", "entitlement": "annotator"}
    return asked | {"ends_at": UNTIL, "reason": "work"} | more


def test_places_are_made_found_by_code_or_id_and_say_how_they_stand(
    caller: Caller, world: World
) -> None:
    client = made(caller.post("/clients", {"code": "a.b", "name": "Dotted"}))
    assert told(caller.get(f"/clients/{client['id']}")) == client
    project = made(caller.post("/projects", {"client": "a.b", "code": "P", "contact": "x@y.z"}))
    dataset = made(caller.post("/datasets", {"project": "P", "code": "D", "type": "bucket"}))
    assert told(caller.get("/datasets/D")) == dataset
    assert (dataset["client"], dataset["type"], dataset["state"]) == ("a.b", "bucket", "running")
    assert caller.post("/projects", {"client": "ASTER", "code": "P"}).status_code == 409
    suspension = world.suspend("client:a.b")
    opened = clock.text(suspension.recorded_at)
    for found in (
        told(caller.get("/projects/P")),
        told(caller.get("/datasets?project=P"))["items"][0],
    ):
        assert (found["state"], found["since"]) == ("paused", opened)
    (found,) = told(caller.get("/projects?client=a.b"))["items"]
    assert found["id"] == project["id"]
    assert [one["state"] for one in told(caller.get("/clients"))["items"]] == ["running", "paused"]


def test_a_person_is_made_known_granted_something_and_leaves(caller: Caller) -> None:
    person = {"external_id": "P1", "email": "P1@people.example", "full_name": "Zoë",
              "kind": "expert", "country": "KE", "organisation": "Acme"}  # fmt: skip
    subject = made(caller.post("/subjects", person))
    assert (subject["email"], subject["state"], subject["grants"]) == (
        "p1@people.example",
        "active",
        0,
    )
    assert caller.post("/subjects", person).json["field"] == "external_id"
    assert caller.post("/subjects", person | {"country": "XX"}).json["field"] == "country"
    given = made(caller.post("/grants", grant(caller)))
    assert (given["status"], given["external_id"]) == ("in_force", "P1")
    assert told(caller.get("/grants?subject=P1&project=Kingfisher&status=in_force"))["items"] == [
        given
    ]
    assert told(caller.get("/who?type=project&code=Kingfisher"))["items"][0]["grant"] == given["id"]
    assert told(caller.get("/who?type=client&code=ASTER&at=2020-01-01T00:00:00Z"))["items"] == []
    ever = "/who?type=project&code=Kingfisher&from=2020-01-01T00:00:00Z"
    (line,) = told(caller.get(ever))["items"]
    assert (line["grant"], len(line["intervals"])) == (given["id"], 1)
    assert line["intervals"][0]["starts_at"] >= given["starts_at"]
    assert told(caller.get(f"{ever}&to=2020-01-02T00:00:00Z"))["items"] == []
    for wrong in (f"{ever}&at=2020-01-01T00:00:00Z", ever.replace("from", "to")):
        assert caller.get(wrong).status_code == 422
    later = made(caller.post("/grants", grant(caller, starts_at="2036-01-01T00:00:00Z")))
    assert later["status"] == "scheduled"
    revoked = made(caller.post(f"/grants/{later['id']}/revoke", {"reason": "mistake"}), 200)
    assert (revoked["status"], bool(revoked["revoked_at"])) == ("revoked", True)
    assert caller.post(f"/grants/{later['id']}/revoke", {"reason": "again"}).status_code == 409
    assert told(caller.get("/subjects?q=p1@"))["items"][0]["id"] == subject["id"]
    moved = caller.post("/subjects/P1/move", {"organisation": "direct", "reason": "hired"})
    assert moved.status_code == 404  # nobody belongs to it yet
    assert caller.post("/subjects/P1/offboard", {"reason": "left", "number": 5}).status_code == 409
    left = made(caller.post("/subjects/P1/offboard", {"reason": "left", "number": 1}), 200)
    assert (left["state"], left["grants"]) == ("offboarded", 0)
    assert caller.post("/grants", grant(caller)).json["code"] == "already_ended"


def test_a_window_that_makes_no_sense_is_refused_at_its_field(caller: Caller, world: World) -> None:
    world.subject("P1")
    for wrong in ("2020-01-01T00:00:00Z", "tomorrow", "0001-01-01T00:00:00+14:00", 5, None):
        answer = caller.post("/grants", grant(caller, ends_at=wrong))
        assert answer.status_code == 422, wrong
        assert answer.json["field"] in {"ends_at", "until"}


def test_a_pause_is_previewed_opened_changed_and_taken_back(caller: Caller, world: World) -> None:
    row = world.grant(world.subject("P1"), world.project("Osprey"))
    preview = told(caller.post("/suspensions/preview", {"targets": ["project:Osprey"]}))
    assert (preview["grants"], preview["people"], preview["losing_last_project"]) == (1, 1, 1)
    asked = {"targets": ["project:Osprey"], "mode": "read_only", "reason": "client_request",
             "note": "Wait.\nPlease.", "preview_digest": preview["digest"]}  # fmt: skip
    opened = made(caller.post("/suspensions", asked))
    assert (opened["state"], opened["mode"], opened["note"]) == (
        "open",
        "read_only",
        "Wait.\nPlease.",
    )
    assert opened["progress"] == {
        "recorded": 0, "total": 1, "done": False, "finished_at": None,
        "left": 1, "per_second": None, "seconds_left": None,
    }  # fmt: skip
    path = f"/suspensions/{opened['id']}"
    (held,) = told(caller.get(f"{path}/grants"))["items"]
    assert (held["grant"], held["seq"]) == (row.id, None)
    world.write_particulars()
    seen = told(caller.get(path))
    assert seen["progress"]["done"]
    assert seen["progress"]["left"] == seen["progress"]["seconds_left"] == 0
    assert seen["progress"]["per_second"] > 0
    assert seen["digest"] == preview["digest"]
    assert told(caller.get(f"{path}/grants"))["items"][0]["seq"] is not None

    stricter = {"mode": "paused", "mode_version": seen["mode_version"]}
    assert made(caller.post(f"{path}/mode", stricter), 200)["mode"] == "paused"
    assert caller.post(f"{path}/mode", {"mode": "read_only", "mode_version": seen["mode_version"]}
                       ).json["code"] == "stale"  # fmt: skip
    words = {"known": "Until noon.", "not_known": "Why.", "contact": "Dana", "seen": 1,
             "next_update_by": "2036-01-01T00:00:00Z"}  # fmt: skip
    noted = made(caller.post(f"{path}/notices", words))
    assert (noted["note"], noted["acknowledged"]) == ("Until noon.", 0)
    assert [one["known"] for one in noted["notices"]] == ["Until noon.", "Wait.\nPlease."]
    assert noted["notice"] == noted["notices"][0]
    assert noted["notice"].items() >= {"number": 2, "not_known": "Why.", "contact": "Dana"}.items()
    assert caller.post(f"{path}/notices", words).json["code"] == "stale"
    moved = {"review_by": "2036-01-01T00:00:00Z", "version": seen["version"]}
    assert made(caller.send("PATCH", path, moved), 200)["review_by"].startswith("2036-01-01")
    assert caller.send("PATCH", path, moved).json["code"] == "stale"
    assert caller.post(f"{path}/take-back").json["code"] == "needs_second_person"
    other = made(caller.post("/suspensions", asked | {"targets": ["client:ASTER"]}))
    assert made(caller.post(f"/suspensions/{other['id']}/take-back"), 200)["state"] == "lifted"
    assert [one["id"] for one in told(caller.get("/suspensions?state=open"))["items"]] == [
        opened["id"]
    ]
    assert [one["mode"] for one in told(caller.get("/suspensions"))["items"]] == [
        "paused",
        "read_only",
    ]


def test_what_lets_someone_back_in_awaits_a_person(caller: Caller, world: World) -> None:
    for name in ("P1", "P2"):
        world.grant(world.subject(name), project := world.project(f"of {name}"))
    world.dataset(project, "maps")
    row = world.suspend("project:of P1", "project:of P2")
    path = f"/suspensions/{row.id}"
    difference = told(caller.get(f"{path}/difference"))
    assert (difference["returns"], difference["returns_people"]) == (2, 2)
    first = told(caller.get(f"{path}/difference/grants?limit=1"))
    assert (
        told(caller.get(f"{path}/difference/grants?limit=1&after={first['next']}"))["next"] is None
    )
    lift = {"number": 2, "digest": difference["digest"], "reason": "over"}
    assert caller.post(f"{path}/lift", lift | {"number": 1}).json["code"] == "brake"
    assert caller.post(f"{path}/lift", lift | {"digest": "0" * 64}).json["code"] == "stale"
    lifting = made(caller.post(f"{path}/lift", lift), 202)
    assert (lifting["kind"], lifting["state"], lifting["reason"]) == ("lift", "pending", "over")
    assert told(caller.get(path))["waiting"] == [lifting["id"]]
    weaker = made(caller.post(f"{path}/mode", {"mode": "read_only"}), 202)
    assert weaker["details"] == {"mode": "read_only"}
    narrowed = made(
        caller.post(f"{path}/narrow", {"targets": ["project:of P1"], "reason": "r"}), 202
    )
    out = {"subjects": ["P2"], "targets": ["dataset:maps"], "reason": "r"}
    released = made(caller.post(f"{path}/release", out), 202)
    pending = told(caller.get("/requests?state=pending"))["items"]
    assert {one["id"] for one in pending} == {
        lifting["id"], weaker["id"], narrowed["id"], released["id"]
    }  # fmt: skip
    withdrawn = made(caller.post(f"/requests/{narrowed['id']}/withdraw"), 200)
    assert withdrawn["state"] == "withdrawn"
    others = world.ask_lift(world.suspend("client:ASTER"), by=OPERATOR)
    assert caller.post(f"/requests/{others.id}/withdraw").status_code == 403
    world.approve(world.do(lambda s: find(s, released["id"])), by=SECOND)
    assert told(caller.get(path))["released"] == [told(caller.get("/subjects/P2"))["id"]]
    assert told(caller.get(path))["released_parts"] == ["dataset:maps"]
    world.approve(world.do(lambda s: find(s, lifting["id"])), by=SECOND)
    assert told(caller.get(f"/requests/{lifting['id']}"))["state"] == "approved"
    assert told(caller.get(path))["state"] == "lifted"


def test_a_program_asks_for_access_and_reads_who_has_to_approve_it(
    world: World, caller: Caller
) -> None:
    who = world.subject("P1")
    wanted = {
        "subject": "P1", "project": "Kingfisher", "entitlement": "annotator", "ends_at": UNTIL,
        "reason": "new batch",
    }  # fmt: skip
    asked = made(caller.post("/requests", wanted))
    assert (asked["kind"], asked["state"], asked["subject"]) == ("grant", "pending", who.id)
    assert caller.post("/requests", wanted).status_code == 409
    assert caller.post("/requests", wanted | {"project": "Heron"}).status_code == 404
    policy = told(caller.get("/projects/Kingfisher/request-policy"))
    assert (policy["set_over"], policy["needed"], policy["pausing"]) == (None, 1, "waits")
    assert caller.post(f"/requests/{asked['id']}/withdraw").json["state"] == "withdrawn"


def test_a_program_says_who_approves_access_and_overwrites_nothing_unseen(
    world: World, app: Flask, caller: Caller
) -> None:
    ada = world.staff(name="ada")
    wanted = {
        "people": ["ada"], "needed": 1, "pausing": "dies", "days": 9, "open_to": "client",
        "reason": "contract", "seen": "",
    }  # fmt: skip
    first = told(caller.post("/request-policies/client:ASTER", wanted))
    assert (first["people"], first["set_over"], first["open_to"]) == ([ada.id], "client", "client")
    assert told(caller.get(f"/request-policies/{first['over']}")) == first
    counts = told(caller.get("/request-policies/project:Kingfisher"))
    assert (counts["id"], counts["over"][:8], counts["pausing"]) == (
        first["id"],
        "project:",
        "dies",
    )
    stale = caller.post("/request-policies/client:ASTER", wanted | {"days": 3})
    assert (stale.status_code, stale.json["code"]) == (409, "stale")
    for change in ({"needed": 9}, {"people": ["nobody"]}, {"days": 0}, {"roles": ["auditor"]}):
        wrong = caller.post("/request-policies/client:ASTER", wanted | change)
        assert wrong.status_code == 422, change
        assert wrong.json["field"].partition(".")[0] in change
    house = caller.post("/request-policies/house", wanted | {"open_to": "everybody"})
    assert (house.status_code, house.json["field"]) == (422, "open_to")
    limited = Caller.of(world, app, client=world.client("BOREAL"))
    for over, status in (("client:ASTER", 404), ("house", 403)):
        answer = limited.post(f"/request-policies/{over}", wanted)
        assert answer.status_code == status, over
    over = caller.post("/request-policies/client:ASTER/end", {"reason": "over"})
    assert told(over)["set_over"] is None


def find(session: Any, request_id: str) -> Any:
    from govern.access import requests

    return requests.find(session, request_id, by=OPERATOR)


def test_under_review_a_grant_and_out_of_a_held_firm_a_move_await_a_person(
    caller: Caller, world: World
) -> None:
    world.subject("P1", organisation="Acme")
    world.subject("P2")
    world.suspend("project:Kingfisher", mode=world_mode("under_review"))
    asked = made(caller.post("/grants", grant(caller)), 202)
    assert (asked["kind"], asked["details"]["project"][:4]) == ("grant", "prj_")
    assert "reason" not in asked["details"]
    world.suspend("organisation:Acme")
    moving = {"organisation": "direct", "reason": "hired"}
    assert made(caller.post("/subjects/P1/move", moving), 202)["kind"] == "move"
    assert told(caller.post("/subjects/P2/move", {"organisation": "Acme", "reason": "x"}))[
        "organisation"
    ] == "Acme"  # fmt: skip


def world_mode(name: str) -> Any:
    from govern.access.modes import Mode

    return Mode(name)


def test_who_has_left_is_erased_once_and_nothing_tells_their_name_any_more(
    caller: Caller, world: World
) -> None:
    subject = world.subject("P1")
    told(caller.post("/subjects/P1/offboard", {"reason": "over"}))
    erased = made(caller.post("/subjects/P1/erasure", {"reason": "by law"}), 200)
    assert (erased["id"], erased["external_id"], erased["email"]) == (subject.id,) * 3
    left = erased["full_name"], erased["country"], erased["state"]
    assert left == ("erased", "", "offboarded")
    for lost in ("/subjects/P1", "/log?subject=P1"):
        assert caller.get(lost).status_code == 404
    entries = told(caller.get(f"/log?subject={subject.id}"))["items"]
    assert entries[0]["type"] == "subject.erased"
    (known,) = [one for one in entries if one["type"] == "subject.registered"]
    assert {known["values"][name] for name in ("external_id", "email", "full_name")} == {None}
    again = caller.post(f"/subjects/{subject.id}/erasure", {"reason": "by law"})
    assert (again.status_code, again.json["code"]) == (409, "already_ended")


def test_a_client_is_held_and_its_rows_stay_longer_and_only_a_person_undoes_either(
    caller: Caller, world: World
) -> None:
    default = world.store.settings.access_log_days
    assert told(caller.get("/clients/ASTER/records")) == {
        "client": "ASTER", "held": False, "held_since": None, "days": None, "default": default,
    }  # fmt: skip
    held = caller.post("/clients/ASTER/hold", {"reason": "their counsel's letter"})
    assert (held.status_code, held.json["held"]) == (201, True)
    assert caller.post("/clients/ASTER/hold", {"reason": "again"}).status_code == 409
    world.subject("P1")
    made(caller.post("/grants", grant(caller)))
    told(caller.post("/subjects/P1/offboard", {"reason": "over"}))
    erased = caller.post("/subjects/P1/erasure", {"reason": "by law"})
    assert (erased.status_code, "legal hold" in erased.json["detail"]) == (409, True)
    longer = {"days": default + 1, "reason": "contract"}
    assert told(caller.post("/clients/ASTER/retention", longer))["days"] == default + 1
    assert told(caller.post("/clients/ASTER/retention", {"days": 0, "reason": "all"}))["days"] == 0
    sooner = caller.post("/clients/ASTER/retention", longer)
    assert (sooner.status_code, sooner.json["field"]) == (403, "days")
    client = told(caller.get("/clients/ASTER"))["id"]
    with world.store.reading() as session:
        tool = integrations.authenticate(session, *caller.credentials)
    with pytest.raises(errors.Forbidden, match="no program"):
        world.do(lambda s: holding.release(s, client, reason="over", by=tool))


def test_the_log_is_read_and_exported_with_a_row_in_the_access_log(
    caller: Caller, world: World
) -> None:
    world.grant(world.subject("P1"), world.project("Osprey", client=world.client("BOREAL")))
    entries = told(caller.get("/log?log=BOREAL&limit=2"))
    assert [one["type"] for one in entries["items"]] == ["grant.issued", "project.created"]
    rest = told(caller.get(f"/log?log=BOREAL&after={entries['next']}"))
    assert [one["type"] for one in rest["items"]] == ["client.created"]
    assert rest["items"][0]["values"]["code"] == "BOREAL"
    about = told(caller.get("/log?subject=P1"))["items"]
    assert {one["log"] for one in about} == {"BOREAL", "house"}
    soon = clock.text(clock.utcnow() + timedelta(hours=1))
    assert told(caller.get(f"/log?since={soon}"))["items"] == []
    file = caller.get("/log/export?log=BOREAL&type=grant.issued")
    assert file.mimetype == "application/jsonl"
    report = verify.check(io.BytesIO(file.data), keys=[Signer(world.store.settings).key])
    assert report.ok
    assert caller.get("/log/export?log=house").json["field"] == "log"
    pack = caller.get("/log/export?log=BOREAL&format=pack")
    assert pack.mimetype == "application/zip"
    assert verify.check_pack(io.BytesIO(pack.data), keys=[Signer(world.store.settings).key]).ok
    assert caller.get("/log/export?format=pack").json["field"] == "log"
    siem = caller.get("/log/export?log=BOREAL&format=ocsf&actor=sub_nobody")
    assert (siem.status_code, siem.mimetype) == (200, "application/x-ndjson")
    (manifest,) = siem.data.splitlines()
    assert b'"rows":0' in manifest
    kinds = [row.kind for row in accesses(world)]
    assert kinds.count(AccessKind.READ) == 5  # of the page over two logs, one for each
    assert kinds.count(AccessKind.EXPORT) == 3


def test_the_access_log_is_searched_and_says_so_itself(caller: Caller, world: World) -> None:
    subject = world.subject("P1")
    project = world.project("Osprey", client=world.client("BOREAL"))
    for _ in range(3):
        world.ask(subject, project)
    page = told(caller.get("/log/access?project=Osprey&outcome=deny&limit=2"))
    assert len(page["items"]) == 2
    row = page["items"][0]
    assert (row["subject"], row["resource"], row["permit"], row["reason"]) == (
        subject.id, project.id, False, "no_grant",
    )  # fmt: skip
    rest = told(caller.get(f"/log/access?project=Osprey&outcome=deny&after={page['next']}"))
    assert len(rest["items"]) == 1
    assert rest["next"] is None
    reads = told(caller.get("/log/access?kind=read"))["items"]
    assert [one["action"] for one in reads] == ["access"] * 3
    assert caller.get("/log/access?subject=nobody").json["field"] == "subject"


def accesses(world: World) -> list[Any]:
    from sqlalchemy import select

    from govern.audit.decisions import Access

    with world.store.access_reading() as session:
        return list(session.execute(select(Access)).scalars())


def test_a_reader_of_one_client_sees_of_a_wider_suspension_its_own_part(
    world: World, app: Flask
) -> None:
    aster = world.client("ASTER")
    world.grant(world.subject("P1"), world.project("Kingfisher", client=aster))
    world.grant(world.subject("P2"), world.project("Osprey", client=world.client("BOREAL")))
    row = world.suspend(
        "client:ASTER", "client:BOREAL", note="All.", internal_reason="BOREAL too", incident="I-1"
    )
    caller = Caller.of(world, app, "api", client=aster)
    seen = told(caller.get(f"/suspensions/{row.id}"))
    assert [one["code"] for one in seen["targets"]] == ["ASTER"]
    assert (seen["whole"], seen["internal_reason"], seen["incident"]) == (False, "", "")
    assert (seen["people"], seen["acknowledged"]) == (1, None)
    difference = told(caller.get(f"/suspensions/{row.id}/difference"))
    assert (difference["returns"], difference["digest"]) == (1, None)
    asked = {"number": 1, "reason": "over"}
    assert caller.post(f"/suspensions/{row.id}/lift", asked).status_code == 404

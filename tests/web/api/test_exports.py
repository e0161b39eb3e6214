"""A program has exports made while it waits for nothing, and has what it took away verified."""

from __future__ import annotations

import io
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from govern import clock
from govern.access import clients
from govern.audit import exporting, log, verify
from govern.audit.signer import Signer
from tests.web.api.caller import Caller

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.conftest import Beginning
    from tests.factory import World

SCOPES = ("api", "audit.read")


def one_grant(world: World) -> None:
    world.grant(world.subject("P1"), world.project("Osprey", client=world.client("BOREAL")))


@pytest.fixture
def beginning() -> Beginning:
    return one_grant


def test_an_export_is_asked_for_watched_and_fetched_whole_or_in_part_until_it_expires(
    world: World, app: Flask
) -> None:
    caller, other = (Caller.of(world, app, *SCOPES[:number]) for number in (2, 1))
    stranger = Caller.of(world, app, "audit.read")
    asked = caller.post("/log/exports", {"format": "csv", "log": "BOREAL"})
    assert asked.status_code == 201, asked.text
    where = asked.headers["Location"].removeprefix("/api/v1")
    assert (asked.json["state"], asked.json["log"], asked.json["sha256"]) == (
        "waiting", "BOREAL", None,
    )  # fmt: skip
    assert caller.get(f"{where}/file").status_code == 503
    assert exporting.work(world.store) == 1

    ready = caller.get(where).json
    assert (ready["state"], ready["entries"], ready["error"]) == ("ready", ready["of"], "")
    assert caller.get("/log/exports").json == {"items": [ready], "next": None}
    file = caller.get(f"{where}/file")
    assert (file.status_code, file.mimetype) == (200, "text/csv")
    assert (len(file.data), sha256(file.data).hexdigest()) == (ready["bytes"], ready["sha256"])
    part = caller.get(f"{where}/file", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, file.data[10:20])
    assert verify.check(io.BytesIO(file.data), keys=[Signer(world.store.settings).key]).ok

    assert stranger.get("/log/exports").json["items"] == []
    for mine in (where, f"{where}/file"):
        assert stranger.get(mine).status_code == 404
        assert other.get(mine).status_code == 403
    days = timedelta(days=world.store.settings.export_days, seconds=1)
    with clock.at(clock.utcnow() + days):
        assert caller.get(f"{where}/file").status_code == 409
        exporting.clear(world.store)
        assert caller.get(where).json["state"] == "expired"


def test_every_form_is_verified_for_a_program_as_for_a_person(world: World, app: Flask) -> None:
    caller = Caller.of(world, app, *SCOPES)
    key = Signer(world.store.settings).key

    def brought(data: bytes, **more: Any) -> TestResponse:
        parts = {"file": (io.BytesIO(data), "brought"), "key": key} | more
        return caller.send("POST", "/log/verify", data=parts, content_type="multipart/form-data")

    for form in ("jsonl", "csv", "ocsf", "parquet", "pack"):
        data = caller.get(f"/log/export?log=BOREAL&format={form}").data
        told = brought(data).json
        assert (told["ok"], told["damage"], told["unnamed"]) == (True, [], 0), (form, told)
        assert any("BOREAL" in words for words in told["proves"])
        assert told["does_not_prove"]
    assert brought(caller.get("/log/export?format=parquet").data[:-90]).json["field"] == "file"

    data = caller.get("/log/export?log=BOREAL").data
    told = brought(data.replace(b"annotator", b"annotatox", 1)).json
    assert told["ok"] is False
    assert "annotator" not in told["damage"][0]["message"]
    assert told["damage"][0]["line"] > 1
    caller.post("/projects", {"client": "BOREAL", "code": "Heron", "contact": "x@y.z"})
    Signer(world.store.settings).sign(world.store)
    with world.store.reading() as session:
        boreal = clients.client(session, "BOREAL").id
        kept = log.latest_checkpoint(session, boreal)
    assert kept is not None
    for part in (kept.note, (io.BytesIO(kept.note.encode()), "kept.txt")):
        told = brought(data, checkpoint=part).json
        assert "tail" in {one["kind"] for one in told["damage"]}
    foreign = brought(data, checkpoint="somebody else's").json
    assert [one["kind"] for one in foreign["damage"]] == ["kept"]

    receipt = caller.get("/log/receipt?log=BOREAL&seq=1")
    assert (receipt.status_code, receipt.mimetype) == (200, "text/html")
    proved = verify.check_receipt(receipt.data, keys=[key])
    assert (proved.ok, proved.entries[0].seq, proved.values["code"]) == (True, 1, "Osprey")
    assert caller.get("/log/receipt?log=BOREAL&seq=999").status_code == 404

    for wrong, field in (
        ({"key": "nonsense"}, "key"), ({"key": ""}, "key"), ({"file": "words"}, "file"),
        ({"also": "this"}, "also"),
    ):  # fmt: skip
        answer = brought(data, **wrong)
        assert (answer.status_code, answer.json["field"]) == (422, field), answer.text
    assert caller.post("/log/verify", {"key": key}).status_code == 415

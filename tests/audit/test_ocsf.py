"""Every event that leaves as OCSF is valid against the published schema, and leads to its leaf."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema_rs import Draft202012Validator

from govern.audit import leaf, ocsf, siem
from govern.audit.decisions import AccessKind
from govern.audit.events import EventType
from govern.audit.searching import Row
from tests.audit.test_export import entries, exported, signed

if TYPE_CHECKING:
    from tests.factory import World

SCHEMA = json.loads((Path(__file__).parents[1] / "data/ocsf/classes.json").read_text())
REFS = {
    name: f"{name[:3]}_0ch3"
    for name in ("client", "project", "dataset", "subject", "grant", "suspension", "request")
}


@cache
def validator(class_uid: int) -> Draft202012Validator:
    return Draft202012Validator(SCHEMA["classes"][str(class_uid)] | {"$defs": SCHEMA["$defs"]})


def faults(line: bytes) -> list[str]:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    event = json.loads(line)
    return [each.message for each in validator(event["class_uid"]).iter_errors(event)]


def event(type: str, **changed: Any) -> bytes:
    fields: dict[str, Any] = {
        "log": "cli_1", "seq": 7, "time": "2026-11-21T09:00:00.000001Z", "type": type,
        "actor": "sub_1", "session": "ses_1", "refs": REFS, "data": {"mode": "paused"},
        "commit": {},
    }  # fmt: skip
    body = leaf.build(**(fields | changed))
    return ocsf.entry(7, body, {"note": [leaf.salt(), "Zoë\n"], "reason": None})


@pytest.mark.parametrize("type", [*EventType, "of.tomorrow"])
def test_an_event_of_every_type_is_valid_whatever_it_refers_to(type: str) -> None:
    targets = [{"kind": "project", "id": "prj_1"}]
    for changed in ({}, {"refs": {}, "session": None, "actor": "system"}, {"actor": "int_1"},
                    {"refs": {}, "data": {"targets": targets}}):  # fmt: skip
        assert faults(event(type, **changed)) == []


def test_the_schema_refuses_what_is_no_such_event() -> None:
    good = json.loads(event("suspension.opened"))
    assert (good["class_uid"], good["type_uid"]) == (3004, 300412)
    for damage in ({"entity": None}, {"activity_id": 14}, {"type_uid": 300401 + 99}, {"own": 1},
                   {"time": "now"}, {"entity": {"type_id": 99}}):  # fmt: skip
        wrong = {name: value for name, value in (good | damage).items() if value is not None}
        assert faults(json.dumps(wrong).encode() + b"\n")


@pytest.mark.parametrize("kind", AccessKind)
def test_a_row_of_the_access_log_of_every_kind_is_valid(kind: AccessKind) -> None:
    row = Row(
        writer="wri_1", number=3, at=datetime(2026, 11, 21, 9, tzinfo=UTC), kind=kind,
        principal="int_1", session_id=None, subject_id="sub_1", client_id="cli_1",
        resource_id="prj_1", action="read", permit=False, reason="project_paused", as_of=4,
        house_as_of=2, worked_at=None, detail={"form": "jsonl"},
    )  # fmt: skip
    bare = replace(
        row, subject_id=None, client_id=None, resource_id=None, action=None, permit=None,
        reason=None, session_id="ses_1", principal="sub_2", detail={},
    )  # fmt: skip
    for each in (row, bare):
        assert faults(ocsf.access_row(each, "acc_1")) == []
    # From the number of a row one would know how much others ask.
    assert b"wri_1" not in ocsf.access_row(row, "acc_1")
    assert "sequence" not in json.loads(ocsf.access_row(row, "acc_1"))["metadata"]


def test_an_export_for_a_siem_is_valid_line_by_line_and_holds_every_entry_of_a_proof(
    world: World,
) -> None:
    project = world.project()
    world.grant(world.subject(), project)
    world.suspend(f"project:{project.code}")
    world.write_particulars()
    signed(world.store)
    proof, summary = exported(world.store)
    file, again = exported(world.store, form="ocsf")
    *told, manifest = [json.loads(line) for line in file.splitlines()]
    assert manifest["metadata"]["event_code"] == siem.CODE
    assert again.rows == summary.rows == len(told)
    assert not [fault for line in file.splitlines(keepends=True) for fault in faults(line)]
    assert [json.loads(each["raw_data"]) for each in told] == entries(proof)
    uids = [each["metadata"]["uid"] for each in told]
    assert uids == [f"{each['log']}/{each['seq']}" for each in entries(proof)]
    paused = next(each for each in told if each["metadata"]["event_code"] == "suspension.opened")
    assert paused["entity"]["uid"] == project.id

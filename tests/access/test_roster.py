"""The roster: every row told accepted, unchanged or rejected, and nothing half-done."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from govern import errors
from govern.access import catalogue, roster
from govern.access.grants import Grant
from govern.access.modes import Mode
from govern.audit.log import Log
from govern.identity import subjects
from govern.identity.subjects import Subject
from tests.factory import OPERATOR, World, person, roster_file, row

if TYPE_CHECKING:
    from govern.access.roster import Outcome

DATA = Path(__file__).parents[1] / "data"
EXAMPLE = Path(catalogue.__file__).parents[1] / "example" / "data"


@pytest.fixture
def house(world: World) -> World:
    """A client ASTER with the project Kingfisher, and the entitlement `annotator`."""
    world.project(client=world.client())
    world.entitlement()
    return world


def sizes(world: World) -> dict[str, int]:
    """How many entries each log has: nothing is written without one."""
    with world.store.reading() as session:
        return {log.id: log.size for log in session.execute(select(Log)).scalars()}


def verdicts(outcome: Outcome) -> list[dict[str, Any]]:
    found = [{"line": line, "verdict": "accepted", "column": None} for line in outcome.accepted]
    found += [{"line": line, "verdict": "unchanged", "column": None} for line in outcome.unchanged]
    found += [
        {"line": fault.line, "verdict": "rejected", "column": fault.column}
        for fault in outcome.rejected
    ]
    return sorted(found, key=lambda each: each["line"])


def test_the_messy_roster_is_judged_exactly_as_expected(world: World) -> None:
    catalogue.load(world.store, json.loads((EXAMPLE / "catalogue.json").read_text()), by=OPERATOR)
    expected = json.loads((DATA / "roster-messy.expected.json").read_text())
    messy = (DATA / "roster-messy.csv").read_bytes()
    before = sizes(world)

    for more in ({"dry_run": True}, {}, {"dry_run": True, "skip_rejected": True}):
        outcome = roster.load(world.store, io.BytesIO(messy), by=OPERATOR, **more)
        assert verdicts(outcome) == expected
        assert not outcome.applied
        assert sizes(world) == before
    outcome = roster.load(world.store, io.BytesIO(messy), skip_rejected=True, by=OPERATOR)
    assert verdicts(outcome) == expected
    assert outcome.applied
    with world.store.reading() as session:
        names = {
            row.external_id: row.full_name for row in session.execute(select(Subject)).scalars()
        }
        given = session.execute(select(func.count()).select_from(Grant)).scalar_one()
    assert given == sum(each["verdict"] == "accepted" for each in expected)
    assert names["P90003"] == '=HYPERLINK("http://x.example","click")'
    assert names["P90002"] == "Tab and spaces"
    assert all(fault.reason for fault in outcome.rejected)

    after = sizes(world)
    outcome = roster.load(world.store, io.BytesIO(messy), skip_rejected=True, by=OPERATOR)
    assert outcome.accepted == []
    assert sizes(world) == after


def test_the_same_file_twice_changes_nothing(house: World) -> None:
    lines = [row(f"P{number}") for number in range(5)]
    assert len(house.load(*lines).accepted) == 5
    before = sizes(house)
    outcome = house.load(*lines)
    assert (outcome.accepted, len(outcome.unchanged), outcome.rejected) == ([], 5, [])
    assert sizes(house) == before


def test_a_revoked_grant_is_unchanged_and_stays_revoked(house: World) -> None:
    house.load(row("P1"))
    with house.store.reading() as session:
        grant = session.execute(select(Grant)).scalar_one()
        subject = subjects.find(session, "P1")
    house.revoke(grant)
    outcome = house.load(row("P1"))
    assert outcome.unchanged == [2]
    with house.store.reading() as session:
        assert session.execute(select(func.count()).select_from(Grant)).scalar_one() == 1
        assert session.get_one(Grant, grant.id).ended_at is not None
        assert subject.external_id == "P1"


def test_an_import_never_changes_an_address(house: World) -> None:
    house.load(row("P1"))
    outcome = house.load(row("P1", email="else@people.example"), skip_rejected=True)
    assert [(fault.line, fault.column) for fault in outcome.rejected] == [(2, "email")]
    with house.store.reading() as session:
        assert subjects.find(session, "P1").email == "p1@people.example"


def test_changed_particulars_are_taken_over_and_recorded(house: World) -> None:
    house.load(row("P1"))
    assert house.load(row("P1", name="New Name", organisation="Kestrel")).accepted == [2]
    with house.store.reading() as session:
        subject = subjects.find(session, "P1")
        assert subject.full_name == "New Name"
        assert subjects.organisation_of(session, subject).name == "Kestrel"
    assert len(house.entries("house", "subject.changed")) == 1
    assert len(house.entries("house", "subject.moved")) == 1


@pytest.mark.parametrize("mode", list(Mode))
def test_no_import_moves_anyone_out_of_a_held_firm(house: World, mode: Mode) -> None:
    house.load(row("P1", organisation="Northwind"))
    house.suspend("organisation:Northwind", mode=mode)
    outcome = house.load(row("P1", organisation="Kestrel"), skip_rejected=True)
    assert [(fault.line, fault.column) for fault in outcome.rejected] == [(2, "organisation")]
    with house.store.reading() as session:
        subject = subjects.find(session, "P1")
        assert subjects.organisation_of(session, subject).name == "Northwind"


@pytest.mark.parametrize(
    ("scope", "column"),
    [("client:ASTER", "project"), ("project:Kingfisher", "project"),
     ("subject:P1", "external_id"), ("organisation:Northwind", "organisation"),
     ("dataset:audio", "dataset")],
)  # fmt: skip
def test_no_import_grants_under_a_suspension(world: World, scope: str, column: str) -> None:
    project = world.project(client=world.client())
    world.dataset(project, "audio")
    world.entitlement()
    world.subject("P1", organisation="Northwind")
    world.suspend(scope)
    outcome = world.load(row("P1", name="Person P1", organisation="Northwind", dataset="audio"))
    assert [(fault.line, fault.column) for fault in outcome.rejected] == [(2, column)]


def test_one_rejected_row_keeps_the_whole_file_out_unless_told(house: World) -> None:
    before = sizes(house)
    lines = [row("P1"), row("P2", project="Nonesuch")]
    outcome = house.load(*lines)
    assert (outcome.applied, sizes(house)) == (False, before)
    assert house.load(*lines, skip_rejected=True).applied
    assert house.load(*lines, skip_rejected=True).unchanged == [2]


def test_line_ends_and_a_byte_order_mark_do_not_matter(house: World) -> None:
    content = b"\xef\xbb\xbf" + roster_file(row("P1"), "", row("P2"), newline="\r\n").read()
    outcome = roster.load(house.store, io.BytesIO(content), by=OPERATOR)
    assert outcome.accepted == [2, 4]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "header"),
        (b"external_id,email\n", "header"),
        (roster_file().read().replace(b"kind", b"sort"), "header"),
        (roster_file(row("P1")).read() + b"\xff\xfe\n", "file"),
        (roster_file('P1,"open quote').read(), "file"),
        (b"PK\x03\x04\x00\x00", "file"),
    ],
)
@pytest.mark.web_alone
def test_what_is_no_roster_at_all_is_refused_as_a_whole(
    house: World, content: bytes, field: str
) -> None:
    before = sizes(house)
    with pytest.raises(errors.Invalid) as refusal:
        roster.load(house.store, io.BytesIO(content), skip_rejected=True, by=OPERATOR)
    if content[:2] != b"PK":
        assert refusal.value.field == field
    assert sizes(house) == before


def test_a_role_over_one_client_imports_no_roster(house: World) -> None:
    client = house.client("MINE")
    with pytest.raises(errors.Forbidden):
        roster.load(house.store, roster_file(row()), by=person(house.staff(), client=client.id))


def test_the_people_of_a_file_come_once_each_in_order() -> None:
    assert roster.people(roster_file(row("B"), row("A"), row("B"))) == ["B", "A"]

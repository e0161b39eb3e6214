"""The access log is found by person, project, integration, time and outcome, as far as one may."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from govern import clock, errors
from govern.access import evaluation, uses
from govern.access.evaluation import Question
from govern.audit import searching
from govern.audit.decisions import AccessKind
from govern.identity import integrations
from tests.audit.test_sealing import write
from tests.factory import OPERATOR, World, person

if TYPE_CHECKING:
    from govern.access.clients import Client, Dataset, Project
    from govern.audit.searching import Page, Row
    from govern.db import Session
    from govern.identity.subjects import Subject
    from govern.principal import Principal


@dataclass
class Asked:
    """Two rival clients of whose projects two tools asked, one of them ASTER's own."""

    world: World
    aster: Client
    boreal: Client
    kingfisher: Project
    audio: Dataset
    cinnabar: Project
    ann: Subject
    bob: Subject

    def search(self, *, by: Principal = OPERATOR, limit: int = 50, **more: Any) -> list[Row]:
        """Every row, page by page; of itself a search tells later ones alone."""
        rows, after = [], ""
        while True:
            page = self.page(by=by, limit=limit, after=after, **more)
            rows += page.rows
            assert len(page.rows) <= limit
            if page.after is None:
                return rows
            after = page.after

    def page(self, *, by: Principal, limit: int = 50, after: str = "", **more: Any) -> Page:
        with self.world.store.reading() as session:
            where = uses.where(session, by=by, **more)
        return searching.search(self.world.store, where, after=after, limit=limit, by=by)

    def auditor(self, client: Client | None = None) -> Principal:
        staff = self.world.staff("auditor", client=client)
        return person(staff, "auditor", client.id if client else None)


def asking(world: World, name: str, **limits: Any) -> Principal:
    row, secret = world.integration(name, **limits)

    def who(session: Session) -> Principal:
        return integrations.authenticate(session, row.id, secret)

    return world.do(who)


@pytest.fixture
def asked(world: World) -> Asked:
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    kingfisher = world.project("Kingfisher", client=aster)
    cinnabar = world.project("Cinnabar", client=boreal)
    audio = world.dataset(kingfisher)
    ann, bob = world.subject("P-ann"), world.subject("P-bob")
    world.grant(ann, kingfisher)
    world.grant(bob, cinnabar)
    own = asking(world, "own-tool", clients=[aster.id])
    any_tool = asking(world, "any-tool")
    for by, who, kind, code in [
        (own, ann, "project", "Kingfisher"),
        (own, ann, "dataset", audio.code),
        (any_tool, bob, "project", "Kingfisher"),
        (any_tool, bob, "project", "Cinnabar"),
        (any_tool, ann, "project", "Cinnabar"),
    ]:
        question = Question(subject=who.external_id, action="read", kind=kind, code=code)
        answer = evaluation.decide(world.store, question, by=by)
        while clock.utcnow() < answer.at + timedelta(milliseconds=1):
            pass  # no two of one instant, as SQLite's clock has it
    return Asked(world, aster, boreal, kingfisher, audio, cinnabar, ann, bob)


def told(rows: list[Row]) -> list[tuple[str | None, str | None, bool | None]]:
    return [(row.subject_id, row.resource_id, row.permit) for row in rows]


def test_each_filter_finds_what_it_names_the_newest_first(asked: Asked) -> None:
    decisions = AccessKind.DECISION
    ann, bob = asked.ann.id, asked.bob.id
    project, data, other = asked.kingfisher.id, asked.audio.id, asked.cinnabar.id
    everything = [
        (ann, other, False), (bob, other, True), (bob, project, False),
        (ann, data, True), (ann, project, True),
    ]  # fmt: skip

    def found(**filters: Any) -> list[Any]:
        return told(asked.search(kind=decisions, **filters))

    assert found() == everything
    assert found(subject="P-ann") == [row for row in everything if row[0] == ann]
    assert found(subject=asked.ann.email) == found(subject="P-ann")
    # A project stands for its datasets too.
    assert found(project="Kingfisher") == everything[2:]
    assert found(integration="own-tool") == everything[3:]
    assert found(permit=False) == [everything[0], everything[2]]
    assert found(subject="P-ann", project="Cinnabar", permit=True) == []
    assert found(subject="P-ann", project="Kingfisher") == everything[3:]
    assert found(project="Kingfisher", integration="any-tool") == [everything[2]]
    rows = asked.search(kind=decisions)
    assert found(begin=rows[2].at) == everything[:3]
    assert found(end=rows[2].at) == everything[3:]
    assert found(begin=rows[3].at, end=rows[2].at, subject="P-ann") == [everything[3]]


def test_a_person_is_found_by_what_they_did_as_well(asked: Asked) -> None:
    auditor = asked.auditor()
    asked.search(subject="P-ann", by=auditor)
    with asked.world.store.reading() as session:
        who = session.get_one(type(asked.ann), auditor.id).external_id
    rows = asked.search(subject=who)
    # Their search, and beside it the row of this one, which is about them.
    assert [(row.kind, row.principal) for row in rows if row.principal == auditor.id] == [
        ("read", auditor.id)
    ]
    assert rows[-1].subject_id == asked.ann.id


def test_every_search_is_a_row_before_it_is_answered(asked: Asked) -> None:
    first = asked.search(project="Kingfisher", permit=False)
    rows = asked.search(kind=AccessKind.READ)
    assert len(rows) == 2
    assert rows[0].detail == {"filter": {"kind": "read"}}
    assert rows[1].action == "access"
    assert rows[1].detail["filter"]["permit"] is False
    assert all(row.kind == AccessKind.DECISION for row in first)


def test_a_clients_auditor_is_told_of_that_clients_rows_alone(asked: Asked) -> None:
    auditor = asked.auditor(asked.aster)
    rows = asked.search(by=auditor)
    assert {row.client_id for row in rows} == {asked.aster.id}
    assert told(rows)[-3:] == [
        (asked.bob.id, asked.kingfisher.id, False), (asked.ann.id, asked.audio.id, True),
        (asked.ann.id, asked.kingfisher.id, True),
    ]  # fmt: skip
    # Searching is told to those whose rows were searched.
    assert rows[0].principal == auditor.id
    assert len(asked.search(by=auditor, subject="P-ann", kind=AccessKind.DECISION)) == 2
    # No log of ASTER's tells of Bob, of the rival's project, or of a tool that is not its own.
    for unknown in ({"subject": "P-bob"}, {"project": "Cinnabar"}, {"integration": "any-tool"}):
        with pytest.raises(errors.Unknown) as hidden:
            asked.search(by=auditor, **unknown)
        nothing = dict.fromkeys(unknown, "nothing")
        with pytest.raises(errors.Unknown) as absent:
            asked.search(by=auditor, **nothing)
        (name,) = unknown.values()
        assert str(hidden.value).replace(name, "nothing") == str(absent.value)
    with asked.world.store.reading() as session:
        called = uses.called(session, rows, by=auditor)
        whole = uses.called(session, rows, by=OPERATOR)
    assert called[asked.ann.id] == asked.ann.full_name
    assert called[asked.kingfisher.id] == "Kingfisher"
    assert asked.bob.id not in called
    assert {"own-tool"} == {called[one] for one in called if one.startswith("int_")}
    assert {"own-tool", "any-tool"} == {whole[one] for one in whole if one.startswith("int_")}


def test_whoever_may_read_no_log_is_refused_and_leaves_no_row(asked: Asked) -> None:
    contractor = person(asked.ann, "nobody")
    with pytest.raises(errors.Forbidden):
        asked.search(by=contractor)
    assert [row.principal for row in asked.search(kind=AccessKind.READ)] == [OPERATOR.id]


@pytest.mark.parametrize("stretch", [20_000, 3])
def test_pages_hold_every_row_once_also_where_many_are_of_one_instant(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, stretch: int
) -> None:
    monkeypatch.setattr(searching, "_STRETCH", stretch)
    now = clock.utcnow()
    about = {"subject_id": asked.ann.id, "resource_id": asked.kingfisher.id}
    for age in (3, 2, 2, 1):
        write(asked.world.store, 5, at=now - timedelta(minutes=age), **about)
    for filters in ({"subject": "P-ann"}, {"project": "Kingfisher"}, {"permit": True}):
        rows = asked.search(limit=4, kind=AccessKind.DECISION, **filters)
        made = [row for row in rows if row.principal == "int_1"]
        assert len({row.mark for row in made}) == len(made) == 20, filters
        assert [row.place for row in rows] == sorted((row.place for row in rows), reverse=True)
        assert {row.mark for row in rows} == {
            row.mark for row in asked.search(kind=AccessKind.DECISION, **filters)
        }


def test_a_page_for_which_little_fits_ends_in_time_and_says_how_far_it_came(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(asked.world.store, 30, at=clock.utcnow() - timedelta(minutes=1))
    monkeypatch.setattr(searching, "_STRETCH", 10)
    monkeypatch.setattr(searching, "_PATIENCE", -1)
    page = asked.page(by=OPERATOR, kind=AccessKind.EXPORT)
    assert page.rows == []
    assert page.until is not None
    assert page.after is not None
    assert asked.search(kind=AccessKind.EXPORT) == []


def test_a_place_that_was_made_up_is_refused(asked: Asked) -> None:
    for after in ("x", "1.wri_1", "1.wri_1.x", "-1.wri_1.1", "1." + "w" * 33 + ".1",
                  "99999999999999999.w.1", "\u0661.w.1"):  # fmt: skip
        with pytest.raises(errors.Invalid, match="no place"):
            asked.page(by=OPERATOR, after=after)

"""The catalogue: clients, projects, datasets and entitlements, all or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from govern import errors
from govern.access import catalogue, entitlements
from govern.access.clients import Client, Dataset
from tests.factory import OPERATOR, World, person

DOCUMENT: dict[str, Any] = {
    "clients": [
        {"code": "ASTER", "name": "Aster Labs", "projects": [
            {"code": "Kingfisher", "contact": "ops@aster.example", "datasets": ["audio", "text"]},
            {"code": "Heron"},
        ]},
        {"code": "BOREAL", "name": "Boreal Labs"},
    ],
    "entitlements": {"annotator": ["read", "annotate"]},
}  # fmt: skip


def test_the_same_document_twice_changes_nothing(world: World) -> None:
    assert catalogue.load(world.store, DOCUMENT, by=OPERATOR) == {"accepted": 7, "unchanged": 0}
    before = len(world.entries("house"))
    assert catalogue.load(world.store, DOCUMENT, by=OPERATOR) == {"accepted": 0, "unchanged": 7}
    assert len(world.entries("house")) == before


def test_each_client_has_a_log_of_its_own_that_begins_with_it(world: World) -> None:
    catalogue.load(world.store, DOCUMENT, by=OPERATOR)
    with world.store.reading() as session:
        ids = session.execute(select(Client.id).order_by(Client.code)).scalars().all()
    types = [[entry["type"] for entry in world.entries(log_id)] for log_id in ids]
    assert types[0][0] == types[1][0] == "client.created"
    assert sorted(types[0][1:]) == ["dataset.created"] * 2 + ["project.created"] * 2


def test_changed_actions_are_taken_over(world: World) -> None:
    catalogue.load(world.store, DOCUMENT, by=OPERATOR)
    changed = {"clients": [], "entitlements": {"annotator": ["read", "export"]}}
    assert catalogue.load(world.store, changed, by=OPERATOR)["accepted"] == 1
    with world.store.reading() as session:
        row = entitlements.named(session, "annotator")
        assert [a.action for a in entitlements.actions_of(session, row)] == ["export", "read"]


@pytest.mark.parametrize(
    ("document", "error", "field"),
    [
        ([], errors.Invalid, "document"),
        ({}, errors.Invalid, "clients"),
        ({"clients": [{"code": "A"}]}, errors.Invalid, "clients.0.name"),
        ({"clients": [], "planets": []}, errors.Invalid, "planets"),
        ({"clients": [{"code": "", "name": "A"}]}, errors.Invalid, "code"),
        ({"clients": [{"code": "A", "name": "A", "projects": [{"code": "x", "datasets": ["d"]}]},
                      {"code": "B", "name": "B", "projects": [{"code": "x"}]}]},
         errors.AlreadyExists, "project"),
        ({"clients": [{"code": "A", "name": "A", "projects": [
            {"code": "x", "datasets": ["d"]}, {"code": "y", "datasets": ["d"]}]}]},
         errors.AlreadyExists, "dataset"),
    ],
)  # fmt: skip
@pytest.mark.web_alone
def test_a_document_that_makes_no_sense_is_refused_whole(
    world: World, document: Any, error: type[errors.GovernError], field: str
) -> None:
    with pytest.raises(error) as refusal:
        catalogue.load(world.store, document, by=OPERATOR)
    assert refusal.value.field == field
    with world.store.reading() as session:
        assert session.execute(select(func.count()).select_from(Client)).scalar_one() == 0


def test_a_dataset_may_have_a_type_of_its_own_that_is_a_word_and_no_kind_of_ours(
    world: World,
) -> None:
    def document(*datasets: Any) -> Any:
        project = {"code": "Kingfisher", "datasets": list(datasets)}
        return {"clients": [{"code": "ASTER", "name": "Aster Labs", "projects": [project]}]}

    for type_ in ("project", "dataset", "Bucket", "two words", "", "9", "a\0b", "ä", "x" * 81):
        with pytest.raises(errors.Invalid) as refusal:
            catalogue.load(world.store, document({"code": "audio", "type": type_}), by=OPERATOR)
        assert refusal.value.field == "type", type_
    given = document("text", {"code": "audio", "type": "bucket"}, {"code": "plain"})
    assert catalogue.load(world.store, given, by=OPERATOR)["accepted"] == 5
    with world.store.reading() as session:
        found = {row.code: row.type for row in session.execute(select(Dataset)).scalars()}
        client = session.execute(select(Client)).scalar_one()
    assert found == {"text": None, "audio": "bucket", "plain": None}
    told = [entry.get("data", {}) for entry in world.entries(client.id, "dataset.created")]
    assert sorted(told, key=len) == [{}, {}, {"type": "bucket"}]


def test_an_auditor_writes_no_catalogue(world: World) -> None:
    with pytest.raises(errors.Forbidden):
        catalogue.load(world.store, DOCUMENT, by=person(world.staff("auditor"), "auditor"))

"""Subjects: registered once, changed on record, known by one id and one address."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from govern import errors
from govern.identity import subjects
from govern.identity.subjects import Particulars, Subject
from tests.factory import OPERATOR, World, person, together

GOOD: dict[str, Any] = {
    "external_id": "P1", "email": "p1@people.example", "full_name": "Zoë Ångström",
    "kind": "annotator", "country": "KE",
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("external_id", ""), ("external_id", "x" * 81), ("external_id", "a\x00b"),
        ("external_id", "dave@people.example"), ("external_id", "P\u200b1"),
        ("email", ""), ("email", "no-at"), ("email", "a@b"), ("email", "a b@c.de"),
        ("email", "a@b@c.de"), ("email", "x" * 250 + "@c.de"), ("email", "a@.de"),
        ("full_name", " \t "), ("full_name", "x" * 201), ("full_name", "line\nbreak"),
        ("full_name", "line\u2028separator"), ("full_name", "\ud800"),
        ("full_name", "\u200b\u200d"), ("full_name", "\u3164"), ("full_name", "\u2800 \ufe0f"),
        ("full_name", "Ada \u202egnik"), ("full_name", "\u2067Ada\u2069"),
        ("organisation", "\u2060"), ("organisation", "Apt\u202d"), ("expertise", "\u200e"),
        ("kind", "wizard"), ("kind", ""), ("kind", "Annotator"),
        ("country", "Narnia"), ("country", "ke"), ("country", "XX"), ("country", ""),
        ("organisation", ""), ("expertise", "x" * 201),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused_by_the_name_of_its_field(field: str, value: str) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        Particulars.checked(**GOOD | {field: value})
    assert refusal.value.field == field


@pytest.mark.parametrize(
    "name",
    ["\u0645\u06cc\u200c\u062e", "ശ്രീ\u200dകാന്ത്", "क्\u200dष", "נועה\u200e", "👩\u200d🚀", "-"],
)
def test_names_keep_what_joins_and_parts_their_letters(name: str) -> None:
    assert Particulars.checked(**GOOD | {"full_name": name}).full_name == name


def test_spaces_are_trimmed_and_addresses_are_in_lower_case() -> None:
    given = Particulars.checked(
        **GOOD | {"external_id": " P1 ", "email": " P1@People.Example ", "full_name": "Tab\tand  x"}
    )
    assert (given.external_id, given.email, given.full_name) == (
        "P1",
        "p1@people.example",
        "Tab and x",
    )


def test_of_two_registrations_at_once_under_one_id_or_address_exactly_one_wins(
    world: World,
) -> None:
    world.subject()  # the firm is there already
    for number, other in enumerate(({"email": "else@people.example"}, {"external_id": "P-else"})):
        base = GOOD | {"external_id": f"R{number}", "email": f"r{number}@people.example"}
        both = [Particulars.checked(**base), Particulars.checked(**base | other)]
        results = together(
            world.store, *(lambda s, p=p: subjects.register(s, p, by=OPERATOR) for p in both)
        )
        assert sorted(type(result).__name__ for result in results) == ["AlreadyExists", "Subject"]


def test_people_of_one_new_firm_registered_at_once_all_belong_to_it(world: World) -> None:
    """Both made the firm, and one of them ended in the database's error."""
    gate = threading.Barrier(4)
    results: list[Any] = []

    def register(number: int) -> None:
        given = Particulars.checked(
            **GOOD | {"external_id": f"R{number}", "email": f"r{number}@people.example"},
            organisation="Northwind",
        )
        gate.wait()
        try:
            results.append(world.do(lambda s: subjects.register(s, given, by=OPERATOR)))
        except Exception as error:  # noqa: BLE001 - shown below
            results.append(error)

    threads = [threading.Thread(target=register, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {type(result) for result in results} == {Subject}
    with world.store.reading() as session:
        firms = {subjects.organisation_of(session, subject).id for subject in results}
    assert len(firms) == 1


def test_people_are_found_by_id_address_in_any_case_and_opaque_id(world: World) -> None:
    subject = world.subject("P1")
    with world.store.reading() as session:
        for reference in ("P1", " P1 ", "p1@people.example", "P1@PEOPLE.example", subject.id):
            assert subjects.find(session, reference).id == subject.id
        for reference in ("p1", "P2", "", "%", "else@people.example"):
            with pytest.raises(errors.Unknown):
                subjects.find(session, reference)


def test_a_change_is_recorded_by_the_names_of_its_fields_and_no_value(world: World) -> None:
    subject = world.subject()

    def change(session: Any) -> None:
        row = session.get_one(Subject, subject.id)
        subjects.change(session, row, full_name="New Name", country="KE", by=OPERATOR)

    world.do(change)
    (entry,) = world.entries("house", "subject.changed")
    assert entry["data"] == {"fields": ["full_name"]}
    assert set(entry["commit"]) == {"full_name", "actor"}
    assert "New Name" not in str(entry)
    world.do(change)  # the same again changes nothing
    assert len(world.entries("house", "subject.changed")) == 1


def test_no_entry_holds_a_personal_value(world: World) -> None:
    project = world.project()
    subject = world.subject("P-secret", organisation="Northwind")
    world.grant(subject, project)
    world.activate(subject)
    text = str([world.entries(log_id) for log_id in ("house", project.client_id)])
    for value in (subject.external_id, subject.email, subject.full_name, "Northwind", "Kingfisher"):
        assert value not in text


def test_an_auditor_registers_and_changes_nobody(world: World) -> None:
    auditor = person(world.staff("auditor"), "auditor")
    subject = world.subject()
    with pytest.raises(errors.Forbidden):
        world.do(lambda s: subjects.register(s, Particulars.checked(**GOOD), by=auditor))
    with pytest.raises(errors.Forbidden):
        world.do(
            lambda s: subjects.change(s, s.get_one(Subject, subject.id), full_name="X", by=auditor)
        )

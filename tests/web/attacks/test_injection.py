"""Injection: what is sent never becomes a header, a line of a log, or a formula."""

from __future__ import annotations

import csv
import io
import logging
from typing import TYPE_CHECKING, Any

import pytest

from govern import errors
from govern.access import clients, suspensions
from govern.audit.signer import Signer
from govern.identity import integrations, subjects
from tests.factory import OPERATOR
from tests.web.attacks import scene
from tests.web.test_surface import guard_of, rules
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from tests.factory import World

BREAKS = ("x\r\nSet-Cookie: evil=1", "x\nevil", "x\x1b[2Jevil", "x\x85evil", "x\x00evil", "x\x7f")


def formulas(world: World) -> scene.Scene:
    return scene.full(world, "=HYPERLINK({})")


@pytest.fixture
def beginning() -> Any:
    return formulas


def writes(world: World) -> dict[str, Callable[[str], object]]:
    """Each line of text that is kept, and the operation that takes it."""

    def subject(**changed: str) -> None:
        given = {
            "external_id": "P1", "email": "p1@people.example", "full_name": "One",
            "kind": "annotator", "organisation": "direct", "country": "KE",
        } | changed  # fmt: skip
        subjects.Particulars.checked(**given)

    return {
        "client name": lambda text: world.do(
            lambda s: clients.create_client(s, "B", name=text, by=OPERATOR)
        ),
        "client code": lambda text: world.do(
            lambda s: clients.create_client(s, text, name="B", by=OPERATOR)
        ),
        "integration": lambda text: world.do(
            lambda s: integrations.create(s, text, scopes=("decision",), by=OPERATOR)
        ),
        "entitlement": world.entitlement,
        "external_id": lambda text: subject(external_id=text),
        "full_name": lambda text: subject(full_name=text),
        "organisation": lambda text: subject(organisation=text),
        "email": lambda text: subject(email=f"{text}@people.example"),
        "incident": lambda text: world.suspend("project:Heron", incident=text + "\x00"),
    }


def refused(write: Callable[[str], object], text: str) -> bool:
    try:
        write(text)
    except errors.Invalid:
        return True
    return False


@pytest.mark.asvs("16.4.1")
def test_no_name_holds_a_line_break_or_a_control_character(world: World) -> None:
    for name, write in writes(world).items():
        for text in BREAKS:
            assert refused(write, text), f"{name} took {text!r}"


@pytest.mark.asvs("16.4.1")
@pytest.mark.web_alone
def test_no_request_writes_a_header_or_a_line_of_a_log(
    app: Flask, world: World, begun: scene.Scene, caplog: pytest.LogCaptureFixture
) -> None:
    world.seeds.update(begun.seeds)
    visitor = Visitor.of(app).seated(world, begun.people["admin"])
    names = (
        "next",
        "q",
        "after",
        "log",
        "type",
        "person",
        "from",
        "target",
        "redirect_uri",
        "state",
    )
    with caplog.at_level(logging.DEBUG):
        for text in BREAKS[:3]:
            for rule in rules(app):
                if "GET" not in (rule.methods or ()) or guard_of(app, rule) == "credentials":
                    continue
                where = begun.path(rule, **dict.fromkeys(begun.things, text))
                answer = visitor.get(where, query_string=dict.fromkeys(names, text))
                assert answer.status_code < 500, rule
                for header, value in answer.headers:
                    assert "evil" not in header
                    assert header != "Set-Cookie" or "evil" not in value
                    assert not set("\r\n\x1b") & set(value)
    for record in caplog.records:
        assert not set("\r\n\x1b\x85") & set(record.getMessage()), record.getMessage()


@pytest.mark.asvs("16.4.1")
def test_no_cell_of_an_export_is_a_formula_whichever_field_it_came_from(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    Signer(world.store.settings).sign(world.store)
    credentials = begun.things["integration_id"], begun.things["secret"]
    file = app.test_client().get("/api/v1/log/export?format=csv", auth=credentials)
    assert file.status_code == 200
    cells = [cell for row in csv.reader(io.StringIO(file.text)) for cell in row]
    assert [cell for cell in cells if cell.lstrip().startswith(tuple("=+-@\t\r"))] == []
    told = {name for number, name in begun.planted.numbers().items() if f"({number})" in file.text}
    # They are in it, as text: those that are recorded at all.
    assert {"client", "full name", "reason of a grant", "internal reason", "known"} <= told


def test_suspending_takes_a_file_whose_names_are_formulas_as_names(world: World) -> None:
    for text in ("=1+1", "+1", "-1", "@x"):
        names = suspensions.people.read(text.encode())
        with world.store.reading() as session, pytest.raises(errors.UnknownPeople):
            suspensions.people.targets(session, names, leave_out_unknown=False, by=OPERATOR)

"""The roster's pages: previewed in numbers and rows, explained, and taken in as it was shown."""

from __future__ import annotations

import csv
import io
import re
from html import unescape
from typing import TYPE_CHECKING

import pytest

from govern.web.pages import rosters
from tests.factory import roster_file, row
from tests.web.desks import desk, hidden, told

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from tests.factory import World
    from tests.web.visitor import Visitor


@pytest.fixture
def ada(app: Flask, world: World) -> Visitor:
    world.project(client=world.client())
    world.entitlement()
    return desk(app, world)


def sent(visitor: Visitor, content: bytes) -> TestResponse:
    return visitor.post("/roster/preview", {"file": (io.BytesIO(content), "roster.csv")})


def tiles(page: str) -> dict[str, str]:
    """The numbers at the head of the preview."""
    found = re.findall(r"<dt>([^<]+)</dt><dd>([\d,]+)", page)
    return {unescape(name): number for name, number in found}


def carried(page: str, *more: tuple[str, str]) -> dict[str, str]:
    """What the preview's act is sent with."""
    return {"content": hidden(page, "content"), "digest": hidden(page, "digest"), **dict(more)}


def test_a_roster_is_previewed_explained_and_taken_in_as_it_was_shown(
    world: World, ada: Visitor
) -> None:
    known = world.subject("P90001")
    content = roster_file(
        row("P90001", name="Ada New Name"),
        row("P90002"),
        row("P90003", name="=SUM(A1)", email="no address"),
        row("P90004", project="Nowhere"),
    ).getvalue()
    answer = sent(ada, content)
    assert answer.status_code == 200
    assert tiles(answer.text) == {
        "New people": "1", "People changed": "1", "Grants given": "2", "Grants revoked": "0",
        "Rows unchanged": "0", "Rows rejected": "2",
    }  # fmt: skip
    words = told(answer.text)
    assert "Ada New Name" in words
    assert "“no address” is not an e-mail address." in words
    assert "There is no project “Nowhere”." in words
    assert "2 grants on Kingfisher" in words
    assert ada.get("/people?q=P90002").text.count("P90002 ·") == 0, "a preview wrote something"

    form = carried(answer.text)
    faults = ada.post("/roster/rejected", form)
    lines = list(csv.DictReader(io.StringIO(faults.text)))
    assert [(one["line"], one["column"], one["external_id"]) for one in lines] == [
        ("4", "email", "P90003"), ("5", "project", "P90004"),
    ]  # fmt: skip
    assert lines[0]["full_name"] == "'=SUM(A1)"
    assert faults.headers["Content-Disposition"].startswith("attachment")

    unsaid = ada.post("/roster", form)
    assert unsaid.status_code == 422
    assert 'href="#f-skip_rejected"' in unsaid.text
    assert ada.post("/roster", {**form, "skip_rejected": "yes"}).status_code == 303
    with world.store.reading() as session:
        assert session.get_one(type(known), known.id).full_name == "Ada New Name"
    assert "P90002 ·" in told(ada.get("/projects/Kingfisher").text)
    again = sent(ada, content)
    assert tiles(again.text)["Rows unchanged"] == "2"
    assert "There is nothing to take in" in told(again.text)


def test_a_date_that_is_not_there_is_said_to_be_missing_and_an_old_one_has_its_whole_year(
    ada: Visitor,
) -> None:
    """An empty cell was “” that is not an instant, and the year 800 was written as 800."""
    words = told(
        sent(
            ada,
            roster_file(
                row("P90001", starts=""), row("P90002", ends="soon"),
                row("P90003", starts="0800-12-25T00:00:00Z"),
            ).getvalue(),
        ).text
    )  # fmt: skip
    assert "starts_at starts_at is missing." in words  # the column, and what is wrong with it
    assert "ends_at “soon” is not an instant with its offset" in words
    assert "0800-12-25" in words


def test_what_moved_since_the_preview_is_told_and_nothing_is_written(
    world: World, ada: Visitor
) -> None:
    page = sent(ada, roster_file(row("P90001"), row("P90002")).getvalue()).text
    world.suspend("project:Kingfisher")
    stale = ada.post("/roster", carried(page, ("skip_rejected", "yes")))
    assert stale.status_code == 409
    assert "Since the preview something changed" in told(stale.text)
    assert tiles(stale.text)["Rows rejected"] == "2"
    assert "P90001 ·" not in told(ada.get("/people").text)


def test_what_is_no_roster_is_refused_at_its_field(world: World, ada: Visitor, app: Flask) -> None:
    for content in (b"", b"a,b\n", b"\xff\xfe", b"x" * (rosters.MOST + 1)):
        answer = sent(ada, content)
        assert answer.status_code == 422, content[:9]
        assert 'href="#f-file"' in answer.text, content[:9]
    assert ada.post("/roster/preview", {}).status_code == 422
    for packed in ("", "?", "eJw="):
        answer = ada.post("/roster", {"content": packed, "digest": "0"})
        assert answer.status_code == 422, packed
    scoped = desk(app, world, client=world.client("BOREAL"))
    assert scoped.get("/roster").status_code == 403
    assert sent(scoped, roster_file(row("P90001")).getvalue()).status_code == 403
    assert "/roster" not in scoped.get("/people").text

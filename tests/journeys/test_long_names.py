"""Names of 200 letters without a space: they break, and no page is wider than its window."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from govern.access import clients, suspensions
from govern.access.suspensions import notices
from govern.identity import subjects
from govern.principal import SYSTEM
from tests.factory import OPERATOR, roster_file, row
from tests.journeys import story
from tests.journeys.test_pages import PICTURES, addresses, too_wide, walked
from tests.web.attacks import scene
from tests.web.desks import desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from tests.factory import World
    from tests.web.visitor import Visitor

PLACE = PICTURES.parent / "long-names"
LONG, CODE = "W" * 199, "W" * 79  # and a letter that tells one from another
SIZES = (story.DESK, story.PHONE)


@pytest.fixture
def beginning() -> Any:
    return long_named


def long_named(world: World) -> scene.Scene:
    """One of everything, its words as long as a code; and of what is walked most, as a name."""
    there = scene.full(world, f"{'W' * 76}{{}}")
    client = world.do(lambda s: clients.create_client(s, f"{CODE}c", name=f"{LONG}c", by=OPERATOR))
    project, other = (
        world.do(
            lambda s, code=code: clients.create_project(
                s, client, code, contact=f"{LONG}o", by=OPERATOR
            )
        )
        for code in (f"{CODE}p", f"{CODE}q")
    )
    world.dataset(project, f"{CODE}d")
    who = subjects.Particulars.checked(
        external_id=f"{CODE}i", email=f"{'w' * 60}@{'w' * 60}.example", full_name=f"{LONG}n",
        kind="annotator", organisation=f"{LONG}f", country="KE", expertise=f"{LONG}e",
    )  # fmt: skip
    person = world.do(lambda s: subjects.register(s, who, by=SYSTEM))
    for each in (project, other):
        world.grant(person, each, entitlement=world.entitlement(f"{CODE}e"))
    held = world.suspend(
        f"project:{other.code}", note=LONG, internal_reason=LONG, ordered_by=LONG, incident=CODE
    )
    words = notices.Words(known=LONG, not_known=LONG, contact=LONG)
    world.do(
        lambda s: notices.post(s, s.get_one(suspensions.Suspension, held.id), words, by=OPERATOR)
    )
    there.things |= {"long person": person.id, "long suspension": held.id}
    return there


def _of_these(app: Flask, world: World, there: scene.Scene) -> Iterator[tuple[str, Visitor]]:
    """The pages of what has the longest names."""
    admin = desk(app, world)
    project, client = f"{CODE}p", f"{CODE}c"
    yield f"/projects/{project}", admin
    yield f"/projects/{CODE}q", admin
    yield f"/clients/{client}", admin
    yield f"/people/{there.things['long person']}", admin
    for page in ("", "/record", "/effect"):
        yield f"/suspensions/{there.things['long suspension']}{page}", admin
    yield f"/pause?target=client:{client}&q={CODE}", admin
    yield f"/pause/preview?target=client:{client}&target=organisation:{LONG}f", admin
    yield f"/who?target=project:{project}", admin
    yield f"/who?target=project:{project}&from=2026-01-01T00:00:00", admin
    for target in (f"project:{project}", f"client:{client}", f"person:{CODE}i"):
        yield f"/timeline?target={quote(target)}", admin
    yield f"/search?q={CODE}", admin
    yield f"/people?q={CODE}", admin
    yield f"/lists/people?organisation={LONG}f", admin


@pytest.mark.browser
@pytest.mark.web_alone
@pytest.mark.timeout(600)
def test_no_page_is_wider_than_its_window_however_long_a_name_is(
    app: Flask, world: World, begun: scene.Scene
) -> None:
    """A name that cannot break pushed the rest of a table out of sight."""
    world.seeds.update(begun.seeds)
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    roster = roster_file(
        row("P90001", name=f"{LONG}m", organisation=f"{LONG}g", client=f"{CODE}c",
            project=f"{CODE}p", entitlement=f"{CODE}e", dataset=f"{CODE}d"),
        row(f"{CODE}j", name=f"{LONG}k", client=f"{CODE}c", project=f"{CODE}p",
            entitlement=f"{CODE}e"),
        row(f"{CODE}i", email=f"{'w' * 60}@{'w' * 60}.example", name=f"{LONG}x",
            organisation=f"{LONG}g", client=f"{CODE}c", project=f"{CODE}p",
            entitlement=f"{CODE}e"),
        row(f"{CODE}l", email=LONG),
    ).getvalue()  # fmt: skip
    pages = [*_of_these(app, world, begun), *addresses(app, world, begun)]
    wrong, opened = [], 0
    for where, page in walked(app, pages):
        if where == "/roster":
            file = {"name": "roster.csv", "mimeType": "text/csv", "buffer": roster}
            page.set_input_files('input[type="file"]', [file])  # type: ignore[list-item]
            page.click('main button[type="submit"]')
            assert page.locator("#s-granted").count(), page.content()
        opened += 1
        for size in SIZES:
            page.set_viewport_size(size)
            faults = too_wide(page)
            wrong += [f"{where[:40]}, {size['width']}: {fault}" for fault in faults]
            if opened < 20 or faults:
                page.screenshot(path=PLACE / f"{opened}-{size['width']}.png", full_page=True)
    assert opened > 70
    assert wrong == [], "\n" + "\n".join(wrong)

"""Roles on a person's page: given and taken back, in force with the holder's next click."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.desks import desk, told
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


@pytest.mark.asvs("8.3.2")
def test_a_role_counts_from_the_next_click_and_no_longer_once_it_is_taken_back(
    world: World, app: Flask
) -> None:
    client, person = world.client(), world.subject(kind="staff")
    world.grant(person, world.project(client=client))
    world.activate(person)
    admin, browser = desk(app, world, client=client), Visitor.of(app).seated(world, person)
    assert browser.get("/requests").status_code == 403
    page, form = f"/people/{person.id}", {"role": "approver", "client": client.code}
    assert "Give a role" in admin.get(page).text
    assert admin.post(f"{page}/roles", form).status_code == 422  # no reason
    assert admin.post(f"{page}/roles", form | {"reason": "on call"}).status_code == 303
    assert "Nothing waits" in told(browser.get("/requests").text)
    # An auditor takes the log away, which no admin may: that is more than the giver holds.
    more = form | {"role": "auditor", "reason": "curious"}
    assert admin.post(f"{page}/roles", more).status_code == 403
    (taken,) = world.entries(client.id, "role.assigned")[-1:]
    role = taken["refs"]["role"]
    done = admin.post(f"{page}/roles/{role}/withdraw", {"reason": "off call"})
    assert done.status_code == 303
    assert browser.get("/requests").status_code == 403

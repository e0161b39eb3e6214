"""The way back, on the pages: asked for, approved, called off, used, and a forgotten password."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pyotp
import pytest

from govern import clock
from govern.access import recovering
from govern.identity import recovery
from tests.factory import OPERATOR, SECOND
from tests.web.desks import desk, hidden, told
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from govern.db import Session
    from tests.factory import World

CHOSEN = "another long enough phrase"


@pytest.mark.asvs("2.3.5", "6.4.4", "2.3.1")
def test_one_admin_asks_another_approves_and_the_person_is_back_a_day_later(
    app: Flask, world: World
) -> None:
    subject = world.subject()
    world.activate(subject)
    ann, bob = desk(app, world), desk(app, world)
    page = ann.get(f"/people/{subject.id}").text
    assert "Ask for a recovery" in page
    assert "activation link" not in page.lower()
    assert "Please say why" in ann.post(f"/people/{subject.id}/recovery").text
    asked = ann.post(f"/people/{subject.id}/recovery", {"reason": "She lost her phone."})
    request = asked.headers["Location"]
    assert "You asked for this yourself" in ann.get(request).text
    assert "It awaits a second person." in bob.get(f"/people/{subject.id}").text
    assert f"Let {subject.full_name} back in" in bob.get("/").text
    page = bob.get(request).text
    assert "She lost her phone." in page
    assert "Approve only if you know that it is them" in told(page)
    done = bob.post(request, {"decision": "approve"})
    link = re.search(r"http://[^/]+(/recover/[\w-]+)", done.text)
    assert link is not None
    assert link[1] not in bob.get(request).text, "it is shown in that one answer"

    new = Visitor.of(app)
    early = new.get(link[1])
    assert early.status_code == 404
    assert "does not work yet" in early.text
    with clock.at(clock.utcnow() + recovery.COOLING + timedelta(minutes=1)):
        assert "Recover your account" in new.get(link[1]).text
        sent = {"step": "password", "password": CHOSEN, "password_again": CHOSEN}
        page = new.post(link[1], sent).text
        seed = re.search(r"[A-Z2-7]{4}(?: [A-Z2-7]{4}){7}", told(page))
        assert seed is not None
        code = pyotp.TOTP(seed[0].replace(" ", "")).at(clock.utcnow())
        sealed = hidden(page, "sealed")
        page = new.post(link[1], {"step": "authenticator", "sealed": sealed, "code": code}).text
        kept = {"step": "recovery", "sealed": hidden(page, "sealed"), "saved": "yes"}
        assert new.post(link[1], kept).headers["Location"] == "/sign-in"
        assert new.get(link[1]).status_code == 404


def test_a_recovery_is_called_off_from_ones_account_by_an_admin_or_by_the_notices_link(
    app: Flask, world: World
) -> None:
    subject = world.subject()
    world.activate(subject)
    ann = desk(app, world)
    own = Visitor.of(app).seated(world, subject)

    def begun() -> str:
        request = world.do(
            lambda s: recovering.ask(s, s.merge(subject), reason="lost", by=OPERATOR)
        )
        world.approve(request, by=SECOND)

        def look(session: Session) -> str:
            row = recovery.pending(session, subject.id)
            found = recovery.links(session, row) if row is not None else None
            return found[1] if found is not None else ""

        token: str = world.do(look)
        return token

    begun()
    assert "Two admins agreed to recover your account" in own.get("/account").text
    assert own.post("/account/recovery/cancel").status_code == 303
    late = own.post("/account/recovery/cancel")
    assert late.status_code == 409
    assert "No recovery is under way any more." in told(late.text)
    assert "How you sign in" in late.text
    assert "Two admins agreed" not in late.text
    begun()
    assert "A recovery of this account is under way" in ann.get(f"/people/{subject.id}").text
    assert ann.post(f"/people/{subject.id}/recovery/cancel").status_code == 303
    token = begun()
    stranger = Visitor.of(app)
    page = stranger.get(f"/recover/cancel/{token}")
    assert subject.email in page.text
    assert "A recovery of this account" in ann.get(f"/people/{subject.id}").text, "a look is no act"
    assert "Called off." in stranger.post(f"/recover/cancel/{token}").text
    assert stranger.get(f"/recover/cancel/{token}").status_code == 404
    assert "A recovery of this account" not in ann.get(f"/people/{subject.id}").text

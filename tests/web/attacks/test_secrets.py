"""Secrets: nothing that anybody typed to prove who they are is in a log, a record or an answer."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from govern import clock
from govern.identity import activation
from govern.principal import SYSTEM
from tests.factory import PASSWORD
from tests.web.oauth.flow import Flow
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World


def stored(world: World) -> str:
    """Every value of every column of both databases."""
    found = []
    for reading in (world.store.reading, world.store.access_reading):
        with reading() as session:
            names = (
                "SELECT name FROM sqlite_master WHERE type = 'table'"
                if not world.store.is_postgresql
                else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
            for table in session.execute(text(names)).scalars():
                rows = session.execute(text(f'SELECT * FROM "{table}"'))
                found += [repr(value) for row in rows for value in row]
    return "\n".join(found)


@pytest.mark.asvs("16.2.5", "16.3.1", "13.3.1", "6.5.2")
def test_no_secret_that_was_typed_or_told_is_kept_or_logged(
    app: Flask, world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    flow = Flow.of(app, world)
    person = world.staff("admin")
    link = world.do(lambda s: activation.issue(s, person, by=SYSTEM))
    codes = world.activate(person)
    wrong = {
        "password": "not the right horse",
        "code": "918273",
        "recovery": "ZZZZ0000ZZZZ0000ZZZZ",
    }
    secrets = {"the link": link, "the password": PASSWORD, "the seed": world.seeds[person.id]}
    secrets |= {f"recovery code {number}": code for number, code in enumerate(codes)}
    secrets |= {f"recovery code {number}, plain": code.replace("-", "")
                for number, code in enumerate(codes)}  # fmt: skip
    secrets |= {f"a wrong {name}": value for name, value in wrong.items()}
    with caplog.at_level(logging.DEBUG):
        visitor = Visitor.of(app)
        visitor.get(f"/activate/{link}")
        visitor.post("/sign-in", {"email": person.email, "password": wrong["password"]})
        visitor.post("/sign-in", {"email": person.email, "password": PASSWORD})
        secrets["the half-way token"] = cookie(visitor)
        visitor.post("/sign-in/code", {"code": wrong["code"]})
        visitor.post("/sign-in/code", {"recovery_code": wrong["recovery"]})
        later = clock.utcnow() + timedelta(seconds=30)
        with clock.at(later):
            code = world.code(person, at=later)
            visitor.post("/sign-in/code", {"code": code})
        secrets["the token"] = cookie(visitor)
        visitor.get("/account")
        client = app.test_client()
        client.get("/api/v1/clients", auth=(flow.tool.row.id, "no such secret"))
        client.get(
            f"/api/v1/clients?token={link}", headers={"Authorization": "Bearer forged.to.ken"}
        )
        secrets |= {"the tool's": flow.tool.secret, "a wrong secret": "no such secret",
                    "a forged token": "forged.to.ken"}  # fmt: skip
        answer = flow.answer()
        secrets["the code of oauth"] = answer["code"]
        secrets["the access token"] = flow.redeem(answer["code"]).json["access_token"]
        visitor.client.set_cookie("session", "a-stolen-session-token")
        visitor.get("/people?q=x")
        secrets["a stolen token"] = "a-stolen-session-token"
    out, err = capfd.readouterr()
    logged = "\n".join([out, err, *(record.getMessage() for record in caplog.records)])
    kept = stored(world)
    assert len(kept) > 10_000
    for name, secret in secrets.items():
        assert secret not in logged, f"{name} is logged"
        assert secret not in kept, f"{name} is kept"
    opened = world.entries("house", "session.opened")
    amr = [entry["data"]["amr"] for entry in opened if entry["refs"]["subject"] == person.id]
    assert amr == [["pwd", "otp", "mfa"]]
    failed = world.entries("house", "sign_in.failed")
    assert len(failed) == 4  # the wrong secret of a tool is one


def cookie(visitor: Visitor) -> str:
    found = visitor.client.get_cookie("session")
    assert found is not None
    return found.value

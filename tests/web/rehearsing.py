"""Two clients with one of everything, everybody who may call, and acts that stop at the commit.

A request that would have written to a log is turned back just before its commit, as if the
database had failed then: so one world serves for thousands of attempts, and none changes it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event, select, text

from govern import clock
from govern.access import asking, bulk, questions, suspensions
from govern.access.clients import Client
from govern.access.lists import Asked
from govern.access.suspension_tables import Suspension
from govern.identity import federation, roles, sessions
from govern.identity.sessions import WebSession
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal
from govern.web import guard
from tests.factory import OPERATOR, PASSWORD, SECOND
from tests.web.api.caller import filled
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from sqlalchemy import Connection
    from werkzeug.test import TestResponse

    from govern.access.requests import Request
    from govern.db import Database, Session
    from tests.factory import World

Things = dict[str, str]
ROLES = {
    "contractor": None, "suspended": "admin", "auditor": "auditor", "auditor_of_a": "auditor",
    "admin_of_a": "admin", "approver": "approver", "approver_of_a": "approver", "admin": "admin",
}  # fmt: skip
LATER = timedelta(minutes=1)  # than anyone's second factor
PEOPLE = ("anonymous", "half_way", *ROLES)
SCOPES = {
    "decision": ("decision",), "decision_of_a": ("decision",), "introspect": ("introspect",),
    "audit": ("audit.read",), "audit_of_a": ("audit.read",), "api": ("api",), "api_of_a": ("api",),
    "scim": ("scim", "ssf"),
}  # fmt: skip
PROGRAMS = ("nobody", "browser", *SCOPES)


@dataclass
class Cast:
    """What `beginning` made: the things of clients A and B, and who may call, by their ids."""

    a: Things
    b: Things
    people: dict[str, str] = field(default_factory=dict)
    programs: dict[str, tuple[str, str]] = field(default_factory=dict)
    seeds: dict[str, str] = field(default_factory=dict)


def beginning(world: World) -> Cast:
    """Fill a world."""
    world.subject(organisation="Elsewhere")
    cast = Cast(things(world, "ASTER"), things(world, "BOREAL"))
    with world.store.reading() as session:
        own = session.get_one(Client, cast.a["client"])
    for name, role in ROLES.items():
        limited = own if name.endswith("_of_a") else None
        if role is None:
            with world.store.reading() as session:
                person = session.get_one(Subject, cast.a["subject"])
        else:
            person = world.staff(role, client=limited)
            world.activate(person)
        cast.people[name] = person.id
        if name == "suspended":
            world.suspend(f"subject:{person.external_id}")
    for name, scopes in SCOPES.items():
        limited = [own.id] if name.endswith("_of_a") else []
        row, secret = world.integration(f"program {name}", scopes=scopes, clients=limited)
        cast.programs[name] = (row.id, secret)
    cast.seeds = world.seeds
    return cast


def things(world: World, code: str) -> Things:
    """One of everything that belongs to a client, by the name that addresses and forms give it.

    The project of `filled` is paused, with a lift asked for. Of three more, nothing stops `open`,
    `spare` and a dataset are paused, and `timed` is until a time at which two people resume it.
    """
    found = filled(world, code)
    with world.store.reading() as session:
        client = session.get_one(Client, found["client"])
        person = session.get_one(Subject, found["subject"])
    free = world.project(f"{code}-open", client=client)
    timed = world.project(f"{code}-timed", client=client)
    grant = world.grant(person, free)
    world.grant(person, timed)
    lasting = world.suspend(
        f"project:{timed.code}", note=f"{code} asked.", internal_reason=f"{code} is late",
        ordered_by=f"Mx {code}", incident=f"{code}-17",
    )  # fmt: skip
    plain = world.suspend(f"project:{code}-spare", f"dataset:{code}-data")
    world.grant(world.subject(f"{code}-hired", organisation=f"{code} Staffing"), free)
    chief = world.staff("admin", client=client, name=f"{code}-chief")
    world.write_particulars()
    later = clock.utcnow() + timedelta(days=20)
    demand = world.demand(f"project:{timed.code}", starts=later)
    in_a_day = clock.utcnow() + timedelta(hours=20)
    provider = world.do(
        lambda s: federation.create(
            s, "Company", issuer=f"https://{person.id}.invalid", client_id="govern",
            client_secret="a secret between two", by=OPERATOR,
        )
    )  # fmt: skip
    link = world.do(lambda s: federation.link(s, person, provider.id, sub="someone", by=OPERATOR))
    number = 1
    asker = Principal(kind=Kind.SUBJECT, id=person.id, roles=(), amr=("pwd",))
    question = world.do(lambda s: questions.ask(s, free.code, f"{code}, why?", by=asker))

    bundle = world.entitlement("annotator")
    asked = world.do(
        lambda s: asking.ask(
            s, person, timed, bundle, until=later, reason=f"{code}, please", by=asker
        )
    )

    def ask(session: Session) -> Request:
        row = session.get_one(Suspension, lasting.id)
        return suspensions.ask_lift(session, row, number=number, at=in_a_day, by=OPERATOR)

    world.approve(world.do(ask), by=SECOND)
    world.activate(person)
    sessions.begin(world.store, person.email, PASSWORD)
    with world.store.reading() as session:
        digests = [
            suspensions.returning_digest(session, session.get_one(Suspension, one.id))
            for one in (plain, lasting)
        ]
        listed = Asked(filters={"project": free.code})
        listed_digest = bulk.preview(session, bulk.ACTS["revoke"], listed, by=OPERATOR).digest
        (role,) = roles.given(session, subject=chief.id, by=OPERATOR)
        notice = suspensions.notices.versions(session, [lasting.id])[lasting.id][0].id
        begun = select(WebSession.id).where(WebSession.subject_id == person.id)
        session_id = session.execute(begun).scalar_one()
    return found | {
        "name": code, "project_code": f"{code}-project", "spare": f"{code}-spare",
        "open": free.code, "open_id": free.id, "timed": timed.code, "dataset_code": f"{code}-data",
        "person": person.external_id, "open_grant": grant.id, "notice": notice,
        "lasting": lasting.id, "plain": plain.id, "session": session_id,
        "chief": chief.id, "role": role.id,
        "question": question.id, "asked": asked.id, "demand": demand.id,
        "provider_id": provider.id, "link_id": link.id,
        "digest": digests[0], "list_digest": listed_digest, "lasting_digest": digests[1],
    }  # fmt: skip


def leaks(answer: TestResponse, things: Things, sent: str) -> list[str]:
    """What an answer tells of a client, but for what the caller sent: words and opaque ids.

    And where a row stands in the access log: two such places tell how much others asked between.
    """
    told = f"{answer.headers}\n{answer.get_data(as_text=True)}"
    for word in sorted(set(re.findall(r"[\w-]+", sent)), key=len, reverse=True):
        told = told.replace(word, "")
    ids = {one for one in things.values() if re.fullmatch(r"[a-z]{3}_\w{20,}", one)}
    near = [
        told[max(0, found.start() - 80) : found.end() + 80]
        for found in re.finditer(things["name"], told, re.IGNORECASE)
    ]
    return near + [one for one in ids if one in told] + re.findall(r"wri_\w+", told)


# --- asking ------------------------------------------------------------------------------------


class TurnedBack(BaseException):
    """A commit that would have added to a log; nothing on the way may take it for a failure."""


@contextmanager
def nothing_is_committed(store: Database) -> Iterator[None]:
    """Turn every transaction back that would add to a log."""
    question = "SELECT SUM(size) FROM log"
    with store.reading() as session:
        before = session.execute(text(question)).scalar_one()

    def turn_back(connection: Connection) -> None:
        if connection.engine.url != store.writer.url:
            return
        driver: Any = connection.connection.driver_connection
        if driver.execute(question).fetchone()[0] != before:
            driver.rollback()
            raise TurnedBack

    event.listen(Engine, "commit", turn_back)
    try:
        yield
    finally:
        event.remove(Engine, "commit", turn_back)
    with store.reading() as session:
        assert session.execute(text(question)).scalar_one() == before


def seats(app: Flask, world: World, cast: Cast, *names: str) -> dict[str, Visitor]:
    """A browser for each sort of person (or these), signed in as far as they get."""
    world.seeds.update(cast.seeds)
    found = {}
    for name in names or PEOPLE:
        browser = found[name] = Visitor.of(app)
        if name == "anonymous":
            browser.get("/sign-in")
            continue
        with world.store.reading() as session:
            person = session.get_one(Subject, cast.people.get(name, cast.people["admin"]))
        if name == "half_way":
            browser.client.set_cookie(
                guard.COOKIE, sessions.begin(world.store, person.email, PASSWORD)
            )
            browser.get("/sign-in/code")
        else:
            browser.seated(world, person)
    return found

"""What a page costs: twelve statements at most, and none more for more rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import pytest

from govern import clock
from govern.access import asking, entitlements, questions, suspensions
from govern.access.clients import Client, Project
from govern.access.modes import Mode
from govern.access.suspension_tables import Suspension
from govern.access.suspensions import keeping, notices
from govern.audit.signer import Signer
from govern.identity import subjects
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal
from tests.factory import OPERATOR, SECOND
from tests.web import rehearsing
from tests.web.desks import counted
from tests.web.rehearsing import PEOPLE
from tests.web.test_matrix import WRITTEN, address, routes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask import Flask

    from govern.access.requests import Request
    from govern.db import Session
    from tests.conftest import Beginning
    from tests.factory import World
    from tests.web.rehearsing import Cast, Things
    from tests.web.visitor import Visitor

MOST = 12
# Asked for with few things, too, and by who sees one client alone.
CORE = (
    "/", "/people", "/requests", "/projects/<code>", "/people/<subject_id>", "/demands",
    "/questions", "/status", "/suspensions/{wide}", "/suspensions/{wide}/lift", "/log", "/calendar",
    "/pause/preview?target=client:{name}&target=dataset:{dataset_code}&subject={person}",
    "/timeline?target=client:{name}&from={before}",
)  # fmt: skip
_NUMBERS = count()
# Whose pages: each is asked for once, with many things, by whom the matrix of routes answers it.
# Either database is sent the same statements: so SQLite stands for both.
READERS = ("admin", "contractor", "suspended")
LIMITED = ("admin_of_a", "auditor_of_a")
# What people type into filters, and what their addresses name besides that of the matrix.
TYPED = (
    "/people?q=aster", "/people?q=person", "/people?state=suspended&kind=annotator",
    "/people?organisation=direct", "/projects/{open}?q=aster&status=in_force", "/search?q=aster",
    "/projects/{project_code}?status=held", "/projects/{project_code}?sort=ends", "/pause?q=aster",
    "/pause/preview?target=client:{name}&target=dataset:{dataset_code}&subject={person}",
    "/timeline?target=client:{name}&from={before}", "/timeline?target=person:{person}",
    "/timeline?target=dataset:{dataset_code}", "/log", "/log?person={person}&project={open}",
    "/log?actor={person}&type=grant.issued", "/log/changes?since={before}", "/log/changes",
    "/log/access?person={person}", "/log/access?project={open}",
    "/log/access?integration=ASTER-tool", "/log/access?mine=1&outcome=deny&kind=read",
    "/people/{subject}/history?from={before}",
    "/calendar?day={day}", "/demands/new?over=client:{name}&factor=second_factor",
    "/demands/new?over=role:admin&factor=phishing_resistant", "/components",
    *(f"/suspensions/{{{one}}}{page}" for one in ("lasting", "wide")
      for page in ("", "/record", "/effect", "/progress", "/receipt", "/lift", "/resume",
                   "/lift?group=held_elsewhere")),
    *(f"/requests/{{{one}}}" for one in ("narrows", "releases", "moves", "asks")),
)  # fmt: skip


@pytest.fixture
def beginning() -> Beginning:
    return rehearsing.beginning


def widened(world: World, cast: Cast) -> Cast:
    """A world with one of everything, and a little more of it."""
    a = dict(cast.a)
    cast = replace(cast, a=a)
    a["before"] = clock.utcnow().strftime("%Y-%m-%dT%H:%M:%S.%f")
    a["day"] = (clock.utcnow() + timedelta(days=30)).strftime("%Y-%m-%d")
    with world.store.reading() as session:
        client = session.get_one(Client, a["client"])
        one = session.get_one(Subject, a["subject"])
    wide, reviewed = (world.project(f"ASTER-{name}", client=client) for name in ("wide", "review"))
    for number in range(16):
        world.grant(world.subject(f"ASTER-wide{number}", organisation="Held Staffing"), wide)
    world.grant(one, wide)
    a["wide"] = world.suspend(f"project:{wide.code}", note="Wait.").id
    a["wide_code"] = wide.code
    world.suspend("organisation:Held Staffing")
    world.suspend(f"project:{reviewed.code}", mode=Mode.UNDER_REVIEW)
    world.write_particulars()
    a |= _requests(world, a, one, reviewed, "ASTER-wide0")
    over = world.suspend(f"project:{a['open']}", note="It is over.")
    world.write_particulars()
    world.lift(over)
    a["over"] = over.id
    add(world, cast, 2)
    return cast


def _requests(
    world: World, a: Things, one: Subject, reviewed: Project, moving: str
) -> dict[str, str]:
    """One request of each kind that waits, besides to lift."""

    def narrows(session: Session) -> Request:
        row = session.get_one(Suspension, a["plain"])
        targets = [suspensions.target(session, f"dataset:{a['dataset_code']}")]
        return suspensions.ask_narrow(session, row, targets, reason="less", by=OPERATOR)

    def releases(session: Session) -> Request:
        row = session.get_one(Suspension, a["lasting"])
        return suspensions.ask_release(session, row, [one], reason="needed", by=OPERATOR)

    def moves(session: Session) -> Request | None:
        person = subjects.find(session, moving)
        elsewhere = subjects.organisation_named(session, "Elsewhere")
        return suspensions.move(session, person, elsewhere, reason="moved", by=OPERATOR)

    def asks(session: Session) -> Request:
        return asking.ask(
            session, one, reviewed, entitlements.named(session, "annotator"),
            until=clock.utcnow() + timedelta(days=9), reason="work", by=OPERATOR,
        )  # fmt: skip

    works = {"narrows": narrows, "releases": releases, "moves": moves, "asks": asks}
    return {name: world.do(work).id for name, work in works.items()}


@pytest.mark.web_alone  # a page asks the same of both
def test_pages_take_twelve_statements_at_most_and_none_more_for_more_rows(
    world: World, app: Flask, begun: Cast
) -> None:
    cast = widened(world, begun)
    seats = rehearsing.seats(app, world, cast, *READERS, *LIMITED)
    pages = list(addresses(app, cast.a))
    core = [page for page in pages if page.name in CORE]
    assert {page.name for page in core if page.reader in READERS} == set(CORE)
    # A factor that is no longer fresh: then forms look for the ways to show one, too.
    with clock.at(clock.utcnow() + timedelta(minutes=7)):
        for seat in seats.values():
            seat.client.get("/account")  # once a minute a session's use is noted, by whatever page
        few = {page: costs(seats[page.reader], page) for page in core}
        add(world, cast, 4)
        many = {
            page: costs(seats[page.reader], page)
            for page in pages
            if page.reader in READERS or page in core
        }
    dear = {page: sent for page, sent in many.items() if len(sent) > MOST}
    assert not dear, told(dear)
    growing = [page for page in core if len(many[page]) > len(few[page])]
    assert not growing, told({page: [*few[page], "NOW", *many[page]] for page in growing})


def told(pages: Mapping[object, list[str]]) -> str:
    """The statements of some pages, each as far as it tells what it is for."""
    return "".join(
        f"\n{page}: {len(sent)}\n" + "\n".join(f"  {' '.join(one.split())[:200]}" for one in sent)
        for page, sent in pages.items()
    )


class Page(NamedTuple):
    """A page as one reader asks for it; its name is the rule, or the address as it is typed."""

    reader: str
    name: str
    path: str


def addresses(app: Flask, things: Things) -> Iterator[Page]:
    """Each page with each reader whom the matrix answers it."""
    readers = (*READERS, *LIMITED)
    for name, rule, method in routes(app, programs=False):
        cells = dict(zip(PEOPLE, WRITTEN["people"].get(name, "").split(), strict=True))
        if method == "GET":
            path = address(name, rule, things)
            for reader in readers:
                if cells[reader].startswith("200"):
                    yield Page(reader, rule.rule, path)
    for typed in TYPED:
        for reader in ("admin", *LIMITED):
            yield Page(reader, typed, typed.format_map(things))


def costs(seat: Visitor, page: Page) -> list[str]:
    """The statements of a page that nobody looked at before; none where it is not theirs."""
    keeping._kept.clear()
    with counted() as sent:
        answer = seat.client.get(page.path)
    assert answer.status_code < 500, page
    shown = answer.status_code == 200 and answer.mimetype in ("text/html", "application/json")
    return sent if shown else []


def add(world: World, cast: Cast, number: int) -> None:
    """So many more of everything that a page of client A may show."""
    for _ in range(number):
        _one_more(world, cast.a, next(_NUMBERS))
    world.write_particulars()
    Signer(world.store.settings).sign(world.store)


def _one_more(world: World, a: Things, number: int) -> None:
    name = f"ASTER-more{number}"
    with world.store.reading() as session:
        client = session.get_one(Client, a["client"])
        free = session.get_one(Project, a["open_id"])
        one = session.get_one(Subject, a["subject"])
    theirs = Principal(kind=Kind.SUBJECT, id=one.id, roles=(), amr=("pwd",))
    place, gone = (world.project(f"{name}-{word}", client=client) for word in ("held", "gone"))
    other = world.subject(f"{name}-person", organisation=f"{name} Staffing")
    for project in (place, gone):
        world.dataset(project, f"{project.code}-data")
        world.grant(one, project)
        world.grant(other, project)
    world.grant(other, free)
    world.dataset(free, f"{name}-data")
    over = world.suspend(f"project:{gone.code}", note="It is over.")
    held = world.suspend(f"project:{place.code}", f"dataset:{name}-data", note="Wait.")
    world.suspend(f"people:{world.people_list(other).id}", note="We talk to you.")
    world.suspend(f"subject:{other.external_id}", f"organisation:{name} Staffing")
    world.write_particulars()
    world.lift(over)
    world.ask_lift(held, by=OPERATOR)
    world.demand(f"project:{place.code}")
    world.integration(name, clients=[client.id])
    world.staff("auditor", client=client, name=f"{name}-auditor")
    world.drill(f"project:{place.code}")
    world.ask(one, free)
    world.do(lambda s: questions.ask(s, place.code, f"{number}?", by=theirs))
    for id_ in (a["wide"], a["lasting"]):
        world.do(
            lambda s, id_=id_: notices.post(
                s, s.get_one(Suspension, id_), notices.Words(known=name), by=OPERATOR
            )
        )
    if number:  # the first waits to be decided
        _let_out(world, a["wide"], f"ASTER-wide{number}")


def _let_out(world: World, suspension_id: str, person: str) -> None:
    def ask(session: Session) -> Request:
        row = session.get_one(Suspension, suspension_id)
        out = [subjects.find(session, person)]
        return suspensions.ask_release(session, row, out, reason="needed", by=OPERATOR)

    world.approve(world.do(ask), by=SECOND)

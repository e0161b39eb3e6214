"""The firms that a client's reader sees: those whose people hold or held something there, found in
so many steps a page, however the people of firms and clients lie among one another."""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from govern import errors
from govern.access import lists, suspensions
from govern.access.lists import LISTS
from govern.identity import subjects
from govern.identity.subjects import Organisation
from govern.principal import Kind, Principal, RoleHeld
from tests.factory import OPERATOR

if TYPE_CHECKING:
    from govern.access.clients import Client
    from govern.db import Session
    from govern.identity.subjects import Subject
    from tests.factory import World

FIRMS = ["Apt", "Bright", "Cedar", "direct", "Elm", "Empty", "Ælfgar & Söhne", "Ghost"]


def _admin_of(*clients: Client) -> Principal:
    roles = tuple(RoleHeld("admin", client.id) for client in clients)
    return Principal(kind=Kind.SUBJECT, id="", roles=roles, amr=())


def _peopled(world: World, seed: int) -> dict[str, set[str]]:
    """People of firms with grants on two clients' projects, some over, some moved since.

    The names of the firms that each client's reader is to see.
    """
    draw = random.Random(seed)
    clients = [world.client("ASTER"), world.client("BOREAL")]
    places = [world.project(f"{one.code}-{n}", client=one) for one in clients for n in range(3)]
    world.do(lambda session: [subjects.ensure_organisation(session, name) for name in FIRMS])
    belongs: dict[Subject, str] = {}
    known: dict[Subject, set[str]] = {}
    for number in range(40):
        firm = draw.choice([*FIRMS[:5], FIRMS[6]])
        person = world.subject(f"P{number}", organisation=firm)
        belongs[person], known[person] = firm, set()
        # Of some firms few or none are of a client, whose others lie between them.
        usual = clients[firm in ("Bright", "Elm")]
        for place in draw.sample(places, draw.randrange(3)):
            if place.client_id == usual.id or draw.random() < 0.03:
                grant = world.grant(person, place)
                known[person].add(place.client_id)
                if draw.random() < 0.3:
                    world.revoke(grant)
    for person in draw.sample(sorted(belongs, key=lambda one: one.id), 8):
        belongs[person] = _move(world, person, draw.choice(FIRMS[:5]))
    return {
        client.id: {belongs[person] for person in belongs if client.id in known[person]}
        for client in clients
    }


def _move(world: World, person: Subject, firm: str) -> str:
    def work(session: Session) -> None:
        own = session.merge(person)
        organisation = subjects.organisation_named(session, firm)
        if subjects.organisation_of(session, own).name != firm:
            suspensions.move(session, own, organisation, reason="theirs", by=OPERATOR)

    world.do(work)
    return firm


def _read(
    world: World,
    by: Principal,
    *,
    looked_at: int | None,
    limit: int = 25,
    sort: str = "",
    **narrow: str,
) -> tuple[list[str], list[str]]:
    """The names on all pages, one after the other; and the tokens that led from one to the next."""
    asked = lists.Asked(filters=narrow, sort=sort)
    found: list[str] = []
    tokens: list[str] = []
    after: str | None = ""
    while after is not None:
        with world.store.reading() as session:
            page = lists.page(
                session, LISTS["organisations"], asked, after=after, limit=limit,
                looked_at=looked_at, by=by,
            )  # fmt: skip
        found += [row["organisation"] for row in page.rows]
        after = page.after
        tokens += [after] if after else []
        assert len(tokens) < 500
    return found, tokens


@pytest.mark.parametrize("seed", range(3))
def test_pages_of_few_steps_show_the_firms_of_whom_a_client_knows_and_no_others(
    world: World, seed: int
) -> None:
    wanted = _peopled(world, seed)
    readers = {one: [one] for one in wanted} | {"both": list(wanted)}
    for ids in readers.values():
        names = sorted(set().union(*(wanted[one] for one in ids)), key=lambda name: name.encode())
        roles = tuple(RoleHeld("admin", one) for one in ids)
        by = Principal(kind=Kind.SUBJECT, id="", roles=roles, amr=())
        assert _read(world, by, looked_at=None)[0] == names  # as an export does
        for looked_at, limit in ((4, 25), (5, 1), (7, 2), (1000, 1), (1000, 25)):
            for sort, order in (("organisation", names), ("-organisation", names[::-1])):
                found, _ = _read(world, by, looked_at=looked_at, limit=limit, sort=sort)
                assert found == order
        found, _ = _read(world, by, looked_at=4, q="E", state="running")
        assert found == [name for name in names if "e" in name.lower()]


def test_a_token_tells_of_no_firm_and_of_nobody_whom_its_reader_may_not_know(world: World) -> None:
    own, other = world.client("ASTER"), world.client("BOREAL")
    here, there = world.project("here", client=own), world.project("there", client=other)
    known = {world.subject(f"k{n}", organisation="Ours").id for n in range(5)}
    for n in range(12):  # by turns, so that a leap leads to the next of the other firm
        mine = world.subject(f"m{n}", organisation="Ours")
        world.grant(mine, here)
        known.add(mine.id)
        world.grant(world.subject(f"o{n}", organisation="Dark Firm"), there)
    with world.store.reading() as session:
        firms = dict(session.execute(select(Organisation.id, Organisation.name)).all())
    names, tokens = _read(world, _admin_of(own), looked_at=4)
    assert names == ["Ours"]
    said = [json.loads(base64.urlsafe_b64decode(token)) for token in tokens]
    assert {firms[firm] for _, firm in said} == {"Dark Firm", "Ours"}
    assert {at for at, _ in said} <= known | {""}
    assert any(at for at, _ in said)


def test_a_page_behind_a_firm_that_there_is_not_is_refused(world: World) -> None:
    by = _admin_of(world.client())
    token = base64.urlsafe_b64encode(b'["", "org_nonsense"]').decode()
    with world.store.reading() as session, pytest.raises(errors.Invalid):
        lists.page(session, LISTS["organisations"], lists.Asked(), after=token, looked_at=9, by=by)

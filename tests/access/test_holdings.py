"""People as a client's reader finds them: whoever holds or held something there, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from govern.access import holdings, lists, offboarding
from govern.access.clients import Client, Project
from govern.access.holdings import known
from govern.access.lists import LISTS
from govern.access.modes import Mode
from govern.identity import subjects
from govern.principal import Kind, Principal, RoleHeld
from tests.factory import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.access.holdings import Page
    from tests.factory import World


def _admin_of(project: Project) -> Principal:
    """Somebody who may see what one client has."""
    roles = (RoleHeld("admin", project.client_id),)
    return Principal(kind=Kind.SUBJECT, id="", roles=roles, amr=())


def _two(world: World) -> tuple[Project, Project, Principal]:
    """Projects of two clients, and an admin of the first."""
    own, other = world.project("own"), world.project("other", client=world.client("OTHER"))
    return own, other, _admin_of(own)


def test_a_clients_reader_finds_the_same_people_and_firms_whether_these_are_few_or_many(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    own, other = world.project("own", client=aster), world.project("other", client=boreal)
    held = world.subject("held", organisation="Firm A")
    world.grant(held, own)
    world.grant(held, other)
    world.grant(world.subject("elsewhere", organisation="Firm B"), other)
    world.revoke(world.grant(world.subject("before", organisation="Firm C"), own))
    chief = world.staff("admin", client=aster)
    by = Principal(kind=Kind.SUBJECT, id=chief.id, roles=(RoleHeld("admin", aster.id),), amr=())
    for most in (5000, 0):
        monkeypatch.setattr(known, "_FEW", most)
        with world.store.reading() as session:
            found = [row.external_id for row in holdings.people(session, by=by).rows]
            firms = holdings.organisations(session, by=by)
        assert found == sorted(["before", "held", chief.external_id])
        assert {"Firm A", "Firm C"} <= set(firms)
        assert "Firm B" not in firms


def _pages(page: Callable[[str], Page], name: str) -> list[list[str]]:
    """What some pages of a list hold, by one of its columns, one after the other."""
    found: list[list[str]] = []
    after: str | None = ""
    while after is not None:
        one = page(after)
        found.append(
            [row[name] if isinstance(row, dict) else getattr(row, name) for row in one.rows]
        )
        after = one.after
    return found


def test_a_page_of_a_project_ends_where_it_looked_at_enough_and_goes_on_there(world: World) -> None:
    project = world.project()
    given = [world.grant(world.subject(), project) for _ in range(7)]
    world.revoke(given[0])
    world.revoke(given[6])
    for sort in holdings.SORTS:
        with world.store.reading() as session:
            found = _pages(
                lambda after, sort=sort: holdings.search(  # type: ignore[misc]  # not inferred with defaults
                    session, project=project, status="revoked", sort=sort, after=after,
                    looked_at=3, by=OPERATOR,
                ),
                "id",
            )  # fmt: skip
        assert found == [[given[0].id], [], [given[6].id]]


def test_a_page_of_a_list_ends_where_it_looked_at_enough_and_goes_on_there(world: World) -> None:
    project, other = world.project("own"), world.project("other", client=world.client("OTHER"))
    given = [world.grant(world.subject(), project) for _ in range(7)]
    world.revoke(given[0])
    world.revoke(given[6])
    world.revoke(world.grant(world.subject(), other))
    by = _admin_of(project)
    for principal, more in ((OPERATOR, {"project": "own"}), (by, {})):
        for sort in ("since", "ends", "-ends"):
            asked = lists.Asked(filters={"status": "revoked", **more}, sort=sort)
            with world.store.reading() as session:
                found = _pages(
                    lambda after, asked=asked, principal=principal: lists.page(  # type: ignore[misc]  # not inferred with defaults
                        session, LISTS["grants"], asked, after=after, looked_at=3, by=principal
                    ),
                    "key",
                )
            assert sorted(found) == sorted([[given[0].id], [], [given[6].id]])
            with world.store.reading() as session:
                whole = lists.page(session, LISTS["grants"], asked, by=principal)
            assert {row["key"] for row in whole.rows} == {given[0].id, given[6].id}


@pytest.mark.parametrize("few", [5000, 0])
def test_a_list_narrowed_by_a_firm_is_the_same_whether_its_people_are_few_or_many(
    world: World, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(known, "_FEW", few)
    project = world.project()
    own = world.grant(world.subject(organisation="Firm A"), project)
    world.grant(world.subject(organisation="Firm B"), project)
    asked = lists.Asked(filters={"organisation": "Firm A"})
    with world.store.reading() as session:
        for listed, name in ((LISTS["grants"], own.id), (LISTS["people"], own.subject_id)):
            page = lists.page(session, listed, asked, looked_at=5, by=OPERATOR)
            assert [row["key"] for row in page.rows] == [name]


@pytest.mark.parametrize("few", [5000, 0])
def test_who_holds_something_of_a_client_or_a_project_is_the_same_however_many_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(known, "_FEW", few)
    own, other, by = _two(world)
    world.grant(both := world.subject("both"), own)
    world.grant(both, other)
    world.revoke(world.grant(world.subject("past", organisation="Firm A"), own))
    world.grant(world.subject("elsewhere", organisation="Firm B"), other)
    with world.store.reading() as session:
        code = session.get_one(Client, own.client_id).code
        for principal in (OPERATOR, by):
            for filters, expected in (
                ({"client": code}, ["both"]),
                ({"project": "own"}, ["both"]),
                ({"client": "OTHER"}, ["both", "elsewhere"] if principal is OPERATOR else []),
                ({"client": "NONE"}, []),
            ):
                asked = lists.Asked(filters=filters)
                page = lists.page(session, LISTS["people"], asked, looked_at=5, by=principal)
                assert [row["external_id"] for row in page.rows] == expected, filters
                every = session.execute(lists.keys(LISTS["people"], asked, by=principal)).all()
                assert {row[0] for row in every} == {row["key"] for row in page.rows}
        firms = lists.page(session, LISTS["organisations"], lists.Asked(), by=by)
        assert [row["organisation"] for row in firms.rows] == ["Firm A", "direct"]


@pytest.mark.parametrize("few", [5000, 0])
def test_a_page_of_people_ends_where_it_looked_at_enough_and_goes_on_there(
    world: World, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(known, "_FEW", few)
    own, other, by = _two(world)
    for number in range(7):
        firm = "Rare" if number in {0, 6} else "Common"
        who = world.subject(f"p{number}", organisation=firm)
        world.grant(who, own if number in {1, 6} else other)
    asked: dict[Principal, list[dict[str, str]]] = {
        OPERATOR: [{"organisation": "Rare"}, {"query": "p0", "organisation": "Rare"}],
        by: [{}, {"organisation": "Rare"}, {"kind": "annotator"}],
    }
    told = {OPERATOR: [["p0", "p6"], ["p0"]], by: [["p1", "p6"], ["p6"], ["p1", "p6"]]}
    for principal, filters in asked.items():
        for each, expected in zip(filters, told[principal], strict=True):
            with world.store.reading() as session:
                found = _pages(
                    lambda after, each=each, principal=principal: holdings.people(  # type: ignore[misc]  # not inferred with defaults
                        session, **each, after=after, looked_at=3, by=principal
                    ),
                    "external_id",
                )
            assert [one for page in found for one in page if one.startswith("p")] == expected
            assert (len(found) == 1) == bool(few)


def test_people_in_a_state_are_those_whom_the_list_shows_in_it(world: World) -> None:
    project = world.project()
    for name in ("alone", "listed", "reviewed", "let-go", "left", "kept"):
        world.grant(world.subject(name), project)
    world.suspend("subject:alone")
    world.suspend("subject:left")
    world.suspend("subject:reviewed", mode=Mode.UNDER_REVIEW)
    world.lift(world.suspend("subject:let-go"))
    with world.store.reading() as session:
        listed, left = (subjects.find(session, name) for name in ("listed", "left"))
    world.suspend(f"people:{world.people_list(listed).id}")
    world.do(
        lambda s: offboarding.offboard(
            s, s.get_one(type(left), left.id), number=1, reason="left", by=OPERATOR
        )
    )
    with world.store.reading() as session:
        everybody = holdings.people(session, by=OPERATOR, limit=100).rows
        for state in holdings.STATES:
            found = holdings.people(session, state=state, by=OPERATOR, limit=100).rows
            assert [one.id for one in found] == [one.id for one in everybody if one.state == state]
        states = {one.external_id: one.state for one in everybody}
    assert [states[name] for name in ("alone", "listed", "left", "reviewed", "let-go")] == [
        "suspended", "suspended", "offboarded", "active", "active",
    ]  # fmt: skip

"""What the house does for every client is told in each client's own log, once, in its order."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from govern.access import concerning, deriving, ending, offboarding
from govern.audit import follower, log
from govern.audit.follower import FollowerCursor
from govern.audit.signer import Signer
from govern.cli.followers import Followers
from govern.identity import roles
from govern.identity.roles import RoleAssignment
from tests.audit.test_export import auditor, checked, exported
from tests.factory import OPERATOR, World

if TYPE_CHECKING:
    from collections.abc import Callable


def told(world: World, client: Any) -> list[dict[str, Any]]:
    return [each for each in world.entries(client.id) if each["type"] == "house.told"]


def events(world: World, client: Any) -> list[str]:
    return [each["data"]["event"] for each in told(world, client)]


def test_each_client_is_told_in_its_own_log_and_an_auditor_of_one_proves_it(world: World) -> None:
    aster, rival = world.client("ASTER"), world.client("Zanzibar")
    bundle = world.entitlement("zanzibar-only", "read")
    admin = world.staff("admin")
    world.staff("auditor", client=rival)  # stands in that client's log, by the act itself
    world.integration("zanzibar-tool", clients=(rival.id,))
    system, _ = world.integration("everywhere")
    world.entitlement("zanzibar-only", "read", "annotate")
    assert told(world, aster) == []
    concerning.follow(world.store)
    rows = told(world, aster)
    assert [each["data"] | {"at": None, "by": None} for each in told(world, rival)] == [
        each["data"] | {"at": None, "by": None} for each in rows
    ]
    assert [(each["data"]["event"], *each["refs"].values()) for each in rows] == [
        ("entitlement.defined", bundle.id),
        ("role.assigned", rows[1]["refs"]["role"], admin.id),
        ("integration.created", system.id),
        ("entitlement.defined", bundle.id),
    ]
    assert rows[3]["data"]["actions"] == ["annotate", "read"]
    assert rows[2]["data"]["scope"] == ["decision"]
    house = {each["time"]: each["type"] for each in world.entries(log.HOUSE)}
    assert all(house[each["data"]["at"]] == each["data"]["event"] for each in rows)
    Signer(world.store.settings).sign(world.store)
    file, summary = exported(world.store, by=auditor(aster.id))
    assert summary.logs == (aster.id,)
    assert checked(world.store, file).ok
    assert file.count(b'"house.told"') == 4
    for word in ("anzibar", rival.id, '"house","'):
        assert word.encode() not in file


def test_a_client_taken_in_later_is_told_what_there_was_and_one_that_ended_no_more(
    world: World,
) -> None:
    before = world.client("ASTER")
    world.entitlement()
    world.staff("admin")
    assert concerning.follow(world.store) == 2
    world.do(lambda s: ending.end(s, s.merge(before), number=0, reason="x", by=OPERATOR))
    after = world.client("BOREAL")
    world.staff("auditor")
    assert concerning.follow(world.store) == 3
    assert events(world, before) == ["entitlement.defined", "role.assigned"]
    assert events(world, after) == ["entitlement.defined", "role.assigned", "role.assigned"]
    assert concerning.follow(world.store) == 0


def test_a_role_that_ends_with_its_holder_is_told_so_over_all_and_over_one(world: World) -> None:
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    everywhere, here = world.staff("admin"), world.staff("auditor", client=aster)
    taken = world.staff("admin")
    with world.store.reading() as session:
        role = session.execute(
            select(RoleAssignment).where(RoleAssignment.subject_id == taken.id)
        ).scalar_one()
    world.do(lambda s: roles.withdraw(s, s.get_one(RoleAssignment, role.id), reason="x",
                                      by=OPERATOR))  # fmt: skip
    for each in (everywhere, here, taken):
        world.do(lambda s, each=each: offboarding.offboard(s, s.merge(each), reason="x",
                                                           by=OPERATOR))  # fmt: skip
    concerning.follow(world.store)
    assert events(world, boreal) == [
        "role.assigned", "role.assigned", "role.withdrawn", "subject.offboarded",
    ]  # fmt: skip
    own = [each["refs"]["subject"] for each in world.entries(aster.id)
           if each["type"] == "subject.offboarded"]  # fmt: skip
    assert own == [here.id]
    assert everywhere.id not in str(world.entries(aster.id)[:3])


def test_however_often_it_is_stopped_each_is_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [world.client(f"C-{number}") for number in range(3)]
    for number in range(5):
        world.entitlement(f"bundle-{number}", "read")
    monkeypatch.setattr(concerning, "_MOST", 2)
    monkeypatch.setattr(concerning, "_STRIDE", 3)
    steps = 0

    def stop(_: int) -> None:
        nonlocal steps
        steps += 1
        raise KeyboardInterrupt

    while True:
        try:
            concerning.follow(world.store, progress=stop)
        except KeyboardInterrupt:
            continue
        break
    assert steps > len(clients) * 2
    for each in clients:
        assert len(told(world, each)) == 5
        assert [row["data"]["at"] for row in told(world, each)] == sorted(
            row["data"]["at"] for row in told(world, each)
        )


def test_two_who_tell_at_once_tell_it_once(world: World) -> None:
    aster = world.client("ASTER")
    world.entitlement()
    concerning._gather(world.store)
    with world.store.reading() as session:
        end, lines = concerning._lines(session, 0)
    assert world.do(lambda s: concerning._tell(aster.id, 0, end, lines, s)) == 1
    assert world.do(lambda s: concerning._tell(aster.id, 0, end, lines, s)) == 0
    assert len(told(world, aster)) == 1


def _forget_note(session: Any) -> None:
    session.execute(concerning.HouseAct.__table__.delete())


def _set_back(session: Any) -> None:
    session.execute(
        update(FollowerCursor).where(FollowerCursor.follower == "house").values(position=0)
    )


@pytest.mark.parametrize(
    "damage", [_forget_note, _set_back], ids=lambda each: each.__name__.strip("_")
)
def test_fsck_names_a_log_that_was_told_otherwise(
    world: World, damage: Callable[[Any], None]
) -> None:
    world.client("ASTER")
    world.entitlement()
    world.staff("admin")
    concerning.follow(world.store)
    assert deriving.differences(world.store) == []
    world.do(damage)
    assert any("every client" in each.message for each in deriving.differences(world.store))


def test_what_is_of_one_client_alone_moves_nothing_in_anothers_log(world: World) -> None:
    aster, rival = world.client("ASTER"), world.client("BOREAL")
    concerning.follow(world.store)
    size = len(world.entries(aster.id))
    world.staff("auditor", client=rival)
    world.integration("tool", clients=(rival.id,))
    world.grant(world.subject(), world.project("Crane", client=rival))
    assert concerning.follow(world.store) == 2  # the entitlement that the grant made, to both
    assert len(world.entries(aster.id)) == size + 1
    with world.store.reading() as session:
        assert follower.behind(session, "nobody")  # the house's log moved on all the while


def test_the_followers_tell_it_within_seconds(world: World) -> None:
    aster = world.client("ASTER")
    world.entitlement()
    following, waiting = Followers(world.store), threading.Event()
    following.start()
    try:
        for count, do in ((1, lambda: None), (2, lambda: world.staff("admin"))):
            do()
            for _ in range(80):
                if len(events(world, aster)) == count:
                    break
                waiting.wait(0.1)
            assert len(events(world, aster)) == count
    finally:
        following.stop()

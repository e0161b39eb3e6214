"""What the tables say of grants, suspensions, people, roles and demands is what the logs say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from govern.access import deriving, offboarding
from govern.identity import account, authenticators
from govern.identity.passkeys import Answer
from tests.audit.test_fsck import tamper
from tests.factory import OPERATOR, World, person
from tests.support.authenticator import Device

if TYPE_CHECKING:
    from collections.abc import Callable


def fill(world: World) -> None:
    aster = world.client("ASTER")
    project = world.project("Kingfisher", client=aster)
    people = [world.subject() for _ in range(4)]
    held = [world.grant(each, project) for each in people]
    world.revoke(held[0])
    world.people_list(people[1], people[2])
    world.lift(world.suspend("project:Kingfisher"))
    world.suspend(f"subject:{people[3].external_id}")
    world.demand("client:ASTER")
    world.staff("auditor", client=aster)
    world.write_particulars()
    someone, by = people[1], person(people[1])
    for _ in range(2):
        world.enrol(someone)
    with world.store.reading() as session:
        asked = account.ask_for_passkey(session, browser="here", by=by)
        app = authenticators.held(session, someone.id)[0]
    made = Answer(Device(world.store.settings.public_url).make(asked), asked.sealed, "here")
    world.do(lambda s: account.add_passkey(s, made, name="key", by=by))
    world.do(lambda s: account.remove(s, app.id, by=by))
    world.activate(people[2])
    world.do(lambda s: offboarding.offboard(s, s.merge(people[2]), reason="left", by=OPERATOR))


@pytest.fixture
def beginning() -> Callable[[World], None]:
    return fill


def test_whatever_the_owner_of_the_database_does_to_the_state_is_named(world: World) -> None:
    assert deriving.differences(world.store) == []
    now = "now()" if world.store.is_postgresql else "1"
    open_ = "(SELECT id FROM suspension WHERE ended_at IS NULL)"
    table = {
        "a mode dropped": "DELETE FROM suspension_mode WHERE ended_at IS NOT NULL",
        "a target dropped": f"DELETE FROM suspension_target WHERE suspension_id NOT IN {open_}",
        "a grant's window": "UPDATE access_grant SET ends_at = recorded_at",
        "a grant ended": f"UPDATE access_grant SET ended_at = {now} WHERE ended_at IS NULL",
        "a grant revived": "UPDATE access_grant SET ended_at = NULL",
        "a suspension lifted": f"UPDATE suspension SET ended_at = {now} WHERE ended_at IS NULL",
        "a suspension revived": "UPDATE suspension SET ended_at = NULL",
        "a suspension's reason": "UPDATE suspension SET reason = 'legal'",
        "a mode": f"UPDATE suspension_mode SET mode = 'read_only' WHERE suspension_id IN {open_}",
        "a target": f"UPDATE suspension_target SET target_id = 'x' WHERE suspension_id IN {open_}",
        "a person out of a list": "DELETE FROM people_list_item WHERE subject_id = "
        "(SELECT min(subject_id) FROM people_list_item)",
        "a role raised": "UPDATE role_assignment SET role = 'admin'",
        "a role dropped": "DELETE FROM role_assignment",
        "a demand ended": f"UPDATE factor_demand SET ended_at = {now}",
        "a demand dropped": "DELETE FROM factor_demand",
        "a grant dropped": "DELETE FROM access_grant WHERE ended_at IS NULL",
        "a passkey that would know its owner": "UPDATE passkey SET recognised = NOT recognised",
        "an app revived": "UPDATE totp SET ended_at = NULL",
        "a passkey ended": f"UPDATE passkey SET ended_at = {now}",
        "a passkey dropped": "DELETE FROM passkey",
    }
    known: set[str] = set()
    for name, statement in table.items():
        tamper(world.store, statement)
        found = {each.message for each in deriving.differences(world.store)}
        assert found - known, name
        known = found

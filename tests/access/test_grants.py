"""Grants: given for a window, refused where something stands in the way, ended for good."""

from __future__ import annotations

from datetime import timedelta

import pytest

from govern import clock, errors
from govern.access import entitlements, grants, offboarding
from govern.access.grants import Grant
from govern.access.modes import Mode
from govern.identity.subjects import Subject
from tests.factory import OPERATOR, T0, World, person

START = T0 + timedelta(days=400)
HOUR = timedelta(hours=1)


def test_a_grant_counts_from_its_first_instant_to_just_before_its_last(world: World) -> None:
    project, subject = world.project(), world.subject()
    with clock.at(START):
        world.grant(subject, project, starts=START + HOUR, until=START + 2 * HOUR)
    for at, reason in (
        (START + HOUR - clock.TICK, "grant_not_started"),
        (START + HOUR, "permitted"),
        (START + 2 * HOUR - clock.TICK, "permitted"),
        (START + 2 * HOUR, "grant_expired"),
    ):
        with clock.at(at):
            assert world.ask(subject, project).reason == reason


def test_a_grant_made_today_was_not_in_force_yesterday_whatever_its_window_says(
    world: World,
) -> None:
    project, subject = world.project(), world.subject()
    with clock.at(START):
        world.grant(subject, project, starts=START - 99 * HOUR, until=START + HOUR)
        assert world.permits(subject, project)
    with clock.at(START + clock.TICK * 100):
        assert not world.ask(subject, project, at=START - HOUR).permit
        assert world.ask(subject, project, at=START + clock.TICK * 50).permit


def test_a_revoked_grant_ends_at_its_entry_and_is_not_revoked_again(world: World) -> None:
    client = world.client()
    project, subject = world.project(client=client), world.subject()
    grant = world.grant(subject, project)
    world.revoke(grant)
    assert world.ask(subject, project).reason == "grant_revoked"
    with pytest.raises(errors.AlreadyEnded):
        world.revoke(grant)
    assert len(world.entries(client.id, "grant.revoked")) == 1


@pytest.mark.parametrize("scope", ["client:ASTER", "project:Kingfisher", "subject:P1",
                                   "organisation:Northwind"])  # fmt: skip
@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.READ_ONLY])
def test_no_grant_is_given_under_a_suspension(world: World, scope: str, mode: Mode) -> None:
    project = world.project(client=world.client())
    subject = world.subject("P1", organisation="Northwind")
    bundle = world.entitlement()
    world.suspend(scope, mode=mode)
    with pytest.raises(errors.Held) as refusal:
        world.grant(subject, project, entitlement=bundle)
    assert refusal.value.field == scope.partition(":")[0]


def test_what_makes_no_sense_is_refused_by_the_name_of_its_field(world: World) -> None:
    project, other = world.project("one"), world.project("two")
    dataset = world.dataset(other, "elsewhere")
    subject, gone = world.subject(), world.subject()
    world.do(
        lambda s: offboarding.offboard(s, s.get_one(Subject, gone.id), reason="x", by=OPERATOR)
    )
    with clock.at(START), pytest.raises(errors.WindowInvalid):
        world.grant(subject, project, starts=START + HOUR, until=START)
    with clock.at(START), pytest.raises(errors.WindowInvalid):
        world.grant(subject, project, starts=START - 2 * HOUR, until=START - HOUR)
    with pytest.raises(errors.Invalid) as refusal:
        world.grant(subject, project, dataset=dataset)
    assert refusal.value.field == "dataset"
    with pytest.raises(errors.AlreadyEnded):
        world.grant(gone, project)


def test_nobody_grants_access_to_themselves(world: World) -> None:
    project, admin = world.project(), world.staff()
    bundle = world.entitlement()
    with pytest.raises(errors.SamePerson):
        world.do(
            lambda s: grants.issue(
                s, admin, project, bundle, until=clock.now(s) + HOUR, reason="x", by=person(admin)
            )
        )


def test_a_grant_over_one_client_is_not_given_nor_seen_by_anothers_admin(world: World) -> None:
    mine = world.client("MINE")
    project = world.project()
    grant = world.grant(world.subject(), project)
    outsider = person(world.staff(client=mine), client=mine.id)
    bundle, subject = world.entitlement(), world.subject()
    with pytest.raises(errors.Unknown):
        world.do(
            lambda s: grants.issue(
                s, subject, project, bundle, until=clock.now(s) + HOUR, reason="x", by=outsider
            )
        )
    with world.store.reading() as session, pytest.raises(errors.Unknown):
        grants.find(session, grant.id, by=outsider)
    with pytest.raises(errors.Unknown):
        world.do(lambda s: grants.revoke(s, s.get_one(Grant, grant.id), reason="x", by=outsider))


def test_a_bundle_that_changes_changes_what_its_grants_permit_from_then_on_alone(
    world: World,
) -> None:
    project, subject = world.project(), world.subject()
    with clock.at(START):
        world.grant(subject, project, entitlement=world.entitlement("tool", "read"))
        assert not world.permits(subject, project, "export")
    with clock.at(START + HOUR):
        world.do(lambda s: entitlements.define(s, "tool", actions=["export"], by=OPERATOR))
        assert world.permits(subject, project, "export")
        assert not world.permits(subject, project, "read")
        before = START + HOUR / 2
        assert world.ask(subject, project, "read", at=before).permit
        assert not world.ask(subject, project, "export", at=before).permit

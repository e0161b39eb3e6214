"""What awaits a second person: never approved by the first, nor by an account of theirs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from govern import clock, errors
from govern.access import asking, requests, suspensions
from govern.access.modes import Mode
from govern.identity import activation, roles, subjects
from tests.factory import OPERATOR, SECOND, World, person

if TYPE_CHECKING:
    from govern.access.requests import Request
    from govern.access.suspensions import Suspension
    from govern.identity.subjects import Subject
    from govern.principal import Principal


def create(world: World, by: Principal) -> Subject:
    number = world.subject().external_id
    given = subjects.Particulars.checked(
        external_id=f"{number}-new", email=f"{number}-new@people.example", full_name="New",
        kind="staff", country="KE",
    )  # fmt: skip
    made: Subject = world.do(lambda s: subjects.register(s, given, by=by))
    return made


def promote(world: World, subject: Subject, by: Principal) -> None:
    world.do(lambda s: roles.assign(s, subject, "admin", reason="help", by=by))


def invite(world: World, subject: Subject, by: Principal) -> None:
    world.do(lambda s: activation.issue(s, subject, by=by))


def paused(world: World) -> Suspension:
    project = world.project()
    world.grant(world.subject(), project)
    return world.suspend(f"project:{project.code}")


def test_two_admins_who_did_not_make_one_another_lift_together(world: World) -> None:
    pause = paused(world)
    world.approve(world.ask_lift(pause, by=person(world.staff())), by=person(world.staff()))


def test_accounts_made_at_the_machine_pair_since_the_first_ones_are_made_there(
    world: World,
) -> None:
    pause = paused(world)
    first, second = create(world, OPERATOR), create(world, OPERATOR)
    for subject in (first, second):
        promote(world, subject, OPERATOR)
        invite(world, subject, OPERATOR)
    world.approve(world.ask_lift(pause, by=person(first)), by=person(second))


@pytest.mark.parametrize("how", ["created", "invited", "promoted"])
@pytest.mark.parametrize("asker", ["maker", "made"])
def test_nobody_pairs_with_an_account_that_they_made(world: World, how: str, asker: str) -> None:
    pause = paused(world)
    maker = world.staff()
    if how == "created":
        made = create(world, person(maker))
        promote(world, made, OPERATOR)
    elif how == "invited":
        made = world.staff()
        invite(world, made, person(maker))
    else:
        made = world.subject(kind="staff")
        promote(world, made, person(maker))
    first, second = (maker, made) if asker == "maker" else (made, maker)
    request = world.ask_lift(pause, by=person(first))
    with pytest.raises(errors.SamePerson):
        world.approve(request, by=person(second))
    with world.store.reading() as session:
        assert requests.obstacles(session, [request.asked_by], by=person(second)).keys() == {
            first.id
        }
        assert requests.obstacles(session, [request.asked_by], by=person(world.staff())) == {}


def test_two_accounts_that_one_person_made_do_not_pair(world: World) -> None:
    """An admin made recovery links for two colleagues, used both, and was two people: the one
    asked, the other approved, and neither had made the other's account.
    """
    pause = paused(world)
    cunning, one, other = world.staff(), world.staff(), world.staff()
    for colleague in (one, other):
        invite(world, colleague, person(cunning))
    request = world.ask_lift(pause, by=person(one))
    with pytest.raises(errors.SamePerson):
        world.approve(request, by=person(other))


def test_nobody_pairs_with_an_account_made_by_an_account_of_theirs(world: World) -> None:
    pause = paused(world)
    cunning = world.staff()
    middle = create(world, person(cunning))
    promote(world, middle, person(cunning))
    last = create(world, person(middle))
    promote(world, last, person(middle))
    request = world.ask_lift(pause, by=person(cunning))
    with pytest.raises(errors.SamePerson):
        world.approve(request, by=person(last))


def ask_grant(world: World, *, by: Principal = OPERATOR) -> tuple[Request, Subject, str]:
    project = world.project()
    subject, bundle = world.subject(), world.entitlement()
    request: Request = world.do(
        lambda s: asking.ask(
            s,
            subject,
            project,
            bundle,
            until=clock.now(s) + timedelta(days=9),
            reason="work",
            by=by,
        )
    )
    return request, subject, project.code


def test_a_request_filed_before_a_pause_lets_nobody_in_during_it(world: World) -> None:
    """discord/access: approving a request filed before the pause gave the access back."""
    request, _, code = ask_grant(world)
    pause = world.suspend(f"project:{code}")
    with pytest.raises(errors.Held):
        world.approve(request, by=SECOND)
    world.lift(pause)
    world.approve(request, by=SECOND)


def test_under_review_a_new_grant_takes_a_second_approver(world: World) -> None:
    project = world.project()
    subject, bundle = world.subject(), world.entitlement()
    world.suspend(f"project:{project.code}", mode=Mode.UNDER_REVIEW)
    with pytest.raises(errors.NeedsSecondPerson):
        world.grant(subject, project, entitlement=bundle)
    request = world.do(
        lambda s: asking.ask(
            s,
            subject,
            project,
            bundle,
            until=clock.now(s) + timedelta(days=9),
            reason="work",
            by=OPERATOR,
        )
    )
    with pytest.raises(errors.SamePerson):
        world.approve(request, by=OPERATOR)
    world.approve(request, by=SECOND)
    assert world.ask(subject, project).reason == "second_factor_required"


def test_a_request_is_decided_once(world: World) -> None:
    request, _, _ = ask_grant(world)
    world.approve(request, by=SECOND)
    with pytest.raises(errors.AlreadyEnded):
        world.approve(request, by=SECOND)
    with pytest.raises(errors.AlreadyEnded):
        world.do(lambda s: requests.withdraw(s, request.id, by=OPERATOR))


def test_who_asked_withdraws_and_another_refuses_and_both_are_final(world: World) -> None:
    for by, outcome in ((OPERATOR, "withdrawn"), (SECOND, "refused")):
        pause = paused_once(world, outcome)
        request = world.ask_lift(pause, by=OPERATOR)
        done = world.do(lambda s, r=request, by=by: requests.withdraw(s, r.id, by=by))
        assert done.outcome == outcome
        with pytest.raises(errors.AlreadyEnded):
            world.approve(request, by=SECOND)


def paused_once(world: World, code: str) -> Suspension:
    world.project(code)
    return world.suspend(f"project:{code}")


def test_the_same_is_not_asked_for_twice(world: World) -> None:
    pause = paused(world)
    world.ask_lift(pause, by=OPERATOR)
    with pytest.raises(errors.AlreadyExists):
        world.ask_lift(pause, by=SECOND)


def test_a_weakening_asked_for_before_the_mode_changed_is_stale(world: World) -> None:
    pause = paused(world)

    def change(mode: Mode) -> Request | None:
        found: Request | None = world.do(
            lambda s: suspensions.change_mode(
                s, s.get_one(type(pause), pause.id), mode, by=OPERATOR
            )
        )
        return found

    request = change(Mode.UNDER_REVIEW)
    assert request is not None
    world.approve(request, by=SECOND)
    assert change(Mode.READ_ONLY) is None
    request = change(Mode.UNDER_REVIEW)
    assert request is not None
    assert change(Mode.PAUSED) is None
    world.approve(request, by=SECOND)  # it weakens what is paused now, too


def test_whoever_may_not_know_of_a_client_finds_none_of_its_requests(world: World) -> None:
    mine, theirs = world.client("MINE"), world.client("THEIRS")
    project = world.project("theirs", client=theirs)
    world.grant(world.subject(), project)
    request = world.ask_lift(world.suspend("client:THEIRS"), by=OPERATOR)
    outsider = person(world.staff(client=mine), client=mine.id)
    with pytest.raises(errors.Unknown):
        world.approve(request, by=outsider)
    with world.store.reading() as session:
        assert requests.waiting(session, by=outsider) == []
        assert len(requests.waiting(session, by=OPERATOR)) == 1

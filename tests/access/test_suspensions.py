"""Suspensions: one act, in force at its commit, lifted by two, restored exactly."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select

import govern.example
from govern import clock, errors
from govern.access import catalogue, evaluation, offboarding, roster, suspensions
from govern.access.clients import Client, Project
from govern.access.grants import Grant, Supposing
from govern.access.modes import Mode
from govern.access.suspensions import targets
from govern.identity import subjects
from govern.identity.subjects import Organisation, Subject
from tests.factory import OPERATOR, SECOND, T0, World, person

if TYPE_CHECKING:
    from govern.access.suspensions import Suspension
    from govern.db import Session

DATA = Path(govern.example.__file__).parent / "data"
LARGEST = "ASTER"
HOUR = timedelta(hours=1)


def refs(entries: list[dict[str, Any]], suspension: Suspension) -> Counter[str]:
    return Counter(
        entry["refs"]["grant"] for entry in entries if entry["refs"]["suspension"] == suspension.id
    )


def can(world: World, client: str, action: str = "read") -> set[str]:
    """Whose grants permit an action somewhere at a client."""
    with world.store.reading() as session:
        found = evaluation.search(
            session, action=action, kind="client", code=client, limit=10_000, by=OPERATOR
        )
    return {reach.grant_id for reach in found.rows}


def load_example(world: World) -> None:
    catalogue.load(world.store, json.loads((DATA / "catalogue.json").read_text()), by=OPERATOR)
    with (DATA / "roster.csv").open("rb") as file:
        assert roster.load(world.store, file, by=OPERATOR).applied


def test_a_pause_denies_the_next_decision(world: World) -> None:
    project = world.project()
    subject = world.subject()
    world.grant(subject, project)
    assert world.permits(subject, project)
    world.suspend(f"project:{project.code}")
    denied = world.ask(subject, project)
    assert (denied.permit, denied.reason) == (False, "project_paused")


def test_pausing_the_largest_client_holds_each_grant_once_and_a_lift_returns_what_is_right(
    world: World,
) -> None:
    store = world.store
    with clock.at(T0):
        load_example(world)
        with store.reading() as session:
            client = session.execute(select(Client).where(Client.code == LARGEST)).scalar_one()
            rows = session.execute(
                select(Grant, Subject, Project)
                .join(Subject, Subject.id == Grant.subject_id)
                .join(Project, Project.id == Grant.project_id)
                .where(Grant.client_id == client.id)
                .order_by(Grant.id)
            ).all()
            targets = [suspensions.target(session, f"client:{LARGEST}")]
            preview = suspensions.preview(session, targets, by=OPERATOR)
        grants_then = {grant.id for grant, _, _ in rows}
        assert (preview.people, preview.grants, len(rows)) == (2962, 3257, 3257)
        asked = random.Random(1).sample([row for row in rows if row[0].dataset_id is None], 12)
        assert all(world.permits(subject, project) for _, subject, project in asked)
        # Five different people: grants made in the same millisecond have no order of their own.
        first = list({subject.id: (grant, subject, project)
                      for grant, subject, project in rows}.values())[:5]  # fmt: skip
        held_before = first[0][1]
        elsewhere = world.suspend(f"subject:{held_before.external_id}")
        short = world.grant(first[1][1], first[1][2], until=T0 + HOUR)
        world.write_particulars()

        pause = world.suspend(f"client:{LARGEST}")

        assert not any(world.permits(subject, project) for _, subject, project in asked)
        assert {world.ask(s, p).reason for _, s, p in asked} == {"client_paused"}
        assert can(world, LARGEST) == set()
        assert world.write_particulars() == 3258
        (opened,) = (
            entry
            for entry in world.entries(client.id, "suspension.opened")
            if entry["refs"]["suspension"] == pause.id
        )
        suspended = world.entries(client.id, "grant.suspended")
        assert refs(suspended, pause) == Counter([*grants_then, short.id])
        (closing,) = (
            entry
            for entry in world.entries(client.id, "suspension.recorded")
            if entry["refs"]["suspension"] == pause.id
        )
        assert closing["data"]["count"] == 3258
        assert closing["data"]["position"] == opened["seq"]

    with clock.at(T0 + 2 * HOUR):  # `short` has expired
        revoked, left, held_after = first[2][0], first[3][1], first[4][1]
        world.revoke(revoked)
        world.do(
            lambda s: offboarding.offboard(
                s, s.get_one(Subject, left.id), reason="left", by=OPERATOR
            )
        )
        later = world.suspend(f"subject:{held_after.external_id}")
        out = {revoked.id, short.id}
        out |= {grant.id for grant, subject, _ in rows if subject.id == left.id}
        of = {
            subject.id: {g.id for g, s, _ in rows if s.id == subject.id} - out
            for subject in (held_before, held_after)
        }
        still_right = grants_then - out - of[held_before.id] - of[held_after.id]

        world.lift(pause)
        world.write_particulars()

        resumed = world.entries(client.id, "grant.resumed")
        assert refs(resumed, pause) == Counter(still_right)
        assert can(world, LARGEST) == still_right
        for cause, subject in ((elsewhere, held_before), (later, held_after)):
            assert not world.permits(subject, rows[0][2])
            world.lift(cause)
            world.write_particulars()
            resumed = world.entries(client.id, "grant.resumed")
            assert refs(resumed, cause) == Counter(of[subject.id])
            still_right |= of[subject.id]
            assert can(world, LARGEST) == still_right


def test_the_preview_names_the_very_set_that_the_particulars_close_with(world: World) -> None:
    client = world.client()
    project = world.project(client=client)
    world.crowd(project, client, 30)
    with world.store.reading() as session:
        targets = [suspensions.target(session, "client:ASTER")]
        preview = suspensions.preview(session, targets, by=OPERATOR)
    world.suspend("client:ASTER")
    world.write_particulars()
    (closing,) = world.entries(client.id, "suspension.recorded")
    assert closing["data"]["digest"] == preview.digest
    assert closing["data"]["count"] == preview.grants == 30


def test_a_second_suspension_over_a_held_project_has_its_particulars_too(world: World) -> None:
    client = world.client()
    project = world.project(client=client)
    grant = world.grant(world.subject(), project)
    first = world.suspend(f"project:{project.code}")
    second = world.suspend("client:ASTER")
    world.write_particulars()
    entries = world.entries(client.id, "grant.suspended")
    assert [refs(entries, each) for each in (first, second)] == [Counter([grant.id])] * 2
    assert [entry["data"].get("already_held", False) for entry in entries] == [False, True]
    world.lift(first)
    world.write_particulars()
    assert world.entries(client.id, "grant.resumed") == []
    world.lift(second)
    world.write_particulars()
    assert refs(world.entries(client.id, "grant.resumed"), second) == Counter([grant.id])


def test_whom_a_list_of_people_held_already_is_said_to_have_been_held(world: World) -> None:
    """What a list holds is told in the word of a person, by which it was looked for in vain."""
    client = world.client()
    project = world.project(client=client)
    listed, other = world.subject(), world.subject()
    made = [world.grant(subject, project) for subject in (listed, other)]
    first = world.suspend(f"people:{world.people_list(listed).id}")
    world.write_particulars()
    second = world.suspend("client:ASTER")
    world.write_particulars()
    already = {
        entry["refs"]["grant"]: entry["data"].get("already_held", False)
        for entry in world.entries(client.id, "grant.suspended")
        if entry["refs"]["suspension"] == second.id
    }
    assert already == {made[0].id: True, made[1].id: False}
    assert refs(world.entries(client.id, "grant.suspended"), first) == Counter([made[0].id])


def test_a_paused_client_is_said_to_be_held_already_but_for_whom_its_pause_let_out(
    world: World,
) -> None:
    """Of a client held whole no grant is looked at by itself: whom a pause let out must be."""
    client = world.client()
    project = world.project(client=client)
    stays, out = (world.grant(world.subject(), project) for _ in range(2))

    def already(mode: Mode = Mode.PAUSED) -> dict[str, bool]:
        row = world.suspend("client:ASTER", mode=mode)
        world.write_particulars()
        return {
            entry["refs"]["grant"]: entry["data"].get("already_held", False)
            for entry in world.entries(client.id, "grant.suspended", "grant.review_required")
            if entry["refs"]["suspension"] == row.id
        }

    assert already(Mode.UNDER_REVIEW) == {stays.id: False, out.id: False}
    first = world.suspend("client:ASTER")
    world.approve(
        world.do(
            lambda s: suspensions.ask_release(
                s, suspensions.find(s, first.id, by=OPERATOR),
                [s.get_one(Subject, out.subject_id)], by=OPERATOR,
            )
        ),
        by=SECOND,
    )  # fmt: skip
    assert already() == {stays.id: True, out.id: False}
    assert already() == {stays.id: True, out.id: True}


def test_of_a_paused_client_only_what_its_pause_let_out_is_listed(world: World) -> None:
    """What is held whole is not looked through: the list asks for whom and what was let out."""
    client = world.client()
    projects = [world.project(name, client=client) for name in ("p1", "p2", "p3")]
    people = [world.subject() for _ in range(3)]
    made = {
        (who.id, place.code): world.grant(who, place).id for who in people for place in projects
    }
    pause = world.suspend("client:ASTER")
    assert can(world, "ASTER") == set()

    def let_out(part: str) -> None:
        asked = world.do(
            lambda s: suspensions.ask_release(
                s, suspensions.find(s, pause.id, by=OPERATOR),
                targets=[suspensions.target(s, part)], by=OPERATOR,
            )
        )  # fmt: skip
        world.approve(asked, by=SECOND)

    let_out(f"subject:{people[0].external_id}")
    theirs = {grant for (who, _), grant in made.items() if who == people[0].id}
    assert can(world, "ASTER") == theirs
    let_out("project:p2")
    there = {grant for (_, code), grant in made.items() if code == "p2"}
    assert can(world, "ASTER") == theirs | there
    world.suspend("project:p2")
    assert can(world, "ASTER") == theirs - there


def test_of_a_paused_project_those_count_hours_whose_dataset_was_let_out(world: World) -> None:
    project = world.project()
    dataset = world.dataset(project)
    made = world.grant(world.subject(), project, dataset=dataset)
    world.grant(world.subject(), project)
    pause = world.suspend(f"project:{project.code}")
    asked = world.do(
        lambda s: suspensions.ask_release(
            s, suspensions.find(s, pause.id, by=OPERATOR),
            targets=[suspensions.target(s, f"dataset:{dataset.code}")], by=OPERATOR,
        )
    )  # fmt: skip
    world.approve(asked, by=SECOND)
    with world.store.reading() as session:
        found = evaluation.search(
            session, action="log_hours", kind="project", code=project.code, by=OPERATOR
        )
    assert [reach.grant_id for reach in found.rows] == [made.id]


def test_a_list_of_who_can_ends_where_it_looked_at_enough_and_goes_on_there(world: World) -> None:
    project = world.project()
    made = [world.grant(world.subject(), project) for _ in range(5)]
    for grant in made[:3]:
        world.revoke(grant)
    pages, after = [], ""
    while after is not None:
        with world.store.reading() as session:
            found = evaluation.search(
                session, action="read", kind="project", code=project.code, after=after, limit=2,
                looked_at=2, by=OPERATOR,
            )  # fmt: skip
        pages.append([reach.grant_id for reach in found.rows])
        after = found.after
    assert pages == [[], [made[3].id], [made[4].id]]


def test_a_pause_of_a_firm_is_in_the_log_of_every_client_where_its_people_work(
    world: World,
) -> None:
    one, other = world.client("ONE"), world.client("OTHER")
    projects = [world.project("p1", client=one), world.project("p2", client=other)]
    subject = world.subject(organisation="Northwind")
    made = [world.grant(subject, project) for project in projects]
    pause = world.suspend("organisation:Northwind")
    world.write_particulars()
    for client, grant in zip((one, other), made, strict=True):
        assert len(world.entries(client.id, "suspension.opened")) == 1
        assert refs(world.entries(client.id, "grant.suspended"), pause) == Counter([grant.id])
    opened = [world.entries(log, "suspension.opened")[0] for log in ("house", one.id, other.id)]
    assert len({entry["time"] for entry in opened}) == 1


def test_who_was_released_is_not_said_to_be_suspended_when_the_mode_tightens(
    world: World,
) -> None:
    """A release takes its people out of the suspension, so a tighter mode is nothing to them.

    The particulars of the tightening once listed everyone whom the scope covers, the released
    too: the log then said that their access was stopped, which it was not.
    """
    client = world.client()
    project = world.project(client=client)
    free, bound = world.subject(), world.subject()
    world.grant(free, project)
    kept = world.grant(bound, project)
    pause = world.suspend("client:ASTER", mode=Mode.READ_ONLY)
    world.write_particulars()
    request = world.do(lambda s: suspensions.ask_release(s, _row(s, pause), [free], by=OPERATOR))
    world.approve(request, by=SECOND)
    world.write_particulars()
    before = len(world.entries(client.id, "grant.suspended"))
    world.do(lambda s: suspensions.change_mode(s, _row(s, pause), Mode.PAUSED, by=OPERATOR))
    world.write_particulars()
    assert world.permits(free, project)
    assert not world.permits(bound, project)
    told = world.entries(client.id, "grant.suspended")[before:]
    assert [entry["refs"]["grant"] for entry in told] == [kept.id]


def test_people_whose_grants_lie_in_no_log_told_of_the_opening_are_not_left_out(
    world: World,
) -> None:
    """An opening over a person went to the logs of the clients where they held a grant when it
    began; a grant given in another client's log before the commit was held without an entry, and
    its resumption was then told of a grant that nobody had said was suspended.
    """
    client = world.client()
    project = world.project(client=client)
    subject, bundle = world.subject(), world.entitlement()
    given: list[Grant] = []

    def work(session: Session) -> Suspension:
        row = suspensions.open(
            session, [suspensions.target(session, f"subject:{subject.external_id}")],
            mode=Mode.PAUSED, reason=suspensions.Reason.CONDUCT, by=OPERATOR,
        )  # fmt: skip
        if not given:  # the grant is committed after the opening has read, before it writes
            given.append(world.grant(subject, project, entitlement=bundle))
        return row

    if world.store.is_postgresql:
        pause = world.do(work)
    else:  # one writer at a time: nobody can come between
        given.append(world.grant(subject, project, entitlement=bundle))
        pause = world.do(work)
    world.write_particulars()
    entries = world.entries(client.id, "grant.suspended")
    assert refs(entries, pause) == Counter([given[0].id])


# --- one person never widens what a suspension holds -------------------------------------------


def _row(session: Session, suspension: Suspension) -> Suspension:
    return session.get_one(type(suspension), suspension.id)


def test_one_person_never_lifts_releases_weakens_or_narrows_alone(world: World) -> None:
    client = world.client()
    projects = [world.project(code, client=client) for code in ("one", "two")]
    subject = world.subject()
    for project in projects:
        world.grant(subject, project)
    pause = world.suspend("project:one", "project:two")
    alone = person(world.staff())

    def number(session: Session) -> int:
        return suspensions.returning(session, Supposing(suspension=pause.id))

    ways = [
        lambda s: suspensions.ask_lift(s, _row(s, pause), number=number(s), by=alone),
        lambda s: suspensions.ask_release(s, _row(s, pause), [subject], by=alone),
        lambda s: suspensions.change_mode(s, _row(s, pause), Mode.READ_ONLY, by=alone),
        lambda s: suspensions.ask_narrow(
            s, _row(s, pause), [suspensions.target(s, "project:one")], by=alone
        ),
    ]
    for way in ways:
        request = world.do(way)
        with pytest.raises(errors.SamePerson):
            world.approve(request, by=alone)
    for project in projects:
        assert not world.permits(subject, project)
    with pytest.raises(errors.NeedsSecondPerson):
        world.do(lambda s: suspensions.take_back(s, _row(s, pause), by=alone))


def test_nobody_leaves_a_held_firm_by_one_persons_act(world: World) -> None:
    project = world.project()
    subject = world.subject(organisation="Northwind")
    world.grant(subject, project)
    world.subject(organisation="Kestrel")
    world.suspend("organisation:Northwind")
    alone = person(world.staff())

    def move(session: Session) -> Any:
        row = session.get_one(Subject, subject.id)
        return suspensions.move(session, row, organisation(session, "Kestrel"), by=alone)

    request = world.do(move)
    assert request is not None
    assert not world.permits(subject, project)
    with pytest.raises(errors.SamePerson):
        world.approve(request, by=alone)
    world.approve(request, by=OPERATOR)
    assert world.permits(subject, project)


def organisation(session: Session, name: str) -> Organisation:
    return subjects.organisation_named(session, name)


def test_whoever_comes_back_by_a_move_was_on_the_list_shown(world: World) -> None:
    """A move out of a held firm and the lift of a client's pause, each asked for while the other
    stood, show nobody who comes back: together they let people in whom no list named.
    """
    client = world.client()
    project = world.project(client=client)
    subject = world.subject(organisation="Northwind")
    world.grant(subject, project)
    world.subject(organisation="Kestrel")
    world.suspend("organisation:Northwind")
    pause = world.suspend("client:ASTER")
    move = world.do(lambda s: suspensions.move(
        s, s.get_one(Subject, subject.id), organisation(s, "Kestrel"), by=OPERATOR
    ))  # fmt: skip
    lift = world.ask_lift(pause, by=OPERATOR)
    assert lift.number == 0
    world.approve(lift, by=SECOND)
    with pytest.raises(errors.ReturnsUnlisted):
        world.approve(move, by=SECOND)
    assert not world.permits(subject, project)


def test_a_move_out_of_a_held_firm_says_whose_grants_come_back(world: World) -> None:
    client = world.client()
    project = world.project(client=client)
    subject = world.subject(organisation="Northwind")
    grant = world.grant(subject, project)
    world.subject(organisation="Kestrel")
    firm = world.suspend("organisation:Northwind")
    move = world.do(lambda s: suspensions.move(
        s, s.get_one(Subject, subject.id), organisation(s, "Kestrel"), by=OPERATOR
    ))  # fmt: skip
    world.approve(move, by=SECOND)
    world.write_particulars()
    assert world.permits(subject, project)
    assert refs(world.entries(client.id, "grant.resumed"), firm) == Counter([grant.id])


def test_only_who_opened_a_pause_takes_it_back_and_within_ten_minutes(world: World) -> None:
    project = world.project()
    subject = world.subject()
    world.grant(subject, project)
    opener, other = world.staff(), world.staff()
    with clock.at(T0 + timedelta(days=400)):
        pause = world.suspend(f"project:{project.code}", by=person(opener))
        with pytest.raises(errors.NeedsSecondPerson):
            world.do(lambda s: suspensions.take_back(s, _row(s, pause), by=person(other)))
    with (
        clock.at(T0 + timedelta(days=400, minutes=10, seconds=1)),
        pytest.raises(errors.NeedsSecondPerson),
    ):
        world.do(lambda s: suspensions.take_back(s, _row(s, pause), by=person(opener)))
    with clock.at(T0 + timedelta(days=400, minutes=9)):
        world.do(lambda s: suspensions.take_back(s, _row(s, pause), by=person(opener)))
        with pytest.raises(errors.AlreadyEnded):
            world.do(lambda s: suspensions.take_back(s, _row(s, pause), by=person(opener)))


def test_a_pause_whose_mode_changed_is_not_taken_back(world: World) -> None:
    project = world.project()
    opener = person(world.staff())
    pause = world.suspend(f"project:{project.code}", mode=Mode.READ_ONLY, by=opener)
    world.do(lambda s: suspensions.change_mode(s, _row(s, pause), Mode.PAUSED, by=opener))
    with pytest.raises(errors.NeedsSecondPerson):
        world.do(lambda s: suspensions.take_back(s, _row(s, pause), by=opener))


def test_taking_back_lets_in_nobody_whom_another_suspension_held_before(world: World) -> None:
    """Someone lays a pause of their own over a paused project, and asks for a lift of the first:
    its list is empty, since theirs stands, so a colleague approves it without a thought. Then
    they took their own back, alone, and everyone was in whom no list had named.
    """
    project = world.project()
    subject = world.subject()
    world.grant(subject, project)
    first = world.suspend(f"project:{project.code}")
    cunning = person(world.staff())
    own = world.suspend(f"project:{project.code}", by=cunning)
    request = world.ask_lift(first, by=cunning)
    assert request.number == 0
    world.approve(request, by=OPERATOR)
    with pytest.raises(errors.NeedsSecondPerson):
        world.do(lambda s: suspensions.take_back(s, _row(s, own), by=cunning))
    assert not world.permits(subject, project)


def test_a_lift_is_refused_when_others_would_come_back_than_the_list_showed(
    world: World,
) -> None:
    project = world.project()
    first = world.subject()
    world.grant(first, project)
    waiting = world.subject()
    with clock.at(T0 + timedelta(days=400)):
        now = clock.utcnow()
        world.grant(waiting, project, starts=now + HOUR, until=now + 9 * HOUR)
        pause = world.suspend(f"project:{project.code}")
        request = world.ask_lift(pause, by=OPERATOR)
    with clock.at(T0 + timedelta(days=400) + 2 * HOUR), pytest.raises(errors.ReturnsUnlisted):
        world.approve(request, by=SECOND)


def test_a_lift_takes_the_number_that_is_at_stake(world: World) -> None:
    project = world.project()
    world.grant(world.subject(), project)
    pause = world.suspend(f"project:{project.code}")
    with pytest.raises(errors.Brake):
        world.do(lambda s: suspensions.ask_lift(s, _row(s, pause), number=2, by=OPERATOR))
    request = world.ask_lift(pause, by=OPERATOR)
    request.number = 7
    with pytest.raises(errors.Brake):
        world.approve(request, by=SECOND)


def test_a_lifted_suspension_is_not_lifted_again(world: World) -> None:
    project = world.project()
    pause = world.suspend(f"project:{project.code}")
    world.lift(pause)
    with pytest.raises(errors.AlreadyEnded):
        world.ask_lift(pause, by=OPERATOR)


def test_a_window_that_opens_during_a_pause_is_neither_lost_nor_in(world: World) -> None:
    project = world.project()
    subject = world.subject()
    start = T0 + timedelta(days=400)
    with clock.at(start):
        world.grant(subject, project, starts=start + HOUR, until=start + 9 * HOUR)
        pause = world.suspend(f"project:{project.code}")
    with clock.at(start + 2 * HOUR):
        assert world.ask(subject, project).reason == "project_paused"
        world.lift(pause)
        assert world.permits(subject, project)


@pytest.mark.parametrize(
    ("field", "more", "error"),
    [
        ("scope", {"references": ()}, errors.Invalid),
        ("scope", {"references": ("planet:EARTH",)}, errors.Invalid),
        ("project", {"references": ("project:Nonesuch",)}, errors.Unknown),
        ("review_by", {"review_by": T0 - HOUR}, errors.WindowInvalid),
        ("ordered_at", {"ordered_at": clock.utcnow() + HOUR}, errors.WindowInvalid),
        ("note", {"note": "bell \x07"}, errors.Invalid),
        ("note", {"note": "x" * 4001}, errors.Invalid),
    ],
)
@pytest.mark.web_alone
def test_what_makes_no_sense_is_refused_by_the_name_of_its_field(
    world: World, field: str, more: dict[str, Any], error: type[errors.GovernError]
) -> None:
    world.project()
    more = dict(more)
    references = more.pop("references", ("project:Kingfisher",))
    with pytest.raises(error) as refusal:
        world.suspend(*references, **more)
    assert refusal.value.field == field


def test_offices_of_one_client_neither_see_nor_touch_anothers_suspension(world: World) -> None:
    mine, theirs = world.client("MINE"), world.client("THEIRS")
    project = world.project("theirs", client=theirs)
    pause = world.suspend(f"project:{project.code}")
    outsider = person(world.staff(client=mine), client=mine.id)
    with world.store.reading() as session, pytest.raises(errors.Unknown):
        suspensions.find(session, pause.id, by=outsider)
    with pytest.raises(errors.Unknown):
        world.suspend("client:THEIRS", by=outsider)
    with pytest.raises(errors.Forbidden):
        world.suspend("organisation:direct", by=person(world.staff(client=mine), client=mine.id))


def test_no_clients_log_tells_what_was_taken_out_of_another(world: World) -> None:
    aster, boreal = world.client("ASTER"), world.client("BOREAL")
    world.project("Kingfisher", client=aster)
    osprey, heron = (world.project(name, client=boreal) for name in ("Osprey", "Heron"))
    held = world.suspend("client:ASTER", "project:Osprey", "project:Heron")
    request = world.do(
        lambda s: suspensions.ask_narrow(
            s, _row(s, held), [suspensions.target(s, "project:Osprey")],
            by=OPERATOR,
        )
    )  # fmt: skip
    world.approve(request, by=SECOND)
    (theirs,) = world.entries(aster.id, "suspension.narrowed")
    (own,) = world.entries(boreal.id, "suspension.narrowed")
    assert osprey.id not in json.dumps(theirs)
    assert heron.id not in json.dumps(own)
    assert own["data"]["targets"] == [{"kind": "project", "id": osprey.id}]


def test_whom_a_small_firm_concerns_is_found_by_its_people(world: World) -> None:
    """SQLite looked at everybody's grants for a firm of seven: 3 s of a million, twice."""
    asked: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, given: Any, *___: Any) -> None:
        asked.append((statement, given))

    project = world.project()
    world.grant(world.subject(organisation="Northwind"), project)
    world.grant(world.subject("P2", organisation="Acme"), world.project("Heron"))
    with world.store.reading() as session:
        firm = suspensions.target(session, "organisation:Northwind")
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", note)
        assert targets.logs_of(session, [firm]) == sorted(["house", project.client_id])
        event.remove(connection, "before_cursor_execute", note)
        if world.store.is_postgresql:
            return  # it has statistics
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[-1][0]}", asked[-1][1])
        assert any("ix_access_grant_subject" in row.detail for row in plan)

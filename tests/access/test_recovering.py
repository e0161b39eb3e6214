"""Recovery of a lost factor: two people, a day in between, and nothing left of what was before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from govern import clock, errors
from govern.access import demands, deriving, offboarding, recovering, requests
from govern.identity import (
    account,
    activation,
    authenticators,
    recovery,
    roles,
    sessions,
    subjects,
)
from govern.identity.passkeys import Answer
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal
from tests.factory import OPERATOR, PASSWORD, SECOND, T0, person
from tests.support.authenticator import Device
from tests.support.replay import Replay

if TYPE_CHECKING:
    from datetime import datetime

    from govern.access.clients import Project
    from govern.access.requests import Request
    from govern.db import Session
    from tests.factory import World

START = T0 + timedelta(days=400)  # after whatever the machine's clock says
CHOSEN = "another long enough phrase"


def ask(world: World, subject: Subject, by: Principal) -> Request:
    found: Request = world.do(
        lambda s: recovering.ask(s, s.get_one(Subject, subject.id), reason="lost", by=by)
    )
    return found


def under_way(world: World, subject: Subject) -> tuple[recovery.Recovery, str, str]:
    """A recovery's row and its two tokens, as they go into mails."""

    def look(session: Session) -> tuple[recovery.Recovery, str, str]:
        row = recovery.pending(session, subject.id)
        assert row is not None
        found = recovery.links(session, row)
        assert found is not None
        return row, *found

    found: tuple[recovery.Recovery, str, str] = world.do(look)
    return found


def use(world: World, subject: Subject, token: str) -> list[str]:
    seed = world.seeds[subject.id] = authenticators.new_seed()
    hashed, code = activation.hash_password(CHOSEN), world.code(subject)
    _, codes = world.do(
        lambda s: recovery.complete(s, token, password_hash=hashed, seed=seed, code=code)
    )
    return list(codes)


def sign_in(world: World, subject: Subject, password: str, code: str) -> str:
    half = sessions.begin(world.store, subject.email, password)
    found: str = world.do(lambda s: sessions.show_factor(s, half, code))
    return found


@pytest.mark.asvs("6.4.4", "2.3.5", "6.4.6", "63B-4.2.2.2")
def test_two_people_open_a_way_back_that_works_a_day_later_once_and_ends_all_before(
    world: World,
) -> None:
    subject, ann, bob = world.subject(), world.staff(), world.staff()
    with clock.at(START - timedelta(minutes=1)):
        codes = world.activate(subject)
    old_seed = world.seeds[subject.id]
    with clock.at(START):
        before = sign_in(world, subject, PASSWORD, world.code(subject))
        request = ask(world, subject, person(ann))
        with world.store.reading() as session:
            assert recovery.pending(session, subject.id) is None, "one alone opens nothing"
        with pytest.raises(errors.SamePerson):
            world.approve(request, by=person(ann))
        world.approve(request, by=person(bob))
        row, token, _ = under_way(world, subject)
        with pytest.raises(errors.Stale, match="works from 2027-12-27 09:00 UTC"):
            use(world, subject, token)
        world.seeds[subject.id] = old_seed
        with world.store.reading() as session:
            assert sessions.resume(session, before) is not None, "nothing ended yet"
    with clock.at(START + recovery.COOLING - clock.TICK), pytest.raises(errors.Stale):
        use(world, subject, token)
    with clock.at(START + recovery.COOLING + timedelta(minutes=1)):
        world.seeds[subject.id] = old_seed
        during = sign_in(world, subject, PASSWORD, world.code(subject))
        fresh = use(world, subject, token)
        assert len(fresh) == 10
        with world.store.reading() as session:
            assert sessions.resume(session, during) is None
        with pytest.raises(errors.Unknown):
            use(world, subject, token)
    with clock.at(START + recovery.COOLING + timedelta(minutes=5)):
        new_seed = world.seeds[subject.id]
        with pytest.raises(errors.SignInFailed):
            sign_in(world, subject, PASSWORD, codes[0])
        with pytest.raises(errors.SignInFailed):
            sign_in(world, subject, CHOSEN, codes[0])
        assert sign_in(world, subject, CHOSEN, fresh[0])
        world.seeds[subject.id] = new_seed
    with world.store.reading() as session:
        kept = session.get_one(recovery.Recovery, row.id)
        assert (kept.outcome, kept.links) == ("used", None)
    types = [entry["type"] for entry in world.entries("house") if "recover" in entry["type"]]
    assert types[-4:] == [
        "recovery.approved", "recovery_codes.issued", "recovery.completed", "recovery_code.used",
    ]  # fmt: skip
    # Who recovered an account cannot be the second person beside it.
    with world.store.reading() as session:
        told = requests.obstacles(session, [ann.id, bob.id], by=person(subject))
        assert set(told) == {ann.id, bob.id}


def test_the_log_alone_tells_what_a_recovery_ended(world: World) -> None:
    """The entries named none of the apps and passkeys that ended, so no replay could know it."""
    subject, project = world.subject(), world.project(client=world.client("ASTER"))
    with clock.at(START):
        world.activate(subject)
        by = person(subject)
        with world.store.reading() as session:
            asked = account.ask_for_passkey(session, browser="here", by=by)
        device = Device(world.store.settings.public_url)
        made = Answer(device.make(asked), asked.sealed, "here")
        world.do(lambda s: account.add_passkey(s, made, name="key", by=by))
        world.grant(subject, project)
        world.demand("client:ASTER", demands.Factor.PHISHING_RESISTANT)
        with world.store.reading() as session:
            before = {each.id for each in authenticators.held(session, subject.id)}
        assert world.permits(subject, project)
        world.approve(ask(world, subject, OPERATOR), by=SECOND)
        _, token, _ = under_way(world, subject)
    later = START + recovery.COOLING + timedelta(minutes=1)
    with clock.at(later):
        assert replayed(world, subject, project, later)
        use(world, subject, token)
        assert not world.permits(subject, project)
        assert not replayed(world, subject, project, later)
    removed = world.entries("house", "authenticator.removed")
    assert {entry["refs"]["authenticator"] for entry in removed} == before
    assert sorted(entry["data"]["kind"] for entry in removed) == ["passkey", "totp"]
    assert deriving.differences(world.store) == []


def replayed(world: World, subject: Subject, project: Project, at: datetime) -> bool:
    """Whether the entries alone say that somebody may read."""
    told = Replay()
    told.follow([*world.entries("house"), *world.entries(project.client_id)])
    return told.permits(subject.id, "read", "project", project.id, at)


def test_it_lapses_after_its_day(world: World) -> None:
    subject = world.subject()
    with clock.at(START):
        world.activate(subject)
        world.approve(ask(world, subject, OPERATOR), by=SECOND)
        world.do(recovery.forget_lapsed)
        _, token, cancel = under_way(world, subject)
    with clock.at(START + recovery.COOLING + recovery.LIFE):
        for call in (recovery.find, recovery.find_cancel):
            with pytest.raises(errors.Unknown), world.store.reading() as session:
                call(session, token if call is recovery.find else cancel)
        world.do(recovery.forget_lapsed)
        with world.store.reading() as session:
            (row,) = session.execute(select(recovery.Recovery)).scalars()
            assert row.links is None, "nor does the database keep what opened it"
        ask(world, subject, OPERATOR)


def test_the_person_and_any_admin_call_it_off_and_nobody_else(world: World) -> None:
    subject, other, admin = world.subject(), world.subject(), world.staff()
    world.activate(subject)

    def begun() -> tuple[str, str]:
        world.approve(ask(world, subject, OPERATOR), by=SECOND)
        return under_way(world, subject)[1:]

    def cancel(by: Principal) -> None:
        def work(session: Session) -> None:
            row = recovery.pending(session, subject.id)
            assert row is not None
            recovery.cancel(session, row, by=by)

        world.do(work)

    token, by_notice = begun()
    for by in (replace(person(other), roles=()), person(other, "auditor")):
        with pytest.raises(errors.Forbidden):
            cancel(by)
    cancel(replace(person(subject), roles=()))
    token, _ = begun()
    cancel(person(admin))
    token, _ = begun()
    world.do(lambda s: recovery.cancel_by_link(s, under_way_token(s, subject)))
    with pytest.raises(errors.Unknown), world.store.reading() as session:
        recovery.find(session, token)
    with pytest.raises(errors.Unknown):
        world.do(lambda s: recovery.cancel_by_link(s, by_notice))
    cancelled = world.entries("house", "recovery.cancelled")
    assert [entry["actor"] for entry in cancelled] == [subject.id, admin.id, subject.id]


def under_way_token(session: Session, subject: Subject) -> str:
    row = recovery.pending(session, subject.id)
    assert row is not None
    found = recovery.links(session, row)
    assert found is not None
    return found[1]


def test_nobody_is_both_nor_the_person_and_makers_of_the_account_need_another(
    world: World,
) -> None:
    admins = [world.staff() for _ in range(3)]
    ann, bob, cleo = (person(admin) for admin in admins)
    subject = world.do(lambda s: _registered(s, ann))
    world.activate(subject)  # by the system
    with pytest.raises(errors.SamePerson):
        ask(world, admins[0], ann)
    world.activate(admins[0])
    request = ask(world, admins[0], bob)
    with pytest.raises(errors.SamePerson):
        world.approve(request, by=ann)
    # Of the two who made an account, one alone does, but not both.
    world.do(lambda s: _promoted(s, subject, bob))
    request = ask(world, subject, ann)
    with pytest.raises(errors.SamePerson, match="had no part in it"):
        world.approve(request, by=bob)
    with pytest.raises(errors.FreshFactorRequired):
        world.approve(request, by=replace(cleo, factor_at=None))
    world.approve(request, by=cleo)
    with pytest.raises(errors.AlreadyExists):
        ask(world, subject, bob)
    for by in (person(admins[0], "auditor"), replace(bob, factor_at=None)):
        with pytest.raises(errors.Forbidden):
            ask(world, admins[2], by)


def _registered(session: Session, by: Principal) -> Subject:
    return subjects.register(
        session,
        subjects.Particulars.checked(
            external_id="made-by-ann", email="made@people.example", full_name="Made",
            kind="annotator", country="KE",
        ),
        by=by,
    )  # fmt: skip


def _promoted(session: Session, subject: Subject, by: Principal) -> None:
    roles.assign(session, subject, "auditor", reason="needed", by=by)


def test_an_account_in_use_gets_no_activation_link_and_one_that_is_not_no_recovery(
    world: World,
) -> None:
    """A new activation link let one admin alone take over any account."""
    subject, new = world.subject(), world.subject()
    world.activate(subject)
    with pytest.raises(errors.AlreadyExists, match="let back in by a recovery"):
        world.do(lambda s: activation.issue(s, subject, by=OPERATOR))
    with pytest.raises(errors.Invalid, match="activation link"):
        ask(world, new, OPERATOR)
    world.do(lambda s: activation.issue(s, new, by=OPERATOR))


def test_who_leaves_takes_their_way_back_along(world: World) -> None:
    subject = world.subject()
    with clock.at(START):
        world.activate(subject)
        world.approve(ask(world, subject, OPERATOR), by=SECOND)
        _, token, _ = under_way(world, subject)
        world.do(
            lambda s: offboarding.offboard(
                s, s.get_one(Subject, subject.id), reason="left", by=OPERATOR
            )
        )
    with clock.at(START + recovery.COOLING), pytest.raises(errors.Unknown):
        use(world, subject, token)


def test_only_who_approved_is_handed_the_link_and_once(world: World) -> None:
    subject = world.subject()
    world.activate(subject)
    world.approve(ask(world, subject, OPERATOR), by=SECOND)
    _, token, _ = under_way(world, subject)

    def hand_over(by: Principal) -> str | None:
        found: str | None = world.do(lambda s: recovery.hand_over(s, subject.id, by=by))
        return found

    assert hand_over(OPERATOR) is None
    assert hand_over(Principal(kind=Kind.SUBJECT, id=subject.id)) is None
    assert hand_over(SECOND) == token
    assert hand_over(SECOND) is None

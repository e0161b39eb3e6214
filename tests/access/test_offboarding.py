"""Offboarding: everything that a person holds ends at once, and nothing of it comes back."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from govern import errors
from govern.access import offboarding
from govern.access.grants import Grant
from govern.identity import activation, authenticators, roles, sessions, subjects
from govern.identity.subjects import Subject
from tests.factory import OPERATOR, PASSWORD, World, person, row, together


def offboard(world: World, subject: Subject) -> int:
    found: int = world.do(
        lambda s: offboarding.offboard(
            s, s.get_one(Subject, subject.id), reason="left", by=OPERATOR
        )
    )
    return found


def test_grants_sessions_roles_factors_and_links_end_with_the_person(world: World) -> None:
    clients = [world.client("ONE"), world.client("TWO")]
    projects = [world.project(f"p{i}", client=client) for i, client in enumerate(clients)]
    subject = world.staff()
    world.activate(subject)
    for project in projects:
        world.grant(subject, project)
    half = sessions.begin(world.store, subject.email, PASSWORD)
    invited = world.subject()
    link = world.do(lambda s: activation.issue(s, invited, by=OPERATOR))

    assert offboard(world, subject) == 2
    offboard(world, invited)

    with world.store.reading() as session:
        ends = session.execute(select(Grant.ended_at)).scalars().all()
        assert None not in ends
        assert roles.held(session, subject.id) == ()
        assert authenticators.strong(session, subject.id) == []
        assert sessions.resume(session, half) is None
        with pytest.raises(errors.Unknown):
            activation.find(session, link)
    for client, project in zip(clients, projects, strict=True):
        assert world.ask(subject, project).reason == "subject_offboarded"
        assert len(world.entries(client.id, "grant.revoked")) == 1
        assert len(world.entries(client.id, "subject.offboarded")) == 1
    with pytest.raises(errors.SignInFailed):
        sessions.begin(world.store, subject.email, PASSWORD)


def test_who_left_does_not_leave_again_nor_get_a_role_or_a_link(world: World) -> None:
    subject = world.subject()
    offboard(world, subject)
    with pytest.raises(errors.AlreadyEnded):
        offboard(world, subject)
    gone = world.do(lambda s: s.get_one(Subject, subject.id))
    for act in (
        lambda s: roles.assign(s, gone, "admin", reason="x", by=OPERATOR),
        lambda s: activation.issue(s, gone, by=OPERATOR),
        lambda s: subjects.change(s, s.get_one(Subject, gone.id), full_name="X", by=OPERATOR),
    ):
        with pytest.raises(errors.AlreadyEnded):
            world.do(act)


def test_who_comes_back_is_refused_under_the_old_id_and_address(world: World) -> None:
    world.project(client=world.client())
    world.entitlement()
    subject = world.subject("P1")
    offboard(world, subject)
    for external_id, email in (("P1", "new@people.example"), ("P2", subject.email)):
        given = subjects.Particulars.checked(
            external_id=external_id, email=email, full_name="Back", kind="annotator", country="KE"
        )
        with pytest.raises(errors.AlreadyExists):
            world.do(lambda s, given=given: subjects.register(s, given, by=OPERATOR))
    outcome = world.load(row("P1", email=subject.email))
    assert [(fault.line, fault.column) for fault in outcome.rejected] == [(2, "external_id")]


def test_nobody_offboards_themselves(world: World) -> None:
    admin = world.staff()
    with pytest.raises(errors.SamePerson):
        world.do(lambda s: offboarding.offboard(
            s, s.get_one(Subject, admin.id), reason="x", by=person(admin)
        ))  # fmt: skip


def test_of_a_role_given_and_the_holder_leaving_at_once_no_role_is_left(world: World) -> None:
    for number in range(4):
        subject = world.subject(f"leaver-{number}")
        left, given = together(
            world.store,
            lambda s, one=subject: offboarding.offboard(
                s, s.get_one(Subject, one.id), reason="left", by=OPERATOR
            ),
            lambda s, one=subject: roles.assign(
                s, s.get_one(Subject, one.id), "auditor", reason="of use", by=OPERATOR
            ),
        )
        assert left == 0
        assert not isinstance(given, Exception) or isinstance(given, errors.AlreadyEnded)
        with world.store.reading() as session:
            assert roles.held(session, subject.id) == ()

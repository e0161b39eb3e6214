"""One world that holds a bit of everything, most of it signed, beside a rival's."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from govern import clock
from govern.access import concerning, ending, questions, suspensions
from govern.access.grants import Supposing
from govern.access.suspensions import Suspension
from govern.audit import EventType, decisions, holding, record, retention, sealing
from govern.audit.signer import Signer
from govern.identity import preferences, subjects
from govern.principal import SYSTEM
from tests.factory import OPERATOR, SECOND, World, person

if TYPE_CHECKING:
    from govern.access.clients import Project
    from govern.db import Database
    from govern.identity.subjects import Subject

CROWD = 256


def fill(world: World) -> None:
    """A client with a bit of everything in its log, most of it signed; and a rival."""
    store = world.store
    signer = Signer(store.settings)
    aster, rival = world.client("ASTER"), world.client("RIVAL")
    project, other = world.project("Kingfisher", client=aster), world.project("Rook", client=rival)
    people = [world.subject(f"K{number}") for number in range(5)]
    held = [world.grant(each, project) for each in people]
    world.grant(people[0], project, dataset=world.dataset(project))
    world.grant(people[0], other)
    signer.sign(store)
    stopped = world.suspend("project:Kingfisher", "project:Rook", internal_reason="they called")
    world.write_particulars()
    decide(store, project, *people[:4], permit=False)
    sealing.seal(store)
    world.lift(stopped)
    world.write_particulars()
    world.revoke(held[0])
    decide(store, project, *people[:3], permit=True)
    sealing.seal(store)
    append(store, aster.id, CROWD)
    world.staff("admin")
    concerning.follow(store)
    signer.sign(store)
    stands = world.suspend("subject:K4", "dataset:kingfisher-audio", note="We look into it.")
    out = world.do(lambda s: suspensions.ask_release(
        s, s.merge(stands), [s.merge(people[4])], by=OPERATOR))  # fmt: skip
    world.approve(out, by=SECOND)
    world.do(lambda s: suspensions.amend(
        s, s.merge(stands), review_by=clock.now(s) + timedelta(days=9), by=OPERATOR))  # fmt: skip
    world.entitlement("annotator", "read", "annotate", "export")
    world.subject("K9", organisation="Acme")
    world.do(lambda s: suspensions.move(
        s, s.merge(people[0]), subjects.organisation_named(s, "Acme"), by=OPERATOR))  # fmt: skip
    over = world.project("Wren", client=aster)
    world.do(lambda s: ending.end(s, s.merge(over), number=0, reason="over", by=OPERATOR))
    ending.write(store)
    world.suspend(f"people:{world.people_list(people[2], people[3]).id}")
    world.demand("client:ASTER")
    world.staff("auditor", client=aster)
    world.drill("dataset:kingfisher-audio")
    _speak(world, people[2], people[4], stands)
    world.do(lambda s: holding.place(s, aster.id, reason="a case", by=OPERATOR))
    world.do(lambda s: holding.place(s, rival.id, reason="a case", by=OPERATOR))
    world.do(lambda s: holding.release(s, rival.id, reason="over", by=OPERATOR))
    world.do(lambda s: retention.keep(s, aster.id, 0, reason="a case", by=OPERATOR))
    world.write_particulars()
    world.suspend("subject:K3")
    world.revoke(held[1])
    signer.sign(store)
    world.grant(people[1], project)
    decide(store, project, people[1], permit=True)


def _speak(world: World, asker: Subject, reader: Subject, stands: Suspension) -> None:
    """One asks and chooses, another reads a notice; a resume is set, called off and set anew."""
    by = person(asker)
    answered = world.do(lambda s: questions.ask(s, "Kingfisher", "Until when?", by=by))
    world.do(lambda s: questions.write(s, answered.id, "Noon.", seen=1, by=OPERATOR))
    world.do(lambda s: questions.ask(s, "Kingfisher", "And tomorrow?", by=by))
    world.do(lambda s: preferences.set_time_zone(s, "Europe/Berlin", by=by))
    world.do(lambda s: preferences.set_language(s, "de", by=by))
    with world.store.reading() as session:
        notice = suspensions.notices.versions(session, [stands.id])[stands.id][0].id
    world.do(lambda s: suspensions.notices.acknowledge(s, notice, by=person(reader)))
    _set_resume(world, stands)
    world.do(lambda s: suspensions.cancel(s, s.get_one(Suspension, stands.id), by=OPERATOR))
    number = _set_resume(world, stands)
    world.do(
        lambda s: suspensions.confirm(
            s, s.get_one(Suspension, stands.id), number=number, by=OPERATOR
        )
    )


def _set_resume(world: World, stands: Suspension) -> int:
    """Two set when a suspension ends; returns how many grants come back."""
    due = clock.utcnow() + timedelta(hours=12)
    with world.store.reading() as session:
        number = suspensions.returning(session, Supposing(suspension=stands.id))
    asked = world.do(lambda s: suspensions.ask_lift(
        s, s.get_one(Suspension, stands.id), number=number, at=due, by=OPERATOR))  # fmt: skip
    world.approve(asked, by=SECOND)
    return number


def decide(store: Database, project: Project, *people: Subject, permit: bool) -> None:
    """Decisions as they are kept; who asks for one keeps a connection, and this world is copied."""
    row = {
        "at": clock.utcnow(), "kind": "decision", "principal": "int_1", "session_id": None,
        "client_id": project.client_id, "resource_id": project.id, "action": "read",
        "permit": permit, "reason": "permitted" if permit else "project_paused", "as_of": 1,
        "house_as_of": 1, "worked_at": None, "detail": None,
    }  # fmt: skip
    decisions.write(store, [row | {"subject_id": each.id} for each in people])


def append(store: Database, log_id: str, count: int) -> None:
    """Entries that change nothing, so that a tile becomes full."""
    line = record.Line(type=EventType.SESSION_OPENED, refs={"subject": "sub_x"})
    store.transaction(lambda s: record.append_many(s, log_id, [line] * count, by=SYSTEM))

"""Questions: told to the two sides alone, never overwritten, never a flood."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from govern import clock, errors
from govern.access import deriving, erasing, offboarding, questions
from govern.audit.log import Value
from govern.audit.signer import Signer
from govern.identity import preferences
from govern.identity.subjects import Subject
from govern.principal import Kind, Principal
from tests.factory import OPERATOR, person, together

if TYPE_CHECKING:
    from govern.access.questions import Question
    from tests.factory import World


def plain(subject: Subject) -> Principal:
    """Somebody signed in who holds no role."""
    return Principal(kind=Kind.SUBJECT, id=subject.id, roles=(), amr=("pwd",))


def ask(world: World, who: Subject, project: str, words: str = "Why?", **more: str) -> Question:
    return world.do(lambda s: questions.ask(s, project, words, **more, by=plain(who)))


def write(world: World, question: Question, words: str, *, seen: int, by: Principal) -> Question:
    return world.do(lambda s: questions.write(s, question.id, words, seen=seen, by=by))


def said(world: World, question: Question, by: Principal) -> list[tuple[bool, str | None]]:
    with world.store.reading() as session:
        row = questions.find(session, question.id, by=by)
        return [(each.asked, each.text) for each in questions.messages(session, row)]


def test_a_thread_is_of_its_two_sides_and_nobody_else_learns_of_it(world: World) -> None:
    asker, stranger = world.subject(), world.subject()
    aster, rival = world.client("ASTER"), world.client("BOREAL")
    kingfisher = world.project("Kingfisher", client=aster)
    world.project("Heron", client=aster)
    world.grant(asker, kingfisher)
    admin = person(world.staff())
    scoped = person(world.staff(client=aster), client=aster.id)
    foreign = person(world.staff(client=rival), client=rival.id)
    auditor = person(world.staff("auditor"), "auditor")

    question = ask(world, asker, "Kingfisher", "May I log Friday?")
    write(world, question, "Yes, until noon.", seen=1, by=scoped)
    write(world, question, "And Saturday?", seen=2, by=plain(asker))
    thread = [(True, "May I log Friday?"), (False, "Yes, until noon."), (True, "And Saturday?")]
    for by in (plain(asker), admin, scoped):
        assert said(world, question, by) == thread
    for by in (plain(stranger), foreign, auditor):
        with pytest.raises(errors.Unknown):
            said(world, question, by)
        with pytest.raises(errors.Unknown):
            write(world, question, "hm", seen=3, by=by)
    with world.store.reading() as session:
        for by, number in ((admin, 1), (scoped, 1), (foreign, 0)):
            assert len(questions.waiting(session, by=by)[0]) == number
        for by in (plain(stranger), auditor):
            with pytest.raises(errors.Forbidden):
                questions.waiting(session, by=by)
        assert questions.mine(session, by=plain(stranger)) == []
        texts = select(Value.log_id, Value.about).where(Value.name == "text").distinct()
        assert session.execute(texts).all() == [(aster.id, asker.id)], "to be erased with them"
    entries = world.entries(aster.id, "question.asked", "question.answered")
    assert [entry["type"] for entry in entries] == [
        "question.asked", "question.answered", "question.asked",
    ]  # fmt: skip
    assert "Friday" not in str(entries)
    assert world.entries(rival.id, "question.asked", "question.answered") == []

    for code in ("Heron", "Nowhere"):
        with pytest.raises(errors.Unknown, match=f"You are on no project “{code}”"):
            ask(world, asker, code)
    own = ask(world, asker, "", "Am I held?")
    with pytest.raises(errors.Unknown):
        said(world, own, scoped)
    assert said(world, own, admin) == [(True, "Am I held?")]
    assert len(world.entries("house", "question.asked")) == 1


def test_a_suspension_is_asked_about_only_by_whom_it_concerns(world: World) -> None:
    asker, project = world.subject(), world.project("Kingfisher")
    world.grant(asker, project)
    other = world.project("Heron")
    mine, theirs = world.suspend("project:Kingfisher"), world.suspend(f"project:{other.code}")
    question = ask(world, asker, "Kingfisher", suspension=mine.id)
    assert question.suspension_id == mine.id
    for suspension in (theirs.id, "sus_nothing"):
        with pytest.raises(errors.Unknown):
            ask(world, asker, "Kingfisher", suspension=suspension)


def test_an_answer_to_a_thread_that_moved_is_stale_and_of_two_at_once_one_is(
    world: World,
) -> None:
    asker, project = world.subject(), world.project("Kingfisher")
    world.grant(asker, project)
    one, two = person(world.staff()), person(world.staff())
    question = ask(world, asker, "Kingfisher")
    results = together(
        world.store,
        lambda s: questions.write(s, question.id, "Yes.", seen=1, by=one),
        lambda s: questions.write(s, question.id, "No.", seen=1, by=two),
    )
    assert [type(each) for each in results].count(errors.Stale) == 1, results
    assert len(said(world, question, one)) == 2
    with pytest.raises(errors.Stale):
        write(world, question, "Ah.", seen=1, by=plain(asker))


def test_messages_are_bounded_in_length_in_a_row_and_in_a_day(world: World) -> None:
    asker, project = world.subject(), world.project("Kingfisher")
    world.grant(asker, project)
    me, admin = plain(asker), person(world.staff())
    for words in ("", " \n ", "x" * 2001, "\x07"):
        with pytest.raises(errors.Invalid) as caught:
            ask(world, asker, "Kingfisher", words)
        assert caught.value.field == "text"
    question = ask(world, asker, "Kingfisher", "x" * 2000)
    for seen in (1, 2):
        write(world, question, "Hello?", seen=seen, by=me)
    with pytest.raises(errors.Held):
        write(world, question, "Hello??", seen=3, by=me)
    write(world, question, "Here.", seen=3, by=admin)
    write(world, question, "Thanks.", seen=4, by=me)
    for _ in range(questions.A_DAY - 4):
        ask(world, asker, "Kingfisher")
    with pytest.raises(errors.TooManyAttempts) as many:
        ask(world, asker, "Kingfisher")
    assert 86_000 < many.value.retry_after <= 86_400
    with clock.at(clock.utcnow() + timedelta(days=1, minutes=1)):
        ask(world, asker, "Kingfisher")


def test_what_waits_is_paged_by_its_age_and_ends_with_the_one_who_asked(world: World) -> None:
    aster = world.client("ASTER")
    project = world.project("Kingfisher", client=aster)
    people = [world.subject() for _ in range(3)]
    for each in people:
        world.grant(each, project)
    asked = [ask(world, each, "Kingfisher").id for each in people]
    admin = person(world.staff())
    with world.store.reading() as session:
        first, after = questions.waiting(session, limit=2, by=admin)
        assert after is not None
        rest, end = questions.waiting(session, after=after, limit=2, by=admin)
        assert [line.id for line in first + rest] == asked
        assert end is None
        with pytest.raises(errors.Invalid):
            questions.waiting(session, after="1e9.x", by=admin)
    world.do(lambda s: offboarding.offboard(s, s.merge(people[0]), reason="left", by=admin))
    with world.store.reading() as session:
        assert [line.id for line in questions.waiting(session, by=admin)[0]] == asked[1:]


def test_what_was_written_goes_with_whoever_asked_is_erased_and_every_proof_stays(
    world: World,
) -> None:
    asker, neighbour = world.subject(), world.subject()
    project = world.project("Kingfisher")
    for each in (asker, neighbour):
        world.grant(each, project)
    admin = person(world.staff())
    question = ask(world, asker, "Kingfisher", "My quetzal is ill.")
    write(world, question, "Get well, quetzal.", seen=1, by=admin)
    own = ask(world, asker, "", "Am I held, quetzal?")
    other = ask(world, neighbour, "Kingfisher", "May I go?")
    world.do(lambda s: preferences.set_time_zone(s, "Europe/Berlin", by=plain(asker)))
    world.do(lambda s: preferences.set_language(s, "de", by=plain(asker)))
    world.do(lambda s: offboarding.offboard(s, s.merge(asker), reason="left", by=OPERATOR))
    world.do(lambda s: erasing.erase(s, s.get_one(Subject, asker.id), reason="law", by=OPERATOR))
    assert said(world, question, admin) == [(True, None), (False, None)]
    assert said(world, own, admin) == [(True, None)]
    assert said(world, other, admin) == [(True, "May I go?")]
    with world.store.reading() as session:
        left = select(Value.value).where(Value.value.like("%quetzal%"))
        assert session.execute(left).all() == []
    assert deriving.check(world.store, Signer(world.store.settings)).damage == ()

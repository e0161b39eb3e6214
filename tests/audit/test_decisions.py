"""The access log: each decision is on disk before its answer, or the answer is a denial."""

from __future__ import annotations

import hmac
import threading
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text

from govern import config, errors
from govern.access import evaluation
from govern.access.evaluation import Question
from govern.audit import decisions
from govern.audit.decisions import Access, row_id
from govern.identity import integrations
from tests.factory import OPERATOR, T0, World

if TYPE_CHECKING:
    from govern.access.clients import Project
    from govern.identity.subjects import Subject


@pytest.fixture
def granted(world: World) -> tuple[Subject, Project]:
    project, subject = world.project(), world.subject()
    world.grant(subject, project)
    return subject, project


def rows(world: World) -> list[Access]:
    with world.store.access_reading() as session:
        return list(
            session.execute(select(Access).order_by(Access.writer, Access.number)).scalars()
        )


@pytest.mark.asvs("16.3.2")
def test_each_decision_has_its_row_when_its_answer_comes(
    world: World, granted: tuple[Subject, Project]
) -> None:
    subject, project = granted
    for action, permit in (("read", True), ("export", False)):
        decision = world.ask(subject, project, action)
        last = rows(world)[-1]
        assert decision.id == row_id(world.store.settings, last.writer, last.number)
        assert (last.subject_id, last.resource_id, last.action) == (subject.id, project.id, action)
        assert (last.permit, last.reason) == (permit, decision.reason)
        assert (last.as_of, last.house_as_of) == (decision.as_of, decision.house_as_of)
        assert last.principal == OPERATOR.id
    with world.store.reading() as session:
        size = session.execute(
            text("SELECT size FROM log WHERE id = :id"), {"id": project.client_id}
        ).scalar_one()
    assert rows(world)[-1].as_of == size


def test_a_rows_id_is_sealed_by_the_key_of_the_installation(world: World) -> None:
    web_key = config.secret(world.store.settings.keys_dir / "web.key")
    key = hmac.digest(web_key, b"rows of the access log", "sha256")
    for writer, number in (("wri_a", 0), (f"wri_{'z' * 26}", 2**40)):
        sealed = blake2b(f"{writer}-{number}".encode(), key=key, digest_size=12)
        assert row_id(world.store.settings, writer, number) == f"acc_{sealed.hexdigest()}"


def test_a_batch_is_recorded_together_and_in_order(
    world: World, granted: tuple[Subject, Project]
) -> None:
    subject, project = granted
    questions = [
        Question(subject=subject.external_id, action=action, kind="project", code=project.code)
        for action in ("read", "export", "annotate", "read")
    ]
    found = evaluation.decide_many(world.store, questions, by=OPERATOR)
    assert [decision.permit for decision in found] == [True, False, True, True]
    assert [row_id(world.store.settings, row.writer, row.number) for row in rows(world)] == [
        each.id for each in found
    ]
    stopped = evaluation.decide_many(world.store, questions, stop_at=False, by=OPERATOR)
    assert [decision.permit for decision in stopped] == [True, False]
    assert len(rows(world)) == 6


def test_a_writers_numbers_have_no_gap_under_many_threads(
    world: World, granted: tuple[Subject, Project]
) -> None:
    subject, project = granted
    ids: list[str | None] = []

    def ask() -> None:
        ids.extend(world.ask(subject, project).id for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = rows(world)
    assert len(found) == len(set(ids)) == 30
    for _, its_rows in groupby(found, key=lambda row: row.writer):
        own = [row.number for row in its_rows]
        assert own == list(range(len(own)))


@pytest.mark.asvs("16.5.3")
def test_when_the_access_log_cannot_be_written_the_answer_is_a_denial(
    world: World, granted: tuple[Subject, Project]
) -> None:
    subject, project = granted
    assert world.permits(subject, project)
    read = [{"at": T0, "kind": "read", "principal": "x"}]
    decisions.write(world.store, read)
    for away, back in (("access_row", "aside"), ("aside", "access_row")):
        world.store.access_transaction(
            lambda s, away=away, back=back: s.execute(text(f"ALTER TABLE {away} RENAME TO {back}"))
        )
        decision = world.ask(subject, project)
        if back == "aside":
            assert (decision.permit, decision.reason) == (False, "record_failed")
            assert decision.id is None
            with pytest.raises(errors.RecordFailed):
                decisions.write(world.store, read)
        else:
            assert decision.permit
            decisions.write(world.store, read)
    # Whether a row had arrived was unknown, so its writer's numbers are not used again.
    reads = [row for row in rows(world) if row.kind == "read"]
    assert [row.number for row in reads] == [0, 0]


def test_what_a_caller_may_not_know_is_a_denial_that_tells_nothing_but_is_recorded(
    world: World, granted: tuple[Subject, Project]
) -> None:
    subject, project = granted
    mine = world.client("MINE")
    row, secret = world.integration(clients=[mine.id])
    with world.store.reading() as session:
        asker = integrations.authenticate(session, row.id, secret)
    answers = [
        evaluation.decide(
            world.store,
            Question(subject=subject.external_id, action="read", kind="project", code=code),
            by=asker,
        )
        for code in (project.code, "Nonesuch")
    ]
    told = {(a.permit, a.reason, a.as_of, a.subject_id, a.client_id, a.grant_id) for a in answers}
    assert told == {(False, "resource_unknown", None, None, None, None)}
    assert rows(world)[0].resource_id == project.id


def test_who_holds_no_permission_to_ask_is_refused(world: World) -> None:
    from govern.principal import Kind, Principal

    nobody = Principal(kind=Kind.SUBJECT, id="sub_x")
    question = Question(subject="x", action="read", kind="project", code="y")
    with pytest.raises(errors.Forbidden):
        evaluation.decide(world.store, question, by=nobody)

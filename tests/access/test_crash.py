"""A crash amid the particulars loses nothing and doubles nothing, nor do two; others go first."""

from __future__ import annotations

import random
import threading
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from govern import clock, errors
from govern.access.grants import Grant
from govern.access.suspension_tables import Particulars
from govern.access.suspensions import particulars, touching
from govern.audit import reading
from govern.db import Database
from tests.factory import OPERATOR, World
from tests.support import copies

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.access.suspensions import Suspension
    from govern.config import Settings


def refs(entries: list[dict[str, Any]], suspension: Suspension) -> Counter[str]:
    return Counter(
        entry["refs"]["grant"] for entry in entries if entry["refs"]["suspension"] == suspension.id
    )


def write_slowly(settings: Settings, tell: Callable[[object], Any]) -> None:
    particulars.CHUNK = 5
    particulars.write(Database(settings), progress=tell)


def test_particulars_killed_in_the_middle_and_started_again_are_each_there_once(
    world: World,
) -> None:
    client = world.client()
    project = world.project(client=client)
    world.crowd(project, client, 600)
    pause = world.suspend("client:ASTER")
    chance = random.Random()
    for _ in range(3):
        with copies.copy(partial(write_slowly, world.store.settings)) as told:
            for _ in range(chance.randint(1, 5)):
                assert told.readline()
            threading.Event().wait(chance.uniform(0, 0.02))  # where in a chunk is chance
    written = len(world.entries(client.id, "grant.suspended"))
    assert 0 < written < 600
    world.write_particulars()
    with world.store.reading() as session:
        every = set(session.execute(select(Grant.id)).scalars())
    assert refs(world.entries(client.id, "grant.suspended"), pause) == Counter(every)
    assert len(world.entries(client.id, "suspension.recorded")) == 1


def test_two_writers_of_particulars_write_each_entry_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(particulars, "CHUNK", 4)
    client = world.client()
    project = world.project(client=client)
    world.crowd(project, client, 60)
    pauses = [world.suspend("client:ASTER"), world.suspend(f"project:{project.code}")]
    failures: list[BaseException] = []

    def write() -> None:
        try:
            world.write_particulars()
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with world.store.reading() as session:
        every = set(session.execute(select(Grant.id)).scalars())
    entries = world.entries(client.id, "grant.suspended")
    assert [refs(entries, pause) for pause in pauses] == [Counter(every)] * 2
    assert len(world.entries(client.id, "suspension.recorded")) == 2


def test_while_others_ask_it_writes_less_at_a_time_and_rests(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(particulars, "CHUNK", 24)
    client = world.client()
    project = world.project(client=client)
    world.crowd(project, client, 30)

    def written() -> list[int]:
        chunks: list[int] = []
        world.suspend("client:ASTER")
        particulars.write(world.store, progress=chunks.append)
        assert sum(chunks) == 30
        return chunks

    alone = written()
    with clock.at(clock.utcnow() + timedelta(hours=1)):
        world.permits(world.subject(), project)
        assert max(written()) < max(alone)
    with clock.at(clock.utcnow() + timedelta(hours=2)):
        assert written()[0] == alone[0]
        reading.note(world.store, "suspension", client=client.id, by=OPERATOR)
        assert written()[0] == alone[0], "who looks at a pause slows nothing down"


def test_a_long_set_is_counted_once_by_who_writes_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touching, "FIRST", 5)
    monkeypatch.setattr(particulars, "LONG", 0)
    client = world.client()
    world.crowd(world.project(client=client), client, 23)
    world.suspend("client:ASTER")
    world.write_particulars()
    with world.store.reading() as session:
        (task,) = session.execute(select(Particulars)).scalars()
    assert (task.total, task.written) == (23, 23)


def test_a_record_that_cannot_be_written_keeps_no_other_from_being_written(world: World) -> None:
    for code in ("ASTER", "BOREAL"):
        client = world.client(code)
        world.crowd(world.project(f"{code}-1", client=client), client, 3)
    spoilt, other = (world.suspend(f"client:{code}") for code in ("ASTER", "BOREAL"))

    def move(log_id: str) -> None:
        own = update(Particulars).where(Particulars.suspension_id == spoilt.id)
        world.do(lambda session: session.execute(own.values(log_id=log_id)))

    with world.store.reading() as session:
        tasks = {
            task.suspension_id: task for task in session.execute(select(Particulars)).scalars()
        }
    move("cli_nowhere")
    for _ in range(2):
        with pytest.raises(errors.Unknown, match="cli_nowhere"):
            particulars.write(world.store)
    entries = world.entries(tasks[other.id].log_id, "grant.suspended")
    assert refs(entries, other).total() == 3
    move(tasks[spoilt.id].log_id)
    assert particulars.write(world.store) == 3

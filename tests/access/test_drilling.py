"""A drill does all that a pause does, leaves nothing of it, and is kept as evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from govern import errors
from govern.access import suspensions
from govern.access.modes import Mode
from govern.access.suspensions import drilling
from govern.audit import fsck
from govern.audit.log import HOUSE, Log
from govern.audit.signer import Signer
from govern.db import Base, Database
from tests.factory import OPERATOR, World, person

if TYPE_CHECKING:
    from govern.access.suspensions.drilling import Rehearsal
    from govern.principal import Principal


def rehearse(
    world: World, *references: str, mode: Mode = Mode.PAUSED, by: Principal = OPERATOR
) -> Rehearsal:
    with world.store.reading() as session:
        targets = [suspensions.target(session, reference) for reference in references]
    return drilling.rehearse(world.store, targets, mode=mode, by=by)


def state(store: Database) -> dict[str, Any]:
    """How many rows each table has, and how far each log is."""
    with store.reading() as session:
        counts: dict[str, Any] = {
            table.name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for table in Base.metadata.sorted_tables
            # On PostgreSQL the access log is here too: that a drill was held is a row of it.
            if not table.name.startswith("access_row")
        }
        heads = session.execute(select(Log.id, Log.size, Log.last_at)).all()
    return counts | {log_id: (size, last_at) for log_id, size, last_at in heads}


def test_nothing_is_left_of_a_rehearsal_but_its_numbers(world: World) -> None:
    client = world.client("ASTER")
    project = world.project("Kingfisher", client=client)
    people = [world.subject() for _ in range(3)]
    for one in people:
        world.grant(one, project)
    before = state(world.store)
    found = rehearse(world, "client:ASTER", f"subject:{people[0].external_id}")
    assert state(world.store) == before
    assert world.permits(people[0], project)
    assert world.write_particulars() == 0
    assert found.microseconds > 0
    assert (found.chunk, found.rate is not None) == (3, True)
    shares = {share.log: share for share in found.shares}
    assert (shares[client.id].grants, shares[client.id].people) == (3, 3)
    assert (shares[HOUSE].grants, shares[HOUSE].people) == (1, 1)

    # What is kept is what a pause in earnest would say of itself.
    (row,) = world.drill("client:ASTER")
    world.suspend("client:ASTER")
    world.write_particulars()
    (entry,) = world.entries(client.id, "drill.held")
    (closing,) = world.entries(client.id, "suspension.recorded")
    assert entry["data"]["digest"] == row.digest == closing["data"]["digest"]
    assert entry["data"]["grants"] == closing["data"]["count"] == 3
    assert world.entries(HOUSE, "drill.held") == []
    Signer(world.store.settings).sign(world.store)
    report = fsck.run(world.store, Signer(world.store.settings))
    assert report.ok, report.damage


def test_a_drill_over_several_clients_tells_each_of_its_own(world: World) -> None:
    rows = {}
    for code in ("ASTER", "BOREAL"):
        project = world.project(f"{code}-project", client=world.client(code))
        for _ in range(len(rows) + 1):
            world.grant(world.subject(), project)
        rows[code] = project
    kept = world.drill("client:ASTER", "project:BOREAL-project")
    assert {row.log_id: row.grants for row in kept} == {
        rows["ASTER"].client_id: 1,
        rows["BOREAL"].client_id: 2,
    }
    (entry,) = world.entries(rows["ASTER"].client_id, "drill.held")
    assert rows["BOREAL"].id not in str(entry)
    auditor = person(world.staff("auditor"), "auditor", client=rows["ASTER"].client_id)
    with world.store.reading() as session:
        shown, after = drilling.page(session, by=auditor)
        assert [(one.log, one.covers, one.by) for one in shown] == [
            ("ASTER", ("ASTER",), "operator:tester")
        ]
        assert after is None
        other = next(row for row in kept if row.log_id != rows["ASTER"].client_id)
        with pytest.raises(errors.Unknown):
            drilling.find(session, other.id, by=auditor)
        first, after = drilling.page(session, limit=1, by=OPERATOR)
        rest, end = drilling.page(session, after=after or "", limit=1, by=OPERATOR)
        assert {one.id for one in (*first, *rest)} == {row.id for row in kept}
        assert end is None
        target = suspensions.target(session, "project:ASTER-project")
        last = drilling.latest(session, [target], by=OPERATOR)
        assert last is not None
        assert last.id == shown[0].id
    with pytest.raises(errors.Forbidden):
        rehearse(world, "client:ASTER", by=auditor)

"""An export in the background has the bytes of one in one go, whatever happens while it is made."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from govern import clock, errors
from govern.access import erasing
from govern.audit import EventType, export, exporting, exports, lines
from govern.audit.decisions import Access
from govern.audit.export import Filter
from govern.audit.exports import State
from govern.audit.signer import Signer
from govern.db import Database
from govern.principal import Kind, Principal, RoleHeld
from tests.audit.test_export import auditor, checked, fill, signed
from tests.audit.test_fsck import tamper
from tests.factory import OPERATOR
from tests.support import copies

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from govern.audit.exports import LogExport
    from govern.config import Settings
    from tests.factory import World

SIZE, CHUNK = 600, 160  # more than two tiles, and chunks that end within them


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "CHUNK", CHUNK)


def ask(
    world: World, form: str = "jsonl", where: Filter | None = None, *,
    client: str | None = None, by: Principal = OPERATOR,
) -> LogExport:  # fmt: skip
    signed(world.store)
    return world.do(
        lambda s: exports.ask(s, form=form, client=client, where=where or Filter(), by=by)
    )


def now_of(world: World, row: LogExport) -> LogExport:
    with world.store.reading() as session:
        return session.get_one(exports.LogExport, row.id)


def taken(world: World, row: LogExport, by: Principal = OPERATOR) -> bytes:
    _, path = world.do(lambda s: exports.take(s, row.id, by=by))
    return path.read_bytes()


def in_one_go(world: World, row: LogExport) -> bytes:
    """The file that nobody interrupted, with the same first line."""
    out = BytesIO()
    with world.store.reading() as session, export.File(out, row.form, None) as file:
        file.begin(row.fields)
        for head in row.fields["logs"]:
            file.write([lines.begin(head["log"])])
            export.write_log(session, file, head, row.where)
        file.finish(Signer(world.store.settings))
    return out.getvalue()


def test_it_is_byte_for_byte_an_export_in_one_go_in_every_form_and_with_every_filter(
    world: World,
) -> None:
    client = world.client("ASTER").id
    fill(world.store, client, SIZE)
    steps: list[int] = []
    for form, where in (
        ("jsonl", Filter()),
        ("csv", Filter(subject="sub_1", types=("grant.issued",))),
        ("jsonl", Filter(actor="nobody")),
        ("ocsf", Filter(project="prj_3")),
        ("parquet", Filter(subject="sub_2")),
    ):
        row = ask(world, form, where)
        assert Filter.of(row.fields["filter"]) == where
        assert exporting.work(world.store, progress=steps.append) == 1
        file, done = taken(world, row), now_of(world, row)
        assert file == in_one_go(world, row)
        assert (done.state, done.passed, done.bytes) == (State.READY, done.total, len(file))
        if form in {"jsonl", "csv"}:
            report = checked(world.store, file)
            assert report.ok, report.damage
            assert report.rows == done.rows
    assert len(steps) >= 5 * (SIZE // CHUNK)
    [first, *_] = world.entries("house", EventType.EXPORT_READY)
    assert first["actor"] == "system"
    assert len(world.entries("house", EventType.EXPORT_ASKED)) == 5


def killed(world: World, after: int) -> None:
    """Have another process write it, which dies once it has passed so many entries."""

    def work(tell: Callable[[object], Any]) -> None:
        def told(passed: int) -> None:
            if passed > after:
                tell(passed)
                signal.pause()

        exporting.work(Database(world.store.settings), progress=told)

    with copies.copy(work) as told:
        assert told.readline()


def test_killed_in_the_middle_it_goes_on_and_the_file_is_as_if_it_never_was(world: World) -> None:
    fill(world.store, world.client("ASTER").id, SIZE)
    row = ask(world, "csv", Filter(project="prj_3"))
    start, places = clock.utcnow(), []
    for after in (CHUNK // 2, 2 * CHUNK):
        killed(world, after)
        places.append(now_of(world, row))
        # Who died says nothing: another takes over when the claim is over.
        assert exporting.work(world.store) == 0
        world.do(lambda s: setattr(s.get_one(exports.LogExport, row.id), "held_until", start))
        kept = exports.folder(world.store.settings) / str(places[-1].file)
        with kept.open("ab") as file:
            file.write(b"what was not said to be durable")
    assert 0 < places[0].bytes < places[1].bytes
    assert places[1].state == State.WRITING
    assert exporting.work(world.store) == 1
    assert taken(world, row) == in_one_go(world, row)


def test_who_was_slow_and_lost_its_claim_changes_nothing_any_more(world: World) -> None:
    fill(world.store, world.client("ASTER").id, SIZE)
    row = ask(world)
    later = clock.utcnow() + timedelta(minutes=5)
    others: list[int] = []

    def slow(_passed: int) -> None:
        if not others:
            with clock.at(later):
                others.append(exporting.work(world.store))

    assert exporting.work(world.store, progress=slow) == 0
    assert others == [1]
    assert taken(world, row) == in_one_go(world, row)
    exporting.clear(world.store)
    assert [each.name for each in exports.folder(world.store.settings).iterdir()] == [
        now_of(world, row).file
    ]


def test_stopped_between_two_chunks_it_goes_on_at_once_also_where_its_file_is_not(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    fill(world.store, world.client("ASTER").id, SIZE)
    row = ask(world)

    def stop(_passed: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exporting.work(world.store, progress=stop)
    begun = now_of(world, row)
    assert (begun.state, begun.passed > 0, begun.holder) == (State.WRITING, True, None)
    elsewhere = Database(replace(settings, export_dir=tmp_path / "elsewhere"))
    assert exporting.work(elsewhere) == 1
    elsewhere.dispose()
    with pytest.raises(errors.Unavailable, match="not on this node"):
        taken(world, row)
    made = tmp_path / "elsewhere" / str(now_of(world, row).file)
    assert made.read_bytes() == in_one_go(world, row)
    assert made.stat().st_mode & 0o077 == 0


def test_an_erasure_meanwhile_is_in_the_file_and_one_afterwards_ends_it(world: World) -> None:
    client = world.client("ASTER").id
    fill(world.store, client, SIZE)
    people = [world.subject() for _ in range(2)]
    row = ask(world)

    def erase(_passed: int) -> None:
        if people:
            who = people.pop()
            world.do(lambda s: erasing.erase(s, s.get_one(type(who), who.id), reason="asked",
                                             by=OPERATOR))  # fmt: skip
            people.clear()

    other = people[0]
    assert exporting.work(world.store, progress=erase) == 0
    assert "begins again" in now_of(world, row).error
    signed(world.store)
    with clock.at(clock.utcnow() + timedelta(minutes=1)):
        assert exporting.work(world.store) == 1
    report = checked(world.store, taken(world, row))
    assert report.ok, report.damage
    assert any("erased before the file" in words for words in report.does_not_prove)

    people.append(other)
    erase(0)
    with pytest.raises(errors.AlreadyEnded, match="erased"):
        taken(world, row)
    exporting.clear(world.store)
    assert (now_of(world, row).state, "erased" in now_of(world, row).error) == (
        State.EXPIRED, True,
    )  # fmt: skip
    assert not [*exports.folder(world.store.settings).iterdir()]


def test_only_who_asked_may_fetch_it_while_they_may_export_what_is_in_it(world: World) -> None:
    aster, boreal = world.client("ASTER").id, world.client("BOREAL").id
    fill(world.store, aster, 50)
    row = ask(world, where=Filter(subject="sub_1"), by=auditor(aster))
    assert [head["log"] for head in row.fields["logs"]] == [aster]
    assert row.fields["withheld"] == ["other_logs"]
    with pytest.raises(errors.Unavailable, match="not ready"):
        taken(world, row, auditor(aster))
    assert exporting.work(world.store) == 1
    with world.store.reading() as session:
        assert exports.news(session, by=auditor(aster))
        assert [each.id for each in exports.mine(session, by=auditor(aster))] == [row.id]
        assert exports.mine(session, by=OPERATOR) == []
        with pytest.raises(errors.Forbidden):
            exports.mine(session, by=Principal(kind=Kind.SUBJECT, id="sub_auditor"))
    other = replace(auditor(), id="sub_other")
    for by, refusal in (
        (other, errors.Unknown),
        (auditor(boreal), errors.Unknown),
        (auditor(aster, fresh=False), errors.FreshFactorRequired),
        (replace(auditor(), roles=(RoleHeld("admin"),)), errors.Forbidden),
    ):
        with pytest.raises(refusal):
            taken(world, row, by)
    with world.store.access_reading() as session:
        assert session.execute(select(Access).where(Access.kind == "export")).first() is None
    file = taken(world, row, auditor(aster))
    assert b"sub_1" in file
    with world.store.access_reading() as session:
        noted = session.execute(select(Access).where(Access.kind == "export")).scalar_one()
    assert (noted.principal, noted.client_id, noted.subject_id) == ("sub_auditor", aster, "sub_1")
    assert row.id in str(noted.detail)
    with world.store.reading() as session:
        assert not exports.news(session, by=auditor(aster))

    with pytest.raises(errors.FreshFactorRequired):
        ask(world, by=auditor(fresh=False))
    for client in (boreal, "cli_none"):
        with pytest.raises(errors.Unknown):
            ask(world, client=client, by=auditor(aster))
    for _ in range(exports.MOST):
        ask(world)
    with pytest.raises(errors.Conflict, match="under way"):
        ask(world)
    with pytest.raises(errors.Invalid, match="none of"):
        ask(world, "pack", by=auditor())


def test_its_file_goes_after_its_days_and_the_row_a_month_later(world: World) -> None:
    world.client("ASTER")
    row = ask(world)
    assert exporting.work(world.store) == 1
    days = timedelta(days=world.store.settings.export_days, seconds=1)
    with clock.at(clock.utcnow() + days):
        with pytest.raises(errors.AlreadyEnded):
            taken(world, row)
        exporting.clear(world.store)
        assert now_of(world, row).state == State.EXPIRED
        assert not [*exports.folder(world.store.settings).iterdir()]
    with clock.at(clock.utcnow() + days + exports.REMEMBERED):
        exporting.clear(world.store)
        with world.store.reading() as session, pytest.raises(errors.Unknown):
            exports.find(session, row.id, by=OPERATOR)


def test_what_fails_is_told_in_words_and_tried_again_where_that_may_help(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    client = world.client("ASTER").id
    fill(world.store, client, 300)
    row = ask(world)
    (tmp_path / "file").write_bytes(b"")
    broken = Database(replace(settings, export_dir=tmp_path / "file"))
    assert exporting.work(broken) == 0
    assert now_of(world, row).error == "The folder of exports cannot be written: File exists."
    now = clock.utcnow()
    for minutes in range(1, 6):
        with clock.at(now + timedelta(minutes=minutes)):
            assert exporting.work(broken) == 0
    broken.dispose()
    failed = now_of(world, row)
    assert (failed.state, failed.error) == (
        State.FAILED, "It was begun 5 times without getting any further.",
    )  # fmt: skip
    assert len(world.entries("house", EventType.EXPORT_FAILED)) == 1

    damaged = ask(world, where=Filter(subject="sub_1"), client=client)
    tamper(world.store, f"DELETE FROM log_entry WHERE log_id = '{client}' AND seq = 290")
    assert exporting.work(world.store) == 0
    assert "entries are missing" in now_of(world, damaged).error
    with pytest.raises(errors.Unavailable, match="not ready"):
        taken(world, damaged)

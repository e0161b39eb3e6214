"""`bench evidence`: the export of a million entries, its proof and its check, beside a bare cursor.

The entries are those of a pause. The floor of an export is a cursor whose leaves go to a file as
they are; that of a check is the same file read, split into lines and hashed.
"""

from __future__ import annotations

import io
import multiprocessing
import subprocess
import sys
import tempfile
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import select, update

from bench import world
from bench.figures import Figure, store, timed
from govern import clock, prepared
from govern.access import clients
from govern.audit import export, leaf, single
from govern.audit.log import Entry, Log
from govern.audit.signer import Signer
from govern.clock import TICK
from govern.db import Database, insert_many

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from multiprocessing.connection import Connection

    from govern.config import Settings
    from govern.db import Session

ROWS = 1_000_000
_CHUNK = 10_000


def run(kind: str) -> Iterator[Figure]:
    """Fill and sign a log, export it whole and a range of it, and check the file."""
    with store(kind) as database, tempfile.TemporaryDirectory() as folder:
        world.load_catalogue(database)
        with database.reading() as session:
            log_id = clients.client(session, "ASTER").id
        begun = database.transaction(partial(_fill, log_id=log_id))
        Signer(database.settings).sign(database)
        yield from _measured(kind, database, log_id, begun, Path(folder))


def _measured(
    kind: str, database: Database, log_id: str, begun: datetime, folder: Path
) -> Iterator[Figure]:
    figure = partial(Figure, bench="evidence", database=kind)
    floor = _floor(database, log_id, folder / "floor")
    whole = folder / "whole.jsonl"
    entire, took, grew = _apart(database.settings, log_id, whole, export.Filter())
    floor = max(floor, _floor(database, log_id, folder / "floor"))
    yield figure(
        name="export as JSON Lines", value=entire / took, unit="entries/s", floor=floor, n=entire
    )
    yield figure(name="memory that the export takes more", value=grew, unit="MB", n=entire)
    hundredth = ROWS // 100 * TICK
    where = export.Filter(begin=begun + hundredth, end=begun + 99 * hundredth)
    part = folder / "part.jsonl"
    rows, took, _ = _apart(database.settings, log_id, part, where)
    yield figure(
        name="export of a range with its proof", value=rows / took, unit="entries/s", floor=floor,
        n=rows,
    )  # fmt: skip
    (folder / "verify.py").write_text(single.source())
    check = [sys.executable, "-I", "verify.py", "--key", Signer(database.settings).key]
    for name, file, shown in (("whole", whole, entire), ("range", part, rows)):
        bare = timed(partial(_hash_lines, file))
        took = timed(partial(subprocess.run, [*check, file], cwd=folder, check=True,
                             stdout=subprocess.DEVNULL))  # fmt: skip
        yield figure(
            name=f"verify.py of the {name}", value=shown / took, unit="entries/s",
            floor=shown / bare, n=shown,
        )  # fmt: skip


def _apart(
    settings: Settings, log_id: str, out: Path, where: export.Filter
) -> tuple[int, float, float]:
    """Export in a process of its own: entries, seconds, and MB more than before it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_export, args=(settings, log_id, out, where, there))
    process.start()
    there.close()
    rows, took, grew = here.recv()
    process.join()
    return rows, took, grew


def _export(
    settings: Settings, log_id: str, out: Path, where: export.Filter, told: Connection
) -> None:
    database = Database(settings)
    # What a process takes to come up is not the export's.
    small = export.Filter(types=("of.none",))
    export.run(database, io.BytesIO(), form="jsonl", client=log_id, where=small, by=world.BY)
    before = _peak()
    rows = 0

    def work() -> None:
        nonlocal rows
        with out.open("wb") as file:
            rows = export.run(
                database, file, form="jsonl", client=log_id, where=where, by=world.BY
            ).rows

    took = timed(work)
    told.send((rows, took, _peak() - before))
    database.dispose()


def _peak() -> float:
    """The most memory that this process ever had, in MB; not what its parent had before it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _floor(database: Database, log_id: str, out: Path) -> float:
    """Leaves a second from a bare cursor to a file."""

    def work() -> None:
        chosen = select(Entry.leaf).where(Entry.log_id == log_id).order_by(Entry.seq)
        with database.reading() as session, out.open("wb") as file:
            for rows in prepared.stream(session.connection(), chosen, size=_CHUNK):
                for (body,) in rows:
                    file.write(body)
                    file.write(b"\n")

    return ROWS / timed(work)


def _hash_lines(file: Path) -> None:
    with file.open("rb") as stream:
        for line in stream:
            sha256(line).digest()


def _fill(session: Session, log_id: str) -> datetime:
    """Write particulars of a pause, as barely as can be, behind what the log holds."""
    head = session.execute(select(Log).where(Log.id == log_id)).scalar_one()
    begun = clock.now(session) + TICK
    insert_many(session, cast("Any", Entry.__table__), _entries(log_id, head.size, begun))
    session.execute(
        update(Log)
        .where(Log.id == log_id)
        .values(size=head.size + ROWS, last_at=begun + ROWS * TICK)
    )
    return begun


def _entries(log_id: str, size: int, begun: datetime) -> Iterator[tuple[Any, ...]]:
    form = leaf.Form(
        log=log_id, type="grant.suspended", actor="system", refs={"client": log_id},
        differing=["grant", "project", "subject", "suspension"], data={"mode": "paused"},
    )  # fmt: skip
    for first in range(size, size + ROWS, _CHUNK):
        seqs = range(first, first + _CHUNK)
        times = [begun + (seq - size + 1) * TICK for seq in seqs]
        ids = [
            (f"grt_{seq:024}", f"prj_{seq % 9:024}", f"sub_{seq % 20_000:024}", f"sus_{0:024}")
            for seq in seqs
        ]
        leaves = leaf.filled(
            [(form, each) for each in ids], leaf.salts(_CHUNK), seqs, map(clock.text, times)
        )
        for seq, at, (_, project, subject, suspension), body in zip(
            seqs, times, ids, leaves, strict=True
        ):
            yield (
                log_id, seq, at, "grant.suspended", "system", subject, project, suspension, body,
                sha256(b"\x00" + body).digest(),
            )  # fmt: skip

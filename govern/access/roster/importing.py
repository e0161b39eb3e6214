"""The roster: people and their grants from a CSV file, judged whole before a row is written.

Rows are told accepted, unchanged or rejected, with the leftmost column at fault. Without
`skip_rejected` a file with a rejected row changes nothing. What is accepted goes in by chunks that
hold no log's head for long; each is judged again under the lock, so that a pause which comes
during an import stops it there, and running the same file again takes up where it was left.
An import revokes nothing, never changes an address, and never lets anyone out of a suspension.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING

from sqlalchemy import exc as sa_exc

from govern import clock, errors, permissions
from govern.access.roster.apply import apply
from govern.access.roster.judge import COLUMNS, Judge, Outcome, Rejected, records
from govern.access.roster.previewing import Preview, previewed
from govern.identity import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from govern.db import Database
    from govern.principal import Principal


def load(
    database: Database,
    stream: IO[bytes],
    *,
    dry_run: bool = False,
    skip_rejected: bool = False,
    expected: str | None = None,
    by: Principal,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Judge a file whole, then take in what is new.

    `Invalid` when it is no roster at all. With `dry_run`, or with a rejected row and no
    `skip_rejected`, nothing is written and `applied` stays false. `Stale` when it would do
    something else than the preview of the digest `expected` said.
    """
    with database.reading() as session:
        permissions.require(by, "roster:import", now=None if dry_run else clock.now(session))
        judge = Judge(session)
        rows, outcome = judge.file(stream)
        if expected is not None and previewed(judge, outcome).digest != expected:
            raise errors.Stale(
                "Since the preview something changed that this file depends on. Nothing was "
                "written; look at the new preview."
            )
    if dry_run or (outcome.rejected and not skip_rejected):
        return outcome
    try:
        apply(database, judge, rows, outcome, by=by, progress=progress)
    except sa_exc.IntegrityError as error:
        raise errors.Stale(
            "Someone else changed the same people meanwhile. Run the same file again: what is "
            "written already stays, and will be found unchanged."
        ) from error
    outcome.applied = True
    return outcome


def preview(database: Database, stream: IO[bytes], *, by: Principal) -> Preview:
    """Say what `load` would do with a file now; it judges by the same rules, and writes nothing."""
    permissions.require(by, "roster:import")
    with database.reading() as session:
        judge = Judge(session)
        _, outcome = judge.file(stream)
        return previewed(judge, outcome)


def rejected(
    database: Database, given: bytes, *, by: Principal
) -> Iterator[tuple[Rejected, list[str]]]:
    """Each row that would be rejected now, with its cells as they stand in the file."""
    faults = load(database, io.BytesIO(given), dry_run=True, by=by).rejected
    by_line = {fault.line: fault for fault in faults}
    for line, cells in records(io.BytesIO(given)):
        if line in by_line:
            yield by_line[line], cells


def people(stream: IO[bytes]) -> list[str]:
    """The external ids that a roster names, each once, in the order of their first line."""
    place = COLUMNS.index("external_id")
    return list(
        dict.fromkeys(
            typed.clean(cells[place]) for _, cells in records(stream) if len(cells) > place
        )
    )

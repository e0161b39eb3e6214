"""The roster: people and their grants from a CSV file, judged whole before a row is written.

Rows are told accepted, unchanged or rejected, with the leftmost column at fault. Without
`skip_rejected` a file with a rejected row changes nothing. What is accepted goes in by chunks that
hold no log's head for long; each is judged again under the lock, so that a pause which comes
during an import stops it there, and running the same file again takes up where it was left.
An import revokes nothing, never changes an address, and never lets anyone out of a suspension.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from sqlalchemy import exc as sa_exc

from govern import errors, permissions
from govern.access.roster.apply import apply
from govern.access.roster.judge import COLUMNS, Judge, Outcome, records
from govern.identity import subjects

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db import Database
    from govern.principal import Principal


def load(
    database: Database,
    stream: IO[bytes],
    *,
    dry_run: bool = False,
    skip_rejected: bool = False,
    by: Principal,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Judge a file whole, then take in what is new.

    `Invalid` when it is no roster at all. With `dry_run`, or with a rejected row and no
    `skip_rejected`, nothing is written and `applied` stays false.
    """
    permissions.require(by, "roster:import")
    with database.reading() as session:
        judge = Judge(session)
        rows, outcome = judge.file(stream)
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


def people(stream: IO[bytes]) -> list[str]:
    """The external ids that a roster names, each once, in the order of their first line."""
    place = COLUMNS.index("external_id")
    return list(
        dict.fromkeys(
            subjects.clean(cells[place]) for _, cells in records(stream) if len(cells) > place
        )
    )

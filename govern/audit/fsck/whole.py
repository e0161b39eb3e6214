"""The check of a whole database: every log, then the access log that the house's log seals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from govern.audit import log, verify
from govern.audit.fsck.entries import LogCheck
from govern.audit.fsck.report import Report
from govern.audit.fsck.rows import AccessCheck
from govern.audit.log import Checkpoint, Entry, Tile, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.orm import Session

    from govern.audit.signer import Signer
    from govern.db import Database


def run(
    database: Database,
    signer: Signer | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Check every log; without its signer, signatures and what it remembers are not looked at."""
    # Read before the snapshot: what the signer remembered then, the snapshot must hold.
    memory = signer.heads() if signer else {}
    keys = verify.read_keys([signer.key]) if signer else []
    checks: list[LogCheck] = []
    entries = 0
    with database.reading() as session:
        heads = {head.id: head for head in log.logs(session)}
        for log_id in sorted({*heads, *memory, *_ids(session)}):
            one = LogCheck(session, log_id, heads.get(log_id), memory.get(log_id), keys)
            for done in one.run():
                if progress is not None:
                    progress(entries + done)
            entries += one.entries
            checks.append(one)
        access = AccessCheck(database, session)
        access.run()
    found = sum(one.found for one in checks) + access.found
    damage = [each for one in checks for each in one.damage] + access.damage
    return Report(
        ok=not found,
        entries=entries,
        rows=access.rows,
        logs=tuple(heads),
        damage=tuple(damage),
        unnamed=found - len(damage),
        not_proven=tuple(access.not_proven),
    )


def _ids(session: Session) -> Iterator[str]:
    """The logs of which there is anything at all, whether or not there is a head."""
    for table in (Entry, Value, Tile, Checkpoint):
        last: str | None = ""
        while last is not None:
            query = select(func.min(table.log_id)).where(table.log_id > last)
            last = session.execute(query).scalar_one()
            if last is not None:
                yield last

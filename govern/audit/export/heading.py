"""The heading of an export: each log with its newest checkpoint, and what is not there and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from govern import clock, errors, replica
from govern.audit import log, witnessing
from govern.audit.export.filters import accounting
from govern.audit.log import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from govern.audit.export.filters import Filter
    from govern.db import Session


def header(
    session: Session, logs: Sequence[str], where: Filter, withheld: Sequence[str]
) -> dict[str, Any]:
    """What the first line says; `Unavailable` when none of the logs was signed yet."""
    heads, unsigned = _heads(session, logs, where)
    if not heads:
        raise errors.Unavailable("Nothing of these logs is signed yet: try again in a moment.")
    fields = {"made_at": clock.text(replica.as_of(session)), "filter": where.words(), "logs": heads}
    stated = {"unsigned": unsigned, "withheld": list(withheld)}
    return fields | {name: said for name, said in stated.items() if said}


def _heads(
    session: Session, logs: Sequence[str], where: Filter
) -> tuple[list[dict[str, Any]], list[str]]:
    """What the header says of each log that was signed, and the ids of the others."""
    heads: list[dict[str, Any]] = []
    unsigned = []
    for log_id in logs:
        origin = log.known(session, log_id).origin
        signed = log.latest_checkpoint(session, log_id)
        if signed is None:
            unsigned.append(log_id)
            continue
        through = session.execute(
            select(Entry.at).where(Entry.log_id == log_id, Entry.seq == signed.size - 1)
        ).scalar_one_or_none()
        erasures = _erasures(session, log_id, signed.size, where)
        witnessed = witnessing.newest(session, log_id)
        heads.append({
            "log": log_id, "origin": origin, "size": signed.size, "checkpoint": signed.note,
            **({"through": clock.text(through)} if through is not None else {}),
            **({"cosigned": witnessed} if witnessed else {}),
            **({"erasures": erasures} if erasures else {}),
        })  # fmt: skip
    return heads, unsigned


def _erasures(session: Session, log_id: str, size: int, where: Filter) -> int:
    """How many of these there are; `Unavailable` while one of them is not signed yet."""
    query = select(func.count(), func.max(Entry.seq)).where(
        Entry.log_id == log_id, *accounting(where)
    )
    count, last = session.execute(query).one()
    if count and last >= size:
        raise errors.Unavailable("An erasure is not signed yet: try again in a moment.")
    return int(count)

"""Streams: whoever follows the logs is told each signed entry in order, and that none is missing.

A cursor names a place in each log. An answer holds one run of entries of each log that has news,
and a run begins where the cursor stood: so whoever compares the two sees that nothing is missing.
Entries are the export's lines, byte for byte. Nothing is told that is not signed: what was told
once can be held against us. A log that the reader may read no more is told no more.
"""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import errors, permissions
from govern.audit import leaf, lines, log
from govern.audit.log import Entry, Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.orm import Session

    from govern.db import Database
    from govern.principal import Principal

# Readers of one process that wait for news at once, of the threads that answer all requests.
WAITERS = 4
LONGEST = 25  # seconds
_AGAIN = 2  # seconds, for whoever finds no room
_EVERY = 0.5  # as often as heads are signed


@dataclass(frozen=True, kw_only=True)
class Run:
    """The entries [begin, end) of one log, each as a line of an export has it.

    `size` are signed, by `checkpoint`.
    """

    log: str
    origin: str
    begin: int
    end: int
    size: int
    checkpoint: str
    lines: tuple[bytes, ...]


def readable(session: Session, *, by: Principal) -> list[str]:
    """The logs whose entries `by` may be told with their values: as for an export."""
    clients = permissions.require_some(by, "log:export")
    if clients is not None:
        return sorted(clients)
    return [head.id for head in log.logs(session)]


def news(
    session: Session, places: Mapping[str, int], *, limit: int, by: Principal
) -> tuple[list[Run], dict[str, int]]:
    """At most about `limit` entries behind these places, log by log, and the places afterwards.

    `Invalid` when a place lies behind what is signed: then the cursor is not of this database.
    `LogDamaged` when an entry is missing.
    """
    logs = readable(session, by=by)
    sizes = _signed(session)
    for log_id in logs:
        if places.get(log_id, 0) > sizes.get(log_id, 0):
            raise errors.Invalid("after: it names entries that are not here", field="after")
    behind = [each for each in logs if places.get(each, 0) < sizes.get(each, 0)][:limit]
    share = limit // max(len(behind), 1)  # a busy log keeps no other waiting
    runs = [run(session, each, places.get(each, 0), most=share) for each in behind]
    after = {each: places.get(each, 0) for each in logs} | {each.log: each.end for each in runs}
    return runs, after


def run(session: Session, log_id: str, begin: int, *, most: int) -> Run:
    """The next entries of one log; the caller answers for the right to read it."""
    signed = log.latest_checkpoint(session, log_id)
    size = signed.size if signed is not None else 0
    end = max(begin, min(begin + most, size))
    within = (Entry.log_id == log_id, Entry.seq >= begin, Entry.seq < end)
    rows = session.execute(
        select(Entry.seq, Entry.leaf, Entry.hash).where(*within).order_by(Entry.seq)
    ).all()
    if [row.seq for row in rows] != list(range(begin, end)):
        raise errors.LogDamaged(f"Of the log {log_id} entries are missing: run govern log fsck.")
    values: dict[int, dict[str, list[str] | None]] = {}
    for seq, name, salt, value in session.execute(
        select(Value.seq, Value.name, Value.salt, Value.value).where(
            Value.log_id == log_id, Value.seq >= begin, Value.seq < end
        )
    ):
        values.setdefault(seq, {})[name] = None if salt is None else [salt, str(value)]
    return Run(
        log=log_id, origin=log.known(session, log_id).origin, begin=begin, end=end, size=size,
        checkpoint=signed.note if signed is not None else "",
        lines=tuple(
            lines.entry(row.seq, lines.encode(row.hash), values.get(row.seq), row.leaf)
            for row in rows
        ),
    )  # fmt: skip


def wait(database: Database, places: Mapping[str, int], *, seconds: int, by: Principal) -> None:
    """Return as soon as one of the logs has news, or the time is over; no transaction is held.

    `Busy` when as many wait already as may.
    """
    if seconds <= 0:
        return
    ends = time.monotonic() + seconds
    with _waiting():
        while True:
            with database.reading() as session:
                logs, sizes = readable(session, by=by), _signed(session)
            if any(places.get(each, 0) < sizes.get(each, 0) for each in logs):
                return
            left = ends - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_EVERY, left))


_room = threading.BoundedSemaphore(WAITERS)


@contextmanager
def _waiting() -> Iterator[None]:
    if not _room.acquire(blocking=False):
        raise errors.Busy(
            "Too many wait for news already: ask again, or without wait.", retry_after=_AGAIN
        )
    try:
        yield
    finally:
        _room.release()


def _signed(session: Session) -> dict[str, int]:
    """How many entries of each log are signed."""
    return {log_id: signed for log_id, (_, _, signed) in log.signed_sizes(session).items()}


def cursor(places: Mapping[str, int]) -> str:
    """The places as one text."""
    return urlsafe_b64encode(leaf.canonical(dict(places))).decode().rstrip("=")


def places_of(after: str) -> dict[str, int]:
    """The places that a cursor names; none for the empty one. `Invalid` when it is no cursor."""
    if not after:
        return {}
    try:
        found = json.loads(urlsafe_b64decode(after.encode("ascii") + b"=="))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(
        type(each) is int and 0 <= each < 2**63 for each in found.values()
    ):
        raise errors.Invalid("after: this is no place in the logs", field="after")
    return found

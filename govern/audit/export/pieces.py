"""The pieces of a log in an export: entries with their values, and hashes of those left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, or_, select

from govern import errors, prepared
from govern.audit import lines, log
from govern.audit.export.filters import accounting
from govern.audit.log import Entry, Value
from govern.tlog import tiles
from govern.tlog.errors import TileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from govern.audit.export.file import File
    from govern.audit.export.filters import Filter
    from govern.db import Session

_BATCH = 8192


def write_log(
    session: Session,
    file: File,
    head: dict[str, Any],
    where: Filter,
    *,
    place: int = 0,
    begin: int = 0,
    end: int | None = None,
) -> int:
    """Write the pieces that cover the entries [begin, end) of a log of the header, or all.

    `place` is how far what stands before reaches, and what is returned how far the file does then:
    less than `end` where the last of them are left out, and are to be hidden with what follows.
    """
    end = head["size"] if end is None else end
    try:
        return _write_log(session, file, head, where, place=place, begin=begin, end=end)
    except TileError as error:
        raise errors.LogDamaged(
            f"Of the log {head['log']} entries are missing: run govern log fsck."
        ) from error


def _write_log(
    session: Session, file: File, head: dict[str, Any], where: Filter, *,
    place: int, begin: int, end: int,
) -> int:  # fmt: skip
    log_id, size = head["log"], head["size"]
    tree = log.Tree(session, log_id)
    conditions = [Entry.log_id == log_id, Entry.seq >= begin, Entry.seq < end]
    if "erasures" in head and where.words():
        conditions.append(or_(and_(*where.conditions()), and_(*accounting(where))))
    else:
        conditions += where.conditions()
    # An entry that is missing from a whole log is not hidden behind a hash: the reader will see it.
    may_skip = bool(where.words())
    chosen = select(Entry.seq, Entry.leaf).where(*conditions).order_by(Entry.seq)
    for batch in prepared.stream(session.connection(), chosen, size=_BATCH):
        first, last = batch[0][0], batch[-1][0]
        together = last - first == len(batch) - 1
        if together:
            tree.load(first // tiles.WIDTH, last // tiles.WIDTH)
        values = _values(session, conditions[:1] if together else conditions, first, last)
        if not values and together and (first == place or not may_skip):
            bodies = [body for _, body in batch]
            pieces: Iterable[bytes] = lines.plain_entries(first, bodies, tree.told(first, last + 1))
        else:
            file.erased += sum(each is None for some in values.values() for each in some.values())
            pieces = []
            for seq, body in batch:
                if seq > place and may_skip:
                    pieces.append(lines.skip(place, seq, tree.range(place, seq).hashes))
                digest = lines.encode(tree.told(seq, seq + 1))
                pieces.append(lines.entry(seq, digest, values.get(seq), body))
                place = seq + 1
        file.write(pieces, rows=len(batch))
        place = last + 1
    if end == size and place < size and may_skip:
        file.write([lines.skip(place, size, tree.range(place, size).hashes)])
        place = size
    return place


def _values(
    session: Session, conditions: Sequence[ColumnElement[bool]], first: int, last: int
) -> dict[int, dict[str, list[str] | None]]:
    """The personal values of the entries between; None for those that were erased."""
    rows = session.execute(
        select(Value.seq, Value.name, Value.salt, Value.value)
        .join(Entry, and_(Entry.log_id == Value.log_id, Entry.seq == Value.seq))
        .where(*conditions, Value.seq >= first, Value.seq <= last)
    )
    found: dict[int, dict[str, list[str] | None]] = {}
    for seq, name, salt, value in rows:
        opened = None if salt is None else [str(salt), str(value)]
        found.setdefault(seq, {})[name] = opened
    return found

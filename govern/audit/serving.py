"""A log as C2SP tlog-tiles: files that never change, and a checkpoint that names the newest.

Whoever may read a log can copy it file by file and follow it with anyone's programs. Nothing is
served that is not signed yet: what a monitor has seen can be held against us.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import errors, permissions
from govern.audit import log, witnessing
from govern.audit.log import HOUSE, Entry
from govern.tlog import tiles
from govern.tlog.errors import TileError
from govern.tlog.merkle import HASH_SIZE

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from govern.principal import Principal

CHECKPOINT = "checkpoint"
_LENGTH = 2  # bytes before each entry of a bundle, big-endian


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a served log; one that is `final` is the same for ever."""

    body: bytes
    final: bool


def read(session: Session, log_id: str, path: str, *, by: Principal) -> File:
    """`checkpoint`, `tile/…` or `tile/entries/…` of one log; `Unknown` for what is not signed."""
    permissions.require(by, "log:read", client=None if log_id == HOUSE else log_id)
    signed = log.latest_checkpoint(session, log_id)
    if signed is None:
        raise errors.Unknown("Nothing of this log is signed yet.")
    if path == CHECKPOINT:
        lines = witnessing.cosigned(session, log_id, signed.size)
        return File(body=(signed.note + lines).encode(), final=False)
    try:
        level, index, width = tiles.parse_path(path)
    except TileError as error:
        raise errors.Unknown("A log has no such file.") from error
    first = index * tiles.WIDTH
    if first + width > tiles.hashes_at(level or 0, signed.size):
        raise errors.Unknown("A log has no such file yet.")
    if level is None:
        return File(body=_bundle(session, log_id, first, first + width), final=True)
    tree = log.Tree(session, log_id)
    whole = tree.tile(level, index)
    if whole is None:
        return File(body=tree.hashes.tile(level, index, width), final=True)
    return File(body=whole[: width * HASH_SIZE], final=True)


def _bundle(session: Session, log_id: str, begin: int, end: int) -> bytes:
    """The entries [begin, end), each behind its length (tlog-tiles, “Log entries”)."""
    leaves = session.execute(
        select(Entry.leaf)
        .where(Entry.log_id == log_id, Entry.seq >= begin, Entry.seq < end)
        .order_by(Entry.seq)
    ).scalars()
    return b"".join(len(leaf).to_bytes(_LENGTH, "big") + leaf for leaf in leaves)

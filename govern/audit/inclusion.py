"""One entry taken out of a log, with the proof that it is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import errors, permissions
from govern.audit import log
from govern.audit.log import HOUSE, Entry
from govern.tlog import merkle
from govern.tlog.proof import Proof

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from govern.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Proved:
    """An entry's exact bytes, and its proof against the newest signed head of its log."""

    log: str
    seq: int
    leaf: bytes
    proof: Proof


def prove(session: Session, log_id: str, seq: int, *, by: Principal) -> Proved:
    """Prove one entry to whoever may read its log; `Unavailable` while it is not signed yet."""
    permissions.require(by, "log:read", client=None if log_id == HOUSE else log_id)
    leaf = session.execute(
        select(Entry.leaf).where(Entry.log_id == log_id, Entry.seq == seq)
    ).scalar_one_or_none()
    if leaf is None:
        raise errors.Unknown("There is no such entry.")
    signed = log.latest_checkpoint(session, log_id)
    if signed is None or signed.size <= seq:
        raise errors.Unavailable("This entry is not signed yet: try again in a second.")
    fetch = log.Tree(session, log_id).hashes.fetch
    hashes = tuple(merkle.inclusion_proof(seq, signed.size, fetch))
    return Proved(
        log=log_id, seq=seq, leaf=leaf, proof=Proof(seq, hashes, signed.note.encode())
    )  # fmt: skip

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


def prove(session: Session, log_id: str, *seqs: int, by: Principal) -> list[Proved]:
    """Prove some entries to whoever may read their log, in a few statements for all.

    Those that are not signed yet are left out; `Unavailable` if that is the first.
    """
    permissions.require(by, "log:read", client=None if log_id == HOUSE else log_id)
    leaves = dict(
        session.execute(
            select(Entry.seq, Entry.leaf).where(Entry.log_id == log_id, Entry.seq.in_(seqs))
        ).all()
    )
    if leaves.keys() != {*seqs}:
        raise errors.Unknown("There is no such entry.")
    signed = log.latest_checkpoint(session, log_id)
    if signed is None or signed.size <= seqs[0]:
        raise errors.Unavailable("This entry is not signed yet: try again in a second.")
    note = signed.note.encode()
    within = [seq for seq in seqs if seq < signed.size]
    tree = log.Tree(session, log_id)
    tree.load_for(within, signed.size)
    return [
        Proved(
            log=log_id, seq=seq, leaf=leaves[seq],
            proof=Proof(
                seq, tuple(merkle.inclusion_proof(seq, signed.size, tree.hashes.fetch)), note
            ),
        )
        for seq in within
    ]  # fmt: skip

"""Who witnesses our logs, and what they cosigned: an independent memory of each log's history.

A client's witness is told of that client's log alone; one of the house, of every log. A
cosignature proves itself, so it is kept as it came; that one is missing is shown, never made up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import BigInteger, delete, func, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, config, errors, permissions
from govern.audit import log
from govern.audit.events import EventType
from govern.audit.log import HOUSE, Checkpoint
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Id, new_id, text_column
from govern.tlog import cosignature, merkle
from govern.tlog.errors import TlogError
from govern.tlog.witness import Request

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.principal import Principal


class LogWitness(Audited, Base):
    """Where a witness is asked (C2SP tlog-witness), and the key it signs with."""

    __tablename__ = "log_witness"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(text_column(200))
    key: Mapped[str] = mapped_column(text_column(300))
    url: Mapped[str] = mapped_column(text_column(500))
    client_id: Mapped[Id | None]
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class Cosignature(Base):
    """A witness's line under the checkpoint of one size."""

    __tablename__ = "log_cosignature"
    __table_args__ = ({"sqlite_with_rowid": False},)

    log_id: Mapped[Id] = mapped_column(primary_key=True)
    witness_id: Mapped[Id] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    line: Mapped[str]
    seen_at: Mapped[datetime] = mapped_column(Utc())


class WitnessFailure(Base):
    """That a witness does not follow one log, since when, and whether it refuses to.

    One that `refuses` says that it saw another history than ours. Gone once it cosigns again.
    """

    __tablename__ = "log_witness_failure"

    witness_id: Mapped[Id] = mapped_column(primary_key=True)
    log_id: Mapped[Id] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(Utc())
    refuses: Mapped[bool]
    error: Mapped[str] = mapped_column(text_column(200))


@dataclass(frozen=True, kw_only=True)
class Following:
    """How far a witness has followed one log: the size it cosigned last, and the one signed."""

    witness: LogWitness
    log: str
    cosigned: int
    signed: int
    seen_at: datetime | None


def add(
    session: Session, url: str, key: str, *, client: str | None = None, by: Principal
) -> LogWitness:
    """Have every log, or that of the client `client` (its id), witnessed from now on."""
    permissions.require(by, "log:witness")
    try:
        witness = cosignature.Witness.parse(key.strip())
    except TlogError as error:
        raise errors.Invalid(f"key: {error}", field="key") from error
    address = urlsplit(url)
    local = address.scheme == "http" and address.hostname in config.LOOPBACK
    if not (address.scheme == "https" or local) or not address.hostname:
        raise errors.Invalid("url: a witness is asked over https, or on this machine", field="url")
    if any(row.key == str(witness) for row in _in_use(session)):
        raise errors.AlreadyExists(f"{witness.name} is a witness already.", field="key")
    row = LogWitness(
        id=new_id("wit"), name=witness.name, key=str(witness), url=url.rstrip("/"),
        client_id=client,
    )  # fmt: skip
    session.add(row)
    record(
        session, EventType.WITNESS_ADDED, logs=[HOUSE, client] if client else [HOUSE], by=by,
        refs={"client": client}, data={"witness": row.id, "key": row.key},
        stamps=[(row, "recorded_at")],
    )  # fmt: skip
    return row


def find(session: OrmSession, name: str) -> LogWitness:
    """The witness in use of this name or id; `Unknown` if there is none."""
    for row in _in_use(session):
        if name in {row.name, row.id}:
            return row
    raise errors.Unknown(f"There is no witness “{name}”.")


def end(session: Session, row: LogWitness, *, by: Principal) -> None:
    """Ask this witness no more; what it cosigned stays."""
    permissions.require(by, "log:witness")
    record(
        session, EventType.WITNESS_ENDED,
        logs=[HOUSE, row.client_id] if row.client_id else [HOUSE], by=by,
        refs={"client": row.client_id}, data={"witness": row.id}, stamps=[(row, "ended_at")],
    )  # fmt: skip


def following(session: OrmSession) -> list[Following]:
    """How far each witness is, log by log; for whoever runs the installation."""
    rows = session.execute(
        select(Cosignature.witness_id, Cosignature.log_id, func.max(Cosignature.size),
               func.max(Cosignature.seen_at))
        .group_by(Cosignature.witness_id, Cosignature.log_id)
    )  # fmt: skip
    newest = {(witness, log_id): (size, at) for witness, log_id, size, at in rows}
    sizes = {log_id: signed for log_id, (_, _, signed) in log.signed_sizes(session).items()}
    found = []
    for row in _in_use(session):
        for log_id in sorted(sizes if row.client_id is None else {row.client_id} & sizes.keys()):
            size, at = newest.get((row.id, log_id), (0, None))
            found.append(
                Following(witness=row, log=log_id, cosigned=size, signed=sizes[log_id], seen_at=at)
            )
    return found


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A witness, and one of the logs that it does not follow (None: it follows all)."""

    witness: LogWitness
    failure: WitnessFailure | None


def standing(session: OrmSession, *, by: Principal) -> list[Standing]:
    """Each witness of a log that the caller may read, with each failure, what refuses first."""
    clients = permissions.require_some(by, "log:read")
    query = (
        select(LogWitness, WitnessFailure)
        .outerjoin(WitnessFailure, WitnessFailure.witness_id == LogWitness.id)
        .where(LogWitness.ended_at.is_(None))
        .order_by(WitnessFailure.refuses.is_not(True), LogWitness.name, WitnessFailure.log_id)
    )
    if clients is not None:
        query = query.where(LogWitness.client_id.in_(clients))
    return [Standing(witness=row[0], failure=row[1]) for row in session.execute(query)]


def failed(database: Database, each: Following, words: str, *, refuses: bool) -> None:
    """Put down that a witness did not follow a log; since when stays what it was."""

    def work(session: Session) -> None:
        row = session.get(WitnessFailure, (each.witness.id, each.log))
        if row is None:
            row = WitnessFailure(
                witness_id=each.witness.id, log_id=each.log, since=clock.now(session)
            )
            session.add(row)
        row.refuses, row.error = refuses, words[:200]

    database.transaction(work)


def asking(session: OrmSession, log_id: str, old: int) -> tuple[Checkpoint, Request]:
    """What a witness that saw `old` entries of a log is asked now.

    `LogDamaged` if it saw more than is signed here: then this database is not the one it saw.
    """
    signed = log.latest_checkpoint(session, log_id)
    if signed is None or signed.size < old:
        raise errors.LogDamaged(
            f"A witness saw {old} entries of {log_id}, and {signed.size if signed else 0} are "
            "signed here."
        )
    fetch = log.Tree(session, log_id).hashes.fetch
    proof = merkle.consistency_proof(old, signed.size, fetch)
    return signed, Request(old, tuple(proof), signed.note.encode())


def keep(database: Database, row: LogWitness, signed: Checkpoint, answer: str) -> None:
    """Keep a witness's cosignature of a checkpoint; `Invalid` when its answer holds none."""
    witness = cosignature.Witness.parse(row.key)
    try:
        seen = witness.seen(f"{signed.note}{answer}".encode())
    except TlogError as error:
        raise errors.Invalid(f"{row.name} answered with no cosignature of its own.") from error
    lines = [each for each in answer.splitlines(keepends=True) if f" {row.name} " in each]
    kept = insert(Cosignature).values(
        log_id=signed.log_id, witness_id=row.id, size=signed.size, line="".join(lines),
        seen_at=clock.from_micros(seen * 1_000_000),
    )  # fmt: skip
    mended = delete(WitnessFailure).where(
        WitnessFailure.witness_id == row.id, WitnessFailure.log_id == signed.log_id
    )

    def work(session: Session) -> None:
        session.execute(kept)
        session.execute(mended)

    database.transaction(work)


def cosigned(session: OrmSession, log_id: str, size: int) -> str:
    """The lines under the checkpoint of this size."""
    lines = session.execute(
        select(Cosignature.line)
        .where(Cosignature.log_id == log_id, Cosignature.size == size)
        .order_by(Cosignature.witness_id)
    ).scalars()
    return "".join(lines)


def newest(session: OrmSession, log_id: str) -> list[str]:
    """The newest checkpoint that each witness cosigned, with every cosignature it has."""
    last = (
        select(func.max(Cosignature.size))
        .where(Cosignature.log_id == log_id)
        .group_by(Cosignature.witness_id)
    )
    rows = session.execute(
        select(Checkpoint.size, Checkpoint.note)
        .where(Checkpoint.log_id == log_id, Checkpoint.size.in_(last))
        .order_by(Checkpoint.size)
    ).all()
    return [note + cosigned(session, log_id, size) for size, note in rows]


def _in_use(session: OrmSession) -> list[LogWitness]:
    rows = session.execute(
        select(LogWitness).where(LogWitness.ended_at.is_(None)).order_by(LogWitness.recorded_at)
    )
    return list(rows.scalars())

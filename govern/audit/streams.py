"""Streams that are pushed: which addresses are sent the logs, and how far each has come.

A stream of one client is sent that client's log alone; one of the house, every log. Each has a
cursor in each log, as followers have, which moves when the receiver has said that it took an
entry: so an entry may come twice, by the same log and number, and none is ever passed over.
"""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Integer, LargeBinary, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors, origins, permissions
from govern.audit import log
from govern.audit.events import EventType
from govern.audit.follower import FollowerCursor
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Audited, Base, Code, Id, new_id, text_column
from govern.sealing import SEALED, seal_row, unseal

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.config import Settings
    from govern.db import Session
    from govern.principal import Principal

FORMS = ("jsonl", "ocsf")
_WORD = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,999}")


class Proof(StrEnum):
    """How a receiver knows that it is we who send."""

    HMAC = "hmac"  # each request is signed (Standard Webhooks)
    AUTHORIZATION = "authorization"  # a value of its own stands in that header


class LogStream(Audited, Base):
    """Where the logs are sent, in which form, and with which proof that it is we."""

    __tablename__ = "log_stream"

    id: Mapped[Id] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(text_column(500))
    form: Mapped[Code]
    proof: Mapped[Code]
    secret: Mapped[bytes] = mapped_column(LargeBinary, info=SEALED)
    inside: Mapped[bool]
    client_id: Mapped[Id | None]
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class LogStreamState(Base):
    """When a stream is sent to next, and what came of it last."""

    __tablename__ = "log_stream_state"

    stream_id: Mapped[Id] = mapped_column(primary_key=True)
    next_try_at: Mapped[datetime] = mapped_column(Utc())
    delivered_at: Mapped[datetime | None] = mapped_column(Utc())
    failures: Mapped[int] = mapped_column(Integer)
    error: Mapped[str]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a stream stands: per log how many entries were taken, and how many are signed."""

    stream: LogStream
    state: LogStreamState
    taken: dict[str, int]
    signed: dict[str, int]

    @property
    def behind(self) -> int:
        """Entries that are signed and were not taken yet."""
        return sum(size - self.taken.get(each, 0) for each, size in self.signed.items())


def add(
    session: Session, url: str, *, form: str = "jsonl", client: str | None = None,
    authorization: str | None = None, inside: bool = False, by: Principal,
) -> tuple[LogStream, str | None]:  # fmt: skip
    """Send every log, or that of the client `client` (its id), from its beginning to `url`.

    With `authorization`, the value of that header; else each request is signed with a secret, which
    is returned this once (Standard Webhooks: `whsec_…`). To a private address only if `inside`.
    """
    permissions.require(by, "log:stream")
    if not origins.of(url, field="url").startswith("https://") and not inside:
        raise errors.Invalid("Without https it can only lie inside; say so.", field="url")
    if form not in FORMS:
        raise errors.Invalid(f"format: “{form}” is none of {', '.join(FORMS)}", field="format")
    if authorization is not None and not _WORD.fullmatch(authorization):
        raise errors.Invalid("authorization: this is no value of a header", field="authorization")
    stream_id = new_id("str")
    key = (
        None
        if authorization is not None
        else f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
    )
    row = LogStream(
        id=stream_id, url=url, form=form, inside=inside, client_id=client,
        proof=Proof.HMAC if authorization is None else Proof.AUTHORIZATION,
        secret=seal_row(session, (key or authorization or "").encode(), place=_place(stream_id)),
    )  # fmt: skip
    now = clock.now(session)
    session.add(row)
    session.add(LogStreamState(stream_id=stream_id, next_try_at=now, failures=0, error=""))
    record(
        session, EventType.STREAM_ADDED, logs=[HOUSE, client] if client else [HOUSE], by=by,
        refs={"client": client}, data={"stream": row.id, "url": url, "format": form},
        stamps=[(row, "recorded_at")],
    )  # fmt: skip
    return row, key


def find(session: OrmSession, stream_id: str) -> LogStream:
    """The stream in use of this id; `Unknown` if there is none."""
    row = session.get(LogStream, stream_id)
    if row is None or row.ended_at is not None:
        raise errors.Unknown(f"There is no stream “{stream_id}”.")
    return row


def end(session: Session, row: LogStream, *, by: Principal) -> None:
    """Send nothing more there."""
    permissions.require(by, "log:stream")
    record(
        session, EventType.STREAM_ENDED,
        logs=[HOUSE, row.client_id] if row.client_id else [HOUSE], by=by,
        refs={"client": row.client_id}, data={"stream": row.id}, stamps=[(row, "ended_at")],
    )  # fmt: skip


def standing(session: OrmSession) -> list[Standing]:
    """How each stream in use stands; for whoever runs the installation."""
    rows = session.execute(
        select(LogStream, LogStreamState)
        .join(LogStreamState, LogStreamState.stream_id == LogStream.id)
        .where(LogStream.ended_at.is_(None))
        .order_by(LogStream.recorded_at)
    ).all()
    sizes = (
        {each: signed for each, (_, _, signed) in log.signed_sizes(session).items()} if rows else {}
    )
    return [
        Standing(
            stream=row, state=state, taken=_taken(session, row.id),
            signed=sizes if row.client_id is None else {
                each: size for each, size in sizes.items() if each == row.client_id
            },
        )
        for row, state in rows
    ]  # fmt: skip


def known(session: OrmSession, *, by: Principal) -> list[tuple[LogStream, LogStreamState]]:
    """The streams of logs that the caller may read, those that fail first."""
    clients = permissions.require_some(by, "log:read")
    query = (
        select(LogStream, LogStreamState)
        .join(LogStreamState, LogStreamState.stream_id == LogStream.id)
        .where(LogStream.ended_at.is_(None))
        .order_by(LogStreamState.failures.desc(), LogStream.recorded_at)
    )
    if clients is not None:
        query = query.where(LogStream.client_id.in_(clients))
    return [(row[0], row[1]) for row in session.execute(query)]


def secret(settings: Settings, row: LogStream) -> str:
    """What is sent, or signed with."""
    return unseal(settings, row.secret, place=_place(row.id)).decode()


def _taken(session: OrmSession, stream_id: str) -> dict[str, int]:
    found = session.execute(
        select(FollowerCursor.log_id, FollowerCursor.position).where(
            FollowerCursor.follower == stream_id
        )
    )
    return {row.log_id: row.position for row in found}


def _place(stream_id: str) -> str:
    return f"log_stream.secret:{stream_id}"

"""Exports made in the background: asked for, looked at until they are ready, and fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from govern.access import names
from govern.access.idempotency import Done
from govern.audit import EventType, exports
from govern.audit.exports import State
from govern.web import exports as files
from govern.web import guard
from govern.web.api import log
from govern.web.api.routes import CREATED, Routes
from govern.web.api.shapes import Asked, Count, Instant, Page, Paging, Told, Words

if TYPE_CHECKING:
    from flask import Response
    from sqlalchemy.orm import Session as OrmSession

    from govern.audit.exports import LogExport
    from govern.db import Session
    from govern.principal import Principal

routes = Routes("exports")


class Wanted(Asked):
    """Which entries to show in the file; the others stand in it as hashes."""

    format: Literal["jsonl", "csv", "ocsf", "parquet"] = "jsonl"
    log: Words = Field(default="", description="A client's code; else all that one may export.")
    type: EventType | None = None
    subject: Words = Field(default="", description="External id, e-mail address or opaque id.")
    project: Words = Field(default="", description="Code or id.")
    actor: Words = Field(default="", description="Who did it: a person as above, or an opaque id.")
    since: Instant | None = Field(default=None, description="From this instant on.")
    until: Instant | None = Field(default=None, description="Before this instant.")


class Export(Told):
    """An export, and how far it is."""

    id: str
    state: State
    format: str
    log: str | None = Field(description="The code of the one client; null for all that one may.")
    filter: dict[str, Any] = Field(description="As the first line of the file has it.")
    asked_at: Instant
    entries: Count = Field(description="How many entries of the logs were looked at.")
    of: Count = Field(description="How many there are.")
    rows: Count = Field(description="How many of them are in the file.")
    rate: int | None = Field(description="Entries a second at present.")
    bytes: Count = Field(description="How large the file is.")
    sha256: str | None = Field(description="Of the whole file, once it is ready.")
    ended_at: Instant | None
    expires_at: Instant | None = Field(description="Until when the file can be fetched.")
    error: str = Field(description="What went wrong, where anything did.")


def _signed(*, asked: Wanted, by: Principal) -> None:  # noqa: ARG001 - what every `before` is given
    files.signed(guard.database())


@routes.post("/log/exports", {CREATED: Export}, body=Wanted, before=_signed)
def ask(session: Session, *, asked: Wanted, ready: None, by: Principal) -> Done:  # noqa: ARG001 - what `before` made
    """Have the logs written to a file in the background, for as many entries as there are.

    What it covers is settled now. A conflict (409) while five of one's own are under way.
    """
    client = log.chosen(session, asked, by=by)
    where = log.where(session, asked, by=by)
    row = exports.ask(session, form=asked.format, client=client, where=where, by=by)
    return Done(CREATED, f"/log/exports/{row.id}")


@routes.get("/log/exports", Page[Export], query=Paging)
def find(session: OrmSession, *, asked: Paging, by: Principal) -> Page[Export]:
    """One's own exports, the newest first."""
    rows = exports.mine(session, after=asked.after, limit=asked.limit + 1, by=by)
    shown = rows[: asked.limit]
    codes = names.of(session, [row.client_id for row in shown if row.client_id])
    more = shown[-1].id if len(rows) > len(shown) else None
    return Page[Export](items=[_told(row, codes) for row in shown], next=more)


@routes.get("/log/exports/<export>", Export)
def show(session: OrmSession, export: str, *, by: Principal) -> Export:
    """One of them: `state` is `ready` once there is a file."""
    row = exports.find(session, export, by=by)
    return _told(row, names.of(session, [row.client_id] if row.client_id else []))


@routes.get("/log/exports/<export>/file", tuple(
    files.MEDIA_TYPES[form] for form in ("jsonl", "csv", "ocsf", "parquet")
))  # fmt: skip
def file(session: OrmSession, export: str, *, by: Principal) -> Response:  # noqa: ARG001 - it writes, in a transaction of its own
    """The file, whole or by ranges (RFC 9110, section 14); each fetching is on record."""
    row, path = guard.database().transaction(lambda own: exports.take(own, export, by=by))
    return files.sent(path, row.form, row.asked_at)


def _told(row: LogExport, codes: dict[str, str]) -> Export:
    return Export(
        id=row.id, state=State(row.state), format=row.form,
        log=codes.get(row.client_id, row.client_id) if row.client_id else None,
        filter=row.fields["filter"], asked_at=row.asked_at, entries=row.passed, of=row.total,
        rows=row.rows, rate=row.rate if row.state == State.WRITING else None, bytes=row.bytes,
        sha256=row.digest, ended_at=row.ended_at, expires_at=row.expires_at, error=row.error,
    )  # fmt: skip

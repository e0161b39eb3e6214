"""The log: its entries, newest first, and the file that proves itself. Each reading is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from govern import errors, permissions
from govern.access import names, uses
from govern.audit import EventType, decisions, reading, searching, streaming
from govern.audit.decisions import AccessKind
from govern.audit.export import Filter
from govern.audit.log import HOUSE
from govern.web import exports, guard
from govern.web.api.routes import Routes
from govern.web.api.shapes import Cursor, Instant, Page, Paging, Query, Told, Words

if TYPE_CHECKING:
    from flask import Response
    from sqlalchemy.orm import Session

    from govern.audit.reading import Shown
    from govern.principal import Principal
    from govern.web.api.exports import Wanted

routes = Routes("log")


class Entry(Told):
    """One entry; `values` are its personal values, null where erased."""

    log: str = Field(description="The client's code, or `house`.")
    seq: int
    at: Instant
    type: EventType
    actor: str
    refs: dict[str, str]
    data: dict[str, Any]
    values: dict[str, str | None]
    leaf: str = Field(description="Its exact bytes, which the log hashes.")


class Filters(Query):
    """Which entries."""

    log: Words = Field(default="", description="A client's code, or `house`; else all readable.")
    type: EventType | None = None
    subject: Words = Field(default="", description="External id, e-mail address or opaque id.")
    project: Words = Field(default="", description="Code or id.")
    actor: Words = Field(default="", description="Who did it: a person as above, or an opaque id.")
    since: Instant | None = Field(default=None, description="From this instant on.")
    until: Instant | None = Field(default=None, description="Before this instant.")


class Entries(Filters, Paging):
    """Which entries, and which part of them."""


class File(Filters):
    """Which entries to show in the file; the others stand in it as hashes."""

    format: Literal["jsonl", "csv", "ocsf", "parquet", "pack"] = Field(
        default="jsonl",
        description="`pack`: the evidence of the one client `log` and the period, as a zip file.",
    )


def where(session: Session, asked: Filters | Wanted, *, by: Principal) -> Filter:
    """What is asked for, by ids; `Unknown` where a word means nothing that the caller may know."""
    subject = project = None
    if asked.subject:
        subject = names.person_told_of(session, asked.subject, by=by)
    if asked.project:
        project = names.project_told_of(session, asked.project, by=by)
    return Filter(
        subject=subject, project=project,
        actor=names.actor(session, asked.actor, by=by) if asked.actor else None,
        types=(asked.type,) if asked.type else (),
        begin=asked.since, end=asked.until,
    )  # fmt: skip


@routes.get("/log", Page[Entry], query=Entries)
def find(session: Session, *, asked: Entries, by: Principal) -> Page[Entry]:
    """Entries of the logs that the caller may read, newest first."""
    ids = reading.readable(session, by=by)
    if asked.log:
        ids = [names.log_of(session, asked.log, by=by)]
    if len(ids) > reading.MOST:
        raise errors.Invalid("There are too many logs to read as one: choose one.", field="log")
    found = where(session, asked, by=by)
    page = reading.entries(
        session, ids, where=found, after=asked.after, limit=asked.limit, by=by
    )  # fmt: skip
    reading.note_page(guard.database(), "log", ids, page, where=found, by=by)
    codes = names.of(session, ids)
    items = [_entry(row, codes) for row in page.entries]
    return Page[Entry](items=items, next=page.after)


def _entry(row: Shown, codes: dict[str, str]) -> Entry:
    return Entry(
        log=codes.get(row.log, row.log), seq=row.seq, at=row.at, type=EventType(row.type),
        actor=row.actor, refs=row.refs, data=row.data, values=row.values, leaf=row.leaf,
    )  # fmt: skip


class Row(Told):
    """One row of the access log; who and what by opaque id."""

    id: str = Field(description="As the answer itself told it, if it was a decision.")
    mark: str | None = Field(
        description="How `log fsck` names it; null unless one may read all clients."
    )
    at: Instant
    kind: AccessKind
    principal: str = Field(description="Who asked, read or was refused.")
    session: str | None = Field(description="Of a person's sign-in; null for a program's.")
    permit: bool | None = Field(description="Null for what is no decision.")
    reason: str | None
    subject: str | None
    client: str | None
    resource: str | None
    action: str | None
    as_of: int | None = Field(description="How many entries of the client's log the answer saw.")
    worked_at: Instant | None
    detail: dict[str, Any]


class Accesses(Paging):
    """Which rows of the access log, and which part of them."""

    subject: Words = Field(default="", description="External id, e-mail address or opaque id.")
    project: Words = Field(default="", description="Code or id; its datasets too.")
    integration: Words = Field(default="", description="Name or id of who asked.")
    outcome: Literal["permit", "deny"] | None = None
    kind: AccessKind | None = None
    since: Instant | None = Field(default=None, description="From this instant on.")
    until: Instant | None = Field(default=None, description="Before this instant.")


@routes.get("/log/access", Page[Row], query=Accesses)
def access(session: Session, *, asked: Accesses, by: Principal) -> Page[Row]:
    """Rows of the access log, newest first; a page may hold few and still have a next."""
    where = uses.where(
        session, subject=asked.subject, project=asked.project, integration=asked.integration,
        permit=None if asked.outcome is None else asked.outcome == "permit", kind=asked.kind,
        begin=asked.since, end=asked.until, by=by,
    )  # fmt: skip
    page = searching.search(
        guard.database(), where, after=asked.after, limit=asked.limit, by=by
    )  # fmt: skip
    whole = permissions.scope(by, "log:read") is None
    return Page[Row](items=[_row(row, whole=whole) for row in page.rows], next=page.after)


def _row(row: searching.Row, *, whole: bool) -> Row:
    return Row(
        id=decisions.row_id(guard.database().settings, row.writer, row.number),
        mark=row.mark if whole else None, at=row.at, kind=AccessKind(row.kind),
        principal=row.principal, session=row.session_id, permit=row.permit, reason=row.reason,
        subject=row.subject_id, client=row.client_id, resource=row.resource_id, action=row.action,
        as_of=row.as_of, worked_at=row.worked_at, detail=row.detail,
    )  # fmt: skip


class Run(Told):
    """One stretch of one log, every entry of it."""

    log: str = Field(description="The client's code, or `house`.")
    id: str = Field(description="The log's own id, as its entries and exports name it.")
    origin: str
    begin: int = Field(description="The first entry told: where the cursor stood.")
    end: int = Field(description="The entry after the last one told.")
    size: int = Field(description="How many entries are signed.")
    checkpoint: str = Field(description="The signed head of that size.")
    lines: list[str] = Field(description="Each entry as in an export, byte for byte.")


class Stream(Told):
    """What is new in the logs."""

    runs: list[Run]
    next: str = Field(description="`after` of the next question.")


class Following(Query):
    """From where to follow the logs, and how long to wait for news."""

    after: Cursor = Field(default="", description="The `next` of the answer before.")
    limit: int = Field(default=200, ge=1, le=1000, description="How many entries, at most.")
    wait: int = Field(default=0, ge=0, le=streaming.LONGEST,
                      description="Seconds to wait until there is news.")  # fmt: skip


def _waited(*, asked: Following, by: Principal) -> Principal:
    """Wait with no transaction open; whoever may no longer read by then is told nothing."""
    places = streaming.places_of(asked.after)
    streaming.wait(guard.database(), places, seconds=asked.wait, by=by)
    return guard.integration() if asked.wait else by


@routes.get("/log/stream", Stream, query=Following, before=_waited)
def stream(session: Session, *, asked: Following, ready: Principal, by: Principal) -> Stream:
    """Every signed entry, oldest first, with its values (scope audit.read).

    Each run of a log begins where the cursor stood, and holds every entry up to its end: so a
    follower sees that there is no gap. `wait` holds the answer back until there is news.
    """
    by = ready
    places = streaming.places_of(asked.after)
    runs, after = streaming.news(session, places, limit=asked.limit, by=by)
    ids = [run.log for run in runs]
    if runs:
        reading.note_each(
            guard.database(), "log.stream",
            {run.log: {"begin": run.begin, "end": run.end} for run in runs}, by=by,
        )  # fmt: skip
    codes = names.of(session, ids)
    return Stream(runs=[_run(run, codes) for run in runs], next=streaming.cursor(after))


def _run(run: streaming.Run, codes: dict[str, str]) -> Run:
    return Run(
        log=codes.get(run.log, run.log), id=run.log, origin=run.origin, begin=run.begin,
        end=run.end, size=run.size, checkpoint=run.checkpoint,
        lines=[line.decode() for line in run.lines],
    )  # fmt: skip


@routes.get("/log/export", tuple(exports.MEDIA_TYPES.values()), query=File)
def export(session: Session, *, asked: File, by: Principal) -> Response:
    """A file of the logs that proves itself, or OCSF 1.8.0, up to the newest signed head.

    An evidence pack holds one client's log of a period with its proofs, the questions an auditor
    asks answered, a report, and `verify.py`, which checks it all offline.
    """
    client = chosen(session, asked, by=by)
    found = where(session, asked, by=by)
    file = exports.written(guard.database(), asked.format, client=client, where=found, by=by)
    return exports.answer(file, asked.format)


def chosen(session: Session, asked: Filters | Wanted, *, by: Principal) -> str | None:
    """The id of the one client whose log is to be exported; None: all that one may."""
    client = names.log_of(session, asked.log, by=by) if asked.log else None
    if client == HOUSE:
        raise errors.Invalid("Choose a client, or leave it out: the house goes with all.",
                             field="log")  # fmt: skip
    return client

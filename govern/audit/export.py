"""Exports: the logs as a file that proves itself to whoever has the verifier key.

A file covers each of its logs up to the newest checkpoint. What the filter leaves out stands in it
as hashes, so that every export, filtered or not, leads to the signed root. It is written in one
snapshot and in constant memory, and no one gets one without a row in the access log first.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, or_, select, text

from govern import clock, errors, permissions, prepared, replica
from govern.audit import decisions, lines, log, ocsf, parquet, siem, witnessing
from govern.audit.decisions import AccessKind
from govern.audit.log import ERASURES, Entry, Value
from govern.audit.signer import Signer
from govern.tlog import tiles
from govern.tlog.errors import TileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime
    from typing import BinaryIO, Self

    from govern.db import Database, Session
    from govern.principal import Principal

FORMS = ("jsonl", "csv", "ocsf", "parquet")
_BATCH = 8192


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which entries to show; what is not set lets all pass. `end` itself is left out."""

    subject: str | None = None
    project: str | None = None
    actor: str | None = None
    types: tuple[str, ...] = ()
    begin: datetime | None = None
    end: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same as conditions on `Entry`."""
        found: list[ColumnElement[bool]] = []
        if self.subject:
            found.append(Entry.subject_id == self.subject)
        if self.project:
            found.append(Entry.project_id == self.project)
        if self.actor:
            found.append(Entry.actor == self.actor)
        if self.types:
            found.append(Entry.type.in_(self.types))
        if self.begin:
            found.append(Entry.at >= self.begin)
        if self.end:
            found.append(Entry.at < self.end)
        return found

    def words(self) -> dict[str, Any]:
        """The same as the header has it; empty when nothing is left out."""
        asked = {
            "subject": self.subject,
            "project": self.project,
            "actor": self.actor,
            "types": sorted(self.types),
            "from": clock.text(self.begin) if self.begin else None,
            "to": clock.text(self.end) if self.end else None,
        }
        return {name: value for name, value in asked.items() if value}

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> Self:
        """The filter that a header has in words."""
        ends = {
            name: clock.parse(words[name], field=name) for name in ("from", "to") if name in words
        }
        return cls(
            subject=words.get("subject"), project=words.get("project"), actor=words.get("actor"),
            types=tuple(words.get("types", ())), begin=ends.get("from"), end=ends.get("to"),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was written: entries shown, and each log with the size up to which it is complete.

    `unsigned` are the logs that nobody has signed yet: the file says so and holds nothing of them.
    """

    rows: int
    logs: tuple[str, ...]
    sizes: dict[str, int]
    unsigned: tuple[str, ...]


def run(
    database: Database,
    out: BinaryIO,
    *,
    form: str,
    client: str | None = None,
    where: Filter,
    by: Principal,
    progress: Callable[[int], None] | None = None,
) -> Summary:
    """Export every log that `by` may, or that of the client `client` (its id), to `out`.

    Takes `log:export` with a fresh factor. The access log gets its row before the first byte is
    written; `RecordFailed` when it cannot, and then nothing is.
    """
    check_form(form)
    with database.reading() as session:
        now = clock.now(session)
    with replica.reading(database) as session:
        chosen, withheld = allowed(session, client, now=now, by=by)
        detail = {"form": form, "filter": where.words(), "logs": chosen}
        decisions.write(
            database,
            [
                {
                    "at": now,
                    "kind": AccessKind.EXPORT,
                    "principal": by.id,
                    "session_id": by.session,
                    "client_id": client,
                    "subject_id": where.subject,
                    "resource_id": where.project,
                    "detail": json.dumps(detail, ensure_ascii=False, sort_keys=True),
                }
            ],
        )
        return write(
            session, out, form=form, logs=chosen, where=where,
            withheld=withheld, progress=progress,
        )  # fmt: skip


def allowed(
    session: Session, client: str | None, *, now: datetime, by: Principal
) -> tuple[list[str], tuple[str, ...]]:
    """The logs that `by` may export, or that of one client, and what is withheld from them.

    Takes `log:export` with a fresh factor.
    """
    held = permissions.scope(by, "log:export")
    # Whoever holds it over some clients alone may export those, and not the house.
    asked: Iterable[str | None] = held if held and client is None else (client,)
    for each in asked:
        permissions.require(by, "log:export", client=each, now=now)
    if client is not None:
        chosen = [log.known(session, client).id]
    else:
        chosen = [each.id for each in log.logs(session) if held is None or each.id in held]
    return chosen, ("other_logs",) if held is not None else ()


def write(
    session: Session,
    out: BinaryIO,
    *,
    form: str,
    logs: Sequence[str],
    where: Filter,
    withheld: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Summary:
    """Write these logs to `out`, each up to its newest checkpoint.

    The caller answers for the right to read them, and for the record of it. `Unavailable` when
    none of them was signed yet, `LogDamaged` when what the filter leaves out cannot be hashed.
    """
    check_form(form)
    fields = header(session, logs, where, withheld)
    with File(out, form, progress) as file:
        file.begin(fields)
        for head in fields["logs"]:
            file.write([lines.begin(head["log"])])
            write_log(session, file, head, where)
        file.finish(Signer(session.database.settings))
    return Summary(
        rows=file.rows,
        logs=tuple(head["log"] for head in fields["logs"]),
        sizes={head["log"]: head["size"] for head in fields["logs"]},
        unsigned=tuple(fields.get("unsigned", ())),
    )


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


def accounting(where: Filter) -> list[ColumnElement[bool]]:
    """Which entries account for erased values among those that a filter shows.

    They stand in the file whatever else is filtered: else nobody could tell them from damage.
    """
    return [text(ERASURES), *([Entry.subject_id == where.subject] if where.subject else [])]  # type: ignore[list-item]  # words that are a condition


def _erasures(session: Session, log_id: str, size: int, where: Filter) -> int:
    """How many of these there are; `Unavailable` while one of them is not signed yet."""
    query = select(func.count(), func.max(Entry.seq)).where(
        Entry.log_id == log_id, *accounting(where)
    )
    count, last = session.execute(query).one()
    if count and last >= size:
        raise errors.Unavailable("An erasure is not signed yet: try again in a moment.")
    return int(count)


class File:
    """What was written so far: its hash and its number of entries.

    A thread of its own hashes and writes one piece while the next is made.
    """

    def __init__(self, out: BinaryIO, form: str, progress: Callable[[int], None] | None) -> None:
        self._out = out
        # Lines of the JSON form become those of another; what has no place there becomes nothing.
        turned = {"csv": lines.to_csv, "ocsf": ocsf.to_line, "parquet": lines.to_csv}
        self._turned = turned.get(form)
        self._form = form
        self._header = b""
        # Its columns are written beside; the digest is of the CSV form that they stand for.
        self._columns = parquet.Writer(out) if form == "parquet" else None
        self._progress = progress
        self._hash = sha256()
        self._thread = ThreadPoolExecutor(1, "export")
        self._last: Future[None] | None = None
        self.rows = self.erased = 0

    def begin(self, fields: dict[str, Any]) -> None:
        """Write what stands before the first log."""
        if self._form in {"csv", "parquet"}:
            self._put(lines.CSV_HEAD)
        self._header = lines.header(fields)
        self.write([self._header])

    def go_on(
        self, fields: dict[str, Any], *, rows: int, erased: int, before: Iterable[bytes]
    ) -> None:
        """Take for written, instead, what stands `before` already."""
        self._header = lines.header(fields)
        self.rows, self.erased = rows, erased
        for piece in before:
            self._hash.update(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def write(self, written: Iterable[bytes], *, rows: int = 0) -> None:
        """Take lines of the JSON form, of which so many are entries."""
        if self._columns is not None:
            written = list(written)
            self._columns.write(written)
        self._put(b"".join(map(self._turned, written) if self._turned else written))
        self.rows += rows
        if self._progress is not None and rows:
            self._progress(self.rows)

    def finish(self, signer: Signer) -> None:
        """Write the last line, signed where the key is."""
        given = (self.rows, self.erased, self.digest())
        text = lines.manifest(signer.name, *given)
        signed = signer.vouch(text, name=lines.manifest_name(signer.name))
        last = lines.end(*given, signed)
        if self._form == "ocsf":
            self._put(siem.manifest(self._header, last))
        else:
            self.write([last])
        self._wait()
        if self._columns is not None:
            self._columns.close()

    def digest(self) -> str:
        """The SHA-256 of all that was written, once it is handed to the file."""
        self._wait()
        return self._hash.hexdigest()

    def _put(self, data: bytes) -> None:
        self._wait()
        self._last = self._thread.submit(self._keep, data)

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def _keep(self, data: bytes) -> None:
        self._hash.update(data)
        if self._columns is None:
            self._out.write(data)


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


def check_form(form: str) -> None:
    """Refuse a form that there is not, or whose extra is not here."""
    if form not in FORMS:
        raise errors.Invalid(f"format: “{form}” is none of {', '.join(FORMS)}", field="format")
    if form == "parquet":
        parquet.require()

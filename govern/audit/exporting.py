"""Writing the exports that were asked for, chunk by chunk, so that a crash costs one chunk at most.

After each chunk the file is flushed to the disk, and then is said how far it goes. Whoever goes on
copies what is durable to a file of its own, and goes on there: so one that was only slow, and lost
its claim, writes where nobody looks any more. The bytes are those of an export in one go.
"""

from __future__ import annotations

import hashlib
import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update
from sqlalchemy import exc as sa_exc

from govern import clock, errors
from govern.audit import export, exports, leaf, lines, parquet
from govern.audit.events import EventType
from govern.audit.exports import LogExport, State
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.audit.signer import Signer
from govern.db import new_id
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from govern.db import Database, Session

# Entries looked at between two places from which it can go on.
CHUNK = 100_000
# Longer than a chunk takes: who has not said more by then has died.
_CLAIM = timedelta(seconds=60)
_AGAIN = timedelta(seconds=5)
_ATTEMPTS = 5
_PIECE = 1 << 20


class _Overtaken(Exception):
    """Another process has it by now."""


class _Outdated(Exception):
    """Someone was erased since it was begun."""


def work(database: Database, *, progress: Callable[[int], None] | None = None) -> int:
    """Write what is due, the oldest first; returns how many became ready.

    `progress` is called after each chunk with the entries looked at, and may raise to stop.
    """
    ready = 0
    while _is_due(database):
        claim = database.transaction(_claim)
        if claim is None:
            break
        ready += _Job(database, *claim).run(progress)
    return ready


def clear(database: Database) -> None:
    """Take away what expired or became outdated, with its file, and what nobody needs any more."""
    with database.reading() as session:
        now = clock.now(session)
        ready = session.execute(select(LogExport).where(LogExport.state == State.READY)).scalars()
        over = {}
        for row in ready:
            if row.expires_at is not None and row.expires_at <= now:
                over[row.id] = ""
            elif exports.is_outdated(session, row.fields):
                over[row.id] = "Someone was erased since it was made."
        kept = session.execute(
            select(LogExport.file, LogExport.holder).where(
                LogExport.state.in_((State.WAITING, State.WRITING, State.READY)),
                LogExport.id.not_in(sorted(over)),
            )
        ).all()
        known = {str(word) for row in kept for word in row if word}
    for export_id, words in over.items():
        database.transaction(
            lambda session, export_id=export_id, words=words: session.execute(  # type: ignore[misc]  # a lambda with defaults
                update(LogExport)
                .where(LogExport.id == export_id)
                .values(state=State.EXPIRED, error=words)
            )
        )
    database.transaction(
        lambda session: session.execute(
            delete(LogExport).where(
                LogExport.state.in_((State.FAILED, State.EXPIRED)),
                LogExport.ended_at < now - exports.REMEMBERED,
            )
        )
    )
    folder = exports.folder(database.settings)
    for each in folder.iterdir() if folder.is_dir() else ():
        if each.name.startswith("exp_") and known.isdisjoint({each.name, *each.name.split(".")}):
            each.unlink(missing_ok=True)


def _is_due(database: Database) -> bool:
    with database.reading() as session:
        query = select(LogExport.id).where(
            LogExport.state.in_((State.WAITING, State.WRITING)),
            LogExport.held_until <= clock.now(session),
        )
        return session.execute(query.limit(1)).first() is not None


def _claim(session: Session) -> tuple[str, str] | None:
    """Take the oldest that nobody writes; its id, and the name under which it is ours."""
    now = clock.now(session)
    row = session.execute(
        select(LogExport)
        .where(LogExport.state.in_((State.WAITING, State.WRITING)), LogExport.held_until <= now)
        .order_by(LogExport.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).scalar_one_or_none()
    if row is None:
        return None
    row.holder, row.held_until = new_id("hld"), now + _CLAIM
    row.state = State.WRITING
    row.attempts += 1
    session.flush()
    return row.id, row.holder


class _Job:
    """One export in hand."""

    def __init__(self, database: Database, export_id: str, holder: str) -> None:
        self._database = database
        self._id, self._holder = export_id, holder
        self._row = self._read()
        self._folder = exports.folder(database.settings)
        # Columns cannot be written on where they ended: the rows of CSV can, and become columns.
        self._form = "csv" if self._row.form == "parquet" else self._row.form
        self._own = self._folder / f"{export_id}.{holder}.{self._form}"

    def run(self, progress: Callable[[int], None] | None) -> bool:
        """Write it to its end; False when that was not to be, for now or for good."""
        try:
            if self._row.attempts > _ATTEMPTS:
                self._fail(f"It was begun {_ATTEMPTS} times without getting any further.")
                return False
            self._write(progress)
        except _Overtaken:
            return False
        except _Outdated:
            self._begin_again()
            return False
        except (errors.LogDamaged, errors.Invalid) as error:
            self._fail(str(error))
            return False
        except OSError as error:
            self._let_go(f"The folder of exports cannot be written: {error.strerror}.")
            return False
        except BaseException:
            self._let_go("")
            raise
        return True

    # --- the file

    def _write(self, progress: Callable[[int], None] | None) -> None:
        row, fields, where = self._row, self._row.fields, self._row.where
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._take_over(row) < row.bytes:  # it was written elsewhere, or its file is gone
            row = self._restart(fields)
        number, scanned, place, passed = row.number, row.scanned, row.place, row.passed
        with self._own.open("ab") as out, export.File(out, self._form, None) as file:
            if not row.bytes:
                file.begin(fields)
            else:
                file.go_on(fields, rows=row.rows, erased=row.erased, before=_pieces(self._own))
            while number < len(fields["logs"]):
                head, begun = fields["logs"][number], time.monotonic()
                end = min(scanned + CHUNK, head["size"])
                if not scanned:
                    file.write([lines.begin(head["log"])])
                with self._database.reading() as session:
                    if exports.is_outdated(session, fields | {"logs": [head]}):
                        raise _Outdated
                    place = export.write_log(
                        session, file, head, where, place=place, begin=scanned, end=end
                    )
                passed += end - scanned
                rate = (end - scanned) / max(time.monotonic() - begun, 1e-6)
                scanned = end
                if scanned == head["size"]:
                    number, scanned, place = number + 1, 0, 0
                self._keep(out, file, number=number, scanned=scanned, place=place, passed=passed,
                           rate=max(int(rate), 1))  # fmt: skip
                if progress is not None:
                    progress(passed)
            with self._database.reading() as session:
                if exports.is_outdated(session, fields):
                    raise _Outdated
            file.finish(Signer(self._database.settings))
            _settle(out)
            digest = file.digest()
        made = self._own
        if row.form == "parquet":
            made, digest = self._columns()
        self._finish(made, digest)

    def _take_over(self, row: LogExport) -> int:
        """Copy what is durable to a file of our own; how much of it there was."""
        before = self._folder / row.file if row.file else None
        copied = 0
        with _made(self._own) as out:
            if before is not None and before.exists():
                for piece in _pieces(before, row.bytes):
                    copied += out.write(piece)
            if copied < row.bytes:
                out.truncate(0)
            _settle(out)
        return copied

    def _columns(self) -> tuple[Path, str]:
        """Write the rows as columns; that file, and its digest."""
        made = self._own.with_suffix(".parquet")
        with _made(made) as out, self._own.open("rb") as rows:
            writer = parquet.Writer(out)
            next(rows)  # the names of the columns
            for row in rows:
                writer.write([lines.cells(lines.from_csv(row))])
            writer.close()
            _settle(out)
        with made.open("rb") as found:
            return made, hashlib.file_digest(found, "sha256").hexdigest()

    # --- what is said of it

    def _read(self) -> LogExport:
        with self._database.reading() as session:
            row = session.get(LogExport, self._id)
            if row is None:
                raise errors.Unknown("There is no such export.")
            session.expunge(row)
            return row

    def _keep(self, out: BinaryIO, file: export.File, **reached: Any) -> None:
        """Say how far the file goes, once that is on the disk."""
        file.digest()  # all is handed over
        _settle(out)
        reached |= {"rows": file.rows, "erased": file.erased, "bytes": out.tell()}
        reached |= {"file": self._own.name, "attempts": 0}
        self._change(lambda now: reached | {"held_until": now + _CLAIM, "error": ""})

    def _restart(self, fields: dict[str, Any]) -> LogExport:
        """Begin from nothing, with this header."""
        self._change(lambda _now: {
            "header": leaf.canonical(fields).decode(), "total": exports.size(fields),
            **dict.fromkeys(("number", "scanned", "place", "passed", "rows", "erased", "bytes"), 0),
        })  # fmt: skip
        return self._read()

    def _begin_again(self) -> None:
        """Settle anew what it will say: the erasure belongs in it, once that is signed."""
        fields, where = self._row.fields, self._row.where
        try:
            with self._database.reading() as session:
                logs = [head["log"] for head in fields["logs"]] + fields.get("unsigned", [])
                fields = export.header(session, logs, where, fields.get("withheld", ()))
        except errors.Unavailable:
            self._let_go("Someone was erased meanwhile: it begins again in a moment.")
            return
        self._restart(fields)
        self._change(lambda now: {"held_until": now, "holder": None, "attempts": 0})

    def _let_go(self, words: str) -> None:
        """Leave it to the next round, here or elsewhere."""
        wait = _AGAIN if words else timedelta(0)
        try:
            self._change(lambda now: {"held_until": now + wait, "holder": None, "error": words})
        except (_Overtaken, sa_exc.SQLAlchemyError):
            return  # its claim ends by itself

    def _fail(self, words: str) -> None:
        self._end(EventType.EXPORT_FAILED, state=State.FAILED, error=words[:500])
        self._own.unlink(missing_ok=True)

    def _finish(self, made: Path, digest: str) -> None:
        lives = timedelta(days=self._database.settings.export_days)
        self._end(
            EventType.EXPORT_READY, state=State.READY, digest=digest, error="",
            bytes=made.stat().st_size, file=made.name, lives=lives,
        )  # fmt: skip

    def _end(self, event: EventType, *, lives: timedelta | None = None, **values: Any) -> None:
        asked_by = self._row.asked_by

        def work(session: Session) -> None:
            now = clock.now(session)
            ends = {"ended_at": now, "expires_at": now + lives if lives else None, "holder": None}
            self._update(session, values | ends)
            record(
                session, event, logs=[HOUSE], by=SYSTEM,
                refs={
                    "export": self._id, "subject": asked_by if asked_by[:4] == "sub_" else None
                },
            )  # fmt: skip

        self._database.transaction(work)

    def _change(self, values: Callable[[Any], dict[str, Any]]) -> None:
        self._database.transaction(
            lambda session: self._update(session, values(clock.now(session)))
        )

    def _update(self, session: Session, values: dict[str, Any]) -> None:
        changed = session.execute(
            update(LogExport)
            .where(LogExport.id == self._id, LogExport.holder == self._holder)
            .values(**values),
            execution_options={"synchronize_session": False, "preserve_rowcount": True},
        )
        if changed.rowcount != 1:  # type: ignore[attr-defined]  # a DML result has it
            raise _Overtaken


def _made(path: Path) -> BinaryIO:
    """A new file that its owner alone may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _pieces(path: Path, most: int | None = None) -> Iterator[bytes]:
    """The first `most` bytes of a file, or all, a little at a time."""
    left = path.stat().st_size if most is None else most
    with path.open("rb") as file:
        while left > 0 and (piece := file.read(min(_PIECE, left))):
            left -= len(piece)
            yield piece


def _settle(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())

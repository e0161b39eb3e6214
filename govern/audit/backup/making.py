"""Making a backup: copies of one moment, while everybody goes on working.

On SQLite the main database's snapshot is taken first and the access log's right after it, so that
whatever the first says was sealed is in the second. On PostgreSQL `pg_dump` reads the very snapshot
that the manifest was read from. The file appears under its name when it was read through again.
"""

from __future__ import annotations

import base64
import io
import os
import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from govern import clock, errors, permissions, schema
from govern.audit import decisions, log, signer
from govern.audit.backup import archive, postgresql, sqlite
from govern.audit.backup.archive import Draft, Manifest
from govern.audit.decisions import AccessKind
from govern.audit.expiry import AccessExpiry, AccessHorizon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from govern.db import Database, Session
    from govern.principal import Principal

MEMORY = "signer/heads.json"


def make(database: Database, path: Path, *, with_keys: bool = False, by: Principal) -> Manifest:
    """Write a backup to a file that is not there yet, and read it through again.

    The keys are in it only `with_keys`, with the signer's memory of that moment: whoever has such
    a file can open sealed values and sign. The access log gets its row before a byte is written.
    """
    permissions.require(by, "database:backup")
    if path.exists():
        raise errors.AlreadyExists(f"{path} is there already.")
    decisions.write(database, [{
        "at": clock.utcnow(), "kind": AccessKind.EXPORT, "principal": by.id,
        "session_id": by.session, "detail": '{"form": "backup"}',
    }])  # fmt: skip
    part = path.with_name(f"{path.name}.part")
    try:
        # Left by a backup that was killed, and nothing yet: written anew from its first byte.
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "r+b") as out:
            _write(database, out, path.parent, with_keys=with_keys)
            out.flush()
            os.fsync(out.fileno())
        with archive.opened(part) as written:
            part.replace(path)
            return written.manifest
    except OSError as error:
        raise errors.Invalid(f"{path}: {error.strerror}", field="file") from error
    finally:
        part.unlink(missing_ok=True)


def _write(database: Database, out: BinaryIO, folder: Path, *, with_keys: bool) -> None:
    settings = database.settings
    draft = Draft(out)
    names = archive.key_files(settings)
    keys = {name: (settings.data_dir / name).read_bytes() for name in names}
    with _snapshots(database) as (main, access):
        if with_keys:
            for name, value in (keys | {MEMORY: _memory(main)}).items():
                draft.add(name, io.BytesIO(value), packed=True)
        logs = {head.id: _head(main, head) for head in log.logs(main)}
        made_at = clock.text(clock.now(main))
        revisions = {
            part: schema.revision(session, part)
            for part, session in zip(schema.PARTS, (main, access), strict=True)
        }
        with tempfile.TemporaryDirectory(dir=folder, prefix=".govern-backup-") as work:
            copies = (
                postgresql.dump(main, Path(work))
                if database.is_postgresql
                else sqlite.copy(main, access, Path(work))
            )
            for copy in copies:
                with copy.open("rb") as source:
                    draft.add(copy.name, source, packed=database.is_postgresql)
                copy.unlink()
    draft.finish(
        Manifest(
            format=archive.FORMAT,
            govern=version("govern"),
            made_at=made_at,
            database="postgresql" if database.is_postgresql else "sqlite",
            schema=revisions,
            logs=logs,
            files=draft.files,
            keys={name: archive.digest(value) for name, value in keys.items()},
            with_keys=with_keys,
        )
    )


@contextmanager
def _snapshots(database: Database) -> Iterator[tuple[Session, Session]]:
    """Both databases as of one moment; one session where they are one database."""
    if database.is_postgresql:
        with database.reading() as main:
            yield main, main
        return
    while True:
        with database.reading() as main, database.access_reading() as access:
            # A snapshot begins with the first thing that is read in it.
            recorded = main.execute(select(func.max(AccessHorizon.before))).scalar()
            told = access.execute(select(func.max(AccessExpiry.before))).scalar()
            # Rows that expired between the two would be missing without the entry that says so.
            if told is None or (recorded is not None and told <= recorded):
                yield main, access
                return


def _head(session: Session, head: log.Log) -> dict[str, Any]:
    signed = log.latest_checkpoint(session, head.id)
    note = signed.note if signed is not None else None
    return {"origin": head.origin, "size": head.size, "checkpoint": note}


def _memory(session: Session) -> bytes:
    """What the signer remembers of the logs as they are in this snapshot.

    Its own file may be further by now, and would refuse the copy. `LogDamaged` when the entries
    do not lead to what was signed.
    """
    memory = {}
    for head in log.logs(session):
        signed = log.latest_checkpoint(session, head.id)
        if signed is None:
            continue
        known = log.Tree(session, head.id).range(0, signed.size)
        root = base64.b64encode(known.root()).decode()
        if signed.note.split("\n")[2] != root:  # C2SP tlog-checkpoint: origin, size, root
            raise errors.LogDamaged(f"The log {head.id} is not what was signed: not backed up.")
        memory[head.id] = known
    return signer.written(memory).encode()

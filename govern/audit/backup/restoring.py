"""Putting a backup back: into an empty place, and never behind what was signed.

What the signer remembers outside the database decides: a copy that lacks entries which were signed
is not put back, because a pause may be among them. There is no way around that; whoever lost the
newer entries for good has lost what the log is for, and begins another installation.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from govern import errors, permissions, schema
from govern.audit import log, signer, triggers
from govern.audit.backup import archive, postgresql, sqlite
from govern.audit.backup.making import MEMORY
from govern.db import Database

if TYPE_CHECKING:
    from govern.audit.backup.archive import Archive, Manifest
    from govern.config import Settings
    from govern.principal import Principal

# A name in a file from elsewhere becomes a path: these and no others.
_KEY = re.compile(r"keys/[a-z0-9-]+\.key|signer/log\.key")


def restore(settings: Settings, path: Path, *, with_keys: bool = False, by: Principal) -> Manifest:
    """Put a backup back where no database is, and see that it is whole.

    The keys have to be those that the backup was made beside; `with_keys` takes them, and the
    signer's memory, from the backup, where there are none. `LogDamaged` before anything is written
    when the backup is behind what was signed.
    """
    permissions.require(by, "database:restore")
    with archive.opened(path) as source:
        manifest = source.manifest
        if manifest.database != (
            "postgresql" if settings.url.startswith("postgresql") else "sqlite"
        ):
            raise errors.Invalid(
                f"This is a backup of {manifest.database}: set GOVERN_DATABASE_URL to one.",
                field="file",
            )
        _check_keys(settings, source, with_keys=with_keys)
        sizes = {log_id: head["size"] for log_id, head in manifest.logs.items()}
        signer.refuse_behind(settings, signer.known_sizes(settings), sizes)
        database = Database(settings)
        try:
            _put(source, path.parent, settings, database)
            _put_keys(settings, source, with_keys=with_keys)
            _check(database, manifest)
        finally:
            database.dispose()
    return manifest


def _check_keys(settings: Settings, source: Archive, *, with_keys: bool) -> None:
    manifest = source.manifest
    if strange := [name for name in manifest.keys if not _KEY.fullmatch(name)]:
        raise errors.Invalid(f"This backup names no key of govern: {strange[0]!r}.", field="file")
    if with_keys and not manifest.with_keys:
        raise errors.Invalid("This backup was made without its keys.", field="file")
    here = {name for name in (*manifest.keys, MEMORY) if (settings.data_dir / name).exists()}
    if with_keys and here:
        raise errors.AlreadyExists(
            f"{settings.data_dir / min(here)} is there: keys are taken from a backup only where "
            "none are. Leave out --with-keys."
        )
    for name, expected in {} if with_keys else manifest.keys.items():
        file = settings.data_dir / name
        if name not in here:
            raise errors.Unavailable(
                f"{file} is missing: put the keys of this installation there first, "
                + ("or take those in the backup (--with-keys)." if manifest.with_keys
                   else "which are not in this backup.")
            )  # fmt: skip
        if archive.digest(file.read_bytes()) != expected:
            raise errors.Conflict(f"{file} is not the key that this backup was made beside.")
    if (
        not with_keys
        and MEMORY not in here
        and any(head["checkpoint"] for head in manifest.logs.values())
    ):
        raise errors.Unavailable(
            f"{settings.data_dir / MEMORY} is missing: without the signer's memory nobody knows "
            "whether this backup is behind what was signed. Put it back from where it is kept."
        )  # fmt: skip


def _put(source: Archive, folder: Path, settings: Settings, database: Database) -> None:
    if not database.is_postgresql:
        sqlite.require_empty(settings)
        sqlite.put(source, settings)
        return
    postgresql.require_empty(database)
    # Beside the backup, where there was room for it.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".govern-restore-") as work:
        postgresql.put(source, database, Path(work))


def _put_keys(settings: Settings, source: Archive, *, with_keys: bool) -> None:
    if not with_keys:
        return
    for name in source.manifest.files:
        if _KEY.fullmatch(name) or name == MEMORY:
            file = settings.data_dir / name
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            source.extract(name, file)


def _check(database: Database, manifest: Manifest) -> None:
    """The copy holds what its manifest says, continues what was signed, and keeps its promises."""
    try:
        with database.reading() as session, database.access_reading() as access:
            for log_id, head in manifest.logs.items():
                last = log.latest_checkpoint(session, log_id)
                if (log.known(session, log_id).size, last.note if last else None) != (
                    head["size"],
                    head["checkpoint"],
                ):
                    raise errors.LogDamaged(f"The log {log_id} is not what the manifest says.")
            missing = triggers.missing(session, "main") + triggers.missing(access, "access")
            if missing:
                raise errors.LogDamaged(f"These triggers are missing: {', '.join(missing)}.")
        signer.Signer(database.settings).check_continues(database)
    except errors.GovernError:
        if not database.is_postgresql:
            database.dispose()
            sqlite.take_away(database.settings)
        raise
    try:
        schema.require_schema(database)
    except errors.Unavailable:
        return  # of an older version, which `db upgrade` will bring up
    schema.check(database.settings)

"""Backups of SQLite: its own online copy of each file, taken within a snapshot that is open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from govern import errors

if TYPE_CHECKING:
    from govern.audit.backup.archive import Archive
    from govern.config import Settings
    from govern.db import Session

MAIN, ACCESS = "govern.db", "govern.db.access"


def copy(main: Session, access: Session, folder: Path) -> list[Path]:
    """Copy both files as these snapshots see them; readers and writers go on meanwhile."""
    for name, session in ((MAIN, main), (ACCESS, access)):
        source = session.connection().connection.driver_connection
        with closing(sqlite3.connect(folder / name)) as target:
            source.backup(target)  # type: ignore[union-attr]  # sqlite3's
    return [folder / MAIN, folder / ACCESS]


def _files(settings: Settings) -> dict[str, Path]:
    urls = {MAIN: settings.url, ACCESS: settings.access_url}
    return {name: Path(make_url(url).database or "") for name, url in urls.items()}


def require_empty(settings: Settings) -> None:
    """Refuse (`AlreadyExists`) where a database is, or what another one left behind."""
    for file in _files(settings).values():
        for each in (file, *(file.with_name(file.name + tail) for tail in ("-wal", "-journal"))):
            if each.exists():
                raise errors.AlreadyExists(
                    f"{each} is there: a backup is put back where no database is."
                )


def put(source: Archive, settings: Settings) -> None:
    """Write both files whole, then let them appear: the main one last, by which all is known."""
    files = _files(settings)
    parts = {name: file.with_name(f"{file.name}.part") for name, file in files.items()}
    try:
        for name, part in parts.items():
            part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.unlink(missing_ok=True)  # of a restore that was killed
            source.extract(name, part)
        for name in (ACCESS, MAIN):
            parts[name].replace(files[name])
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def take_away(settings: Settings) -> None:
    """Remove what `put` has put: it is not what it should be."""
    for file in _files(settings).values():
        for each in (file, *(file.with_name(file.name + tail) for tail in ("-wal", "-shm"))):
            each.unlink(missing_ok=True)

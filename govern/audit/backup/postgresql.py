"""Backups of PostgreSQL: by its own `pg_dump` and `pg_restore`, which have to be installed.

A program serves servers up to its own version, so the first one found that is new enough is taken:
of PATH, then of where Debian keeps each version. The password goes by the environment, and is in no
list of processes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg.conninfo
from sqlalchemy import func, select, text

from govern import errors

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from govern.audit.backup.archive import Archive
    from govern.db import Database

DUMP = "govern.dump"
_DEBIAN = Path("/usr/lib/postgresql")


def dump(session: Session, folder: Path) -> list[Path]:
    """Dump what the session's snapshot sees, in PostgreSQL's custom format."""
    driver = _driver(session)
    snapshot = session.execute(select(func.pg_export_snapshot())).scalar_one()
    target = folder / DUMP
    _run(
        "pg_dump", driver, "--format=custom", f"--snapshot={snapshot}", "--no-owner",
        "--no-privileges", f"--file={target}",
    )  # fmt: skip
    return [target]


def require_empty(database: Database) -> None:
    """Refuse (`AlreadyExists`) a database that holds anything at all."""
    with database.reading() as session:
        found = session.execute(
            text(
                "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_' "
                "AND n.nspname <> 'information_schema' LIMIT 1"
            )
        ).scalar_one_or_none()
    if found is not None:
        raise errors.AlreadyExists(
            f"The database holds something ({found}): a backup is put back into an empty one, "
            "such as `createdb` makes."
        )


def put(source: Archive, database: Database, folder: Path) -> None:
    """Load the dump in one transaction: all of it is there afterwards, or nothing."""
    file = folder / DUMP
    source.extract(DUMP, file)
    with database.reading() as session:
        driver = _driver(session)
        session.rollback()
        _run(
            "pg_restore", driver, "--exit-on-error", "--single-transaction", "--no-owner",
            "--no-privileges", str(file),
        )  # fmt: skip


def _driver(session: Session) -> Any:
    return session.connection().connection.driver_connection


def _run(name: str, driver: Any, *options: str) -> None:
    """Run a program on the very server that the connection is with."""
    info = driver.info
    where = info.get_parameters() | {"host": info.host, "port": str(info.port)}
    where.pop("target_session_attrs", None)
    where.pop("hostaddr", None)
    address = psycopg.conninfo.make_conninfo(**where)
    program = _program(name, info.server_version // 10_000)
    done = subprocess.run(  # noqa: S603 - PostgreSQL's own, with fixed options
        [program, f"--dbname={address}", "--no-password", *options],
        env=os.environ | {"PGPASSWORD": info.password},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().split("\n")
        raise errors.Unavailable(f"{name} failed: {words[0] if words else done.returncode}")


def _program(name: str, needed: int) -> str:
    places = os.environ.get("PATH", "").split(os.pathsep)
    places += [str(each) for each in sorted(_DEBIAN.glob("*/bin"), reverse=True)]
    versions = []
    for place in places:
        found = shutil.which(name, path=place)
        if not found:
            continue
        told = subprocess.run(  # noqa: S603 - a program of this name from PATH, asked its version
            [found, "--version"], capture_output=True, check=False, text=True
        )
        number = re.search(r"\) (\d+)", told.stdout)
        if number and int(number[1]) >= needed:
            return found
        versions.append(number[1] if number else "?")
    has = f"only that of {', '.join(versions)}" if versions else "none"
    raise errors.Unavailable(
        f"This takes {name} of PostgreSQL {needed} or newer, and {has} was found: install "
        f"postgresql-client-{needed}, or put its folder into PATH."
    )

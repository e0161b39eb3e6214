"""The schema: brought to this version, compared with the models, and refused when it is another's.

Two histories of migrations, of the main database and of the access log's.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import String, column, inspect, select, table
from sqlalchemy.engine import make_url

from govern import config, errors, paths

if TYPE_CHECKING:
    from alembic.config import Config

    from govern.config import Settings
    from govern.db import Database, Session

PARTS = ("main", "access")


def alembic_config(settings: Settings, part: str) -> Config:
    """Alembic's configuration for one of the two histories, without an ini file."""
    from alembic.config import Config  # noqa: PLC0415 - a third of the start-up, for migrations only

    setup = Config(stdout=io.StringIO())  # what alembic says of a check is no one's output
    # A percent sign would begin an interpolation.
    migrations = str(paths.MIGRATIONS).replace("%", "%%")
    setup.set_main_option("script_location", migrations)
    setup.set_main_option("version_locations", f"{migrations}/{part}")
    setup.set_main_option("path_separator", "os")
    setup.attributes["settings"] = settings
    setup.attributes["part"] = part
    return setup


def upgrade(settings: Settings) -> None:
    """Bring both histories to their heads, and make the keys that are not there yet."""
    from alembic import command  # noqa: PLC0415 - see alembic_config

    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.make_secret(settings.keys_dir / "web.key")
    if not config.sealing_keys(settings):
        config.make_sealing_key(settings, 1)
    for part in PARTS:
        command.upgrade(alembic_config(settings, part), "head")


@cache
def head(part: str) -> str:
    """The revision that a part is to be at: the last file's, each of which is named by its own."""
    files = (paths.MIGRATIONS / part).glob("[0-9]*_*.py")
    return max(file.name.partition("_")[0] for file in files)


def revision(session: Session, part: str) -> str:
    """The revision that a part is at; empty if it was never migrated."""
    name = f"schema_{part}"
    if not inspect(session.connection()).has_table(name):
        return ""
    found = session.execute(select(column("version_num", String())).select_from(table(name)))
    return " ".join(found.scalars())


def require_schema(database: Database) -> None:
    """Refuse (`Unavailable`) a database that is not there, or not at the heads of its histories."""
    settings = database.settings
    for part, reading in zip(PARTS, (database.reading, database.access_reading), strict=True):
        url = make_url(settings.url if part == "main" else settings.access_url)
        # Opening a SQLite file that is not there would make an empty one.
        if url.drivername == "sqlite" and not Path(url.database or "").is_file():
            raise errors.Unavailable("There is no database yet: run `govern db upgrade`.")
        with reading() as session:
            found = revision(session, part)
        if found != head(part):
            raise errors.Unavailable(
                f"The {part} schema is not the one of this version: run `govern db upgrade`."
            )


def check(settings: Settings) -> None:
    """Compare the schema with the models; `Unavailable` names the first difference."""
    from alembic import command  # noqa: PLC0415 - see alembic_config

    for part in PARTS:
        try:
            command.check(alembic_config(settings, part))
        except Exception as error:
            raise errors.Unavailable(f"The {part} schema differs: {error}") from error

"""What SQLite's planner knows of the tables: PostgreSQL looks at its own by itself.

SQLite never looks unless it is told to. Knowing nothing it goes through a million rows for the few
that another index would give; and of a table that was small when it was looked at it believes that
it still is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db.work import Database, Session

# Pages of 4 KiB below which whatever is planned is done in no time.
_FEWEST = 2_000
# Seconds after which other writers get their turn; one index of a million rows takes some 0.2.
_HELD = 0.05
# An index each, but tables that are themselves one with all of theirs.
_NAMES = text("""
    SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND wr
    UNION ALL
    SELECT i.name FROM sqlite_schema AS i JOIN pragma_table_list AS t ON t.name = i.tbl_name
    WHERE i.type = 'index' AND t.schema = 'main' AND NOT t.wr
""")
# A connection reads what is known when it reads what tables there are.
_TELL = ("CREATE TABLE looked_at (n INTEGER)", "DROP TABLE looked_at")


class Planning:
    """Looks when there is twice as much as at the last time, while one process follows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._enough = _FEWEST

    def follow(self, progress: Callable[[int], None] | None = None) -> bool:
        """Look, where it is time to, and let all connections know; tells whether it did.

        `progress` is called between two transactions, and may raise to end it.
        """
        if self._database.is_postgresql:
            return False
        with self._database.asking() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            names = list(connection.execute(_NAMES).scalars())
        if pages < self._enough:
            return False

        def look(session: Session) -> int:
            end, done = time.monotonic() + _HELD, 0
            while done < len(names) and time.monotonic() < end:
                session.execute(text(f'ANALYZE "{names[done]}"'))
                done += 1
            return done

        while names:
            done = self._database.transaction(look)
            del names[:done]
            if progress is not None:
                progress(done)
        self._database.transaction(_tell)
        self._enough = 2 * pages
        return True


def _tell(session: Session) -> None:
    for statement in _TELL:
        session.execute(text(statement))

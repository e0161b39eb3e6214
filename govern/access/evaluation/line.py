"""The connections that decisions are asked and recorded by."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from sqlalchemy import exc as sa_exc

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from govern.db import Database


class Line:
    """The connections that questions are answered by: had when needed, kept while there are more.

    On PostgreSQL the access log is where all the rest is, and one does for both.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held = ExitStack()
        self._asking: Connection | None = None
        self._recording: Connection | None = None

    @property
    def is_one(self) -> bool:
        """Whether what is asked and what is recorded are of one database."""
        return self._database.is_postgresql

    def asking(self) -> Connection:
        """The one there is, or another."""
        if self._asking is None:
            self._asking = self._held.enter_context(self._database.asking())
        return self._asking

    def recording(self) -> Connection:
        """The same to the access log."""
        if self.is_one:
            return self.asking()
        if self._recording is None:
            self._recording = self._held.enter_context(self._database.access_asking())
        return self._recording

    def close(self) -> None:
        """Give them back; whatever happens to them then is no asker's matter."""
        self._asking = self._recording = None
        with suppress(sa_exc.SQLAlchemyError):
            self._held.close()

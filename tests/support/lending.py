"""PostgreSQL databases that tests use one after another, each as it was for the first.

To copy a database, and to open its connections and plan their statements anew, costs more than most
tests do. So what a test gives back is emptied and filled again, and its connections are kept for
the next engines that ask for one. Where anything but rows was touched, or where anybody else still
is, the database is thrown away.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine

    from tests.support.postgres import Server

KEPT = 2  # databases at once: the plain one, and that of the file at hand
USES = 100  # of one database, before what was deleted in it slows it down
PREPARED = 500  # statements that a connection remembers
LEAVING = 0.5  # seconds

# Any change of one of these catalogues adds a newer transaction than all in it, or takes rows away.
# The numbers of what initdb made are lower.
_CATALOGUES = {
    **dict.fromkeys(
        ["pg_class", "pg_constraint", "pg_trigger", "pg_attrdef", "pg_type", "pg_namespace",
         "pg_rewrite", "pg_policy", "pg_statistic_ext", "pg_extension", "pg_event_trigger",
         "pg_largeobject_metadata"], "oid >= 16384",
    ),
    "pg_attribute": "attrelid >= 16384",
    "pg_index": "indexrelid >= 16384",
    "pg_statistic": "starelid >= 16384",
    "pg_database": "datname = current_database()",
    "pg_db_role_setting": "true",
}  # fmt: skip
_SHAPE = " UNION ALL ".join(
    # `_empty` puts other functions in their places for a while, so of these what they say counts.
    ["SELECT 'pg_proc', count(*), sum(hashtext(pg_proc::text)) FROM pg_proc WHERE oid >= 16384"]
    + [
        f"SELECT '{name}', count(*), sum(xmin::text::bigint) FROM {name} WHERE {own}"
        for name, own in _CATALOGUES.items()
    ]
).encode()
_WRITTEN = (
    b"SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
    b"AND relkind = 'r' AND pg_relation_size(oid) > 0 ORDER BY relname"
)
_GUARDS = (
    b"SELECT DISTINCT tgfoid::regproc::text, pg_get_functiondef(tgfoid) FROM pg_trigger "
    b"WHERE tgenabled = 'A' AND NOT tgisinternal"
)
_LET_PASS = (
    "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'"
)
_OTHERS = (
    b"SELECT pid FROM pg_stat_activity "
    b"WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_AS_NEW = b"RESET ALL; SELECT pg_advisory_unlock_all(); UNLISTEN *"


@dataclass
class Lent:
    """A database, who restores it, what it is restored to, and connections that nobody has."""

    url: str
    keeper: psycopg.Connection[Any]
    rows: dict[str, bytes] = field(default_factory=dict)
    shape: list[Any] = field(default_factory=list)
    guards: dict[str, str] = field(default_factory=dict)
    idle: dict[bool, list[psycopg.Connection[Any]]] = field(
        default_factory=lambda: {True: [], False: []}
    )
    uses: int = 0

    def note(self) -> None:
        """Keep how it is now."""
        self.shape = self._ask(_SHAPE)
        self.guards = dict(self._ask(_GUARDS))
        for (table,) in self._ask(_WRITTEN):
            with self.keeper.cursor().copy(f'COPY "{table}" TO STDOUT (FORMAT BINARY)') as copy:
                self.rows[table] = b"".join(map(bytes, copy))

    def restore(self) -> bool:
        """Make it as it was noted; False where that takes more than rows."""
        if not self._is_alone() or self._ask(_SHAPE) != self.shape:
            return False
        with self.keeper.transaction():
            # No trigger of a foreign key; those of the logs fire always.
            self.keeper.execute(b"SET LOCAL session_replication_role = replica")
            self._empty([table for (table,) in self._ask(_WRITTEN)])
            for table, rows in self.rows.items():
                into = f'COPY "{table}" FROM STDIN (FORMAT BINARY)'
                with self.keeper.cursor().copy(into.encode()) as copy:
                    copy.write(rows)
        return True

    def _is_alone(self) -> bool:
        """Whether nobody else is in it; who has just closed a connection needs a moment to go."""
        own = {each.info.backend_pid for each in self._idle()}
        deadline = time.monotonic() + LEAVING
        while {pid for (pid,) in self._ask(_OTHERS)} - own:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _empty(self, tables: list[str]) -> None:
        """Delete all rows, also those that are guarded.

        To switch a trigger off would do as well, and throw away every plan made for its table.
        """
        statements = [
            *map(_LET_PASS.format, self.guards),
            *(f'DELETE FROM "{table}"' for table in tables),
            *self.guards.values(),
        ]
        self.keeper.execute("; ".join(statements).encode())

    def _ask(self, question: bytes) -> list[Any]:
        return self.keeper.execute(question).fetchall()

    def _idle(self) -> Iterable[psycopg.Connection[Any]]:
        return [*self.idle[True], *self.idle[False]]

    def close(self) -> None:
        """Let go of every connection that is here."""
        for each in (*self._idle(), self.keeper):
            each.close()


class Lending:
    """What one worker lends to its tests, by the database that it is a copy of."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._process = os.getpid()
        self._free: dict[str, Lent] = {}
        self._out: dict[str, tuple[str, Lent]] = {}

    def lend(self, template: str) -> str:
        """Give the address of a database that is as the template is."""
        lent = self._free.pop(template, None) or self._make(template)
        lent.uses += 1
        self._out[lent.url] = (template, lent)
        return lent.url

    def take_back(self, url: str) -> None:
        """Make it ready for the next, or end it."""
        template, lent = self._out.pop(url)
        try:
            good = lent.uses < USES and lent.restore()
        except psycopg.Error:
            good = False
        if good:
            self._free[template] = lent
        else:
            self._end(lent)
        while len(self._free) > KEPT:
            self._end(self._free.pop(next(iter(self._free))))

    def _make(self, template: str) -> Lent:
        url = self._server.create_database(template)
        keeper = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        keeper.execute("SET lock_timeout = '2s'")
        lent = Lent(url, keeper)
        lent.note()
        return lent

    def _end(self, lent: Lent) -> None:
        lent.close()
        self._server.drop_database(lent.url)

    def close(self) -> None:
        """End every database that nobody has."""
        while self._free:
            self._end(self._free.popitem()[1])

    def serve(self, engine: Engine) -> None:
        """Let an engine take its connections from those that others closed, and close none."""
        found = self._out.get(engine.url.render_as_string(hide_password=False))
        if found is None or os.getpid() != self._process:
            return  # a copy of this process makes connections of its own
        _, lent = found

        def connect(dialect: Any, _: Any, given: list[Any], named: dict[str, Any]) -> Any:
            idle = lent.idle[dialect._on_connect_isolation_level == "AUTOCOMMIT"]
            while idle:
                taken = idle.pop()
                try:
                    taken.execute(_AS_NEW, prepare=False)
                    taken.commit()
                except psycopg.Error:
                    taken.close()
                else:
                    return taken
            made = dialect.connect(*given, **named)
            made.prepared_max = PREPARED
            # Whatever is rolled back, nobody drops what they read while a connection is kept.
            made._prepared.clear = lambda: False
            return made

        def close(connection: psycopg.Connection[Any]) -> None:
            idle = connection.info.transaction_status is TransactionStatus.IDLE
            if not idle or lent.url not in self._out:
                connection.close()
                return
            connection._notice_handlers.clear()
            lent.idle[connection.autocommit].append(connection)

        def ready(connection: Any, *_: Any) -> None:
            connection.prepare_threshold = 0  # whatever the application wants prepared

        event.listen(engine, "do_connect", connect)
        event.listen(engine, "checkout", ready)
        engine.dialect.do_close = close  # type: ignore[method-assign]  # of this engine alone

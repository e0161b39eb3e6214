"""`serve`, `worker` and `db`: what runs an installation, and what brings its database up."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import pkgutil
import signal
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from govern import errors, schema
from govern.audit import triggers
from govern.audit.signer import Signer
from govern.cli.followers import Followers
from govern.cli.frame import Desk, govern, json_option, pass_desk
from govern.identity import keys, passwords, sealing_keys

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds that a server process has for the answers under way.
_GRACE = 10
# Questions that wait together are answered together, so more threads than cores make less work.
_THREADS = 16


@govern.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@pass_desk
def serve(desk: Desk, host: str) -> None:
    """Serve pages and decisions on GOVERN_PORT.

    The followers run along, unless GOVERN_FOLLOWERS=0 (then run `govern worker`).

    Example: GOVERN_PORT=8080 govern serve
    """
    serving = server(
        "govern:create_app",
        host=host,
        port=desk.settings.port,
        one_writer=not desk.database.is_postgresql,
    )
    serving.followers = Followers(desk.database) if desk.settings.followers else None
    # The server's processes are copies of this one: no connection may be shared with them.
    desk.database.dispose()
    click.echo(f"govern answers on {desk.settings.public_url}", err=True)
    try:
        serving.serve(target_loader=_load)
    finally:
        if serving.followers is not None:
            serving.followers.stop()


def server(application: str, *, host: str, port: int, one_writer: bool) -> _Server:
    """The server of an application, given by the name of what makes it."""
    cores = os.cpu_count() or 1
    # Granian warns of more threads than cores; ours mostly wait, and are meant to.
    logging.getLogger("_granian").addFilter(lambda told: "Python threads" not in told.getMessage())
    return _Server(
        application,
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        # The other half is the database's, and a process that has more to answer at once answers
        # more by one statement. SQLite has one writer: a second process would gain nothing there.
        workers=1 if one_writer else max(1, cores // 2),
        blocking_threads=_THREADS,
        websockets=False,
        log_level=LogLevels.warning,
        workers_kill_timeout=_GRACE,
    )


class _Server(Granian):  # type: ignore[misc,valid-type]  # an alias, by the build of Python
    """Granian, with the followers in its first process, begun once the others were copied off it.

    A copy made while other threads run may hold their locks for ever.
    """

    followers: Followers | None = None

    def startup(
        self, spawn_target: Callable[..., None], target_loader: Callable[..., object]
    ) -> None:
        """Start the server's processes, then the followers."""
        super().startup(spawn_target, target_loader)
        if self.followers is not None:
            self.followers.start()


def _load(target: str) -> Callable[..., object]:
    """Make the application in a server process, which ends when `serve` itself was killed."""
    # The copied handler would only note, in this process, what the first one should do.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    application: Callable[..., object] = pkgutil.resolve_name(target)()
    # What there is by now lasts as long as the process, and little of what an answer leaves is a
    # cycle: to look for lost ones at Python's own pace would cost more than it finds.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    return application


def _end_with_parent() -> None:
    # Without this a killed `serve` would leave its port taken, and its logs unsigned.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(1)


@govern.command()
@pass_desk
def worker(desk: Desk) -> None:
    """Run the followers alone.

    They sign the logs every second, write the entries that pauses and lifts still owe, and mail
    people about what was done to their access.
    """
    ordered = threading.Event()
    for order in (signal.SIGTERM, signal.SIGINT):
        signal.signal(order, lambda *_: ordered.set())
    followers = Followers(desk.database)
    followers.start()
    # A wait without end could not be woken by a signal on every platform.
    while not ordered.wait(60):
        pass
    followers.stop()


@govern.group("db")
def database_() -> None:
    """Bring the database up to this version, or check it."""


@database_.command()
@json_option
@pass_desk
def upgrade(desk: Desk) -> None:
    """Make or migrate the database, and make the keys that are missing."""
    schema.upgrade(desk.settings)
    key = Signer(desk.settings).key
    sealing_keys.ensure(desk.any_database)
    keys.ensure(desk.database)  # which refuses one that is behind its signer
    desk.tell({"ok": True, "key": key}, "The database is as this version needs it.")


@database_.command()
@json_option
@pass_desk
def check(desk: Desk) -> None:
    """Compare the schema with the models, see that the logs' triggers are in place.

    It tells what a password's hash costs, too.
    """
    database = desk.database
    schema.check(desk.settings)
    readings = (("main", database.reading), ("access", database.access_reading))
    missing: list[str] = []
    for part, reading in readings:
        with reading() as session:
            missing += triggers.missing(session, part)
    if missing:
        raise errors.Unavailable(f"These triggers are not in place: {', '.join(missing)}.")
    desk.tell(
        {"ok": True, "hashing": asdict(passwords.PARAMETERS) | {"type": "argon2id"}},
        "The schema is that of the models, and every trigger is in place.",
        f"Passwords are hashed by {passwords.cost()}.",
    )

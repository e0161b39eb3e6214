"""`serve`, `worker` and `db`: what runs an installation, and what brings its database up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import click
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from govern import db, errors
from govern.audit import triggers
from govern.audit.signer import Signer
from govern.cli.followers import Followers
from govern.cli.frame import Desk, govern, json_option, pass_desk


@govern.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@pass_desk
def serve(desk: Desk, host: str) -> None:
    """Serve pages and decisions on GOVERN_PORT.

    The followers run along, unless GOVERN_FOLLOWERS=0 (then run `govern worker`).

    Example: GOVERN_PORT=8080 govern serve
    """
    cores = os.cpu_count() or 1
    # Server processes start afresh: a copy of this one would hold its locks and connections.
    multiprocessing.set_start_method("spawn", force=True)
    server = Granian(
        "govern:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=desk.settings.port,
        # SQLite has one writer, so a second process would gain nothing there.
        workers=cores if desk.database.is_postgresql else 1,
        blocking_threads=2 * cores + 1,
        websockets=False,
        log_level=LogLevels.warning,
    )
    followers = Followers(desk.database) if desk.settings.followers else None
    if followers is not None:
        followers.start()
    click.echo(f"govern answers on {desk.settings.public_url}", err=True)
    try:
        server.serve()
    finally:
        if followers is not None:
            followers.stop()


@govern.command()
@pass_desk
def worker(desk: Desk) -> None:
    """Run the followers alone.

    They sign the logs every second, and write the entries that pauses and lifts still owe.
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
    db.upgrade(desk.settings)
    key = Signer(desk.settings).key
    _ = desk.database  # refuses one that is behind its signer
    desk.tell({"ok": True, "key": key}, "The database is as this version needs it.")


@database_.command()
@json_option
@pass_desk
def check(desk: Desk) -> None:
    """Compare the schema with the models, and see that the logs' triggers are in place."""
    database = desk.database
    db.check(desk.settings)
    readings = (("main", database.reading), ("access", database.access_reading))
    missing: list[str] = []
    for part, reading in readings:
        with reading() as session:
            missing += triggers.missing(session, part)
    if missing:
        raise errors.Unavailable(f"These triggers are not in place: {', '.join(missing)}.")
    desk.tell({"ok": True}, "The schema is that of the models, and every trigger is in place.")

"""`serve`, `worker` and `db`: what runs an installation, and what brings its database up."""

from __future__ import annotations

import signal
import threading
from dataclasses import asdict

import click

from govern import errors, schema
from govern.audit import triggers
from govern.audit.signer import Signer
from govern.cli.frame import Desk, govern, json_option, pass_desk
from govern.identity import keys, passwords, sealing_keys


@govern.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@pass_desk
def serve(desk: Desk, host: str) -> None:
    """Serve pages and decisions on GOVERN_PORT.

    The followers run along, unless GOVERN_FOLLOWERS=0 (then run `govern worker`).

    Example: GOVERN_PORT=8080 govern serve
    """
    # The server, the followers and what they call out with: no other command waits for them.
    from govern.cli import followers, serving  # noqa: PLC0415 - see above

    server = serving.server(
        "govern:create_app",
        host=host,
        port=desk.settings.port,
        one_writer=not desk.database.is_postgresql,
    )
    server.followers = followers.Followers(desk.database) if desk.settings.followers else None
    # The server's processes are copies of this one: no connection may be shared with them.
    desk.database.dispose()
    click.echo(f"govern answers on {desk.settings.public_url}", err=True)
    try:
        server.serve(target_loader=serving.load)
    finally:
        if server.followers is not None:
            server.followers.stop()


@govern.command()
@pass_desk
def worker(desk: Desk) -> None:
    """Run the followers alone.

    They sign the logs every second, write the entries that pauses and lifts still owe, and mail
    people about what was done to their access.
    """
    from govern.cli import followers, serving  # noqa: PLC0415 - as in `serve`

    ordered = threading.Event()
    for order in (signal.SIGTERM, signal.SIGINT):
        signal.signal(order, lambda *_: ordered.set())
    following = followers.Followers(desk.database)
    serving.settle()
    following.start()
    # A wait without end could not be woken by a signal on every platform.
    while not ordered.wait(60):
        pass
    following.stop()


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

"""`witness`: run one for someone's logs, or have ours witnessed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from govern import clock
from govern.access import clients, names
from govern.audit import witnessing
from govern.audit.witness import Witness
from govern.cli.frame import Desk, day, govern, json_option, number, pass_desk

if TYPE_CHECKING:
    from govern.audit.witnessing import LogWitness
    from govern.db import Session

_FOLDER = click.Path(file_okay=False, path_type=Path)


@govern.group()
def witness() -> None:
    """Let others vouch that no history is rewritten, or vouch for theirs."""


@witness.command()
@click.argument("folder", type=_FOLDER)
@click.option("--name", required=True, help="What it signs as, such as witness.example/1.")
@click.option(
    "--log", "logs", required=True, multiple=True, metavar="VKEY",
    help="The verifier key of the logs to witness (what `govern log key` prints there).",
)  # fmt: skip
@json_option
@pass_desk
def init(desk: Desk, /, *, folder: Path, name: str, logs: tuple[str, ...]) -> None:
    """Make a witness in FOLDER, with a key of its own.

    Prints that key, which whoever runs the logs is told. It needs nothing of an installation of
    govern: no database, and no account.

    Example: govern witness init witness --name witness.aster.example/1 --log govern.example+1a2b…
    """
    made = Witness.begin(folder, name, logs)
    desk.tell({"key": made.key}, made.key)


@witness.command()
@click.argument("folder", type=_FOLDER)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8090, show_default=True, help="The port to listen on.")
def serve(*, folder: Path, host: str, port: int) -> None:
    """Answer as the witness in FOLDER (C2SP tlog-witness, POST /add-checkpoint).

    Example: govern witness serve witness --port 8090
    """
    from govern.cli import serving  # noqa: PLC0415 - as in `govern serve`

    Witness(folder)  # says here what is wrong, not in the server's process
    os.environ["GOVERN_WITNESS_DIR"] = str(folder.absolute())
    server = serving.server("govern.web.witness:create", host=host, port=port, one_writer=True)
    click.echo(f"the witness answers on http://{host}:{port}/add-checkpoint", err=True)
    server.serve()


@witness.command()
@click.argument("url")
@click.option("--key", required=True, metavar="VKEY", help="The witness's own key.")
@click.option("--client", default="", metavar="CODE", help="This client's log alone; else all.")
@json_option
@pass_desk
def add(desk: Desk, /, *, url: str, key: str, client: str) -> None:
    """Have our logs witnessed at URL from now on.

    A witness that a client runs is told of that client's log alone: name it.

    Example: govern witness add https://witness.aster.example --key witness.aster.example/1+3c4d…
    """

    def work(session: Session) -> LogWitness:
        client_id = clients.client(session, client).id if client else None
        return witnessing.add(session, url, key, client=client_id, by=desk.by)

    row = desk.database.transaction(work)
    desk.tell({"id": row.id, "name": row.name}, f"{row.name} is asked from now on ({row.id}).")


@witness.command("list")
@json_option
@pass_desk
def list_(desk: Desk, /) -> None:
    """How far each witness has followed each log."""
    with desk.database.reading() as session:
        found = witnessing.following(session)
        codes = names.of(session, {each.log for each in found})
    desk.tell(
        {"witnesses": [
            {"id": each.witness.id, "name": each.witness.name, "log": each.log,
             "cosigned": each.cosigned, "signed": each.signed,
             "seen_at": clock.text(each.seen_at) if each.seen_at else None}
            for each in found
        ]},
        *(
            f"{each.witness.name}  {codes.get(each.log, each.log)}  {each.cosigned:,} of "
            f"{number(each.signed, 'entry', 'entries')}"
            + (f", seen {day(each.seen_at)}" if each.seen_at else ", never seen")
            for each in found
        ),
    )  # fmt: skip


@witness.command()
@click.argument("name")
@json_option
@pass_desk
def end(desk: Desk, /, *, name: str) -> None:
    """Ask a witness no more; what it cosigned stays, and stays in exports.

    Example: govern witness end witness.aster.example/1
    """

    def work(session: Session) -> str:
        row = witnessing.find(session, name)
        witnessing.end(session, row, by=desk.by)
        return row.id

    desk.tell({"id": desk.database.transaction(work)}, f"{name} is asked no more.")

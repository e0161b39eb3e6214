"""`hold`: keep everything of a client until somebody says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from govern import clock
from govern.access import clients, names
from govern.audit import holding
from govern.cli.frame import Desk, day, govern, json_option, pass_desk

if TYPE_CHECKING:
    from govern.db import Session


@govern.group()
def hold() -> None:
    """Put clients under legal hold: nothing expires until it is released."""


@hold.command("set")
@click.argument("client", metavar="CODE")
@click.option("--reason", required=True, help="Why; it is committed to in the log.")
@json_option
@pass_desk
def set_(desk: Desk, /, *, client: str, reason: str) -> None:
    """Put a client under legal hold.

    No row of the access log expires meanwhile, of whichever client: rows of many stand in one run.

    Example: govern hold set ASTER --reason "Letter of their counsel of 20 November"
    """

    def work(session: Session) -> str:
        found = clients.client(session, client).id
        return holding.place(session, found, reason=reason, by=desk.by).id

    desk.tell({"id": desk.database.transaction(work)}, f"{client} is under legal hold.")


@hold.command()
@click.argument("client", metavar="CODE")
@click.option("--reason", required=True, help="Why; it is committed to in the log.")
@json_option
@pass_desk
def release(desk: Desk, /, *, client: str, reason: str) -> None:
    """Release a client's legal hold.

    Example: govern hold release ASTER --reason "The matter is settled"
    """

    def work(session: Session) -> str:
        found = clients.client(session, client).id
        return holding.release(session, found, reason=reason, by=desk.by).id

    desk.tell({"id": desk.database.transaction(work)}, f"{client} is under legal hold no longer.")


@hold.command("list")
@json_option
@pass_desk
def list_(desk: Desk, /) -> None:
    """The legal holds in force."""
    with desk.database.reading() as session:
        found = holding.standing(session)
        codes = names.of(session, [row.client_id for row in found])
    desk.tell(
        {"holds": [
            {"id": row.id, "client": codes[row.client_id], "since": clock.text(row.recorded_at)}
            for row in found
        ]},
        *(f"{codes[row.client_id]}  since {day(row.recorded_at)}" for row in found),
    )  # fmt: skip

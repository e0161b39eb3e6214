"""`stream`: have the logs pushed to a receiver, such as a SIEM."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from govern import clock
from govern.access import clients
from govern.audit import streams
from govern.cli.frame import Desk, day, govern, json_option, number, pass_desk

if TYPE_CHECKING:
    from govern.audit.streams import LogStream, Standing
    from govern.db import Session


@govern.group()
def stream() -> None:
    """Have the logs pushed over HTTPS as they grow."""


@stream.command()
@click.argument("url")
@click.option(
    "--format", "form", type=click.Choice(streams.FORMS), default="jsonl", show_default=True,
    help="The lines that are sent: those of an export in that form.",
)  # fmt: skip
@click.option("--client", default="", metavar="CODE", help="This client's log alone; else all.")
@click.option(
    "--authorization", is_flag=True,
    help="Send a header of that name, whose value is read as a line of stdin.",
)  # fmt: skip
@click.option("--inside", is_flag=True, help="Its host may have a private address.")
@json_option
@pass_desk
def add(
    desk: Desk, /, *, url: str, form: str, client: str, authorization: bool, inside: bool
) -> None:
    """Send the logs to URL from now on, each from its first entry.

    Prints, this once, the secret that signs each request (Standard Webhooks), unless the receiver
    wants a header of its own.

    Example: govern stream add https://siem.example/govern --client ASTER
    """
    value = None
    if authorization and sys.stdin.isatty():
        value = click.prompt("Authorization", hide_input=True, err=True)
    elif authorization:
        value = sys.stdin.readline().rstrip("\r\n")

    def work(session: Session) -> tuple[LogStream, str | None]:
        client_id = clients.client(session, client).id if client else None
        return streams.add(
            session, url, form=form, client=client_id, authorization=value, inside=inside,
            by=desk.by,
        )  # fmt: skip

    row, secret = desk.database.transaction(work)
    desk.tell(
        {"id": row.id, "secret": secret},
        f"{row.id} is sent to {url} from now on.",
        *([f"Each request is signed with {secret}"] if secret else []),
    )


@stream.command("list")
@json_option
@pass_desk
def list_(desk: Desk, /) -> None:
    """How far each stream has come: its last delivery, what it is behind by, its last error."""
    with desk.database.reading() as session:
        found = streams.standing(session)
    desk.tell({"streams": [_told(each) for each in found]}, *map(_line, found))


def _told(each: Standing) -> dict[str, object]:
    delivered = each.state.delivered_at
    return {
        "id": each.stream.id, "url": each.stream.url, "format": each.stream.form,
        "client": each.stream.client_id, "behind": each.behind, "failures": each.state.failures,
        "error": each.state.error, "delivered_at": clock.text(delivered) if delivered else None,
    }  # fmt: skip


def _line(each: Standing) -> str:
    delivered = each.state.delivered_at
    told = (
        f"{each.stream.id}  {each.stream.url}  behind by {number(each.behind, 'entry', 'entries')}"
    )
    told += f", delivered {day(delivered)}" if delivered else ", nothing delivered yet"
    failed = f", failed {number(each.state.failures, 'time')}: {each.state.error}"
    return told + (failed if each.state.failures else "")


@stream.command()
@click.argument("stream_id", metavar="ID")
@json_option
@pass_desk
def end(desk: Desk, /, *, stream_id: str) -> None:
    """Send nothing more there.

    Example: govern stream end str_06h00o1ktpbt0of01nci07u8
    """

    def work(session: Session) -> str:
        row = streams.find(session, stream_id)
        streams.end(session, row, by=desk.by)
        return row.id

    desk.tell({"id": desk.database.transaction(work)}, f"{stream_id} is sent nothing more.")

"""`project end` and `client end`: for good, with the number of grants typed as a brake."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from govern import clock
from govern.access import clients, ending
from govern.cli.frame import Desk, govern, json_option, number, pass_desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session as OrmSession

    from govern.access.clients import Client, Project
    from govern.db import Session


@govern.group()
def project() -> None:
    """What becomes of a project."""


@govern.group()
def client() -> None:
    """What becomes of a client."""


@project.command("end")
@click.argument("code")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--number", "count", type=int, help="How many grants end, typed as a brake.")
@json_option
@pass_desk
def end_project(desk: Desk, /, *, code: str, reason: str, count: int | None) -> None:
    """End a project for good: its grants are revoked, and nothing brings them back.

    To stop it for a while, suspend it instead.

    Example: govern project end Kingfisher --reason "The contract has ended."
    """
    _end(desk, lambda session: clients.project(session, code), count, reason)


@client.command("end")
@click.argument("code")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--number", "count", type=int, help="How many grants end, typed as a brake.")
@json_option
@pass_desk
def end_client(desk: Desk, /, *, code: str, reason: str, count: int | None) -> None:
    """End a client for good, with all its projects and grants.

    Example: govern client end ASTER --reason "The contract has ended."
    """
    _end(desk, lambda session: clients.client(session, code), count, reason)


def _end(
    desk: Desk,
    find: Callable[[OrmSession], Client | Project],
    count: int | None,
    reason: str,
) -> None:
    with desk.database.reading() as session:
        grants = ending.open_grants(session, find(session))
    typed = _typed(count, grants)
    row = desk.database.transaction(lambda session: _act(session, find, typed, reason, desk))
    ended_at = clock.text(row.ended_at) if row.ended_at else ""
    # Said at once: whatever becomes of the entries, from here every decision denies.
    click.echo(f"Ended at {ended_at}: {row.code}", err=True)
    with desk.progress(typed, "Revoking grants") as advance:
        ending.write(desk.database, progress=advance)
    desk.tell(
        {"id": row.id, "code": row.code, "state": "ended", "grants": typed, "ended_at": ended_at},
        f"{row.code} has ended: {number(typed, 'grant')} revoked.",
    )


def _act(
    session: Session,
    find: Callable[[OrmSession], Client | Project],
    typed: int,
    reason: str,
    desk: Desk,
) -> Client | Project:
    row = find(session)
    ending.end(session, row, number=typed, reason=reason, by=desk.by)
    return row


def _typed(count: int | None, grants: int) -> int:
    """The brake: the number of `--number`, or as typed on the terminal."""
    if count is not None or not grants:
        return count or 0
    if not sys.stdin.isatty():
        raise click.UsageError("--number is needed where nobody can be asked for it.")
    click.echo(f"{number(grants, 'grant')} would end for good.", err=True)
    typed: int = click.prompt("Type the number of grants", type=int, err=True)
    return typed

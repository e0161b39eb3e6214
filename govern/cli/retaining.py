"""`retention`: for how long a client's rows of the access log stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from govern.access import clients, names
from govern.audit import retention as kept
from govern.cli.frame import Desk, govern, json_option, pass_desk

if TYPE_CHECKING:
    from govern.db import Session


@govern.group()
def retention() -> None:
    """Say for how long clients' rows of the access log stay."""


@retention.command("set")
@click.argument("client", metavar="CODE")
@click.argument("days", metavar="DAYS|default")
@click.option("--reason", required=True, help="Why; it is committed to in the log.")
@json_option
@pass_desk
def set_(desk: Desk, /, *, client: str, days: str, reason: str) -> None:
    """Keep a client's rows for so many days at least; 0 keeps them for ever.

    Never fewer than GOVERN_ACCESS_LOG_DAYS, which is the default: rows of many clients stand in one
    run, which goes whole, so all rows stay as long as the longest that any client asks for.

    Example: govern retention set ASTER 2555 --reason "Seven years, by their contract"
    """
    if days != "default" and not (days.isascii() and days.isdigit()):
        raise click.BadParameter("a number of days, or “default”", param_hint="DAYS")
    wanted = None if days == "default" else int(days)

    def work(session: Session) -> None:
        found = clients.client(session, client).id
        kept.keep(session, found, wanted, reason=reason, by=desk.by)

    desk.database.transaction(work)
    desk.tell({"client": client, "days": wanted}, f"{client}: {_words(wanted)}.")


@retention.command("list")
@json_option
@pass_desk
def list_(desk: Desk, /) -> None:
    """For how long rows stay: the installation's days, and the clients that ask for more."""
    least = desk.settings.access_log_days
    with desk.database.reading() as session:
        found = kept.all_set(session)
        codes = names.of(session, found)
        all_stay = kept.longest(session, least)
    desk.tell(
        {
            "default": least, "kept": all_stay,
            "clients": [{"client": codes[one], "days": days} for one, days in found.items()],
        },
        f"default  {_words(least)}",
        *(f"{codes[one]}  {_words(days)}" for one, days in found.items()),
        f"so all rows stay {_words(all_stay)}",
    )  # fmt: skip


def _words(days: int | None) -> str:
    return "as the installation's" if days is None else f"{days:,} days" if days else "for ever"

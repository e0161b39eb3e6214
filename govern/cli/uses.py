"""`log access`, `log expire`: the access log, searched and let go of."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from govern import clock, errors
from govern.access import uses
from govern.audit import decisions, expiry, ocsf, searching
from govern.audit.decisions import AccessKind
from govern.cli.evidence import log
from govern.cli.frame import Desk, day, instant, json_option, number, pass_desk

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from govern.audit.searching import Row


@log.command("access")
@click.option("--subject", default="", help="Rows about this person, or of what they did.")
@click.option("--project", default="", metavar="CODE", help="Rows about this project.")
@click.option("--integration", default="", metavar="NAME", help="What this integration asked.")
@click.option("--outcome", type=click.Choice(["permit", "deny"]), help="Decisions of this outcome.")
@click.option(
    "--kind", type=click.Choice([each.value for each in AccessKind]), help="Rows of this kind."
)
@click.option("--from", "begin", type=instant, help="Rows from this instant on.")
@click.option("--to", "end", type=instant, help="Rows before this instant.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="At most so many.",
)
@click.option("--after", default="", metavar="PLACE", help="Go on where an earlier answer ended.")
@click.option("--ocsf", "as_ocsf", is_flag=True, help="Print rows as OCSF 1.8.0 events.")
@json_option
@pass_desk
def access_(
    desk: Desk,
    /,
    *,
    subject: str,
    project: str,
    integration: str,
    outcome: str | None,
    kind: str | None,
    begin: datetime | None,
    end: datetime | None,
    limit: int,
    after: str,
    as_ocsf: bool,
) -> None:
    """Search the access log: what was asked and how it was answered, newest first.

    Such a search leaves a row itself. Where few rows fit, it ends after so many looked at, and says
    where to go on.

    Example: govern log access --project Kingfisher --outcome deny --from 2026-11-21T09:00:00Z
    """
    database = desk.database
    with database.reading() as session:
        where = uses.where(
            session, subject=subject, project=project, integration=integration,
            permit=None if outcome is None else outcome == "permit",
            kind=AccessKind(kind) if kind else None, begin=begin, end=end, by=desk.by,
        )  # fmt: skip
        page = searching.search(database, where, after=after, limit=limit, by=desk.by)
        called = uses.called(session, page.rows, by=desk.by)
    if as_ocsf:
        for row in page.rows:
            uid = decisions.row_id(desk.settings, row.writer, row.number)
            click.echo(ocsf.access_row(row, uid), nl=False)
        return
    words = [_access(row, called) for row in page.rows] or ["Nothing fits."]
    if page.until is not None:
        words.append(f"Searched back until {clock.text(page.until)}.")
    if page.after is not None:
        words.append(f"There may be more: --after {page.after}")
    desk.tell({"rows": [_row(row, desk) for row in page.rows], "next": page.after}, *words)


def _access(row: Row, called: dict[str, str]) -> str:
    """One row in a line."""
    outcome = {None: row.kind, True: "permit", False: "deny"}[row.permit]
    told = [
        called.get(one or "", one) for one in (row.subject_id, row.resource_id or row.client_id)
    ]
    asked = f"by {called.get(row.principal, row.principal)}"
    parts = [clock.text(row.at), outcome, row.action, *told, row.reason, asked]
    return " ".join(part for part in parts if part)


def _row(row: Row, desk: Desk) -> dict[str, Any]:
    instants = {"at": clock.text(row.at)}
    if row.worked_at is not None:
        instants["worked_at"] = clock.text(row.worked_at)
    found = decisions.row_id(desk.settings, row.writer, row.number)
    return {"id": found, "mark": row.mark} | asdict(row) | instants


@log.command("expire")
@click.option(
    "--before", type=instant,
    help="Rows before this instant; else those that GOVERN_ACCESS_LOG_DAYS keeps no longer.",
)  # fmt: skip
@json_option
@pass_desk
def expire_(desk: Desk, before: datetime | None) -> None:
    """Remove old rows of the access log, and record it.

    Whole sealed runs go, each when all its rows are older; rows of the last day always stay. The
    followers do it every day.

    Example: govern log expire --before 2025-11-21T00:00:00Z
    """
    database = desk.database
    before = before or expiry.horizon(database)
    if before is None:
        raise errors.Invalid("Say --before: GOVERN_ACCESS_LOG_DAYS=0 keeps every row.")
    done = expiry.expire(database, before, by=desk.by)
    desk.tell(
        {
            "before": clock.text(done.before),
            "rows": done.rows,
            "runs": done.runs,
            "held": done.held,
        },
        "A legal hold stands: nothing expires."
        if done.held
        else f"{number(done.rows, 'row')} before {day(done.before)} expired.",
    )

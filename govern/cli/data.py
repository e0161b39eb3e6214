"""`import`: catalogues and rosters, with every rejected row named."""

from __future__ import annotations

import json
from typing import BinaryIO

import click

from govern import errors
from govern.access import catalogue, roster
from govern.access.roster import Outcome
from govern.cli.frame import Desk, govern, json_option, number, pass_desk, refused


@govern.group("import")
def import_() -> None:
    """Read clients, projects, people and grants from files."""


@import_.command("catalogue")
@click.argument("file", type=click.File("rb"))
@json_option
@pass_desk
def import_catalogue(desk: Desk, file: BinaryIO) -> None:
    """Load clients, projects and entitlements from JSON.

    What is there already stays as it is; a fault anywhere refuses the whole.

    Example: govern import catalogue catalogue.json
    """
    try:
        document = json.load(file)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise errors.Invalid(f"{file.name} is not JSON: {error}", field="file") from None
    counts = catalogue.load(desk.database, document, by=desk.by)
    desk.tell(
        {**counts, "rejected": []},
        f"{number(counts['accepted'], 'thing')} taken in, {counts['unchanged']:,} there already.",
    )


@import_.command("roster")
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Judge the file, and write nothing.")
@click.option(
    "--skip-rejected", is_flag=True, help="Take in the good rows of a file with bad ones."
)
@json_option
@pass_desk
def import_roster(desk: Desk, file: BinaryIO, dry_run: bool, skip_rejected: bool) -> None:
    """Load people and their grants from CSV.

    One bad row refuses the whole file, unless told to skip such rows. The same file twice changes
    nothing, no row revokes anything, and none lifts a suspension.

    Example: govern import roster roster.csv --dry-run
    """
    with desk.progress(_lines(file), "Importing") as advance:
        outcome = roster.load(
            desk.database, file, dry_run=dry_run, skip_rejected=skip_rejected, by=desk.by,
            progress=advance,
        )  # fmt: skip
    for row in () if desk.as_json else outcome.rejected:
        column = f", {row.column}" if row.column else ""
        click.echo(f"line {row.line}{column}: {row.reason}", err=True)
    desk.tell(
        {
            "accepted": len(outcome.accepted),
            "unchanged": len(outcome.unchanged),
            "rejected": [
                {"line": row.line, "column": row.column, "reason": row.reason}
                for row in outcome.rejected
            ],
            "applied": outcome.applied,
        },
        f"{number(len(outcome.accepted), 'row')} accepted, {len(outcome.unchanged):,} unchanged, "
        f"{len(outcome.rejected):,} rejected. {_end(outcome)}",
    )
    if outcome.rejected and not skip_rejected:
        refused(f"{number(len(outcome.rejected), 'row')} rejected: nothing was changed")


def _end(outcome: Outcome) -> str:
    return "" if outcome.applied else "Nothing was written."


def _lines(file: BinaryIO) -> int:
    """How many lines a file has, for the progress bar; 0 where it cannot be read twice."""
    if not file.seekable():
        return 0
    count = sum(1 for _ in file)
    file.seek(0)
    return count

"""`import`, `backup` and `restore`: what goes in from files, and the whole out and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

import click

from govern import errors
from govern.access import catalogue, roster
from govern.access.roster import Outcome
from govern.audit import backup
from govern.audit.signer import Signer
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


@govern.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--with-keys", is_flag=True,
    help="Put the keys in, too: whoever has the file can then sign, and open sealed values.",
)  # fmt: skip
@json_option
@pass_desk
def backup_(desk: Desk, file: Path, with_keys: bool) -> None:
    """Copy the database to a file while everybody goes on working.

    The file is read through again before it has its name. The keys are not in it, unless asked
    for: keep GOVERN_DATA_DIR/keys and GOVERN_DATA_DIR/signer elsewhere. On PostgreSQL this takes
    pg_dump.

    Example: govern backup govern-2026-11-21.zip
    """
    if desk.settings.followers:
        Signer(desk.settings).sign(desk.database)
    made = backup.make(desk.database, file, with_keys=with_keys, by=desk.by)
    desk.tell(
        _told(made),
        f"{file} holds {_entries(made)}, of {made.made_at}.",
        "The keys are in it: keep it as safe as them." if with_keys
        else f"The keys are not in it: keep {desk.settings.keys_dir} and "
        f"{desk.settings.signer_dir} elsewhere.",
    )  # fmt: skip


@govern.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--with-keys", is_flag=True,
    help="Take the keys and the signer's memory from the backup, where there are none.",
)  # fmt: skip
@json_option
@pass_desk
def restore_(desk: Desk, file: Path, with_keys: bool) -> None:
    """Put a backup back where no database is, and check it.

    The keys that it was made beside have to be in GOVERN_DATA_DIR. What is behind the signer's
    memory is refused: a pause may be among the entries that it lacks. On PostgreSQL the database
    has to be there and empty, and this takes pg_restore.

    Example: govern restore govern-2026-11-21.zip
    """
    done = backup.restore(desk.settings, file, with_keys=with_keys, by=desk.by)
    desk.tell(
        _told(done),
        f"Put back {_entries(done)}, as of {done.made_at}: complete, and not behind what was "
        "signed here.",
        *([_UNKNOWN] if with_keys else []),
    )


_UNKNOWN = (
    "What was signed later than that, this machine cannot know: do not serve while anybody keeps a "
    "newer checkpoint."
)


def _told(manifest: backup.Manifest) -> dict[str, object]:
    sizes = {log_id: head["size"] for log_id, head in manifest.logs.items()}
    return {
        "ok": True, "made_at": manifest.made_at, "database": manifest.database,
        "schema": manifest.schema, "logs": sizes, "with_keys": manifest.with_keys,
    }  # fmt: skip


def _entries(manifest: backup.Manifest) -> str:
    total = sum(head["size"] for head in manifest.logs.values())
    logs = number(len(manifest.logs), "log")
    return f"{logs} with {number(total, 'entry', 'entries')}"

"""`log`: evidence out of the logs, and what proves it to whoever does not trust us."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from govern import config
from govern.access import clients
from govern.audit import EventType, export, fsck, verify
from govern.audit import log as logs
from govern.audit.signer import Signer
from govern.cli.frame import Desk, govern, instant, json_option, number, pass_desk, refused
from govern.identity import subjects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


@govern.group()
def log() -> None:
    """Export and verify what happened."""


@log.command("export")
@click.option(
    "--format", "form", type=click.Choice(export.FORMS), default="jsonl", show_default=True,
    help="How to write it.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True,
    help="The file to write; it appears when it is whole.",
)  # fmt: skip
@click.option("--client", metavar="CODE", help="This client's log alone; else every log.")
@click.option("--subject", metavar="SUBJECT", help="Entries about this person.")
@click.option("--project", metavar="CODE", help="Entries about this project.")
@click.option("--actor", metavar="ID", help="Entries by this actor: a person, operator or system.")
@click.option(
    "--type", "types", multiple=True, type=click.Choice([each.value for each in EventType]),
    metavar="TYPE", help="Entries of this type, such as suspension.opened; may be repeated.",
)  # fmt: skip
@click.option("--from", "begin", type=instant, help="Entries from this instant on.")
@click.option("--to", "end", type=instant, help="Entries before this instant.")
@json_option
@pass_desk
def export_(
    desk: Desk,
    /,
    *,
    form: str,
    out: Path,
    client: str | None,
    subject: str | None,
    project: str | None,
    actor: str | None,
    types: tuple[str, ...],
    begin: datetime | None,
    end: datetime | None,
) -> None:
    """Write the logs to a file that proves itself.

    What a filter leaves out is still counted and proved to be there.

    Example: govern log export --format csv --out aster.csv --client ASTER
    """
    database = desk.database
    with database.reading() as session:
        client_id = clients.client(session, client).id if client else None
        where = export.Filter(
            subject=subjects.find(session, subject).id if subject else None,
            project=clients.project(session, project).id if project else None,
            actor=_actor(subjects.lookup(session, actor), actor) if actor else None,
            types=types,
            begin=begin,
            end=end,
        )
    # Signed first, so that the file is complete through now.
    Signer(desk.settings).sign(database)
    with _whole(out) as file:
        done = export.run(database, file, form=form, client=client_id, where=where, by=desk.by)
    desk.tell(
        {"out": str(out), "rows": done.rows, "logs": done.sizes, "unsigned": list(done.unsigned)},
        f"{out}: {number(done.rows, 'entry', 'entries')} of {number(len(done.logs), 'log')}.",
        f"Verify it with: govern log verify {out} --key '{Signer(desk.settings).key}'",
    )


def _actor(known: subjects.Subject | None, word: str) -> str:
    return known.id if known is not None else word


@contextmanager
def _whole(out: Path) -> Iterator[BinaryIO]:
    """A file that its owner alone may read, and that appears under its name when it is whole."""
    part = out.with_name(f"{out.name}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        part.replace(out)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@log.command()
@json_option
@pass_desk
def key(desk: Desk) -> None:
    """Print the verifier key for auditors.

    Hand it over by a way that both of you trust: whoever holds it can check every export.
    """
    config.secret(desk.settings.signer_dir / "log.key")  # `db upgrade` makes it, nothing else
    found = Signer(desk.settings).key
    desk.tell({"key": found}, found)


@log.command("verify")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--key", "keys", metavar="VKEY", multiple=True, required=True,
    help="A verifier key that you trust, as `govern log key` printed it; may be repeated.",
)  # fmt: skip
@click.option(
    "--checkpoint", "kept", type=click.File("rb"), multiple=True,
    help="A checkpoint that you kept from earlier; may be repeated.",
)  # fmt: skip
@json_option
@pass_desk
def verify_(
    desk: Desk, /, *, file: BinaryIO, keys: tuple[str, ...], kept: tuple[BinaryIO, ...]
) -> None:
    """Check an export offline, and name every damage.

    This opens no database and no connection.

    Example: govern log verify aster.jsonl --key 'govern.localhost+1a2b3c4d+AbC…'
    """
    report = verify.check(file, keys=keys, kept=[each.read() for each in kept])
    words = [f"damage: {_where(damage)}{damage.message}" for damage in report.damage]
    if report.unnamed:
        words.append(f"and {report.unnamed:,} more")
    words += [f"proven: {each}" for each in report.proves]
    words += [f"not proven: {each}" for each in report.does_not_prove]
    desk.tell(asdict(report), *words)
    if not report.ok:
        refused("this file is not what was signed")


@log.command("fsck")
@json_option
@pass_desk
def fsck_(desk: Desk) -> None:
    """Derive every log of the database anew, and name every damage.

    Entries, hashes, tiles, checkpoints and personal values are held against one another, and
    against what the signer remembers.
    """
    database = desk.any_database
    with database.reading() as session:
        total = sum(head.size for head in logs.logs(session))
    with desk.progress(total, "Checking entries") as advance:
        done = 0

        def progress(checked: int) -> None:
            nonlocal done
            advance(checked - done)
            done = checked

        report = fsck.run(database, Signer(desk.settings), progress=progress)
    words = [f"damage: {damage.message}" for damage in report.damage]
    if report.unnamed:
        words.append(f"and {report.unnamed:,} more")
    count = f"{number(report.entries, 'entry', 'entries')} of {number(len(report.logs), 'log')}"
    words.append(f"{count}: {'all is as it was written' if report.ok else 'damaged'}.")
    desk.tell(asdict(report), *words)
    if not report.ok:
        refused("the logs are damaged")


def _where(damage: verify.Damage) -> str:
    return f"line {damage.line}: " if damage.line is not None else ""

"""`log`: evidence out of the logs, and what proves it to whoever does not trust us."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from govern import clock, config
from govern.access import clients, deriving, evidence
from govern.audit import EventType, export, parquet, verify
from govern.audit import log as logs
from govern.audit.log import known
from govern.audit.signer import Signer
from govern.cli.frame import Desk, govern, instant, json_option, number, pass_desk, refused
from govern.identity import subjects
from govern.tlog import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from typing import Any


@govern.group()
def log() -> None:
    """Export and verify what happened."""


_FILTERS = (
    click.option("--client", metavar="CODE", help="This client's log alone; else every log."),
    click.option("--subject", metavar="SUBJECT", help="Entries about this person."),
    click.option("--project", metavar="CODE", help="Entries about this project."),
    click.option(
        "--actor", metavar="ID", help="Entries by this actor: a person, operator or system."
    ),
    click.option(
        "--type", "types", multiple=True, type=click.Choice([each.value for each in EventType]),
        metavar="TYPE", help="Entries of this type, such as suspension.opened; may be repeated.",
    ),
    click.option("--from", "begin", type=instant, help="Entries from this instant on."),
    click.option("--to", "end", type=instant, help="Entries before this instant."),
)  # fmt: skip


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which an export is narrowed."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def wanted(
    desk: Desk, *, client: str | None, subject: str | None, project: str | None,
    actor: str | None, types: tuple[str, ...], begin: datetime | None, end: datetime | None,
) -> tuple[str | None, export.Filter]:  # fmt: skip
    """What these options mean: the id of the one client, if any, and which entries."""
    with desk.database.reading() as session:
        return clients.client(session, client).id if client else None, export.Filter(
            subject=subjects.find(session, subject).id if subject else None,
            project=clients.project(session, project).id if project else None,
            actor=_actor(subjects.lookup(session, actor), actor) if actor else None,
            types=types,
            begin=begin,
            end=end,
        )


@log.command("export")
@click.option(
    "--format", "form", type=click.Choice(export.FORMS), default="jsonl", show_default=True,
    help="How to write it.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True,
    help="The file to write; it appears when it is whole.",
)  # fmt: skip
@filters
@json_option
@pass_desk
def export_(
    desk: Desk,
    /,
    *,
    form: str,
    out: Path,
    **narrowed: Any,
) -> None:
    """Write the logs to a file that proves itself.

    What a filter leaves out is still counted and proved to be there.

    Example: govern log export --format csv --out aster.csv --client ASTER
    """
    database = desk.database
    client_id, where = wanted(desk, **narrowed)
    # Signed first, so that the file is complete through now.
    Signer(desk.settings).sign(database)
    with whole(out) as file:
        done = export.run(database, file, form=form, client=client_id, where=where, by=desk.by)
    desk.tell(
        {"out": str(out), "rows": done.rows, "logs": done.sizes, "unsigned": list(done.unsigned)},
        f"{out}: {number(done.rows, 'entry', 'entries')} of {number(len(done.logs), 'log')}.",
        f"Verify it with: govern log verify {out} --key '{Signer(desk.settings).key}'",
    )


@govern.command("evidence")
@click.argument("client", metavar="CLIENT")
@click.option("--from", "begin", type=instant, required=True, help="From this instant on.")
@click.option("--to", "end", type=instant, required=True, help="Before this instant.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True,
    help="The zip file to write; it appears when it is whole.",
)  # fmt: skip
@json_option
@pass_desk
def evidence_(desk: Desk, /, *, client: str, begin: datetime, end: datetime, out: Path) -> None:
    """Write the evidence of one client and period, which proves itself.

    In it: the log with its proofs, who could reach what, every stop and drill, who read, a report,
    and the program that checks it all offline.

    Example: govern evidence ASTER --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z --out
    aster-november.zip
    """
    database = desk.database
    # Signed first, so that the file is complete through now.
    Signer(desk.settings).sign(database)
    with whole(out) as file:
        done = evidence.write(database, file, client, begin=begin, end=end, by=desk.by)
    desk.tell(
        {"out": str(out), "client": done.client, "entries": done.entries,
         "from": clock.text(done.begin), "to": clock.text(done.end), "files": list(done.files)},
        f"{out}: {number(done.entries, 'entry', 'entries')} of {done.client}.",
        "Check it with the verify.py in it: "
        f"python3 verify.py {out} --key '{Signer(desk.settings).key}'",
    )  # fmt: skip


def _actor(known: subjects.Subject | None, word: str) -> str:
    return known.id if known is not None else word


@contextmanager
def whole(out: Path) -> Iterator[BinaryIO]:
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
@click.option("--client", metavar="CODE", help="As this client's log alone is signed by it.")
@json_option
@pass_desk
def key(desk: Desk, /, *, client: str | None) -> None:
    """Print the verifier key for auditors.

    Hand it over by a way that both of you trust: whoever holds it can check every export. Programs
    that follow one log by its files know the same key by that log's own name.
    """
    config.secret(desk.settings.signer_dir / "log.key")  # `db upgrade` makes it, nothing else
    found = Signer(desk.settings).key
    if client is not None:
        with desk.database.reading() as session:
            origin = known(session, clients.client(session, client).id).origin
        found = str(note.Verifier(origin, note.Verifier.parse(found).public))
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
@click.option(
    "--witness", "witnesses", metavar="VKEY", multiple=True,
    help="The key of a witness that you trust; may be repeated.",
)  # fmt: skip
@json_option
@pass_desk
def verify_(
    desk: Desk,
    /,
    *,
    file: BinaryIO,
    keys: tuple[str, ...],
    kept: tuple[BinaryIO, ...],
    witnesses: tuple[str, ...],
) -> None:
    """Check an export offline, and name every damage.

    This opens no database and no connection.

    Example: govern log verify aster.jsonl --key 'govern.localhost+1a2b3c4d+AbC…'
    """
    begins = _begins(file)
    read: Any = parquet.Reader(file) if begins[:4] == parquet.MAGIC else file
    large = partial(verify.check, processes=os.cpu_count() or 1)
    check: Any = verify.check_events if verify.is_events(begins) else large
    report = check(read, keys=keys, kept=[each.read() for each in kept], witnesses=witnesses)
    words = [f"damage: {_where(damage)}{damage.message}" for damage in report.damage]
    if report.unnamed:
        words.append(f"and {report.unnamed:,} more")
    words += [f"proven: {each}" for each in report.proves]
    words += [f"not proven: {each}" for each in report.does_not_prove]
    desk.tell(asdict(report), *words)
    if not report.ok:
        refused("this file is not what was signed")


@log.command("verify-receipt")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--key", "keys", metavar="VKEY", multiple=True, required=True,
    help="A verifier key that you trust, as `govern log key` printed it; may be repeated.",
)  # fmt: skip
@json_option
@pass_desk
def verify_receipt_(desk: Desk, /, *, file: BinaryIO, keys: tuple[str, ...]) -> None:
    """Check a receipt offline, and say what the entries in it prove.

    This opens no database and no connection.

    Example: govern log verify-receipt aster.html --key 'govern.localhost+1a2b3c4d+AbC…'
    """
    report = verify.check_receipt(file.read(), keys=keys)
    words = [f"damage: {damage.message}" for damage in report.damage]
    for entry in report.entries:
        said = {"type": entry.fields.get("type"), "time": entry.fields.get("time")}
        said |= entry.fields.get("refs", {}) | entry.fields.get("data", {})
        told = ", ".join(f"{name} {json.dumps(value)}" for name, value in said.items())
        words.append(f"proven: entry {entry.seq} of {entry.origin}, signed at {entry.size}: {told}")
    words += [f"proven: {name} {json.dumps(value)}" for name, value in report.values.items()]
    words.append("not proven: any other word of the page; compare it with these.")
    desk.tell(asdict(report), *words)
    if not report.ok:
        refused("this receipt is not what was signed")


@log.command("fsck")
@json_option
@pass_desk
def fsck_(desk: Desk) -> None:
    """Derive every log of the database anew, and name every damage.

    Entries, hashes, tiles, checkpoints and personal values are held against one another, and
    against what the signer remembers; rows of the access log against the roots that sealed them;
    grants, suspensions with all that belongs to them, roles, demands, entitlements, clients,
    projects and memberships against the entries that made them.
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

        report = deriving.check(database, Signer(desk.settings), progress=progress)
    words = [f"damage: {damage.message}" for damage in report.damage]
    if report.unnamed:
        words.append(f"and {report.unnamed:,} more")
    count = f"{number(report.entries, 'entry', 'entries')} of {number(len(report.logs), 'log')}"
    count += f", {number(report.rows, 'sealed row')} of the access log"
    words += [f"not proven: {each}" for each in report.not_proven]
    words.append(f"{count}: {'all is as it was written' if report.ok else 'damaged'}.")
    desk.tell(asdict(report), *words)
    if not report.ok:
        refused("the logs are damaged")


def _begins(file: BinaryIO) -> bytes:
    """The first bytes of a file, which is left where it was."""
    peek = getattr(file, "peek", None)
    return bytes(peek(verify.BEGINS)[: verify.BEGINS]) if peek is not None else b""


def _where(damage: verify.Damage) -> str:
    return f"line {damage.line}: " if damage.line is not None else ""

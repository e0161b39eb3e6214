"""`log ask`, `asked`, `fetch`: exports that are made in the background."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from govern import clock
from govern.audit import export, exports
from govern.audit.exports import State
from govern.audit.signer import Signer
from govern.cli.evidence import filters, log, wanted, whole
from govern.cli.frame import Desk, day, json_option, number, pass_desk

if TYPE_CHECKING:
    from govern.audit.exports import LogExport


@log.command()
@click.option(
    "--format", "form", type=click.Choice(export.FORMS), default="jsonl", show_default=True,
    help="How to write it.",
)  # fmt: skip
@filters
@json_option
@pass_desk
def ask(desk: Desk, /, *, form: str, **narrowed: Any) -> None:
    """Have the logs written to a file in the background.

    `serve` or `worker` writes it, and goes on where it was after any interruption; what it covers
    is settled now. `log asked` shows how far it is, `log fetch` brings the file.

    Example: govern log ask --format csv --client ASTER
    """
    client_id, where = wanted(desk, **narrowed)
    # Signed first, so that the file is complete through now.
    Signer(desk.settings).sign(desk.database)
    row = desk.database.transaction(
        lambda session: exports.ask(session, form=form, client=client_id, where=where, by=desk.by)
    )
    desk.tell(_told(row), f"{row.id} is being made of {number(row.total, 'entry', 'entries')}.")


@log.command()
@json_option
@pass_desk
def asked(desk: Desk, /) -> None:
    """Show the exports that were asked for at the machine, and how far each is."""
    with desk.database.reading() as session:
        rows = exports.mine(session, by=desk.by)
    words = [_line(row) for row in rows] or ["None was asked for."]
    desk.tell({"exports": [_told(row) for row in rows]}, *words)


@log.command()
@click.argument("export_id", metavar="EXPORT")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True,
    help="The file to write; it appears when it is whole.",
)  # fmt: skip
@json_option
@pass_desk
def fetch(desk: Desk, /, *, export_id: str, out: Path) -> None:
    """Bring the file of an export that is ready; that is on record.

    Example: govern log fetch exp_0d2m3k7v1q8s5t9c4b6f2g0h --out aster.csv
    """
    row, path = desk.database.transaction(
        lambda session: exports.take(session, export_id, by=desk.by)
    )
    with path.open("rb") as made, whole(out) as file:
        shutil.copyfileobj(made, file)
    desk.tell(
        _told(row) | {"out": str(out)},
        f"{out}: {number(row.rows, 'entry', 'entries')}, SHA-256 {row.digest}.",
        f"Verify it with: govern log verify {out} --key '{Signer(desk.settings).key}'",
    )


def _told(row: LogExport) -> dict[str, Any]:
    until = clock.text(row.expires_at) if row.expires_at else None
    return {
        "id": row.id, "state": row.state, "format": row.form, "entries": row.passed,
        "of": row.total, "rows": row.rows, "rate": row.rate, "bytes": row.bytes,
        "sha256": row.digest, "expires_at": until, "error": row.error,
    }  # fmt: skip


def _line(row: LogExport) -> str:
    how = f"{row.id} {row.state}: {row.passed:,} of {number(row.total, 'entry', 'entries')}"
    if row.state == State.WRITING and row.rate:
        how += f", {row.rate:,} a second"
    if row.state == State.READY and row.expires_at is not None:
        how += f", {row.bytes:,} bytes, until {day(row.expires_at)}"
    return f"{how}. {row.error}".rstrip()

"""`effect`, `receipt`, `drill`: how fast a pause is, was, and what a client is handed of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from govern import clock, languages
from govern.access import names, suspensions
from govern.access.modes import Mode
from govern.access.suspensions import Heard
from govern.audit import reading, receipts
from govern.audit.log import HOUSE
from govern.audit.signer import Signer
from govern.cli.evidence import log, whole
from govern.cli.frame import Desk, govern, json_option, number, pass_desk, reference

if TYPE_CHECKING:
    from datetime import datetime

    from govern.access.suspensions import Asker


@govern.command()
@click.argument("id")
@json_option
@pass_desk
def effect(desk: Desk, /, *, id: str) -> None:
    """Measure how fast a suspension took effect.

    Says when it was ordered and in force, the last permit before and the first refusal after, and
    of each integration that could have asked whether it is confirmed, failed or unknown.

    Example: govern effect sus_0mh3… --json
    """
    with desk.database.reading() as session:
        seen = suspensions.time_to_effect(session, id, by=desk.by)
    suspensions.reading.note(desk.database, "suspension.effect", seen.found, by=desk.by)
    row, progress = seen.found.standing.suspension, seen.found.standing.progress
    desk.tell(
        seen.told(),
        f"ordered        {_at(row.ordered_at)}",
        f"in force       {_at(row.recorded_at)}, {seen.milliseconds:.1f} ms after the order",
        f"last permit    {_at(seen.effect.last_permit_at)}",
        f"first refusal  {_at(seen.effect.first_deny_at)}",
        f"all recorded   {_at(progress.finished_at)}",
        *(_asker(asker) for asker in seen.hearing.askers),
        ", ".join(f"{seen.hearing.count(each)} {each}" for each in Heard)
        + ("" if seen.hearing.whole else " (only the nearest rows were looked at)"),
    )


@govern.command()
@click.argument("id")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True,
    help="The HTML file to write.",
)  # fmt: skip
@click.option("--client", default="", metavar="CODE", help="Whose, where several are concerned.")
@click.option(
    "--language", type=click.Choice(list(languages.NAMES)), default=None,
    help="What it is written in; else what the client's contact reads, if they chose.",
)  # fmt: skip
@json_option
@pass_desk
def receipt(desk: Desk, /, *, id: str, out: Path, client: str, language: str | None) -> None:
    """Write a client's receipt of a suspension: one page that proves itself.

    It holds what was stopped and when, with the entry of the client's log and its proof, and names
    nothing of other clients.

    Example: govern receipt sus_0mh3… --out aster.html
    """
    database = desk.database
    Signer(desk.settings).sign(database)  # so that the newest entry is proved too
    with database.reading() as session:
        found = suspensions.receipt(session, id, client=client, by=desk.by)
    reading.note(
        database, "receipt", client=found.opened.log, detail={"suspension": id}, by=desk.by
    )  # fmt: skip
    with whole(out) as file:
        file.write(suspensions.receipt_file.document(found, language or ""))
    desk.tell(
        suspensions.receipts.facts(found) | {"out": str(out)},
        f"{out}: entry {found.opened.seq:,} of {found.client}’s log, proved.",
        f"Verify it with: govern log verify-receipt {out} --key '{Signer(desk.settings).key}'",
    )


@log.command("receipt")
@click.argument("log_code", metavar="LOG")
@click.argument("seq", metavar="ENTRY", type=click.IntRange(0, 2**53))
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True,
    help="The HTML file to write.",
)  # fmt: skip
@json_option
@pass_desk
def entry_receipt(desk: Desk, /, *, log_code: str, seq: int, out: Path) -> None:
    """Write the receipt of one entry: a page that proves that it is in the log.

    LOG is a client's code, or `house`. It holds the entry byte for byte with its inclusion proof
    and a signed head (C2SP tlog-proof).

    Example: govern log receipt ASTER 334 --out entry.html
    """
    database = desk.database
    Signer(desk.settings).sign(database)  # so that the newest entry is proved too
    with database.reading() as session:
        log_id = names.log_of(session, log_code, by=desk.by)
        document = receipts.of_entry(session, log_id, seq, by=desk.by)
    client = None if log_id == HOUSE else log_id
    reading.note(database, "receipt", client=client, detail={"entry": seq}, by=desk.by)
    with whole(out) as file:
        file.write(document)
    desk.tell(
        {"log": log_code, "seq": seq, "out": str(out)},
        f"{out}: entry {seq:,} of the log of {log_code}, proved.",
        f"Verify it with: govern log verify-receipt {out} --key '{Signer(desk.settings).key}'",
    )


@govern.command()
@click.argument("scopes", metavar="TYPE:CODE...", nargs=-1, required=True, type=reference)
@click.option(
    "--mode", type=click.Choice([each.value for each in Mode]), default=Mode.PAUSED.value,
    show_default=True, help="How much it would stop.",
)  # fmt: skip
@json_option
@pass_desk
def drill(desk: Desk, /, *, scopes: tuple[tuple[str, str], ...], mode: str) -> None:
    """Rehearse a pause on the real data, and roll it back.

    The very act runs to its commit, three times, and the first 250 of its entries; nothing of it
    is kept but the numbers, as `drill.held` in the log of each client concerned.

    Example: govern drill client:ASTER --json
    """
    database = desk.database
    with database.reading() as session:
        references = [f"{kind}:{code}" for kind, code in scopes]
        parts = suspensions.reading.chosen(session, references, by=desk.by)
    found = suspensions.drilling.rehearse(
        database, [part.target for part in parts], mode=Mode(mode), by=desk.by
    )
    rows = database.transaction(
        lambda session: suspensions.drilling.keep(session, found, by=desk.by)
    )
    told = {
        "mode": mode,
        "targets": references,
        "milliseconds": found.microseconds / 1000,
        "chunk": found.chunk,
        "rate": found.rate,
        "grants": sum(row.grants for row in rows),
        "drills": [
            {
                "id": row.id, "log": row.log_id, "grants": row.grants, "people": row.people,
                "digest": row.digest, "at": clock.text(row.recorded_at),
            }
            for row in rows
        ],
    }  # fmt: skip
    speed = f"{found.rate:,} entries a second afterwards" if found.rate else "no grant is touched"
    desk.tell(
        told,
        f"In force in {found.microseconds / 1000:.1f} ms; {speed}. Rolled back.",
        *(f"{row.id}: {number(row.grants, 'grant')}, {row.digest}" for row in rows),
    )


def _at(at: datetime | None) -> str:
    return clock.text(at) if at is not None else "not seen yet"


def _asker(asker: Asker) -> str:
    last = asker.after or asker.before
    if last is None:
        return f"{asker.heard}: {asker.name} has never asked"
    told = "permitted" if last.permit else f"refused ({last.reason})"
    return f"{asker.heard}: {asker.name}, last {told} at {clock.text(last.at)}"

"""`history`, `acts`, `suspension`, `log changes`: what the logs tell of one thing, at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from govern import clock, errors
from govern.access import histories
from govern.audit.log import HOUSE
from govern.cli.evidence import log
from govern.cli.frame import Desk, govern, instant, json_option, number, pass_desk

if TYPE_CHECKING:
    from datetime import datetime

_FROM = click.option("--from", "begin", type=instant, help="From this instant on.")
_TO = click.option("--to", "end", type=instant, help="Before this instant.")
_LIMIT = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True,
    help="At most so many entries.",
)  # fmt: skip
_AFTER = click.option("--after", default="", help="Go on where an earlier answer ended.")


@govern.command()
@click.argument("person", metavar="PERSON")
@_FROM
@_TO
@_LIMIT
@_AFTER
@json_option
@pass_desk
def history(
    desk: Desk, /, *, person: str, begin: datetime | None, end: datetime | None, limit: int,
    after: str,
) -> None:  # fmt: skip
    """Tell one person's whole history: grants with what paused them, decisions, every entry.

    PERSON is an external id, an e-mail address or an opaque id. That you asked is recorded.

    Example: govern history P00017 --from 2026-11-01T00:00:00Z
    """
    with desk.database.reading() as session:
        part = histories.Part(begin=begin, end=end, after=after, limit=limit)
        found = histories.of_person(session, person, part, by=desk.by)
        histories.note(desk.database, found, by=desk.by)
        told = histories.person(session, found)
    words = [f"{found.subject.external_id}  {found.subject.full_name}"]
    for grant in told["grants"]:
        words += _grant(grant)
    if told["more_grants"]:
        words.append("and more grants: the page of their timeline shows all")
    decided = found.decided
    most = "" if decided.whole else ", or more"
    words.append(
        f"{number(decided.permits, 'decision')} permitted, {decided.denials:,} refused{most}"
    )
    desk.tell(told, *words, *_entries(told))


def _grant(grant: dict[str, Any]) -> list[str]:
    place = "/".join(filter(None, (grant["project"], grant["dataset"])))
    lines = [f"{grant['grant']}  {place}  {grant['starts_at']} to {grant['ends_at']}"]
    lines += [
        f"  could from {each['starts_at']} to {each['ends_at']}" for each in grant["intervals"]
    ]
    lines += [
        f"  {'released from' if each['released'] else each['mode']} {each['suspension']} "
        f"from {each['starts_at']} to {each['ends_at']}"
        for each in grant["pauses"]
    ]
    return lines


def _entries(told: dict[str, Any]) -> list[str]:
    lines = [
        f"{entry['at']}  {entry['log']} #{entry['seq']}  {entry['type']}  by {entry['actor']}"
        for entry in told["entries"]
    ]
    more = told.get("next")
    return lines + ([f"There is more: --after {more}"] if more else [])


@govern.command("acts")
@click.argument("actor", metavar="ACTOR")
@_FROM
@_TO
@_LIMIT
@_AFTER
@json_option
@pass_desk
def acts_(
    desk: Desk, /, *, actor: str, begin: datetime | None, end: datetime | None, limit: int,
    after: str,
) -> None:  # fmt: skip
    """Tell what one admin or program did, the newest first.

    ACTOR is an external id, an e-mail address, or the id of what acted: a program's, `operator` for
    all who sat at the machine (each entry says who), or `system`.

    Example: govern acts lin@govern.example
    """
    with desk.database.reading() as session:
        part = histories.Part(begin=begin, end=end, after=after, limit=limit)
        found = histories.of_actor(session, actor, part, by=desk.by)
        histories.note(desk.database, found, by=desk.by)
        told = histories.acts(session, found)
    desk.tell(told, *(_entries(told) or ["Nothing is recorded of them."]))


@govern.command("suspension")
@click.argument("suspension_id", metavar="ID")
@json_option
@pass_desk
def suspension_(desk: Desk, /, *, suspension_id: str) -> None:
    """Tell everything about one suspension: entries, releases, notices, resume, time to effect.

    Example: govern suspension sus_06h00o1ktpbt0of01nci07u8
    """
    with desk.database.reading() as session:
        found = histories.of_suspension(session, suspension_id, by=desk.by)
        histories.note(desk.database, found, by=desk.by)
        told = histories.record(session, found)
    effect = told["effect"]
    words = [f"{told['id']}  {told['state']}, opened {told['opened_at']} by {told['opened_by']}"]
    words += [f"covers {each['type']}:{each['code']}" for each in told["covers"]]
    words += [f"{each['mode']} from {each['starts_at']} to {each['ends_at'] or 'now'}"
              for each in told["modes"]]  # fmt: skip
    words += [f"released {each['type']}:{each['code']} {each['at']}" for each in told["released"]]
    words += [f"told people {each['posted_at']} (version {each['number']})"
              for each in told["notices"]]  # fmt: skip
    if told["resume"]:
        words.append(f"resume set for {told['resume']['at']}: {told['resume']['outcome']}")
    words.append(f"in force {effect['milliseconds']:.1f} ms after the order")
    words += [f"receipt: {each['path']}" for each in told["receipts"]]
    desk.tell(told, *words, *_entries(told))


@log.command()
@click.option(
    "--since", required=True, metavar="SIZE|FILE|INSTANT",
    help="How many entries the log had, a file that holds a checkpoint, or an instant.",
)  # fmt: skip
@click.option("--client", metavar="CODE", help="This client's log alone.")
@click.option("--house", is_flag=True, help="The house's log alone.")
@_LIMIT
@_AFTER
@json_option
@pass_desk
def changes(
    desk: Desk, /, *, since: str, client: str | None, house: bool, limit: int, after: str
) -> None:
    """Tell what was recorded since the last audit.

    Of a checkpoint that you kept, the log is held against it first: this fails where it is not what
    was signed then.

    Example: govern log changes --since last-audit.checkpoint
    """
    if client and house:
        raise click.UsageError("--client and --house are two logs: say one of them.")
    with desk.database.reading() as session:
        code = HOUSE if house else client or ""
        found = histories.since(
            session, code=code, after=after, limit=limit, by=desk.by, **_since(since)
        )
        histories.note(desk.database, found, by=desk.by)
        told = histories.changes(session, found)
    words = [f"{each['log']}: entries {each['begin']} to {each['size']}" for each in told["logs"]]
    if found.kept is not None:
        words.append(
            f"The log continues the checkpoint of {number(found.kept, 'entry', 'entries')}."
        )
    words += [f"{count:>8,}  {kind}" for kind, count in (found.types or {}).items()]
    desk.tell(told, *words, *_entries(told))


def _since(value: str) -> dict[str, Any]:
    """What `--since` means: the argument of `histories.since` that it is."""
    if value.isascii() and value.isdigit() and len(value) < 19:  # noqa: PLR2004 - 63 bits
        return {"size": int(value)}
    path = Path(value)
    if path.is_file():
        return {"checkpoint": path.read_text(encoding="utf-8", errors="replace")[:100_000]}
    try:
        return {"begin": clock.parse(value, field="since")}
    except errors.Invalid:
        raise click.BadParameter(
            f"“{value}” is no size, no file and no instant such as 2026-11-01T00:00:00Z.",
            param_hint="--since",
        ) from None

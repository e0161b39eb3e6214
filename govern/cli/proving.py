"""`effect`: how fast a suspension took effect, and who is known to have heard of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from govern import clock
from govern.access import suspensions
from govern.access.suspensions import Heard
from govern.audit import reading
from govern.cli.frame import Desk, govern, json_option, pass_desk

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
    reading.note(desk.database, "suspension.effect", detail={"suspension": id}, by=desk.by)
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


def _at(at: datetime | None) -> str:
    return clock.text(at) if at is not None else "not seen yet"


def _asker(asker: Asker) -> str:
    last = asker.after or asker.before
    if last is None:
        return f"{asker.heard}: {asker.name} has never asked"
    told = "permitted" if last.permit else f"refused ({last.reason})"
    return f"{asker.heard}: {asker.name}, last {told} at {clock.text(last.at)}"

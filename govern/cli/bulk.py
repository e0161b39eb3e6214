"""`act` and `act-progress`: something done to all of a list, seen in numbers first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from govern import clock
from govern.access import bulk, clients, entitlements, lists, places
from govern.access.lists import LISTS
from govern.cli.frame import Desk, govern, instant, json_option, number, pass_desk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from govern.access.bulk import BulkAct, Preview
    from govern.db import Session

_ORDERED = [act for act in bulk.ACTS.values() if act.ordered]


def narrowed(list_name: str, filters: Sequence[str]) -> lists.Asked:
    """`FILTER=VALUE`s, as what a list is narrowed to."""
    found: dict[str, str] = {}
    for one in filters:
        name, equals, value = one.partition("=")
        if not equals or name in found:
            raise click.UsageError(f"“{one}” is not FILTER=VALUE, each filter once.")
        found[name] = value
    return lists.Asked.exactly(LISTS[list_name], found)


@govern.command("act")
@click.argument("list_name", metavar="LIST", type=click.Choice(["grants", "people"]))
@click.argument("act_name", metavar="ACT", type=click.Choice([act.name for act in _ORDERED]))
@click.argument("filters", metavar="[FILTER=VALUE]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Count what it would touch, and do nothing.")
@click.option("--digest", help="The digest that --dry-run told: nobody else is touched.")
@click.option("--number", "typed", type=int, help="How many it is done to, as --dry-run told.")
@click.option("--reason", help="Why, for the record.")
@click.option("--project", help="What `grant` gives: the project.")
@click.option("--entitlement", help="What `grant` gives: what they may do.")
@click.option("--until", type=instant, help="The end that `grant` and `change_end` give.")
@json_option
@pass_desk
def act(
    desk: Desk,
    /,
    *,
    list_name: str,
    act_name: str,
    filters: tuple[str, ...],
    dry_run: bool,
    digest: str | None,
    typed: int | None,
    reason: str | None,
    project: str | None,
    entitlement: str | None,
    until: datetime | None,
) -> None:
    """Do something to all that a list holds: exactly to what --dry-run counted.

    Grants are revoked, or given another end (change_end). People are given a grant, signed out
    (end_sessions) or offboarded; `suspend --listed` suspends them. Filters are those of the list's
    page, such as client, project, organisation, status. Each is done by itself, and whoever has
    changed meanwhile is passed over; what is broken off here, `serve` or `worker` does.

    Example: govern act grants revoke client=ASTER organisation=Acme --dry-run
    """
    chosen = bulk.named(act_name, list_name)
    asked = narrowed(list_name, filters)
    if dry_run:
        with desk.database.reading() as session:
            places.refuse_unknown(session, asked.filters, by=desk.by)
            found = bulk.preview(session, chosen, asked, by=desk.by)
        desk.tell(_counted(found), *_words(found))
        return
    if digest is None or typed is None or reason is None:
        raise click.UsageError(
            "Say --digest, --number and --reason; --dry-run tells the first two."
        )

    def details(session: Session) -> dict[str, str | None]:
        return {
            "project": clients.project(session, project).code if project else None,
            "entitlement": entitlements.named(session, entitlement).name if entitlement else None,
            "until": clock.text(until) if until else None,
        }

    with desk.database.reading() as session:
        # A slip is told before anything is taken down.
        places.refuse_unknown(session, asked.filters, by=desk.by)
        details(session)
    taken = bulk.take_down(desk.database, chosen, asked, digest=digest, by=desk.by)
    row = desk.database.transaction(
        lambda session: bulk.order(
            session, taken, number=typed, details=details(session), reason=reason, by=desk.by
        )
    )
    click.echo(f"Ordered: {row.id}", err=True)
    with desk.progress(row.number, "Doing it") as advance:
        bulk.write(desk.database, only=row.id, progress=advance)
    _tell(desk, row.id)


@govern.command("act-progress")
@click.argument("id")
@json_option
@pass_desk
def act_progress(desk: Desk, id: str) -> None:
    """Show how far an act over a list has come.

    Example: govern act-progress blk_0mh3…
    """
    _tell(desk, id)


def _tell(desk: Desk, bulk_id: str) -> None:
    with desk.database.reading() as session:
        row = bulk.find(session, bulk_id, by=desk.by)
    desk.tell(_told(row), _line(row))


def _told(row: BulkAct) -> dict[str, Any]:
    return {
        "id": row.id, "list": bulk.ACTS[row.act].list, "act": row.act, "number": row.number,
        "done": row.done, "passed": row.passed, "digest": row.digest,
        "finished_at": clock.text(row.finished_at) if row.finished_at else None,
    }  # fmt: skip


def _line(row: BulkAct) -> str:
    left = row.number - row.done - row.passed
    state = "done" if row.finished_at else f"{left:,} left"
    return f"{row.id} {row.act}: {row.done:,} done, {row.passed:,} passed over, {state}."


def _counted(found: Preview) -> dict[str, Any]:
    return {
        "id": None, "dry_run": True, "number": found.number, "people": found.people,
        "grants": found.grants, "digest": found.digest,
        "projects": [
            {"client": client, "project": project, "grants": grants, "people": people}
            for client, project, grants, people in found.places
        ],
    }  # fmt: skip


def _words(found: Preview) -> list[str]:
    whom = f"{number(found.grants, 'grant')} of {number(found.people, 'person', 'people')}"
    return [
        f"It would be done to {found.number:,}: {whom}.",
        *(
            f"  {client} {project}: {number(grants, 'grant')}"
            for client, project, grants, _people in found.places
        ),
        f"For just these: --number {found.number} --digest {found.digest}",
    ]

"""`suspend`, `notice`, `mode`: stopping takes one person, and telling why."""

from __future__ import annotations

from dataclasses import asdict
from typing import IO, TYPE_CHECKING

import click

from govern import clock
from govern.access import bulk, suspensions
from govern.access.modes import Mode
from govern.access.requests import RequestKind
from govern.access.suspensions import Preview, Reason, Suspension, Target
from govern.cli.bulk import narrowed
from govern.cli.frame import (
    Desk,
    day,
    govern,
    instant,
    json_option,
    number,
    pass_desk,
    reference,
)
from govern.cli.lifting import (
    approved,
    tell_asked,
    tell_done,
    two_people,
    who,
    write_particulars,
)

if TYPE_CHECKING:
    from datetime import datetime

    from govern.db import Session

_IN = {
    Mode.UNDER_REVIEW: "under review",
    Mode.READ_ONLY: "read-only",
    Mode.PAUSED: "paused",
}


@govern.command()
@click.argument("scopes", metavar="[TYPE:CODE]...", nargs=-1, type=reference)
@click.option(
    "--people",
    "file",
    metavar="FILE",
    type=click.File("rb"),
    help="Suspend everyone named in a file (- for stdin), by external id or e-mail address.",
)
@click.option(
    "--listed",
    metavar="FILTER=VALUE",
    multiple=True,
    help="Suspend everybody in the list of people, so narrowed; each further one narrows it more.",
)
@click.option(
    "--with-project", is_flag=True, help="Of each dataset named, suspend the whole project too."
)
@click.option(
    "--leave-out-unknown", is_flag=True, help="Go on without names in FILE that are nobody's."
)
@click.option(
    "--mode", type=click.Choice([each.value for each in Mode]), default=Mode.PAUSED.value,
    show_default=True, help="How much it stops.",
)  # fmt: skip
@click.option(
    "--reason", type=click.Choice([each.value for each in Reason]), required=True, help="Why."
)
@click.option("--note", default="", help="What is known: the first notice to contractors.")
@click.option("--internal-reason", default="", help="What admins and auditors read.")
@click.option("--review-by", type=instant, help="When it is looked at again; else in 72 hours.")
@click.option("--hours-until", type=instant, help="Hours worked before this instant still count.")
@click.option("--ordered-by", default="", help="Who asked for it, and how.")
@click.option("--incident", default="", help="A ticket or incident reference.")
@click.option("--dry-run", is_flag=True, help="Count what it would touch, and do nothing.")
@json_option
@pass_desk
def suspend(
    desk: Desk,
    /,
    *,
    scopes: tuple[tuple[str, str], ...],
    file: IO[bytes] | None,
    listed: tuple[str, ...],
    leave_out_unknown: bool,
    with_project: bool,
    mode: str,
    reason: str,
    review_by: datetime | None,
    hours_until: datetime | None,
    dry_run: bool,
    note: str,
    internal_reason: str,
    ordered_by: str,
    incident: str,
) -> None:
    """Stop access over what is named, from this instant.

    TYPE is client, project, dataset, subject or organisation. The stop is in force
    before its entries, one a grant, are written. FILE has a name a line, or is a CSV with a column
    external_id or email; a name that is nobody's is told with its line, and nothing is done.

    Example: govern suspend client:ASTER --reason client_request --note "Please stop for today."
    """
    if not scopes and file is None and not listed:
        raise click.UsageError("Say what to suspend: TYPE:CODE, --people FILE, or --listed.")
    asked = narrowed("people", listed) if listed else None
    names = suspensions.people.read(file.read()) if file is not None else []

    def targets(session: Session) -> list[Target]:
        found = [suspensions.target(session, f"{kind}:{code}") for kind, code in scopes]
        if with_project:
            found += suspensions.whole_projects(session, found).values()
        if file is not None:
            found += suspensions.people.targets(
                session, names, leave_out_unknown=leave_out_unknown, by=desk.by
            )
        if asked is not None:
            whom = bulk.suspended_as(session, asked, by=desk.by)
            found += suspensions.people.as_targets(session, whom, by=desk.by)
        return found

    # A list of people is kept before anything is laid over it: nobody waits while it is written.
    over = desk.database.transaction(targets)
    if dry_run:
        with desk.database.reading() as session:
            found = suspensions.preview(session, over, by=desk.by)
        desk.tell({"id": None, "dry_run": True, **asdict(found)}, *_preview(found))
        return

    def work(session: Session) -> Suspension:
        return suspensions.open(
            session, over, mode=Mode(mode), reason=Reason(reason), review_by=review_by,
            hours_until=hours_until, note=note, internal_reason=internal_reason,
            ordered_by=ordered_by, incident=incident, by=desk.by,
        )  # fmt: skip

    row = desk.database.transaction(work)
    # Said at once: whatever becomes of the entries, from here every decision denies.
    click.echo(f"In force since {clock.text(row.recorded_at)}: {row.id}", err=True)
    grants, people = write_particulars(desk, row.id)
    desk.tell(
        {
            "id": row.id, "mode": mode,
            "targets": [f"{target.kind}:{target.code}" for target in over],
            "grants": grants, "people": people,
            "since": clock.text(row.recorded_at), "review_by": clock.text(row.review_by),
        },
        f"{row.id}: {number(grants, 'grant')} of {number(people, 'person', 'people')} "
        f"{_IN[Mode(mode)]}, to be looked at again by {day(row.review_by)}.",
    )  # fmt: skip


def _preview(found: Preview) -> list[str]:
    summary = (
        f"{number(found.grants, 'grant')} of {number(found.people, 'person', 'people')} on "
        f"{number(found.datasets, 'dataset')} would be touched; "
        f"{found.already_held:,} held already, "
        f"{number(found.losing_last_project, 'person', 'people')} would lose their last project."
    )
    others = (
        f"{number(found.tokens, 'token')} of tools would die and "
        f"{number(found.requests, 'request')} be refused, if it stops anything; "
        f"{number(found.sessions, 'session')} in govern itself would stay open."
    )
    lines = [summary, others]
    for title, counts in (
        ("client", found.by_client), ("project", found.by_project), ("kind", found.by_kind),
        ("country", found.by_country),
    ):  # fmt: skip
        lines += [f"  {title} {code}: {number(count, 'grant')}" for code, count in counts.items()]
    return lines


@govern.command()
@click.argument("id")
@click.option("--known", default="", help="What is known.")
@click.option("--not-known", default="", help="What is not known yet.")
@click.option("--next-update-by", type=instant, help="When they hear again, at the latest.")
@click.option("--contact", default="", help="Whom to ask, such as: Dana <dana@example.com>")
@click.option("--submit-by", type=instant, help="Until when hours may be handed in.")
@json_option
@pass_desk
def notice(
    desk: Desk,
    /,
    *,
    id: str,
    known: str,
    not_known: str,
    next_update_by: datetime | None,
    contact: str,
    submit_by: datetime | None,
) -> None:
    """Tell the people whom a suspension affects something new.

    ID is the suspension's. Each notice stands for itself; the ones before stay as they were, and
    everyone affected can still read them.

    Example: govern notice sus_0mh3… --known "We are checking one dataset." --contact "Dana Ng"
    """
    words = suspensions.notices.Words(
        known=known, not_known=not_known, contact=contact, next_update_by=next_update_by,
        submit_by=submit_by,
    )  # fmt: skip
    row = desk.database.transaction(
        lambda session: suspensions.notices.post(
            session, suspensions.find(session, id, by=desk.by), words, by=desk.by
        )
    )
    desk.tell(
        {"id": id, "notice": row.id, "number": row.number, "at": clock.text(row.recorded_at)},
        f"Version {row.number} of the notice of {id} is shown since {day(row.recorded_at)}.",
    )


@govern.command("mode")
@click.argument("id")
@click.argument("mode", metavar="MODE", type=click.Choice([each.value for each in Mode]))
@two_people
@json_option
@pass_desk
def change_mode(
    desk: Desk, /, *, id: str, mode: str, reason: str, email: str | None, approve: bool
) -> None:
    """Make a suspension stop more, or ask that it stop less.

    More is done at once; less awaits a second person, who approves it with --approve. MODE is
    under_review, read_only or paused.

    Example: govern mode sus_0mh3… read_only
    """
    by = who(desk, email, approve=approve)
    if approve:
        request = approved(desk, id, RequestKind.WEAKEN, None, by=by, mode=mode)
        tell_done(desk, id, request.id, "changed", f"is {_IN[Mode(mode)]} now")
        return
    asked = desk.database.transaction(
        lambda session: suspensions.change_mode(
            session, suspensions.find(session, id, by=by), Mode(mode), reason=reason, by=by
        )
    )
    if asked is None:
        tell_done(desk, id, None, "changed", f"is {_IN[Mode(mode)]} now")
        return
    tell_asked(desk, id, asked, f"govern mode {id} {mode} --approve --as EMAIL")

"""`suspend`, `notice`, `mode`, `lift`: stopping takes one person, letting back in takes two."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

import click

from govern import clock
from govern.access import requests, suspensions
from govern.access.grants import Supposing
from govern.access.modes import Mode
from govern.access.requests import Request, RequestKind
from govern.access.suspensions import Preview, Reason, Suspension, Target
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

if TYPE_CHECKING:
    from datetime import datetime

    from govern.db import Session
    from govern.principal import Principal

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
    if not scopes and file is None:
        raise click.UsageError("Say what to suspend: TYPE:CODE, or --people FILE.")
    names = suspensions.people.read(file.read()) if file is not None else []

    def targets(session: Session) -> list[Target]:
        found = [suspensions.target(session, f"{kind}:{code}") for kind, code in scopes]
        if with_project:
            found += suspensions.whole_projects(session, found).values()
        if file is not None:
            found += suspensions.people.targets(
                session, names, leave_out_unknown=leave_out_unknown, by=desk.by
            )
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
    grants, people = _write_particulars(desk, row.id)
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
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--as", "email", metavar="EMAIL", help="Who asks or approves, with their factors.")
@click.option("--approve", is_flag=True, help="Be the second person for a weaker mode.")
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
    with desk.database.reading() as session:
        supposing = suspensions.supposing_of(asked)
        grants = suspensions.returning(session, supposing)
        people = suspensions.returning_people(session, supposing)
    tell_asked(
        desk, id, asked, grants=grants, people=people,
        command=f"govern mode {id} {mode} --approve --as EMAIL",
    )  # fmt: skip


@govern.command()
@click.argument("id")
@click.option("--approve", is_flag=True, help="Be the second person, for what was asked.")
@click.option("--as", "email", metavar="EMAIL", help="Who asks or approves, with their factors.")
@click.option("--number", "count", type=int, help="How many grants come back, typed as a brake.")
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--at", type=instant, help="Not before then, if confirmed in the day before.")
@click.option("--confirm", is_flag=True, help="Say that a lift set for a time is still right.")
@click.option("--call-off", is_flag=True, help="Call a lift off that is set for a time.")
@click.option("--take-back", is_flag=True, help="Undo your own mistake alone, within ten minutes.")
@json_option
@pass_desk
def lift(
    desk: Desk,
    /,
    *,
    id: str,
    approve: bool,
    email: str | None,
    count: int | None,
    reason: str,
    at: datetime | None,
    confirm: bool,
    call_off: bool,
    take_back: bool,
) -> None:
    """Ask that a suspension end, or approve that it ends.

    ID is the suspension's. The password and one-time code of EMAIL are asked for on the terminal,
    or read as two lines of stdin where there is none; then --number is needed.

    Example: govern lift sus_0mh3…, and then govern lift sus_0mh3… --approve --as ann@example.com
    """
    if approve + take_back + confirm + call_off + (at is not None) > 1:
        raise click.UsageError(
            "--approve, --at, --confirm, --call-off and --take-back exclude each other."
        )
    by = who(desk, email, approve=approve)
    if take_back:
        desk.database.transaction(
            lambda session: suspensions.take_back(
                session, suspensions.find(session, id, by=by), by=by
            )
        )
        tell_done(desk, id, None, "lifted", "is taken back")
    elif approve:
        request = approved(desk, id, RequestKind.LIFT, count, by=by)
        tell_done(desk, id, request.id, "lifted", "is lifted")
    elif call_off:
        desk.database.transaction(
            lambda session: suspensions.cancel(session, suspensions.find(session, id, by=by), by=by)
        )
        desk.tell({"id": id, "state": "open"}, f"{id} no longer ends at the time that was set.")
    elif confirm:
        _confirm(desk, id, count, by=by)
    else:
        _ask_lift(desk, id, count, reason, at, by=by)


def _confirm(desk: Desk, id: str, count: int | None, *, by: Principal) -> None:
    supposing = Supposing(suspension=id)
    with desk.database.reading() as session:
        suspensions.find(session, id, by=by)
        grants = suspensions.returning(session, supposing)
        people = suspensions.returning_people(session, supposing)
    typed = _typed(count, grants, people)
    row = desk.database.transaction(
        lambda session: suspensions.confirm(
            session, suspensions.find(session, id, by=by), number=typed, by=by
        )
    )
    desk.tell(
        {"id": id, "state": "open", "lifts_at": clock.text(row.at), "grants": grants},
        f"{id} ends at {day(row.at)}: {number(grants, 'grant')} of "
        f"{number(people, 'person', 'people')}.",
    )


def _ask_lift(
    desk: Desk, id: str, count: int | None, reason: str, at: datetime | None, *, by: Principal
) -> None:
    supposing = Supposing(suspension=id)
    with desk.database.reading() as session:
        suspensions.find(session, id, by=by)
        grants = suspensions.returning(session, supposing)
        people = suspensions.returning_people(session, supposing)
    typed = _typed(count, grants, people)
    request = desk.database.transaction(
        lambda session: suspensions.ask_lift(
            session, suspensions.find(session, id, by=by), number=typed, reason=reason, at=at, by=by
        )
    )
    command = f"govern lift {id} --approve" if at is None else f"govern approve {request.id}"
    tell_asked(
        desk, id, request, grants=grants, people=people, command=f"{command} --as EMAIL",
    )  # fmt: skip


def approved(
    desk: Desk, id: str, kind: RequestKind, count: int | None, *, by: Principal,
    mode: str | None = None,
) -> Request:  # fmt: skip
    """Approve what waits about a suspension."""
    with desk.database.reading() as session:
        suspensions.find(session, id, by=by)
        request = requests.awaiting(session, id, kind, by=by)
        if mode is not None and request.details["mode"] != mode:
            raise click.UsageError(f"What waits is a change to {request.details['mode']}.")
    return decide(desk, request, count, by=by)


def decide(desk: Desk, request: Request, count: int | None, *, by: Principal) -> Request:
    """Approve a request; the brake is asked for where its list has a number."""
    typed = None
    if request.number:
        with desk.database.reading() as session:
            supposing = suspensions.supposing_of(request)
            people = suspensions.returning_people(session, supposing)
        typed = _typed(count, request.number, people)
    return desk.database.transaction(
        lambda session: requests.approve(session, request.id, number=typed, by=by)
    )


def who(desk: Desk, email: str | None, *, approve: bool) -> Principal:
    """The person of `--as`, who shows their factors; else whoever sits at the machine."""
    if approve and email is None:
        raise click.UsageError("--approve takes --as EMAIL: the second person shows both factors.")
    return desk.by if email is None else desk.person(email)


def _typed(count: int | None, grants: int, people: int) -> int:
    """The brake: the number of `--number`, or as typed on the terminal."""
    if count is not None or not grants:
        return count or 0
    if not sys.stdin.isatty():
        raise click.UsageError("--number is needed where nobody can be asked for it.")
    click.echo(
        f"{number(grants, 'grant')} of {number(people, 'person', 'people')} would come back.",
        err=True,
    )
    typed: int = click.prompt("Type the number of grants", type=int, err=True)
    return typed


def _write_particulars(desk: Desk, suspension_id: str) -> tuple[int, int]:
    """Write what the latest act owes each grant; returns how many grants and people it touched."""
    with desk.database.reading() as session:
        grants, people = suspensions.particulars.counts(session, suspension_id)
    with desk.progress(grants, "Writing entries") as advance:
        suspensions.particulars.write(desk.database, suspension=suspension_id, progress=advance)
    return grants, people


def tell_done(desk: Desk, id: str, request: str | None, state: str, words: str) -> None:
    """Say what an act on a suspension did, once its entries are written."""
    grants, people = _write_particulars(desk, id)
    result: dict[str, Any] = {"id": id, "state": state, "grants": grants, "people": people}
    desk.tell(
        result | {"request": request},
        f"{id} {words}: {number(grants, 'grant')} of {number(people, 'person', 'people')}.",
    )


def tell_asked(
    desk: Desk, id: str, request: Request, *, grants: int, people: int, command: str
) -> None:
    """Say what awaits a second person, and how they approve it."""
    desk.tell(
        {
            "id": id, "state": "waiting", "request": request.id, "grants": grants,
            "people": people,
        },
        f"{request.id} awaits a second person: {number(grants, 'grant')} of "
        f"{number(people, 'person', 'people')} would come back.",
        f"Another admin approves with: {command}",
    )  # fmt: skip

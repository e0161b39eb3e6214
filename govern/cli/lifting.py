"""`lift`, and what each act takes that lets someone in: one who asks, and another who approves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from govern import clock
from govern.access import requests, suspensions
from govern.access.grants import Supposing
from govern.access.requests import Request, RequestKind
from govern.cli.frame import Desk, day, govern, instant, json_option, number, pass_desk

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


def two_people(command: Callable[..., None]) -> Callable[..., None]:
    """The options of what one person asks for and another approves."""
    for option in (
        click.option("--reason", default="", help="Why, for the record."),
        click.option(
            "--as", "email", metavar="EMAIL", help="Who asks or approves, with their factors."
        ),
        click.option("--approve", is_flag=True, help="Be the second person, for what was asked."),
    ):
        command = option(command)
    return command


@govern.command()
@click.argument("id")
@two_people
@click.option("--number", "count", type=int, help="How many grants come back, typed as a brake.")
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
    with desk.database.reading() as session:
        suspensions.find(session, id, by=by)
        grants, people = _returning(session, Supposing(suspension=id))
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
    with desk.database.reading() as session:
        suspensions.find(session, id, by=by)
        grants, people = _returning(session, Supposing(suspension=id))
    typed = _typed(count, grants, people)
    request = desk.database.transaction(
        lambda session: suspensions.ask_lift(
            session, suspensions.find(session, id, by=by), number=typed, reason=reason, at=at, by=by
        )
    )
    command = f"govern lift {id} --approve" if at is None else f"govern approve {request.id}"
    tell_asked(desk, id, request, f"{command} --as EMAIL")


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


def write_particulars(desk: Desk, suspension_id: str) -> tuple[int, int]:
    """Write what the latest act owes each grant; returns how many grants and people it touched."""
    with desk.database.reading() as session:
        grants, people = suspensions.touching.counts(session, suspension_id)
    with desk.progress(grants, "Writing entries") as advance:
        suspensions.particulars.write(desk.database, suspension=suspension_id, progress=advance)
    return grants, people


def tell_done(desk: Desk, id: str, request: str | None, state: str, words: str) -> None:
    """Say what an act on a suspension did, once its entries are written."""
    grants, people = write_particulars(desk, id)
    result: dict[str, Any] = {"id": id, "state": state, "grants": grants, "people": people}
    desk.tell(
        result | {"request": request},
        f"{id} {words}: {number(grants, 'grant')} of {number(people, 'person', 'people')}.",
    )


def tell_asked(desk: Desk, id: str, request: Request, command: str) -> None:
    """Say what awaits a second person, and how they approve it."""
    with desk.database.reading() as session:
        grants, people = _returning(session, suspensions.supposing_of(request))
    desk.tell(
        {
            "id": id, "state": "waiting", "request": request.id, "grants": grants,
            "people": people,
        },
        f"{request.id} awaits a second person: {number(grants, 'grant')} of "
        f"{number(people, 'person', 'people')} would come back.",
        f"Another admin approves with: {command}",
    )  # fmt: skip


def _returning(session: OrmSession, supposing: Supposing) -> tuple[int, int]:
    """How many grants would come back, and to how many people."""
    return (
        suspensions.returning(session, supposing),
        suspensions.returning_people(session, supposing),
    )

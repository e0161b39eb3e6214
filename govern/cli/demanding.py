"""`demand`: which factor a role, a client or a project asks of people, and who does not meet it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from govern import clock
from govern.access import demands
from govern.access.demands import Demand, Factor
from govern.cli.frame import Desk, day, govern, instant, json_option, number, pass_desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from govern.access.demands import FactorDemand, Numbers, Over, Person
    from govern.db import Session

_PAGE = 1000


@govern.group()
def demand() -> None:
    """Which factors people must have enrolled."""


@demand.command("set")
@click.argument("over", metavar="TYPE:CODE")
@click.argument("factor", type=click.Choice([factor.value for factor in Factor]))
@click.option("--from", "starts", type=instant, help="When it begins; else at once.")
@click.option("--reason", help="Why, for the record.")
@click.option("--dry-run", is_flag=True, help="Only count who does not meet it yet.")
@json_option
@pass_desk
def set_(
    desk: Desk,
    /,
    *,
    over: str,
    factor: str,
    starts: datetime | None,
    reason: str | None,
    dry_run: bool,
) -> None:
    """Demand a factor of everybody with a role, or with a grant of a client or on a project.

    TYPE:CODE is client:CODE, project:CODE or role:NAME. Who has not enrolled it is denied every
    action there from the beginning on, and who holds such a role may do nothing here but enrol it.

    Example: govern demand set client:ASTER phishing_resistant --from 2026-12-01T00:00:00Z --reason
    "their new contract"
    """
    if not dry_run and not reason:
        raise click.UsageError("--reason is needed: it goes on record.")
    with desk.database.reading() as session:
        found = demands.over(session, over, by=desk.by)
        counted = demands.numbers(session, found, Factor(factor), by=desk.by)
    told = _told(found, Factor(factor), starts, counted)
    if dry_run:
        desk.tell(told, f"{_unmet(counted)} Nothing was changed.")
        return

    def work(session: Session) -> FactorDemand:
        return demands.impose(
            session, found, Factor(factor), starts=starts, reason=reason or "", by=desk.by
        )

    row = desk.database.transaction(work)
    begins = f"from {day(starts)}" if starts else "from now on"
    desk.tell(
        {"id": row.id} | told, f"{row.id}: {found.reference} {begins}: {factor}. {_unmet(counted)}"
    )


@demand.command("end")
@click.argument("id")
@click.option("--reason", required=True, help="Why, for the record.")
@json_option
@pass_desk
def end(desk: Desk, id: str, reason: str) -> None:
    """Demand it no longer.

    Example: govern demand end dem_0mh3… --reason "the client agreed"
    """

    def work(session: Session) -> FactorDemand:
        row = demands.find(session, id, by=desk.by)
        demands.end(session, row, reason=reason, by=desk.by)
        return row

    row = desk.database.transaction(work)
    ended = clock.text(row.ended_at) if row.ended_at else None
    desk.tell({"id": id, "ended_at": ended}, f"{id} is demanded no longer.")


@demand.command("list")
@json_option
@pass_desk
def list_(desk: Desk) -> None:
    """List what is demanded, and how many people do not meet it.

    Example: govern demand list
    """
    with desk.database.reading() as session:
        open_ = demands.listed(session, by=desk.by)
        numbers = demands.measured(session, open_, by=desk.by)
    found = [(one, numbers[one.row.id]) for one in open_]
    desk.tell({"demands": [_line(*each) for each in found]}, *(_words(*each) for each in found))


@demand.command("who")
@click.argument("id")
@json_option
@pass_desk
def who(desk: Desk, id: str) -> None:
    """List who does not meet a demand, a line a person.

    Example: govern demand who dem_0mh3…
    """
    with desk.database.reading() as session:
        row = demands.find(session, id, by=desk.by)
        named = f"{row.kind}:{row.target_id}"
        over = demands.over(session, named, by=desk.by)
        found = list(_people(session, over, Factor(row.factor), desk))
    desk.tell(
        {
            "id": id,
            "people": [
                {"subject": one.external_id, "email": one.email, "name": one.name,
                 "kind": one.kind, "activated": one.activated}
                for one in found
            ],
        },
        *(f"{one.external_id}\t{one.email}\t{one.name}\t{one.kind}" for one in found),
    )  # fmt: skip


def _people(session: Session, over: Over, factor: Factor, desk: Desk) -> Iterator[Person]:
    after: str | None = ""
    while after is not None:
        page = demands.unmet(session, over, factor, after=after, limit=_PAGE, by=desk.by)
        yield from page.rows
        after = page.after


def _told(over: Over, factor: Factor, starts: datetime | None, found: Numbers) -> dict[str, Any]:
    return {
        "over": over.reference, "factor": factor.value,
        "starts_at": clock.text(starts) if starts else None,
        "people": found.people, "unmet": found.unmet,
    }  # fmt: skip


def _line(one: Demand, found: Numbers) -> dict[str, Any]:
    told = _told(one.over, one.factor, one.row.starts_at, found)
    return {"id": one.row.id, "begun": one.begun} | told


def _words(one: Demand, found: Numbers) -> str:
    begins = one.row.starts_at or one.row.recorded_at
    return f"{one.row.id}\t{one.over.reference}\t{one.factor}\tfrom {day(begins)}\t{_unmet(found)}"


def _unmet(found: Numbers) -> str:
    verb = "does" if found.unmet == 1 else "do"
    whom = number(found.unmet, "person", "people")
    return f"{whom} of {found.people:,} {verb} not meet it yet."

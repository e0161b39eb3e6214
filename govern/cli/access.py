"""`grant`, `decide` and `who`: giving access, and asking who has it."""

from __future__ import annotations

import json
import sys
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from govern import clock
from govern.access import asking, clients, entitlements, evaluation, exposure, grants
from govern.access.evaluation import Question
from govern.access.grants import Grant
from govern.access.requests import Request
from govern.audit import reading
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
from govern.identity import subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from govern.access.evaluation import Reach
    from govern.access.exposure import Exposure
    from govern.db import Session

_PAGE = 1000


@govern.group()
def grant() -> None:
    """Give access and end it."""


@grant.command()
@click.argument("subject")
@click.argument("entitlement")
@click.argument("scope", metavar="PROJECT[/DATASET]")
@click.option("--until", type=instant, required=True, help="When it ends.")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--from", "starts", type=instant, help="When it begins; else now.")
@click.option("--ask", is_flag=True, help="Ask for it, so that a second person approves.")
@json_option
@pass_desk
def issue(
    desk: Desk,
    /,
    *,
    subject: str,
    entitlement: str,
    scope: str,
    until: datetime,
    reason: str,
    starts: datetime | None,
    ask: bool,
) -> None:
    """Give someone an entitlement until an instant.

    Example: govern grant issue P00001 annotator Kingfisher --until 2027-01-31T00:00:00Z --reason
    "new batch"
    """
    project_code, _, dataset_code = scope.partition("/")

    def work(session: Session) -> Grant | Request:
        act = asking.ask if ask else grants.issue
        return act(
            session,
            subjects.find(session, subject),
            clients.project(session, project_code),
            entitlements.named(session, entitlement),
            dataset=clients.dataset(session, dataset_code) if dataset_code else None,
            starts=starts, until=until, reason=reason, by=desk.by,
        )  # fmt: skip

    made = desk.database.transaction(work)
    if isinstance(made, Request):
        desk.tell({"request": made.id, "state": "waiting"}, f"{made.id} awaits a second person.")
        return
    begins = made.starts_at
    desk.tell(
        {"id": made.id, "starts_at": clock.text(begins), "ends_at": clock.text(made.ends_at)},
        f"{made.id}: from {day(begins)} until {day(made.ends_at)}.",
    )


@grant.command()
@click.argument("id")
@click.option("--reason", required=True, help="Why, for the record.")
@json_option
@pass_desk
def revoke(desk: Desk, id: str, reason: str) -> None:
    """End a grant for good.

    Example: govern grant revoke grt_0mh3… --reason "left the project"
    """

    def work(session: Session) -> Grant:
        found = grants.find(session, id, by=desk.by)
        grants.revoke(session, found, reason=reason, by=desk.by)
        return found

    ended = desk.database.transaction(work)
    desk.tell({"id": id, "ended_at": _text(ended.ended_at)}, f"{id} is revoked.")


@govern.command()
@click.argument("subject")
@click.argument("action")
@click.argument("resource", metavar="TYPE:CODE", type=reference)
@click.option("--at", type=instant, help="As it was at this instant; else now.")
@click.option("--worked-at", type=instant, help="When the hours were worked, for log_hours.")
@json_option
@pass_desk
def decide(
    desk: Desk,
    /,
    *,
    subject: str,
    action: str,
    resource: tuple[str, str],
    at: datetime | None,
    worked_at: datetime | None,
) -> None:
    """Say whether someone may do something, and why.

    The resource is project:CODE or dataset:CODE.

    Example: govern decide P00001 read project:Kingfisher
    """
    kind, code = resource
    question = Question(
        subject=subject, action=action, kind=kind, code=code, worked_at=worked_at, at=at
    )
    found = evaluation.decide(desk.database, question, by=desk.by)
    desk.tell(
        {
            "decision": found.permit, "reason": found.reason, "sentence": found.sentence,
            "as_of": found.as_of, "house_as_of": found.house_as_of, "grant": found.grant_id,
            "at": _text(at or found.at), "id": found.id,
        },
        f"{'permitted' if found.permit else 'denied'}: {found.sentence} ({found.reason})",
    )  # fmt: skip


@govern.command()
@click.argument("resource", metavar="TYPE:CODE", type=reference)
@click.option("--action", default="read", show_default=True, help="What they can do there.")
@click.option("--at", type=instant, help="Who could at this instant; else who can now.")
@click.option("--from", "begin", type=instant, help="Who could at any moment from this instant on.")
@click.option("--to", "end", type=instant, help="And before this instant; else until now.")
@click.option("--csv", "as_csv", is_flag=True, help="Of a range: as CSV, a row an interval.")
@click.option("--count", "counted", is_flag=True, help="Of a range: how many grants, no more.")
@json_option
@pass_desk
def who(
    desk: Desk,
    /,
    *,
    resource: tuple[str, str],
    action: str,
    at: datetime | None,
    begin: datetime | None,
    end: datetime | None,
    as_csv: bool,
    counted: bool,
) -> None:
    """List who can do something there, a line a grant.

    There is client:CODE (its projects), project:CODE or dataset:CODE. Of a range, each line is an
    interval in which a grant allowed it, without its pauses; whatever ended between two lines is
    left out to the microsecond. That you asked is recorded.

    Example: govern who project:Kingfisher --at 2026-11-01T12:00:00Z

    Example: govern who client:ASTER --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z
    """
    kind, code = resource
    if begin is None and end is not None:
        raise click.UsageError("--to is the end of a range: say --from too.")
    if begin is None and (counted or as_csv):
        raise click.UsageError("--count and --csv are of a range: say --from too.")
    if begin is not None and at is not None:
        raise click.UsageError("--at is one instant, --from and --to are a range: say one of them.")
    with desk.database.reading() as session:
        head: dict[str, Any] = {"resource": f"{kind}:{code}", "action": action}
        client = exposure.placed(session, kind, code, by=desk.by).client
        if begin is None:
            head |= {"at": _text(at)}
            pages = _pages(partial(
                evaluation.search, session, kind=kind, code=code, action=action, at=at, by=desk.by
            ))  # fmt: skip
            told: Callable[[Any], dict[str, Any]] = _reach
            shown: Callable[[Any], str] = _reach_line
        else:
            begin, end = exposure.within(session, begin, end or clock.now(session))
            head |= {"from": _text(begin), "to": _text(end)}
            pages = exposure.every(
                session, kind, code, begin=begin, end=end, action=action, by=desk.by
            )
            told, shown = _exposure, _exposure_lines
        found = (line for page in pages for line in page)
        if counted and begin is not None and end is not None:
            total = exposure.count(
                session, kind, code, begin=begin, end=end, action=action, by=desk.by
            )
            reading.note(desk.database, "who", client=client, detail={
                "kind": kind, "count": True, "from": head["from"], "to": head["to"],
            }, by=desk.by)  # fmt: skip
            desk.tell(head | {"grants": total}, number(total, "grant"))
            return
        first = next(found, None)  # what may not be asked is refused before it is noted
        noted = {name: value for name, value in head.items() if name in {"at", "from", "to"}}
        reading.note(desk.database, "who", client=client, detail=noted | {"kind": kind}, by=desk.by)
        every = () if first is None else chain([first], found)
        if as_csv:
            sys.stdout.writelines(exposure.sheet.rows([every]))
            sys.stdout.flush()
            return
        if desk.as_json:
            _stream_json(head, map(told, every))
            return
        count, out = 0, sys.stdout  # not flushed after each line, as click does
        for count, line in enumerate(every, 1):  # noqa: B007 - told after the loop
            out.write(f"{shown(line)}\n")
        out.flush()
    click.echo(number(count, "grant"), err=True)


def _pages(ask: Callable[..., evaluation.Found]) -> Iterator[list[Any]]:
    """Page after page, all of one snapshot."""
    after: str | None = ""
    while after is not None:
        found = ask(after=after, limit=_PAGE)
        yield found.rows
        after = found.after


def _stream_json(head: dict[str, Any], found: Iterable[dict[str, Any]]) -> None:
    """One document, written as it is read: a list of a million does not fit in memory."""
    out = sys.stdout
    out.write(f'{json.dumps(head)[:-1]}, "who": [')
    count = 0
    for count, line in enumerate(found, 1):
        out.write(f"{',' if count > 1 else ''}\n{json.dumps(line)}")
    out.write(f'\n], "grants": {count}}}\n')
    out.flush()


def _reach(line: Reach) -> dict[str, Any]:
    return {
        "subject": line.external_id, "email": line.email, "name": line.full_name,
        "project": line.project, "grant": line.grant_id, "starts_at": clock.text(line.starts_at),
        "ends_at": clock.text(line.ends_at),
    }  # fmt: skip


def _reach_line(line: Reach) -> str:
    return (
        f"{line.external_id}\t{line.email}\t{line.full_name}\t{line.project}\t"
        f"until {day(line.ends_at)}\t{line.grant_id}"
    )


def _exposure(line: Exposure) -> dict[str, Any]:
    intervals = [{"starts_at": clock.text(a), "ends_at": clock.text(b)} for a, b in line.intervals]
    return {
        "subject": line.external_id, "email": line.email, "name": line.full_name,
        "project": line.project, "dataset": line.dataset, "grant": line.grant_id,
        "starts_at": clock.text(line.starts_at), "ends_at": clock.text(line.ends_at),
        "intervals": intervals,
    }  # fmt: skip


def _exposure_lines(line: Exposure) -> str:
    place = f"{line.project}/{line.dataset}" if line.dataset else line.project
    return "\n".join(
        f"{line.external_id}\t{line.email}\t{line.full_name}\t{place}\t"
        f"{clock.text(begin)}\t{clock.text(end)}\t{line.grant_id}"
        for begin, end in line.intervals
    )


def _text(when: datetime | None) -> str | None:
    return clock.text(when) if when is not None else None

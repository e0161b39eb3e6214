"""`release`, `narrow` and `approve`: letting some out of a suspension early takes two as well."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from govern.access import requests, suspensions
from govern.access.requests import Request, RequestKind
from govern.cli.frame import Desk, govern, json_option, pass_desk
from govern.cli.lifting import approved, decide, tell_asked, tell_done, two_people, who
from govern.identity import recovery

if TYPE_CHECKING:
    from govern.db import Session
    from govern.principal import Principal

_DONE = {
    RequestKind.LIFT: ("lifted", "is lifted"),
    RequestKind.RELEASE: ("released", "has let them out"),
    RequestKind.NARROW: ("narrowed", "covers that no longer"),
    RequestKind.WEAKEN: ("changed", "stops less now"),
}


@govern.command()
@click.argument("id")
@click.argument("what", metavar="SUBJECT|TYPE:CODE...", nargs=-1)
@two_people
@json_option
@pass_desk
def release(
    desk: Desk, /, *, id: str, what: tuple[str, ...], approve: bool, email: str | None, reason: str
) -> None:
    """Ask that some be let out of a suspension early, or approve it.

    Each is a person, by external id or e-mail address, or what was cleared of the scope, as
    dataset:CODE or project:CODE. A dash reads them from stdin, one a line.

    Example: govern release sus_0mh3… P00123 dataset:kingfisher-audio --reason "Cleared."
    """
    by = _whose(desk, what, email, approve=approve)
    if approve:
        _approve(desk, id, RequestKind.RELEASE, by=by)
        return
    named = [*what] if what != ("-",) else sys.stdin.read().split()

    def work(session: Session) -> Request:
        row = suspensions.find(session, id, by=by)
        out = suspensions.reading.released(session, named, by=by)
        return suspensions.ask_release(session, row, targets=out, reason=reason, by=by)

    request = desk.database.transaction(work)
    tell_asked(desk, id, request, f"govern release {id} --approve --as EMAIL")


@govern.command()
@click.argument("id")
@click.argument("what", metavar="TYPE:CODE...", nargs=-1)
@two_people
@json_option
@pass_desk
def narrow(
    desk: Desk, /, *, id: str, what: tuple[str, ...], approve: bool, email: str | None, reason: str
) -> None:
    """Ask that a part of its scope be taken out of a suspension, or approve it.

    Example: govern narrow sus_0mh3… project:Kingfisher --reason "Another project."
    """
    by = _whose(desk, what, email, approve=approve)
    if approve:
        _approve(desk, id, RequestKind.NARROW, by=by)
        return

    def work(session: Session) -> Request:
        row = suspensions.find(session, id, by=by)
        parts = suspensions.reading.chosen(session, what, by=by)
        out = [part.target for part in parts]
        return suspensions.ask_narrow(session, row, out, reason=reason, by=by)

    request = desk.database.transaction(work)
    tell_asked(desk, id, request, f"govern narrow {id} --approve --as EMAIL")


@govern.command("approve")
@click.argument("request")
@click.option("--as", "email", metavar="EMAIL", required=True, help="Who approves.")
@click.option("--number", "count", type=int, help="How many grants come back, typed as a brake.")
@json_option
@pass_desk
def approve_request(desk: Desk, /, *, request: str, email: str, count: int | None) -> None:
    """Approve what someone else asked for, by the id of the request.

    Example: govern approve req_0mh3… --as ann@example.com
    """
    by = who(desk, email, approve=True)
    with desk.database.reading() as session:
        row = requests.find(session, request, by=by)
    row = decide(desk, row, count, by=by)
    if row.outcome is None:
        desk.tell({"request": row.id, "state": "waiting"}, f"{row.id} is approved by you, and "
                  "waits for others.")  # fmt: skip
        return
    if row.kind == RequestKind.RECOVER:
        _tell_recovery(desk, row, by=by)
        return
    if row.suspension_id is None or RequestKind(row.kind) not in _DONE:
        desk.tell({"request": row.id, "state": "approved"}, f"{row.id} is approved.")
        return
    tell_done(desk, row.suspension_id, row.id, *_DONE[RequestKind(row.kind)])


def _tell_recovery(desk: Desk, row: Request, *, by: Principal) -> None:
    """Say how the person gets the link: by mail, or where none goes out, from who approved."""
    told: dict[str, str] = {"request": row.id, "state": "approved"}
    if desk.settings.smtp_url:
        desk.tell(told, f"{row.id} is approved. They are told by mail; the link follows in a day.")
        return
    token = desk.database.transaction(
        lambda session: recovery.hand_over(session, row.subject_id or "", by=by)
    )
    link = f"{desk.settings.public_url}/recover/{token}"
    desk.tell(
        told | {"link": link},
        f"{row.id} is approved. No mail goes out from here: give them this link, which works in a "
        "day, and tell them that they can call it off.",
        link,
    )


def _whose(desk: Desk, what: tuple[str, ...], email: str | None, *, approve: bool) -> Principal:
    if approve == bool(what):
        raise click.UsageError("Name what to let out, or approve what was asked with --approve.")
    return who(desk, email, approve=approve)


def _approve(desk: Desk, id: str, kind: RequestKind, *, by: Principal) -> None:
    request = approved(desk, id, kind, None, by=by)
    tell_done(desk, id, request.id, *_DONE[kind])

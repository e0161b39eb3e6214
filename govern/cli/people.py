"""`user`: who gets a way in."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import click

from govern import clock
from govern.access import clients, recovering, roster
from govern.cli.frame import Desk, day, govern, instant, json_option, number, pass_desk
from govern.identity import activation, recovery, roles, signed_in, subjects, typed
from govern.identity.subjects import Particulars, Subject, SubjectKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from govern.access.requests import Request
    from govern.db import Session

# Links made in one transaction: few enough that the log's head is not held for long.
_CHUNK = 50


@govern.group()
def user() -> None:
    """Make people known and let them in."""


@user.command()
@click.argument("email")
@click.option(
    "--role", required=True, type=click.Choice(roles.ASSIGNABLE), help="What they may do here."
)
@click.option("--client", metavar="CODE", help="Over this client alone; else over all.")
@click.option("--until", type=instant, help="When the role ends; else it stays.")
@click.option("--name", help="Their full name; else the address up to its @.")
@click.option("--external-id", help="Their stable id elsewhere; else the address.")
@click.option("--country", help="ISO 3166-1 alpha-2, such as KE; else not known.")
@json_option
@pass_desk
def create(
    desk: Desk,
    /,
    *,
    email: str,
    role: str,
    client: str | None,
    until: datetime | None,
    name: str | None,
    external_id: str | None,
    country: str | None,
) -> None:
    """Make a colleague known, and print their activation link.

    Example: govern user create rosa@example.com --role auditor --client ASTER --until
    2026-12-01T00:00:00Z
    """
    address = subjects.email_address(email)
    particulars = Particulars(
        external_id=typed.text(external_id or address, field="external_id", length=80),
        email=address,
        full_name=typed.text(name or address.partition("@")[0], field="name"),
        kind=SubjectKind.STAFF,
        organisation=subjects.DIRECT,
        country=subjects.country_code(country) if country else "",
        expertise="",
    )

    def work(session: Session) -> tuple[Subject, str]:
        over = clients.client(session, client).id if client else None
        subject = subjects.register(session, particulars, by=desk.by)
        roles.assign(
            session, subject, role, client=over, until=until, reason="user create", by=desk.by
        )
        return subject, activation.issue(session, subject, by=desk.by)

    subject, token = desk.database.transaction(work)
    link = _link(desk, token)
    desk.tell(
        {"id": subject.id, "email": subject.email, "role": role, "link": link},
        f"{subject.email}\t{link}",
    )


@user.command()
@click.argument("emails", metavar="[EMAIL]...", nargs=-1)
@click.option(
    "--roster", "file", type=click.File("rb"),
    help="Everyone of this file who has no second factor yet.",
)  # fmt: skip
@json_option
@pass_desk
def invite(desk: Desk, emails: tuple[str, ...], file: BinaryIO | None) -> None:
    """Print a one-time activation link for each person.

    A line is e-mail, tab, link. An earlier link that was not used stops working. Links live
    three days.

    Example: govern user invite --roster roster.csv > links.tsv
    """
    if not emails and file is None:
        raise click.UsageError("Say whom: addresses, or --roster FILE.")
    with desk.database.reading() as session:
        people = [subjects.find(session, email).id for email in emails]
        if file is not None:
            listed = activation.not_yet_active(session, roster.people(file))
            people += [subject.id for subject in listed]
    people = list(dict.fromkeys(people))
    links = []
    with desk.progress(len(people), "Making links") as advance:
        for start in range(0, len(people), _CHUNK):
            chunk = people[start : start + _CHUNK]
            made = desk.database.transaction(partial(_invite, desk, chunk))
            # Told as they are made: a link that was made but not printed would help nobody.
            if not desk.as_json:
                for email, link in made:
                    click.echo(f"{email}\t{link}")
            links += made
            advance(len(chunk))
    desk.tell({"invited": [{"email": email, "link": link} for email, link in links]})


@user.command()
@click.argument("subject", metavar="SUBJECT")
@json_option
@pass_desk
def sessions(desk: Desk, subject: str) -> None:
    """List where someone is signed in.

    Example: govern user sessions rosa@example.com
    """
    with desk.database.reading() as session:
        found = signed_in.of(session, subjects.find(session, subject), by=desk.by)
    listed = [
        {
            "id": row.id, "since": clock.text(row.signed_in_at), "seen": clock.text(row.seen_at),
            "device": row.device, "amr": row.amr.split(),
        }
        for row in found
    ]  # fmt: skip
    desk.tell(
        {"sessions": listed},
        *(
            f"{row.id}\tsince {day(row.signed_in_at)}\tseen {day(row.seen_at)}\t"
            f"{row.device or 'unknown device'}"
            for row in found
        ),
    )


@user.command("sign-out")
@click.argument("subject", metavar="SUBJECT")
@click.argument("session_id", metavar="[SESSION]", required=False)
@json_option
@pass_desk
def sign_out(desk: Desk, subject: str, session_id: str | None) -> None:
    """End someone's sessions, or the one that is named; they may sign in again.

    Example: govern user sign-out rosa@example.com
    """

    def work(session: Session) -> int:
        found = subjects.find(session, subject)
        if session_id is None:
            return signed_in.end_all(session, found, by=desk.by)
        signed_in.end(session, found, session_id, by=desk.by)
        return 1

    ended = desk.database.transaction(work)
    desk.tell({"ended": ended}, f"{number(ended, 'session')} ended.")


@user.command()
@click.argument("subject", metavar="SUBJECT")
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--as", "email", metavar="EMAIL", help="Who asks, with their factors.")
@click.option("--call-off", is_flag=True, help="Call a recovery off that was approved.")
@json_option
@pass_desk
def recover(desk: Desk, /, *, subject: str, reason: str, email: str | None, call_off: bool) -> None:
    """Ask that someone who lost a second factor be let back in; another approves.

    They are told at once. A day after the approval a link works, for a day, by which they set a
    new password and authenticator. It is mailed to them; where no mail is set up, who approves is
    shown it.

    Example: govern user recover rosa@example.com --reason "Lost her phone; I spoke to her."
    """
    by = desk.by if email is None else desk.person(email)

    def ask(session: Session) -> Request:
        return recovering.ask(session, subjects.find(session, subject), reason=reason, by=by)

    def cancel(session: Session) -> None:
        recovery.call_off(session, subjects.find(session, subject).id, by=by)

    if call_off:
        desk.database.transaction(cancel)
        desk.tell({"state": "cancelled"}, "Called off.")
        return
    request = desk.database.transaction(ask)
    desk.tell(
        {"request": request.id, "state": "waiting"},
        f"{request.id} awaits a second person.",
        f"Another admin approves with: govern approve {request.id} --as EMAIL",
    )


def _invite(desk: Desk, people: Sequence[str], session: Session) -> list[tuple[str, str]]:
    found = (session.get_one(Subject, subject_id) for subject_id in people)
    return [
        (subject.email, _link(desk, activation.issue(session, subject, by=desk.by)))
        for subject in found
    ]


def _link(desk: Desk, token: str) -> str:
    return f"{desk.settings.public_url}/activate/{token}"

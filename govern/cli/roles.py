"""`role`: who may do what in govern itself, given and taken back with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from govern import clock, errors
from govern.access import clients, names
from govern.cli.frame import Desk, day, govern, instant, json_option, pass_desk
from govern.identity import roles, subjects

if TYPE_CHECKING:
    from datetime import datetime

    from govern.db import Session


@govern.group()
def role() -> None:
    """Say what people may do here: docs/permissions.md has the table."""


@role.command()
@click.argument("subject")
@click.argument("role", type=click.Choice(roles.ASSIGNABLE))
@click.option("--client", metavar="CODE", help="Over this client alone; else over all.")
@click.option("--until", type=instant, help="When it ends by itself; else it stays.")
@click.option("--reason", required=True, help="Why, for the record.")
@json_option
@pass_desk
def give(
    desk: Desk,
    /,
    *,
    subject: str,
    role: str,
    client: str | None,
    until: datetime | None,
    reason: str,
) -> None:
    """Give someone a role, in force at once.

    Example: govern role give rosa@example.com auditor --client ASTER --until
    2026-12-01T00:00:00Z --reason "Forensics after incident 17"
    """

    def work(session: Session) -> str:
        over = clients.client(session, client).id if client else None
        row = roles.assign(
            session, subjects.find(session, subject), role, client=over, until=until,
            reason=reason, by=desk.by,
        )  # fmt: skip
        return row.id

    made = desk.database.transaction(work)
    desk.tell({"id": made, "role": role, "client": client}, f"{subject} is {role} now.")


@role.command()
@click.argument("subject")
@click.argument("role", type=click.Choice(roles.ASSIGNABLE))
@click.option("--client", metavar="CODE", help="The one over this client; else the one over all.")
@click.option("--reason", required=True, help="Why, for the record.")
@json_option
@pass_desk
def take(desk: Desk, /, *, subject: str, role: str, client: str | None, reason: str) -> None:
    """Take a role back: it counts for nothing from then on.

    Example: govern role take rosa@example.com auditor --client ASTER --reason "Done"
    """

    def work(session: Session) -> list[str]:
        over = clients.client(session, client).id if client else None
        person = subjects.find(session, subject)
        held = [
            row
            for row in roles.given(session, subject=person.id, by=desk.by)
            if row.role == role and row.client_id == over
        ]
        if not held:
            raise errors.Unknown(f"They do not hold the role {role} there.", field="role")
        for row in held:
            roles.withdraw(session, row, reason=reason, by=desk.by)
        return [row.id for row in held]

    taken = desk.database.transaction(work)
    desk.tell({"ids": taken}, f"{subject} is no longer {role}.")


@role.command("list")
@click.argument("subject", required=False)
@click.option("--client", metavar="CODE", help="Those over this client alone.")
@json_option
@pass_desk
def list_(desk: Desk, /, *, subject: str | None, client: str | None) -> None:
    """List the roles in force: of one person, over one client, or all.

    Example: govern role list --client ASTER
    """
    with desk.database.reading() as session:
        rows = roles.given(
            session,
            subject=subjects.find(session, subject).id if subject else None,
            client=clients.client(session, client).id if client else None,
            by=desk.by,
        )
        people = {row.subject_id: session.get_one(subjects.Subject, row.subject_id) for row in rows}
        codes = names.of(session, (row.client_id for row in rows if row.client_id))
    told = [
        {
            "id": row.id,
            "subject": people[row.subject_id].email,
            "role": row.role,
            "client": codes.get(row.client_id or ""),
            "since": clock.text(row.recorded_at),
            "until": clock.text(row.ends_at) if row.ends_at else None,
        }
        for row in rows
    ]
    lines = [
        "\t".join((
            people[row.subject_id].email, row.role, codes.get(row.client_id or "", "everything"),
            f"until {day(row.ends_at)}" if row.ends_at else "until taken back",
        ))
        for row in rows
    ]  # fmt: skip
    desk.tell({"roles": told}, *lines)

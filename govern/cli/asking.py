"""`request` and `request-policy`: access that is asked for, and who has to approve it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from govern import clock
from govern.access import asking, entitlements, requests
from govern.access.asking import Kind, Openness, Pausing
from govern.cli.frame import Desk, day, govern, instant, json_option, number, pass_desk

if TYPE_CHECKING:
    from datetime import datetime

    from govern.access.asking import Over, Policy
    from govern.access.requests import Request
    from govern.db import Session


@govern.group()
def request() -> None:
    """Ask for access for others, and see what waits."""


@request.command("ask")
@click.argument("scope", metavar="PROJECT[/DATASET]")
@click.argument("entitlement")
@click.argument("people", nargs=-1, required=True)
@click.option("--until", type=instant, required=True, help="When the access ends.")
@click.option("--from", "starts", type=instant, help="When it begins; else once approved.")
@click.option("--reason", required=True, help="Why; who approves it reads this.")
@json_option
@pass_desk
def ask(
    desk: Desk,
    /,
    *,
    scope: str,
    entitlement: str,
    people: tuple[str, ...],
    until: datetime,
    starts: datetime | None,
    reason: str,
) -> None:
    """Ask for access for one person or several, a request each: for all or for none.

    Example: govern request ask Kingfisher reviewer P00001 P00002 --until 2027-01-31T00:00:00Z
    --reason "new batch"
    """
    project_code, _, dataset_code = scope.partition("/")

    def work(session: Session) -> list[Request]:
        project, dataset = asking.find_place(
            session, project_code, dataset_code, others=True, by=desk.by
        )
        found = asking.find_people(session, "\n".join(people), project, by=desk.by)
        return asking.ask_for(
            session, found, project, entitlements.named(session, entitlement), dataset=dataset,
            starts=starts, until=until, reason=reason, by=desk.by,
        )  # fmt: skip

    made = desk.database.transaction(work)
    desk.tell(
        {"requests": [{"id": row.id, "subject": row.subject_id} for row in made]},
        *(f"{row.id} waits until {day(row.expires_at)}." for row in made if row.expires_at),
    )


@request.command("list")
@click.option("--state", default="pending", show_default=True, help="Or an outcome.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@pass_desk
def list_(desk: Desk, state: str, limit: int) -> None:
    """List requests, oldest first.

    Outcomes are approved, refused, withdrawn, died and expired.
    """
    with desk.database.reading() as session:
        rows, after = requests.page(session, state=state, limit=limit, by=desk.by)
    told = [
        {
            "id": row.id, "kind": row.kind, "state": row.outcome or "pending",
            "subject": row.subject_id, "asked_by": row.asked_by,
            "asked_at": clock.text(row.recorded_at),
        }
        for row in rows
    ]  # fmt: skip
    desk.tell(
        {"requests": told, "more": after is not None},
        *(f"{row['id']} {row['kind']} {row['state']}, by {row['asked_by']}" for row in told),
    )


@request.command("refuse")
@click.argument("id")
@click.option("--reason", required=True, help="Why not; whoever asked reads this.")
@json_option
@pass_desk
def refuse(desk: Desk, id: str, reason: str) -> None:
    """Turn a request down, or take one's own back.

    Example: govern request refuse req_0mh3… --reason "ask again next month"
    """
    row = desk.database.transaction(
        lambda session: requests.withdraw(session, id, reason=reason, by=desk.by)
    )
    desk.tell({"id": id, "state": row.outcome}, f"{id} is {row.outcome}.")


@govern.group("request-policy")
def request_policy() -> None:
    """Say who has to approve access, and how many."""


@request_policy.command()
@click.argument("over", metavar="house|client:CODE|project:CODE")
@json_option
@pass_desk
def show(desk: Desk, over: str) -> None:
    """Show which policy counts over the house, a client or a project.

    Example: govern request-policy show project:Kingfisher
    """
    with desk.database.reading() as session:
        place = asking.over(session, over, by=desk.by)
        own = asking.own_policy(session, place)
        policy = own or asking.inherited(session, place)
        waiting = asking.waiting_under(session, place)
    of = "here" if own else f"for the {policy.kind}" if policy.id else "nowhere: the default counts"
    desk.tell(
        {"over": place.reference, "set": own is not None, **_told(policy), "waiting": waiting},
        f"Set {of}: {_words(policy)}; {number(waiting, 'request waits', 'requests wait')}.",
    )


@request_policy.command("set")
@click.argument("over", metavar="house|client:CODE|project:CODE")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(asking.ROLES), help="A role that approves."
)
@click.option("--person", "people", multiple=True, help="One who approves, by name.")
@click.option("--lead", "leads", multiple=True, help="One who may ask for others there.")
@click.option("--needed", type=int, default=1, show_default=True, help="How many people it takes.")
@click.option(
    "--pausing",
    type=click.Choice([each.value for each in Pausing]),
    default=Pausing.WAITS.value,
    show_default=True,
    help="What becomes of a request in a pause.",
)
@click.option("--days", type=int, default=14, show_default=True, help="How long one waits.")
@click.option(
    "--open-to",
    type=click.Choice([each.value for each in Openness]),
    default=Openness.KNOWN.value,
    show_default=True,
    help="Who is shown the code of what is new to them, and may ask for it.",
)
@click.option("--reason", required=True, help="Why, for the record.")
@json_option
@pass_desk
def set_(
    desk: Desk,
    /,
    *,
    over: str,
    roles: tuple[str, ...],
    people: tuple[str, ...],
    leads: tuple[str, ...],
    needed: int,
    pausing: str,
    days: int,
    open_to: str,
    reason: str,
) -> None:
    """Put a policy in force, in place of the one before it; it holds for open requests too.

    Example: govern request-policy set client:ASTER --role admin --needed 2 --reason contract
    """  # fmt: skip

    def work(session: Session) -> tuple[Over, Policy]:
        place = asking.over(session, over, by=desk.by)
        return place, asking.set_(
            session, place, roles=roles, people=people, leads=leads, needed=needed,
            pausing=Pausing(pausing), days=days, open_to=Openness(open_to),
            reason=reason, by=desk.by,
        )  # fmt: skip

    place, policy = desk.database.transaction(work)
    desk.tell(
        {"over": place.reference, "set": True, **_told(policy)}, f"In force: {_words(policy)}."
    )


@request_policy.command("end")
@click.argument("over", metavar="house|client:CODE|project:CODE")
@click.option("--reason", required=True, help="Why, for the record.")
@json_option
@pass_desk
def end(desk: Desk, over: str, reason: str) -> None:
    """Let what is over a client or a project count there again.

    Example: govern request-policy end project:Kingfisher --reason "as for all of ASTER"
    """
    desk.database.transaction(
        lambda session: asking.end(
            session, asking.over(session, over, by=desk.by), reason=reason, by=desk.by
        )
    )
    desk.tell({"over": over, "set": False}, f"Nothing is set over {over} any more.")


def _told(policy: Policy) -> dict[str, Any]:
    return {
        "from": policy.kind if policy.id else None, "roles": list(policy.roles),
        "people": list(policy.people), "leads": list(policy.leads), "needed": policy.needed,
        "pausing": policy.pausing, "days": policy.days, "open_to": policy.open_to,
    }  # fmt: skip


def _words(policy: Policy) -> str:
    who = [*policy.roles, *([f"{len(policy.people)} named"] if policy.people else [])]
    leads = f", {number(len(policy.leads), 'lead')}" if policy.kind is not Kind.HOUSE else ""
    opened = {Openness.CLIENT: "the client's people", Openness.EVERYBODY: "everybody"}
    open_to = f"; open to {opened[policy.open_to]}" if policy.open_to in opened else ""
    return (
        f"{policy.needed} of {' or '.join(who)}; a request {policy.pausing} in a pause, for "
        f"{number(policy.days, 'day')}{leads}{open_to}"
    )

"""`erase`: what is personal of someone goes for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from govern.access import erasing
from govern.cli.frame import Desk, govern, json_option, number, pass_desk
from govern.identity import subjects

if TYPE_CHECKING:
    from govern.access.erasing import Erased
    from govern.db import Session


@govern.command()
@click.argument("subject", metavar="SUBJECT")
@click.option("--reason", required=True, help="Why; it stays on record, so name nobody.")
@json_option
@pass_desk
def erase(desk: Desk, /, *, subject: str, reason: str) -> None:
    """Erase what is personal of someone who holds no grant any more, for good.

    Who has not left yet leaves with it. Name, address and external id go, what their authenticators
    and sessions hold, and the values beside the log; the log itself stays, and with it every proof.
    Refused while a legal hold covers them.

    Example: govern erase P10023 --reason "Article 17, their letter of 20 November"
    """

    def work(session: Session) -> tuple[str, Erased]:
        found = subjects.find(session, subject)
        return found.id, erasing.erase(session, found, reason=reason, by=desk.by)

    subject_id, done = desk.database.transaction(work)
    desk.tell(
        {"id": subject_id, "values": done.values, "rows": done.rows},
        f"Erased: {number(done.values, 'value')} beside the log, {number(done.rows, 'row')}. "
        f"What is left of them is {subject_id}.",
    )

"""What goes out and does not get through: streams of the logs, their witnesses, and mails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Blueprint, render_template

from govern.access import names
from govern.audit import streams, witnessing
from govern.audit.log import HOUSE
from govern.signals import mail
from govern.web import guard
from govern.web.pages import base

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

blueprint = Blueprint("outgoing", __name__)

_MAILS = 50


@blueprint.get("/outgoing")
def show() -> ResponseReturnValue:
    """How each stream and witness stands, and the mails of the last week that were given up."""
    by = guard.principal()
    people = base.may("subject:read", None)
    with base.showing() as session:
        sent = streams.known(session, by=by)
        seen = witnessing.standing(session, by=by)
        lost = mail.lost_ones(session, limit=_MAILS, by=by) if people else []
        logs = {row.client_id for row, _ in sent} | {one.witness.client_id for one in seen}
        logs |= {one.failure.log_id for one in seen if one.failure}
        codes = names.of(session, sorted(each for each in logs if each and each != HOUSE))
    return render_template(
        "admin/outgoing.html",
        streams=[
            SimpleNamespace(
                # An address may hold a secret: its host says enough.
                host=urlsplit(row.url).hostname or "",
                log=codes.get(row.client_id or "", ""),
                form=row.form,
                failures=state.failures,
                error=state.error,
                delivered_at=state.delivered_at,
                next_try_at=state.next_try_at,
            )
            for row, state in sent
        ],
        witnesses=[
            SimpleNamespace(
                name=one.witness.name,
                log=codes.get(one.witness.client_id or "", ""),
                fails=one.failure
                and SimpleNamespace(
                    log=codes.get(one.failure.log_id, one.failure.log_id),
                    since=one.failure.since,
                    refuses=one.failure.refuses,
                    error=one.failure.error,
                ),
            )
            for one in seen
        ],
        mails=lost,
        knows_people=people,
    )
